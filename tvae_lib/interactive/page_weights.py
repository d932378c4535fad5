"""Trained weights and images in a form small enough for a web page: one byte per weight, half a byte per pixel, as text.

Every row of a weight matrix is stored as whole numbers from -127 to 127 and one float32 scale, the row's largest weight over
127; biases stay float32. js/network.js reads it.
"""

import base64
import copy
import json

import numpy as np

from tvae_lib.inputs import finite, one_of
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.vae_numpy import VAE


def quantise(weight):
    """A weight matrix (out, in) as int8 (out, in) and scale (out,) float32, with weight close to scale[:, None] * int8.

    ValueError unless it is a matrix of at least one column, with finite numbers of at most 1e15 in size.
    """
    weight = finite("weight", weight, 1e15)
    if weight.ndim != 2 or not weight.shape[1]:
        raise ValueError(f"weight must be a matrix (out, in), got shape {weight.shape}")
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-30).astype(np.float32) / np.float32(127)
    return np.round(weight / scale[:, None]).astype(np.int8), scale


def _layers(model, part):
    for i in range(len(model.sizes) - 1):
        yield f"{part}.{i}", *quantise(model.params[f"{part}.{i}.weight"]), model.params[f"{part}.{i}.bias"].astype(np.float32)


def _check(model):
    if not isinstance(model, VAE):
        raise ValueError(f"model must be a VAE of vae_numpy, got a {type(model).__name__}")


def rounded(model):
    """A copy of a NumPy model with the weights that the page will have; to measure what the rounding costs.

    ValueError for anything but a NumPy model.
    """
    _check(model)
    twin = copy.copy(model)
    twin.params = dict(model.params)
    for part in ("encoder", "decoder"):
        for name, whole, scale, _ in _layers(model, part):
            twin.params[f"{name}.weight"] = scale[:, None] * whole
    return twin


def pack(model, part):
    """One half of a NumPy model, "encoder" or "decoder", as JSON text.

    sizes: the widths from input to output; df: degrees of freedom, null for the Gaussian; data: base64 of, first, the scale
    and bias of layer after layer (float32, little-endian), then the weights of layer after layer, row by row (int8). ValueError
    for another kind of model, family or part.
    """
    _check(model)
    one_of("part", part, "encoder", "decoder")
    if not isinstance(model.family, (Gaussian, StudentT)):
        raise ValueError(f"a page can hold models of the families Gaussian and StudentT, got {model.family!r}")
    layers = list(_layers(model, part))
    floats = b"".join(array.astype("<f4").tobytes() for _, _, scale, bias in layers for array in (scale, bias))
    data = base64.b64encode(floats + b"".join(whole.tobytes() for _, whole, _, _ in layers)).decode()
    sizes = [layers[0][1].shape[1], *(len(whole) for _, whole, _, _ in layers)]
    return json.dumps({"sizes": sizes, "df": getattr(model.family, "df", None), "data": data})


def pack_grey(images):
    """Images with pixels in [0, 1] in 16 grey levels, as base64 text; training.js reads it.

    Half-bytes, the higher half of a byte first: the level of a pixel, 1 to 15; or 0 and then the length, less one, of a run of at
    most 16 black pixels. ValueError if a pixel lies outside [0, 1].
    """
    images = finite("images", images)
    if images.size and not 0 <= images.min() <= images.max() <= 1:
        raise ValueError(f"pixels must lie in [0, 1], got values from {images.min():g} to {images.max():g}")
    halves, run = [], 0
    for level in [*np.round(15 * images).astype(int).ravel().tolist(), None]:
        if run and (level != 0 or run == 16):
            halves += [0, run - 1]
            run = 0
        if level == 0:
            run += 1
        elif level is not None:
            halves.append(level)
    halves += [0] * (len(halves) % 2)
    return base64.b64encode(bytes(16 * high + low for high, low in zip(halves[::2], halves[1::2], strict=True))).decode()


RIDGE = 0.08  # added to each variance, as a share of it: rounding to one byte would otherwise cost the matrix its inverse


def fit_gaussian(images):
    """A Gaussian fitted to images (n, D): mean (D,), the pixels whose standard deviation exceeds 0.02, their covariance.

    The correlations are rounded to one byte and the variances raised by RIDGE, as the page has them.
    """
    images = np.asarray(images, float)
    mean, sd = images.mean(axis=0), images.std(axis=0)
    pixels = np.flatnonzero(sd > 0.02)
    correlation = np.round(127 * np.corrcoef(images[:, pixels].T)) / 127
    np.fill_diagonal(correlation, 1 + RIDGE)
    return mean, pixels, correlation * np.outer(sd[pixels], sd[pixels])


def pack_gaussian(images):
    """The Gaussian of `fit_gaussian` as JSON text.

    pixels; ridge; data: base64 of the mean of every pixel and the standard deviation of those in `pixels` (float32), then the
    correlations below the diagonal, row by row, times 127 (int8).
    """
    mean, pixels, covariance = fit_gaussian(images)
    sd = np.sqrt(np.diag(covariance) / (1 + RIDGE))
    whole = np.round(127 * covariance / np.outer(sd, sd)).astype(np.int16)
    below = whole[np.tril_indices(len(pixels), -1)].astype(np.int8)
    data = b"".join(part.tobytes() for part in (mean.astype("<f4"), sd.astype("<f4"), below))
    return json.dumps({"pixels": pixels.tolist(), "ridge": RIDGE, "data": base64.b64encode(data).decode()})
