"""The variational autoencoder in PyTorch: the methods of `vae_numpy`, in the same order, with autograd for the gradient.

Read the two files side by side (chapter 05 does). Noise comes from outside here too, so with the same parameters, images and
noise the two give the same loss and the same gradient.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tvae_lib import inputs
from tvae_lib.divergences.torch import ExactKL, kl_exact, kl_sample, log_prob
from tvae_lib.latent import Gaussian
from tvae_lib.likelihood import Bernoulli
from tvae_lib.vae_numpy import Loss

__all__ = ["VAE", "ExactKL", "kl_exact", "kl_sample", "log_prob"]


class VAE(nn.Module):
    """The model of `vae_numpy.VAE`: its docstring says what family, sizes and kl are. Errors and parameters' names are the same.

    dtype and device say where the parameters live and in what precision, e.g. ``device="cuda"``. Images, codes and noise may be
    arrays or tensors and are moved there. Weights start as nn.Linear draws them; call torch.manual_seed first to fix them.
    """

    no_grad = staticmethod(torch.no_grad)  # lets `train.evaluate`, which serves both back ends, skip the graph
    tensors = True  # those that are given to it stay tensors

    def __init__(
        self, family, sizes=(784, 400, 128, 10), kl=None, dtype=torch.float32, device="cpu", likelihood=None, mask_input=False
    ):
        super().__init__()
        self.family = inputs.check_family(family)
        self.likelihood = Bernoulli() if likelihood is None else inputs.check_likelihood(likelihood)
        self.mask_input = bool(mask_input)
        self.sizes = inputs.check_sizes(sizes)
        # The very class: a subclass may have changed the density.
        self.kl = inputs.check_kl(kl, family, default="exact" if type(family) is Gaussian else "sample")
        for part, widths in inputs.layer_widths(self).items():
            layers = [nn.Linear(n_in, n_out, dtype=dtype, device=device) for n_in, n_out in pairwise(widths)]
            setattr(self, part, nn.ModuleList(layers))

    @property
    def params(self):
        """The parameters, a dict of str to tensor; updating one in place changes the model and leaves no trace in a graph."""
        return {name: param.detach() for name, param in self.named_parameters()}

    @property
    def dtype(self):
        return self.encoder[0].weight.dtype

    def own(self, array):
        """An array or tensor in the precision and on the device of the parameters."""
        if isinstance(array, np.ndarray) and not (array.flags.carray and array.dtype in (np.float32, np.float64)):
            array = np.array(array, np.float64)  # PyTorch shares no memory that is read-only, reversed or of other numbers
        tensor = torch.as_tensor(array, dtype=self.dtype, device=self.encoder[0].weight.device)
        return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor

    def run(self, part, h):
        """Run one half of the network, "encoder" or "decoder", and return the output of its last layer."""
        *hidden, last = getattr(self, part)
        for layer in hidden:
            h = F.relu(layer(h))
        return last(h)

    def encode(self, x, missing=None):
        """Images (B, 784) to mu and logvar, each (B, d)."""
        return self.run("encoder", inputs.encoder_input(x, self, missing)).chunk(2, dim=1)

    def decode(self, z):
        """Latent codes (B, d) to pixel logits (B, 784), or what else the likelihood makes of the decoder's output."""
        return self.run("decoder", inputs.codes(z, self))

    @torch.no_grad()
    def reconstruct(self, x, eps):
        """Pixel probabilities (B, 784) of the images that the codes z = mu + sigma * eps decode to, without a graph."""
        _, eps, seen, _ = inputs.batch(x, eps, self)
        mu, logvar = self.run("encoder", seen).chunk(2, dim=1)
        out = self.decode(mu + torch.exp(0.5 * logvar) * eps)
        return self.likelihood.mean(out)

    def loss(self, x, eps, missing=None, all_pixels=False):
        """The loss of images x (B, 784) with noise eps (B, d), as a `Loss` of tensors: `.total.backward()` works.

        FloatingPointError if the weights have diverged so far that mu, logvar or z are NaN or too large for the KL.
        """
        x, eps, seen, hidden = inputs.batch(x, eps, self, missing, all_pixels)
        mu, logvar = single(inputs.check_encoded(self.run("encoder", seen))).chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * single(eps)
        out = self.run("decoder", z.to(x.dtype))
        with inputs.blame_the_weights():
            if self.kl == "exact":
                kl = kl_exact(self.family, mu, logvar).sum(dim=1)
            else:
                kl = kl_sample(self.family, mu, logvar, single(eps))
        return Loss(pixel_costs(self.likelihood, single(out), single(x), hidden).sum(dim=1), kl)

    forward = loss  # so that model(x, eps) and torch.compile(model) mean what a PyTorch user expects

    def loss_and_grad(self, x, eps, missing=None, all_pixels=False, kl_weight=1.0):
        """The loss and the gradient of its batch mean (`loss.total`) for every parameter, a dict like `params`.

        With kl_weight the gradient is that of reconstruction + kl_weight * kl.
        """
        names, params = zip(*self.named_parameters(), strict=True)
        with torch.inference_mode(False), torch.enable_grad():
            loss = self.loss(x, eps) if missing is None else self.loss(x, eps, missing, all_pixels)
            total = loss.total if kl_weight == 1 else Loss(loss.reconstruction, kl_weight * loss.kl).total
            grads = torch.autograd.grad(total, params)
        return Loss(loss.reconstruction.detach(), loss.kl.detach()), dict(zip(names, grads, strict=True))

    def reconstruction_and_dz(self, x, z, missing=None):
        """-log p(x | z) of each image (B,), and its derivative with respect to the code (B, d).

        Pixels marked in `missing`, bool (B, 784), are left out.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x, z = self.own(inputs.images(x, self)), inputs.codes(z, self).detach().requires_grad_()
            inputs.check_pairs(x, z)
            missing = None if missing is None else inputs.check_mask(missing, x.shape)
            cost = pixel_costs(self.likelihood, self.decode(z), x, missing).sum(dim=1)
            (dz,) = torch.autograd.grad(cost.sum(), z)
        return cost.detach(), dz


def pixel_costs(likelihood, out, x, missing=None):
    """-log p of every pixel (B, D) given the decoder's output, 0 where it is missing."""
    costs = likelihood.costs(out, x)
    return costs if missing is None else costs.masked_fill(torch.tensor(missing, device=costs.device), 0)


def single(tensor):
    """At least single precision: half is enough for matrix products, not for a loss."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
