"""Grade a folder of workbooks: `python -m tvae_lib.checks FOLDER` prints one table, a row as soon as its notebook is graded.

Every notebook runs from top to bottom in a fresh Python of its own and in an empty folder. The set-up and the checks of the
original are put back, so that a changed check counts for nothing. A notebook that crashes or does not end costs its own row only.

With --csv the table is kept in a file too, and the same command goes on where it was stopped: rows of unchanged notebooks stay.

This runs the code that was handed in, with your rights: use an account or a machine where that is acceptable.
"""

import argparse
import csv
import hashlib
import io
import os
import sys
from pathlib import Path

from tqdm import tqdm

from tvae_lib.checks import grader
from tvae_lib.files import write_atomically

MACHINES = {".ipynb_checkpoints", "__MACOSX", ".virtual_documents"}  # folders in which no student puts anything
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def find(folder):
    """What was handed in: the notebooks, the archives that may hold some, and everything else that is passed over."""
    notebooks, archives, others = [], [], []
    for where, inside, names in os.walk(folder, onerror=lambda error: others.append(Path(error.filename))):
        inside[:] = set(inside) - MACHINES
        for path in (Path(where, name) for name in names if not name.startswith("._")):
            kind = path.name.lower()
            # Browsers and mail programs append to names: ada.ipynb.txt, ada.ipynb (1).
            (notebooks if ".ipynb" in kind else archives if kind.endswith(ARCHIVES) else others).append(path)
    return sorted(notebooks), sorted(archives), sorted(others)


def readable(path, folder):
    """The name of a file as text that can be printed and encoded, whatever bytes it is made of."""
    name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def show(text, file=None):
    """Print a line; letters that the terminal does not know become escapes."""
    file = file or sys.stdout
    encoding = getattr(file, "encoding", None) or "utf-8"
    tqdm.write(text.encode(encoding, "backslashreplace").decode(encoding), file=file)
    file.flush()


def row(name, result, numbers, checksum):
    """One row of the table, a dict of text."""
    tasks = result["tasks"]
    correct = f"{list(tasks.values()).count('yes')}/{len(tasks)}" if tasks else ""
    cells = {str(number): tasks.get(number, "") for number in numbers}
    last = {"correct": correct, "remark": result["remark"], "checksum": checksum}
    return {"notebook": name, "workbook": result["workbook"]} | cells | last


def earlier(path):
    """The rows of a table that is there already, by notebook and checksum. Raises ValueError if the file is something else."""
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        if (rows.fieldnames or ["notebook", "workbook"])[:2] != ["notebook", "workbook"]:
            raise ValueError(f"{path} is there already, and no table of grades")
        return {(each["notebook"], each["checksum"]): each for each in rows if each.get("checksum")}


def checksum(path):
    """What tells whether a file has changed; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def grade(path, timeout):
    """`grader.grade`, whatever goes wrong: a row is lost, and not the class."""
    try:
        return grader.grade(path, timeout)
    except Exception as error:  # no room for the empty folder, for example
        first = (str(error).splitlines() or [""])[0]
        return {"workbook": "", "tasks": {}, "remark": f"not graded: {type(error).__name__}: {first}"}


def write(path, rows):
    """Write the whole table, so that the file is whole at any time. Returns what went wrong, if something did."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore", restval="")
    table.writeheader()
    table.writerows(rows)
    try:
        write_atomically(path, text.getvalue().encode())
    except OSError as error:
        return str(error)
    return ""


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tvae_lib.checks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the notebooks are; folders inside it are searched too")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each notebook (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="keep the table in this file as well")
    options = parser.parse_args(arguments)
    folder = options.folder
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not 0 < options.timeout <= 86400:
        return f"--timeout must be a number of seconds above 0 and at most 86400, a day; got {options.timeout:g}"
    if options.csv and not options.csv.parent.is_dir():
        return f"--csv: there is no folder {options.csv.parent}"
    originals = sorted(grader.WORKBOOKS.glob("*.ipynb"))
    if not originals:
        return f"there are no workbooks in {grader.WORKBOOKS}: install the library from a clone, with `pip install -e .`"
    notebooks, archives, others = find(folder)
    if not notebooks and not archives:
        return f"{folder} holds no notebooks (*.ipynb)"
    kept = {}
    if options.csv:
        try:
            kept = earlier(options.csv)
        except (OSError, ValueError, csv.Error) as error:
            return f"--csv: {error}"

    numbers = sorted({number for path in originals for number in grader.task_numbers(path.read_text("utf-8", "replace"))})
    names = {path: readable(path, folder) for path in notebooks + archives}
    widths = {"notebook": max(map(len, names.values())), "workbook": max(len(path.stem) for path in originals)}
    widths |= {str(number): 3 for number in numbers} | {"correct": 7}
    line = lambda cells: "  ".join(cells[key].ljust(width) for key, width in widths.items()) + "  " + cells["remark"]
    checksums = {path: checksum(path) for path in notebooks} | dict.fromkeys(archives, "")
    rows = {path: kept[key] for path in names if (key := (names[path], checksums[path])) in kept}
    failed = ""
    show(line(dict.fromkeys(widths, "") | {key: key for key in [*widths, "remark"]}).rstrip())
    try:
        for path in tqdm(names, desc="grading", unit="notebook", disable=None):
            if path not in rows:
                result = {"workbook": "", "tasks": {}, "remark": "not graded: unpack it first"}
                if path in notebooks:
                    result = grade(path, options.timeout)
                rows[path] = row(names[path], result, numbers, checksums[path])
                failed = options.csv and write(options.csv, [rows[path] for path in names if path in rows])
            show(line(dict.fromkeys(widths, "") | rows[path]).rstrip())
    except KeyboardInterrupt:
        kept = f"; their rows are in {options.csv}, and the same command goes on from there" if options.csv else ""
        return f"stopped: {len(rows)} of {len(names)} are graded{kept}"
    if others:
        some = ", ".join(readable(path, folder) for path in others[:20]) + (", ..." if len(others) > 20 else "")
        show(f"Passed over, as no name says that it is a notebook: {some}", sys.stderr)
    return f"--csv: {failed}" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
