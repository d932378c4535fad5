"""What the tests of faults share: processes to kill, a tiny training run, a tiny sweep, and files to compare."""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import psutil
from tqdm import tqdm

from tvae_lib import checkpoint, experiments, impute, results
from tvae_lib.experiments import Run, driver, scoring, studies
from tvae_lib.latent import StudentT
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

HERE = Path(__file__).parent
tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process would leave behind
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell in the background ignores Ctrl-C, and so would all processes here
    signal.signal(signal.SIGINT, signal.default_int_handler)

# ---- processes

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
}


def start(target, *arguments):
    """A fresh process that calls target(*arguments). Forked from one that has imported everything, it starts at once."""
    context = multiprocessing.get_context("forkserver")
    modules = ["pytest", "trials", "tvae_lib.vae_torch", "joblib", "pandas", "scipy.stats", "skimage.metrics"]
    context.set_forkserver_preload(modules)
    with patch.dict(os.environ, ENVIRONMENT):  # for the process to fork from, which the first call starts
        process = context.Process(target=target, args=arguments)
        process.start()
    return process


def finish(process, seconds=300):
    """Wait for the end of a process and return its exit code; one that does not end is killed, and fails the test."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"the process did not end within {seconds} s")
    return process.exitcode


def kill_after(seconds, process, send=multiprocessing.process.BaseProcess.kill):
    """Let a process run for so long, unless it ends by itself before that, and kill it. Returns its exit code."""
    process.join(seconds)
    if process.exitcode is None:
        send(process)
    return finish(process)


def children(process, word=""):
    """The living processes that this one has started, and they in turn, with this word in their command line.

    One may end while it is looked at, and a dead one has no command line.
    """
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if word in " ".join(child.cmdline()):
                    found.append(child)
    return found


def limited(size, target, *arguments):
    """Call target(*arguments) in a fresh process that can write no file larger than `size` bytes: the disk is full.

    Returns its exit code and what it wrote to stderr; an OSError ends it with exit code 1 and the error's text.
    """
    with contextlib.ExitStack() as stack:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        stack.enter_context(receiver)
        with sender:
            process = start(_limited, sender, size, target, arguments)
        text = receiver.recv()
    return finish(process), text


def _limited(sender, size, target, arguments):
    import io
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # Python ignores SIGXFSZ: writing more is an OSError
    code, text = 0, io.StringIO()
    with contextlib.redirect_stderr(text):
        try:
            code = target(*arguments)
        except SystemExit as stopped:
            code = stopped.code
        except OSError as error:
            code = 1
            text.write(str(error))
    sender.send(text.getvalue())
    sys.exit(code)


# ---- a tiny training run

SIZES, EPOCHS = (20, 8, 2), 30


def images():
    rng = np.random.default_rng(0)
    return [rng.random((n, SIZES[0]), dtype=np.float32) for n in (200, 60)]


def new_model(backend="numpy"):
    if backend == "numpy":
        return VAE(StudentT(21), SIZES, rng=2)
    import torch

    from tvae_lib.vae_torch import VAE as TorchVAE

    torch.set_num_threads(1)
    torch.manual_seed(2)
    return TorchVAE(StudentT(21), SIZES)


def train(path, backend="numpy", log=None, epochs=EPOCHS):
    """Train the tiny model. After every checkpoint the number of finished epochs is appended to the file `log`."""
    save = checkpoint.save

    def save_and_note(*arguments, **options):
        save(*arguments, **options)
        with open(log, "a") as file:
            file.write(f"{len(options['history']['loss'])}\n")

    with patch.object(checkpoint, "save", save_and_note) if log else contextlib.nullcontext():
        options = {"epochs": epochs, "batch_size": 20, "lr": 0.01, "seed": 4, "checkpoint": path, "progress": False}
        fit(new_model(backend), *images(), **options)


def content(path):
    """Configuration, parameters and extra values of a file of weights, so that == compares them to the bit."""
    config, params, extra = checkpoint.read(path)
    return config, {name: (value.dtype, value.shape, value.tobytes()) for name, value in params.items()}, extra


def state(path):
    """The same without the seconds of the history: all that must not depend on interruptions."""
    config, params, extra = content(path)
    return config, params, {name: values for name, values in extra["history"].items() if name != "seconds"}


def undisturbed(folder, backend="numpy"):
    """Train once without a fault: the checkpoint, and the seconds it took."""
    path = folder / "undisturbed" / "run.safetensors"
    assert finish(start(train, path, backend, None, 0)) == 0  # the first process waits for the imports
    began = time.perf_counter()
    assert finish(start(train, path, backend)) == 0
    return path, time.perf_counter() - began


def names(folder):
    """All files in a folder, by their paths in it; locks may stay."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


# ---- a tiny sweep

LOG, SLOW = "TVAE_TRIALS_LOG", "TVAE_TRIALS_SLOW"
real = SimpleNamespace(execute_anywhere=driver.execute_anywhere, execute_baselines=driver.execute_baselines)


def _note(what):
    if os.environ.get(LOG):
        with open(os.environ[LOG], "a") as file:
            file.write(f"{what}\n")


def score_and_note(run, model, mnist):
    _note(run.name)
    while os.environ.get(SLOW) == str(run.seed):  # whoever started this ends it
        time.sleep(0.1)
    return scoring.score_digits(run, model, mnist)


def baselines_and_note(seed, *images, score=scoring.score_baselines):
    _note(seed)
    return score(seed, *images)


SETTINGS = {"epochs": 4, "batch_size": 20, "lr": 1e-4, "kl": None, "test_images": 20, "shipped": 5, "score": score_and_note}
TINY = studies.Study("", "a trial", {}, **SETTINGS)
RUNS = [Run(model, seed, TINY) for seed in (0, 7) for model in ("gaussian", "t21")]  # seed 7 ships no weights


@functools.cache
def shrink():
    """Make the sweep of this process a tiny one, and let it note in the file of $TVAE_TRIALS_LOG whatever it scores."""
    rng = np.random.default_rng(0)
    draw = lambda n: rng.random((n, 784), dtype=np.float32)
    data = SimpleNamespace(train=draw(100), valid=draw(40), test=draw(20), test_labels=np.arange(20) % 10)
    scoring.score_baselines = baselines_and_note
    driver.load_mnist = lambda: data
    studies.sweep, studies.rehearsal = lambda: RUNS, lambda: RUNS[:2]
    scoring.BASELINES = {name: scoring.BASELINES[name] for name in ("zero", "mean")}
    scoring.METHODS, scoring.DRAWS, scoring.BASELINE_SEEDS = (impute.single_pass,), 2, 2
    scoring.score_outliers = lambda *arguments: []  # three quarters of the time
    # A worker of joblib imports what it calls by name; from here, it shrinks its own sweep.
    driver.execute_anywhere, driver.execute_baselines = execute_anywhere, execute_baselines


def execute_anywhere(*arguments):
    shrink()
    return real.execute_anywhere(*arguments)


def execute_baselines(*arguments):
    shrink()
    return real.execute_baselines(*arguments)


def sweep(results, *arguments):
    """`python -m tvae_lib.experiments`, tiny, in this process."""
    shrink()
    experiments.main(["--results", str(results), *arguments])


def quiet_sweep(results, log="", *arguments):
    """The same without progress bars, for `start`."""
    os.environ[LOG] = str(log)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sweep(results, *arguments)


def sweep_in_processes(results, *arguments, log=""):
    """The same as a command in a session of its own, with workers if it has --jobs 2: a Popen."""
    command = [sys.executable, "-c", f"import trials; trials.sweep(*{[str(results), *arguments]!r})"]
    environment = {**os.environ, **ENVIRONMENT, LOG: str(log)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def outcome(folder):
    """What a sweep must end with, by the paths of its files: all but dates and seconds."""
    found = {}
    for name in names(folder):
        path = folder / name
        if path.suffix == ".safetensors":  # not its bytes: safetensors puts the entries of the header in any order
            found[name] = content(path)
        elif path.suffix == ".json":
            found[name] = results.read_record(path)
            del found[name]["provenance"]
            found[name].pop("scored", None)  # where and when, of a run that was killed between training and scoring
            found[name].get("history", {}).pop("seconds", None)
        else:
            found[name] = path.read_bytes()
    return found
