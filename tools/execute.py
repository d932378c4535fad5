"""Run pages of the book into the cache that the build reads: `python tools/execute.py [PAGE ...]`, two at a time.

Without pages it runs all in _toc.yml that hold code. A page whose code is in the cache is not run again, unless the library or
the stored results have changed.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from book_build import fresh_cache  # noqa: E402

BOOK = ROOT / "book"
CACHE = ROOT / "_build" / ".jupyter_cache"


def read(path):
    """A page as a notebook, or None if it is Markdown without code."""
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix == ".ipynb":
        return nbformat.reads(text, as_version=4)
    return read_myst_markdown_notebook(text, path=path) if is_myst_markdown_notebook(text) else None


def pages_with_code():
    """The paths of all pages in _toc.yml that hold code, in the book's order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    paths = [next(path for path in (ROOT / f"{name}.ipynb", ROOT / f"{name}.md") if path.exists()) for name in names]
    return [path for path in paths if (notebook := read(path)) and any(cell.cell_type == "code" for cell in notebook.cells)]


def cached(path, folder=CACHE):
    """The executed code cells of a page as a notebook, or None if its code is not in the cache."""
    cache = get_cache(folder)
    try:
        return cache.get_cache_bundle(cache.match_cache_notebook(read(path)).pk).nb
    except KeyError:
        return None


def keep(path, notebook, folder=CACHE, **data):
    """Put an executed page into the cache."""
    get_cache(folder).cache_notebook_bundle(CacheBundleIn(notebook, str(path), data=data), check_validity=False, overwrite=True)


def run(path):
    """Execute one page in its own folder: the result of jupyter-cache, and the seconds."""
    notebook = read(path)
    own = notebook.metadata.get("mystnb", {}).get("execution_timeout")
    start = time.perf_counter()
    result = single_nb_execution(notebook, cwd=str(path.parent), timeout=own or 300, allow_errors=False)
    return path, result, time.perf_counter() - start


def execute(paths, jobs=2, folder=CACHE):
    """Run those pages that are not in the cache, and return the paths of those that failed."""
    fresh_cache(folder)
    stale = [path for path in paths if cached(path, folder) is None]
    failed = []
    with ProcessPoolExecutor(jobs) as pool:
        for path, result, seconds in pool.map(run, stale):
            if result.err is None:
                keep(path, result.nb, folder, execution_seconds=result.time)
                print(f"{path.name}: {seconds:.0f} s", flush=True)
            else:
                failed.append(path)
                print(f"{path.name} failed:\n{result.exc_string}", file=sys.stderr)
    return failed


def executed(path, folder=CACHE):
    """The executed code cells of a page, from the cache or run now. Raises ValueError if a cell fails."""
    if execute([path], jobs=1, folder=folder):
        raise ValueError(f"{path.name} does not run")
    return cached(path, folder)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="tools/execute.py", description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=lambda text: Path(text).resolve())
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    return 1 if execute(options.pages or pages_with_code(), options.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
