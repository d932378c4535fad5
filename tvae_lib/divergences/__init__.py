"""Exact Kullback-Leibler divergences that take more than a line, each with its derivatives with respect to mu and log sigma^2.

mu and logvar are arrays, or tensors on any device that knows float64; so are the results. Nothing is checked here, and all is
computed in float64 and returned in the precision of the input.
"""

import math
import sys
from functools import cache

import numpy as np
from scipy.special import betaln, digamma, roots_hermitenorm

from tvae_lib.inputs import module_of


def wide(mu, logvar):
    """The module, both in float64, and the function that brings results back to their precision."""
    if hasattr(mu, "detach"):
        torch = sys.modules["torch"]
        return torch, mu.double(), logvar.double(), lambda *results: [result.to(mu.dtype) for result in results]
    dtype = np.result_type(mu, logvar)
    dtype = dtype if dtype.kind == "f" else np.dtype(float)
    return np, np.asarray(mu, float), np.asarray(logvar, float), lambda *results: [result.astype(dtype) for result in results]


# ---- two t's of equal df


MAX_TERMS = 20_000  # reached only with sigma close to 0, or very large


def series_coefficients(df, radius, tolerance):
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


def student_t(df, mu, logvar):
    """KL between t(mu, sigma, df) and t(0, 1, df) with its gradient; equation (kl-t-series) of chapter 02.

    With a = mu / sqrt(df), u = 1 + sigma + ia and w = (1 - sigma + ia) / u, which lies inside the unit circle,

        KL = -log sigma + (df + 1) * (log|u / 2| - Re sum_k c_k (-w)^k / k).
    """
    xp, mu, logvar, narrow = wide(mu, logvar)
    a = mu / math.sqrt(df)
    half_logvar = 0.5 * logvar
    sigma = xp.exp(half_logvar)
    u = 1 + sigma + 1j * a
    w = (1 - sigma + 1j * a) / u
    radius = abs(w).max() if math.prod(w.shape) else 0.0
    radius = float(np.fmin(float(radius), 1 - 1e-15))  # fmin: sigma may have overflowed, and w be NaN
    n_terms = int(np.ceil(np.log(1e-16) / np.log(max(radius, 1e-3))))
    if df < 1000 or n_terms > MAX_TERMS:
        coefficients = -series_coefficients(df, radius, tolerance=1e-11)
        base, dbase_dsigma, dbase_da = xp.log(abs(u) / 2), (1 / u).real, (1j / u).real
    else:
        # For large df the bracket above is a small difference of large terms. log|u / 2| + Re log(1 + w) = log(1 + a^2) / 2
        # removes the cancellation: the coefficients become 1 - c_k, summed here from small positive steps.
        k = np.arange(1, n_terms + 1)
        half = (df - 1) / 2
        c = np.cumprod((half - k + 1) / (half + k))
        coefficients = np.cumsum(np.concatenate([[1.0], c[:-1]]) * (2 * k - 1) / (half + k))
        base, dbase_dsigma, dbase_da = 0.5 * xp.log1p(a**2), 0.0, a / (1 + a**2)
    coefficients = coefficients.tolist()  # no NumPy number times a tensor
    total = xp.zeros_like(w)  # sum_k coefficient_k (-w)^(k-1) / k, by Horner's rule
    slope = xp.zeros_like(w)  # sum_k coefficient_k (-w)^(k-1)
    for k in range(len(coefficients), 0, -1):
        total = total * -w + coefficients[k - 1] / k
        slope = slope * -w + coefficients[k - 1]
    kl = -half_logvar + (df + 1) * (base + (-w * total).real)
    dsigma = -1 / sigma + (df + 1) * (dbase_dsigma + (slope * 2 * (1 + 1j * a) / u**2).real)
    da = (df + 1) * (dbase_da - (slope * 2j * sigma / u**2).real)
    return narrow(kl, da / math.sqrt(df), 0.5 * sigma * dsigma)


# ---- encoder and prior of different families


def log_constant(df):
    """The log density of t at 0."""
    return float(-betaln(df / 2, 0.5) - 0.5 * np.log(df))


def entropy(df):
    """The entropy of t: -E[log f(eps)]."""
    return float((df + 1) / 2 * (digamma((df + 1) / 2) - digamma(df / 2))) - log_constant(df)


def gaussian_from_t(df, mu, logvar):
    """KL of the N(0, 1) prior from a t encoder, df > 2: a closed form, as E[z^2] = mu^2 + sigma^2 df / (df - 2)."""
    xp, mu, logvar, narrow = wide(mu, logvar)
    variance = xp.exp(logvar) * (df / (df - 2))
    kl = 0.5 * (mu**2 + variance - logvar) + (0.5 * math.log(2 * math.pi) - entropy(df))
    return narrow(kl, mu, 0.5 * (variance - 1))


def t_from_gaussian(df, mu, logvar):
    """KL of a t prior from a Gaussian encoder, by Gauss and Hermite's rule with 24 nodes."""
    return t_by_quadrature(df, gauss_hermite(), 0.5 * math.log(2 * math.pi * math.e), mu, logvar)


def t_from_t(df, encoder_df, mu, logvar):
    """KL of a t prior from a t encoder of another df, by the double-exponential rule."""
    return t_by_quadrature(df, double_exponential(encoder_df), entropy(encoder_df), mu, logvar)


def t_by_quadrature(df, rule, entropy_of_noise, mu, logvar):
    """-E[log f_df(mu + sigma eps)] - log sigma - entropy, the expectation being a sum over the nodes and weights of a rule."""
    xp, mu, logvar, narrow = wide(mu, logvar)
    sigma = xp.exp(0.5 * logvar)
    kl, dmu, dlogvar = -0.5 * logvar - (entropy_of_noise + log_constant(df)), 0 * mu, 0 * mu
    for eps, weight in rule:
        z = mu + sigma * eps
        kl = kl + weight * (df + 1) / 2 * xp.log1p(z**2 / df)
        pull = weight * (df + 1) * z / (df + z**2)
        dmu = dmu + pull
        dlogvar = dlogvar + eps * pull
    return narrow(kl, dmu, 0.5 * (sigma * dlogvar - 1))


@cache
def gauss_hermite(n=24):
    """Pairs of a node and its weight for the expectation over N(0, 1)."""
    nodes, weights = roots_hermitenorm(n)
    return [*zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True)]


@cache
def double_exponential(df, step=0.1):
    """The same for t: eps = sinh(pi/2 sinh v), where equal steps in v converge fast however heavy the tails."""
    v = np.arange(-4.5, 4.5 + step / 2, step)
    eps = np.sinh(np.pi / 2 * np.sinh(v))
    log_weight = np.logaddexp(np.pi / 2 * np.sinh(v), -np.pi / 2 * np.sinh(v)) + np.log(np.cosh(v))
    log_weight -= (df + 1) / 2 * np.log1p(eps**2 / df)
    weights = np.exp(log_weight - log_weight.max())
    return [*zip(eps.tolist(), (weights / weights.sum()).tolist(), strict=True)]


# ---- the multivariate t: one chi-square number for the whole code


def multivariate_t_log_prob(df, z):
    """The log density of each coordinate given those before it, a t with df + j - 1 degrees of freedom. z: (..., d)."""
    xp, d = module_of(z), z.shape[-1]
    before = xp.cumsum(xp.concatenate([0 * z[..., :1], z[..., :-1] ** 2], -1), -1)
    constants = [float(-betaln((df + j) / 2, 0.5)) for j in range(d)]
    order = [(df + j + 1) / 2 for j in range(d)]
    constants, order = (z.new_tensor(c) if xp is not np else np.asarray(c, z.dtype) for c in (constants, order))
    return constants - 0.5 * xp.log(df + before) - order * xp.log1p(z**2 / (df + before))


def multivariate_t(df, mu, logvar, tolerance=1e-9):
    """KL of two multivariate t's, for whole codes: kl (B, 1), and its derivatives (B, d).

    With E log(df + |z|^2) written as an integral over t > 0 (Frullani), which factorises over the coordinates,

        KL = -sum_j log sigma_j + (df + d)/2 (I - digamma((df + d)/2) + digamma(df/2)),
        I = int dt/t [(1 + t)^(-df/2) - G],   G = prod_j r_j^(1/2) A^(-df/2),
        r_j = 1 / (1 + t sigma_j^2),   A = 1 + t + (t/df) sum_j mu_j^2 r_j.

    The derivatives go under the integral. With t = e^x the trapezium rule is right to e^(-pi^2 / step), or better.
    """
    if not 0.1 <= df <= 1e5:
        raise ValueError(f"the exact KL of the multivariate t needs df from 0.1 to 1e5, got {df:g}: take kl_sample")
    xp, mu, logvar, narrow = wide(mu, logvar)
    mu, logvar = mu.T, logvar.T  # (d, B): sums over coordinates are then sums of rows
    square, variance, half = mu**2, xp.exp(logvar), (df + len(mu)) / 2
    # Near t = 0 the bracket is about t (|mu|^2 + |sigma|^2) / 2; far out it is below (1 + t)^(-df/2).
    size = float((square + variance).sum(0).max()) if math.prod(mu.shape) else 0.0
    low, high = math.log(tolerance / half / (1 + size)), 2 / df * math.log((1 + half / df) / tolerance)
    step = math.pi**2 / math.log(half / tolerance)
    total, dmu, dvariance = 0 * square.sum(0), 0 * mu, 0 * mu
    for x in np.arange(low, max(high, 1.0) + step, step).tolist():
        t = math.exp(x)
        r = 1 / (1 + t * variance)
        pull = square * r
        a = (1 + t) + (t / df) * pull.sum(0)
        g = xp.sqrt(xp.prod(r, 0)) * xp.exp(-df / 2 * xp.log(a))
        total += math.exp(-df / 2 * math.log1p(t)) - g
        share = (t * g) * r
        dvariance += share
        share /= a
        dmu += share
        pull *= share
        pull *= t
        dvariance -= pull
    constant = float(digamma(half) - digamma(df / 2))
    kl = half * (step * total - constant) - 0.5 * logvar.sum(0)
    return narrow(kl[:, None], half * step * (mu * dmu).T, 0.5 * (half * step * variance * dvariance - 1).T)
