"""Fill in missing pixels with a trained model of either back end.

Every method takes images x (n, 784), a mask `missing` (bool, True = missing) and a seed, and returns predicted pixel
probabilities for ALL pixels, (n, 784); `fill` then keeps the observed ones. Values of x under the mask are never looked at.
"""

import numbers

import numpy as np

CHUNK = 500  # images at a time: small enough for the processor's cache, large enough for fast matrix products


def _check(model, x, missing, draws):
    x, missing = np.asarray(x), np.asarray(missing)
    if x.ndim != 2 or x.shape[1] != model.sizes[0]:
        raise ValueError(f"x must have shape (n, {model.sizes[0]}), got {x.shape}")
    if missing.shape != x.shape or missing.dtype != bool:
        raise ValueError(f"missing must be bool of shape {x.shape}, got {missing.dtype} of shape {missing.shape}")
    if not isinstance(draws, numbers.Integral) or draws < 1:
        raise ValueError(f"draws must be a whole number, 1 or more, got {draws!r}")
    return x, missing


def _numpy(array):
    return array.detach().cpu().numpy() if hasattr(array, "detach") else array


def _encode(model, x):
    mu, logvar = (_numpy(part) for part in model.encode(x))
    return mu, np.exp(0.5 * logvar)


def _decode(model, mu, sigma, rng):
    """Pixel probabilities for one draw of the code of each image."""
    eps = model.family.sample(rng, mu.shape).astype(mu.dtype)
    return _sigmoid(_numpy(model.decode(mu + sigma * eps)))


def _sigmoid(logits):
    """1 / (1 + e^-l), written over the logits, as (1 + tanh(l / 2)) / 2: many times faster than `expit` in float32."""
    logits *= 0.5
    np.tanh(logits, out=logits)
    logits += 1
    logits *= 0.5
    return logits


def _chunks(x, missing):
    """Slices of CHUNK images with the missing pixels set to 0, as the encoder will see them."""
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        yield rows, np.where(missing[rows], 0, x[rows]).astype(np.float32), missing[rows]


def single_pass(model, x, missing, *, draws=30, seed=0):
    """The source project's method: encode the image with zeros where pixels are missing, average the decodings of `draws` codes.

    Returns (n, 784). Cost: `draws` decodings and, since the encoder always sees the same image, one encoding.
    """
    x, missing = _check(model, x, missing, draws)
    rng = np.random.default_rng(seed)
    prediction = np.zeros(x.shape, np.float32)
    for rows, zeroed, _ in _chunks(x, missing):
        mu, sigma = _encode(model, zeroed)
        for _ in range(draws):
            prediction[rows] += _decode(model, mu, sigma, rng)
    prediction /= draws
    return prediction


def pseudo_gibbs(model, x, missing, *, draws=30, seed=0):
    """Feed the filled-in image back to the encoder, `draws` times (Rezende et al. 2014, appendix F).

    Each pass encodes the current image, draws one code, and replaces the missing pixels by the decoded probabilities.
    The prediction is the average over the second half of the passes, when the encoder no longer sees the zeros of the start.
    Returns (n, 784). Cost: `draws` encodings and decodings.
    """
    x, missing = _check(model, x, missing, draws)
    rng = np.random.default_rng(seed)
    prediction = np.zeros(x.shape, np.float32)
    first_kept = draws // 2
    for rows, image, hidden in _chunks(x, missing):
        for draw in range(draws):
            probabilities = _decode(model, *_encode(model, image), rng)
            np.copyto(image, probabilities, where=hidden)
            if draw >= first_kept:
                prediction[rows] += probabilities
    prediction /= draws - first_kept
    return prediction


def fill(x, missing, prediction):
    """The images with only their missing pixels replaced by the prediction, (n, 784)."""
    shapes = np.shape(x), np.shape(missing), np.shape(prediction)
    if len(set(shapes)) > 1:
        raise ValueError("x, missing and prediction must have one shape, got {}, {} and {}".format(*shapes))
    if np.asarray(missing).dtype != bool:
        raise ValueError(f"missing must be bool, got {np.asarray(missing).dtype}")
    return np.where(missing, prediction, x)
