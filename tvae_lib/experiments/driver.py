"""Doing the runs: one after the other, in processes side by side, or on a Dask cluster."""

import contextlib
import datetime
import itertools
import logging
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from tvae_lib import checkpoint
from tvae_lib.data import load_mnist
from tvae_lib.experiments import scoring
from tvae_lib.files import remove_leftovers, write_atomically
from tvae_lib.results import COLUMNS, RESULTS, read_record, write_record, write_table
from tvae_lib.train import fit


def provenance(**more):
    """Versions, machine kind, commit and date, to be stored with every run. TVAE_COMMIT names the commit where git cannot."""
    import scipy

    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent).stdout.strip()
    except OSError:  # there is no git
        commit = ""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit or os.environ.get("TVAE_COMMIT") or "unknown",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
        **more,
    }


def execute(run, results=RESULTS, progress=True):
    """Train, score and store one run, unless its file is there already; what is trained is only scored.

    Returns the path of its file, or None if another process is training this run at the moment.
    """
    from threadpoolctl import threadpool_limits

    path, work, trained = paths(run, results)
    work.parent.mkdir(parents=True, exist_ok=True)
    # A lock is released by the operating system when its process ends, however it ends.
    with contextlib.ExitStack() as locks:
        try:
            locks.enter_context(FileLock(work.with_suffix(".lock"), timeout=0))
        except Timeout:
            return None
        if path.exists():
            return path
        if progress:
            progress = {"desc": run.name, "position": locks.enter_context(_free_line(work.parent)), "leave": False}
        record, mnist = {**run.record, "provenance": provenance()}, load_mnist()
        with threadpool_limits(1):  # one thread: other runs use the other cores, and sums keep their order
            try:
                if not trained.exists():
                    _train(run, mnist, work, trained, progress)
                else:
                    record["scored"] = record["provenance"]
            except FloatingPointError as error:
                record.update(failed=str(error), history={}, scores=[])
            else:
                # Score what is shipped: the weights rounded to float16.
                model, extra = checkpoint.load(trained, family=run.family), checkpoint.read(trained)[2]
                record |= {"provenance": extra["provenance"], "history": extra["history"]}
                record["scores"] = run.study.score(run, model, mnist)
                if run.ships_weights:
                    checkpoint.save(_weights(run, results), model, dtype=np.float16)
        for other in (path, trained, _weights(run, results)):
            remove_leftovers(other)
        write_record(path, record)
        for unfinished in (work, trained):
            unfinished.unlink(missing_ok=True)
    return path


def _train(run, mnist, work, trained, progress):
    """Train the model of a run and write its weights, float16, with their history."""
    model, study = run.new_model(), run.study
    train, valid = study.data(run, mnist)
    options = {**study.protocol, **study.training, "seed": run.seed, "checkpoint": work, "progress": progress}
    save_trained(trained, model, fit(model, train, valid, **options), provenance())


def save_trained(path, model, history, provenance):
    """Write the weights of a run that is trained but not scored."""
    history = {name: [round(v, 5) for v in values] for name, values in asdict(history).items()}
    checkpoint.save(path, model, dtype=np.float16, history=history, provenance=provenance)


def paths(run, results):
    """The file of a finished run, the checkpoint from which an unfinished one continues, and that of one not yet scored."""
    results = Path(results)
    work = results / "work" / f"{run.name}.safetensors"
    return results / "runs" / f"{run.name}.json", work, results / "work" / f"{run.name}-float16.safetensors"


def _weights(run, results):
    """Where the weights of runs that ship them stay."""
    return Path(results) / "weights" / f"{run.name}.safetensors"


@contextlib.contextmanager
def _free_line(folder):
    """The number of a line of the terminal that no other run's progress bar is using; line 0 belongs to the sweep."""
    for line in itertools.count(1):
        with contextlib.suppress(Timeout), FileLock(folder / f"line-{line}.lock", timeout=0):
            yield line
            return


def execute_baselines(seed, results=RESULTS):
    """Score the baselines on the masks of one seed; those that have scores are left alone.

    Returns the path of the file, or None if another process is scoring them at the moment.
    """
    path = Path(results) / "runs" / f"baselines-{seed}.json"
    with contextlib.ExitStack() as locks:
        try:
            locks.enter_context(FileLock(Path(results) / "work" / f"{path.stem}.lock", timeout=0))
        except Timeout:
            return None
        record = read_record(path) if path.exists() else {"seed": seed, "baselines": True, "provenance": None, "scores": []}
        new = [name for name in scoring.BASELINES if name not in {method for _, _, method, _ in record["scores"]}]
        if new:
            remove_leftovers(path)
            data = load_mnist()
            record["scores"] += scoring.score_baselines(seed, data.train, data.test, new)
            # Where the new scores are from, and inside of it where the older ones are.
            record["provenance"] = {**provenance(), "methods": new, "before": record["provenance"]}
            write_record(path, record)
    return path


def score_again(run, results=RESULTS):
    """Score the stored weights of a finished run again, without training. Returns the path of its file.

    ValueError if the weights are not those of the run: the KL of each coordinate, which no change of a method moves, tells.
    """
    path = Path(results) / "runs" / f"{run.name}.json"
    record = read_record(path)
    scores = run.study.score(run, checkpoint.load(_weights(run, results), family=run.family), load_mnist())
    known = {tuple(names): value for *names, value in record["scores"] if names[0].startswith("kl_dimension")}
    found = {tuple(names): value for *names, value in scores}
    if any(abs(found.get(names, np.nan) - value) > 1e-3 * abs(value) + 1e-4 for names, value in known.items()):
        raise ValueError(f"{_weights(run, results)} holds the weights of another run than {path.name}: restore both")
    write_record(path, record | {"scores": scores, "scored": provenance()})
    return path


def collect(results=RESULTS):
    """Write runs.csv, one row per score, from the files of all finished runs, and return it as a pandas DataFrame."""
    import pandas as pd

    rows = []
    for path in sorted((Path(results) / "runs").glob("*.json")):
        record = read_record(path)
        if "baselines" in record:
            start = ("baseline", np.nan, record["seed"], "", "")
        else:
            model = record["model"]
            nu = np.inf if model == "gaussian" else float(model[1:]) if re.fullmatch(r"t[\d.]+", model) else np.nan
            start = (model, nu, record["seed"], record["backend"], record["study"])
        rows += [(*start, metric, mask, method, float(f"{value:.7g}")) for metric, mask, method, value in record["scores"]]
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(Path(results) / "runs.csv", table)
    return table


def _files(run, results):
    """The files that a finished run leaves, by their paths below results/."""
    paths = [Path("runs") / f"{run.name}.json"]
    if run.ships_weights:
        paths.append(Path("weights") / f"{run.name}.safetensors")
    return {path.as_posix(): (Path(results) / path).read_bytes() for path in paths if (Path(results) / path).exists()}


def execute_anywhere(run, results, progress):
    """`execute`, and the content of the run's files: a worker on another machine may not share this folder.

    A relative path is one below results/ of the repository on the machine that runs this.
    """
    results = RESULTS / results
    return run.name, _files(run, results) if execute(run, results, progress) else {}


def execute_all(runs, results, *, jobs=1, dask=None, again=False, baselines=True):
    """Do what is left of the runs, and gather the table: before the first, so that a damaged file shows, and after each.

    jobs: how many side by side on this machine; dask: the address of a Dask scheduler whose workers do the runs instead. The
    baselines, which take minutes, are scored here. again: score the stored weights of finished runs again, and train nothing.
    """
    finished = [run for run in runs if (results / "runs" / f"{run.name}.json").exists()]
    if again:
        away, here = [], [(score_again, run, results) for run in finished if _weights(run, results).exists()]
    else:
        there = results.relative_to(RESULTS) if results.is_relative_to(RESULTS) else results
        away = [(execute_anywhere, run, there, True) for run in runs if run not in finished]
        here = [(execute_baselines, seed, results) for seed in range(scoring.BASELINE_SEEDS) if baselines]
    for run in finished:
        paths(run, results)[1].unlink(missing_ok=True)  # of a process that was killed between its last two steps
    _collect_alone(results)
    done = [_on_dask(dask, away), _in_processes(jobs, here)] if dask else [_in_processes(jobs, away + here)]
    for result in tqdm(itertools.chain(*done), total=len(away + here), desc="sweep", unit="run"):
        if isinstance(result, tuple):
            name, files = result
            for path, content in files.items():
                if not (results / path).exists():
                    write_atomically(results / path, content)
            tqdm.write(f"finished {name}" if files else f"skipped {name}: another process is training it", file=sys.stderr)
        _collect_alone(results)


def _in_processes(jobs, work):
    """The results of calls (function, *arguments), as they come."""
    from joblib import Parallel, delayed

    # batch_size=1: joblib would bundle runs that look short, and a bundle is one core's work.
    options = {"n_jobs": jobs, "return_as": "generator_unordered", "batch_size": 1}
    if jobs > 1 and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Ctrl-C ends a worker at once and without a word, as `command.stopping_at_once` does with this process; and joblib's
        # helper that cleans up after both need not tell of the semaphores that it found.
        options |= {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}
        sys.warnoptions.append("ignore::UserWarning:joblib.externals.loky.backend.resource_tracker")
    parallel = Parallel(**options)
    return parallel(delayed(function)(*arguments) for function, *arguments in work)


def _on_dask(address, work):
    """The same from the workers of a Dask cluster. OSError if it is lost, or a worker dies again and again over one call."""
    from distributed import CancelledError, Client, KilledWorker, as_completed
    from distributed.comm import CommClosedError

    # What went wrong is said in one line. Dask gives two of these a level of their own.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with Client(address) as client:
            futures = [client.submit(function, *arguments, pure=False) for function, *arguments in work]
            for future in as_completed(futures):
                yield future.result()
                future.release()
    except KilledWorker as error:
        raise OSError(f"Dask workers were ended from outside, perhaps for want of memory: {error}") from None
    except (CancelledError, CommClosedError):  # the second while a result was on its way
        raise OSError(f"the Dask scheduler {address} was lost") from None


def _collect_alone(results):
    """`collect`, one process at a time."""
    with FileLock(results / "work" / "collect.lock"):
        for name in ("runs.csv", "runs.crc32"):
            remove_leftovers(results / name)
        collect(results)
