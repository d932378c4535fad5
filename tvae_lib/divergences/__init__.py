"""Exact Kullback-Leibler divergences that take more than a line, each with its derivatives (chapter 02)."""

import numpy as np

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
        coefficients = -series_coefficients(df, radius, tolerance=1e-11)
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
