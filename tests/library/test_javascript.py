"""The JavaScript of the live figures, linted as it stands in a page: one script, in which every name is known and used."""

import shutil
import subprocess
from pathlib import Path

import pytest
from node import JS

BROWSER = Path(__file__).parents[1] / "browser"
ESLINT = BROWSER / "node_modules" / "eslint" / "bin" / "eslint.js"


def test_lint():
    node = shutil.which("node")
    if node is None or not ESLINT.exists():
        pytest.skip("eslint is not installed: run `npm ci --prefix tests/browser`")
    files = sorted(JS.glob("*.js"), key=lambda path: ("_explorer" in path.name, path.name))
    texts = [path.read_text("utf-8") for path in files]
    command = [node, ESLINT, "--config", BROWSER / "eslint.config.mjs", "--stdin", "--stdin-filename", BROWSER / "page.js"]
    done = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True)
    starts = [f"{path.name} begins at line {1 + sum(t.count(chr(10)) + 1 for t in texts[:i])}" for i, path in enumerate(files)]
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *starts])
