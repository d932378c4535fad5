"""What PyTorch's users do with a model: compile it, differentiate it, halve its precision, move it."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tvae_lib import vae_torch
from tvae_lib.latent import Apart, Gaussian, MultivariateT, Scaled, StudentT
from tvae_lib.likelihood import Normal
from tvae_lib.likelihood import StudentT as TDecoder


class Mine(StudentT):
    """A family that PyTorch does not know: it computes in NumPy."""


FAMILIES = [Gaussian(), StudentT(5), Apart(Gaussian(), StudentT(3)), Scaled(StudentT(3), 0.5), MultivariateT(3), Mine(4)]
SIZES = (20, 16, 3)
cases = [
    pytest.mark.parametrize("kl", ["exact", "sample"]),
    pytest.mark.parametrize("family", FAMILIES, ids=str),
]


def every_case(test):
    for mark in cases:
        test = mark(test)
    return test


def model_and_batch(family, kl, **options):
    torch.manual_seed(1)
    model = vae_torch.VAE(family, SIZES, kl=kl, **options)
    return model, torch.rand(8, 20), torch.randn(8, 3)


@every_case
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_compiled_twice(family, kl):
    torch._dynamo.reset()
    model, x, eps = model_and_batch(family, kl)
    compiled = torch.compile(model, backend="eager")
    for n in (8, 8, 5):  # the second call used to fail; the third has another shape
        expected = model.loss(x[:n], eps[:n]).total
        assert compiled(x[:n], eps[:n]).total.item() == pytest.approx(expected.item(), rel=1e-5)
    compiled(x, eps).total.backward()
    _, grads = model.loss_and_grad(x, eps)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", [Normal(0.5), Normal(), TDecoder(4, 0.5)], ids=str)
def test_compiled_with_another_likelihood(likelihood):
    torch._dynamo.reset()
    model, x, eps = model_and_batch(Gaussian(), None, likelihood=likelihood, mask_input=True)
    torch.compile(model, backend="eager")(x, eps).total.backward()
    _, grads = model.loss_and_grad(x, eps)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-4, atol=1e-5)


@every_case
def test_torch_func_grad(family, kl):
    model, x, eps = model_and_batch(family, kl)
    params = dict(model.named_parameters())
    found = torch.func.grad(lambda params: torch.func.functional_call(model, params, (x, eps)).total)(params)
    for name, grad in model.loss_and_grad(x, eps)[1].items():
        torch.testing.assert_close(found[name], grad, rtol=1e-5, atol=1e-6)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(family, kl, dtype):
    """The KL is computed in single precision; it used to say that the weights had diverged."""
    model, x, eps = model_and_batch(family, kl)
    expected, grads = model.loss_and_grad(x, eps)
    with torch.autocast("cpu", dtype=dtype):
        mixed, mixed_grads = model.loss_and_grad(x, eps)
    half = vae_torch.VAE(family, SIZES, kl=kl, dtype=dtype)
    half.load_state_dict(model.state_dict())
    halved, half_grads = half.loss_and_grad(x, eps)
    for loss in (mixed, halved):
        assert loss.total.dtype == torch.float32
        assert loss.total.item() == pytest.approx(expected.total.item(), rel=0.02)
    for name, grad in grads.items():
        for found in (mixed_grads[name], half_grads[name]):
            assert (found.float() - grad).norm() < 0.1 * grad.norm() + 1e-3, name
    half.encoder[0].bias.data[:] = torch.nan
    with pytest.raises(FloatingPointError, match="the encoder puts out NaN or infinity"):
        half.loss(x, eps)


@every_case
def test_inference_mode(family, kl):
    model, x, eps = model_and_batch(family, kl)
    expected, grads = model.loss_and_grad(x, eps)
    cost, dz = model.reconstruction_and_dz(x, eps)
    with torch.inference_mode():
        assert model.loss(x, eps).total.item() == expected.total.item()
        for images in (x, x.clone(), x.numpy()):  # the second is an inference tensor
            loss, found = model.loss_and_grad(images, eps)
            assert loss.total.item() == expected.total.item()
            assert all(torch.equal(found[name], grad) for name, grad in grads.items())
            again = model.reconstruction_and_dz(images, eps.clone())
            assert torch.equal(again[0], cost) and torch.equal(again[1], dz)


class NoFloat64(TorchDispatchMode):
    """A device without float64, as Apple's: "meta" plays it, and a float64 tensor there is an error."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "meta":
                assert tensor.dtype != torch.float64, func
        return out


@pytest.mark.parametrize("family", FAMILIES[:5], ids=str)
def test_densities_on_a_device_without_float64(family):
    with NoFloat64():
        assert vae_torch.log_prob(family, torch.zeros(4, 3, device="meta")).dtype == torch.float32


@pytest.mark.parametrize("df", [1e6, 1e12, 1e15, 1e20])
def test_the_density_of_a_huge_df(df):
    """The constant in the density of t, from two gamma functions in float64, was off by 1.1 at 1e15."""
    z = np.linspace(-4, 4, 9)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-6)):
        found = vae_torch.log_prob(StudentT(df), torch.tensor(z, dtype=dtype))
        np.testing.assert_allclose(found, Gaussian().log_prob(z), atol=max(tolerance, 100 / df), rtol=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_exact_kl_on_a_gpu(family):
    rng = np.random.default_rng(0)
    mu, logvar = (torch.tensor(rng.normal(size=(50, 10)), requires_grad=True) for _ in range(2))
    expected = vae_torch.kl_exact(family, mu, logvar)
    there = [part.detach().cuda().requires_grad_() for part in (mu, logvar)]
    found = vae_torch.kl_exact(family, *there)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-10)
    grads = torch.autograd.grad(expected.sum(), (mu, logvar)), torch.autograd.grad(found.sum(), there)
    for here, away in zip(*grads, strict=True):
        torch.testing.assert_close(away.cpu(), here, rtol=1e-10, atol=1e-10)
