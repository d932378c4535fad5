"""Do the tests notice a changed program? `python tools/mutants.py latent impute`, or `make mutants` for all, asks mutmut.

It copies the repository to a folder, lets mutmut change one thing at a time in these modules (a plus to a minus, a 1 to a 2, a
`<` to a `<=`), runs the tests of the module on each change, and writes what was killed and what survived, as Markdown.
tests/MUTANTS.md says what the survivors were when it was run last, and why they survive. It takes hours for all modules; an
interrupted run is continued by the same command with the same --folder.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ["tests/library/test_messages.py", "tests/library/test_properties_models.py"]
CHECKS = ["tests/classroom/test_checks.py"]
# It replaces a default argument, which mutmut's copy of the function does not see.
LEFT_OUT = "tests/classroom/test_checks.py::test_a_stale_or_orphaned_students_version_is_noticed"
TESTS = {
    "latent": ["tests/library/test_latent.py", "tests/library/test_properties_latent.py", *SHARED],
    "vae_numpy": ["tests/library/test_vae_numpy.py", *SHARED],
    "masks": ["tests/library/test_masks.py", "tests/library/test_messages.py", "tests/library/test_properties_data.py"],
    "impute": ["tests/library/test_impute.py", *SHARED],
    "metrics": ["tests/library/test_metrics.py", "tests/library/test_messages.py", "tests/library/test_properties_data.py"],
    "checks/__init__": CHECKS,
    **{f"checks/{name}": ["tests/classroom/test_grader.py"] for name in ("__main__", "grader", "runner")},
    "checks/workbooks": CHECKS,
    **{f"checks/chapter_{number:02}": CHECKS for number in range(1, 10)},
}


def without_decorators(source):
    """A chapter's checks with `@task` applied at the end of the file: mutmut leaves decorated functions alone."""
    decorated = re.compile(r'^@task\("([\d.]+)"\)\ndef (\w+)', re.MULTILINE)
    wrapped = [f'{name} = task("{number}")({name})\n' for number, name in decorated.findall(source)]
    return decorated.sub(r"def \2", source) + "\n\n" + "".join(wrapped)


def prepare(folder, modules):
    """Clone the repository into the folder and tell mutmut what to do; what is there already stays."""
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
        for path in folder.glob("tvae_lib/checks/chapter_*.py"):
            path.write_text(without_decorators(path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = {
        "source_paths": ["tvae_lib"],
        "only_mutate": [f"tvae_lib/{module}.py" for module in modules],
        "also_copy": [
            "tests",
            "book",
            "results",
            "benchmarks",
            "pyproject.toml",
            "Makefile",
            "README.md",
            "_toc.yml",
            "_config.yml",
        ],
        "pytest_add_cli_args_test_selection": sorted({test for module in modules for test in TESTS[module]}),
        "pytest_add_cli_args": ["-p", "no:xdist", "--deselect", LEFT_OUT],
    }
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def fates_of_all(mutmut):
    """What became of each mutant, by name: "killed", "survived", "not checked"..."""
    found = mutmut("results", "--all", "true", capture_output=True, text=True).stdout
    return dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", found, re.MULTILINE))


def report(folder, modules, mutmut):
    """Markdown: a table of the modules, then every survivor with its change."""
    fates = fates_of_all(mutmut)
    lines = ["| module | mutants | killed | survived | too slow | no test |", "|---|---|---|---|---|---|"]
    for module in modules:
        dotted = "tvae_lib." + module.replace("/__init__", "").replace("/", ".") + "."
        mine = [fate for name, fate in fates.items() if re.match(re.escape(dotted) + "x", name) and fate != "not checked"]
        counts = [mine.count(fate) for fate in ("killed", "survived", "timeout", "no tests")]
        lines.append(f"| `{module}` | {len(mine)} | " + " | ".join(map(str, counts)) + " |")
    for name, fate in fates.items():
        if fate in ("survived", "timeout", "no tests"):
            diff = mutmut("show", name, capture_output=True, text=True).stdout.splitlines()
            changed = [line for line in diff if re.match(r"[-+](?![-+]{2} )", line)]
            lines += ["", f"{name}: {fate}", *changed]
    return "\n".join(lines) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"from {', '.join(TESTS)} (default: all)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "_build" / "mutants", help="where to work (default: _build/mutants)"
    )
    parser.add_argument("--tenth", action="store_true", help="only the mutants whose number ends in 7, about a tenth of them")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried side by side (default 2)")
    options = parser.parse_args(arguments)
    modules = options.modules or list(TESTS)
    unknown = [module for module in modules if module not in TESTS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such module; there are {', '.join(TESTS)}")
    if shutil.which("mutmut", path=Path(sys.executable).parent) is None:
        parser.error(f"mutmut is not installed: {sys.executable} -m pip install 'mutmut>=3.8,<4'")
    folder = options.folder.resolve()
    prepare(folder, modules)
    environment = os.environ | {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = str(Path(sys.executable).parent / "mutmut")
    mutmut = lambda *words, **options: subprocess.run([command, *words], cwd=folder, env=environment, **options)
    names = []
    if options.tenth:
        mutmut("run", "no mutant of this name", capture_output=True)  # makes the mutants, and ends
        names = [name for name in fates_of_all(mutmut) if name.endswith("7")]
    mutmut("run", "--max-children", str(options.jobs), *names)
    path = folder / "survivors.md"
    path.write_text(report(folder, modules, mutmut), encoding="utf-8")
    print(f"\n{path.read_text(encoding='utf-8').partition('tvae_lib.')[0]}{path}")


if __name__ == "__main__":
    main()
