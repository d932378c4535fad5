"""Training that is killed, at random moments and at every step of a write, or stopped by Ctrl-C, and then resumed."""

import functools
import os
import shutil
import signal

import numpy as np
import pytest
import trials

from tvae_lib import checkpoint, files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """reference(backend): the training that nothing disturbed, as its state and the seconds it took."""

    @functools.cache
    def train(backend):
        path, seconds = trials.undisturbed(tmp_path_factory.mktemp(backend), backend)
        return trials.state(path), seconds

    return train


def epochs_done(path):
    return len(checkpoint.read(path)[2]["history"]["loss"]) if path.exists() else 0


@pytest.mark.parametrize("backend, kills", [("numpy", 50), ("torch", 6)])
def test_training_killed_at_random_moments_ends_with_the_same_bits(reference, tmp_path, backend, kills):
    expected, seconds = reference(backend)
    rng, done = np.random.default_rng(1), 0
    path, log = tmp_path / "run" / "run.safetensors", tmp_path / "log"
    while kills:
        code = trials.kill_after(rng.uniform(0, seconds / 4), trials.start(trials.train, path, backend, log))
        finished = epochs_done(path)  # reads the file: it is whole
        noted = int(log.read_text().split()[-1]) if log.exists() else 0
        assert finished >= max(noted, done), "a finished epoch was lost"
        done = finished
        if code == 0:  # it came to its end before the kill: begin again
            assert trials.state(path) == expected
            shutil.rmtree(path.parent)
            log.unlink(missing_ok=True)
            done = 0
        else:
            assert code == -signal.SIGKILL
            kills -= 1
    assert trials.finish(trials.start(trials.train, path, backend)) == 0
    assert trials.state(path) == expected
    assert trials.names(path.parent) == [path.name]


# Where in a write to end it: a function that is replaced by one that ends the process, before or after it has done its work.
STEPS = ["open", "half", "fsync", "before replace", "after replace"]


def train_and_die(path, step):
    """Train, and be killed at one step of the third checkpoint's write."""
    real = {"open": open, "fsync": os.fsync, "replace": os.replace}
    writes = []

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def open_third(*arguments):
        writes.append(arguments)
        file = real["open"](*arguments)
        if len(writes) == 3:
            if step == "open":
                die()
            if step == "half":
                file.write(b"half")
                file.flush()
                die()
        return file

    def fsync(*arguments):
        real["fsync"](*arguments)
        if step == "fsync" and len(writes) == 3:
            die()

    def replace(*arguments):
        if step == "before replace" and len(writes) == 3:
            die()
        real["replace"](*arguments)
        if step == "after replace" and len(writes) == 3:
            die()

    files.open, os.fsync, os.replace = open_third, fsync, replace
    trials.train(path)


@pytest.mark.parametrize("step", STEPS)
def test_training_killed_at_each_step_of_a_write(reference, tmp_path, step):
    expected, _ = reference("numpy")
    path = tmp_path / "run.safetensors"
    assert trials.finish(trials.start(train_and_die, path, step)) == -signal.SIGKILL
    assert epochs_done(path) == (3 if step == "after replace" else 2)
    assert trials.finish(trials.start(trials.train, path)) == 0
    assert trials.state(path) == expected
    assert trials.names(tmp_path) == [path.name]  # also what the killed process had begun is gone


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_training_stopped_by_ctrl_c_at_random_moments(reference, tmp_path, backend):
    expected, seconds = reference(backend)
    rng, path = np.random.default_rng(2), tmp_path / "run.safetensors"
    interrupt = lambda process: os.kill(process.pid, signal.SIGINT)
    for _ in range(5):
        code = trials.kill_after(rng.uniform(0, seconds / 6), trials.start(trials.train, path, backend), interrupt)
        assert code in (0, 1), "only the process that was told to may stop"
        epochs_done(path)
    assert trials.finish(trials.start(trials.train, path, backend)) == 0
    assert trials.state(path) == expected
    assert trials.names(tmp_path) == [path.name]
