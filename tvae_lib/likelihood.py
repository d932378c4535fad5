"""What the decoder's output says about the pixels: -log p(x | z), its derivative, and the mean of x given z.

It is the second object in which models may differ. Bernoulli is for pixels in [0, 1]; Normal and StudentT, for any numbers,
stand in `tables.likelihoods`.
"""

import numpy as np

from tvae_lib.inputs import check_images, finite, floating
from tvae_lib.tables.likelihoods import Normal, StudentT  # noqa: F401 (for those who import them from here)


class Bernoulli:
    """Pixels in [0, 1], each with a probability of being white; the decoder puts out its logit l = log(pi / (1 - pi))."""

    limits = 0, 1  # of what x may be

    def outputs(self, width):
        """How many numbers the decoder puts out for images of so many pixels."""
        return width

    def cost_and_grad(self, logits, x, missing=None):
        """-log p(x | logits) of each image (B,), and its derivative with respect to the logits, which is pi - x (B, D).

        Pixels marked in `missing`, bool (B, D), are left out. None of these methods checks anything.
        """
        if missing is not None:
            logits, x = hide(logits, x, missing)
        cost, probabilities = cost_and_probabilities(logits, x)
        probabilities -= x
        return cost, probabilities

    def costs(self, logits, x):
        """-log p of every pixel, (B, D); tensors: PyTorch's own is the fastest there."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(logits, x, reduction="none")

    def mean(self, logits, into=None):
        """The probability of white of each pixel, of the shape of the logits; `into` may be the logits themselves."""
        return logits.sigmoid() if hasattr(logits, "detach") else sigmoid(logits, into)

    def sample(self, logits, rng):
        """One draw of each pixel, 0 or 1, of the shape and precision of the logits."""
        return (rng.random(logits.shape, logits.dtype) < sigmoid(logits)).astype(logits.dtype)

    def __repr__(self):
        return "Bernoulli()"


def cost_and_probabilities(logits, x):
    """Each pixel costs log(1 + e^l) - x l. To avoid overflow, log(1 + e^l) is computed as max(l, 0) + log(1 + e^-|l|)."""
    one_plus = 1 + np.exp(-np.abs(logits))  # in (1, 2]
    cost = np.maximum(logits, 0).sum(axis=1) + np.log(one_plus).sum(axis=1) - np.einsum("ij,ij->i", x, logits)
    probabilities = np.exp(np.minimum(logits, 0))  # 1 or e^l; divided by 1 + e^-|l| it is the sigmoid
    probabilities /= one_plus
    return cost, probabilities


def bernoulli_loss(logits, x):
    """-log p(x | logits) summed over the pixels (B,), and the pixel probabilities (B, 784).

    ValueError unless both are (B, 784), the logits finite and at most 1e15 in size (1e120 in float64), and x in [0, 1].
    """
    logits, x = finite("logits", logits), floating("x", x)
    check_images(x, logits.shape[-1] if logits.ndim else 0)
    if logits.shape != x.shape:
        raise ValueError(f"logits and x must have the same shape, got {logits.shape} and {x.shape}")
    return cost_and_probabilities(logits, x)


def hide(logits, x, missing):
    """Logits and pixels with those marked missing made certain and right: they then cost nothing and have no gradient."""
    return np.where(missing, -1e4, logits), np.where(missing, 0, x)


def sigmoid(logits, out=None):
    """1 / (1 + e^-l) as (1 + tanh(l / 2)) / 2: many times faster than `expit` in float32. `out` may be the logits themselves."""
    pi = np.multiply(logits, 0.5, out=out)
    np.tanh(pi, out=pi)
    pi += 1
    pi *= 0.5
    return pi
