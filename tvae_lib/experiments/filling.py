"""What chapter 07 measures besides the scores of the sweep: settings, shares of missing pixels, long walks, coverage.

    python -m tvae_lib.experiments.filling      # about half an hour of one core; what is there already stays

Each experiment leaves its rows in results/filling/NAME.json, which `results.stored` reads. Models and masks are those of the
seeds with shipped weights; errors are mean squared errors on the missing pixels alone, in thousandths.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from tvae_lib import baselines, impute, masks
from tvae_lib.data import load_mnist
from tvae_lib.experiments import json_rows
from tvae_lib.metrics import coverage, mse_missing
from tvae_lib.results import load_model, test_masks

SEEDS = range(5)
SETTINGS = {
    "conditional": (baselines.conditional_mean, "ridge", (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
    "blur": (baselines.blur, "width", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5)),
    "pca": (baselines.principal_components, "components", (10, 30, 60, 90, 120, 180, 240)),
    "knn": (baselines.nearest_neighbours, "k", (1, 2, 5, 10, 20, 50)),
}
DRAWING = {
    "single_pass": (impute.single_pass, {}),
    "pseudo_gibbs": (impute.pseudo_gibbs, {}),
    "feed_draws": (impute.pseudo_gibbs, {"feed_draws": True}),
    "metropolis": (impute.metropolis, {}),
    "importance": (impute.importance, {}),
    "latent_map": (impute.latent_map, {}),
    "langevin": (impute.langevin, {}),
}


def settings(n=300):
    """Every setting of the methods without a network, on the first n validation images. Test images play no part.

    The rule: of each method and kind of mask the value with the least error; where several are within half a per cent of it,
    the largest (the strongest ridge, the widest blur).
    """
    data, of_mask = load_mnist(), test_masks(1000, n)  # masks that no run is scored on
    missing, valid = np.concatenate([*of_mask.values()]), np.tile(data.valid[:n], (2, 1))
    for name, (method, option, values) in SETTINGS.items():
        for value in values:
            prediction = method(data.train, valid, missing, **{option: value})
            for mask, half in zip(of_mask, (slice(0, n), slice(n, None)), strict=True):
                error = _error(valid[half], prediction[half], missing[half])
                yield {"method": name, "option": option, "value": value, "mask": mask, "error": error}


def chosen(rows):
    """The value that the rule of `settings` picks for each (method, mask): a Series. rows: a DataFrame of all values."""
    least = rows.groupby(["method", "mask"]).error.transform("min")
    return rows[rows.error <= 1.005 * least].groupby(["method", "mask"]).value.max()


def fractions(n=200, seeds=SEEDS[:3], tenths=range(1, 10)):
    """The error against the share of scattered missing pixels, on the first n test images. The blur is tuned for each share."""
    data = load_mnist()
    x, valid = (np.tile(images[:n], (len(tenths), 1)) for images in (data.test, data.valid))
    for seed in seeds:
        model, rng = load_model("gaussian", seed), np.random.default_rng((seed, 34))
        of_each = np.arange(len(x)).reshape(-1, n)
        missing = np.concatenate([masks.random_pixels(rng, (n, x.shape[1]), tenth / 10) for tenth in tenths])
        blurred = np.zeros(x.shape)
        for rows in of_each:
            parts = data.train, valid[rows], missing[rows]
            width = baselines.tuned(baselines.blur, "width", SETTINGS["blur"][2], *parts)
            blurred[rows] = baselines.blur(data.train, x[rows], missing[rows], width=width)
        predictions = {
            "single_pass": impute.single_pass(model, x, missing, seed=seed),
            "latent_map": impute.latent_map(model, x, missing, seed=seed),
            "conditional": baselines.conditional_mean(data.train, x, missing, ridge=1e-4),
            "knn10": baselines.nearest_neighbours(data.train, x, missing),
            "blur": blurred,
        }
        for method, prediction in predictions.items():
            for tenth, rows in zip(tenths, of_each, strict=True):
                error = _error(x[rows], prediction[rows], missing[rows])
                yield {"method": method, "seed": seed, "missing": 10 * tenth, "error": error}


def walks(n=50, seeds=SEEDS[:3], draws=(30, 3755)):
    """A short and a long walk beside other methods with 30 passes, on the first n test images: errors, and accepted moves.

    3,755 passes of `langevin` are five of feeding back and 2,999 moves.
    """
    x = load_mnist().test[:n]
    for seed in seeds:
        model = load_model("gaussian", seed)
        for mask, missing in test_masks(seed, n).items():
            of = {"seed": seed, "mask": mask}
            for name in ("latent_map", "pseudo_gibbs", "feed_draws"):
                method, options = DRAWING[name]
                prediction = method(model, x, missing, draws=30, seed=seed, **options)
                yield of | {"method": name, "draws": 30, "error": _error(x, prediction, missing)}
            walking = [("langevin", impute.langevin_and_acceptance, passes) for passes in draws]
            for name, method, passes in [("metropolis", impute.metropolis_and_acceptance, 30), *walking]:
                prediction, share = method(model, x, missing, draws=passes, seed=seed)
                row = {"draws": passes, "error": _error(x, prediction, missing), "accepted": float(share.mean())}
                yield of | {"method": name} | row


def coverages(n=100, seeds=SEEDS, models=("gaussian",), copies=20, methods=DRAWING):
    """How often the missing pixels of the first n test images lie in their 50 % and 90 % intervals, and how often a draw would.

    Draws are black or white, so the true pixel is made so, too: white with its grey value as probability. An interval of such
    draws is black, white or both, and holds more than its level says. What a method promises is therefore measured as well:
    how often its own draws, five of them, lie in the interval of the 19 others. It is over-confident where the truth does so less
    often.
    """
    x = load_mnist().test[:n]
    truth = (np.random.default_rng(51).random(x.shape) < x).astype(np.float32)
    for seed in seeds:
        for name in models:
            model = load_model(name, seed)
            for mask, missing in test_masks(seed, n).items():
                for method, (function, options) in methods.items():
                    drawn = impute.completions(model, x, missing, method=function, copies=copies, seed=seed, **options)
                    for level in (0.5, 0.9):
                        found = coverage(truth, drawn[1:], missing, level)
                        kept = [coverage(drawn[i], np.delete(drawn, i, axis=0), missing, level) for i in range(5)]
                        row = {"model": name, "seed": seed, "mask": mask, "method": method, "level": level}
                        yield row | {"covered": found, "promised": float(np.mean(kept))}


def _error(x, prediction, missing):
    return 1000 * mse_missing(x, prediction, missing)


EXPERIMENTS = (coverages, fractions, walks, settings)


def main(arguments=None):
    options = json_rows.parser("filling", __doc__, "filling", EXPERIMENTS).parse_args(arguments)
    for experiment in EXPERIMENTS:
        path = options.results / f"{experiment.__name__}.json"
        if path.exists() or experiment.__name__ not in options.only:
            continue
        with threadpool_limits(1):
            found = list(experiment())
        json_rows.write(path, found)
        print(f"{experiment.__name__}: {len(found)} rows", flush=True)


if __name__ == "__main__":
    main()
