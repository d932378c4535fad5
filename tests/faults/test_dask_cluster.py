"""Faults of a Dask cluster: the sweep ends with one line, nothing finished is lost, and another sweep goes on."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest
import trials

pytest.importorskip("distributed")
FULL = 20_000  # bytes: the room on a disk that takes no checkpoint


@contextlib.contextmanager
def cluster(folder, workers=2, slow="7", **options):
    """A scheduler and single-threaded workers, on which runs with this seed never end: yields its address and both processes."""
    address, quiet = folder / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # By default a call fails after four dead workers; here after one.
    environment = os.environ | trials.ENVIRONMENT | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", trials.SLOW: slow}
    start = lambda kind, *arguments, **more: subprocess.Popen(
        [sys.executable, "-m", "dask", kind, "--scheduler-file", str(address), "--no-dashboard", *arguments],
        env=environment,
        **quiet,
        **more,
    )
    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        processes.append(
            start("worker", "--nworkers", str(workers), "--nthreads", "1", "--local-directory", str(folder / "dask"), **options)
        )
        while not address.exists() or not address.read_text().endswith("}"):
            time.sleep(0.05)
        yield json.loads(address.read_text())["address"], *processes
    finally:
        for process in processes:
            for member in [process, *trials.children(process)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait()


def wait_for(condition, process, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def kill_workers(worker):
    """Kill the processes that do the calls, as a system without memory would; their parent starts new ones."""
    for process in trials.children(worker, "spawn_main"):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


FAULTS = {
    "workers killed": (lambda sweep, scheduler, worker: kill_workers(worker), 1, "Dask workers were ended from outside"),
    "scheduler killed": (
        lambda sweep, scheduler, worker: scheduler.kill(),
        1,
        "the Dask scheduler tcp://127.0.0.1:[0-9]+ was lost",
    ),
    "client killed": (lambda sweep, scheduler, worker: sweep.kill(), -signal.SIGKILL, ""),
    "Ctrl-C": (lambda sweep, scheduler, worker: sweep.send_signal(signal.SIGINT), 130, "interrupted; the same command continues"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sweep_ends_and_another_goes_on(tmp_path, fault):
    strike, code, message = FAULTS[fault]
    results = tmp_path / "results"
    finished = [results / "runs" / f"{run.name}.json" for run in trials.RUNS if run.seed == 0]
    begun = [results / "work" / f"{run.name}.safetensors" for run in trials.RUNS if run.seed == 7]
    with cluster(tmp_path) as (address, *processes):
        sweep = trials.sweep_in_processes(results, "--dask", address)
        try:
            wait_for(lambda: all(path.exists() for path in finished + begun), sweep)
            written = [path.read_bytes() for path in finished]
            strike(sweep, *processes)
            shown = sweep.communicate(timeout=180)[1]
        finally:
            sweep.kill()
        assert sweep.returncode == code, shown
        assert "Traceback" not in shown and re.search(message, shown.splitlines()[-1]), shown
    assert trials.finish(trials.start(trials.quiet_sweep, results)) == 0
    assert [path.read_bytes() for path in finished] == written
    assert all((results / "runs" / f"{run.name}.json").exists() for run in trials.RUNS)


def test_work_is_done_where_it_was_sent(tmp_path):
    """One single-threaded worker, stopped: nothing is done in its place. It goes on, and so does the sweep, to the end."""
    results = tmp_path / "results"
    with cluster(tmp_path, workers=1, slow="") as (address, _, worker):
        wait_for(lambda: trials.children(worker, "spawn_main"), worker)
        time.sleep(5)
        stopped = trials.children(worker)
        for process in stopped:
            process.suspend()
        sweep = trials.sweep_in_processes(results, "--dask", address)
        try:
            wait_for((results / "runs.csv").exists, sweep)
            time.sleep(5)
            assert sweep.poll() is None and not list(results.glob("runs/*"))
            for process in stopped:
                process.resume()
            shown = sweep.communicate(timeout=180)[1]
        finally:
            sweep.kill()
        assert sweep.returncode == 0, shown
    for run in trials.RUNS:
        assert (results / "runs" / f"{run.name}.json").exists()
        assert (results / "weights" / f"{run.name}.safetensors").exists() == run.ships_weights


def test_a_worker_s_full_disk_ends_the_sweep_in_one_line(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL))  # a larger file is an OSError
    with cluster(tmp_path, workers=1, preexec_fn=limit) as (address, *_):
        sweep = trials.sweep_in_processes(tmp_path / "results", "--dask", address)
        shown = sweep.communicate(timeout=180)[1]
    assert sweep.returncode == 1 and "Traceback" not in shown
    assert re.search("error: .*File too large.*; once that is mended, the same command continues", shown.splitlines()[-1])
