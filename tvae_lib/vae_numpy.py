"""The variational autoencoder in NumPy, with backpropagation written by hand (chapter 04).

The encoder maps an image x to mu and logvar, noise eps gives z = mu + sigma * eps, the decoder maps z to the logits of
Bernoulli pixels. Which latent family is used shows in one object only, `family`.

Every public method passes its arguments through `inputs` in its first line; below that line nothing is checked but the weights.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tvae_lib import inputs
from tvae_lib.latent import Gaussian, kl_and_grad
from tvae_lib.likelihood import Bernoulli, bernoulli_loss, hide

__all__ = ["VAE", "Loss", "bernoulli_loss", "hide"]


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
    likelihood : Bernoulli (default), Normal or StudentT of `likelihood`
        What the decoder's output says about the pixels.
    mask_input : bool
        Whether the encoder gets, beside the image, a 1 for every missing pixel.

    Attributes
    ----------
    params : dict of str to ndarray
        "encoder.0.weight" of shape (out, in), "encoder.0.bias" of shape (out,), ...: the keys and shapes of PyTorch's state_dict.

    Images x are (B, 784) with pixels in [0, 1]; noise eps and codes z are (B, d), finite and at most 1e15 in size. Pixels that
    are marked in `missing`, bool (B, 784), are 0 for the encoder and left out of the loss, whatever x holds there; with
    all_pixels=True they stay in the loss.
    """

    def __init__(self, family, sizes=(784, 400, 128, 10), rng=0, dtype=np.float32, kl=None, likelihood=None, mask_input=False):
        self.family = inputs.check_family(family)
        self.likelihood = Bernoulli() if likelihood is None else inputs.check_likelihood(likelihood)
        self.mask_input = bool(mask_input)
        self.sizes = inputs.check_sizes(sizes)
        self.dtype = inputs.check_dtype(dtype, np.float32, np.float64)
        # The very class: a subclass may have changed the density.
        self.kl = inputs.check_kl(kl, family, default="exact" if type(family) is Gaussian else "sample")
        rng = inputs.generator(rng)
        self.params = {}
        for part, widths in inputs.layer_widths(self).items():
            for i, (n_in, n_out) in enumerate(pairwise(widths)):
                self.params[f"{part}.{i}.weight"] = rng.normal(0, 0.1, (n_out, n_in)).astype(self.dtype)
                self.params[f"{part}.{i}.bias"] = np.zeros(n_out, self.dtype)

    def own(self, array):
        """An array in the precision of the parameters."""
        return array.astype(self.dtype, copy=False)

    def forward(self, part, h):
        """Run one half of the network, "encoder" or "decoder". Returns the input of every layer, then the output of the last."""
        layers = [h]
        depth = len(self.sizes) - 1
        for i in range(depth):
            h = h @ self.params[f"{part}.{i}.weight"].T
            h += self.params[f"{part}.{i}.bias"]
            if i < depth - 1:
                np.maximum(h, 0, out=h)
            layers.append(h)
        return layers

    def backward(self, part, layers, dout, grads=None):
        """Backpropagate dout through one half: fill `grads`, return the gradient for the decoder's input.

        Nobody asks for the gradient for the images, so the encoder spares the product that would give it.
        """
        for i in reversed(range(len(self.sizes) - 1)):
            if grads is not None:
                grads[f"{part}.{i}.weight"] = dout.T @ layers[i]
                grads[f"{part}.{i}.bias"] = dout.sum(axis=0)
            if i > 0 or part == "decoder":
                dout = dout @ self.params[f"{part}.{i}.weight"]
            if i > 0:
                dout *= layers[i] > 0
        return dout

    def encode(self, x, missing=None):
        """Images (B, 784) to mu and logvar, each (B, d)."""
        seen = inputs.encoder_input(x, self, missing)
        return np.split(self.forward("encoder", seen)[-1], 2, axis=1)

    def decode(self, z):
        """Latent codes (B, d) to pixel logits (B, 784), or what else the likelihood makes of the decoder's output."""
        z = inputs.codes(z, self)
        return self.forward("decoder", z)[-1]

    def reconstruct(self, x, eps):
        """Pixel probabilities (B, 784) of the images that the codes z = mu + sigma * eps decode to."""
        _, eps, seen, _ = inputs.batch(x, eps, self)
        mu, logvar = np.split(self.forward("encoder", seen)[-1], 2, axis=1)
        return self.likelihood.mean(self.decode(mu + np.exp(0.5 * logvar) * eps))

    def loss(self, x, eps, missing=None, all_pixels=False):
        """The loss of images x (B, 784) with noise eps (B, d), as a `Loss`.

        FloatingPointError if the weights have diverged so far that mu, logvar or z are NaN or too large for the KL.
        """
        x, eps, seen, hidden = inputs.batch(x, eps, self, missing, all_pixels)
        return self._loss(x, eps, seen, hidden)[0]

    def loss_and_grad(self, x, eps, missing=None, all_pixels=False, kl_weight=1.0):
        """The loss and the gradient of its batch mean (`loss.total`) for every parameter, a dict like `params`.

        With kl_weight the gradient is that of reconstruction + kl_weight * kl. Errors are those of `loss`, and a ValueError if
        there is no image.
        """
        x, eps, seen, hidden = inputs.batch(x, eps, self, missing, all_pixels, at_least=1)
        loss, (enc, dec, sigma_eps, kl_dmu, kl_dlogvar, dout) = self._loss(x, eps, seen, hidden)
        grads, n = {}, len(x)
        dout /= n
        dz = self.backward("decoder", dec, dout, grads)
        dmu = dz + kl_weight * kl_dmu / n
        dlogvar = 0.5 * sigma_eps * dz + kl_weight * kl_dlogvar / n
        dout = np.concatenate([dmu, dlogvar], axis=1, dtype=self.dtype)  # a family may have computed in float64
        self.backward("encoder", enc, dout, grads)
        return loss, grads

    def _loss(self, x, eps, seen, hidden):
        """The loss, and everything the backward pass needs."""
        enc = self.forward("encoder", seen)
        mu, logvar = np.split(inputs.check_encoded(enc[-1]), 2, axis=1)
        with inputs.blame_the_weights():  # before the decoder, in which codes that the KL refuses could overflow
            kl, kl_dmu, kl_dlogvar = kl_and_grad(self.family, self.kl, mu, logvar, eps)
        sigma_eps = np.exp(0.5 * logvar) * eps
        dec = self.forward("decoder", mu + sigma_eps)
        reconstruction, dout = self.likelihood.cost_and_grad(dec[-1], x, hidden)
        return Loss(reconstruction, kl), (enc, dec, sigma_eps, kl_dmu, kl_dlogvar, dout)

    def reconstruction_and_dz(self, x, z, missing=None):
        """-log p(x | z) of each image (B,), and its derivative with respect to the code (B, d).

        Pixels marked in `missing`, bool (B, 784), are left out. ValueError for another mask, or not one code per image.
        """
        x, z = self.own(inputs.images(x, self)), inputs.codes(z, self)
        inputs.check_pairs(x, z)
        missing = None if missing is None else inputs.check_mask(missing, x.shape)
        dec = self.forward("decoder", z)
        cost, dout = self.likelihood.cost_and_grad(dec[-1], x, missing)
        return cost, self.backward("decoder", dec, dout)
