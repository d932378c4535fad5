"""The full-length runs behind the book's tables, and the functions with which chapters read them.

    python -m tvae_lib.experiments --jobs 2        # run whatever is not finished yet
    python -m tvae_lib.experiments --quick         # a rehearsal of everything in about a minute

A run trains one model with one seed and scores it. Unfinished runs continue from their last epoch; finished ones are never
repeated. Every run writes its own file under results/runs/, so several processes can share the work, and the rows of all of
them are gathered in results/runs.csv.
"""

import argparse
import datetime
import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tvae_lib import checkpoint, impute, masks, metrics
from tvae_lib.data import load_mnist
from tvae_lib.latent import Gaussian, StudentT, kl_exact
from tvae_lib.train import evaluate, fit

RESULTS = Path(__file__).parents[1] / "results"
SEEDS_WITH_WEIGHTS = 5  # float16 weights are shipped for the first five seeds of each model

# The source project's protocol (chapter 04): plain SGD, no weight decay, no schedule.
PROTOCOL = {"epochs": 300, "batch_size": 500, "lr": 0.005}
DRAWS = 30
MISSING_FRACTION = 0.3


@dataclass(frozen=True)
class Run:
    """One training run. df = 0 stands for the Gaussian; epochs 300 is the full protocol."""

    df: float
    seed: int
    backend: str = "numpy"
    epochs: int = PROTOCOL["epochs"]

    @property
    def model(self):
        return "gaussian" if self.df == 0 else f"t{self.df:g}"

    @property
    def name(self):
        return f"{self.model}-{self.backend}-{self.seed}"

    @property
    def family(self):
        return StudentT(self.df) if self.df else Gaussian()


def sweep():
    """All full-length runs, the most needed first: pairs of Gaussian and t with nu = 21, then the other nu, then PyTorch."""
    pairs = [Run(df, seed) for seed in range(10) for df in (0, 21)]
    other_df = [Run(df, seed) for seed in range(3) for df in (3, 5, 10, 50, 200)]
    twins = [Run(df, 0, backend="torch") for df in (0, 21)]
    return pairs + other_df + twins


def rehearsal():
    """The same models, one seed and one epoch each."""
    return [Run(df, 0, epochs=1) for df in (0, 3, 21)]


def _new_model(run):
    if run.backend == "torch":
        import torch

        from tvae_lib.vae_torch import VAE

        torch.set_num_threads(1)
        torch.manual_seed(run.seed)  # PyTorch's own initialisation, as in the source project
        return VAE(run.family)
    from tvae_lib.vae_numpy import VAE

    return VAE(run.family, rng=run.seed)


def score(model, seed, test):
    """All scores of one trained model on test images, as rows (metric, mask, method, value).

    The masks and all noise depend on the seed only, so that two models with one seed are compared on the same masks.
    """
    rows = []
    loss, reconstruction, kl = evaluate(model, test, np.random.default_rng(seed))
    rows += [("test_loss", "", "", loss), ("test_reconstruction", "", "", reconstruction), ("test_kl", "", "", kl)]

    mu, logvar = model.encode(test)
    rows.append(("active_units", "", "", int(np.sum(mu.var(axis=0) > 0.01))))  # Burda et al. (2016)
    per_dimension = np.sort(kl_exact(model.family, mu, logvar).mean(axis=0))[::-1]
    rows += [(f"kl_dimension_{i}", "", "", value) for i, value in enumerate(per_dimension)]
    one_draw = model.reconstruct(test, model.family.sample(np.random.default_rng(seed), mu.shape))
    rows.append(("reconstruction_mse", "", "", metrics.mse(test, one_draw)))
    rows.append(("reconstruction_ssim", "", "", metrics.ssim(test[:1000], one_draw[:1000])))

    nothing_missing = np.zeros(test.shape, bool)
    whole = impute.single_pass(model, test, nothing_missing, draws=DRAWS, seed=seed)
    for mask, missing in test_masks(seed, len(test)).items():
        rows.append(("mse_missing", mask, "floor", metrics.mse_missing(test, whole, missing)))
        for method in (impute.single_pass, impute.pseudo_gibbs):
            prediction = method(model, test, missing, draws=DRAWS, seed=seed)
            filled = impute.fill(test, missing, prediction)
            values = {
                "mse_prediction": metrics.mse(test, prediction),
                "mse_imputation": metrics.mse(test, filled),
                "ssim_global_prediction": metrics.ssim_global(test, prediction),
                "ssim_global_imputation": metrics.ssim_global(test, filled),
                "mse_missing": metrics.mse_missing(test, prediction, missing),
                "ssim_imputation": metrics.ssim(test[:1000], filled[:1000]),  # the first 1,000 images: it is slow
            }
            rows += [(metric, mask, method.__name__, value) for metric, value in values.items()]
    return [(metric, mask, method, float(value)) for metric, mask, method, value in rows]


def test_masks(seed, n=10_000):
    """The two masks on which runs with this seed are scored: {"random": bool (n, 784), "squares": bool (n, 784)}."""
    rng = np.random.default_rng((seed, 30))
    return {"random": masks.random_pixels(rng, (n, 784), MISSING_FRACTION), "squares": masks.random_squares(rng, n)}


def provenance():
    """Versions, machine kind, commit and date, to be stored with every run."""
    import scipy

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }


def execute(run, results=RESULTS, progress=True):
    """Train, score and store one run, unless its file is there already. Returns the path of its file."""
    from threadpoolctl import threadpool_limits

    path = Path(results) / "runs" / f"{run.name}.json"
    if path.exists():
        return path
    data = load_mnist()
    model = _new_model(run)
    weights = Path(results) / "weights" / f"{run.name}.safetensors"
    work = Path(results) / "work" / f"{run.name}.safetensors"
    rounded = work.with_name(f"{run.name}-float16.safetensors")
    record = {**asdict(run), "protocol": {**PROTOCOL, "epochs": run.epochs}, "provenance": provenance()}
    with threadpool_limits(1):  # one thread: other runs use the other cores, and sums keep their order
        try:
            options = {**PROTOCOL, "epochs": run.epochs, "seed": run.seed, "checkpoint": work, "progress": progress}
            history = fit(model, data.train, data.valid, **options)
        except FloatingPointError as error:
            record.update(failed=str(error), history={}, scores=[])
        else:
            # Score what is shipped: the weights rounded to float16.
            kept = weights if run.seed < SEEDS_WITH_WEIGHTS else rounded
            checkpoint.save(kept, model, dtype=np.float16)
            record["scores"] = score(checkpoint.load(kept), run.seed, data.test)
            record["history"] = {name: [round(v, 5) for v in values] for name, values in asdict(history).items()}
    checkpoint.write_atomically(path, json.dumps(record, indent=None, separators=(",", ":")).encode())
    for leftover in (work, rounded):
        leftover.unlink(missing_ok=True)
    return path


def collect(results=RESULTS):
    """Write runs.csv, one row per score, from the files of all finished runs, and return it as a pandas DataFrame."""
    import pandas as pd

    rows = []
    for path in sorted((Path(results) / "runs").glob("*.json")):
        record = json.loads(path.read_text())
        run = Run(record["df"], record["seed"], record["backend"], record["epochs"])
        for metric, mask, method, value in record["scores"]:
            rows.append((run.model, run.df or np.inf, run.seed, run.backend, metric, mask, method, float(f"{value:.7g}")))
    columns = ["model", "nu", "seed", "backend", "metric", "mask", "method", "value"]
    table = pd.DataFrame(rows, columns=columns)
    checkpoint.write_atomically(Path(results) / "runs.csv", table.to_csv(index=False).encode())
    return table


@cache
def load_scores():
    """The shipped table of all scores, as a pandas DataFrame; empty strings where a score has no mask or method."""
    import pandas as pd

    return pd.read_csv(RESULTS / "runs.csv", keep_default_na=False)


def scores_by_seed(metric, mask="", method="", backend="numpy"):
    """One score of all finished full-length runs: a DataFrame with a row per seed and a column per model."""
    table = load_scores()
    which = (table.metric == metric) & (table["mask"] == mask) & (table.method == method) & (table.backend == backend)
    return table[which].pivot(index="seed", columns="model", values="value")


def mean_interval(values):
    """Mean of a sample and its 95 % interval by Student's t: (mean, low, high). NaN bounds for fewer than two values."""
    from scipy import stats

    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan, np.nan
    half_width = stats.t(len(values) - 1).ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half_width), float(values.mean() + half_width)


def load_history(model, seed=0, backend="numpy"):
    """The loss history of a finished run: a dict of lists, one entry per epoch (see `train.History`)."""
    path = RESULTS / "runs" / f"{model}-{backend}-{seed}.json"
    if not path.exists():
        finished = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise ValueError(f"there is no finished run of model {model!r} with seed {seed} ({backend}); there are {finished}")
    return json.loads(path.read_text())["history"]


def load_model(model, seed=0, backend="numpy"):
    """A trained model of the shipped ones: model is "gaussian" or "t21", say."""
    path = RESULTS / "weights" / f"{model}-numpy-{seed}.safetensors"
    if not path.exists():
        shipped = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors")))
        raise ValueError(f"no weights are shipped for model {model!r} with seed {seed}; there are {shipped}")
    return checkpoint.load(path, backend)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tvae_lib.experiments", description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one core each (default 1)")
    parser.add_argument("--quick", action="store_true", help="one epoch of three models, into results/quick")
    parser.add_argument("--only", metavar="MODEL", nargs="+", help="these models only, e.g. gaussian t21")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to (default: the repository's results/)")
    options = parser.parse_args(arguments)
    runs, results = (rehearsal(), options.results / "quick") if options.quick else (sweep(), options.results)
    if options.only:
        known = sorted({run.model for run in runs})
        unknown = [name for name in options.only if name not in known]
        if unknown:
            parser.error(f"unknown model {unknown[0]!r}; choose from {', '.join(known)}")
        runs = [run for run in runs if run.model in options.only]
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")

    from joblib import Parallel, delayed

    # With one job the bar of each run shows its epochs; side by side such bars would write over each other.
    work = (delayed(execute)(run, results, progress=options.jobs == 1) for run in runs)
    finished = Parallel(n_jobs=options.jobs, return_as="generator_unordered", pre_dispatch=options.jobs)(work)
    for path in tqdm(finished, total=len(runs), desc="runs", unit="run"):
        tqdm.write(f"finished {path.stem}", file=sys.stderr)
        collect(results)


if __name__ == "__main__":
    main()
