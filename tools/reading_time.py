"""How long a chapter takes to read: `python tools/reading_time.py book/[01]*.ipynb` prints the minutes, and those in its box.

The rule is a convention for text that one studies, one for all chapters: 150 words a minute for prose and captions, a formula
within a line counting as three words; 45 seconds for each line of a displayed formula, 5 for each line of shown code, 30 for each
figure, 3 minutes for a live figure. The exercises are not counted, nor are printed outputs.
"""

import json
import re
import sys
from pathlib import Path

SECONDS = {"words": 60 / 150, "lines of formulas": 45, "lines of code": 5, "figures": 30, "live figures": 180}
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
DISPLAYED = re.compile(r"\$\$(.*?)\$\$(?: \(\S+\))?", flags=re.S)
SNIPPET = re.compile(r"^```python\n(.*?)\n```", flags=re.M | re.S)


def until_exercises(cells):
    """Kind, text and metadata of the cells that count."""
    for cell in cells:
        text, *exercises = re.split(r"^## Exercises$", "".join(cell["source"]), flags=re.M)
        yield cell["cell_type"], text, cell["metadata"]
        if exercises:
            return


def count(cells):
    """What SECONDS gives a time to, as a dictionary with its names."""
    found = dict.fromkeys(SECONDS, 0)
    code, prose = [], []
    for kind, text, metadata in until_exercises(cells):
        if kind == "markdown":
            code += SNIPPET.findall(text)
            found["lines of formulas"] += sum(formula.count(r"\\") + 1 for formula in DISPLAYED.findall(text))
            prose += [re.sub(r"\$[^$]+\$", "a short formula", DISPLAYED.sub("", SNIPPET.sub("", text)))]
        else:
            figure = metadata.get("mystnb", {}).get("figure")
            found["figures"] += bool(figure)
            prose += [figure["caption"]] if figure else []
            found["live figures"] += bool(re.search(r"_explorer\(", text))
            code += [] if FOLDED & set(metadata.get("tags", [])) else [text]
    found["lines of code"] = sum(bool(line.strip()) for cell in code for line in cell.splitlines())
    found["words"] = len(re.findall(r"\w[\w'’-]*", re.sub(r"<!--.*?-->", "", " ".join(prose))))
    return found


def minutes(found):
    return sum(SECONDS[name] * number for name, number in found.items()) / 60


def stated(cells):
    """The minutes of reading and of exercises in a chapter's box "Time"."""
    opening = "".join(cells[0]["source"])
    box = re.search(r"\{admonition\} Time\nAbout (\d+) minutes to read, (\d+) more for the exercises", opening)
    return int(box[1]), int(box[2])


def main(paths):
    for path in paths:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        found = count(cells)
        counted = ", ".join(f"{number} {name}" for name, number in found.items())
        print(f"{path}: {minutes(found):.0f} minutes ({counted}); the box says {stated(cells)[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
