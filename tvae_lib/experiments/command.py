"""The command line of the sweep."""

import argparse
import contextlib
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tvae_lib import experiments
from tvae_lib.experiments import driver, studies
from tvae_lib.results import RESULTS


@contextlib.contextmanager
def stopping_at_once(message):
    """At Ctrl-C, say so and end this process then and there. What is on the disk is whole at any moment; joblib's workers and
    threads, waited for or told to stop while they start, may hang or complain.
    """

    def stop(*_):
        os.write(2, f"\n{message}".encode())
        os._exit(130)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tvae_lib.experiments", description=experiments.__doc__.split(" ::")[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one core each (default 1)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run on the workers of this Dask scheduler, e.g. tcp://host:8786")
    parser.add_argument("--quick", action="store_true", help="a rehearsal into results/quick: four models, one epoch each")
    parser.add_argument("--only", metavar="MODEL", nargs="+", help="these models only, e.g. gaussian t21")
    parser.add_argument("--study", metavar="NAME", nargs="+", help="these studies only; protocol stands for the full-length runs")
    parser.add_argument(
        "--score-again", action="store_true", help="train nothing, score the stored weights of finished runs again"
    )
    parser.add_argument(
        "--stacked",
        metavar="DEVICE",
        help="only train, many runs together on a device of PyTorch such as cuda; score later",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to (default: the repository's results/)")
    options = parser.parse_args(arguments)
    results = options.results.absolute() / ("quick" if options.quick else "")
    runs = studies.rehearsal() if options.quick else studies.sweep()
    for names, naming in ((options.only, lambda run: run.model), (options.study, lambda run: run.study.name or "protocol")):
        if names:
            known = sorted({naming(run) for run in runs})
            unknown = [name for name in names if name not in known]
            if unknown:
                parser.error(f"{unknown[0]!r} is not one of {', '.join(known)}")
            runs = [run for run in runs if naming(run) in names]
    if options.score_again and options.dask:
        parser.error("--score-again reads the weights that are stored here: leave out --dask")
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")

    once_more = "the same command continues from here"
    interrupted = f"{parser.prog}: interrupted; {once_more}\n"
    try:
        if options.stacked:
            from tvae_lib.experiments.stacked import train_runs

            train_runs(runs, results, options.stacked)
            return
        baselines = not (options.quick or options.only or options.study)
        with stopping_at_once(interrupted) if options.jobs > 1 and not options.dask else contextlib.nullcontext():
            driver.execute_all(
                runs, results, jobs=options.jobs, dask=options.dask, again=options.score_again, baselines=baselines
            )
    except KeyboardInterrupt:
        parser.exit(130, interrupted)
    except BrokenProcessPool:
        parser.exit(1, f"{parser.prog}: error: a worker was ended from outside, perhaps for want of memory; {once_more}\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {' '.join(str(error).split())}; once that is mended, {once_more}\n")
