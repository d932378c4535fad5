"""Write the students' workbooks from the teacher's: `python tools/make_workbooks.py`, or `make workbooks`.

The teacher's notebooks in book/workbooks/teacher/ are the only source. In the student's version, one folder up,

- a code block between `### BEGIN SOLUTION` and `### END SOLUTION` becomes `...  # your code here`; where the block assigns names
  outside a function, each becomes `name = ...`, so that the check finds it. A block with a line `### GIVEN` is replaced by what
  stands below that line, commented out in the teacher's version: code with a mistake to find, for example;
- a Markdown cell tagged `solution` becomes "*Your answer here.*";
- the first cell tagged `setup` gets a few lines in front that fetch the library on Google Colab;
- cells tagged `setup` or `check` cannot be edited or deleted in JupyterLab, and the first cell says so.

With --check nothing is written, and the exit status is 1 if a student's version is not what the teacher's gives.
"""

import argparse
import ast
import copy
import re
import sys
import textwrap
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[1]
WORKBOOKS = ROOT / "book" / "workbooks"
BLOCK = re.compile(r"^(?P<indent> *)### BEGIN SOLUTION\n(?P<solution>.*?)^ *### END SOLUTION *$", flags=re.M | re.S)
GIVEN = re.compile(r"^ *### GIVEN *\n", flags=re.M)
FIXED = """\
The set-up cell and the cells with checks cannot be edited. Write in the cells between them, and add cells of your own wherever
you like, for imports for example."""
COLAB = """\
# Where the library is not installed, on Google Colab, fetch it.
from importlib.util import find_spec

if not find_spec("tvae_lib"):
    !git clone -q --depth 1 {address} t-vae-book
    %cd -q t-vae-book
    %pip install -q {packages}

"""


def repository_address():
    """The repository's address in _config.yml, or None."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return (config.get("repository") or {}).get("url")


def tags(cell):
    """The tags of a cell, a set."""
    return set(cell.metadata.get("tags", []))


def blank(source):
    """The source of a code cell with every solution taken out. Raises ValueError if a marker has no partner."""
    blanked = BLOCK.sub(lambda block: _placeholder(block["solution"], block["indent"]), source)
    if "### BEGIN" in blanked or "### END" in blanked or "### GIVEN" in blanked:
        raise ValueError("a `### BEGIN SOLUTION` or `### END SOLUTION` has no partner")
    return blanked


def _placeholder(solution, indent):
    solution, *given = GIVEN.split(solution)
    if given:
        return re.sub(r"^( *)# ?", r"\1", given[0].rstrip("\n"), flags=re.M)
    names = []
    if not indent:
        for statement in ast.parse(textwrap.dedent(solution)).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            names += [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return "\n".join(f"{name} = ...  # your code here" for name in dict.fromkeys(names)) or f"{indent}...  # your code here"


def student_version(teacher, address=None):
    """The student's notebook made from the teacher's. address: the repository that Colab fetches the library from."""
    student = copy.deepcopy(teacher)
    student.cells[0].source += f"\n\n{FIXED}"
    first_setup = True
    for cell in student.cells:
        if cell.cell_type == "markdown":
            if "solution" in tags(cell):
                cell.source = "*Your answer here.*"
                del cell.metadata["tags"]
            continue
        if "setup" in tags(cell) and first_setup:
            first_setup = False
            cell.source = (COLAB.format(address=address, packages="safetensors") if address else "") + cell.source
        if tags(cell) & {"setup", "check"}:
            cell.metadata |= {"editable": False, "deletable": False}
        cell.source = blank(cell.source)
        cell.outputs, cell.execution_count = [], None
    return student


def expected_versions(folder=WORKBOOKS):
    """For each student's notebook its path and the text that it should have."""
    address = repository_address()
    for path in sorted(folder.glob("teacher/*.ipynb")):
        teacher = nbformat.read(path, as_version=4)
        try:
            text = nbformat.writes(student_version(teacher, address)) + "\n"
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{path.name}: {error}") from None
        yield folder / path.name, text


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="tools/make_workbooks.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a workbook is not up to date")
    options = parser.parse_args(arguments)
    versions = dict(expected_versions())
    stale = [path for path, text in versions.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    left_over = [path for path in WORKBOOKS.glob("*.ipynb") if path not in versions]
    if options.check:
        for path in stale:
            print(f"{path.name} is not what teacher/{path.name} gives: run `make workbooks`")
        for path in left_over:
            print(f"{path.name} has no source in teacher/")
        return 1 if stale or left_over else 0
    for path in stale:
        path.write_text(versions[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
