"""What the commands of the short experiments share: each leaves its rows, a list of dicts, in a JSON file of its name."""

import argparse
import json
from pathlib import Path

from tvae_lib.experiments.driver import provenance
from tvae_lib.files import write_atomically
from tvae_lib.results import RESULTS


def parser(module, about, folder, experiments):
    """A parser that knows --results, by default a folder of results/, and --only, the names of the experiments."""
    parser = argparse.ArgumentParser(prog=f"python -m tvae_lib.experiments.{module}", description=about.partition("\n")[0])
    names = [experiment.__name__ for experiment in experiments]
    parser.add_argument("--results", type=Path, default=RESULTS / folder, help="folder to write to")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these only")
    return parser


def write(path, rows, **more):
    """Write the rows and where they are from; `more` is added to that."""
    content = {"provenance": provenance(**more), "rows": rows}
    write_atomically(path, json.dumps(content, separators=(",", ":")).encode())
