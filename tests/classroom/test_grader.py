"""Grading a folder of workbooks: `python -m tvae_lib.checks FOLDER`."""

import io
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from make_workbooks import WORKBOOKS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import tvae_lib
from tvae_lib.checks import __main__ as command
from tvae_lib.checks import grader

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


ORIGINAL = tiny(dict.fromkeys(RIGHT, "..."))


@pytest.fixture
def grade(tmp_path, monkeypatch):
    """Grade a notebook against the tiny workbook."""
    originals = tmp_path / "originals"
    originals.mkdir()
    nbformat.write(ORIGINAL, originals / "02_tiny.ipynb")
    monkeypatch.setattr(grader, "WORKBOOKS", originals)

    def run(notebook, name="handed_in.ipynb", **options):
        (tmp_path / name).write_text(json.dumps(notebook))  # nbformat.write would mend it
        return grader.grade(tmp_path / name, **options)

    return run


def test_the_teachers_versions_hold_what_is_graded():
    """That every answer in them is correct, nbval checks (book/conftest.py); the quickest is graded as well."""
    for path in TEACHER:
        notebook = grader.read(path)
        job, replaced = grader.plan(notebook, grader.original_of(notebook, path))
        assert replaced == [] and all(check["places"] for check in job["checks"]), path.stem
    result = grader.grade(next(path for path in TEACHER if path.stem == "02_kl"), timeout=120)
    assert (result["workbook"], result["remark"]) == ("02_kl", "")
    assert set(result["tasks"].values()) == {"yes"}


@pytest.mark.parametrize("path", TEACHER, ids=lambda path: path.stem)
def test_the_students_version_runs_and_nothing_is_correct_yet(path):
    result = grader.grade(WORKBOOKS / path.name, timeout=120)
    assert result["remark"] == ""
    assert set(result["tasks"].values()) == {"no"}


def change(**cells):
    """The solved tiny workbook, some cells of which (by their id with _ for -) hold something else."""
    notebook = tiny()
    for each in notebook.cells:
        each.source = cells.pop(each.id.replace("-", "_"), each.source)
    assert not cells
    return notebook


def ids_lost(notebook):
    """What some editors leave of a notebook."""
    notebook.nbformat_minor = 4
    for each in notebook.cells:
        each.pop("id", None)
    return notebook


def drop(notebook, *ids):
    notebook.cells = [each for each in notebook.cells if each.id not in ids]
    return notebook


def test_wrong_answers_and_errors_stop_neither_the_later_cells_nor_the_verdicts(grade):
    result = grade(tiny(RIGHT | {1: "log_t = lambda eps, df: eps", 2: "1 / 0"}))
    assert result == {"workbook": "02_tiny", "tasks": {1: "no", 2: "no", 4: "yes"}, "remark": "cell 5: ZeroDivisionError"}


# Right work that is not quite where, or not quite what, it was


def same_plan_without_ids(notebook):
    """Whether a notebook that has lost the identities of its cells is run just as before."""
    before = grader.plan(notebook, ORIGINAL)
    return grader.plan(ids_lost(notebook), ORIGINAL) == before


def test_what_is_written_into_fixed_cells_is_run_too(grade):
    """And then the original: here an answer needs an import in the set-up cell, and another stands in its check's cell."""
    notebook = change(
        setup=SETUP + "\nfrom scipy.special import betaln",
        answer_1="def log_t(eps, df):\n    return -betaln(df / 2, 0.5) - 0.5 * np.log(df) - (df + 1) / 2 * np.log1p(eps**2 / df)",
        answer_2="log_q = lambda z, mu, logvar, df: z",
        check_2=RIGHT[2] + "\n\n" + CHECK[2],
    )
    assert grade(notebook) == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": "changed: set-up, check 2"}
    assert same_plan_without_ids(notebook)


def test_spaces_that_an_editor_adds_are_no_change():
    notebook = change(check_1=CHECK[1] + "  \n", setup=SETUP.replace("\n", " \n"))
    assert grader.plan(notebook, ORIGINAL) == grader.plan(tiny(), ORIGINAL)


def test_a_check_belongs_behind_its_answer(grade):
    """One is copied above its answer, one has changed places with it, and one is missing."""
    notebook = drop(tiny(), "check-4")
    notebook.cells.insert(1, cell("check-1", CHECK[1], "check"))
    place = next(i for i, each in enumerate(notebook.cells) if each.id == "answer-2")
    notebook.cells[place : place + 2] = notebook.cells[place : place + 2][::-1]
    remark = "cell 2: NameError; missing: check 4"
    assert grade(notebook) == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": remark}
    assert same_plan_without_ids(notebook)


def test_without_its_answer_a_check_says_no(grade):
    """Also where the check was deleted, and the student uses the name for something else."""
    notebook = drop(tiny(), "answer-1", "check-1", "answer-2")
    notebook.cells.append(cell("mine", "log_t = 1"))
    assert grade(notebook)["tasks"] == ALL_RIGHT | {1: "no", 2: "no"}


def test_a_name_that_is_used_again_later_costs_nothing(grade):
    notebook = drop(tiny(), "check-1")
    notebook.cells.append(cell("mine", "log_t = log_q = 1"))
    assert grade(notebook)["tasks"] == ALL_RIGHT


def test_a_changed_check_counts_for_nothing(grade):
    lie = "print('Task 2.1: correct.')"
    fake = "class check:\n    task_1 = task_2 = task_4 = lambda answer: print('Task 2.1: correct.')"
    wrong = {1: f"{lie}\nlog_t = lambda eps, df: eps"}
    assert grade(tiny(RIGHT | wrong, CHECK | {1: lie}, fake))["tasks"] == ALL_RIGHT | {1: "no"}
    replaced = {1: f"{wrong[1]}\nimport tvae_lib.checks.chapter_02 as chapter\nchapter.task_1 = chapter.expect = print"}
    right = "lambda z, mu, logvar, df: stats.t.logpdf(z, df, mu, np.exp(logvar / 2))"
    talkative = {2: f"def log_q(z, mu, logvar, df):\n    {lie}\n    check.task_2({right})\n    return z"}
    copied = tiny(RIGHT | replaced | talkative)
    copied.cells.append(cell("check-1", lie, "check"))
    assert grade(copied)["tasks"] == ALL_RIGHT | {1: "no", 2: "no"}


def test_what_is_printed_is_no_verdict(grade):
    """Nor what is written to any file that is open."""
    report = json.dumps({"task": 1, "correct": True, "nonce": "0"})
    forge = (
        f"print({report!r})\nfor file in range(10):\n    try:\n        os.write(file, b'\\n' + {report!r}.encode() + b'\\n')\n"
    )
    forge += "    except OSError:\n        pass\nlog_t = print"
    assert grade(tiny(RIGHT | {1: f"import os\n{forge}"})) == {
        "workbook": "02_tiny",
        "tasks": ALL_RIGHT | {1: "no"},
        "remark": "",
    }


LEFT_BEHIND = """
import os, sys, warnings
check = np.random.seed = np.log = np.errstate = stats.t = 0
np.seterr(all="raise")
warnings.simplefilter("error")
print("." * 1000, end="\\r")
sys.stdout.close()
os.rmdir(os.getcwd())
"""


def test_what_an_answer_leaves_behind_does_not_disturb_the_checks(grade):
    answers = {
        1: "logpdf = stats.t.logpdf\nlog_t = lambda eps, df: logpdf(eps, df)" + LEFT_BEHIND,
        2: "def log_q(z, mu, logvar, df):\n    return log_t((z - mu) / np.exp(logvar / 2), df) - logvar / 2",
    }
    notebook = tiny(RIGHT | answers)
    notebook.cells.append(
        cell("mine", "assert check == np.random.seed == 0 and np.geterr()['over'] == 'raise', 'it has its way again'")
    )
    result = grade(notebook)
    assert result["tasks"] == ALL_RIGHT
    assert "AssertionError" not in result["remark"]


def test_a_deleted_or_added_cell_does_no_harm(grade):
    notebook = drop(tiny(), "setup", "check-2", "title")
    notebook.cells.insert(0, cell("mine", "# my own cell"))
    assert grade(notebook) == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": "missing: set-up, check 2"}


def test_lost_identities(grade):
    """Colab moves a cell's id into its metadata; some editors drop it, and the notebook's metadata too."""
    colab = tiny()
    for each in colab.cells:
        each.metadata["id"] = each.id
    assert same_plan_without_ids(colab)
    dropped = ids_lost(tiny())
    del dropped.metadata["workbook"]
    assert grade(dropped, name="ada_02_tiny (1).ipynb")["tasks"] == ALL_RIGHT


def test_what_programs_do_to_a_file(grade, tmp_path):
    """They leave out what is empty, and store text in their own way."""
    notebook = tiny()
    for each in notebook.cells:
        del each["metadata"]
    (tmp_path / "bom.ipynb").write_text(json.dumps(notebook), encoding="utf-8-sig")
    (tmp_path / "utf-16.ipynb").write_text(json.dumps(notebook), encoding="utf-16")
    assert grader.grade(tmp_path / "bom.ipynb")["tasks"] == ALL_RIGHT
    assert grader.read(tmp_path / "utf-16.ipynb").cells[1].source == SETUP


def test_what_was_stored_is_not_believed(grade):
    notebook = tiny(dict.fromkeys(RIGHT, "..."))
    for number in RIGHT:
        stored = nbformat.v4.new_output("stream", name="stdout", text=f"Task 2.{number}: correct.\n")
        next(each for each in notebook.cells if each.id == f"check-{number}").outputs = [stored]
    assert set(grade(notebook)["tasks"].values()) == {"no"}


STUBBORN = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"


@pytest.fixture(scope="module")
def patience():
    """Seconds in which an answer is graded, however busy the machine is."""
    start = time.monotonic()
    grader.run({"cells": [], "setup": [(-1, SETUP)], "checks": [], "chapter": "02"}, 300)
    return round(3 + 3 * (time.monotonic() - start))


@pytest.mark.parametrize(
    ("answer", "remark"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "crash: Python itself was ended (cell 5)"),
        ("def log_q(*arguments):\n    while True:\n        pass", "time-out after {} s (cell 6)"),
        (STUBBORN, "time-out after {} s (cell 5)"),
        ("import os\nos.closerange(3, 1000)", "crash: Python itself was ended (cell 5)"),
    ],
    ids=["killed", "endless", "stubborn", "deaf"],
)
def test_a_crash_or_an_endless_loop_keeps_the_verdicts_before_it(grade, patience, answer, remark):
    result = grade(tiny(RIGHT | {2: answer}), timeout=patience)
    assert result == {"workbook": "02_tiny", "tasks": {1: "yes", 2: "", 4: ""}, "remark": remark.format(patience)}


def test_attempts_to_leave_do_no_harm(grade):
    leave = {1: "\nimport sys\nsys.exit()", 2: "\nraise KeyboardInterrupt", 4: "\ninput('Your name? ')\nexit()"}
    result = grade(tiny({number: answer + leave[number] for number, answer in RIGHT.items()}), timeout=60)
    assert result == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": "cell 3: SystemExit"}


def test_where_and_in_what_a_notebook_runs(grade, tmp_path, monkeypatch):
    """In an empty folder, with IPython, in the grader's Python: whatever kernels are installed under the name python3."""
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "Other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook, own = tiny(), [sys.executable, tvae_lib.__file__]
    notebook.cells += [
        cell("folder", "import os\nassert os.listdir() == []\nopen('left_behind.txt', 'w').close()"),
        cell(
            "python",
            f"import sys, tvae_lib\nassert [sys.executable, tvae_lib.__file__] == {own!r}",
        ),
        cell("picture", "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"),
        cell("magic", "!echo seen\n%time 1\nimport asyncio\nawait asyncio.sleep(0)\ndisplay(1)"),
    ]
    if Path("/proc/self/oom_score_adj").exists():  # where memory ends, Linux ends the notebook and not the grader
        notebook.cells.append(cell("memory", "assert open('/proc/self/oom_score_adj').read() == '1000\\n'"))
    assert grade(notebook) == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": ""}
    assert not list(tmp_path.rglob("left_behind.txt"))


# What the teacher's guide promises of time, memory, output and processes


def limited(*command, memory=None, **options):
    """Start a process that may take so much memory and no more."""
    limit = memory and (lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)))
    return subprocess.Popen([sys.executable, *command], preexec_fn=limit, stdout=subprocess.PIPE, text=True, **options)


def test_endless_output_takes_no_memory(grade, patience):
    """Printed, or written past Python, or raised, or reported: the grader keeps none of it."""
    loop = "def endless(write):\n    while True:\n        write('x' * 100_000 + '\\n')\n"
    loop += "import os, threading\nfor file in range(10):\n    raw = lambda text, file=file: os.write(file, text.encode())\n"
    loop += "    threading.Thread(target=endless, args=[raw], daemon=True).start()\nendless(print)"
    before = psutil.Process().memory_info().rss
    start = time.monotonic()
    result = grade(tiny(RIGHT | {2: loop}), timeout=patience)
    assert time.monotonic() - start < patience + 15
    assert psutil.Process().memory_info().rss - before < 50e6
    assert result["tasks"][1] == "yes" and result["remark"] == f"time-out after {patience} s (cell 5)"


DETACHED = """
import subprocess, sys
open("{sign}", "w").close()
subprocess.Popen([sys.executable, "-c", '''
import os, time
i = 0
while True:
    i += 1
    os.makedirs("d", exist_ok=True)
    open(f"d/{{i % 500}}", "w").close()
    open("{sign}", "a").write("x")
'''], start_new_session=True)
"""


@pytest.mark.parametrize("ending", ["", "while True: pass", "import os; os._exit(0)"], ids=["end", "endless", "killed"])
def test_no_process_outlives_its_notebook(grade, tmp_path, patience, ending):
    sign = tmp_path / "sign.txt"
    result = grade(tiny(RIGHT | {4: RIGHT[4] + DETACHED.format(sign=sign) + ending}), timeout=patience)
    assert result["tasks"] == (ALL_RIGHT if not ending else ALL_RIGHT | {4: ""})
    written = sign.stat().st_size
    time.sleep(0.3)
    assert sign.stat().st_size == written


def test_a_thread_or_a_copy_that_does_not_end_holds_nothing_up(grade):
    thread = "\nimport threading, time\nthreading.Thread(target=time.sleep, args=[1000]).start()"
    fork = "\nimport os\nos.fork()"
    result = grade(tiny(RIGHT | {1: RIGHT[1] + thread, 2: RIGHT[2] + fork}), timeout=60)
    assert result == {"workbook": "02_tiny", "tasks": ALL_RIGHT, "remark": ""}


def test_when_the_grader_is_killed_its_notebook_ends(tmp_path):
    """The notebook writes as long as it lives."""
    originals, sign = tmp_path / "originals", tmp_path / "sign"
    originals.mkdir()
    nbformat.write(ORIGINAL, originals / "02_tiny.ipynb")
    endless = f"import time\nwhile True:\n    open({str(sign)!r}, 'a').write('x')\n    time.sleep(0.05)"
    nbformat.write(tiny(RIGHT | {1: endless}), tmp_path / "ada.ipynb")
    code = "import pathlib, sys; from tvae_lib.checks import grader; grader.WORKBOOKS = pathlib.Path(sys.argv[1]); "
    killed = limited("-c", code + "grader.grade(sys.argv[2])", str(originals), str(tmp_path / "ada.ipynb"))
    wait_for(lambda: sign.exists() and sign.stat().st_size)
    killed.kill()
    killed.communicate()
    time.sleep(3)
    written = sign.stat().st_size
    time.sleep(0.5)
    assert sign.stat().st_size == written


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


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


# The folder, the table and the file


@pytest.fixture
def shell(grade, tmp_path, monkeypatch, capsys):
    """Grade a folder whose notebooks hold only a grade, e.g. "3/3": nothing is run."""

    def pretend(path, timeout=300):
        if path.read_text() == "interrupt":
            raise KeyboardInterrupt
        if path.read_text() == "fail":
            raise OSError(28, "No space left on device")
        graded.append(path.name)
        return {"workbook": "02_tiny", "tasks": {1: path.read_text()}, "remark": ""}

    graded = []
    monkeypatch.setattr(grader, "grade", pretend)

    def run(*arguments, **notebooks):
        graded.clear()
        for name, content in notebooks.items():
            (tmp_path / "class").mkdir(exist_ok=True)
            (tmp_path / "class" / f"{name}.ipynb").write_text(content)
        status = command.main([str(tmp_path / "class"), *arguments])
        said = capsys.readouterr()
        return status, graded.copy(), said.out.splitlines(), said.err

    return run


def test_a_stopped_command_has_lost_nothing_and_goes_on(shell, tmp_path):
    scores = tmp_path / "scores.csv"
    status, graded, lines, _ = shell("--csv", str(scores), ada="yes", bob="yes", cyn="interrupt", dan="no")
    assert status == f"stopped: 2 of 4 are graded; their rows are in {scores}, and the same command goes on from there"
    assert (graded, len(lines)) == (["ada.ipynb", "bob.ipynb"], 3)
    assert pd.read_csv(scores)["notebook"].tolist() == ["ada.ipynb", "bob.ipynb"]
    status, graded, lines, _ = shell("--csv", str(scores), bob="no", cyn="no")  # one has been handed in again
    assert (status, graded, len(lines)) == (0, ["bob.ipynb", "cyn.ipynb", "dan.ipynb"], 5)
    assert pd.read_csv(scores)["1"].tolist() == ["yes", "no", "no", "no"]
    assert shell("--csv", str(scores))[1] == []
    assert shell()[0:2] == (0, ["ada.ipynb", "bob.ipynb", "cyn.ipynb", "dan.ipynb"])


def test_what_stops_one_grade_stops_no_other(shell, tmp_path):
    status, graded, lines, _ = shell(ada="fail", bob="yes")
    assert (status, graded) == (0, ["bob.ipynb"])
    assert lines[1].endswith("  not graded: OSError: [Errno 28] No space left on device")


def test_a_file_that_is_no_table_of_grades_stays(shell, tmp_path):
    (tmp_path / "marks.csv").write_text("name,mark\nAda,1\n")
    status, graded, _, _ = shell("--csv", str(tmp_path / "marks.csv"), ada="yes")
    assert (status, graded) == (f"--csv: {tmp_path / 'marks.csv'} is there already, and no table of grades", [])
    assert (tmp_path / "marks.csv").read_text() == "name,mark\nAda,1\n"


def test_names_that_cannot_be_encoded(shell, tmp_path):
    """In a folder on Linux any bytes may be a name, and a terminal need not know all letters."""
    folder = tmp_path / "class"
    folder.mkdir()
    for name in (b"aufgabe-\xfc.ipynb", "Łukasz.ipynb".encode(), b"two\nlines.ipynb"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("yes")
    assert shell("--csv", str(tmp_path / "scores.csv"))[0] == 0
    names = ["aufgabe-\\xfc.ipynb", "two\\nlines.ipynb", "Łukasz.ipynb"]
    assert sorted(pd.read_csv(tmp_path / "scores.csv")["notebook"]) == names
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    command.show("Łukasz.ipynb é", terminal)
    terminal.flush()
    assert terminal.buffer.getvalue().decode("cp1252").strip() == "\\u0141ukasz.ipynb é"


def test_nothing_is_passed_over_in_silence(shell, tmp_path):
    folder = tmp_path / "class"
    for path in ("a.ipynb.txt", "b.IPYNB", "c.ipynb (1)", "d.zip", "e.pdf", "__MACOSX/._f.ipynb", "._f.ipynb"):
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_text("yes")
    for path in (".ipynb_checkpoints/g-checkpoint.ipynb", ".virtual_documents/h.ipynb"):
        (folder / path).parent.mkdir()
        (folder / path).write_text("yes")
    status, graded, lines, err = shell()
    assert (status, graded) == (0, ["a.ipynb.txt", "b.IPYNB", "c.ipynb (1)"])
    assert len(lines) == 5 and lines[-1].split()[0] == "d.zip" and lines[-1].endswith("not graded: unpack it first")
    assert err == "Passed over, as no name says that it is a notebook: e.pdf\n"


def test_without_the_workbooks_the_message_says_so(tmp_path, monkeypatch):
    """A wheel holds none of them."""
    monkeypatch.setattr(grader, "WORKBOOKS", tmp_path / "workbooks")
    said = command.main([str(tmp_path)])
    assert (
        said == f"there are no workbooks in {tmp_path / 'workbooks'}: install the library from a clone, with `pip install -e .`"
    )


def test_one_table_for_a_folder(grade, tmp_path, capsys):
    folder, scores = tmp_path / "class", tmp_path / "scores.csv"
    (folder / "late" / ".ipynb_checkpoints").mkdir(parents=True)
    nbformat.write(tiny(), folder / "ada.ipynb")
    nbformat.write(tiny(RIGHT | {2: "import os\nos._exit(0)"}), folder / "bob.ipynb")
    nbformat.write(tiny(RIGHT | {4: "draws_needed = ..."}), folder / "late" / "cyn.ipynb")
    nbformat.write(tiny(), folder / "late" / ".ipynb_checkpoints" / "cyn-checkpoint.ipynb")
    (folder / "dan.ipynb").write_text("not a notebook")
    assert command.main([str(folder), "--csv", str(scores), "--timeout", "60"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (folder / "ada.ipynb").read_text() == nbformat.writes(tiny()) + "\n"  # what was handed in stays as it is
    table = pd.read_csv(scores, keep_default_na=False, dtype=str).set_index("notebook")
    assert all(len(checksum) == 16 for checksum in table["checksum"])
    assert table.columns.tolist() == ["workbook", "1", "2", "4", "correct", "remark", "checksum"]
    assert table.loc["ada.ipynb"].tolist()[:-1] == ["02_tiny", "yes", "yes", "yes", "3/3", ""]
    assert table.loc["bob.ipynb"].tolist()[:-1] == ["02_tiny", "yes", "", "", "1/3", "crash: Python itself was ended (cell 5)"]
    assert table.loc["late/cyn.ipynb"].tolist()[:-1] == ["02_tiny", "yes", "yes", "no", "2/3", ""]
    assert table.loc["dan.ipynb"].tolist()[:-1] == ["", "", "", "", "", "not a notebook"]


TIMEOUT = "--timeout must be a number of seconds above 0 and at most 86400, a day; got"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_folder"], "no_such_folder is not a folder"),
        (["."], ". holds no notebooks (*.ipynb)"),
        ([".", "--timeout", "0"], f"{TIMEOUT} 0"),
        ([".", "--timeout", "nan"], f"{TIMEOUT} nan"),
        ([".", "--timeout", "inf"], f"{TIMEOUT} inf"),
        ([".", "--csv", "nowhere/scores.csv"], "--csv: there is no folder nowhere"),
    ],
)
def test_a_wrong_argument_is_answered_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == message  # which sys.exit prints


def test_the_command(tmp_path):
    (tmp_path / "ada.ipynb").write_text("no notebook")
    line = [sys.executable, "-m", "tvae_lib.checks", str(tmp_path)]
    good = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert good.returncode == 0
    assert "ada.ipynb" in good.stdout
    bad = subprocess.run([*line[:-1], "nowhere"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (bad.returncode, bad.stderr) == (1, "nowhere is not a folder\n")
