"""The two latent families and their Kullback-Leibler terms.

A latent coordinate is z = mu + sigma * eps, where eps has a fixed standard density: N(0, 1) or Student's t with df
degrees of freedom. The prior is the same density at mu = 0, sigma = 1. `logvar` is log(sigma^2), the log of the
squared SCALE; for t the variance is sigma^2 df / (df - 2), and it exists only for df > 2.

Any object with the methods `sample`, `log_prob` and `score` of the classes below can be a family. The exact KL needs a fourth,
`kl_exact_and_grad`. The page "Add your own latent" writes one.

Codes, locations and noise must be finite and at most 1e15 in size in float32, 1e120 in float64, so that no square overflows; a
ValueError says which is not.
"""

import numbers

import numpy as np
from scipy.special import betaln

from tvae_lib.inputs import as_array, check_rng, check_shape, finite, floating, largest, said


class Gaussian:
    """The standard normal density, pushed through z = mu + sigma * eps."""

    def sample(self, rng, shape):
        """Draws of eps, float64, of the given shape. rng: np.random.Generator."""
        check_rng(rng)
        check_shape(shape)
        return rng.standard_normal(shape)

    def log_prob(self, z):
        """Log density at z, elementwise. ValueError if z is too large (see above), NaN, or no real number."""
        z = finite("z", z)
        return -0.5 * z**2 - 0.5 * np.log(2 * np.pi)

    def score(self, z):
        """Derivative of log_prob at z, elementwise. ValueError as there."""
        return -finite("z", z)

    def __repr__(self):
        return "Gaussian()"

    def kl_exact_and_grad(self, mu, logvar):
        """Exact KL of each coordinate and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu.

        `latent.kl_exact_and_grad` checks the arguments; this does not.
        """
        kl = 0.5 * (mu**2 + np.expm1(logvar) - logvar)
        return kl, mu, 0.5 * np.expm1(logvar)


class StudentT:
    """Student's t density with `df` degrees of freedom (nu in the text), 1e-6 to 1e20, pushed through z = mu + sigma * eps."""

    def __init__(self, df):
        if isinstance(df, bool) or not isinstance(df, numbers.Real) or not 1e-6 <= df <= 1e20:
            raise ValueError(f"df must be a number from 1e-6 to 1e20 (for more take the Gaussian), got {said(df)}")
        self.df = float(df)

    def sample(self, rng, shape):
        """Draws of eps, float64, of the given shape. rng: np.random.Generator.

        The share of draws beyond x falls like x^-df, so for df below about 0.05 some exceed the largest float64: ValueError.
        """
        check_rng(rng)
        check_shape(shape)
        eps = rng.standard_t(self.df, shape)
        if not np.isfinite(eps).all():
            raise ValueError(f"df = {self.df:g} is too small: some draws exceed the largest float64; take 0.05 or more")
        return eps

    def log_prob(self, z):
        """Log density at z, elementwise. ValueError if z is too large (see above), NaN, or no real number."""
        z = finite("z", z)
        log_constant = -betaln(self.df / 2, 0.5) - 0.5 * np.log(self.df)
        return log_constant - (self.df + 1) / 2 * np.log1p(z**2 / self.df)

    def score(self, z):
        """Derivative of log_prob at z, elementwise. ValueError as there."""
        z = finite("z", z)
        return -(self.df + 1) * z / (self.df + z**2)

    def __repr__(self):
        return f"StudentT(df={self.df:g})"

    def kl_exact_and_grad(self, mu, logvar):
        """Exact KL of each coordinate and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu.

        `latent.kl_exact_and_grad` checks the arguments; this does not.
        """
        return _kl_student(self.df, mu, logvar)


def check_code(mu, logvar):
    """Raise ValueError unless mu and logvar, arrays or tensors, have one shape and a size with which the KL can be computed."""
    if tuple(mu.shape) != tuple(logvar.shape):
        raise ValueError(f"mu and logvar must have the same shape, got {tuple(mu.shape)} and {tuple(logvar.shape)}")
    dtype = min(mu.dtype, logvar.dtype, key=lambda dtype: dtype.itemsize)
    most, most_logvar = largest(dtype), 600 if dtype.itemsize >= 8 else 80
    if not ((abs(mu) <= most).all() and (abs(logvar) <= most_logvar).all()):  # a NaN fails both comparisons
        limits = f"in {dtype} at most {most:g} and {most_logvar} in size"
        raise ValueError(f"mu and logvar must be finite, {limits}, got more or NaN")


def _check_latent(mu, logvar):
    mu, logvar = floating("mu", mu), floating("logvar", logvar)
    check_code(mu, logvar)
    return mu, logvar


def kl_sample(family, mu, logvar, eps):
    """One-draw Monte Carlo estimate of KL(q || p) for each row: log q(z) - log p(z) at z = mu + sigma * eps.

    mu, logvar, eps: (B, d). Returns (B,). Unbiased, and for a single draw often negative.

    ValueError if a shape or type is wrong, or a number NaN or too large: in float32 mu, eps and sigma * eps may be 1e15 in size
    and logvar 80, in float64 1e120 and 600.
    """
    return kl_sample_and_grad(family, mu, logvar, eps)[0]


def kl_sample_and_grad(family, mu, logvar, eps):
    """`kl_sample` and its derivatives: kl (B,), dkl/dmu (B, d), dkl/dlogvar (B, d). eps is held fixed."""
    mu, logvar = _check_latent(mu, logvar)
    eps = as_array("eps", eps)
    if eps.shape != mu.shape or eps.dtype.kind != "f":
        raise ValueError(f"eps must be floating point of shape {mu.shape}, got {eps.dtype} of shape {eps.shape}")
    eps = finite("eps", eps)
    sigma_eps = finite("sigma * eps", np.exp(0.5 * logvar) * eps)
    z = mu + sigma_eps
    kl = np.sum(family.log_prob(eps) - 0.5 * logvar - family.log_prob(z), axis=-1)
    dmu = -family.score(z)
    return kl, dmu, 0.5 * (sigma_eps * dmu - 1)


def kl_exact(family, mu, logvar):
    """KL(q || p) of each latent coordinate, exactly.

    mu, logvar: (B, d), or any equal shapes. Returns the same shape; sum over the last axis for a whole code.

    Gaussian: the closed form. Student's t: the series derived in chapter 02, a finite sum for odd df. Its error is below 1e-8
    for df >= 2 and below 1e-6 for 1 <= df < 2 wherever |mu| <= 6 and 0.05 <= sigma <= 5, and far below for most.
    Another family: its method `kl_exact_and_grad`; ValueError if it has none.

    ValueError also if mu or logvar is NaN or too large (see `kl_sample`), and where 20,000 terms of the series do not suffice:
    sigma below 0.001 or above 1000, or for |mu| > sqrt(df) closer to 1, together with df < 1.3 or df > 2e7.
    """
    return kl_exact_and_grad(family, mu, logvar)[0]


def kl_exact_and_grad(family, mu, logvar):
    """`kl_exact` and its derivatives: kl, dkl/dmu, dkl/dlogvar, each of the shape of mu. ValueError as there."""
    mu, logvar = _check_latent(mu, logvar)
    if not hasattr(family, "kl_exact_and_grad"):
        raise ValueError(f"{type(family).__name__} offers no exact KL: it has no method kl_exact_and_grad(mu, logvar)")
    return family.kl_exact_and_grad(mu, logvar)


MAX_TERMS = 20_000  # reached only with sigma close to 0, or very large


def _series_coefficients(df, radius, tolerance):
    """c_1, c_2, ... of the KL series (chapter 02), as many as a point at distance `radius` < 1 from 0 needs.

    ValueError if MAX_TERMS leave an error above 1e-5.
    """
    half = (df - 1) / 2
    k = np.arange(1, MAX_TERMS + 1)
    c = np.cumprod((half - k + 1) / (half + k))  # c_k = c_{k-1} (half - k + 1) / (half + k), and c_0 = 1
    # What is left out after term k is below |c_k| radius^k / k times the smaller of k and 1 / (1 - radius).
    left_out = np.abs(c) * radius**k * np.minimum(1, 1 / (k * (1 - radius)))
    enough = np.flatnonzero(left_out * (df + 1) < tolerance)
    if not len(enough) and left_out[-1] * (df + 1) > 1e-5:
        raise ValueError(f"the exact KL of t with df = {df:g} cannot be had at a sigma this near 0 or this large: take kl_sample")
    return c[: enough[0] + 1] if len(enough) else c


def _kl_student(df, mu, logvar):
    """KL between t(mu, sigma, df) and t(0, 1, df) with its gradient; equation (kl-t-series) of chapter 02.

    With a = mu / sqrt(df), u = 1 + sigma + ia and w = (1 - sigma + ia) / u, which lies inside the unit circle,

        KL = -log sigma + (df + 1) * (log|u / 2| - Re sum_k c_k (-w)^k / k).

    Computed in float64 whatever the input, returned in the input's dtype.
    """
    dtype = np.result_type(mu, logvar)
    dtype = dtype if dtype.kind == "f" else np.dtype(float)
    a = np.asarray(mu, float) / np.sqrt(df)
    half_logvar = 0.5 * np.asarray(logvar, float)
    sigma = np.exp(half_logvar)
    u = 1 + sigma + 1j * a
    w = (1 - sigma + 1j * a) / u
    radius = float(np.fmin(np.max(np.abs(w), initial=0.0), 1 - 1e-15))  # fmin: sigma may have overflowed, and w be NaN
    n_terms = int(np.ceil(np.log(1e-16) / np.log(max(radius, 1e-3))))
    if df < 1000 or n_terms > MAX_TERMS:
        coefficients = -_series_coefficients(df, radius, tolerance=1e-11)
        base, dbase_dsigma, dbase_da = np.log(np.abs(u) / 2), (1 / u).real, (1j / u).real
    else:
        # For large df the bracket above is a small difference of large terms. log|u / 2| + Re log(1 + w) = log(1 + a^2) / 2
        # removes the cancellation: the coefficients become 1 - c_k, summed here from small positive steps.
        k = np.arange(1, n_terms + 1)
        half = (df - 1) / 2
        c = np.cumprod((half - k + 1) / (half + k))
        coefficients = np.cumsum(np.concatenate([[1.0], c[:-1]]) * (2 * k - 1) / (half + k))
        base, dbase_dsigma, dbase_da = 0.5 * np.log1p(a**2), 0.0, a / (1 + a**2)
    total = np.zeros_like(w)  # sum_k coefficient_k (-w)^(k-1) / k, by Horner's rule
    slope = np.zeros_like(w)  # sum_k coefficient_k (-w)^(k-1)
    for k in range(len(coefficients), 0, -1):
        total = total * -w + coefficients[k - 1] / k
        slope = slope * -w + coefficients[k - 1]
    kl = -half_logvar + (df + 1) * (base + (-w * total).real)
    dsigma = -1 / sigma + (df + 1) * (dbase_dsigma + (slope * 2 * (1 + 1j * a) / u**2).real)
    da = (df + 1) * (dbase_da - (slope * 2j * sigma / u**2).real)
    return kl.astype(dtype), (da / np.sqrt(df)).astype(dtype), (0.5 * sigma * dsigma).astype(dtype)
