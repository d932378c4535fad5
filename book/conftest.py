"""What `pytest --nbval-lax` does here besides running the notebooks.

An answer in a teacher's workbook must be correct, and what a chapter has computed is kept where the book's build looks for it,
so that nothing is run twice.
"""

import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))
import execute  # noqa: E402


def pytest_sessionstart(session):
    # Once, before the workers of pytest-xdist start.
    if not hasattr(session.config, "workerinput"):
        execute.fresh_cache(execute.CACHE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not hasattr(item, "cell"):
        return (yield)
    item.parent.done = getattr(item.parent, "done", 0)  # cells that ran
    yield  # one that fails ends here
    cell = item.cell
    cell.execution_count, cell.outputs = item.cell_num + 1, item.test_outputs
    # IPython overlooks a last semicolon where, as in nbval, no history is kept.
    if cell.source.rstrip().endswith(";"):
        is_value = lambda output: output.output_type == "execute_result"
        cell.outputs = [each for each in cell.outputs if not is_value(each)]
    in_teachers = item.parent.path.parent.name == "teacher"
    if in_teachers and "check" in cell.metadata.get("tags", []):
        said = "".join(output.get("text", "") for output in cell.outputs)
        lines = said.splitlines()
        assert lines and all(line.endswith(": correct.") for line in lines), (
            said
        )
    item.parent.done += 1


def pytest_runtest_teardown(item, nextitem):
    page = item.parent
    if not hasattr(item, "cell") or page is getattr(nextitem, "parent", None):
        return
    whole = page.done == sum(cell.cell_type == "code" for cell in page.nb.cells)
    if whole and page.path.parent == execute.BOOK:
        with FileLock(execute.CACHE.with_suffix(".lock")):
            execute.keep(page.path, page.nb, execute.CACHE)
