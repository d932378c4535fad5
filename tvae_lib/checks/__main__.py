"""Grade a folder of workbooks: `python -m tvae_lib.checks FOLDER` prints one table, a row for each notebook.

Every notebook runs from top to bottom in a fresh Python of its own and in an empty folder, with the set-up and check cells of the
original put back, so that a changed check counts for nothing. A notebook that crashes or does not end costs its own row only.

This runs the code that was handed in, with your rights: use an account or a machine where that is acceptable.
"""

import argparse
import copy
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat
import pandas as pd
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from tqdm import tqdm

from tvae_lib.files import write_atomically

WORKBOOKS = Path(__file__).parents[2] / "book" / "workbooks"
FIXED = {"setup", "check"}


def read(path):
    """A notebook from a file of any version, without its outputs. Raises ValueError, one line, if it is none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # cells without an id get one
            notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        return notebook
    except Exception as error:  # damaged JSON, missing keys, wrong encoding: nbformat raises many things
        raise ValueError("not a notebook") from error


def original_of(notebook, path):
    """The student's version that the notebook started from. Raises ValueError, one line, if none fits."""
    about = notebook.metadata.get("workbook")
    name = about.get("name") if isinstance(about, dict) else None
    for original in sorted(WORKBOOKS.glob("*.ipynb")):
        if original.stem == name or (name is None and original.stem in path.stem):
            try:
                return read(original)
            except ValueError:
                hint = "restore it with `git checkout` or reinstall tvae_lib"
                raise ValueError(f"the library's own {original.name} is damaged: {hint}") from None
    raise ValueError("unknown workbook")


def task_numbers(cell):
    """The tasks that a check cell checks, e.g. [3] for `check.task_3(kl)`."""
    return [int(number) for number in re.findall(r"\btask_(\d+)\(", cell.source)]


def restore(notebook, original):
    """The notebook with the original's set-up and check cells back in place.

    Cells are recognised by their id, also where Colab keeps it, or else by their text. One that was deleted is put back
    behind the cell that it followed.
    """
    cells = [({cell.get("id"), cell.metadata.get("id")}, copy.deepcopy(cell)) for cell in notebook.cells]
    for number, (_, cell) in enumerate(cells):
        cell["id"] = f"handed-in-{number}"  # some have none, and copied cells may share one
    last = -1
    for cell in original.cells:
        found = [i for i, (ids, _) in enumerate(cells) if cell.id in ids]
        found = found or [i for i, (_, other) in enumerate(cells) if other.cell_type == "code" and other.source == cell.source]
        if FIXED & set(cell.metadata.get("tags", [])):
            if found:
                cells[found[0]] = (set(), copy.deepcopy(cell))
            else:
                found = [last + 1]
                cells.insert(last + 1, (set(), copy.deepcopy(cell)))
        last = found[0] if found else last
    return nbformat.v4.new_notebook(cells=[cell for _, cell in cells])


def execute(notebook, timeout):
    """Run the notebook in place, in a fresh kernel and an empty folder. Returns a remark, empty if all went well."""
    end = time.monotonic() + timeout
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            allow_errors=True,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # its warnings would tear the progress bar
            timeout_func=lambda cell: max(end - time.monotonic(), 0.01),
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except CellTimeoutError:
            return f"time-out after {timeout:g} s"
        except DeadKernelError:
            return "crash: Python itself was ended"
        except Exception as error:
            return f"crash: {type(error).__name__}"
    return ""


def verdict(cell, chapter, number):
    """What a check cell printed about one task: "yes", "no", or "" if it did not run."""
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")
    # The last line counts: a print in the answer comes before the verdict.
    lines = re.findall(rf"^Task {chapter}\.{number}: (correct|not yet)\.", printed, flags=re.M)
    if lines:
        return "yes" if lines[-1] == "correct" else "no"
    errors = [output.ename for output in cell.outputs if output.output_type == "error"]
    return "no" if errors and "KeyboardInterrupt" not in errors else ""  # this is how an endless loop was ended


def first_error(notebook):
    """A remark on the first cell that raised an error, or "" if none did."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell {number}: {output.ename}"
    return ""


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
    try:
        notebook = read(path)
        original = original_of(notebook, Path(path))
        notebook = restore(notebook, original)
    except ValueError as error:
        return {"workbook": "", "tasks": {}, "remark": str(error)}
    except Exception:  # JSON that has cells, but of another kind
        return {"workbook": "", "tasks": {}, "remark": "not a notebook"}
    name = original.metadata["workbook"]["name"]
    chapter = int(name[:2])
    remark = execute(notebook, timeout) or first_error(notebook)
    ids = {cell.id for cell in original.cells if "check" in cell.metadata.get("tags", [])}
    checks = [cell for cell in notebook.cells if cell.id in ids]
    tasks = {number: verdict(cell, chapter, number) for cell in checks for number in task_numbers(cell)}
    return {"workbook": name, "tasks": tasks, "remark": remark}


def table(grades):
    """One row for each notebook. grades: dict of name to what `grade` returned."""
    numbers = sorted({number for result in grades.values() for number in result["tasks"]})
    rows = []
    for name, result in grades.items():
        row = {"notebook": name, "workbook": result["workbook"]}
        row |= {str(number): result["tasks"].get(number, "") for number in numbers}
        row["correct"] = f"{list(result['tasks'].values()).count('yes')}/{len(result['tasks'])}" if result["tasks"] else ""
        rows.append(row | {"remark": result["remark"]})
    return pd.DataFrame(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tvae_lib.checks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the notebooks are; folders inside it are searched too")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each notebook (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        return f"{options.folder} is not a folder"
    if not options.timeout > 0:
        return f"--timeout must be a number of seconds above 0, got {options.timeout:g}"
    if options.csv and not options.csv.parent.is_dir():
        return f"--csv: there is no folder {options.csv.parent}"
    paths = sorted(path for path in options.folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        return f"{options.folder} holds no notebooks (*.ipynb)"
    grades = {}
    for path in tqdm(paths, desc="grading", unit="notebook"):
        grades[path.relative_to(options.folder).as_posix()] = grade(path, options.timeout)
    result = table(grades)
    print(result.to_string(index=False))
    if options.csv:
        try:
            write_atomically(options.csv, result.to_csv(index=False).encode())
        except OSError as error:
            return f"--csv: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
