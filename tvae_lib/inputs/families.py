"""What the latent families take."""

from functools import wraps

import numpy as np

from tvae_lib.inputs.values import as_array, check_rng, check_shape, finite, floating, largest, within


def check_code(mu, logvar):
    """mu and logvar, arrays or tensors, of one shape and of a size with which the KL can be computed."""
    if tuple(mu.shape) != tuple(logvar.shape):
        raise ValueError(f"mu and logvar must have the same shape, got {tuple(mu.shape)} and {tuple(logvar.shape)}")
    dtype = min(mu.dtype, logvar.dtype, key=lambda dtype: dtype.itemsize)
    most, most_logvar = largest(dtype), 600 if dtype.itemsize >= 8 else 80
    if not (within(mu, most) and within(logvar, most_logvar)):
        limits = f"in {dtype} at most {most:g} and {most_logvar} in size"
        raise ValueError(f"mu and logvar must be finite, {limits}, got more or NaN")
    return mu, logvar


def code(mu, logvar):
    """mu and logvar as arrays."""
    return check_code(floating("mu", mu), floating("logvar", logvar))


def drawn_code(mu, logvar, eps):
    """mu, logvar and the noise of one draw as arrays."""
    mu, logvar = code(mu, logvar)
    eps = as_array("eps", eps)
    if eps.shape != mu.shape or eps.dtype.kind != "f":
        raise ValueError(f"eps must be floating point of shape {mu.shape}, got {eps.dtype} of shape {eps.shape}")
    eps = finite("eps", eps)
    finite("sigma * eps", np.exp(0.5 * logvar) * eps)
    return mu, logvar, eps


def whole_codes(z, dims=None):
    """Codes whose coordinates belong together, (..., d), or (B, d) for dims=2."""
    if not z.ndim or (dims and z.ndim != dims):
        raise ValueError(f"codes of a density over whole codes must have shape {'(B, d)' if dims else '(..., d)'}, got {z.shape}")
    return z


def checked(family):
    """Class decorator: the methods of a family first look at what they are given, and `sample` at what it has drawn.

    z must be finite and at most 1e15 in size in float32, 1e120 in float64, so that no square overflows.
    """
    draw, of_numbers = family.sample, [family.log_prob, family.score]

    @wraps(draw)
    def sample(self, rng, shape):
        check_rng(rng)
        check_shape(shape)
        eps = draw(self, rng, shape)
        if not np.isfinite(eps).all():  # the share of draws of t beyond x falls like x^-df
            raise ValueError(f"some draws of {self} exceed the largest float64; a t needs a df of 0.05 or more")
        return eps

    def looking(method):
        return wraps(method)(lambda self, z: method(self, finite("z", z)))

    family.sample = sample
    family.log_prob, family.score = map(looking, of_numbers)
    return family
