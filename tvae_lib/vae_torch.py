"""The variational autoencoder in PyTorch: the methods of `vae_numpy`, in the same order, with autograd for the gradient.

Read the two files side by side (chapter 05 does). Noise comes from outside here too, so with the same parameters, images and
noise the two give the same loss and the same gradient.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributions, nn

from tvae_lib.inputs import as_array, check_mask, real_array
from tvae_lib.latent import Gaussian, StudentT, check_code, kl_exact_and_grad
from tvae_lib.vae_numpy import Loss, check_codes, check_eps, check_family, check_images, check_kl, check_pairs, check_sizes


class VAE(nn.Module):
    """A VAE with fully connected layers and ReLU between them.

    Parameters
    ----------
    family : Gaussian or StudentT of `latent`, or any object with their methods
        Prior and encoder share this standard density. PyTorch computes the first two itself; another family computes in NumPy,
        and its score tells autograd the derivative.
    sizes : tuple of int
        Widths from image to latent; the decoder mirrors the encoder.
    kl : "exact", "sample" or None
        How the KL term is computed. None: exact for the Gaussian, as in the source project; one draw for t, as there, and for
        every other family.
    dtype, device :
        Where the parameters live and in what precision, e.g. ``device="cuda"``. Inputs are moved to them.

    Notes
    -----
    Weights start as nn.Linear draws them; call torch.manual_seed first to fix them. Images, codes and noise may be NumPy
    arrays or tensors; results are tensors. Errors are those of `vae_numpy.VAE`, and so are the keys and shapes of state_dict().
    """

    no_grad = staticmethod(torch.no_grad)  # lets `train.evaluate`, which serves both back ends, skip the graph

    def __init__(self, family, sizes=(784, 400, 128, 10), kl=None, dtype=torch.float32, device="cpu"):
        super().__init__()
        check_family(family)
        self.family = family
        self.sizes = check_sizes(sizes)
        self.kl = check_kl(kl, family)
        for part, widths in ("encoder", (*self.sizes[:-1], 2 * self.sizes[-1])), ("decoder", self.sizes[::-1]):
            layers = [nn.Linear(n_in, n_out, dtype=dtype, device=device) for n_in, n_out in pairwise(widths)]
            setattr(self, part, nn.ModuleList(layers))

    @property
    def params(self):
        """The parameters, a dict of str to tensor; updating one in place changes the model and leaves no trace in a graph."""
        return {name: param.detach() for name, param in self.named_parameters()}

    def _tensor(self, array):
        """An array or tensor, in the precision and on the device of the parameters."""
        if isinstance(array, np.ndarray) and not (array.flags.carray and array.dtype in (np.float32, np.float64)):
            array = np.array(array, np.float64)  # PyTorch shares no memory that is read-only, reversed or of other numbers
        weight = self.encoder[0].weight
        return torch.as_tensor(array, dtype=weight.dtype, device=weight.device)

    def _images(self, x):
        x = x if isinstance(x, torch.Tensor) else real_array("images", x)
        check_images(x, self.sizes[0])
        return self._tensor(x)

    def _eps(self, eps, shape):
        eps = eps if isinstance(eps, torch.Tensor) else as_array("eps", eps)
        check_eps(eps, shape, self.encoder[0].weight.dtype)
        return self._tensor(eps)

    def _codes(self, z):
        z = z if isinstance(z, torch.Tensor) else real_array("z", z)
        check_codes(z, self.sizes[-1], self.encoder[0].weight.dtype)
        return self._tensor(z)

    def _forward(self, part, h):
        """Run one half of the network and return the output of its last layer."""
        *hidden, last = getattr(self, part)
        for layer in hidden:
            h = F.relu(layer(h))
        return last(h)

    def encode(self, x):
        """Images (B, 784) in [0, 1] to mu and logvar, each (B, d)."""
        return self._forward("encoder", self._images(x)).chunk(2, dim=1)

    def decode(self, z):
        """Latent codes (B, d) to pixel logits (B, 784)."""
        return self._forward("decoder", self._codes(z))

    @torch.no_grad()
    def reconstruct(self, x, eps):
        """Pixel probabilities (B, 784) of the images that the codes z = mu + sigma * eps decode to, without a graph."""
        mu, logvar = self.encode(x)
        eps = self._eps(eps, mu.shape)
        return torch.sigmoid(self.decode(mu + torch.exp(0.5 * logvar) * eps))

    def loss(self, x, eps):
        """The loss of images x (B, 784) with noise eps (B, d), as a `Loss` of tensors: `.total.backward()` works.

        FloatingPointError if the weights have diverged so far that mu, logvar or z are NaN or too large for the KL.
        """
        x = self._images(x)
        eps = self._eps(eps, (len(x), self.sizes[-1]))
        encoded = self._forward("encoder", x)
        if not torch.isfinite(encoded).all():
            raise FloatingPointError("the encoder puts out NaN or infinity: the weights have diverged, try a lower learning rate")
        mu, logvar = encoded.chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * eps
        logits = self._forward("decoder", z)
        try:
            kl = kl_exact(self.family, mu, logvar).sum(dim=1) if self.kl == "exact" else kl_sample(self.family, mu, logvar, eps)
        except ValueError as error:  # x and eps have been checked: it is the weights
            raise FloatingPointError(f"{error}: the weights have diverged, try a lower learning rate") from None
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
        return Loss(reconstruction, kl)

    forward = loss  # so that model(x, eps) and torch.compile(model) mean what a PyTorch user expects

    def loss_and_grad(self, x, eps):
        """The loss and the gradient of its batch mean (`loss.total`) for every parameter, a dict like `params`."""
        names, params = zip(*self.named_parameters(), strict=True)
        with torch.enable_grad():
            loss = self.loss(x, eps)
            grads = torch.autograd.grad(loss.total, params)
        return Loss(loss.reconstruction.detach(), loss.kl.detach()), dict(zip(names, grads, strict=True))

    def reconstruction_and_dz(self, x, z, missing=None):
        """-log p(x | z) of each image (B,), and its derivative with respect to the code (B, d).

        Pixels marked in `missing`, bool (B, 784), are left out.
        """
        x, z = self._images(x), self._codes(z).detach().requires_grad_()
        check_pairs(x, z)
        with torch.enable_grad():
            pixels = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="none")
            if missing is not None:
                missing = torch.tensor(check_mask(missing, x.shape), device=pixels.device)
                pixels = pixels.masked_fill(missing, 0)
            cost = pixels.sum(dim=1)
            (dz,) = torch.autograd.grad(cost.sum(), z)
        return cost.detach(), dz


def log_prob(family, z):
    """Log of the family's standard density at a tensor z, elementwise, with its derivative for autograd."""
    zero, one = z.new_zeros(()), z.new_ones(())
    # The very class: a subclass may have changed the density.
    if type(family) is Gaussian:
        return distributions.Normal(zero, one, validate_args=False).log_prob(z)
    if type(family) is StudentT:
        df = z.new_tensor(family.df, dtype=torch.float64)  # in float32 the constant of a large df has no correct digit
        return distributions.StudentT(df, zero, one, validate_args=False).log_prob(z)
    return _LogProb.apply(family, z)


class _LogProb(torch.autograd.Function):
    """log_prob of a family that PyTorch does not know: computed in NumPy, and its derivative is the family's score."""

    @staticmethod
    def forward(ctx, family, z):
        array = z.numpy(force=True)
        value, score = (torch.as_tensor(f(array), dtype=z.dtype, device=z.device) for f in (family.log_prob, family.score))
        ctx.save_for_backward(score)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dlog_prob):
        (score,) = ctx.saved_tensors
        return None, dlog_prob * score


def kl_sample(family, mu, logvar, eps):
    """One-draw Monte Carlo estimate of KL(q || p) for each row: log q(z) - log p(z) at z = mu + sigma * eps.

    mu, logvar, eps: tensors (B, d), float32 or float64. Returns (B,). ValueError as in `latent.kl_sample`.
    """
    check_tensors(mu, logvar, eps)
    check_code(mu, logvar)
    check_eps(eps, mu.shape, mu.dtype)
    sigma_eps = torch.exp(0.5 * logvar) * eps
    check_eps(sigma_eps, mu.shape, mu.dtype, "sigma * eps")
    z = mu + sigma_eps
    return (log_prob(family, eps) - 0.5 * logvar - log_prob(family, z)).sum(dim=-1)


def kl_exact(family, mu, logvar):
    """KL(q || p) of each latent coordinate, exactly. mu, logvar: tensors of one shape, float32 or float64. Returns that shape.

    ValueError as in `latent.kl_exact`.
    """
    check_tensors(mu, logvar)
    check_code(mu, logvar)
    if type(family) is Gaussian:
        return 0.5 * (mu**2 + torch.expm1(logvar) - logvar)
    return _ExactKL.apply(family, mu, logvar)


def check_tensors(*tensors):
    """Raise ValueError unless all are tensors of float32 or float64."""
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the KL takes tensors of float32 or float64, got {getattr(tensor, 'dtype', type(tensor).__name__)}")


class _ExactKL(torch.autograd.Function):
    """An exact KL that PyTorch does not know, as that of two t's: value and derivatives come from the family, in NumPy."""

    @staticmethod
    def forward(ctx, family, mu, logvar):
        arrays = kl_exact_and_grad(family, mu.numpy(force=True), logvar.numpy(force=True))
        kl, dmu, dlogvar = (torch.as_tensor(array, device=mu.device) for array in arrays)
        ctx.save_for_backward(dmu, dlogvar)
        return kl

    @staticmethod
    @torch.autograd.function.once_differentiable  # the saved derivatives are constants: a second pass would come out wrong
    def backward(ctx, dkl):
        dmu, dlogvar = ctx.saved_tensors
        return None, dkl * dmu, dkl * dlogvar
