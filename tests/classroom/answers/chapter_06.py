"""Right and wrong answers to the tasks of workbook 06; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import stats
from skimage.metrics import structural_similarity

from tvae_lib import metrics

WINDOWS = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def error_of_mean(draws, x, L):
    """By the average over all pairs of different draws: the mean of (r_i - x)(r_j - x) is a."""
    off = np.reshape(draws - x, (len(draws), -1))
    products = off @ off.T / off.shape[1]
    n = len(draws)
    single = np.trace(products) / n
    a = (products.sum() - np.trace(products)) / (n * (n - 1))
    return a + (single - a) / L


def interval(quantile=None, error=None, sign=1):
    def paired_interval(a, b):
        d = sign * (b - a)
        if quantile is None and error is None:
            result = stats.ttest_rel(b, a).confidence_interval(0.95)
            return np.array([b - a]).mean(), result.low, result.high
        half = (quantile or stats.t(len(d) - 1).ppf(0.975)) * (error(a, b) if error else stats.sem(d))
        return [d.mean(), d.mean() - half, d.mean() + half]

    return paired_interval


def unpaired(a, b):
    low, high = stats.ttest_ind(b, a).confidence_interval()
    return b.mean() - a.mean(), low, high


def as_rare_as(z, df):
    return np.where(z < 0, stats.norm.ppf(stats.t.cdf(z, df)), -stats.norm.ppf(stats.t.cdf(-z, df)))


def over_batches(score, x, reconstruction, size):
    total = 0
    for i in range(0, len(x), size):
        total += score(x[i : i + size], reconstruction[i : i + size]) * len(x[i : i + size])
    return total / len(x)


def plain_mean(score, x, reconstruction, size):
    return np.mean([score(x[i : i + size], reconstruction[i : i + size]) for i in range(0, len(x), size)])


def whole_batches(score, x, reconstruction, size):
    n = len(x) // size
    return np.mean([score(x[i * size : (i + 1) * size], reconstruction[i * size : (i + 1) * size]) for i in range(n)])


def ssim(x, reconstruction):
    images = [np.moveaxis(a.reshape(-1, 28, 28), 0, -1) for a in (x, reconstruction)]
    return structural_similarity(*images, channel_axis=-1, **WINDOWS)


def ssim_of_stack(x, reconstruction, axis=None):
    return structural_similarity(x.reshape(-1, 28, 28), reconstruction.reshape(-1, 28, 28), channel_axis=axis, **WINDOWS)


def ssim_added_up(x, reconstruction):
    pairs = zip(x.reshape(-1, 28, 28), reconstruction.reshape(-1, 28, 28), strict=True)
    return sum(structural_similarity(*pair, **WINDOWS) for pair in pairs)


def error_of_t21(model, data, rng):
    return np.mean((data.test - model.reconstruct(data.test, rng.standard_t(21, (len(data.test), 10)))) ** 2)


def error_on(name, normal=False):
    def test_error(model, data, rng):
        x = getattr(data, name)
        shape = model.encode(x)[0].shape
        return np.mean((x - model.reconstruct(x, rng.standard_normal(shape) if normal else model.family.sample(rng, shape))) ** 2)

    return test_error


def switch_off(z, coordinate, noise):
    return np.where(np.arange(z.shape[1]) == coordinate, noise[:, None], z)


def in_place(z, coordinate, noise):
    z[:, coordinate] = noise
    return z


def copied_too_late(z, coordinate, noise):
    z[:, coordinate] = noise
    return z.copy()


ANSWERS = {
    1: {
        "right": (lambda mu: [np.mean((column - column.mean()) ** 2) > 0.01 for column in mu.T],),
        "wrong": [
            ((lambda mu: mu.var(axis=1) > 0.01,), "over the coordinates of each image"),
            ((lambda mu: mu.std(axis=0) > 0.01,), "compares the standard deviation"),
            ((lambda mu: (mu**2).mean(axis=0) > 0.01,), "the mean square does not see that"),
            ((lambda mu: abs(mu.mean(axis=0)) > 0.01,), "may still be the same"),
            ((lambda mu: abs(mu).mean(axis=0) > 0.01,), "how large mu is"),
            ((lambda mu: mu.var(axis=0),), "variances themselves"),
            ((lambda mu: (mu.var(axis=0) > 0.01).sum(),), "how many"),
            ((lambda mu: np.flatnonzero(mu.var(axis=0) > 0.01),), "True or False for each"),
            ((lambda mu: mu.var(axis=0) < 0.01,), "wrong way round"),
        ],
    },
    2: {
        "right": (error_of_mean,),
        "wrong": [
            ((lambda r, x, L: metrics.mse(x, r.mean(0)) + r.var(0).mean() * (1 / L - 1 / len(r)),), "`ddof=1`"),
            ((lambda r, x, L: metrics.mse(x, r.mean(0)) + r.var(0, ddof=1).mean() / L,), "still contains b / n"),
            ((lambda r, x, L: metrics.mse(x, r.mean(0)) + r.var(ddof=1) * (1 / L - 1 / len(r)),), "over pixels and images too"),
            ((lambda r, x, L: np.mean((r - x) ** 2),), "single draw"),
            ((lambda r, x, L: metrics.mse(x, r.mean(0)) - r.var(0, ddof=1).mean() / len(r),), "b / L is missing"),
            ((lambda r, x, L: error_of_mean(r, x, L**0.5),), "root of L"),
            ((lambda r, x, L: metrics.mse(x, r.mean(0)),), "where is L"),
            ((lambda r, x, L: metrics.mse(x, r[:L].mean(0)),), "the first L draws"),
            ((lambda r, x, L: r.var(0, ddof=1).mean() / L,), "b / L alone"),
            ((lambda r, x, L: np.mean((r - x) ** 2) / L,), "Everything falls"),
            ((lambda r, x, L: metrics.mse(x, r.mean(0)) + r.var(0).mean() / L,), "And b itself needs"),
        ],
    },
    3: {
        "right": (interval(),),
        "wrong": [
            ((interval(1.96),), "n - 1 degrees of freedom"),
            ((interval(stats.norm.ppf(0.975)),), "a known standard deviation"),
            ((interval(2),), "rule of thumb"),
            ((unpaired,), "two independent samples"),
            ((interval(error=lambda a, b: np.hypot(stats.sem(a), stats.sem(b))),), "treats a and b as independent"),
            ((interval(error=lambda a, b: np.std(b - a) / np.sqrt(len(a))),), "`ddof=1`"),
            ((interval(error=lambda a, b: np.std(b - a, ddof=1)),), "one more run"),
            ((interval(error=lambda a, b: np.std(b - a, ddof=1) / len(a)),), "divided by n"),
            ((interval(stats.t(5).ppf(0.95)),), "on two sides"),
            ((interval(stats.t(6).ppf(0.975)),), "one less"),
            ((interval(-stats.t(5).ppf(0.975)),), "lower end comes first"),
            ((interval(sign=-1, quantile=2.57),), "This is a - b"),
            ((lambda a, b: (b - a).mean(),), "Return 3 things"),
            ((interval(1.96, error=lambda a, b: np.std(b - a) / np.sqrt(len(a))),), "and for so few of them 1.96"),
            ((lambda a, b: (np.mean(b - a), *stats.t.interval(0.95, 5, 0, stats.sem(b - a))),), "add them to it"),
        ],
    },
    4: {
        "right": (as_rare_as,),
        "wrong": [
            ((lambda z, df: stats.norm.ppf(stats.t.cdf(z, df)),), "rounded to 1"),
            ((lambda z, df: z / stats.t.std(df),), "not the probabilities"),
            ((lambda z, df: stats.t.ppf(stats.norm.cdf(z), df),), "the way back"),
            ((lambda z, df: stats.norm.ppf(stats.t.sf(z, df)),), "sign is turned"),
            ((lambda z, df: stats.t.cdf(z, df),), "probabilities below z"),
            ((lambda z, df: stats.t.sf(z, df),), "probabilities above z"),
            ((lambda z, df: stats.norm.isf(stats.t.sf(abs(z), df)),), "The sign got lost"),
            ((lambda z, df: z,), "rarer under the Gaussian"),
        ],
    },
    5: {
        "right": (over_batches, ssim, error_on("test")),
        "wrong": [
            ((plain_mean, ssim, error_on("test")), "last batch is shorter"),
            ((whole_batches, ssim, error_on("test")), "left out"),
            ((over_batches, ssim_of_stack, error_on("test")), "through the batch axis"),
            ((over_batches, lambda x, r: ssim_of_stack(x, r, axis=-1), error_on("test")), "one of the image's own"),
            ((over_batches, ssim_added_up, error_on("test")), "average over the images"),
            ((over_batches, lambda x, r: structural_similarity(x, r, **WINDOWS), error_on("test")), "for one picture"),
            ((over_batches, ssim, error_on("train", normal=True)), "And the noise should"),
            ((over_batches, ssim, error_on("train")), "used for training"),
            ((over_batches, ssim, error_on("test", normal=True)), "the noise is Gaussian"),
            ((over_batches, ssim, error_on("valid")), "validation images"),
            ((over_batches, ssim, error_on("valid", normal=True)), "And the scores are reported on data.test"),
            ((over_batches, ssim, error_of_t21), "right for nu = 21 only"),
        ],
    },
    6: {
        "right": (switch_off,),
        "wrong": [
            ((lambda z, j, noise: switch_off(z, j, 0 * noise),), "0 is one particular value"),
            ((lambda z, j, noise: switch_off(z, j, z[:, j] + noise),), "is added"),
            ((lambda z, j, noise: switch_off(z.T, j, noise).T,), "whole image's code"),
            ((lambda z, j, noise: switch_off(z, j, np.full(len(z), noise[0])),), "the same noise"),
            ((lambda z, j, noise: noise,), "only the column"),
            ((lambda z, j, noise: np.delete(z, j, axis=1),), "taken out"),
            ((lambda z, j, noise: z.copy(),), "Nothing has changed"),
            ((in_place,), "copy it first"),
            ((copied_too_late,), "copy it first"),
        ],
    },
}
