"""The full-length runs and studies behind the book's tables. ::

    python -m tvae_lib.experiments --jobs 2        # run whatever is not finished yet
    python -m tvae_lib.experiments --quick         # a rehearsal of everything in about a minute

A run trains one model with one seed and scores it. Unfinished runs continue from their last epoch; finished ones are never
repeated. Every run writes its own file under results/runs/ and holds a lock while it trains, so several processes, or
several sweeps, can share the work. The rows of all runs are gathered in results/runs.csv.

    studies      the table of studies: what is trained, on what, for how long
    scoring      what is measured on a trained model
    driver       doing the runs: alone, in processes, on a Dask cluster
    command      the command line
"""

from tvae_lib.experiments.command import main
from tvae_lib.experiments.driver import collect, execute, execute_baselines, provenance, score_again
from tvae_lib.experiments.scoring import score, score_answers, score_baselines, score_outliers
from tvae_lib.experiments.studies import PROTOCOL, STUDIES, Run, Study, rehearsal, sweep
from tvae_lib.results import load_history, load_model, load_scores, mean_interval, scores_by_seed, test_masks

__all__ = [
    "PROTOCOL",
    "STUDIES",
    "Run",
    "Study",
    "collect",
    "execute",
    "execute_baselines",
    "load_history",  # this one and the next five stand in tvae_lib.results; workbooks import them from here
    "load_model",
    "load_scores",
    "main",
    "mean_interval",
    "provenance",
    "rehearsal",
    "score",
    "score_again",
    "score_answers",
    "score_baselines",
    "score_outliers",
    "scores_by_seed",
    "sweep",
    "test_masks",
]
