"""Do the tests notice a changed program? `python tools/mutants.py latent impute --share 0.1`, or `make mutants` for all.

One thing at a time is changed in a module: a plus to a minus, a 1 to a 2, a `<` to a `<=`, an option is left out. The tests of
the module run on each change, in a process forked from one that has imported the large libraries, and stop at the first that
fails. What survives is printed. tests/MUTANTS.md says what that was when it was run last, and why.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY, SHARED = "tests/library/test_", ["messages", "properties_models"]
TESTS = {
    "latent": ["latent", "properties_latent", "families", *SHARED],
    "likelihood": ["holes", *SHARED],
    "vae_numpy": ["vae_numpy", "holes", *SHARED],
    "masks": ["masks", "messages", "properties_data"],
    "impute": ["impute", "holes", *SHARED],
    "metrics": ["metrics", "messages", "properties_data"],
    "baselines": ["baselines", "properties_data"],
    "train": ["train", "holes", *SHARED],
    "checkpoint": ["checkpoint", "own_latent", "train"],
    "results.intervals": ["results"],
    "results.names": ["results", "experiments"],
    "results.records": ["results", "experiments"],
}
SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
SWAPS |= {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
SWAPS |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.USub: ast.UAdd, ast.And: ast.Or}


def changes(tree):
    """Functions that change one thing each in a copy of the tree, by the number of its node: pairs of a number and a function."""
    for number, node in enumerate(ast.walk(tree)):
        for name in ("op", "ops"):
            op = getattr(node, name, None)
            first = op[0] if isinstance(op, list) else op
            if type(first) in SWAPS:
                new = SWAPS[type(first)]()
                yield (
                    number,
                    lambda found, name=name, op=op, new=new: setattr(found, name, [new] if isinstance(op, list) else new),
                )
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            new = not node.value if isinstance(node.value, bool) else node.value + 1
            yield number, lambda found, new=new: setattr(found, "value", new)
        if isinstance(node, ast.Call):
            for i in range(len(node.keywords)):
                yield number, lambda found, i=i: found.keywords.pop(i)


def mutants(source):
    """The module's text once for every change, with the lines before and after."""
    tree = ast.parse(source)
    before = ast.unparse(tree).splitlines()
    for number, change in changes(tree):
        changed = copy.deepcopy(tree)
        change(next(node for i, node in enumerate(ast.walk(changed)) if i == number))
        text = ast.unparse(changed)
        for old, new in zip(before, text.splitlines(), strict=False):
            if old != new:
                yield text, old.strip(), new.strip()
                break


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module from another text."""

    def __init__(self, name, path, text):
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module):
        exec(compile(self.text, self.path, "exec"), vars(module))


def passes(module, text, seconds):
    """Whether the tests of a module pass with this text in its place, in a process of their own; False if they take too long."""
    child = os.fork()
    if not child:
        import pytest

        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.meta_path.insert(0, Instead(f"tvae_lib.{module}", str(ROOT / "tvae_lib" / f"{module.replace('.', '/')}.py"), text))
        tests = [f"{LIBRARY}{name}.py" for name in TESTS[module]]
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"from {', '.join(TESTS)} (default: all)")
    parser.add_argument("--share", type=float, default=1, help="try only this share of the changes, drawn at random (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--seconds", type=float, default=900, help="after which a change counts as noticed (default 900)")
    options = parser.parse_args(arguments)
    if unknown := [module for module in options.modules if module not in TESTS]:
        parser.error(f"{', '.join(unknown)}: no such module; there are {', '.join(TESTS)}")
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    for name in (
        "numpy",
        "scipy.stats",
        "scipy.optimize",
        "torch",
        "sklearn.neighbors",
        "skimage.metrics",
        "pandas",
        "hypothesis",
    ):
        importlib.import_module(name)
    rng = random.Random(options.seed)
    for module in options.modules or TESTS:
        source = (ROOT / "tvae_lib" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        if not passes(module, source, options.seconds):
            parser.exit(1, f"{module}: its tests fail without any change\n")
        every = list(mutants(source))
        drawn = rng.sample(every, round(options.share * len(every)))
        survivors = [(old, new) for text, old, new in drawn if passes(module, text, options.seconds)]
        print(f"| `{module}` | {len(every)} | {len(drawn)} | {len(drawn) - len(survivors)} |", flush=True)
        for old, new in survivors:
            print(f"- {old}\n+ {new}", flush=True)


if __name__ == "__main__":
    main()
