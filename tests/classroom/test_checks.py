"""The answer checks of the workbooks, and the workbooks themselves.

For every task answers/chapter_NN.py holds a right answer, written differently from the teacher's, and at least two wrong
ones with a part of the hint that each should get. An answer is a tuple of what the check is called with.
"""

import importlib
import itertools
import json
import re
import shutil
import sys
import warnings
from pathlib import Path

import make_workbooks as workbooks
import nbformat
import numpy as np
import pytest

from tvae_lib import checks
from tvae_lib.checks import NotYet, call, expect, parts, task
from tvae_lib.checks.grader import task_numbers

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "tvae_lib" / "checks").glob("chapter_*.py"))
CHECKS = {chapter: importlib.import_module(f"tvae_lib.checks.{chapter}") for chapter in CHAPTERS}
ANSWERS = {chapter: importlib.import_module(f"answers.{chapter}").ANSWERS for chapter in CHAPTERS}
TEACHER = sorted(workbooks.WORKBOOKS.glob("teacher/*.ipynb"))


def tasks_of(chapter):
    return sorted(int(name.removeprefix("task_")) for name in vars(CHECKS[chapter]) if re.fullmatch(r"task_\d+", name))


TASKS = [(chapter, number) for chapter in CHAPTERS for number in tasks_of(chapter)]


@pytest.fixture
def verdict(capsys, recwarn):
    """What a check prints about some answers: exactly one line. The check returns nothing, and the grader hears the same."""

    def say(chapter, number, answers):
        heard = []
        checks.listener = lambda *verdict: heard.append(verdict)
        try:
            assert getattr(CHECKS[chapter], f"task_{number}")(*answers) is None
        finally:
            checks.listener = None
        own = [each for each in recwarn if "tvae_lib" in each.filename and issubclass(each.category, RuntimeWarning)]
        assert not own, "the check's own arithmetic gives no warning"
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1, lines
        start = f"Task {int(chapter[-2:])}.{number}: "
        assert lines[0].startswith(start), lines[0]
        assert heard == [(f"{int(chapter[-2:])}.{number}", lines[0] == start + "correct.")]
        return lines[0].removeprefix(start)

    return say


# Every task: right answers, wrong ones, none, and nonsense


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_task_has_answers_to_try(chapter):
    assert sorted(ANSWERS[chapter]) == tasks_of(chapter)
    assert all(len(cases["wrong"]) >= 2 for cases in ANSWERS[chapter].values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_right_answers_pass_and_every_mistake_gets_its_hint(chapter, verdict, monkeypatch):
    """And no hint is offered that none of the wrong answers gets."""
    offered, given = set(), []

    def remember(answer, expected, what="the result", mistakes=None, rtol=1e-6, nearly=None):
        offered.update(mistakes or {}, nearly[:1] if nearly else ())
        return expect(answer, expected, what, mistakes, rtol, nearly)

    monkeypatch.setattr(CHECKS[chapter], "expect", remember)
    for number, cases in ANSWERS[chapter].items():
        assert verdict(chapter, number, cases["right"]) == "correct.", number
        for answers, hint in cases["wrong"]:
            given.append(verdict(chapter, number, answers))
            assert given[-1].startswith("not yet. ") and hint in given[-1], (number, hint, given[-1])
            assert given[-1].endswith((".", "?")), "a hint is made of whole sentences"
    assert [hint for hint in offered if not any(hint in said for said in given)] == []


@pytest.fixture
def settings_of_a_notebook():
    """Whatever a notebook may have set; afterwards all is as it was."""
    torch, errors = pytest.importorskip("torch"), np.geterr()
    dtype = torch.get_default_dtype()
    with warnings.catch_warnings():
        np.seterr(all="raise")
        warnings.simplefilter("error")
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        yield
    np.seterr(**errors)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(dtype)


def test_right_answers_pass_whatever_the_notebook_has_set(verdict, settings_of_a_notebook):
    for chapter, number in TASKS:
        assert verdict(chapter, number, ANSWERS[chapter][number]["right"]) == "correct.", (chapter, number)
    assert set(np.geterr().values()) == {"raise"}, "the notebook's settings come back"


def raises(*arguments):
    raise RuntimeError("the answer's own error")


NONSENSE = {
    "the placeholder": ...,
    "None": None,
    "a number": 0.5,
    "text": "twelve",
    "a list": [1, "two", ...],
    "a dictionary": {"mu": ...},
    "an array": np.full((3, 2), np.nan),
    "no return": lambda *arguments: None,
    "the placeholder returned": lambda *arguments: ...,
    "wrong number of arguments": lambda: 1,
    "an error": raises,
    "the end of Python": lambda *arguments: sys.exit(),
    "NaN": lambda *arguments: np.nan,
    "text returned": lambda *arguments: "twelve",
    "a wrong shape": lambda *arguments: np.zeros((7, 1, 2)),
    "a tuple": lambda *arguments: (np.zeros(3), "two", ...),
    "a dictionary returned": lambda *arguments: {"decoder.0.weight": np.zeros(2), "other": None},
}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nonsense_gets_a_hint_and_never_raises(chapter, verdict):
    for number, cases in ANSWERS[chapter].items():
        for i, (name, nonsense) in itertools.product(range(len(cases["right"])), NONSENSE.items()):
            answers = [*cases["right"][:i], nonsense, *cases["right"][i + 1 :]]
            assert verdict(chapter, number, answers).startswith("not yet. "), (number, name)


# The helpers


@task("9.9")
def double(function):
    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    expect(call(function, x), 2 * x, "the double", {"That is the square.": x**2, "It is summed.": (2 * x).sum()})


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x + x, "correct."),
        (lambda x: (x + x).astype(np.float32), "correct."),
        (lambda x: (x + x).tolist(), "correct."),
        (lambda x: x**2, "not yet. That is the square."),
        (lambda x: 2 * x.sum(), "not yet. It is summed."),
        (lambda x: x, "not yet. The double is half the expected."),
        (lambda x: -2 * x, "not yet. The double is minus the expected."),
        (lambda x: 3 * x, "not yet. The double is 1.5 times the expected, everywhere."),
        (lambda x: 2 * x + 0.25, "not yet. The double is too large by 0.25, everywhere."),
        (lambda x: 0 * x, "not yet. The double is zero everywhere."),
        (lambda x: 2 * x.T, "not yet. The double is transposed."),
        (lambda x: 2 * x[0], "not yet. The double should have shape (2, 2), and has (2,)."),
        (lambda x: x * np.nan, "not yet. The double contains NaN or infinity."),
        (lambda x: 2 * x + 0j, "not yet. The double is complex."),
        (
            lambda x: 2 * x + np.eye(2)[::-1] * [0, 1],
            "not yet. The double is 5 at index (0, 1) where 4 is expected (75% of the entries are right).",
        ),
        (lambda x: undefined + x, "not yet. Your code stops at the line"),  # noqa: F821
        (lambda x: None, "not yet. `<lambda>` returns nothing yet: fill in its body, and end it with `return`."),
        (lambda x, y: x, "not yet. Your code stops when it is called: TypeError"),
        (7, "not yet. A function is asked for here, and this is of type int."),
        (..., "not yet. There is nothing here yet"),
    ],
)
def test_what_is_wrong_is_said(function, said, capsys):
    double(function)
    assert capsys.readouterr().out.startswith(f"Task 9.9: {said}")


def test_the_line_that_stopped_is_quoted(capsys):
    def two_lines(x):
        y = x[0]
        return y + x.no_such_thing

    double(two_lines)
    assert "at the line `return y + x.no_such_thing`: AttributeError" in capsys.readouterr().out


def test_a_changed_input_is_noticed_when_the_numbers_are_right(capsys):
    def in_place(x):
        x *= 2
        return x

    def wrong_too(x):
        x *= 2
        return -x

    def put_back(x):
        x += 0.1
        answer = 2 * (x - 0.1)
        x -= 0.1
        return answer

    said = "Task 9.9: not yet. The numbers are right, but `in_place` has changed `x`, which you need again: work on a copy"
    double(in_place)
    assert capsys.readouterr().out.startswith(said)
    double(wrong_too)
    assert capsys.readouterr().out == "Task 9.9: not yet. The double is minus the expected.\n"
    double(put_back)
    assert capsys.readouterr().out == "Task 9.9: correct.\n"


def test_a_change_inside_dictionaries_and_lists_is_noticed(capsys):
    @task("9.8")
    def total(function):
        expect(call(function, {"w": np.ones(3)}, [np.zeros(2)], np.random.default_rng(0)), 3.0)

    def change(params, layers, rng):
        changed = params["w"] if which == "params" else layers[0]
        changed[...] = 7
        return 3.0

    for which in ("params", "layers"):
        total(change)
        assert f"has changed `{which}`" in capsys.readouterr().out
    total(lambda *arguments: 3.0 + 0 * arguments[2].random())  # drawing from a generator is what it is for
    assert capsys.readouterr().out == "Task 9.8: correct.\n"


def test_tensors_count_as_arrays():
    torch = pytest.importorskip("torch")
    expect(torch.ones(2, requires_grad=True) * 2, [2, 2])
    with pytest.raises(NotYet, match="half"):
        expect(torch.ones(2), [2, 2])


def test_parts_says_what_to_return():
    assert parts((1, 2), "mu", "logvar") == (1, 2)
    for wrong in (1, (1, 2, 3), np.zeros(2)):
        with pytest.raises(NotYet, match="Return 2 things, mu, logvar, in this order"):
            parts(wrong, "mu", "logvar")


def test_hitting_the_interrupt_key_still_works():
    def interrupt(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        double(interrupt)


# The students' versions


def test_cells_that_the_grader_puts_back_cannot_be_edited():
    for path in TEACHER:
        student = nbformat.read(workbooks.WORKBOOKS / path.name, as_version=4)
        assert "cannot be edited" in student.cells[0].source
        for cell in student.cells:
            fixed = bool(workbooks.tags(cell) & {"setup", "check"})
            assert (cell.metadata.get("editable", True), cell.metadata.get("deletable", True)) == (not fixed, not fixed)


def test_students_versions_are_up_to_date():
    assert workbooks.main(["--check"]) == 0


def test_a_stale_or_orphaned_students_version_is_noticed(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "workbooks"
    shutil.copytree(workbooks.WORKBOOKS, folder)
    monkeypatch.setattr(workbooks, "WORKBOOKS", folder)
    monkeypatch.setattr(workbooks.expected_versions, "__defaults__", (folder,))
    assert workbooks.main(["--check"]) == 0
    changed = folder / TEACHER[0].name
    changed.write_text(changed.read_text().replace("your code here", "my code here"))
    (folder / "77_nobody.ipynb").write_text("{}")
    assert workbooks.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert f"{changed.name} is not what teacher/{changed.name} gives: run `make workbooks`" in said
    assert "77_nobody.ipynb has no source in teacher/" in said


@pytest.mark.parametrize(
    ("source", "blanked"),
    [
        (
            "def f():\n    ### BEGIN SOLUTION\n    x = 1\n    return x\n    ### END SOLUTION",
            "def f():\n    ...  # your code here",
        ),
        (
            "### BEGIN SOLUTION\na, b = 1, 2\na = 3\n### END SOLUTION\nprint(a)",
            "a = ...  # your code here\nb = ...  # your code here\nprint(a)",
        ),
        ("### BEGIN SOLUTION\nprint(1)\n### END SOLUTION", "...  # your code here"),
        (
            "def f():\n    ### BEGIN SOLUTION\n    y = -1\n    ### GIVEN\n    # if x:\n    #     y = 1\n    ### END SOLUTION\n",
            "def f():\n    if x:\n        y = 1\n",
        ),
        ("x = 1  # nothing to take out", "x = 1  # nothing to take out"),
    ],
)
def test_solutions_are_taken_out(source, blanked):
    assert workbooks.blank(source) == blanked


@pytest.mark.parametrize("source", ["### BEGIN SOLUTION\nx = 1\n", "x = 1\n### END SOLUTION", "### GIVEN\n# x"])
def test_a_marker_without_partner_is_an_error(source, refuses):
    with refuses("no partner"):
        workbooks.blank(source)


def test_without_an_address_nothing_is_fetched():
    teacher = nbformat.read(TEACHER[0], as_version=4)
    address = "https://example.org/somebody/book"
    setup = next(cell.id for cell in teacher.cells if "setup" in workbooks.tags(cell))
    source = {
        given: next(cell.source for cell in workbooks.student_version(teacher, given).cells if cell.id == setup)
        for given in (None, address)
    }
    assert address in source[address]
    assert "git clone" not in source[None]
    assert source[address].endswith(source[None])


@pytest.mark.parametrize("path", TEACHER, ids=lambda path: path.stem)
def test_a_workbook_is_complete(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    about = notebook["metadata"]["workbook"]
    assert about["name"] == path.stem
    assert 20 <= about["minutes"] <= 180
    assert about["builds"].endswith(".")
    assert "".join(notebook["cells"][0]["source"]).startswith(f"# Workbook {path.stem[:2]}: ")
    cells = nbformat.read(path, as_version=4).cells
    checked = [number for cell in cells if "check" in workbooks.tags(cell) for number in task_numbers(cell.source)]
    assert checked == tasks_of(f"chapter_{path.stem[:2]}"), "each check once, in order"
    headings = [int(n) for cell in cells for n in re.findall(r"^## Task (\d+)\.", cell.source, flags=re.M)]
    assert headings == list(range(1, len(headings) + 1))
    assert 4 <= len(headings) <= 8
    assert set(checked) <= set(headings)
    student = nbformat.read(workbooks.WORKBOOKS / path.name, as_version=4)
    assert not [cell.source for cell in student.cells if "SOLUTION" in cell.source]
    assert any("BEGIN SOLUTION" in cell.source for cell in cells)


def test_every_check_belongs_to_a_workbook():
    assert {f"chapter_{path.stem[:2]}" for path in TEACHER} == set(CHAPTERS)
