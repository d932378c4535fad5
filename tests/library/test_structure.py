"""Imports go one way, and the map is complete."""

import ast
import re
from pathlib import Path

import pytest

import tvae_lib

LIBRARY = Path(tvae_lib.__file__).parent
GROUND = {"inputs", "files"}
FIRST = {"data", "latent", "likelihood", "tables.likelihoods", "divergences", "masks", "metrics", "plots"}
LAST = {"experiments", "interactive", "checks"}
FILES = sorted(LIBRARY.rglob("*.py"))


def part(names):
    """The module or folder of tvae_lib with these names, one below the other; the files of `tables` count one by one."""
    return ".".join(names[: 2 if names[0] == "tables" else 1])


def imported(tree):
    """The modules and folders of tvae_lib that a syntax tree imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            if node.module in ("tvae_lib", "tvae_lib.tables"):
                yield from (part([*node.module.split(".")[1:], alias.name]) for alias in node.names)
            elif node.module.startswith("tvae_lib."):
                yield part(node.module.split(".")[1:])
        elif isinstance(node, ast.Import):
            yield from (part(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("tvae_lib."))


def allowed(importer, name):
    """Whether `importer` may use the module or folder `name`."""
    if importer == name:
        return True
    if importer in GROUND:
        return name in GROUND
    if importer in FIRST:
        return name in GROUND | FIRST
    return name not in LAST


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_go_one_way(path):
    names = set(imported(ast.parse(path.read_text(encoding="utf-8"))))
    importer = part(path.relative_to(LIBRARY).with_suffix("").parts)
    wrong = {name for name in names if not allowed(importer, name)}
    assert not wrong, f"{path.name} imports {wrong}"


def test_the_rules_refuse_what_they_should():
    assert allowed("train", "data") and allowed("experiments", "train") and allowed("latent", "divergences")
    below = [("inputs", "latent"), ("latent", "vae_numpy"), ("masks", "impute"), ("train", "experiments"), ("results", "checks")]
    for importer, name in [*below, ("experiments", "checks"), ("checks", "interactive"), ("interactive", "experiments")]:
        assert not allowed(importer, name), (importer, name)
    tree = ast.parse("def f():\n    from tvae_lib.checks import a\nimport tvae_lib.data\nfrom tvae_lib import train as t")
    assert set(imported(tree)) == {"checks", "data", "train"}
    tree = ast.parse("from tvae_lib.tables.imputer import VAEImputer\nfrom tvae_lib.tables import likelihoods")
    assert set(imported(tree)) == {"tables.imputer", "tables.likelihoods"}
    assert allowed("likelihood", "tables.likelihoods") and not allowed("likelihood", "tables.imputer")


def test_the_map_names_every_module():
    there = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    words = set(re.findall(r"\w+", tvae_lib.__doc__))
    assert there <= words, f"not on the map: {there - words}"


def test_the_core_stays_small():
    """What chapters teach or read: the files of the top level. What goes beyond has a folder with a reason."""
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in LIBRARY.glob("*.py")) <= 2000
