"""Densities and KL terms of the latent families for tensors, with their derivatives for autograd (chapter 05)."""

import torch
from torch import distributions

from tvae_lib.inputs import check_code, check_eps
from tvae_lib.latent import Gaussian, StudentT, kl_exact_and_grad


def log_prob(family, z):
    """Log of the family's standard density at a tensor z, elementwise, with its derivative for autograd."""
    zero, one = z.new_zeros(()), z.new_ones(())
    # The very class: a subclass may have changed the density.
    if type(family) is Gaussian:
        return distributions.Normal(zero, one, validate_args=False).log_prob(z)
    if type(family) is StudentT:
        df = z.new_tensor(family.df, dtype=torch.float64)  # in float32 the constant of a large df has no correct digit
        return distributions.StudentT(df, zero, one, validate_args=False).log_prob(z)
    return LogProb.apply(family, z)


class LogProb(torch.autograd.Function):
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
    return ExactKL.apply(family, mu, logvar)


def check_tensors(*tensors):
    """Raise ValueError unless all are tensors of float32 or float64."""
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the KL takes tensors of float32 or float64, got {getattr(tensor, 'dtype', type(tensor).__name__)}")


class ExactKL(torch.autograd.Function):
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
