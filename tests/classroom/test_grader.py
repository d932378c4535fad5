"""Grading a folder of workbooks: `python -m tvae_lib.checks FOLDER`."""

import json
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from make_workbooks import WORKBOOKS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tvae_lib.checks import __main__ as grader

TEACHER = sorted(WORKBOOKS.glob("teacher/*.ipynb"))


def cell(id, source, *tags):
    return new_code_cell(source, id=id, metadata={"tags": list(tags)} if tags else {})


# A workbook of three quick tasks. Its checks are those of workbook 02, for which this is what a right answer returns.
SETUP = "import numpy as np\nfrom scipy import stats\nfrom tvae_lib.checks import chapter_02 as check"
RIGHT = {
    1: "log_t = stats.t.logpdf",
    2: "def log_q(z, mu, logvar, df):\n    return stats.t.logpdf(z, df, mu, np.exp(logvar / 2))",
    4: "draws_needed = lambda estimates, error: estimates.var() / error**2",
}
CHECK = {1: "check.task_1(log_t)", 2: "check.task_2(log_q)", 4: "check.task_4(draws_needed)"}
ALL_RIGHT = {1: "yes", 2: "yes", 4: "yes"}


def tiny(answers=RIGHT, checks=CHECK, setup=SETUP):
    cells = [new_markdown_cell("# Workbook 02: tiny", id="title"), cell("setup", setup, "setup")]
    for number in RIGHT:
        cells += [cell(f"answer-{number}", answers[number]), cell(f"check-{number}", checks[number], "check")]
    return new_notebook(cells=cells, metadata={"workbook": {"name": "02_tiny"}})


@pytest.fixture
def grade(tmp_path, monkeypatch):
    """Grade a notebook against the tiny workbook."""
    originals = tmp_path / "originals"
    originals.mkdir()
    nbformat.write(tiny(dict.fromkeys(RIGHT, "...")), originals / "02_tiny.ipynb")
    monkeypatch.setattr(grader, "WORKBOOKS", originals)

    def run(notebook, name="handed_in.ipynb", **options):
        (tmp_path / name).write_text(json.dumps(notebook))  # nbformat.write would mend it
        return grader.grade(tmp_path / name, **options)

    return run


@pytest.mark.parametrize("path", TEACHER, ids=lambda path: path.stem)
def test_the_teachers_version_is_all_correct(path):
    result = grader.grade(path, timeout=120)
    assert result["remark"] == ""
    assert result["workbook"] == path.stem
    assert set(result["tasks"].values()) == {"yes"}


@pytest.mark.parametrize("path", TEACHER, ids=lambda path: path.stem)
def test_the_students_version_runs_and_nothing_is_correct_yet(path):
    result = grader.grade(WORKBOOKS / path.name, timeout=120)
    assert result["remark"] == ""
    assert set(result["tasks"].values()) == {"no"}


def test_right_and_wrong_answers(grade):
    assert grade(tiny()) == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": ""}
    wrong = tiny(RIGHT | {2: "log_q = lambda z, mu, logvar, df: z"})
    assert grade(wrong) == {"workbook": "02_tiny", "tasks": ALL_RIGHT | {2: "no"}, "remark": ""}


def test_an_error_stops_neither_the_later_cells_nor_the_verdicts(grade):
    result = grade(tiny(RIGHT | {2: "1 / 0"}))
    assert result["tasks"] == ALL_RIGHT | {2: "no"}
    assert result["remark"] == "cell 5: ZeroDivisionError"


def test_a_changed_check_counts_for_nothing(grade):
    lie = "print('Task 2.1: correct.')"
    fake = "class check:\n    task_1 = task_2 = task_4 = lambda answer: print('Task 2.1: correct.')"
    wrong = {1: f"{lie}\nlog_t = lambda eps, df: eps"}
    assert grade(tiny(RIGHT | wrong, CHECK | {1: lie}, fake))["tasks"] == ALL_RIGHT | {1: "no"}
    copied = tiny(RIGHT | wrong)
    copied.cells.append(cell("check-1", lie, "check"))
    assert grade(copied)["tasks"] == ALL_RIGHT | {1: "no"}
    talkative = {1: f"def log_t(eps, df):\n    {lie}\n    return eps"}
    assert grade(tiny(RIGHT | talkative))["tasks"] == ALL_RIGHT | {1: "no"}


def test_a_deleted_or_added_cell_does_no_harm(grade):
    notebook = tiny()
    notebook.cells = [kept for kept in notebook.cells if kept.id not in ("setup", "check-2", "title")]
    notebook.cells.insert(0, cell("mine", "# my own cell"))
    assert grade(notebook)["tasks"] == ALL_RIGHT


def test_lost_identities(grade):
    """Colab moves a cell's id into its metadata; some editors drop it, and the notebook's metadata too."""
    colab, dropped = tiny(), tiny()
    for each in colab.cells:
        each.metadata["id"] = each.id
    for notebook in (colab, dropped):
        notebook.nbformat_minor = 4
        for each in notebook.cells:
            del each["id"]
    assert grade(colab)["tasks"] == ALL_RIGHT
    del dropped.metadata["workbook"]
    assert grade(dropped, name="ada_02_tiny (1).ipynb")["tasks"] == ALL_RIGHT


def test_what_was_stored_is_not_believed(grade):
    notebook = tiny(dict.fromkeys(RIGHT, "..."))
    for number in RIGHT:
        stored = nbformat.v4.new_output("stream", name="stdout", text=f"Task 2.{number}: correct.\n")
        next(each for each in notebook.cells if each.id == f"check-{number}").outputs = [stored]
    assert set(grade(notebook)["tasks"].values()) == {"no"}


STUBBORN = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"


@pytest.mark.parametrize(
    ("answer", "remark"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "crash: Python itself was ended"),
        ("def log_q(*arguments):\n    while True:\n        pass", "time-out after 7 s"),
        (STUBBORN, "time-out after 7 s"),
    ],
    ids=["killed", "endless", "stubborn"],
)
def test_a_crash_or_an_endless_loop_keeps_the_verdicts_before_it(grade, answer, remark):
    result = grade(tiny(RIGHT | {2: answer}), timeout=7)
    assert result == {"workbook": "02_tiny", "tasks": {1: "yes", 2: "", 4: ""}, "remark": remark}


def test_attempts_to_leave_do_no_harm(grade):
    leave = {1: "\nimport sys\nsys.exit()", 2: "\nraise KeyboardInterrupt", 4: "\ninput('Your name? ')\nexit()"}
    result = grade(tiny({number: answer + leave[number] for number, answer in RIGHT.items()}), timeout=60)
    assert result == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": "cell 3: SystemExit"}


def test_each_notebook_starts_in_an_empty_folder(grade, tmp_path):
    look = "\nimport os\nassert os.listdir() == []\nopen('left_behind.txt', 'w').close()"
    assert grade(tiny(RIGHT | {1: RIGHT[1] + look}))["remark"] == ""
    assert not list(tmp_path.rglob("left_behind.txt"))


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("", "not a notebook"),
        ('{"cells": [', "not a notebook"),
        ("[1, 2]", "not a notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a notebook"),
        (nbformat.writes(new_notebook()), "unknown workbook"),
        (nbformat.writes(new_notebook(metadata={"workbook": {"name": "99_none"}})), "unknown workbook"),
        (nbformat.writes(new_notebook(metadata={"workbook": "02_tiny"})), "unknown workbook"),
    ],
)
def test_what_is_no_workbook_gets_a_remark(grade, tmp_path, text, remark):
    path = tmp_path / "something.ipynb"
    path.write_text(text)
    assert grader.grade(path) == {"workbook": "", "tasks": {}, "remark": remark}


def test_one_table_for_a_folder(grade, tmp_path, capsys):
    folder, scores = tmp_path / "class", tmp_path / "scores.csv"
    (folder / "late" / ".ipynb_checkpoints").mkdir(parents=True)
    nbformat.write(tiny(), folder / "ada.ipynb")
    nbformat.write(tiny(RIGHT | {2: "import os\nos._exit(0)"}), folder / "bob.ipynb")
    nbformat.write(tiny(RIGHT | {4: "draws_needed = ..."}), folder / "late" / "cyn.ipynb")
    nbformat.write(tiny(), folder / "late" / ".ipynb_checkpoints" / "cyn-checkpoint.ipynb")
    (folder / "dan.ipynb").write_text("not a notebook")
    assert grader.main([str(folder), "--csv", str(scores), "--timeout", "60"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (folder / "ada.ipynb").read_text() == nbformat.writes(tiny()) + "\n"  # what was handed in stays as it is
    table = pd.read_csv(scores, keep_default_na=False, dtype=str).set_index("notebook")
    assert table.columns.tolist() == ["workbook", "1", "2", "4", "correct", "remark"]
    assert table.loc["ada.ipynb"].tolist() == ["02_tiny", "yes", "yes", "yes", "3/3", ""]
    assert table.loc["bob.ipynb"].tolist() == ["02_tiny", "yes", "", "", "1/3", "crash: Python itself was ended"]
    assert table.loc["late/cyn.ipynb"].tolist() == ["02_tiny", "yes", "yes", "no", "2/3", ""]
    assert table.loc["dan.ipynb"].tolist() == ["", "", "", "", "", "not a notebook"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_folder"], "no_such_folder is not a folder"),
        (["."], ". holds no notebooks (*.ipynb)"),
        ([".", "--timeout", "0"], "--timeout must be a number of seconds above 0, got 0"),
        ([".", "--timeout", "nan"], "--timeout must be a number of seconds above 0, got nan"),
        ([".", "--csv", "nowhere/scores.csv"], "--csv: there is no folder nowhere"),
    ],
)
def test_a_wrong_argument_is_answered_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert grader.main(arguments) == message  # which sys.exit prints


def test_the_command(tmp_path):
    (tmp_path / "ada.ipynb").write_text("no notebook")
    command = [sys.executable, "-m", "tvae_lib.checks", str(tmp_path)]
    good = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert good.returncode == 0
    assert "ada.ipynb" in good.stdout
    bad = subprocess.run([*command[:-1], "nowhere"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (bad.returncode, bad.stderr) == (1, "nowhere is not a folder\n")
