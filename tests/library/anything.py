"""What the property tests share: the rule that every function keeps, and strategies for good and for any input."""

import warnings
from dataclasses import is_dataclass

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvae_lib.latent import Gaussian, StudentT

few = settings(max_examples=max(5, settings.default.max_examples // 3))  # for what takes long, or has little to go wrong

HARD = [0.0, -0.0, 1.0, 0.5, np.nan, np.inf, -np.inf, 5e-324, 1e-40, -1e-300, 256.0, 7e4, -1e4, 1e20, 3e38, -1e160, 1e300]
SPOILT = [np.nan, np.inf, -np.inf, np.nan, 1e16, -1e30, -1e-3, 1.001, -0.0, 5e-324]
KINDS = ["float64", "float64", "float32", "float32", "float16", "longdouble", ">f8", "bool", "int8", "uint8", "int64", "uint64"]
KINDS += ["complex64", "U2", "O"]

ODD = [None, True, -1, 2.5, 10**400, np.nan, -np.inf, 1j, np.float32(0.5), "", "text", b"bytes", {}, {1: 2}, set, object()]
ODD += [[], [[1.0], [2.0, 3.0]], np.array(3), np.ma.masked_all(3), torch.ones(2, 6, requires_grad=True), torch.tensor([1j])]


def families():
    """The Gaussian, and t from very heavy to hardly any tails."""
    nu = st.one_of(st.sampled_from([0.05, 1.0, 2.0, 3.0, 21.0, 999.0, 1001.0, 1e6, 1e12]), st.floats(0.1, 1e3))
    return st.one_of(st.just(Gaussian()), nu.map(StudentT))


@st.composite
def laid_out(draw, arrays):
    """The same numbers in memory of another kind: column by column, backwards, with gaps, read-only."""
    array = draw(arrays)
    how = draw(st.sampled_from(["as is", "Fortran", "backwards", "gaps", "read-only"]))
    if how == "Fortran":
        array = np.asfortranarray(array) if array.ndim else array
    elif how == "backwards" and array.ndim:
        array = array[(slice(None, None, -1),) * array.ndim].copy()[(slice(None, None, -1),) * array.ndim]
    elif how == "gaps" and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif how == "read-only":
        array = array.copy()
        array.setflags(write=False)
    return array


def floats(shape, low, high, dtypes=("float64", "float32")):
    """Good arrays: finite numbers from low to high, either end and subnormal numbers included."""

    def of(dtype):
        width = 8 * np.dtype(dtype).itemsize
        bounds = (float(np.dtype(dtype).type(limit)) for limit in (low, high))
        return hnp.arrays(dtype, shape, elements=st.floats(*bounds, width=width))

    return laid_out(st.sampled_from(dtypes).flatmap(of))


@st.composite
def arrays_of_any_kind(draw, shape=None):
    """An array of any kind of numbers, or none, and of the given shape if there is one."""
    if shape is None:
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7))
    kind = draw(st.sampled_from(KINDS))
    hard = draw(st.lists(st.sampled_from(HARD), min_size=1, max_size=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.resize(np.array(hard), shape).astype(kind)


@st.composite
def spoilt(draw, shape):
    """An array of this shape that would be good pixels, noise and codes, but for one number."""
    array = np.full(shape, 0.5, draw(st.sampled_from(["float64", "float32"])))
    array[tuple(draw(st.integers(0, side - 1)) for side in shape)] = draw(st.sampled_from(SPOILT))
    return array


def small(value):
    """Whether it holds no whole number above 100, which as a size or a shape would ask for gigabytes."""
    sizes = value if isinstance(value, tuple | list) else [value]
    return not any(isinstance(size, int) and size > 100 for size in sizes)


def any_input(*shapes):
    """Anything that somebody may pass: arrays of these or of other shapes, lists, tensors, texts, None, ..."""
    fitting = [laid_out(strategy(shape)) for shape in shapes for strategy in (spoilt, spoilt, arrays_of_any_kind)]
    arrays = arrays_of_any_kind()
    return st.one_of(*fitting, laid_out(arrays), arrays.map(np.ndarray.tolist), st.sampled_from(ODD))


def _bytes(value):
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tolist() if value.dtype == object else value.tobytes()
    return repr(value)


def is_finite(result):
    """Whether everything in a result is a finite number (or no number at all)."""
    if isinstance(result, dict):
        return is_finite(list(result.values()))
    if is_dataclass(result):
        return is_finite(list(vars(result).values()))
    if isinstance(result, tuple | list):
        return all(map(is_finite, result))
    if isinstance(result, torch.Tensor):
        result = result.detach().numpy()
    if isinstance(result, float | np.ndarray | np.floating) and np.asarray(result).dtype.kind in "fc":
        return bool(np.isfinite(result).all())
    return True


def obeys(call, *arguments, **options):
    """The result of a call that keeps the rule, or None if it refuses its arguments.

    The rule: a finite result, or a ValueError of one line; no warning; and no argument has changed.
    """
    before = [_bytes(value) for value in (*arguments, *options.values())]
    result = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call(*arguments, **options)
        except ValueError as error:
            assert type(error) is ValueError, f"a {type(error).__name__}: {error}"
            assert str(error) and "\n" not in str(error), f"not one line: {error}"
            assert len(str(error)) < 400, f"too long: {error}"
    assert [_bytes(value) for value in (*arguments, *options.values())] == before, "an argument has changed"
    assert is_finite(result), f"not finite: {result}"
    return result
