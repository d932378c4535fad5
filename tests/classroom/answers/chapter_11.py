"""Right and wrong answers to the tasks of workbook 11; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import integrate, optimize, stats
from scipy.special import digamma

from tvae_lib.latent import StudentT, kl_exact


def on_the_line(noise, prior, mu, logvar):
    """The KL of each coordinate by the trapezoidal rule over asinh(eps)."""
    s = np.linspace(-16, 16, 20_001)
    eps, sigma = np.sinh(s), np.exp(logvar / 2)[:, None]
    weight = noise.pdf(eps) * np.cosh(s) * (s[1] - s[0])
    return (noise.logpdf(eps) - np.log(sigma) - prior.logpdf(mu[:, None] + sigma * eps)) @ weight


def gaussian_from_t(mu, logvar, df, variance=lambda v, df: v * df / (df - 2), half=0.5, sign=1, noise=stats.t, log=0.5):
    entropy = noise(df).entropy() if noise is stats.t else noise.entropy()
    return half * (mu**2 + variance(np.exp(logvar), df)) + 0.5 * np.log(2 * np.pi) - sign * entropy - log * logvar


def by_rule(rule, total, entropy=1, log=0.5, stretch=lambda v: np.exp(v / 2), prior=stats.t):
    def t_from_gaussian(mu, logvar, df):
        nodes, weights = rule(24)
        z = mu[:, None] + stretch(logvar)[:, None] * nodes
        return -prior.logpdf(z, df) @ (weights / total) - entropy * stats.norm.entropy() - log * logvar

    return t_from_gaussian


PROBABILISTS, PHYSICISTS = np.polynomial.hermite_e.hermegauss, np.polynomial.hermite.hermgauss
ROOT = np.sqrt(2 * np.pi)


def by_draws(mu, logvar, df):
    eps = np.random.default_rng(0).standard_normal((20_000, 1))
    return (stats.norm.logpdf(eps) - logvar / 2 - stats.t.logpdf(mu + np.exp(logvar / 2) * eps, df)).mean(axis=0)


def rate_of(kl, variance, power=2, search=True, divide=1, factor=1.0, h=1e-2):
    cheapest = optimize.fminbound(lambda sigma: kl(0.0, sigma), 0.2, 3, xtol=1e-6) if search else 1.0
    a = (kl(h, cheapest) - 2 * kl(0.0, cheapest) + kl(-h, cheapest)) / h**2
    return factor / (a * cheapest**power * variance**divide)


def multivariate(mu, sigma, df, low=-30, high=60, step=0.1, terms=(1, 1, 1), half=None):
    d, half = len(mu), half or (df + len(mu)) / 2

    def bracket(x):
        t = np.exp(x)
        r = 1 / (1 + t * sigma**2)
        return (1 + t) ** (-df / 2) - np.sqrt(np.prod(r)) * (1 + t + t / df * np.sum(mu**2 * r)) ** (-df / 2)

    x = np.arange(low, high, step)
    integral = integrate.simpson([bracket(each) for each in x], x=x)
    constant = digamma((df + d) / 2) - digamma(df / 2)
    return terms[0] * half * (integral - terms[1] * constant) - terms[2] * np.log(sigma).sum()


def slope_in_df(z, df):
    h = 1e-4
    return (stats.t.logpdf(z, df + h) - stats.t.logpdf(z, df - h)) / (2 * h)


def last(z, df):
    return (df + 1) * z**2 / (2 * df * (df + z**2))


def constant(df, missing=1.0):
    return 0.5 * (digamma((df + 1) / 2) - digamma(df / 2) - missing / df)


ANSWERS = {
    1: {
        "right": (lambda mu, logvar, df: on_the_line(stats.t(df), stats.norm(), mu, logvar),),
        "wrong": [
            ((lambda *given: gaussian_from_t(*given, variance=lambda v, df: v),), "the squared scale"),
            ((lambda *given: gaussian_from_t(*given, noise=stats.norm),), "that of normal noise"),
            ((lambda *given: gaussian_from_t(*given, sign=-1),), "the wrong sign"),
            ((lambda *given: gaussian_from_t(*given, sign=0),), "entropy of the noise is missing"),
            ((lambda *given: gaussian_from_t(*given, log=0),), "f(eps) / sigma"),
            ((lambda *given: gaussian_from_t(*given, log=1),), "half of logvar"),
            ((lambda *given: gaussian_from_t(*given) - 0.5 * np.log(2 * np.pi),), "constant of the Gaussian density"),
            ((lambda mu, v, df: 0.5 * (mu**2 + np.exp(v) * df / (df - 2) - 1 - v - np.log(df / (df - 2))),), "price alone"),
        ],
    },
    2: {
        "right": (lambda mu, logvar, df: on_the_line(stats.norm(), stats.t(df), mu, logvar),),
        "wrong": [
            ((by_rule(PROBABILISTS, 1),), "add up to 1"),
            ((by_rule(PHYSICISTS, np.sqrt(np.pi)),), "physicists"),
            ((by_rule(PROBABILISTS, ROOT, entropy=0),), "entropy of the noise is missing"),
            ((by_rule(PROBABILISTS, ROOT, log=0),), "f(eps) / sigma"),
            ((by_rule(PROBABILISTS, ROOT, stretch=np.exp),), "stretched by sigma^2"),
            ((lambda mu, logvar, df: 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar),), "still the Gaussian"),
            ((lambda mu, logvar, df: kl_exact(StudentT(df), mu, logvar),), "Both are t"),
            ((by_draws,), "Close"),
        ],
    },
    3: {
        "right": (lambda df: (df**2 + df - 6) / (df**2 + df),),
        "wrong": [
            ((lambda df: (df**2 + df) / (df**2 + df - 6),), "upside down"),
            ((lambda df: (df - 2) / df,), "Only the noise"),
            ((lambda df: (df + 3) / (df + 1),), "Only the price"),
            ((lambda df: (df + 1) / (df + 3) * (df - 2) / df,), "A stands below"),
            ((lambda df: (df + 3) / (df + 1) * df / (df - 2),), "The noise stands below"),
            ((lambda df: (df + 3) / (df + 1) * np.sqrt((df - 2) / df),), "standard deviation"),
        ],
    },
    4: {
        "right": (rate_of,),
        "wrong": [
            ((lambda *given: rate_of(*given, search=False),), "left at 1"),
            ((lambda *given: rate_of(*given, power=0),), "squared scale"),
            ((lambda *given: 1 / rate_of(*given),), "upside down"),
            ((lambda *given: rate_of(*given, divide=0, power=0),), "not in it yet"),
            ((lambda *given: rate_of(*given, factor=2.0),), "halved or doubled"),
            ((lambda *given: rate_of(*given, divide=2),), "is one already"),
            ((lambda *given: rate_of(*given, factor=1.05),), "Close, but not to a per cent"),
        ],
    },
    5: {
        "right": (multivariate,),
        "wrong": [
            ((lambda *given: multivariate(*given, terms=(1, 1, 0)),), "-sum log sigma"),
            ((lambda mu, sigma, df: multivariate(mu, sigma, df, half=(df + 1) / 2),), "(nu + 1) / 2"),
            ((lambda *given: multivariate(*given, terms=(1, -1, 1)),), "turned"),
            ((lambda *given: multivariate(*given, terms=(1, 0, 1)),), "digammas are missing"),
            ((lambda mu, sigma, df: multivariate(mu, sigma, df, half=1, terms=(1, 0, 0)),), "I alone"),
            ((lambda mu, sigma, df: kl_exact(StudentT(df), mu, 2 * np.log(sigma)).sum(),), "product"),
            ((lambda *given: multivariate(*given, low=-5),), "Close"),
        ],
    },
    6: {
        "right": (slope_in_df,),
        "wrong": [
            ((lambda *given: 2 * slope_in_df(*given),), "one half"),
            ((lambda z, df: slope_in_df(z, df) - constant(df),), "constant depends"),
            ((lambda z, df: slope_in_df(z, df) + 0.5 / df,), "-1 / nu is missing"),
            ((lambda z, df: constant(df) + last(z, df),), "logarithm is missing"),
            ((lambda z, df: slope_in_df(z, df) - last(z, df),), "last term is missing"),
            ((lambda z, df: slope_in_df(z, df) - 2 * last(z, df),), "wrong sign"),
            ((lambda z, df: slope_in_df(z, df) - 2 * constant(df, 0),), "digammas are turned"),
        ],
    },
}
