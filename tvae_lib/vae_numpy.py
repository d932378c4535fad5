"""The variational autoencoder in NumPy, with backpropagation written by hand (chapter 04).

The encoder maps an image x to mu and logvar, noise eps gives z = mu + sigma * eps, the decoder maps z to the logits of
Bernoulli pixels. Which latent family is used shows in one object only, `family`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit

from tvae_lib.inputs import as_array, check_dtype, check_mask, finite, floating, generator, largest, real_array, said, whole
from tvae_lib.latent import Gaussian, kl_exact_and_grad, kl_sample_and_grad


@dataclass
class Loss:
    """The two terms of the loss for each image, in nats: reconstruction (B,) and kl (B,)."""

    reconstruction: np.ndarray
    kl: np.ndarray

    @property
    def total(self):
        """Mean over the batch of reconstruction + kl: the number that training makes small. ValueError if there is no image."""
        if not len(self.kl):
            raise ValueError("a mean loss needs at least one image, got none")
        return (self.reconstruction + self.kl).mean()


def check_sizes(sizes):
    """Return the layer widths as a tuple, or raise ValueError."""
    try:
        widths = tuple(whole("width", width, 1) for width in sizes)
    except (TypeError, ValueError):  # not iterable, or not whole numbers
        widths = ()
    if len(widths) < 2:
        raise ValueError(f"sizes must be at least two positive whole numbers, images first, latent last, got {said(sizes)}")
    return widths


def check_images(x, width):
    """Raise ValueError unless x, an array or tensor, is (n, width) with pixels in [0, 1]."""
    if _kind(x) not in "biuf":
        raise ValueError(f"images must hold real numbers, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"images must have shape (n, {width}), got {tuple(x.shape)}")
    if len(x) and not (x.min() >= 0 and x.max() <= 1):  # a NaN fails both comparisons
        raise ValueError(f"pixels must lie in [0, 1], got values from {x.min():g} to {x.max():g}")


def check_eps(eps, shape, dtype, name="eps"):
    """Raise ValueError unless eps, an array or tensor, is floating point of the given shape, and not too large for a dtype."""
    if tuple(eps.shape) != tuple(shape) or _kind(eps) != "f":
        raise ValueError(f"{name} must be floating point of shape {tuple(shape)}, got {eps.dtype} of shape {tuple(eps.shape)}")
    if not (abs(eps) <= largest(dtype)).all():
        raise ValueError(f"{name} must be finite and at most {largest(dtype):g} in size in {dtype}, got more or NaN")


def check_codes(z, width, dtype):
    """Raise ValueError unless z, an array or tensor, is (n, width) with numbers that are not too large for a dtype."""
    if z.ndim != 2 or z.shape[1] != width or _kind(z) not in "biuf":
        raise ValueError(f"z must hold real numbers, shape (n, {width}), got {z.dtype} of shape {tuple(z.shape)}")
    if not (abs(z) <= largest(dtype)).all():
        raise ValueError(f"z must be finite and at most {largest(dtype):g} in size in {dtype}, got more or NaN")


def check_pairs(x, z):
    """Raise ValueError unless there are as many images as codes."""
    if len(x) != len(z):
        raise ValueError(f"x and z must have the same number of rows, got {len(x)} and {len(z)}")


def _kind(x):
    """The kind of numbers in an array or a tensor by NumPy's letter: f floating point, c complex, i and others."""
    if hasattr(x.dtype, "kind"):
        return x.dtype.kind
    return "f" if x.dtype.is_floating_point else "c" if x.dtype.is_complex else "i"


def check_family(family):
    """Raise ValueError unless family is an object with the three methods that every model needs."""
    if isinstance(family, type):
        raise ValueError(f"family must be an object, got the class {family.__name__}; call it: {family.__name__}(...)")
    missing = [name for name in ("sample", "log_prob", "score") if not callable(getattr(family, name, None))]
    if missing:
        raise ValueError(
            f"family must have the methods sample, log_prob and score, got {said(family)} without {', '.join(missing)}"
        )


def check_kl(kl, family):
    """Return "exact" or "sample"; None stands for the source project's choice: exact for the Gaussian, sampled for t."""
    if kl is None:
        return "exact" if type(family) is Gaussian else "sample"  # a subclass may have changed the density
    if not isinstance(kl, str) or kl not in ("exact", "sample"):
        raise ValueError(f'kl must be "exact", "sample" or None, got {said(kl)}')
    if kl == "exact" and not hasattr(family, "kl_exact_and_grad"):
        hint = 'has no method kl_exact_and_grad(mu, logvar); kl="sample" does without'
        raise ValueError(f'kl="exact" is not possible: {type(family).__name__} {hint}')
    return kl


class VAE:
    """A VAE with fully connected layers and ReLU between them.

    Parameters
    ----------
    family : Gaussian, StudentT, or any object with their methods (see `latent`)
        Prior and encoder share this standard density.
    sizes : tuple of int
        Widths from image to latent; the decoder mirrors the encoder. (784, 400, 128, 10) is 784-400-128-(10+10), 10-128-400-784.
    rng : np.random.Generator or a seed, a whole number
        Draws the weights, normal(0, 0.1); biases start at 0.
    dtype : numpy dtype
        float32 to train, float64 to check gradients.
    kl : "exact", "sample" or None
        How the KL term is computed. None: exact for the Gaussian, as in the source project; one draw for t, as there, and for
        every other family.

    Attributes
    ----------
    params : dict of str to ndarray
        "encoder.0.weight" of shape (out, in), "encoder.0.bias" of shape (out,), ...: the keys and shapes of PyTorch's state_dict.

    Notes
    -----
    Everything that takes images, noise or codes raises ValueError unless images are (B, 784) with pixels in [0, 1], and noise and
    codes (B, d), finite and at most 1e15 in size (1e120 in float64). Noise must be floating point.
    """

    def __init__(self, family, sizes=(784, 400, 128, 10), rng=0, dtype=np.float32, kl=None):
        check_family(family)
        self.family = family
        self.sizes = check_sizes(sizes)
        self.dtype = check_dtype(dtype, np.float32, np.float64)
        self.kl = check_kl(kl, family)
        rng = generator(rng)
        self.params = {}
        for part, widths in ("encoder", (*self.sizes[:-1], 2 * self.sizes[-1])), ("decoder", self.sizes[::-1]):
            for i, (n_in, n_out) in enumerate(pairwise(widths)):
                self.params[f"{part}.{i}.weight"] = rng.normal(0, 0.1, (n_out, n_in)).astype(self.dtype)
                self.params[f"{part}.{i}.bias"] = np.zeros(n_out, self.dtype)

    def _images(self, x):
        x = real_array("images", x)
        check_images(x, self.sizes[0])
        return x.astype(self.dtype, copy=False)

    def _eps(self, eps, shape):
        eps = as_array("eps", eps)
        check_eps(eps, shape, self.dtype)
        return eps.astype(self.dtype, copy=False)

    def _codes(self, z):
        z = real_array("z", z)
        check_codes(z, self.sizes[-1], self.dtype)
        return z.astype(self.dtype, copy=False)

    def _forward(self, part, h):
        """Run one half of the network. Returns the input of every layer, then the output of the last."""
        layers = [h]
        depth = len(self.sizes) - 1
        for i in range(depth):
            h = h @ self.params[f"{part}.{i}.weight"].T
            h += self.params[f"{part}.{i}.bias"]
            if i < depth - 1:
                np.maximum(h, 0, out=h)
            layers.append(h)
        return layers

    def _backward(self, part, layers, dout, grads, need_input=True):
        """Backpropagate dout through one half: fill `grads` (unless None), return the gradient with respect to the input."""
        for i in reversed(range(len(self.sizes) - 1)):
            if grads is not None:
                grads[f"{part}.{i}.weight"] = dout.T @ layers[i]
                grads[f"{part}.{i}.bias"] = dout.sum(axis=0)
            if i > 0 or need_input:
                dout = dout @ self.params[f"{part}.{i}.weight"]
            if i > 0:
                dout *= layers[i] > 0
        return dout

    def encode(self, x):
        """Images (B, 784) in [0, 1] to mu and logvar, each (B, d)."""
        return np.split(self._forward("encoder", self._images(x))[-1], 2, axis=1)

    def decode(self, z):
        """Latent codes (B, d) to pixel logits (B, 784)."""
        return self._forward("decoder", self._codes(z))[-1]

    def reconstruct(self, x, eps):
        """Pixel probabilities (B, 784) of the images that the codes z = mu + sigma * eps decode to."""
        mu, logvar = self.encode(x)
        return expit(self.decode(mu + np.exp(0.5 * logvar) * self._eps(eps, mu.shape)))

    def loss(self, x, eps):
        """The loss of images x (B, 784) with noise eps (B, d), as a `Loss`.

        FloatingPointError if the weights have diverged so far that mu, logvar or z are NaN or too large for the KL.
        """
        return self._loss(self._images(x), eps)[0]

    def _loss(self, x, eps):
        """The loss, and everything the backward pass needs."""
        eps = self._eps(eps, (len(x), self.sizes[-1]))
        enc = self._forward("encoder", x)
        if not np.isfinite(enc[-1]).all():
            raise FloatingPointError("the encoder puts out NaN or infinity: the weights have diverged, try a lower learning rate")
        mu, logvar = np.split(enc[-1], 2, axis=1)
        try:  # before the decoder, in which codes that the KL refuses could overflow
            if self.kl == "exact":
                kl, kl_dmu, kl_dlogvar = kl_exact_and_grad(self.family, mu, logvar)
                kl = kl.sum(axis=1)
            else:
                kl, kl_dmu, kl_dlogvar = kl_sample_and_grad(self.family, mu, logvar, eps)
        except ValueError as error:  # x and eps have been checked: it is the weights
            raise FloatingPointError(f"{error}: the weights have diverged, try a lower learning rate") from None
        sigma_eps = np.exp(0.5 * logvar) * eps
        dec = self._forward("decoder", mu + sigma_eps)
        reconstruction, probabilities = _bernoulli_loss(dec[-1], x)
        return Loss(reconstruction, kl), (enc, dec, sigma_eps, kl_dmu, kl_dlogvar, probabilities)

    def loss_and_grad(self, x, eps):
        """The loss and the gradient of its batch mean (`loss.total`) for every parameter, a dict like `params`.

        Errors are those of `loss`, and a ValueError if there is no image.
        """
        x = self._images(x)
        if not len(x):
            raise ValueError("a gradient needs at least one image, got none")
        loss, (enc, dec, sigma_eps, kl_dmu, kl_dlogvar, probabilities) = self._loss(x, eps)
        grads = {}
        dlogits = probabilities  # the same memory: d reconstruction / d logits = probabilities - x
        dlogits -= x
        dlogits /= len(x)
        dz = self._backward("decoder", dec, dlogits, grads)
        dmu = dz + kl_dmu / len(x)
        dlogvar = 0.5 * sigma_eps * dz + kl_dlogvar / len(x)
        dout = np.concatenate([dmu, dlogvar], axis=1, dtype=self.dtype)  # a family may have computed in float64
        self._backward("encoder", enc, dout, grads, need_input=False)
        return loss, grads

    def reconstruction_and_dz(self, x, z, missing=None):
        """-log p(x | z) of each image (B,), and its derivative with respect to the code (B, d).

        Pixels marked in `missing`, bool (B, 784), are left out. ValueError for another mask, or not one code per image.
        """
        x, z = self._images(x), self._codes(z)
        check_pairs(x, z)
        dec = self._forward("decoder", z)
        logits, x = (dec[-1], x) if missing is None else hide(dec[-1], x, check_mask(missing, x.shape))
        cost, probabilities = _bernoulli_loss(logits, x)
        return cost, self._backward("decoder", dec, probabilities - x, None)


def hide(logits, x, missing):
    """Logits and pixels with those marked missing made certain and right: they then cost nothing and have no gradient."""
    return np.where(missing, -1e4, logits), np.where(missing, 0, x)


def bernoulli_loss(logits, x):
    """-log p(x | logits) summed over the pixels (B,), and the pixel probabilities (B, 784).

    Each pixel costs log(1 + e^l) - x l. To avoid overflow, log(1 + e^l) is computed as max(l, 0) + log(1 + e^-|l|).
    ValueError unless both are (B, 784), the logits finite and at most 1e15 in size (1e120 in float64), and x in [0, 1].
    """
    logits, x = finite("logits", logits), floating("x", x)
    check_images(x, logits.shape[-1] if logits.ndim else 0)
    if logits.shape != x.shape:
        raise ValueError(f"logits and x must have the same shape, got {logits.shape} and {x.shape}")
    return _bernoulli_loss(logits, x)


def _bernoulli_loss(logits, x):
    """`bernoulli_loss` without the checks, for every step of the training."""
    one_plus = 1 + np.exp(-np.abs(logits))  # in (1, 2]
    cost = np.maximum(logits, 0).sum(axis=1) + np.log(one_plus).sum(axis=1) - np.einsum("ij,ij->i", x, logits)
    probabilities = np.exp(np.minimum(logits, 0))  # 1 or e^l; divided by 1 + e^-|l| it is the sigmoid
    probabilities /= one_plus
    return cost, probabilities
