"""Checks of workbook 11: the KL between families, the exchange rate, the multivariate t, the derivative for nu."""

import numpy as np
from scipy import integrate, stats
from scipy.special import digamma

from tvae_lib.checks import call, expect, task
from tvae_lib.latent import Apart, Gaussian, MultivariateT, StudentT, kl_exact

MU, LOGVAR = np.array([-2.5, 0.0, 0.4, 1.7]), np.array([-3.0, 0.5, -1.2, -0.3])


@task("11.1")
def task_1(gaussian_from_t):
    """gaussian_from_t(mu, logvar, df): KL of the N(0, 1) prior from a t encoder, each coordinate."""
    for df in (3.0, 21.0):
        right = kl_exact(Apart(StudentT(df), Gaussian()), MU, LOGVAR)
        entropy, variance = stats.t(df).entropy(), np.exp(LOGVAR) * df / (df - 2)
        mistakes = {
            "The variance of the cloud is sigma^2 df / (df - 2); you have sigma^2, the squared scale.": right
            + 0.5 * (np.exp(LOGVAR) - variance),
            "The entropy is that of normal noise; the encoder's noise is t.": right + entropy - stats.norm.entropy(),
            "The entropy has the wrong sign: narrow noise is dear.": right + 2 * entropy,
            "The entropy of the noise is missing.": right + entropy,
            "-log sigma is missing: the encoder's density at z is f(eps) / sigma.": right + 0.5 * LOGVAR,
            "log sigma is half of logvar.": right - 0.5 * LOGVAR,
            "The constant of the Gaussian density, log(2 pi) / 2, is missing.": right - 0.5 * np.log(2 * np.pi),
            "This is the Gaussian's price alone: its variance is right, the constant is missing.": 0.5
            * (MU**2 + variance - 1 - np.log(variance)),
        }
        expect(call(gaussian_from_t, MU, LOGVAR, df), right, f"the KL for nu = {df:g}", mistakes)


@task("11.2")
def task_2(t_from_gaussian):
    """t_from_gaussian(mu, logvar, df): KL of a t prior from a Gaussian encoder, each coordinate, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    physicists, their_weights = np.polynomial.hermite.hermgauss(24)
    sigma, entropy = np.exp(LOGVAR / 2)[:, None], stats.norm.entropy()
    for df in (3.0, 21.0):
        log_p = stats.t(df).logpdf
        at = lambda eps, scale, log_p=log_p: log_p(MU[:, None] + scale * eps)
        right = kl_exact(Apart(Gaussian(), StudentT(df)), MU, LOGVAR)
        cross = -at(nodes, sigma) @ weights / np.sqrt(2 * np.pi)
        other = -at(physicists, sigma) @ their_weights / np.sqrt(np.pi)
        mistakes = {
            "The weights add up to sqrt(2 pi); an average needs weights that add up to 1.": right
            + cross * (np.sqrt(2 * np.pi) - 1),
            "These are the physicists' nodes, for exp(-x^2): take `hermite_e`, for exp(-x^2 / 2).": right - cross + other,
            "The entropy of the noise is missing.": right + entropy,
            "-log sigma is missing: the encoder's density at z is f(eps) / sigma.": right + 0.5 * LOGVAR,
            "The noise is stretched by sigma^2: sigma is exp(logvar / 2).": right
            - cross
            - at(nodes, sigma**2) @ weights / np.sqrt(2 * np.pi),
            "The prior is still the Gaussian.": kl_exact(Gaussian(), MU, LOGVAR),
            "Both are t here: the encoder's noise is normal.": kl_exact(StudentT(df), MU, LOGVAR),
        }
        nearly = ("Close, but not to five digits. If you draw, or sum over a grid, take Gauss and Hermite's rule.", 0.03)
        expect(call(t_from_gaussian, MU, LOGVAR, df), right, f"the KL for nu = {df:g}", mistakes, rtol=1e-5, nearly=nearly)


@task("11.3")
def task_3(exchange_rate):
    """exchange_rate(df): gain over price of a dead coordinate of the tied t, relative to the Gaussian's."""
    df = np.array([2.5, 3.0, 5.0, 21.0])
    information, variance = (df + 1) / (df + 3), df / (df - 2)
    mistakes = {
        "This is price over gain: turn it upside down.": information * variance,
        "Only the noise is in it: the price of a shift is not 1 / 2 either, but A / 2.": 1 / variance,
        "Only the price is in it: the noise of a standard t has the variance nu / (nu - 2).": 1 / information,
        "A stands below: a dear shift lowers the rate.": information / variance,
        "The noise stands below: a noisy coordinate is worth less.": variance / information,
        "The variance of a t is nu / (nu - 2); you have its standard deviation.": 1 / (information * np.sqrt(variance)),
    }
    expect(call(exchange_rate, df), 1 / (information * variance), "the rate", mistakes)


@task("11.4")
def task_4(rate_of):
    """rate_of(kl, variance): the same for any KL(mu, sigma) and any variance of the standard noise."""

    def laplace(mu, sigma):
        prior = stats.laplace()
        cost = lambda e: -stats.norm.pdf(e) * prior.logpdf(mu + sigma * e)
        kink = -mu / sigma
        between = sum(integrate.quad(cost, *ends)[0] for ends in ((-12, kink), (kink, 12)))
        return between - np.log(sigma) - stats.norm.entropy()

    def kl_of(family, scale=1.0):
        return lambda mu, sigma: float(kl_exact(family, mu / scale, 2 * np.log(sigma / scale)))

    cases = {
        "the tied t, nu = 5": (kl_of(StudentT(5)), 5 / 3, 0.8, 1.0),
        "a Gaussian encoder under a Laplace prior": (laplace, 1.0, 1.0, np.sqrt(np.pi / 2)),
        "a t encoder, nu = 3, under a Gaussian prior": (kl_of(Apart(StudentT(3), Gaussian())), 3.0, 1.0, 1 / np.sqrt(3)),
        "the tied t, nu = 5, under a prior half as wide": (kl_of(StudentT(5), 0.5), 5 / 3, 0.8, 0.5),
    }
    for name, (kl, variance, right, scale) in cases.items():
        a = 1 / (right * scale**2 * variance)
        h = 0.02
        at_one = (kl(h, 1.0) - 2 * kl(0.0, 1.0) + kl(-h, 1.0)) / h**2
        mistakes = {
            "The scale is left at 1: a dead coordinate is at its cheapest scale.": 1 / (at_one * variance),
            "The variance of the noise is that of sigma * eps: multiply by the squared scale.": 1 / (a * variance),
            "This is price over gain: turn it upside down.": 1 / right,
            "The noise of the coordinate is not in it yet: divide by its variance.": 1 / a,
            "The second derivative is halved or doubled: A is the second derivative itself.": 2 * right,
            "The variance is squared: `variance` is one already.": 1 / (a * scale**2 * variance**2),
        }
        nearly = ("Close, but not to a per cent: take a smaller step for the derivative, or search the scale more finely.", 0.1)
        expect(call(rate_of, kl, variance), right, f"the rate for {name}", mistakes, rtol=0.01, nearly=nearly)


@task("11.5")
def task_5(kl_multivariate):
    """kl_multivariate(mu, sigma, df): KL of two multivariate t's by the smooth integral."""
    for d, df in ((1, 3.0), (4, 5.0)):
        mu, sigma = np.array([1.3, -0.4, 0.0, 2.0])[:d], np.array([0.3, 0.8, 1.4, 0.1])[:d]
        right = kl_exact(MultivariateT(df), mu[None], 2 * np.log(sigma)[None])[0, 0]
        half, logs = (df + d) / 2, np.log(sigma).sum()
        constant = digamma(half) - digamma(df / 2)
        integral = (right + logs) / half + constant
        mistakes = {
            "-sum log sigma is missing.": right + logs,
            "The factor (nu + d) / 2 is missing; you have (nu + 1) / 2.": (df + 1) / 2 * (integral - constant) - logs,
            "The two digammas are turned: psi((nu + d) / 2) is subtracted.": half * (integral + constant) - logs,
            "The digammas are missing.": half * integral - logs,
            "This is I alone; the KL has more terms.": integral,
            "This is the product of univariate t's: add up nothing, the coordinates share one chi-square.": kl_exact(
                StudentT(df), mu, 2 * np.log(sigma)
            ).sum(),
        }
        nearly = ("Close, but not to five digits: let x = log t run further on both sides, in steps of 0.25 or less.", 0.05)
        name = f"the KL in {d} dimension{'s' * (d > 1)}"
        expect(call(kl_multivariate, mu, sigma, df), right, name, mistakes, rtol=1e-5, nearly=nearly)


@task("11.6")
def task_6(slope_in_df):
    """slope_in_df(z, df): the derivative of log t_df(z) with respect to df."""
    z = np.array([-8.0, -0.5, 0.0, 1.0, 3.0])
    for df in (2.5, 3.0, 21.0):
        pieces = digamma((df + 1) / 2) - digamma(df / 2) - 1 / df, np.log1p(z**2 / df), (df + 1) * z**2 / (df * (df + z**2))
        right = 0.5 * (pieces[0] - pieces[1] + pieces[2])
        mistakes = {
            "The factor one half is missing.": 2 * right,
            "The constant depends on nu too: its derivative is missing.": 0.5 * (pieces[2] - pieces[1]),
            "-1 / nu is missing: sqrt(nu pi) stands in the constant.": right + 0.5 / df,
            "The exponent -(nu + 1) / 2 depends on nu too: the logarithm is missing.": right + 0.5 * pieces[1],
            "nu stands inside the logarithm too: the last term is missing.": right - 0.5 * pieces[2],
            "The last term has the wrong sign: a larger nu makes z^2 / nu smaller.": right - pieces[2],
            "The two digammas are turned.": right - (pieces[0] + 1 / df),
        }
        expect(call(slope_in_df, z, df), right, f"the derivative at nu = {df:g}", mistakes, rtol=1e-5)
