"""Two sweeps at once on one folder: they share the runs, none is done twice, and no row of the table is lost or doubled."""

import os

import pandas as pd
import pytest
import trials

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked")
ALL = sorted([run.name for run in trials.RUNS] + ["0", "1"])  # the last two: baselines


def check(results, log):
    assert sorted(log.read_text().split()) == ALL
    table = pd.read_csv(results / "runs.csv", keep_default_na=False)
    assert not table.duplicated(list(table.columns[:-1])).any()
    records = [content for name, content in trials.outcome(results).items() if name.endswith(".json")]
    assert len(records) == len(ALL)
    assert len(table) == sum(len(record["scores"]) for record in records)


@pytest.mark.parametrize("sweeps", [2, 3, 2])
def test_sweeps_that_start_together_share_the_runs(tmp_path, sweeps):
    results, log = tmp_path / "results", tmp_path / "log"
    processes = [trials.start(trials.quiet_sweep, results, log) for _ in range(sweeps)]
    assert [trials.finish(process) for process in processes] == [0] * sweeps
    check(results, log)


def test_sweeps_with_two_workers_each(tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    sweeps = [trials.sweep_in_processes(results, "--jobs", "2", log=log) for _ in range(2)]
    shown = [sweep.communicate(timeout=300)[1] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], shown
    check(results, log)
