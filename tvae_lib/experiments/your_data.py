"""Methods side by side on data that are not MNIST, for the page "Which method for my data?". ::

    python -m tvae_lib.experiments.your_data      # some minutes; writes results/your_data.csv and results/your_data_sweep.csv

Errors are mean squared errors on what is missing in the test rows, in units of the variance of its column, so that 1 is
about what the column's mean gives. Seconds are those of one core: training, and filling in the test rows.
"""

import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 (what makes the next import possible)
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tvae_lib import baselines, impute, masks, metrics
from tvae_lib.data import load_mnist
from tvae_lib.imputer import VAEImputer
from tvae_lib.results import RESULTS, load_history, load_model, test_masks, write_table

SEEDS = range(3)


def digits(rng):
    """1,797 digits of 8 x 8 pixels; three squares of up to 4 x 4 pixels are missing."""
    x = load_digits().data / 16
    return x, masks.random_squares(rng, len(x), 3, 4, shape=(8, 8))


def measurements(rng):
    """569 rows of 30 measurements of cell nuclei; 30 % are missing, scattered."""
    x = load_breast_cancer().data
    return x, masks.random_pixels(rng, x.shape, 0.3)


def waves(rng, n=1000, width=40):
    """Sine waves of random length and phase with a little noise; 15 of 40 values in a row are missing."""
    t = np.arange(width)
    length, phase = rng.uniform(15, 40, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    x = np.sin(2 * np.pi * t / length + phase) + rng.normal(0, 0.1, (n, width))
    start = rng.integers(0, width - 14, (n, 1))
    return x, (t >= start) & (t < start + 15)


DATA = {"digits": digits, "measurements": measurements, "waves": waves}


def split(data, seed):
    """Standardised training rows, test rows, and what is missing in either: (train, holes in train, test, holes in test)."""
    rng = np.random.default_rng((seed, 40))
    x, missing = data(rng)
    order = rng.permutation(len(x))
    x, missing = x[order], missing[order]
    n = int(0.7 * len(x))
    scaler = StandardScaler().fit(x[:n])
    x = np.clip(scaler.transform(x), -10, 10)
    return x[:n], missing[:n], x[n:], missing[n:]


# ---- methods: (train, with NaN if it has gaps; test, with NaN) -> test filled in


def conditional_mean(train, test):
    """The ridge is the best on the last fifth of the training rows, with the holes of the test rows."""
    first, last = np.split(train, [int(0.8 * len(train))])
    missing = np.isnan(test)
    holes = np.resize(missing, last.shape)
    ridge = baselines.tuned(baselines.conditional_mean, "ridge", (1e-3, 1e-2, 1e-1, 1), first, last, holes, limits=None)
    return baselines.conditional_mean(train, test, missing, ridge=ridge, limits=None)


def iterative(train, test):
    """Trained on both: from complete rows alone it would learn nothing."""
    imputer = IterativeImputer(random_state=0, keep_empty_features=True)
    with warnings.catch_warnings():  # ten rounds are its default, and it says that more might change something
        warnings.simplefilter("ignore", ConvergenceWarning)
        return imputer.fit_transform(np.concatenate([train, test]))[len(train) :]


def neighbours(train, test):
    return KNNImputer(n_neighbors=5, weights="distance", keep_empty_features=True).fit(train).transform(test)


def vae(train, test, **options):
    return VAEImputer(**options).fit(train).transform(test)


METHODS = {
    "mean": lambda train, test: np.where(np.isnan(test), np.nanmean(train, axis=0), test),
    "conditional mean": conditional_mean,
    "IterativeImputer": iterative,
    "nearest neighbours": neighbours,
    "VAE, one pass": partial(vae, method="one pass"),
    "VAE, most probable code": vae,
}
WITH_GAPS = ("mean", "IterativeImputer", "nearest neighbours", "VAE, one pass", "VAE, most probable code")


def compare():
    """Rows (data, training, method, seed, error, seconds)."""
    for name, data in DATA.items():
        for seed in SEEDS:
            train, holes, test, missing = split(data, seed)
            for gaps in ("whole", "gaps"):
                known = np.where(holes & (gaps == "gaps"), np.nan, train)
                for method in METHODS if gaps == "whole" else WITH_GAPS:
                    yield name, gaps, method, seed, *score(METHODS[method], known, test, missing)


def score(method, train, test, missing):
    """Error on what is missing, and seconds."""
    started = time.process_time()
    filled = method(train, np.where(missing, np.nan, test))
    return np.mean(np.square(filled - test)[missing]), time.process_time() - started


def on_mnist(n=1000):
    """The same for n test digits of MNIST with squares missing, with a trained model; errors in thousandths of all pixels."""
    mnist, model = load_mnist(), load_model("gaussian", 0)
    x, missing = mnist.test[:n], test_masks(0)["squares"][:n]
    trained = sum(load_history("gaussian", 0)["seconds"])
    methods = {
        "mean": (0, lambda: baselines.mean(mnist.train, x, missing)),
        "conditional mean": (0, lambda: baselines.conditional_mean(mnist.train, x, missing, ridge=1e-4)),
        "nearest neighbours": (0, lambda: baselines.nearest_neighbours(mnist.train, x, missing)),
        "VAE, one pass": (trained, lambda: impute.single_pass(model, x, missing)),
        "VAE, most probable code": (trained, lambda: impute.latent_map(model, x, missing)),
    }
    for method, (before, fill) in methods.items():
        started = time.process_time()
        filled = np.where(missing, fill(), x)
        yield "MNIST", "whole", method, 0, 1e3 * metrics.mse(x, filled), before + time.process_time() - started
    # One column of IterativeImputer, of which it fits 784 in each of its ten rounds.
    started = time.process_time()
    BayesianRidge().fit(np.delete(mnist.train, 400, axis=1), mnist.train[:, 400])
    yield "MNIST", "whole", "IterativeImputer", 0, np.nan, 7840 * (time.process_time() - started)


SWEEP = {
    "code": (2, 4, 8, 16, 32),
    "lr": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "epochs": (50, 100, 200, 400, 800),
    "sd": (0.1, 0.2, 0.4, None),
    "kl_weight": (0.25, 0.5, 1.0, 2.0),
}


def sweep():
    """Rows (data, option, value, seed, error, seconds): one option of VAEImputer changed at a time, trained on whole rows."""
    for name in ("measurements", "waves"):
        for seed in SEEDS[:2]:
            train, _, test, missing = split(DATA[name], seed)
            for option, values in SWEEP.items():
                for value in values:
                    method = partial(vae, **{option: value})
                    yield name, option, "learned" if value is None else value, seed, *score(method, train, test, missing)


def main():
    with threadpool_limits(1):
        rows = pd.DataFrame([*compare(), *on_mnist()], columns=["data", "training", "method", "seed", "error", "seconds"])
        write_table(RESULTS / "your_data.csv", rows.round({"error": 5, "seconds": 3}))
        rows = pd.DataFrame(sweep(), columns=["data", "option", "value", "seed", "error", "seconds"])
        write_table(RESULTS / "your_data_sweep.csv", rows.round({"error": 5, "seconds": 3}))


if __name__ == "__main__":
    main()
