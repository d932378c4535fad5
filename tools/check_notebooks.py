"""Check how notebooks are stored: `python tools/check_notebooks.py book/*.ipynb` prints what is wrong, if anything.

Outputs are made by the build, so a notebook keeps only those that nbval compares: cells that begin with # NBVAL_CHECK_OUTPUT.
These need an execution count, or nbval takes them for cells that were never run, and it is always 0.
"""

import json
import re
import sys
from pathlib import Path

MARK = "# NBVAL_CHECK_OUTPUT"
MAX_BYTES = 300_000
# A folder of somebody's machine: /home/..., C:\Users\..., but not a web address or a path like results/tmp/.
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])(?:/(?:home|Users|root|tmp|work|opt|mnt|var|content)/\w|[A-Z]:\\\w)")


def problems(path):
    """The complaints about one notebook, a list of strings."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
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
    return found


def main(paths):
    complaints = [f"{path}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
