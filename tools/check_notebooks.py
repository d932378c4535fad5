"""Check how notebooks are stored: `python tools/check_notebooks.py book/*.ipynb` prints what is wrong, if anything.

Outputs are made by the build, so a notebook keeps only those that nbval compares: cells that begin with # NBVAL_CHECK_OUTPUT.
These need an execution count, or nbval takes them for cells that were never run, and it is always 0.

A cell whose code is folded in the book (tag hide-input, hide-cell or remove-input) is folded in JupyterLab too, by
`"jupyter": {"source_hidden": true}` in its metadata, and its output with it (hide-cell) by `outputs_hidden`; --fix writes that.
In a chapter code cells are short, and at least half of the code is shown.
"""

import json
import re
import statistics
import sys
from pathlib import Path

MARK = "# NBVAL_CHECK_OUTPUT"
MAX_BYTES = 300_000
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
MAX_LINES = {"cell": 25, "median": 10, "chapter": 200}
# A folder of somebody's machine: /home/..., C:\Users\..., but not a web address or a path like results/tmp/.
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])(?:/(?:home|Users|root|tmp|work|opt|mnt|var|content)/\w|[A-Z]:\\\w)")


def is_folded(cell):
    """Whether the book hides the code of a cell."""
    return bool(FOLDED & set(cell["metadata"].get("tags", [])))


def fold(cells):
    """Bring JupyterLab's marks for what is folded in step with the book's tags, and return the numbers of the changed cells."""
    changed = []
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] != "code":
            continue
        old = cell["metadata"].get("jupyter", {})
        new = {key: value for key, value in old.items() if key not in ("source_hidden", "outputs_hidden")}
        new |= {"source_hidden": True} if is_folded(cell) else {}
        new |= {"outputs_hidden": True} if "hide-cell" in cell["metadata"].get("tags", []) else {}
        if new != old:
            changed.append(number)
            cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key != "jupyter"}
            cell["metadata"] |= {"jupyter": new} if new else {}
    return changed


def length_problems(cells):
    """What is too long in a chapter. Blank lines are not counted."""
    code = [(number, cell) for number, cell in enumerate(cells, 1) if cell["cell_type"] == "code"]
    lines = {number: sum(bool(line.strip()) for line in "".join(cell["source"]).splitlines()) for number, cell in code}
    found = [f"cell {number} has {n} lines of code, more than {MAX_LINES['cell']}" for number, n in lines.items()]
    found = [complaint for complaint, n in zip(found, lines.values(), strict=True) if n > MAX_LINES["cell"]]
    total, shown = sum(lines.values()), sum(lines[number] for number, cell in code if not is_folded(cell))
    if lines and statistics.median(lines.values()) > MAX_LINES["median"]:
        found.append(f"half of the code cells have more than {MAX_LINES['median']} lines")
    if total > MAX_LINES["chapter"]:
        found.append(f"{total} lines of code, more than {MAX_LINES['chapter']}")
    if shown < total / 2:
        found.append(f"only {shown} of {total} lines of code are shown, fewer than half")
    return found


def problems(path):
    """The complaints about one notebook, a list of strings."""
    path = Path(path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = []
    stored = 0
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        outputs = cell.get("outputs", [])
        stored += len(json.dumps(outputs)) if outputs else 0
        if outputs and not source.startswith(MARK):
            found.append(f"cell {number} stores an output but does not begin with {MARK}")
        if outputs and cell.get("execution_count") is None:
            found.append(f"cell {number} stores an output, but its execution_count is not 0")
        if cell.get("execution_count") or any(output.get("execution_count") for output in outputs):
            found.append(f"cell {number} stores an execution count")
        if MACHINE_PATH.search(source) or MACHINE_PATH.search(json.dumps(outputs)):
            found.append(f"cell {number} holds an absolute path")
    if stored > MAX_BYTES:
        found.append(f"the stored outputs take {stored:,} bytes, more than {MAX_BYTES:,}")
    code = [cell["cell_type"] == "code" for cell in cells]
    check = ["check" in cell["metadata"].get("tags", []) for cell in cells]  # a workbook's check stands right under the answer
    touching = [n for n in range(1, len(cells)) if code[n - 1] and code[n] and not check[n]]
    found += [f"cells {number} and {number + 1} are both code: say between them what was seen" for number in touching]
    changed = ", ".join(map(str, fold(json.loads(json.dumps(cells)))))
    found += [f"cells not folded in JupyterLab as they are in the book: {changed}; --fix mends that"] if changed else []
    if path.parent.name == "book":
        found += length_problems(cells)
    return found


def fix(path):
    """Fold the cells of a notebook in JupyterLab as they are in the book."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    if fold(notebook["cells"]):
        Path(path).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments):
    paths = [argument for argument in arguments if argument != "--fix"]
    if "--fix" in arguments:
        for path in paths:
            fix(path)
    complaints = [f"{path}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
