"""The full-length runs behind the book's tables, and the functions with which chapters read them. ::

    python -m tvae_lib.experiments --jobs 2        # run whatever is not finished yet
    python -m tvae_lib.experiments --quick         # a rehearsal of everything in about a minute

A run trains one model with one seed and scores it. Unfinished runs continue from their last epoch; finished ones are never
repeated. Every run writes its own file under results/runs/ and holds a lock while it trains, so several processes, or
several sweeps, can share the work. The rows of all runs are gathered in results/runs.csv.
"""

import argparse
import contextlib
import datetime
import itertools
import platform
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from tvae_lib import baselines, checkpoint, impute, metrics, outliers, synthetic
from tvae_lib.data import load_fashion_test, load_mnist
from tvae_lib.files import remove_leftovers, write_atomically
from tvae_lib.latent import Gaussian, StudentT, kl_exact
from tvae_lib.results import (
    COLUMNS,
    RESULTS,
    load_history,  # noqa: F401 (workbooks import this one and the next three from here)
    load_model,
    load_scores,  # noqa: F401
    mean_interval,  # noqa: F401
    name_of,
    read_record,
    scores_by_seed,  # noqa: F401
    test_masks,
    write_record,
)
from tvae_lib.train import evaluate, fit

# The source project's protocol (chapter 04): plain SGD, no weight decay, no schedule.
PROTOCOL = {"epochs": 300, "batch_size": 500, "lr": 0.005}
DRAWS = 30
METHODS = (impute.single_pass, impute.pseudo_gibbs, impute.importance, impute.latent_map, impute.langevin)
BASELINES = {
    "zero": baselines.zero,
    "mean": baselines.mean,
    "pca10": partial(baselines.principal_components, components=10),  # as many numbers as a code has
    "pca60": partial(baselines.principal_components, components=60),  # the best on validation images with squares missing
    "pca120": partial(baselines.principal_components, components=120),  # better still on scattered pixels
    "knn10": partial(baselines.nearest_neighbours, k=10),  # the best k on validation images
}
BASELINE_SEEDS = 3  # masks are all that differs between seeds, and 7,840,000 pixels leave them little room


@dataclass(frozen=True)
class Run:
    """One training run. df = 0 stands for the Gaussian; the defaults are the full protocol.

    study names what differs from the protocol: "sample" or "exact", how the KL is computed; "without", the digit class that is
    left out of the training images is the seed's; "foreign5", 5 % of them are replaced by Fashion-MNIST images; "warm", training
    starts from the weights of the full-length Gaussian run of this seed; "heavy" and
    "light", the data are not digits but answers to a questionnaire (`synthetic`), by people whose abilities are t with 3 degrees
    of freedom or Gaussian; "heavy240", the same for 240 epochs. All studies but "sample" use the exact KL for either family.
    """

    df: float
    seed: int
    backend: str = "numpy"
    epochs: int = PROTOCOL["epochs"]
    lr: float = PROTOCOL["lr"]
    batch_size: int = PROTOCOL["batch_size"]
    test_images: int = 10_000  # how many of them are scored
    study: str = ""

    @property
    def model(self):
        return f"t{self.df:g}" if self.df else "gaussian"

    @property
    def name(self):
        return name_of(asdict(self))

    @property
    def kl(self):
        """How the KL is computed; None is the source project's choice."""
        return {"": None, "sample": "sample"}.get(self.study, "exact")

    @property
    def protocol(self):
        return {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}

    @property
    def family(self):
        return StudentT(self.df) if self.df else Gaussian()

    @property
    def abilities(self):
        """The family from which a questionnaire's abilities come; None for runs on digits."""
        return {"heavy": StudentT(3), "light": Gaussian()}.get(self.study.rstrip("0123456789"))

    @property
    def ships_weights(self):
        """Whether its weights stay in results/weights: 1.5 MB a run, so only those that chapters and tests load."""
        return not self.study and self.seed < (5 if self.df in (0, 21) and self.backend == "numpy" else 1)


def sweep():
    """All full-length runs, the most needed first: Gaussian and t with nu = 21, one of either in PyTorch, then the other nu."""
    pairs = [Run(df, seed) for seed in range(10) for df in (0, 21)]
    other_df = [Run(df, seed) for seed in range(3) for df in (3, 5, 10, 50, 200)]
    twins = [Run(df, 0, backend="torch") for df in (0, 21)]
    return pairs + twins + other_df


# The schedule of the studies: as many steps as 100 epochs of the protocol, at its learning rate, in a third of the time.
SHORT = {"epochs": 20, "batch_size": 100, "lr": 0.005}
ANSWERS = {"epochs": 60, "batch_size": 100, "lr": 0.05}  # the questionnaire's network has 1 % of the weights


def studies():
    """The runs behind chapters 08 and 09 that depart from the protocol: shorter, and with the exact KL unless named "sample"."""
    models = {"exact": (0, 3, 21), "sample": (0, 3, 21), "without": (0, 21), "foreign1": (0, 21), "foreign5": (0, 21)}
    models["foreign10"] = (0, 3, 21)
    answers = [
        Run(df, seed, **ANSWERS, test_images=5000, study=study)
        for seed in range(10)
        for study in ("heavy", "light")
        for df in (0, 3, 21)
    ]
    answers += [
        Run(df, seed, **ANSWERS | {"epochs": epochs}, test_images=5000, study=f"{study}{epochs}")
        for seed in range(5)
        for study, epochs in (("heavy", 240), ("heavy", 960), ("light", 960))
        for df in (0, 3)
    ]
    warm = [Run(df, seed, epochs=20, test_images=1000, study="warm") for seed in range(5) for df in (3, 0)]
    return (
        answers
        + warm
        + [
            Run(df, seed, **SHORT, test_images=2000 if study == "without" else 1000, study=study)  # a tenth of them was left out
            for seed in range(5)
            for study, families in models.items()
            for df in families
        ]
    )


def training_data(run, data):
    """What a run trains on and is validated on: MNIST's images, but for some of the studies (see `Run`)."""
    if run.abilities:
        rng = np.random.default_rng((run.seed, 32))
        return [synthetic.questionnaire(run.abilities, n, rng)[0] for n in (10_000, 1000)]
    if run.study == "without":
        return data.train[data.train_labels != run.seed], data.valid[data.valid_labels != run.seed]
    if run.study.startswith("foreign"):
        # Not the first 2,000, on which `score_outliers` asks whether the model tells them from digits.
        rng, foreign, images = np.random.default_rng((run.seed, 31)), load_fashion_test()[0][2000:], data.train.copy()
        n = round(len(images) * int(run.study.removeprefix("foreign")) / 100)
        images[rng.choice(len(images), n, replace=False)] = foreign[rng.choice(len(foreign), n, replace=False)]
        return images, data.valid
    return data.train, data.valid


def rehearsal():
    """Three of these models and a PyTorch twin, one seed and one epoch each, scored on few images."""
    return [Run(df, 0, epochs=1, test_images=300) for df in (0, 3, 21)] + [Run(21, 0, "torch", epochs=1, test_images=300)]


def _new_model(run):
    if run.backend == "torch":
        import torch

        from tvae_lib.vae_torch import VAE

        torch.set_num_threads(1)
        torch.manual_seed(run.seed)  # PyTorch's own initialisation, as in the source project
        return VAE(run.family, kl=run.kl)
    from tvae_lib.vae_numpy import VAE

    sizes = (synthetic.QUESTIONS, 32, 1) if run.abilities else (784, 400, 128, 10)
    model = VAE(run.family, sizes, rng=run.seed, kl=run.kl)
    if run.study == "warm":
        model.params = load_model("gaussian", run.seed).params
    return model


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

    # The floor: what the same method would say if it saw the whole image.
    nothing_missing = np.zeros(test.shape, bool)
    floors = {
        "floor": impute.single_pass(model, test, nothing_missing, draws=DRAWS, seed=seed),
        "floor_latent_map": impute.latent_map(model, test, nothing_missing, draws=DRAWS, seed=seed),
    }
    for mask, missing in test_masks(seed, len(test)).items():
        for name, whole in floors.items():
            rows.append(("mse_missing", mask, name, metrics.mse_missing(test, whole, missing)))
        for method in METHODS:
            if method is impute.importance:
                prediction, ess = impute.importance_and_ess(model, test, missing, draws=DRAWS, seed=seed)
                rows.append(("ess_median", mask, method.__name__, np.median(ess)))
            else:
                prediction = method(model, test, missing, draws=DRAWS, seed=seed)
            rows += _score_prediction(test, missing, prediction, mask, method.__name__)
    return _floats(rows)


def score_outliers(model, seed, test, left_out=()):
    """How well unusual images are told from test images: rows ("auc", set of images, score, value), and the test images' bound.

    left_out: (n, 784), digits of a class that the model was not trained on, or none.
    """
    usual = outliers.unusualness(model, test, seed=seed)
    rows = [("test_bound", "", "", usual["bound"].mean())]
    sets = outliers.unusual_images(test, seed)
    if len(left_out):
        sets["left out"] = left_out
    for name, images in sets.items():
        unusual = outliers.unusualness(model, images, seed=seed)
        rows += [("auc", name, score, outliers.auc(usual[score], unusual[score])) for score in usual]
    return _floats(rows)


def score_answers(model, abilities, n, seed):
    """How well a model of the questionnaire knows n new people, abilities drawn from the family `abilities`, as rows.

    "regret": mean of log p(x) under the truth minus log p(x) under the model, in nats; "regret_far" the same for the 5 % of
    people with the most unusual abilities; "rank_correlation" (Spearman) of posterior means and true abilities;
    "rank_correlation_far" within the two tails that these 5 % make, averaged; "gap": mean of log p(x) minus the ELBO.
    """
    from scipy.stats import spearmanr

    rng = np.random.default_rng((seed, 33))
    x, z = synthetic.questionnaire(abilities, n, rng)
    far = np.abs(z) >= np.quantile(np.abs(z), 0.95)
    truth, _ = synthetic.log_likelihood_and_mean(abilities, synthetic.true_logits(synthetic.GRID), x)
    found, guess = synthetic.log_likelihood_and_mean(model.family, model.decode(synthetic.GRID[:, None]), x)
    rows = [("regret", np.mean(truth - found)), ("regret_far", np.mean((truth - found)[far]))]
    rank_correlation = lambda people: abs(spearmanr(guess[people], z[people])[0])  # the sign of a code is arbitrary
    rows.append(("rank_correlation", rank_correlation(slice(None))))
    rows.append(("rank_correlation_far", np.mean([rank_correlation(far & (z > 0)), rank_correlation(far & (z < 0))])))
    rows.append(("gap", np.mean(found) + evaluate(model, x, rng)[0]))
    return _floats([(metric, "", "", value) for metric, value in rows])


def score_run(run, model, data):
    """All scores of a run's model: `score` on its test images, `score_outliers` on up to 2,000 of them, or `score_answers`."""
    if run.abilities:
        return score_answers(model, run.abilities, run.test_images, run.seed)
    test, labels = data.test[: run.test_images], data.test_labels[: run.test_images]
    known = labels != run.seed if run.study == "without" else np.ones(len(test), bool)
    rows = score(model, run.seed, test[known])
    return rows + score_outliers(model, run.seed, test[known][:2000], test[~known][:2000])


def score_baselines(seed, train, test):
    """The same scores for the methods of `baselines` on the masks of a seed."""
    rows = []
    for mask, missing in test_masks(seed, len(test)).items():
        for name, method in BASELINES.items():
            rows += _score_prediction(test, missing, method(train, test, missing), mask, name)
    return _floats(rows)


def _score_prediction(test, missing, prediction, mask, method):
    filled = impute.fill(test, missing, prediction)
    values = {
        "mse_prediction": metrics.mse(test, prediction),
        "mse_imputation": metrics.mse(test, filled),
        "ssim_global_prediction": metrics.ssim_global(test, prediction),
        "ssim_global_imputation": metrics.ssim_global(test, filled),
        "mse_missing": metrics.mse_missing(test, prediction, missing),
        "ssim_imputation": metrics.ssim(test[:1000], filled[:1000]),  # the first 1,000 images: it is slow
    }
    return [(metric, mask, method, value) for metric, value in values.items()]


def _floats(rows):
    return [(metric, mask, method, float(value)) for metric, mask, method, value in rows]


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
    """Train, score and store one run, unless its file is there already.

    Returns the path of its file, or None if another process is training this run at the moment.
    """
    from threadpoolctl import threadpool_limits

    results = Path(results)
    path, work, kept = results / "runs" / f"{run.name}.json", _work(run, results), _weights(run, results)
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
        data = load_mnist()
        model = _new_model(run)
        record = {**asdict(run), "protocol": run.protocol, "provenance": provenance()}
        with threadpool_limits(1):  # one thread: other runs use the other cores, and sums keep their order
            try:
                options = {**run.protocol, "seed": run.seed, "checkpoint": work, "progress": progress}
                history = fit(model, *training_data(run, data), **options)
            except FloatingPointError as error:
                record.update(failed=str(error), history={}, scores=[])
            else:
                # Score what is shipped: the weights rounded to float16.
                checkpoint.save(kept, model, dtype=np.float16)
                record["history"] = {name: [round(v, 5) for v in values] for name, values in asdict(history).items()}
                record["scores"] = score_run(run, checkpoint.load(kept), data)
        for other in (path, kept):
            remove_leftovers(other)
        if not run.ships_weights:
            kept.unlink(missing_ok=True)
        write_record(path, record)
        work.unlink(missing_ok=True)
    return path


def _work(run, results):
    """The checkpoint from which an unfinished run continues."""
    return Path(results) / "work" / f"{run.name}.safetensors"


def _weights(run, results):
    """Where a run's float16 weights are: those that are not shipped are kept only until they are scored."""
    if run.ships_weights:
        return Path(results) / "weights" / f"{run.name}.safetensors"
    return Path(results) / "work" / f"{run.name}-float16.safetensors"


@contextlib.contextmanager
def _free_line(folder):
    """The number of a line of the terminal that no other run's progress bar is using; line 0 belongs to the sweep."""
    for line in itertools.count(1):
        with contextlib.suppress(Timeout), FileLock(folder / f"line-{line}.lock", timeout=0):
            yield line
            return


def _run(record):
    """The run that a record is of; older records have not all of its fields."""
    return Run(**{field.name: record[field.name] for field in fields(Run) if field.name in record})


def execute_baselines(seed, results=RESULTS):
    """Score the baselines on the masks of one seed, unless that is done.

    Returns the path of the file, or None if another process is scoring them at the moment.
    """
    path = Path(results) / "runs" / f"baselines-{seed}.json"
    with contextlib.ExitStack() as locks:
        try:
            locks.enter_context(FileLock(Path(results) / "work" / f"{path.stem}.lock", timeout=0))
        except Timeout:
            return None
        if path.exists():
            return path
        remove_leftovers(path)
        data = load_mnist()
        scores = score_baselines(seed, data.train, data.test)
        write_record(path, {"seed": seed, "baselines": True, "provenance": provenance(), "scores": scores})
    return path


def score_again(run, results=RESULTS):
    """Score the stored weights of a finished run again, without training. Returns the path of its file."""
    path = Path(results) / "runs" / f"{run.name}.json"
    record = read_record(path)
    record["scores"] = score_run(run, checkpoint.load(_weights(run, results), family=run.family), load_mnist())
    record["scored"] = provenance()
    write_record(path, record)
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
            run = _run(record)
            start = (run.model, run.df or np.inf, run.seed, run.backend, run.study)
        rows += [(*start, metric, mask, method, float(f"{value:.7g}")) for metric, mask, method, value in record["scores"]]
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_atomically(Path(results) / "runs.csv", table.to_csv(index=False).encode())
    return table


def _files(run, results):
    """The files that a finished run leaves, by their paths below results/."""
    paths = [Path("runs") / f"{run.name}.json"]
    if run.ships_weights:
        paths.append(Path("weights") / f"{run.name}.safetensors")
    return {path.as_posix(): (Path(results) / path).read_bytes() for path in paths if (Path(results) / path).exists()}


def _execute_anywhere(run, results, progress):
    """`execute`, and the content of the run's files: a worker on another machine may not share this folder.

    A relative path is one below results/ of the repository on the machine that runs this.
    """
    results = RESULTS / results
    return run.name, _files(run, results) if execute(run, results, progress) else {}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tvae_lib.experiments", description=__doc__.split(" ::")[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one core each (default 1)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run on the workers of this Dask scheduler, e.g. tcp://host:8786")
    parser.add_argument("--quick", action="store_true", help="a rehearsal into results/quick: four models, one epoch each")
    parser.add_argument("--only", metavar="MODEL", nargs="+", help="these models only, e.g. gaussian t21")
    parser.add_argument("--study", metavar="NAME", nargs="+", help="these studies only; protocol stands for the full-length runs")
    parser.add_argument(
        "--score-again", action="store_true", help="train nothing, score the stored weights of finished runs again"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to (default: the repository's results/)")
    options = parser.parse_args(arguments)
    results = options.results.absolute() / ("quick" if options.quick else "")
    runs = rehearsal() if options.quick else sweep() + studies()
    for names, naming in ((options.only, lambda run: run.model), (options.study, lambda run: run.study or "protocol")):
        if names:
            known = sorted({naming(run) for run in runs})
            unknown = [name for name in names if name not in known]
            if unknown:
                parser.error(f"{unknown[0]!r} is not one of {', '.join(known)}")
            runs = [run for run in runs if naming(run) in names]
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")

    once_more = "the same command continues from here"
    try:
        _execute_all(runs, results, options)
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted; {once_more}\n")
    except BrokenProcessPool:
        parser.exit(1, f"{parser.prog}: error: a worker was ended from outside, perhaps for want of memory; {once_more}\n")
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {' '.join(str(error).split())}; once that is mended, {once_more}\n")


def _execute_all(runs, results, options):
    """Do what is left of the runs, and gather the table: before the first, so that a damaged file shows, and after each."""
    from joblib import Parallel, delayed, parallel_config

    finished = [run for run in runs if (results / "runs" / f"{run.name}.json").exists()]
    if options.score_again:
        todo = [run for run in finished if _weights(run, results).exists()]
        work = [delayed(score_again)(run, results) for run in todo]
    else:
        todo = [run for run in runs if run not in finished]
        there = results.relative_to(RESULTS) if results.is_relative_to(RESULTS) else results
        work = [delayed(_execute_anywhere)(run, there, True) for run in todo]
        if not options.quick:
            work += [delayed(execute_baselines)(seed, results) for seed in range(BASELINE_SEEDS)]
    for run in finished:
        _work(run, results).unlink(missing_ok=True)  # of a process that was killed between its last two steps
    _collect_alone(results)
    with contextlib.ExitStack() as stack:
        if options.dask:
            from distributed import Client

            stack.enter_context(Client(options.dask))
            stack.enter_context(parallel_config("dask"))
        # batch_size=1: joblib would bundle runs that look short, and a bundle is one core's work.
        parallel = Parallel(n_jobs=-1 if options.dask else options.jobs, return_as="generator_unordered", batch_size=1)
        for result in tqdm(parallel(work), total=len(work), desc="sweep", unit="run"):
            if isinstance(result, tuple):
                name, files = result
                for path, content in files.items():
                    if not (results / path).exists():
                        write_atomically(results / path, content)
                tqdm.write(f"finished {name}" if files else f"skipped {name}: another process is training it", file=sys.stderr)
            _collect_alone(results)


def _collect_alone(results):
    """`collect`, one process at a time."""
    with FileLock(results / "work" / "collect.lock"):
        remove_leftovers(results / "runs.csv")
        collect(results)
