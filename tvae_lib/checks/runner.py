"""The process in which a notebook runs: `grader` starts it, hands it a job on standard input, and listens to its reports.

It reports over a copy of its standard output that the notebook's code does not know of; what that code prints goes nowhere.
"""

import contextlib
import importlib
import json
import os
import sys
import threading
import time
import types

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tvae_lib import checks

GUARDED = {"builtins", "math", "numpy", "random", "scipy", "skimage", "sklearn", "torch", "tvae_lib"}
ABSENT = object()


class Shell(InteractiveShell):
    """IPython without a terminal or a kernel."""

    def enable_gui(self, gui=None):
        """`%matplotlib inline` needs no event loop."""

    def ask_exit(self):
        """`exit()` ends its cell only, as nothing comes after it: as in a notebook, the next cell runs."""

    def _tee(self, channel):
        """IPython would keep all that is printed."""
        return contextlib.nullcontext()


class Notebook:
    def __init__(self, job, send):
        self.job, self.send = job, send
        config = Config(HistoryManager={"enabled": False}, InteractiveShell={"xmode": "Minimal"})
        self.shell = Shell.instance(config=config)
        self.check = importlib.import_module(f"tvae_lib.checks.chapter_{job['chapter']}")
        self.functions = functions()
        self.seen = set()  # checks that have run

    def run(self):
        """Run the job. Each check runs in its places, and behind every later cell that binds a name which it is called with."""
        setup, checks, place = self.job["setup"], self.job["checks"], -1
        self.originals(setup, -1)
        for place, source in self.job["cells"]:
            self.send(place=place)
            before = dict(self.shell.user_ns)
            self.cell(source, place)
            self.originals(setup, place)
            for check in checks:
                bound = any(self.shell.user_ns.get(name, ABSENT) is not before.get(name, ABSENT) for name in check["names"])
                if place in check["places"] or (bound and place > max(check["places"], default=-1)):
                    self.verdicts(check, place)
        for check in checks:
            if check["source"] not in self.seen:
                self.verdicts(check, place)
        self.send(end=True)

    def originals(self, setup, place):
        for where, source in setup:
            if where == place:
                self.cell(source, place)

    def cell(self, source, place):
        result = self.shell.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            self.send(error=f"cell {place + 1}: {type(error).__name__[:50]}")
        return error

    def verdicts(self, check, place):
        """Run a check that nothing which the notebook has done can disturb; what it says counts, and not what is printed."""
        said = {}
        kept = self.shell.user_ns.get("check", ABSENT)
        self.shell.user_ns["check"] = self.check
        with as_they_were(self.functions):
            checks.listener = said.__setitem__
            self.cell(check["source"], place)
            checks.listener = None
        if kept is ABSENT:
            self.shell.user_ns.pop("check", None)
        else:
            self.shell.user_ns["check"] = kept
        self.seen.add(check["source"])
        for number in check["tasks"]:
            self.send(task=number, correct=said.get(f"{int(self.job['chapter'])}.{number}", False))


def functions():
    """For each module that checks rest on, its functions and classes by name."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in GUARDED]
    return [
        (module, {name: value for name, value in vars(module).items() if callable(value)})
        for module in modules
        if isinstance(module, types.ModuleType)
    ]


@contextlib.contextmanager
def as_they_were(functions):
    """Put back what a notebook has replaced, by `np.random.seed = 0` for example, and afterwards let it have its way again."""
    replaced = [
        (module, name, vars(module).get(name, ABSENT), value)
        for module, values in functions
        for name, value in values.items()
        if vars(module).get(name, ABSENT) is not value
    ]
    for module, name, _, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value, _ in replaced:
            if value is not ABSENT:
                setattr(module, name, value)
            else:
                delattr(module, name)


def main(grader):
    """Run the job on standard input, for the grader with this process number."""
    job = json.load(sys.stdin)
    channel, nonce, own = os.dup(1), job.pop("nonce"), os.getpid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where Linux runs out of memory, this process is to end and not the grader

    def send(**report):
        if os.getpid() != own:  # a copy that the notebook has forked
            os._exit(0)
        os.write(channel, json.dumps(report | {"nonce": nonce}).encode() + b"\n")

    def watch():
        while os.getppid() == grader:
            time.sleep(1)
        with contextlib.suppress(AttributeError):  # on Windows there are no process groups
            os.killpg(0, 9)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    Notebook(job, send).run()
    os._exit(0)  # without waiting for threads
