"""Right and wrong answers to the tasks of workbook 02; see tests/classroom/test_checks.py."""

import numpy as np
from scipy import stats
from scipy.integrate import quad
from scipy.special import gamma, gammaln

from tvae_lib.latent import Gaussian, StudentT, kl_exact


def scipy_log_t(eps, df):
    return stats.t.logpdf(eps, df)


def scipy_kl(mu, logvar, eps, df):
    sigma = np.exp(logvar) ** 0.5
    z = mu + sigma * eps
    return np.array([sum(row) for row in stats.t.logpdf(z, df, mu, sigma) - stats.t.logpdf(z, df)])


def kl_t3_by_integration(mu, sigma):
    def one(m, s):
        q, p = stats.t(3, m, s), stats.t(3)
        integrand = lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z))
        ends = [(-np.inf, m - 5 * s), (m - 5 * s, m), (m, m + 5 * s), (m + 5 * s, np.inf)]
        return sum(quad(integrand, *pair, epsabs=1e-12, limit=400)[0] for pair in ends)

    return np.array([one(m, s) for m, s in zip(mu, sigma, strict=True)])


def kl_t3(mu, sigma, a=lambda mu: mu / 3**0.5, c1=0.5, modulus=abs):
    u = 1 + sigma + 1j * a(mu)
    return -np.log(sigma) + 4 * (np.log(modulus(u / 2)) + c1 * ((1 - sigma + 1j * a(mu)) / u).real)


def kl_gaussian(mu, logvar):
    return (mu**2 + np.exp(logvar) - logvar - 1) / 2


def kl_of_batch(mu, logvar):
    return np.sum(kl_gaussian(mu, logvar)) / len(mu)


def draw_code(mu, logvar, noise):
    return noise * np.sqrt(np.exp(logvar)) + mu


def unsquared(eps, df):
    with np.errstate(invalid="ignore"):
        return stats.t.logpdf(eps, df) + (df + 1) / 2 * (np.log1p(eps**2 / df) - np.log1p(eps / df))


def without_gammaln(eps, df):
    with np.errstate(invalid="ignore"):
        c = gamma((df + 1) / 2) / (gamma(df / 2) * np.sqrt(df * np.pi))
    return np.log(c * (1 + eps**2 / df) ** (-(df + 1) / 2))


def with_bracket(bracket):
    """log C plus a bracket of eps and nu."""

    def log_t(eps, df):
        return gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi) + bracket(eps, df)

    return log_t


def shares(mu, logvar, eps, df, sigma=lambda logvar: np.sqrt(np.exp(logvar)), log_sigma=lambda logvar: logvar / 2):
    """The estimate of each coordinate."""
    return scipy_log_t(eps, df) - log_sigma(logvar) - scipy_log_t(mu + sigma(logvar) * eps, df)


def complex_kl(mu, sigma):
    u = 1 + sigma + 1j * mu / 3**0.5
    return -np.log(sigma) + 4 * (np.log(u / 2) + 0.5 * (1 - sigma + 1j * mu / 3**0.5) / u)


def fair(unit, sign=1, logvar_of=lambda sigma: np.log(sigma**2)):
    def difference(shift, sigma, df):
        logvar = logvar_of(sigma)
        return sign * (kl_exact(StudentT(df), unit(df) * shift, logvar) - kl_exact(Gaussian(), shift, logvar))

    return difference


def stretched_too(shift, sigma, df):
    unit = stats.t.std(df)
    return kl_exact(StudentT(df), unit * shift, 2 * np.log(unit * sigma)) - kl_gaussian(shift, 2 * np.log(sigma))


def both_stretched(shift, sigma, df):
    mu, logvar = stats.t.std(df) * shift, 2 * np.log(sigma)
    return kl_exact(StudentT(df), mu, logvar) - kl_gaussian(mu, logvar)


def log_variance(z, mu, logvar, df):
    return stats.t.logpdf(z, df, mu, np.exp(logvar / 2) / stats.t.std(df))


def at_places(of_q, of_p):
    """One-draw estimates with the densities q and p taken at the named places."""

    def kl_one_draw(mu, logvar, eps, df):
        place = {"eps": eps, "z": mu + np.exp(logvar / 2) * eps}
        log_q = stats.t.logpdf(place[of_q], df, mu, np.exp(logvar / 2))
        return (log_q - stats.t.logpdf(place[of_p], df)).sum(axis=1)

    return kl_one_draw


def within(allowance, absolute=True):
    """A test of bias: the mean may differ from the exact value by allowance(estimates)."""

    def looks_unbiased(estimates, exact):
        gap = estimates.mean() - exact
        return (abs(gap) if absolute else gap) < allowance(estimates)

    return looks_unbiased


ANSWERS = {
    1: {
        "right": (scipy_log_t,),
        "wrong": [
            ((lambda eps, df: stats.t.pdf(eps, df),), "density itself"),
            ((lambda eps, df: -(df + 1) / 2 * np.log1p(eps**2 / df),), "log C is missing"),
            ((lambda eps, df: stats.t.logpdf(eps, df) + np.log1p(eps**2 / df) / 2,), "-(nu + 1) / 2"),
            ((lambda eps, df: stats.t.logpdf(eps, df) - 0.5 * np.log(df * np.pi),), "half of log(nu pi)"),
            ((lambda eps, df: stats.norm.logpdf(eps),), "Gaussian"),
            ((lambda eps, df: 2 * stats.t.logpdf(eps, df),), "twice"),
            ((unsquared,), "Is eps squared?"),
            ((with_bracket(lambda eps, df: (df + 1) / 2 * np.log(1 + eps**2 / df)),), "density would grow in the tails"),
            ((with_bracket(lambda eps, df: -(df + 1) / 2 * np.log(1 + abs(eps) / df)),), "The square is missing"),
            ((without_gammaln,), "the gamma function overflows"),
        ],
    },
    2: {
        "right": (lambda z, mu, logvar, df: stats.t.logpdf(z, df, loc=mu, scale=np.exp(logvar) ** 0.5),),
        "wrong": [
            ((lambda z, mu, logvar, df: stats.t.logpdf((z - mu) / np.exp(logvar / 2), df),), "1 / sigma is missing"),
            ((lambda z, mu, logvar, df: stats.t.logpdf((z - mu) / np.exp(logvar / 2), df) + logvar / 2,), "wrong sign"),
            ((lambda z, mu, logvar, df: stats.t.logpdf(z, df, mu, np.exp(logvar)),), "variance is passed as standard deviation"),
            ((lambda z, mu, logvar, df: stats.t.logpdf((z - mu) / np.exp(logvar / 2), df) - logvar,), "half of it"),
            ((lambda z, mu, logvar, df: stats.t.logpdf((z - mu) * np.exp(logvar / 2), df) - logvar / 2,), "should be divided"),
            ((log_variance,), "not of the variance"),
            ((lambda z, mu, logvar, df: stats.t.logpdf(z, df, 0, np.exp(logvar / 2)),), "mu is left out"),
            ((lambda z, mu, logvar, df: stats.t.logpdf(z * np.exp(-logvar / 2) - mu, df) - logvar / 2,), "first subtract it"),
        ],
    },
    3: {
        "right": (scipy_kl,),
        "wrong": [
            (
                (lambda mu, logvar, eps, df: scipy_log_t(eps, df) - logvar / 2 - scipy_log_t(mu + np.exp(logvar / 2) * eps, df),),
                "not summed",
            ),
            ((lambda mu, logvar, eps, df: -scipy_kl(mu, logvar, eps, df),), "minus sign"),
            ((lambda mu, logvar, eps, df: scipy_kl(mu, logvar, eps, df) / mu.shape[1],), "mean over the coordinates"),
            ((lambda mu, logvar, eps, df: scipy_kl(mu, logvar, eps, df).sum(),), "whole batch"),
            ((lambda mu, logvar, eps, df: scipy_kl(mu, logvar, eps, df) + logvar.sum(axis=1) / 2,), "-log sigma is missing"),
            ((lambda mu, logvar, eps, df: scipy_kl(mu, logvar, eps, df) + logvar.sum(axis=1),), "-log sigma has the wrong sign"),
            ((lambda mu, logvar, eps, df: kl_exact(StudentT(df), mu, logvar).sum(axis=1),), "is expected"),
            ((lambda mu, logvar, eps, df: abs(scipy_kl(mu, logvar, eps, df)),), "one-draw estimate may be: leave the sign"),
            ((lambda mu, logvar, eps, df: np.maximum(0, scipy_kl(mu, logvar, eps, df)),), "one-draw estimate may be: do not cut"),
            ((lambda *given: shares(*given).sum(axis=0),), "the sum over the codes of the batch"),
            ((lambda *given: abs(shares(*given)).sum(axis=1),), "share of a coordinate may be negative too: leave"),
            ((lambda *given: shares(*given).clip(min=0).sum(axis=1),), "share of a coordinate may be negative too: do not cut"),
            ((lambda *given: shares(*given, log_sigma=lambda logvar: logvar).sum(axis=1),), "log sigma is half of it"),
            ((lambda *given: shares(*given, sigma=np.exp).sum(axis=1),), "sigma is exp(logvar / 2), not exp(logvar)"),
            ((at_places("eps", "z"),), "log q is taken at eps"),
            ((at_places("z", "eps"),), "log p is taken at eps"),
            ((at_places("eps", "eps"),), "Both densities are taken at eps"),
        ],
    },
    4: {
        "right": (lambda estimates, error: np.mean((estimates - np.mean(estimates)) ** 2) / error**2,),
        "wrong": [
            ((lambda estimates, error: estimates.std() / error,), "is the square"),
            ((lambda estimates, error: estimates.var() / error,), "the error is squared too"),
            ((lambda estimates, error: (estimates.var() / error) ** 2,), "once too often"),
            ((lambda estimates, error: error**2 / np.var(estimates),), "a smaller error needs more draws"),
            ((lambda estimates, error: 1000,), "is expected"),
            ((lambda estimates, error: int(np.ceil(np.std(estimates) / error)),), "is the square"),
            ((lambda estimates, error: int(np.ceil(np.var(estimates) / error)),), "the error is squared too"),
            ((lambda estimates, error: (stats.norm.ppf(0.975) * estimates.std() / error) ** 2,), "1.96 standard errors make"),
            ((lambda estimates, error: np.ceil((2 * estimates.std() / error) ** 2),), "Two standard errors make"),
        ],
    },
    5: {
        "right": (kl_t3_by_integration,),
        "wrong": [
            ((lambda mu, sigma: kl_t3(mu, sigma, a=lambda mu: mu),), "mu itself"),
            ((lambda mu, sigma: kl_t3(mu, sigma, a=lambda mu: mu / 3),), "mu / nu"),
            ((lambda mu, sigma: kl_t3(mu, sigma, c1=-0.5),), "The sign of the sum"),
            ((lambda mu, sigma: kl_t3(mu, sigma, c1=1),), "one half; you have 1"),
            ((lambda mu, sigma: kl_t3(mu, sigma, c1=0),), "one term"),
            ((lambda mu, sigma: kl_t3(mu, sigma) + np.log(sigma),), "-log sigma is missing"),
            ((lambda mu, sigma: kl_t3(mu, sigma) + 2 * np.log(sigma),), "-log sigma has the wrong sign"),
            ((lambda mu, sigma: kl_t3(mu, sigma, modulus=lambda u: u.real**2 + u.imag**2),), "modulus of u / 2, not its square"),
            ((lambda mu, sigma: kl_exact(Gaussian(), mu, 2 * np.log(sigma)),), "is expected"),
            ((complex_kl,), "is complex"),
            ((lambda mu, sigma: kl_t3(mu, sigma, modulus=np.real),), "not the real part"),
        ],
    },
    6: {
        "right": (kl_gaussian, kl_of_batch, draw_code),
        "wrong": [
            ((lambda mu, logvar: -kl_gaussian(mu, logvar), kl_of_batch, draw_code), "minus sign"),
            ((lambda mu, logvar: 0.5 * (1 + logvar - np.exp(logvar) + mu * mu), kl_of_batch, draw_code), "turn every sign"),
            ((kl_gaussian, lambda mu, logvar: kl_gaussian(mu, logvar).mean(), draw_code), "still averages over the coordinates"),
            ((kl_gaussian, lambda mu, logvar: kl_gaussian(mu, logvar).sum(), draw_code), "adds up the images"),
            ((kl_gaussian, lambda mu, logvar: kl_gaussian(mu, logvar).sum(axis=1), draw_code), "one number"),
            (
                (kl_gaussian, lambda mu, logvar: kl_gaussian(mu, logvar).sum(axis=0).mean(), draw_code),
                "it is the other way round",
            ),
            (
                (kl_gaussian, kl_of_batch, lambda mu, logvar, noise: mu + abs(logvar) ** 0.5 * noise),
                "take the exponential of half of it",
            ),
            ((kl_gaussian, kl_of_batch, lambda mu, logvar, noise: mu + np.exp(logvar) * noise), "passes a variance"),
            ((kl_gaussian, kl_of_batch, lambda mu, logvar, noise: mu + np.exp(logvar) / 2 * noise), "not of the variance"),
        ],
    },
    7: {
        "right": (fair(lambda df: stats.t.std(df)),),
        "wrong": [
            ((fair(lambda df: 1),), "equal mu"),
            ((fair(lambda df: df / (df - 2)),), "variance is passed as standard deviation"),
            ((fair(lambda df: np.sqrt((df - 2) / df)),), "upside down"),
            ((fair(lambda df: stats.t.std(df), sign=-1),), "Gaussian minus t"),
            ((fair(lambda df: stats.t.std(df), logvar_of=lambda sigma: sigma),), "you hand it sigma."),
            ((fair(lambda df: stats.t.std(df), logvar_of=np.log),), "you hand it log sigma."),
            ((fair(lambda df: stats.t.std(df), logvar_of=np.square),), "you hand it sigma squared."),
            ((both_stretched,), "The Gaussian's shift is stretched too"),
            ((stretched_too,), "sigma stays in units of the prior's scale"),
        ],
    },
    8: {
        "right": (within(lambda estimates: 3 * stats.sem(estimates)),),
        "wrong": [
            ((within(lambda estimates: 0.01),), "compare the difference with its standard error"),
            ((within(lambda estimates: 4 * estimates.std()),), "divide s by sqrt(L)"),
            ((within(lambda estimates: 4 * stats.sem(estimates), absolute=False),), "absolute value"),
            ((within(lambda estimates: 4 * estimates.std() / len(estimates)),), "compare the difference"),
            ((within(lambda estimates: 2 * estimates.var() / len(estimates) ** 0.5),), "It rejects 20,000 good estimates"),
            ((within(lambda estimates: 0.02 + 4 * stats.sem(estimates)),), "a fixed allowance"),
            ((lambda estimates, exact: True,), "twelve standard errors"),
        ],
    },
}
