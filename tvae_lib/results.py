"""Reading results/: the scores, loss histories and trained models that the full-length runs left there.

`tvae_lib.experiments` makes them. Nothing here trains.
"""

import json
import re
import zlib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from tvae_lib import checkpoint, latent, masks
from tvae_lib.files import write_atomically
from tvae_lib.inputs import finite, real_array, said
from tvae_lib.train import History

RESULTS = Path(__file__).parents[1] / "results"

MISSING_FRACTION = 0.3  # of the pixels, in the mask "random"

# What a run's record says of the run; older records have not all of it.
RUN = {"model", "df", "seed", "backend", "epochs", "lr", "batch_size", "test_images", "study"}


# What the book calls the methods and masks of the tables.
TITLES = {
    "gaussian": "Gaussian",
    "single_pass": "one pass",
    "pseudo_gibbs": "feeding back",
    "importance": "weighting",
    "latent_map": "most probable code",
    "langevin": "Langevin",
    "zero": "zeros",
    "mean": "mean digit",
    "knn10": "nearest neighbours",
    "conditional": "conditional mean",
    "blur0.5": "blur",
    "blur0.8": "blur",
    "random": "pixels",
    "squares": "squares",
}


def model_of(family):
    """The name in files and tables of the models with a latent family: "gaussian", "t21", "mt21" (multivariate), "gaussian_t3".

    The last has a Gaussian encoder and a t prior; "t3unit" is a t of unit variance. ValueError for other families.
    """
    kind = type(family).__name__
    if kind == "Scaled" and repr(family_of(f"{model_of(family.family)}unit")) == repr(family):
        return f"{model_of(family.family)}unit"
    if kind == "Apart":
        return f"{model_of(family.encoder)}_{model_of(family.prior)}"
    names = {"Gaussian": "gaussian", "StudentT": "t", "MultivariateT": "mt"}
    if kind not in names:
        raise ValueError(f"family must be one of tvae_lib.latent, got {said(family)}")
    return names[kind] + (f"{family.df:g}" if hasattr(family, "df") else "")


def family_of(model):
    """The latent family of a model's name, as `model_of` gives it; ValueError for other names."""
    encoder, apart, prior = model.partition("_")
    if apart:
        return latent.Apart(family_of(encoder), family_of(prior))
    if model == "gaussian":
        return latent.Gaussian()
    if not (parts := re.fullmatch(r"(m?t)(\d+|\d+\.\d+)(unit)?", model)):
        raise ValueError(f'model must be "gaussian", "t21", "mt21", "gaussian_t3" or alike, got {model!r}')
    if parts[3]:
        df = float(parts[2])
        return latent.Scaled(latent.StudentT(df), np.sqrt((df - 2) / df))
    return (latent.StudentT if parts[1] == "t" else latent.MultivariateT)(float(parts[2]))


def title(name):
    """What a table or figure calls a model, a method or a mask: title("t21") is "t, ν = 21"; other names stay as they are."""
    family = r"(?:gaussian|m?t\d[\d.]*)"
    if parts := re.fullmatch(f"({family})_({family})", name):
        return ", ".join(re.sub(r"$|(?=,)", f" {part}", title(parts[i]), count=1) for i, part in ((1, "encoder"), (2, "prior")))
    if parts := re.fullmatch(r"(m?)t(\d[\d.]*)(unit)?", name):
        return f"{'multivariate ' * bool(parts[1])}t, ν = {parts[2]}{', unit variance' * bool(parts[3])}"
    if parts := re.fullmatch(r"pca(\d+)", name):
        return f"PCA, {parts[1]}"
    return TITLES.get(name, name)


def name_of(record):
    """The name of a record's file, without its ending."""
    if "baselines" in record:
        return f"baselines-{record['seed']}"
    study = record.get("study", "")
    return f"{record['model']}-{record['backend']}-{record['seed']}{study and '-' + study}"


def write_record(path, record):
    """Write the file of a run or of the baselines, with its checksum."""
    record = {name: value for name, value in record.items() if name != "crc32"}
    write_atomically(path, _to_text({**record, "crc32": zlib.crc32(_to_text(record))}))


def _to_text(record):
    return json.dumps(record, separators=(",", ":")).encode()


def read_record(path):
    """The content of a file in results/runs, a dict.

    Raises ValueError, one line, if the file is damaged, or is not the one that its name says. The checksum is what tells a
    changed digit; files that were written before there was one are checked for their form only.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_bytes())
        checksum = record.pop("crc32", None)
        if checksum not in (None, zlib.crc32(_to_text(record))):
            raise ValueError("wrong checksum")
        if (
            "df" in record
        ):  # older files say so which model it is, 0 for the Gaussian, and nothing of the study where there is none
            df = record.pop("df")
            record = {"model": f"t{df:g}" if df else "gaussian", "study": "", **record}
        _check_record(record, path.stem)
    except Exception as error:  # in what was damaged anything may be of another type than it should be
        hint = "restore it, or delete it and run `python -m tvae_lib.experiments` for this run again"
        raise ValueError(f"{path} is not a whole result ({' '.join(str(error).split())}); {hint}") from None
    return record


def _check_record(record, name):
    """Raise an exception of whatever kind unless the record has the form of the run of that name."""
    names = {"seed", "baselines", "provenance", "scores"}
    if "baselines" not in record:
        names = RUN | {"protocol", "provenance", "history", "scores", "failed", "scored"}
        expected = {} if "failed" in record else {field.name: record["epochs"] for field in fields(History)}
        history = record["history"]
        if {name: len(values) for name, values in history.items()} != expected or not _all_floats(*history.values()):
            raise ValueError("the history is not one of its epochs")
    if unknown := record.keys() - names:
        raise ValueError(f"unknown entry {min(unknown)!r}")
    if (found := name_of(record)) != name:
        raise ValueError(f"it is that of {found}")
    texts = all(isinstance(text, str) for *names, _ in record["scores"] for text in names)
    if not texts or {len(row) for row in record["scores"]} - {4} or not _all_floats([row[3] for row in record["scores"]]):
        raise ValueError("a score is not three texts and a number")


def _all_floats(*lists):
    return all(type(value) is float for values in lists for value in values)


COLUMNS = ["model", "nu", "seed", "backend", "study", "metric", "mask", "method", "value"]


def write_table(path, table):
    """Write a DataFrame to a CSV file, and its checksum beside it, under the ending .crc32."""
    content = table.to_csv(index=False).encode()
    write_atomically(path, content)
    write_atomically(Path(path).with_suffix(".crc32"), f"{zlib.crc32(content)}\n".encode())


@cache
def load_scores():
    """The shipped table of all scores, as a pandas DataFrame; empty strings where a score has no mask or method, NaN where no nu.

    Raises ValueError if the file is not such a table, or not that of its checksum, which `write_table` puts beside it.
    """
    import pandas as pd

    path = RESULTS / "runs.csv"
    try:
        checksum = path.with_suffix(".crc32")
        if checksum.exists() and checksum.read_text().strip() != str(zlib.crc32(path.read_bytes())):
            raise ValueError("wrong checksum")
        table = pd.read_csv(path, keep_default_na=False, na_values={"nu": [""]})
        if list(table.columns) != COLUMNS or not path.read_bytes().endswith(b"\n"):
            raise ValueError("its first line or its end is missing")
        if table.nu.dtype.kind + table.seed.dtype.kind + table.value.dtype.kind != "fif" or table.duplicated(COLUMNS[:-1]).any():
            raise ValueError("a nu, a seed or a value is no number, or a row is there twice")
    except (OSError, ValueError) as error:
        hint = "restore it, or write it again by tvae_lib.experiments.collect()"
        raise ValueError(f"{path} is not a whole table ({' '.join(str(error).split())}); {hint}") from None
    return table


def scores_by_seed(metric, mask="", method="", backend="numpy", study="", models=None):
    """One score of all finished runs of a study (none: the full-length runs): a DataFrame, a row per seed, a column per model.

    With models, a list of names, it has these columns only, and the seeds that all of them have. ValueError for a name that no
    finished run has.
    """
    table = load_scores()
    wanted = {"metric": metric, "mask": mask, "method": method, "backend": backend, "study": study}
    for column, value in wanted.items():
        known = sorted(table[column].unique())
        if value not in known:
            raise ValueError(f"{column} must be one of {', '.join(map(repr, known))}, got {value!r}")
    which = np.logical_and.reduce([table[column] == value for column, value in wanted.items()])
    scores = table[which].pivot(index="seed", columns="model", values="value")
    if models is None:
        return scores
    if unknown := [model for model in models if model not in scores]:
        raise ValueError(f"models must be among {', '.join(map(repr, scores))}, got {unknown[0]!r}")
    return scores[list(models)].dropna()


def mean_interval(values):
    """Mean of a sample and its 95 % interval by Student's t: (mean, low, high), NaN bounds for fewer than two values.

    values: numbers in any shape; NaN and infinity are left out, and the mean of nothing is NaN. ValueError beyond 1e120.
    """
    from scipy import stats

    values = real_array("values", values).astype(float)
    values = finite("values", values[np.isfinite(values)])
    if len(values) < 2:
        return float(values.mean()) if len(values) else np.nan, np.nan, np.nan
    half_width = stats.t(len(values) - 1).ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half_width), float(values.mean() + half_width)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval. `Interval.of(values)` is that of a sample; `0 in gap` asks, `1000 * gap` is in thousandths.

    f"{gap:+.4f}" gives "+0.0012 (−0.0003 to +0.0027)"; only the mean where there is no interval, "–" where there is no mean.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """The interval of `mean_interval`."""
        return cls(*mean_interval(values))

    def __iter__(self):
        return iter((self.mean, self.low, self.high))

    def __contains__(self, value):
        return not (value < self.low or value > self.high)  # an interval that is not known excludes nothing

    def __mul__(self, factor):
        return Interval(self.mean * factor, *sorted((self.low * factor, self.high * factor)))

    __rmul__ = __mul__

    def __format__(self, spec):
        mean, low, high = (format(value, spec).replace("-", "−") for value in self)
        if np.isnan(self.mean):
            return "–"
        return f"{mean} ({low} to {high})" if self.low < self.high else mean


def paired(metric, model="t21", other="gaussian", *, mask="", method="", backend="numpy", study="", other_study=None):
    """The mean of one score of a model minus that of another, over the seeds that have both, as an `Interval`.

    other_study: the study of the other model, where it is not that of the first.
    """
    first = scores_by_seed(metric, mask, method, backend, study, [model])[model]
    second = scores_by_seed(metric, mask, method, backend, study if other_study is None else other_study, [other])[other]
    return Interval.of((first - second).dropna())


def compare(metric, model="t21", other="gaussian", *, spec=".2f", scale=1, **names):
    """One row of a table, a dict of texts: mean ± standard deviation of either model over seeds, and their difference.

    spec: the format of the numbers; scale: what they are multiplied by; names: those of `paired` (mask, method, backend, study).
    """
    both = scale * scores_by_seed(metric, **names, models=[other, model])
    row = {title(name): f"{values.mean():{spec}} ± {values.std():{spec}}" for name, values in both.items()}
    short = [title(name).split(",")[0] for name in (model, other)]
    return row | {f"{' − '.join(short)} (95 %)": f"{scale * paired(metric, model, other, **names):+{spec}}"}


def published(metric, mask="", backend="numpy"):
    """What the source project printed for its one run of each model: {"gaussian": 0.0091, "t21": 0.0081}.

    Metrics have the names of `load_scores`; its last training and validation loss are "loss" and "valid_loss".
    """
    import pandas as pd

    table = pd.read_csv(RESULTS / "published.csv", keep_default_na=False)
    rows = table[(table.metric == metric) & (table["mask"] == mask) & (table.backend == backend)]
    if rows.empty:
        known = ", ".join(f"{row.metric} {row.mask}".strip() for row in table.drop_duplicates(["metric", "mask"]).itertuples())
        raise ValueError(f"nothing was published as {metric!r} for mask {mask!r} and {backend!r}; there are {known}")
    return dict(zip(rows.model, rows.value, strict=True))


def load_history(model, seed=0, backend="numpy", study=""):
    """The loss history of a finished run: a dict of lists, one entry per epoch (see `train.History`)."""
    path = RESULTS / "runs" / f"{model}-{backend}-{seed}{study and '-' + study}.json"
    if not path.exists():
        finished = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise ValueError(f"there is no finished run of model {model!r} with seed {seed} ({backend}); there are {finished}")
    return read_record(path)["history"]


def load_model(model, seed=0, backend="numpy", study=""):
    """A trained model of the shipped ones: model is "gaussian" or "t21", say, and study empty for the full-length runs."""
    path = RESULTS / "weights" / f"{model}-numpy-{seed}{study and '-' + study}.safetensors"
    if not path.exists():
        shipped = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors")))
        raise ValueError(f"no weights are shipped for model {model!r} with seed {seed}; there are {shipped}")
    return checkpoint.load(path, backend, family_of(model))


def test_masks(seed, n=10_000):
    """The two masks on which runs with this seed are scored: {"random": bool (n, 784), "squares": bool (n, 784)}."""
    rng = np.random.default_rng((seed, 30))
    return {"random": masks.random_pixels(rng, (n, 784), MISSING_FRACTION), "squares": masks.random_squares(rng, n)}
