"""Grading one workbook: its cells and the original's set-up and checks are run by `runner` in a Python of their own."""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil

WORKBOOKS = Path(__file__).parents[2] / "book" / "workbooks"
LARGEST = 100_000_000  # bytes of a notebook; reading takes several times as much memory
START = """
import sys
sys.path.insert(0, {library!r})  # the grader's own library, wherever it is
import tvae_lib
del sys.path[0]
from tvae_lib.checks.runner import main
main({pid})
"""
MARK = "TVAE_LIB_GRADING"  # the environment variable by which the processes that a notebook started are found


def read(path):
    """A notebook from a file of any version, whatever its name. Raises ValueError, one line, if it is none."""
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"too large, {size / 1e6:.0f} MB: clear its outputs")
        content = json.loads(path.read_bytes())  # with a byte order mark too
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError("not a notebook") from error
    try:
        for cell in content.get("cells", []):  # before version 4 there were worksheets
            cell.setdefault("metadata", {})
            if cell["cell_type"] == "code":
                cell["outputs"] = []
        with warnings.catch_warnings(action="ignore"):  # cells without an id get one
            notebook = nbformat.convert(nbformat.reader.reads(json.dumps(content)), 4)
        if not all(isinstance(part.metadata, dict) for part in [notebook, *notebook.cells]):
            raise TypeError
        if not all(isinstance(cell.source, str) and cell.cell_type for cell in notebook.cells):
            raise TypeError
        return notebook
    except Exception as error:  # missing keys, parts of another kind: nbformat raises many things
        raise ValueError("not a notebook") from error


def original_of(notebook, path):
    """The student's version that the notebook started from. Raises ValueError, one line, if none fits."""
    about = notebook.metadata.get("workbook")
    name = about.get("name") if isinstance(about, dict) else None
    for original in sorted(WORKBOOKS.glob("*.ipynb")):
        if original.stem == name or (name is None and original.stem in path.name):
            try:
                return read(original)
            except ValueError:
                hint = "restore it with `git checkout` or reinstall tvae_lib"
                raise ValueError(f"the library's own {original.name} is damaged: {hint}") from None
    raise ValueError("unknown workbook")


def task_numbers(source):
    """The tasks that a cell checks, e.g. [3] for `check.task_3(kl)`."""
    return [int(number) for number in re.findall(r"\btask_(\d+)\(", source)]


def plan(notebook, original):
    """What to run: the cells that were handed in, and between them the original's set-up and checks.

    Cells are recognised by their id, also where Colab keeps it, or else by what they call. One that was changed runs first, as it
    may hold what later cells need, and then the original does.

    Returns
    -------
    dict with "cells", pairs of a place and the code handed in; "setup", pairs of a place and the original's code to run behind it
    (-1: before all); "checks", dicts with "source", "tasks", "names" that it is called with, and "places" behind which it stands
    list of str: what was changed or is missing, for the remark
    """
    code = {i: cell.source for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    ids = {i: [notebook.cells[i].get("id"), notebook.cells[i].metadata.get("id")] for i in code}
    setup, checks, changed, missing = [], [], [], []
    for cell in original.cells:
        tags = cell.metadata.get("tags", [])
        if "setup" in tags:
            name = "set-up"
            places = [i for i in code if cell.id in ids[i]] or [i for i in code if "tvae_lib.checks" in code[i]]
            places = places[:1]
            setup.append((places[0] if places else -1, cell.source))
            # Only the students' versions, and no teacher's, begin with what Colab needs.
            same = [i for i in places if plain(code[i]) and plain(cell.source).endswith(plain(code[i]))]
        elif "check" in tags:
            tasks = task_numbers(cell.source)
            name = f"check {' and '.join(map(str, tasks))}"
            places = [i for i in code if cell.id in ids[i] or set(tasks) & set(task_numbers(code[i]))]
            names = sorted(set(re.findall(r"[(,]\s*([^\W\d]\w*)", cell.source)))
            checks.append({"source": cell.source, "tasks": tasks, "names": names, "places": places})
            same = [i for i in places if plain(code[i]) == plain(cell.source)]
        else:
            continue
        if not places:
            missing.append(name)
        elif not same:
            changed.append(name)
        for i in same:
            code[i] = ""  # the original runs in its place
    replaced = [f"{what}: {', '.join(names)}" for what, names in (("changed", changed), ("missing", missing)) if names]
    return {"cells": list(code.items()), "setup": setup, "checks": checks}, replaced


def plain(source):
    """Code without what editors add or drop: spaces at the ends of lines, empty lines at the ends."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def run(job, timeout):
    """Run what `plan` returned in a fresh Python and an empty folder, and end whatever it has started.

    Returns
    -------
    list of dict: what `runner` reported; no more than a workbook can have to say, whatever the code in it writes
    str: how it ended, "" if it came to its end
    """
    job = job | {"nonce": secrets.token_hex()}
    mark = secrets.token_hex()
    start = START.format(library=str(Path(__file__).parents[2]), pid=os.getpid())
    reports, ended = [], ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        (work := Path(folder, "work")).mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=stdin,
            stdout=subprocess.PIPE,
            cwd=work,
            env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": folder, MARK: mark},
            start_new_session=True,  # Ctrl-C is for the grader
        )
        listener = threading.Thread(target=listen, args=(process.stdout, job["nonce"], reports), daemon=True)
        listener.start()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            ended = f"time-out after {timeout:g} s"
        finally:
            process.kill()
            process.wait()
            end_all(mark)
        listener.join(10)
    if not ended and not any(report.get("end") for report in reports):
        ended = "crash: Python itself was ended"
    return reports, ended


def listen(pipe, nonce, reports):
    """Collect the lines that show the nonce, which code in a notebook is not told, and forget all others."""
    with pipe, suppress(ValueError):
        while line := pipe.readline(1000):
            with suppress(ValueError, TypeError, KeyError):
                report = json.loads(line)
                if report.pop("nonce") == nonce and len(reports) < 10_000:
                    reports.append(report)


def end_all(mark):
    """End the processes, also detached ones, that carry the mark in their environment."""
    for _ in range(20):  # some may start others meanwhile
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    found.append(process)
        if not found:
            return
        psutil.wait_procs(found, timeout=1)


def grade(path, timeout=300):
    """Run one workbook and read its verdicts.

    Parameters
    ----------
    path : Path
        The notebook that was handed in; it is not changed.
    timeout : float
        Seconds that the whole notebook may take.

    Returns
    -------
    dict with "workbook" (its name), "tasks" (number of the task to "yes", "no" or "" for not run) and "remark"
    """
    path = Path(path)
    try:
        notebook = read(path)
        original = original_of(notebook, path)
    except ValueError as error:
        return {"workbook": "", "tasks": {}, "remark": str(error)}
    name = original.metadata["workbook"]["name"]
    job, replaced = plan(notebook, original)
    reports, ended = run(job | {"chapter": name[:2]}, timeout)
    verdicts = dict.fromkeys((number for check in job["checks"] for number in check["tasks"]), "")
    errors = []
    for report in reports:
        if "task" in report and verdicts[report["task"]] != "yes":
            verdicts[report["task"]] = "yes" if report["correct"] else "no"
        errors += [report["error"]] if "error" in report else []
    places = [report["place"] + 1 for report in reports if "place" in report]
    if ended and places:
        ended += f" (cell {places[-1]})"
    return {"workbook": name, "tasks": verdicts, "remark": "; ".join([*([ended] if ended else errors[:1]), *replaced])}
