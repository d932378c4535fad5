"""A sweep that is killed, by its main process, its workers or all together, or stopped by Ctrl-C, and then started again."""

import contextlib
import os
import signal
import time

import numpy as np
import pytest
import trials
from filelock import FileLock

from tvae_lib import checkpoint
from tvae_lib.results import read_record

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of POSIX")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What a sweep without a fault ends with, and the seconds it takes."""
    trials.finish(trials.start(trials.names, tmp_path_factory.mktemp("nothing")))  # the first process waits for the imports
    results, began = tmp_path_factory.mktemp("undisturbed"), time.perf_counter()
    assert trials.finish(trials.start(trials.quiet_sweep, results)) == 0
    found = trials.outcome(results)
    assert all(content["scores"] for name, content in found.items() if name.startswith("runs/"))
    return found, time.perf_counter() - began


def check_what_is_there(results, finished):
    """Every file can be read, and finished runs (a dict of path to content) keep their bytes."""
    for path in results.glob("runs/*.json"):
        read_record(path)
        assert finished.setdefault(path, path.read_bytes()) == path.read_bytes()
    for path in results.rglob("*.safetensors"):
        checkpoint.read(path)
    assert not finished.keys() - set(results.glob("runs/*.json"))


def test_a_sweep_killed_at_random_moments_ends_with_the_same_files(reference, tmp_path):
    expected, seconds = reference
    rng, finished, codes = np.random.default_rng(3), {}, []
    for _ in range(15):
        process = trials.start(trials.quiet_sweep, tmp_path)
        codes.append(trials.kill_after(rng.uniform(0, seconds / 5), process))
        check_what_is_there(tmp_path, finished)
    assert set(codes) <= {0, -signal.SIGKILL} and codes[0] == -signal.SIGKILL
    assert trials.finish(trials.start(trials.quiet_sweep, tmp_path)) == 0
    check_what_is_there(tmp_path, finished)
    assert trials.outcome(tmp_path) == expected


FAULTS = {
    "all killed": (lambda sweep: os.killpg(sweep.pid, signal.SIGKILL), -signal.SIGKILL, ""),
    "main process killed": (lambda sweep: sweep.kill(), -signal.SIGKILL, ""),
    "worker killed": (lambda sweep: trials.children(sweep, "popen_loky")[0].kill(), 1, "error: a worker was ended from outside"),
    "Ctrl-C": (lambda sweep: os.killpg(sweep.pid, signal.SIGINT), 130, "interrupted; the same command continues from here"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sweep_with_workers_goes_on_after(reference, tmp_path, fault):
    strike, code, message = FAULTS[fault]
    sweep = trials.sweep_in_processes(tmp_path, "--jobs", "2")
    try:
        while sweep.poll() is None and not list(tmp_path.glob("work/*.safetensors")):
            time.sleep(0.005)
        strike(sweep)
        if fault == "main process killed":  # its workers end what they began; so long, others leave it to them
            assert sweep.wait(120) == code
            for lock in tmp_path.glob("work/*.lock"):
                with FileLock(lock, timeout=120):
                    pass
        else:
            shown = sweep.communicate(timeout=120)[1]
            assert sweep.returncode == code
            assert "Traceback" not in shown and message in shown.splitlines()[-1]
    finally:
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(sweep.pid, signal.SIGKILL)
    finished = {}
    check_what_is_there(tmp_path, finished)
    assert trials.finish(trials.start(trials.quiet_sweep, tmp_path)) == 0
    check_what_is_there(tmp_path, finished)
    assert trials.outcome(tmp_path) == reference[0]


def test_a_table_that_was_not_written_in_time_is_written_by_the_next_sweep(reference, tmp_path):
    # Killed between its last run and the table: nothing is left to train.
    for arguments in ([], ["--quick"]):
        table = tmp_path / ("quick" if arguments else "") / "runs.csv"
        assert trials.finish(trials.start(trials.quiet_sweep, tmp_path, "", *arguments)) == 0
        whole = table.read_bytes()
        table.unlink()
        assert trials.finish(trials.start(trials.quiet_sweep, tmp_path, "", *arguments)) == 0
        assert table.read_bytes() == whole
