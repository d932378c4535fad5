"""The two latent families and their Kullback-Leibler terms.

A latent coordinate is z = mu + sigma * eps, where eps has a fixed standard density: N(0, 1) or Student's t with df
degrees of freedom. The prior is the same density at mu = 0, sigma = 1. `logvar` is log(sigma^2), the log of the
squared SCALE; for t the variance is sigma^2 df / (df - 2), and it exists only for df > 2.

Any object with the methods `sample`, `log_prob` and `score` of the classes below can be a family. The exact KL needs a fourth,
`kl_exact_and_grad`. The page "Add your own latent" writes one; `Apart`, `Scaled` and `MultivariateT` stand in
`divergences.families`.
"""

import numpy as np
from scipy.special import betaln

from tvae_lib import divergences
from tvae_lib.divergences.families import Apart, MultivariateT, Scaled  # noqa: F401 (for those who import them from here)
from tvae_lib.inputs import check_code, check_df, checked, code, drawn_code, exact_kl


@checked
class Gaussian:
    """The standard normal density, pushed through z = mu + sigma * eps."""

    def sample(self, rng, shape):
        """Draws of eps, float64, of the given shape. rng: np.random.Generator."""
        return rng.standard_normal(shape)

    def log_prob(self, z):
        """Log density at z, elementwise."""
        return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)

    def score(self, z):
        """Derivative of log_prob at z, elementwise."""
        return -z

    def kl_exact_and_grad(self, mu, logvar):
        """Exact KL of each coordinate and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu, unchecked."""
        return 0.5 * (mu**2 + np.expm1(logvar) - logvar), mu, 0.5 * np.expm1(logvar)

    def __repr__(self):
        return "Gaussian()"


@checked
class StudentT:
    """Student's t density with `df` degrees of freedom (nu in the text), 1e-6 to 1e20, pushed through z = mu + sigma * eps."""

    def __init__(self, df):
        self.df = check_df(df)

    def sample(self, rng, shape):
        """Draws of eps, float64, of the given shape. rng: np.random.Generator. ValueError if one is infinite (df below 0.05)."""
        return rng.standard_t(self.df, shape)

    def log_prob(self, z):
        """Log density at z, elementwise."""
        return -betaln(self.df / 2, 0.5) - 0.5 * np.log(self.df) - (self.df + 1) / 2 * np.log1p(z**2 / self.df)

    def score(self, z):
        """Derivative of log_prob at z, elementwise."""
        return -(self.df + 1) * z / (self.df + z**2)

    def kl_exact_and_grad(self, mu, logvar):
        """Exact KL of each coordinate and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu, unchecked."""
        return divergences.student_t(self.df, mu, logvar)

    def __repr__(self):
        return f"StudentT(df={self.df:g})"


def kl_sample(family, mu, logvar, eps):
    """One-draw Monte Carlo estimate of KL(q || p) for each row: log q(z) - log p(z) at z = mu + sigma * eps.

    mu, logvar, eps: (B, d). Returns (B,). Unbiased, and for a single draw often negative.

    ValueError for NaN and too large numbers: in float32 mu, eps and sigma * eps may be 1e15 in size and logvar 80, in float64
    1e120 and 600.
    """
    return kl_sample_and_grad(family, mu, logvar, eps)[0]


def kl_sample_and_grad(family, mu, logvar, eps):
    """`kl_sample` and its derivatives: kl (B,), dkl/dmu (B, d), dkl/dlogvar (B, d). eps is held fixed."""
    return _kl_sample_and_grad(family, *drawn_code(mu, logvar, eps))


def _kl_sample_and_grad(family, mu, logvar, eps):
    sigma_eps = np.exp(0.5 * logvar) * eps
    z, prior = mu + sigma_eps, prior_of(family)
    kl = np.sum(family.log_prob(eps) - 0.5 * logvar - prior.log_prob(z), axis=-1)
    dmu = -prior.score(z)
    return kl, dmu, 0.5 * (sigma_eps * dmu - 1)


def kl_exact(family, mu, logvar):
    """KL(q || p) of each latent coordinate, exactly.

    mu, logvar: (B, d), or any equal shapes. Returns the same shape; sum over the last axis for a whole code.

    Gaussian: the closed form. Student's t: the series derived in chapter 02, a finite sum for odd df. Its error is below 1e-8
    for df >= 2 and below 1e-6 for 1 <= df < 2 wherever |mu| <= 6 and 0.05 <= sigma <= 5, and far below for most.
    Another family: its method `kl_exact_and_grad`; ValueError if it has none. MultivariateT has one number per code: (B, 1).

    ValueError also if mu or logvar is NaN or too large (see `kl_sample`), and where 20,000 terms of the series do not suffice:
    sigma below 0.001 or above 1000, or for |mu| > sqrt(df) closer to 1, together with df < 1.3 or df > 2e7.
    """
    return kl_exact_and_grad(family, mu, logvar)[0]


def kl_exact_and_grad(family, mu, logvar):
    """`kl_exact` and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu. ValueError as there."""
    mu, logvar = code(mu, logvar)
    return exact_kl(family)(mu, logvar)


def kl_and_grad(family, kl, mu, logvar, eps):
    """The KL of each code (B,), "exact" or by one "sample", and its derivatives (B, d): for a model, which has checked eps."""
    check_code(mu, logvar)
    if kl == "sample":
        return _kl_sample_and_grad(family, mu, logvar, eps)
    kl, dmu, dlogvar = family.kl_exact_and_grad(mu, logvar)
    return kl.sum(axis=1), dmu, dlogvar


def prior_of(family):
    """The family of the prior: the family itself, unless encoder and prior are `Apart`."""
    return getattr(family, "prior", family)
