"""Check what was changed since the main branch: `python tools/check_changed.py`, or `make check`.

The style of everything; the tests of the changed modules, tools and extensions; changed tests; the cells of changed notebooks,
and the numbers in their text. What needs the whole book built, and what a change does further away, `make test` finds.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = [
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
    ["-m", "codespell_lib"],
    ["tools/make_workbooks.py", "--check"],
]
PYTEST = ["-m", "pytest", "-n", "2", "--dist", "loadfile"]
# Files whose tests have another name: a part of the path, and the tests.
ELSEWHERE = {
    r"tools/(check_notebooks)\.py": ["tests/book/test_book.py"],
    r"tools/(execute|numbers_in_text)\.py": ["tests/book/test_numbers.py"],
    r"tools/reading_time\.py|book/_ext/figures\.py|book/[^/]+\.(md|ipynb|bib)": ["tests/book/test_consistency.py"],
    r"tools/make_workbooks\.py|book/_ext/plain_copies\.py": ["tests/book/test_plain_copies.py"],
    r"tvae_lib/checks/__(main|init)__\.py": ["tests/classroom/test_grader.py"],
    r"tvae_lib/checks/chapter_\d\d\.py|book/workbooks/": ["tests/classroom/test_checks.py"],
    r"tvae_lib/experiments/|results/": ["tests/library/test_experiments.py"],
    r"tvae_lib/vae_torch\.py": ["tests/library/test_torch.py"],
    r"tvae_lib/inputs/": ["tests/library/test_messages.py"],
    r"tvae_lib/divergences/": ["tests/library/test_latent.py", "tests/library/test_families.py"],
    r"tvae_lib/tables/": ["tests/library/test_holes.py", "tests/library/test_imputer.py"],
    r"tvae_lib/interactive/": ["tests/library/test_interactive.py"],
}


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")


def changed():
    """The files that differ from where this branch left origin/main (from the last commit if there is no such branch)."""
    base = git("merge-base", "HEAD", "origin/main")[0] or "HEAD"
    names = [*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")]
    return sorted({name for name in names if name and (ROOT / name).exists()})


def its_tests(name):
    """The test files that belong to a changed file."""
    if re.fullmatch(r"tests/(?!browser).*/test_\w+\.py", name):
        return [name]
    found = [test for pattern, tests in ELSEWHERE.items() if re.match(pattern, name) for test in tests]
    if module := re.fullmatch(r"tvae_lib/(\w+)(?:/\w+)?\.py", name):
        found += [path.relative_to(ROOT).as_posix() for path in ROOT.glob(f"tests/library/test_{module[1]}*.py")]
    return [test for test in found if (ROOT / test).exists()]


def plan(names):
    """The commands for these changed files, as arguments of Python."""
    notebooks = [name for name in names if re.fullmatch(r"book/[^/]+\.ipynb", name)]
    teachers = [name for name in names if re.fullmatch(r"book/workbooks/teacher/[^/]+\.ipynb", name)]
    pages = [
        name for name in names if re.fullmatch(r"book/[^/]+\.(ipynb|md)", name) and "glue(" in (ROOT / name).read_text("utf-8")
    ]
    tests = sorted({test for name in names for test in its_tests(name)})
    numbers = {match[1] for name in names for match in [re.search(r"(?:chapter_|workbooks/(?:teacher/)?)(\d\d)", name)] if match}
    commands = [["tools/check_notebooks.py", *notebooks, *teachers]] if notebooks or teachers else []
    if "tests/classroom/test_checks.py" in tests and numbers and "tests/classroom/test_checks.py" not in names:
        tests.remove("tests/classroom/test_checks.py")
        chosen = " or ".join(f"chapter_{number} or {number}_" for number in sorted(numbers))
        commands.append([*PYTEST, "tests/classroom/test_checks.py", "-k", chosen])
    if tests:
        commands.append([*PYTEST, "-m", "not built", *tests])
    if notebooks or teachers:
        commands.append([*PYTEST, "--nbval-lax", "--nbval-current-env", *notebooks, *teachers])
    if pages:
        commands.append(["tools/numbers_in_text.py", "--check", *pages])
    return commands


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="tools/check_changed.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="only print what would be run")
    options = parser.parse_args(arguments)
    failed = []
    for command in [*LINT, *plan(changed())]:
        line = " ".join(command)
        print(f"== {line}", flush=True)
        if not options.list and subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode not in (0, 5):
            failed.append(line)
    print("\n".join(["", "Failed:", *failed] if failed else ["", "Nothing found."]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
