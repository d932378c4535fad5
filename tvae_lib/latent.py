"""The two latent families and their Kullback-Leibler terms.

A latent coordinate is z = mu + sigma * eps, where eps has a fixed standard density: N(0, 1) or Student's t with df
degrees of freedom. The prior is the same density at mu = 0, sigma = 1. `logvar` is log(sigma^2), the log of the
squared SCALE; for t the variance is sigma^2 df / (df - 2), and it exists only for df > 2.

Any object with the methods `sample`, `log_prob` and `score` of the classes below can be a family. The exact KL needs a fourth,
`kl_exact_and_grad`. The page "Add your own latent" writes one.
"""

from functools import partial

import numpy as np
from scipy.special import betaln

from tvae_lib import divergences
from tvae_lib.inputs import check_code, check_df, check_family, checked, code, drawn_code, said, whole_codes


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
    if not hasattr(family, "kl_exact_and_grad"):
        raise ValueError(f"{type(family).__name__} offers no exact KL: it has no method kl_exact_and_grad(mu, logvar)")
    return family.kl_exact_and_grad(mu, logvar)


def kl_and_grad(family, kl, mu, logvar, eps):
    """The KL of each code (B,), "exact" or by one "sample", and its derivatives (B, d): for a model, which has checked eps."""
    check_code(mu, logvar)
    if kl == "sample":
        return _kl_sample_and_grad(family, mu, logvar, eps)
    kl, dmu, dlogvar = family.kl_exact_and_grad(mu, logvar)
    return kl.sum(axis=1), dmu, dlogvar


# ---- rarely needed: families made of others, and one over whole codes


def prior_of(family):
    """The family of the prior: the family itself, unless encoder and prior are `Apart`."""
    return getattr(family, "prior", family)


class Apart:
    """Encoder noise of one family and a prior of another, for example Apart(Gaussian(), StudentT(3)).

    `sample`, `log_prob` and `score` are the encoder's; `prior_of` gives the prior. There is an exact KL between Gaussian and
    StudentT in any combination but StudentT(df) to Gaussian with df <= 2, where it is infinite.
    """

    def __init__(self, encoder, prior):
        self.encoder, self.prior = check_family(encoder), check_family(prior)

    def sample(self, rng, shape):
        return self.encoder.sample(rng, shape)

    def log_prob(self, z):
        return self.encoder.log_prob(z)

    def score(self, z):
        return self.encoder.score(z)

    @property
    def kl_exact_and_grad(self):
        """A function of mu and logvar, as that of the families."""
        q, p = self.encoder, self.prior
        kinds = type(q), type(p)
        if kinds == (Gaussian, Gaussian) or (kinds == (StudentT, StudentT) and q.df == p.df):
            return q.kl_exact_and_grad
        if kinds == (Gaussian, StudentT):
            return partial(divergences.t_from_gaussian, p.df)
        if kinds == (StudentT, Gaussian) and q.df > 2:
            return partial(divergences.gaussian_from_t, q.df)
        if kinds == (StudentT, StudentT):
            return partial(divergences.t_from_t, p.df, q.df)
        raise AttributeError(f"there is no exact KL from {q} to {p}")

    def __repr__(self):
        return f"Apart({self.encoder!r}, {self.prior!r})"


@checked
class Scaled:
    """A family whose standard density is another's, made `scale` times as wide: Scaled(StudentT(3), 3**-0.5) has variance 1."""

    def __init__(self, family, scale):
        self.family, self.scale = check_family(family), float(scale)
        if not 1e-6 <= self.scale <= 1e6:
            raise ValueError(f"scale must be a number from 1e-6 to 1e6, got {said(scale)}")

    def sample(self, rng, shape):
        return self.scale * self.family.sample(rng, shape)

    def log_prob(self, z):
        return self.family.log_prob(z / self.scale) - np.log(self.scale)

    def score(self, z):
        return self.family.score(z / self.scale) / self.scale

    @property
    def kl_exact_and_grad(self):
        """A function of mu and logvar, if the other family has one: measured in units of `scale`, only mu changes."""
        exact = self.family.kl_exact_and_grad

        def scaled(mu, logvar):
            kl, dmu, dlogvar = exact(mu / self.scale, logvar)
            return kl, dmu / self.scale, dlogvar

        return scaled

    def __repr__(self):
        return f"Scaled({self.family!r}, {self.scale:g})"


@checked
class MultivariateT:
    """A t over whole codes: d normal numbers divided by one and the same square root of chi-square / df.

    Arrays are (..., d). `log_prob` gives the log density of each coordinate given those before it, so that the sum over the last
    axis is that of the code, as with the other families. `kl_exact_and_grad` gives the KL of a code, (B, 1).
    """

    def __init__(self, df):
        self.df = check_df(df)

    def sample(self, rng, shape):
        eps = rng.standard_normal(shape)
        return eps / np.sqrt(rng.chisquare(self.df, (*eps.shape[:-1], 1)) / self.df)

    def log_prob(self, z):
        return divergences.multivariate_t_log_prob(self.df, whole_codes(z))

    def score(self, z):
        z = whole_codes(z)
        return -(self.df + z.shape[-1]) * z / (self.df + np.sum(z**2, axis=-1, keepdims=True))

    def kl_exact_and_grad(self, mu, logvar):
        return divergences.multivariate_t(self.df, whole_codes(mu, dims=2), logvar)

    def __repr__(self):
        return f"MultivariateT(df={self.df:g})"
