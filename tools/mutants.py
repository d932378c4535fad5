"""Do the tests notice a changed program? `python tools/mutants.py latent impute --sample 30`, or `make mutants` for all.

One thing at a time is changed in a module: a plus to a minus, a 1 to a 2, a `<` to a `<=`, an option is left out. First the tests
run on the library as it is, which notes how long each takes and which functions it calls. On a change those run that call the
changed function, the fastest first, in a process of their own, up to the first that fails. What survives is printed.
tests/MUTANTS.md says what that was when it was run last, and why.
"""

import argparse
import ast
import contextlib
import copy
import functools
import gc
import importlib.abc
import importlib.util
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {  # the files that are about a module, in tests/library if not said otherwise
    "baselines": "baselines properties_data",
    "checkpoint": "checkpoint holes own_latent train",
    "data": "data properties_data",
    "files": "checkpoint experiments",
    "impute": "impute holes messages properties_models",
    "latent": "latent families messages own_latent properties_latent",
    "likelihood": "vae_numpy torch holes messages properties_models",
    "masks": "masks messages properties_data",
    "metrics": "metrics messages properties_data",
    "outliers": "outliers messages",
    "synthetic": "synthetic",
    "train": "train holes properties_models",
    "vae_numpy": "vae_numpy holes messages properties_models",
    "vae_torch": "torch holes properties_models",
    "divergences": "latent families torch properties_latent",
    "divergences.families": "families latent own_latent properties_latent",
    "divergences.torch": "torch families own_latent",
    "inputs.families": "latent families messages torch properties_latent",
    "inputs.models": "messages vae_numpy torch holes latent own_latent",
    "inputs.values": "messages masks metrics data train families holes",
    "results": "results experiments filling floor",
    "results.intervals": "results",
    "results.names": "results experiments",
    "results.records": "results experiments faults/damaged_files",
    "tables.imputer": "imputer",
    "tables.likelihoods": "holes vae_numpy imputer",
}
PAIRS = "Add Sub, Mult Div, And Or, Lt LtE, Gt GtE, Eq NotEq, Is IsNot, In NotIn, USub UAdd"
SWAPS = {ast.Pow: ast.Mult}
for pair in PAIRS.split(", "):
    one, other = (getattr(ast, name) for name in pair.split())
    SWAPS |= {one: other, other: one}


def file_of(module):
    path = ROOT / "tvae_lib" / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def path_of(test_file):
    folder, _, name = test_file.rpartition("/")
    return f"tests/{folder or 'library'}/test_{name}.py"


def file_part(test):
    return test.partition("::")[0]


def listed(sets):
    return {name: [*values] for name, values in sets.items()}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def changes(tree):
    """Functions that change one thing each in a copy of the tree, by the number of its node: pairs of a number and a function."""
    for number, node in enumerate(ast.walk(tree)):
        if new := SWAPS.get(type(getattr(node, "op", None))):
            yield number, lambda found, new=new: setattr(found, "op", new())
        for i, op in enumerate(getattr(node, "ops", [])):
            if new := SWAPS.get(type(op)):
                yield number, lambda found, i=i, new=new: found.ops.__setitem__(i, new())
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            new = not node.value if isinstance(node.value, bool) else node.value + 1
            yield number, lambda found, new=new: setattr(found, "value", new)
        if isinstance(node, ast.Call):
            for i in range(len(node.keywords)):
                yield number, lambda found, i=i: found.keywords.pop(i)


def mutants(source):
    """For every change the line where its function begins (0 outside), the module's tree, and a line before and after."""
    tree = ast.parse(source)
    before, nodes = ast.unparse(tree).splitlines(), list(ast.walk(tree))
    for number, change in changes(tree):
        line = nodes[number].lineno
        around = [f for f in functions(tree) if f.body[0].lineno <= line <= f.end_lineno]
        changed = copy.deepcopy(tree)
        change(next(node for i, node in enumerate(ast.walk(changed)) if i == number))
        for old, new in zip(before, ast.unparse(changed).splitlines(), strict=False):
            if old != new:
                yield max((f.lineno for f in around), default=0), changed, f"- {old.strip()}\n+ {new.strip()}"
                break


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules of tvae_lib from other syntax trees, which may call the given function `called`."""

    def __init__(self, programs, called=None):
        self.programs, self.called = programs, called

    def find_spec(self, name, path=None, target=None):
        module = name.removeprefix("tvae_lib.")
        if name == module or module not in self.programs:
            return None
        package = [str(file_of(module).parent)] if file_of(module).name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file_of(module), loader=self, submodule_search_locations=package)

    def exec_module(self, module):
        module.called = self.called
        exec(compile(self.programs[module.__name__.removeprefix("tvae_lib.")], module.__file__, "exec"), vars(module))


def calling(module):
    """The syntax tree of a module in which every function first calls called("MODULE:LINE")."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    for function in functions(tree):
        call = ast.parse(f"called('{module}:{function.lineno}')").body
        function.body[1 if ast.get_docstring(function) else 0 : 0] = call
    return ast.fix_missing_locations(tree)


class Trial:
    """A plugin of pytest: when the tests are collected, it does `work` in place of running them."""

    def __init__(self, work):
        self.work, self.now, self.seconds, self.callers, self.failed = work, "", {}, {}, False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.items = {item.nodeid: item for item in session.items}
        self.work(self)
        return True

    def pass_all(self, order=None):
        """Whether tests pass, up to the first that fails."""
        items = [self.items[test] for test in self.items if order is None] + [self.items[test] for test in order or ()]
        for item, following in itertools.zip_longest(items, items[1:]):
            self.now = ""  # what fixtures call counts for all tests
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return False
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item):
        self.now = item.nodeid

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        self.failed |= report.failed

    def called(self, function):
        self.callers.setdefault(function, {})[self.now] = None


def forked(function, *given, seconds=0):
    """What a function returns, which JSON can hold, in a process of its own; None if that dies or takes longer than `seconds`."""
    with tempfile.TemporaryFile("w+") as file:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.setsid()
            signal.alarm(seconds)
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            with contextlib.suppress(BaseException):
                json.dump(function(*given), file)
                file.flush()
            os._exit(0)
        os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what its tests have started
        file.seek(0)
        return json.loads(file.read() or "null")


def exchange(module, tree):
    """Give all functions that a module has made the code that they have in another tree of it."""
    file = str(file_of(module))
    codes, new = {}, [compile(tree, file, "exec")]
    while new:
        inner = [code for code in new.pop().co_consts if isinstance(code, types.CodeType)]
        codes |= {(code.co_qualname, code.co_firstlineno): code for code in inner}
        new += inner
    for found in gc.get_objects():
        if isinstance(found, types.FunctionType) and found.__code__.co_filename == file:
            found.__code__ = codes[found.__code__.co_qualname, found.__code__.co_firstlineno]
        elif isinstance(found, functools._lru_cache_wrapper) and found.__module__ == f"tvae_lib.{module}":
            found.cache_clear()


def survives(trial, module, tree, function, order):
    """Whether tests pass with another tree of a module, in which a function differs, or what is outside of functions."""
    if function:
        exchange(module, tree)
        return trial.pass_all(order)
    own = str(ROOT / "tests"), str(ROOT / "tvae_lib")
    for name in [name for name, found in sys.modules.items() if str(getattr(found, "__file__", "")).startswith(own)]:
        del sys.modules[name]
    sys.meta_path.insert(0, Instead({module: tree}))
    passed = []
    pytest.main([*OPTIONS, *sorted({*map(file_part, order)})], plugins=[Trial(lambda new: passed.append(new.pass_all(order)))])
    return passed == [True]


OPTIONS = ["-qq", "-s", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval"]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"from {', '.join(TESTS)} (default: all)")
    parser.add_argument("--sample", type=int, help="try at most so many changes of a module, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--log", type=Path, help="a file of what was tried, which grows; what stands there is not tried again")
    options = parser.parse_args(arguments)
    if unknown := [module for module in options.modules if module not in TESTS]:
        parser.error(f"{', '.join(unknown)}: no such module; there are {', '.join(TESTS)}")
    modules = options.modules or list(TESTS)
    tests = {module: [*map(path_of, TESTS[module].split())] for module in modules}
    files = sorted({file for names in tests.values() for file in names})
    if gone := [str(path) for path in [*map(file_of, modules), *(ROOT / file for file in files)] if not path.exists()]:
        parser.error(f"the list in this file names what is not there: {', '.join(gone)}")
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "found"
    sys.path[:0] = [str(ROOT)]
    log = dict(map(json.loads, options.log.read_text().splitlines())) if options.log and options.log.exists() else {}

    def once(key, *given, **options_of_fork):
        """What a function returns, from the log if it stands there."""
        if key not in log:
            log[key] = forked(*given, **options_of_fork)
            if options.log:
                with options.log.open("a") as file:
                    file.write(json.dumps([key, log[key]]) + "\n")
        return log[key]

    def census(trial):
        passed, (seconds, callers) = once(" ".join(files), lambda: (trial.pass_all(), (trial.seconds, listed(trial.callers))))
        if not passed:
            parser.exit(1, "the tests fail without any change\n")
        if not {*seconds} <= {*trial.items}:
            parser.exit(1, f"{options.log} is of other tests than there are now: begin another\n")
        for module in modules:
            source = file_of(module).read_text(encoding="utf-8")
            every = list(mutants(source))
            drawn = random.Random(options.seed).sample(range(len(every)), len(every))[: options.sample]
            quick = sorted((test for test in seconds if file_part(test) in tests[module]), key=seconds.get)
            quick = [test for test in quick if seconds[test] < 0.2]
            if not once(f"{module} as it is", survives, trial, module, ast.parse(source), True, quick):
                parser.exit(1, f"the tests of {module} fail without any change, if the fastest run first\n")
            survivors = []
            for number in drawn:
                function, tree, change = every[number]
                who = callers.get(f"{module}:{function}", []) if function else [""]
                order = [test for test in seconds if {"", test} & {*who} and file_part(test) in tests[module]]
                order.sort(key=seconds.get)
                limit = 20 + 10 * int(sum(map(seconds.get, order)))
                given = f"{module} {number} {change}", survives, trial, module, tree, function, order
                if not order or once(*given, seconds=limit):
                    survivors.append(change)
            print(f"| `{module}` | {len(every)} | {len(drawn)} | {len(drawn) - len(survivors)} |", *survivors, sep="\n")

    trial = Trial(census)
    sys.meta_path.insert(0, Instead({module: calling(module) for module in modules}, trial.called))
    pytest.main([*OPTIONS, *files], plugins=[trial])


if __name__ == "__main__":
    main()
