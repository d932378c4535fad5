"""Densities and KL terms of the latent families for tensors, with their derivatives for autograd (chapter 05)."""

import math

import torch

from tvae_lib import divergences
from tvae_lib.inputs import check_code, check_eps
from tvae_lib.latent import Apart, Gaussian, MultivariateT, Scaled, StudentT, kl_exact_and_grad, prior_of


def log_prob(family, z):
    """Log of the family's standard density at a tensor z, elementwise, with its derivative for autograd."""
    kind = type(family)  # the very class: a subclass may have changed the density
    if kind is Gaussian:
        return -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    if kind is StudentT:  # the constant in Python's double precision: in float32 that of a large df has no correct digit
        return divergences.log_constant(family.df) - (family.df + 1) / 2 * torch.log1p(z**2 / family.df)
    if kind is MultivariateT:
        return divergences.multivariate_t_log_prob(family.df, z)
    if kind is Scaled:
        return log_prob(family.family, z / family.scale) - math.log(family.scale)
    if kind is Apart:
        return log_prob(family.encoder, z)
    return _log_prob(family, z)


@torch.compiler.disable  # what NumPy computes cannot be compiled
def _log_prob(family, z):
    return LogProb.apply(family, z)[0]


class LogProb(torch.autograd.Function):
    """log_prob of a family that PyTorch does not know: computed in NumPy, and its derivative is the family's score."""

    @staticmethod
    def forward(family, z):
        array = z.numpy(force=True)
        return tuple(torch.as_tensor(f(array), dtype=z.dtype, device=z.device) for f in (family.log_prob, family.score))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dlog_prob, _):
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
    return (log_prob(family, eps) - 0.5 * logvar - log_prob(prior_of(family), z)).sum(dim=-1)


def kl_exact(family, mu, logvar):
    """KL(q || p) of each latent coordinate, exactly. mu, logvar: tensors of one shape, float32 or float64. Returns that shape.

    ValueError as in `latent.kl_exact`.
    """
    check_tensors(mu, logvar)
    check_code(mu, logvar)
    if type(family) is Gaussian:
        return 0.5 * (mu**2 + torch.expm1(logvar) - logvar)
    return _kl_exact(family, mu, logvar)


@torch.compiler.disable
def _kl_exact(family, mu, logvar):
    return ExactKL.apply(family, mu, logvar)[0]


def check_tensors(*tensors):
    """Raise ValueError unless all are tensors of float32 or float64."""
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the KL takes tensors of float32 or float64, got {getattr(tensor, 'dtype', type(tensor).__name__)}")


class ExactKL(torch.autograd.Function):
    """An exact KL that comes from the family with its derivatives, as that of two t's: kl, dkl/dmu, dkl/dlogvar."""

    @staticmethod
    def forward(family, mu, logvar):
        inner = family.family if type(family) is Scaled else family
        if mu.is_cuda and type(inner) in (StudentT, MultivariateT, Apart):  # the very classes: their formulas take tensors
            return tuple(family.kl_exact_and_grad(mu, logvar))
        results = kl_exact_and_grad(family, mu.numpy(force=True), logvar.numpy(force=True))
        return tuple(torch.as_tensor(result, device=mu.device) for result in results)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable  # the saved derivatives are constants: a second pass would come out wrong
    def backward(ctx, dkl, *_):
        dmu, dlogvar = ctx.saved_tensors
        return None, dkl * dmu, dkl * dlogvar
