"""Reading results/: the scores, loss histories and trained models that the full-length runs left there.

`tvae_lib.experiments` makes them. Nothing here trains.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

from tvae_lib import checkpoint, masks
from tvae_lib.results.intervals import Interval, mean_interval
from tvae_lib.results.names import TITLES, family_of, model_of, title
from tvae_lib.results.records import COLUMNS, name_of, read_record, read_table, write_record, write_table

__all__ = [
    "COLUMNS",
    "MISSING_FRACTION",
    "RESULTS",
    "TITLES",
    "Interval",
    "compare",
    "family_of",
    "load_filling",
    "load_history",
    "load_model",
    "load_scores",
    "mean_interval",
    "model_of",
    "name_of",
    "paired",
    "published",
    "read_record",
    "scores_by_seed",
    "stored",
    "test_masks",
    "title",
    "write_record",
    "write_table",
]

RESULTS = Path(__file__).parents[2] / "results"
MISSING_FRACTION = 0.3  # of the pixels, in the mask "random"


@cache
def load_scores():
    """The shipped table of all scores, as a pandas DataFrame; empty strings where a score has no mask or method, NaN where no nu.

    ValueError if the file is not such a table, or not that of its checksum.
    """
    return read_table(RESULTS / "runs.csv")


def scores_by_seed(metric, mask="", method="", backend="numpy", study="", models=None):
    """One score of all finished runs of a study (none: the full-length runs): a DataFrame, a row per seed, a column per model.

    With models, a list of names, it has these columns only, and the seeds that all of them have. ValueError for a name that no
    finished run has, and where the score needs a mask or a method, or has none.
    """
    table = load_scores()
    for column, value in {"metric": metric, "backend": backend, "study": study, "mask": mask, "method": method}.items():
        known = sorted(table[column].unique())  # among what agrees so far
        if value not in known:
            raise ValueError(f"{column} must be one of {', '.join(map(repr, known))}, got {value!r}")
        table = table[table[column] == value]
    scores = table.pivot(index="seed", columns="model", values="value")
    if models is None:
        return scores
    if unknown := [model for model in models if model not in scores]:
        raise ValueError(f"models must be among {', '.join(map(repr, scores))}, got {unknown[0]!r}")
    return scores[list(models)].dropna()


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


@cache
def load_filling():
    """Chapter 10's scores, results/holes.json and results/floor.json, as one DataFrame; errors (mse) in thousandths.

    A row is a mask, a method and a network: `trained` is the study or the name of the network, "without" for none.
    """
    import pandas as pd

    rows = []
    for path in (RESULTS / "holes.json", RESULTS / "floor.json"):
        for entry in json.loads(path.read_bytes()).values():
            trained = entry["study"] if "study" in entry else entry["network"] or "without"
            which = {"trained": trained, "model": entry.get("model", "gaussian"), "seed": entry["seed"]}
            rows += [which | {"mask": mask, "method": method, **values} for mask, method, values in entry["rows"]]
    table = pd.DataFrame(rows)
    return table.assign(mse=1000 * table.mse)


def load_history(model, seed=0, backend="numpy", study=""):
    """The loss history of a finished run: a dict of lists, one entry per epoch (see `train.History`)."""
    path = RESULTS / "runs" / f"{model}-{backend}-{seed}{study and '-' + study}.json"
    if not path.exists():
        of = load_scores().query("backend == @backend and study == @study")
        known = ", ".join(sorted(of.model.unique())) or "none"
        raise ValueError(f"no run of {model!r} with seed {seed} ({backend}, study {study!r}) is stored; models there: {known}")
    return read_record(path)["history"]


def load_model(model, seed=0, backend="numpy", study=""):
    """A trained model of the shipped ones: model is "gaussian" or "t21", say, and study empty for the full-length runs.

    All were trained in NumPy; backend says in which of the two libraries the model shall compute.
    """
    path = RESULTS / "weights" / f"{model}-numpy-{seed}{study and '-' + study}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob(f"{model}-numpy-*.safetensors")))
        known = known or ", ".join(sorted({p.stem.partition("-")[0] for p in path.parent.glob("*.safetensors")}))
        raise ValueError(f"no weights are shipped for model {model!r} with seed {seed}, study {study!r}; there are {known}")
    return checkpoint.load(path, backend, family_of(model))


def stored(name):
    """The rows of results/NAME.json, a DataFrame: what a short experiment left that has no place in the table of scores.

    name: its folder and name, such as "filling/coverages". ValueError if there is no such file or it is damaged.
    """
    import pandas as pd

    path = RESULTS / f"{name}.json"
    try:
        return pd.DataFrame(json.loads(path.read_bytes())["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(sorted(f"{p.parent.name}/{p.stem}" for p in RESULTS.glob("[ft]*/*.json")))
        raise ValueError(f"{path} cannot be read ({error}); there are {known}") from None


def test_masks(seed, n=10_000):
    """The two masks on which runs with this seed are scored: {"random": bool (n, 784), "squares": bool (n, 784)}."""
    rng = np.random.default_rng((seed, 30))
    return {"random": masks.random_pixels(rng, (n, 784), MISSING_FRACTION), "squares": masks.random_squares(rng, n)}
