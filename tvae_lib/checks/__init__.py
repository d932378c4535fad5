"""Answer checks for the workbooks: each says at once, and in words, whether an answer is right.

A workbook imports the checks of its chapter and calls one after each task:

    from tvae_lib.checks import chapter_02 as check

    check.task_1(log_t)

which prints `Task 2.1: correct.` or `Task 2.1: not yet.` with a hint, and never raises, whatever the answer is. The checks of a
chapter are plain functions made of the helpers below: `task` turns what goes wrong into a hint, `call` calls the reader's
function, `parts` takes its answer apart, `expect` compares with a reference and with what well-known mistakes would give.

`python -m tvae_lib.checks FOLDER` grades a folder of workbooks that were handed in.
"""

import contextlib
import copy
import functools
import inspect
import sys
import traceback
import warnings

import numpy as np

UNFILLED = "There is nothing here yet: replace the `...` in the cell above, run it, then run this cell again."

listener = None  # where the grader hears a verdict: called with the number of a task and whether it is correct
_changed = []  # for each argument that a reader's function has changed, since the check began, a hint


class NotYet(Exception):
    """An answer is not right yet. The message is the hint for the reader: one or two whole sentences."""


def task(number):
    """Decorate the check of one task, e.g. ``@task("2.3")``: it prints a verdict instead of raising.

    The check takes the reader's answers and raises `NotYet` with a hint, or returns. An answer that is still `...` gets a hint
    too, and so does one that the check stumbles over.
    """

    def decorate(check):
        @functools.wraps(check)
        def verdict(*answers):
            hint = None
            try:
                if any(answer is ... for answer in answers):
                    raise NotYet(UNFILLED)
                _changed.clear()
                with _usual_settings():
                    check(*answers)
                if _changed:  # said last: first the numbers should be right
                    raise NotYet(_changed[0])
            except NotYet as error:
                hint = str(error)
            except (Exception, SystemExit) as error:
                hint = f"The check cannot make sense of this answer ({_in_words(error)})."
            if listener:
                listener(number, hint is None)
            print(f"Task {number}: correct." if hint is None else f"Task {number}: not yet. {hint}")

        return verdict

    return decorate


@contextlib.contextmanager
def _usual_settings():
    """NumPy, PyTorch and warnings as they are set at first, whatever the notebook has set; afterwards its settings come back."""
    torch = sys.modules.get("torch")
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"), warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning, FutureWarning):
            warnings.simplefilter("default", category)
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        with torch.enable_grad() if torch else contextlib.nullcontext():
            yield


def _in_words(error):
    message = str(error).strip().partition("\n")[0].rstrip(".")
    return type(error).__name__ + (f": {message}" if message else "")


def call(function, *arguments):
    """The reader's function at copies of the arguments, so that nothing it does in place can harm the check.

    An error in it becomes a hint that quotes the line, and so does a function that returns nothing. That it has changed an
    argument becomes a hint when the check finds nothing else: in the notebook there is no copy, and the data would be damaged.
    """
    if not callable(function):
        raise NotYet(f"A function is asked for here, and this is of type {type(function).__name__}.")
    copies = copy.deepcopy(arguments)
    try:
        answer = function(*copies)
    except NotYet:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without this one
        own = [frame for frame in frames if frame.filename == frames[0].filename]  # not those inside NumPy
        place = f"at the line `{own[-1].line}`" if own and own[-1].line else "when it is called"
        raise NotYet(f"Your code stops {place}: {_in_words(error)}.") from None
    name = getattr(function, "__name__", "the function")
    if answer is None or answer is ...:
        raise NotYet(f"`{name}` returns nothing yet: fill in its body, and end it with `return`.")
    for i in range(len(arguments)):
        if not _unchanged(arguments[i], copies[i]):
            _changed.append(
                f"The numbers are right, but `{name}` has changed {_argument_name(function, i)}, which you need again: work on "
                "a copy, or use `np.where`."
            )
    return answer


def _unchanged(before, after):
    """Whether arrays, alone or in dictionaries and lists, are the same but for rounding; anything else may change."""
    if isinstance(before, np.ndarray):
        if before.dtype.kind not in "biufc":  # no numbers, so there is nothing to round
            return np.array_equal(before, after)
        return before.shape == np.shape(after) and np.allclose(before, after, rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_unchanged(value, after[key]) for key, value in before.items())
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(_unchanged, before, after))
    return True


def _argument_name(function, i):
    try:
        names = list(inspect.signature(function, follow_wrapped=False).parameters)
    except (TypeError, ValueError):  # some functions written in C have no signature
        names = []
    return f"`{names[i]}`" if i < len(names) else f"its argument number {i + 1}"


def parts(answer, *names):
    """The answer taken apart: a tuple (or list) with one part for each name."""
    if not isinstance(answer, tuple | list) or len(answer) != len(names):
        found = f"{len(answer)} of them" if isinstance(answer, tuple | list) else f"something of type {type(answer).__name__}"
        raise NotYet(f"Return {len(names)} things, {', '.join(names)}, in this order; it is {found} now.")
    return answer


@np.errstate(over="ignore", invalid="ignore")  # an answer may hold numbers whose square overflows
def expect(answer, expected, what="the result", mistakes=None, rtol=1e-6, nearly=None):
    """Raise `NotYet` with a hint unless the answer equals what is expected.

    Parameters
    ----------
    answer : number, array or tensor
    expected : number or array
    what : str
        Name of the answer in the hints, e.g. "the gradient for logvar".
    mistakes : dict of str to number or array
        For each likely mistake the hint, and the value that the mistake gives, of whatever shape.
    rtol : float
        Allowed difference, relative to the largest expected value.
    nearly : (str, float), optional
        The hint for an answer that is no known mistake and not right, but differs by less than this.
    """
    expected = np.asarray(expected, float)
    value = _as_array(answer, what)

    def close(a, b, rtol=rtol):
        if np.shape(a) != np.shape(b):
            return False
        allowed = rtol * np.max(np.abs(b), initial=0, where=~np.isnan(b)) + 1e-12
        return np.allclose(a, b, rtol=0, atol=allowed, equal_nan=True)  # a mistake may give NaN

    if close(value, expected):
        return
    for hint, wrong in (mistakes or {}).items():
        if close(value, wrong):
            raise NotYet(hint)
    if nearly and close(value, expected, nearly[1]):
        raise NotYet(nearly[0])
    if value.shape != expected.shape:
        transposed = value.ndim == 2 and close(value.T, expected)
        more = " The numbers are right, but transposed." if transposed else ""
        raise NotYet(f"{_capital(what)} should have shape {expected.shape}, and has {value.shape}.{more}")
    if not np.isfinite(value).all():
        raise NotYet(f"{_capital(what)} contains NaN or infinity.")
    raise NotYet(_difference(value, expected, close, what))


def _as_array(answer, what):
    """The answer as an array of floats; PyTorch's tensors too."""
    if answer is None or answer is ...:
        raise NotYet(f"{_capital(what)} is not there yet.")
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
    try:
        if np.iscomplexobj(np.asarray(answer)):
            raise NotYet(
                f"{_capital(what)} is complex. Take the real part, `.real`, where the formula has Re, and the modulus, "
                "`np.abs`, where it has bars: they belong inside a logarithm."
            )
        return np.asarray(answer, float)
    except (TypeError, ValueError, OverflowError):
        raise NotYet(
            f"{_capital(what)} should be a number or an array of numbers, not of type {type(answer).__name__}."
        ) from None


FACTORS = {-1.0: "minus", 0.5: "half", 2.0: "twice", -0.5: "minus half", -2.0: "minus twice"}


def _difference(value, expected, close, what):
    """How a wrong value of the right shape differs: a factor, a constant, or the place where it differs most."""
    size = np.sum(expected**2)
    factor = np.sum(value * expected) / size if size > 0 else np.nan
    simple = [words for known, words in FACTORS.items() if close(value, known * expected)]
    if simple:
        return f"{_capital(what)} is {simple[0]} the expected."
    if not value.any():
        return f"{_capital(what)} is zero everywhere."
    if value.size > 1 and close(value, factor * expected):
        return f"{_capital(what)} is {factor:.4g} times the expected, everywhere."
    gap = value - expected
    if value.size > 1 and close(gap, np.full_like(gap, gap.mean())):
        return f"{_capital(what)} is too {'large' if gap.mean() > 0 else 'small'} by {abs(gap.mean()):.4g}, everywhere."
    if value.ndim == 2 and value.shape[0] == value.shape[1] and close(value.T, expected):
        return f"{_capital(what)} is transposed."
    worst = np.unravel_index(np.argmax(np.abs(gap)), gap.shape)
    right = np.isclose(gap, 0, atol=1e-6 * np.abs(expected).max()).mean()
    share = f" ({right:.0%} of the entries are right)" if 0 < right < 1 else ""
    where = f" at index {tuple(map(int, worst))}" if value.ndim else ""
    return f"{_capital(what)} is {value[worst]:.5g}{where} where {expected[worst]:.5g} is expected{share}."


def _capital(text):
    return text[:1].upper() + text[1:]
