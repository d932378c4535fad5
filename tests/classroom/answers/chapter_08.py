"""Right and wrong answers to the tasks of workbook 08; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import optimize, stats

from tvae_lib.results import mean_interval
from tvae_lib.vae_numpy import bernoulli_loss


def coupled(normal, df):
    return stats.t.isf(stats.norm.sf(normal), df)


def first_order(normal, df):
    return normal * (1 + (1 + normal**2) / (4 * df))


def on_a_grid(slope, mu, sigma, family):
    """Mean and mean square of the gradient by the trapezoidal rule over asinh(eps)."""
    s = np.linspace(-18, 18, 40_001)
    eps = np.sinh(s)
    weight = family.pdf(eps) * np.cosh(s) * (s[1] - s[0])
    g = slope(mu + sigma * eps)
    return weight @ g, weight @ g**2


def noise(slope, mu, sigma, family):
    mean, square = on_a_grid(slope, mu, sigma, family)
    return np.sqrt(square - mean**2)


def noise_ratio(slope, mu, sigma, df):
    return noise(slope, mu, sigma, stats.t(df)) / noise(slope, mu, sigma, stats.norm)


def sampled_ratio(slope, mu, sigma, df, seed=None):
    rng = np.random.default_rng(seed)
    t, normal = rng.standard_t(df, 100_000), rng.standard_normal(100_000)
    return np.std(slope(mu + sigma * t)) / np.std(slope(mu + sigma * normal))


def rise(value=lambda mu: mu.mean(axis=0), switch_off=lambda j, d: np.arange(d) == j, of=np.mean, start=1):
    """An ablation. value: what a coordinate is set to; switch_off: which ones; start: 0 leaves the cost of the full code in."""

    def rise_without(model, x):
        mu, _ = model.encode(x)
        cost = lambda z: of(bernoulli_loss(model.decode(z), x)[0])
        d = mu.shape[1]
        return [cost(np.where(switch_off(j, d), value(mu), mu)) - start * cost(mu) for j in range(d)]

    return rise_without


def without_copy(model, x):
    mu, _ = model.encode(x)
    full, rises = bernoulli_loss(model.decode(mu), x)[0].mean(), []
    for j in range(mu.shape[1]):
        z = mu
        z[:, j] = mu[:, j].mean()
        rises.append(bernoulli_loss(model.decode(z), x)[0].mean() - full)
    return np.array(rises)


def interval_with(error=lambda t, g: np.std(t - g, ddof=1) / np.sqrt(len(t)), factor=lambda n: stats.t.ppf(0.975, n - 1)):
    def interval(t, gaussian):
        mean, half = np.mean(t - gaussian), factor(len(t)) * error(t, gaussian)
        return mean, mean - half, mean + half

    return interval


def unpaired(ddof):
    return lambda t, g: np.sqrt((np.var(t, ddof=ddof) + np.var(g, ddof=ddof)) / len(t))


def power_by_simulation(n, difference, sd, repeats=100_000):
    rng = np.random.default_rng(1)
    pairs = rng.normal(difference, sd, (repeats, n))
    low = pairs.mean(axis=1) - stats.t.ppf(0.975, n - 1) * pairs.std(axis=1, ddof=1) / np.sqrt(n)
    return np.mean(low > 0)


def power(shift=lambda n, d: np.sqrt(n) * d, quantile=0.975, df=lambda n: n - 1):
    return lambda n, difference, sd: 1 - stats.nct.cdf(stats.t.ppf(quantile, df(n)), df(n), shift(n, difference / sd))


def on_a_coarse_grid(z, df):
    locations, scales = z.mean() + np.linspace(-0.5, 0.5, 11), z.std() * np.linspace(0.3, 1.2, 19)
    return max(stats.t.logpdf(z, df, location, scale).mean() for location in locations for scale in scales)


def scale_left_at_one(z, df):
    return -optimize.minimize_scalar(lambda location: -stats.t.logpdf(z - location, df).mean(), (0, 1)).fun


def brought_to_scale_one(z, df):
    _, location, scale = stats.t.fit(z, f0=df)
    return stats.t.logpdf((z - location) / scale, df).mean()


def fit_quality(z, df):
    def minus_quality(parameters):
        return -stats.t.logpdf(z, df, parameters[0], np.exp(parameters[1])).mean()

    return -optimize.minimize(minus_quality, [np.median(z), 0.0], method="BFGS").fun


ANSWERS = {
    1: {
        "right": (coupled,),
        "wrong": [
            ((lambda normal, df: stats.norm.cdf(normal),), "one step is left"),
            ((lambda normal, df: stats.norm.ppf(stats.t.cdf(normal, df)),), "from t to normal"),
            ((lambda normal, df: normal * np.sqrt(df / (df - 2)),), "only stretches"),
            ((lambda normal, df: stats.t.ppf(stats.t.cdf(normal, df), df),), "undo each other"),
            ((lambda normal, df: stats.t.ppf(stats.norm.sf(normal), df),), "the signs are turned"),
            ((lambda normal, df: stats.t.cdf(normal, df),), "t's distribution function"),
        ],
    },
    2: {
        "right": (first_order,),
        "wrong": [
            ((lambda z, df: (z**3 + z) / (4 * df),), "correction alone"),
            ((lambda z, df: z - (z**3 + z) / (4 * df),), "wrong sign"),
            ((lambda z, df: z + stats.norm.pdf(z) * (z**3 + z) / (4 * df),), "divide by it"),
            ((lambda z, df: z + (z**3 + z) / df,), "left out the 4"),
            ((lambda z, df: z + (z**3 + z) / (2 * df),), "you have 2 nu"),
            ((lambda z, df: z * (1 + z**2 / (4 * df)),), "missing from the bracket"),
            ((lambda z, df: z + (z**4 / 4 - z**2 / 2 - 1 / 4) / df,), "integrate it first"),
            ((lambda z, df: z + (z**3 - z) / (4 * df),), "with a plus"),
            ((coupled,), "exact quantile"),
        ],
    },
    3: {
        "right": (noise_ratio,),
        "wrong": [
            ((lambda *given: noise_ratio(*given) ** 2,), "take the root"),
            ((lambda *given: 1 / noise_ratio(*given),), "upside down"),
            ((lambda slope, mu, sigma, df: noise(slope, mu, sigma, stats.t(df)),), "divide by that"),
            (
                (
                    lambda slope, mu, sigma, df: np.sqrt(
                        on_a_grid(slope, mu, sigma, stats.t(df))[1] / on_a_grid(slope, mu, sigma, stats.norm)[1]
                    ),
                ),
                "The mean is not taken off",
            ),
            ((lambda slope, mu, sigma, df: noise_ratio(slope, 0, 1, df),), "mu + sigma * eps"),
            ((lambda slope, mu, sigma, df: np.sqrt(df / abs(df - 2)),), "the slope has not been used"),
            ((sampled_ratio,), "differs from call to call"),
            ((lambda *given: sampled_ratio(*given, seed=0),), "If you draw, integrate"),
        ],
    },
    4: {
        "right": (rise(),),
        "wrong": [
            ((without_copy,), "makes no copy"),
            ((rise(value=np.zeros_like),), "set to 0"),
            ((rise(of=np.sum),), "take their mean"),
            ((rise(start=0),), "subtract that of the full code"),
            ((rise(switch_off=lambda j, d: np.arange(d) != j),), "other way round"),
            ((rise(value=lambda mu: mu.mean(axis=1, keepdims=True)),), "axis 0"),
            ((lambda model, x: -np.array(rise()(model, x)),), "signs are turned"),
        ],
    },
    5: {
        "right": (lambda t, gaussian: mean_interval(t - gaussian),),
        "wrong": [
            ((interval_with(unpaired(0), lambda n: 1.96),), "All three are still there"),
            ((interval_with(unpaired(1), lambda n: 1.96),), "Then look at the factor"),
            ((interval_with(unpaired(1)),), "pair: take the differences first"),
            ((interval_with(unpaired(0)),), "Then look at the variance"),
            ((interval_with(factor=lambda n: stats.norm.ppf(0.975)),), "1.96 is too small"),
            ((interval_with(lambda t, g: np.std(t - g) / np.sqrt(len(t))),), "divide by n unless"),
            (
                (interval_with(lambda t, g: np.std(t - g) / np.sqrt(len(t)), lambda n: 1.96),),
                "quantile with n - 1 degrees of freedom. Then look at the variance",
            ),
            ((interval_with(lambda t, g: np.std(t - g, ddof=1)),), "smaller by the root of n"),
            ((interval_with(lambda t, g: np.std(t - g, ddof=1) / len(t)),), "by the root of n, not by n"),
            ((lambda t, gaussian: (np.mean(t - gaussian), t - gaussian, t - gaussian),), "should be one number"),
            ((interval_with(factor=lambda n: stats.t.ppf(0.95, n - 1)),), "quantile at 0.975"),
            ((interval_with(factor=lambda n: stats.t.ppf(0.975, n)),), "n - 1"),
            ((interval_with(unpaired(1), lambda n: stats.t.ppf(0.975, 2 * n - 2)),), "two independent groups"),
            ((lambda t, gaussian: mean_interval(gaussian - t),), "t minus Gaussian"),
        ],
    },
    6: {
        "right": (power_by_simulation,),
        "wrong": [
            ((lambda n, difference, sd: stats.norm.sf(1.96 - np.sqrt(n) * difference / sd),), "taken as known"),
            (
                (lambda n, difference, sd: stats.t.sf(stats.t.ppf(0.975, n - 1) - np.sqrt(n) * difference / sd, n - 1),),
                "A t that is shifted",
            ),
            (
                (lambda n, difference, sd: 1 - stats.norm.cdf(stats.t.ppf(0.975, n - 1), np.sqrt(n) * difference / sd),),
                "root of a chi-square is missing",
            ),
            ((lambda *given: power_by_simulation(*given, repeats=300),), "20,000 experiments"),
            ((power(shift=lambda n, d: d),), "the root of n is missing"),
            ((power(shift=lambda n, d: n * d),), "in place of its root"),
            ((power(quantile=0.95),), "2.5 % on either side"),
            ((power(df=lambda n: n),), "n - 1 degrees of freedom"),
            ((lambda *given: 1 - power()(*given),), "take 1 minus it"),
            ((lambda *given: 80,), "between 0 and 1"),
            ((lambda n, difference, sd: np.full(n, 0.8),), "One number is asked for"),
        ],
    },
    7: {
        "right": (fit_quality,),
        "wrong": [
            ((lambda z, df: stats.t.logpdf(z, df).mean(),), "a wide sample then looks heavy-tailed, whatever"),
            ((scale_left_at_one,), "The location is free"),
            ((brought_to_scale_one,), "-log(scale), is left out"),
            ((lambda z, df: stats.norm.logpdf(z, *stats.norm.fit(z)).mean(),), "the fit of a normal"),
            ((lambda z, df: stats.t.logpdf(z, df, z.mean(), z.std()).mean(),), "standard deviation is passed as scale"),
            (
                (lambda z, df: stats.t.logpdf(z, df, z.mean(), z.std() * np.sqrt((df - 2) / df)).mean(),),
                "at the mercy of the few",
            ),
            ((lambda z, df: stats.t.logpdf(z, *stats.t.fit(z)).mean(),), "nu is fitted too"),
            ((lambda z, df: len(z) * fit_quality(z, df),), "This is the sum"),
            ((lambda z, df: -fit_quality(z, df),), "minus the mean log density"),
            ((on_a_coarse_grid,), "search more finely"),
        ],
    },
}
