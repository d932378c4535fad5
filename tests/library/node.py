"""Runs the JavaScript of the live figures under Node, for the tests in this folder."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import tvae_lib

JS = Path(tvae_lib.__file__).parent / "interactive" / "js"


def run_node(script, data, file="numerics"):
    """The value of an expression as Python objects; in it `js` is a file of js/, with what that needs, and `data` is `data`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the JavaScript of the live figures is not tested without it")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data.json").write_text(json.dumps(data))
        program = Path(folder) / "run.js"
        head = f"const js = require({json.dumps(str(JS / f'{file}.js'))}); const data = require('./data.json');"
        program.write_text(f"{head} console.log(JSON.stringify({script}))")
        done = subprocess.run([node, program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
