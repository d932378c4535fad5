"""Encoder and prior apart, scaled families and the multivariate t: against SciPy, quadrature, Monte Carlo and differences."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from tvae_lib import checkpoint, divergences, impute, outliers, vae_numpy, vae_torch
from tvae_lib.latent import (
    Apart,
    Gaussian,
    MultivariateT,
    Scaled,
    StudentT,
    kl_exact,
    kl_exact_and_grad,
    kl_sample,
    kl_sample_and_grad,
    prior_of,
)

UNIT = Scaled(StudentT(3), 3**-0.5)
PAIRS = [Apart(Gaussian(), StudentT(3)), Apart(StudentT(3), Gaussian()), Apart(StudentT(5), StudentT(3)), UNIT]
PAIRS += [Apart(Gaussian(), Gaussian()), Apart(StudentT(4), StudentT(4)), Apart(StudentT(2.5), StudentT(50))]
WHOLE = [MultivariateT(df) for df in (0.5, 3, 21)]
names = {"ids": str}


def scipy_s(family):
    """SciPy's densities of the encoder's noise and of the prior."""
    if isinstance(family, Apart):
        return scipy_s(family.encoder)[0], scipy_s(family.prior)[1]
    if isinstance(family, Scaled):
        return (stats.t(family.family.df, scale=family.scale),) * 2
    return (stats.norm() if isinstance(family, Gaussian) else stats.t(family.df),) * 2


def differences(f, x, h=1e-4):
    """Central differences of f, of order h^4, with respect to every entry of x."""
    slopes = np.empty_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        slopes[index] = (8 * (f(x + step) - f(x - step)) - (f(x + 2 * step) - f(x - 2 * step))) / (12 * h)
    return slopes


@pytest.mark.parametrize("family", PAIRS, **names)
def test_exact_kl_is_the_integral(family):
    noise, prior = scipy_s(family)
    mu, sigma = np.array([-4.0, -0.3, 0.0, 1.5]), np.array([0.5, 0.1, 1.0, 0.8])
    kl, dmu, dlogvar = kl_exact_and_grad(family, mu, 2 * np.log(sigma))
    cuts = [-np.inf, -30, 0, 30, np.inf]
    for index in np.ndindex(mu.shape):

        def integrand(eps, m=mu[index], s=sigma[index]):
            return noise.pdf(eps) * (noise.logpdf(eps) - np.log(s) - prior.logpdf(m + s * eps))

        value = sum(integrate.quad(integrand, *piece, limit=300, epsabs=1e-8)[0] for piece in pairwise(cuts))
        assert kl[index] == pytest.approx(value, abs=1e-4)
    logvar = 2 * np.log(sigma)
    assert kl.min() > -1e-9
    np.testing.assert_allclose(dmu, differences(lambda m: kl_exact(family, m, logvar).sum(), mu), atol=1e-7)
    np.testing.assert_allclose(dlogvar, differences(lambda v: kl_exact(family, mu, v).sum(), logvar), atol=1e-7)


def test_gauss_and_hermite_s_rule_at_the_scales_that_models_have():
    """The error grows with sigma; up to 1 it is below 1e-6."""
    family, prior = Apart(Gaussian(), StudentT(3)), stats.t(3)
    for mu, sigma in ((0.0, 1.0), (0.7, 1.0), (3.0, 0.9), (-1.0, 0.3)):
        value = integrate.quad(lambda e, m=mu, s=sigma: -stats.norm.pdf(e) * prior.logpdf(m + s * e), -12, 12, epsabs=1e-12)[0]
        expected = value - np.log(sigma) - stats.norm.entropy()
        assert kl_exact(family, np.array([mu]), np.array([2 * np.log(sigma)]))[0] == pytest.approx(expected, abs=1e-6)


def test_without_an_exact_kl(refuses):
    for family in (
        Apart(StudentT(2), Gaussian()),
        Apart(Gaussian(), MultivariateT(3)),
        Apart(Scaled(StudentT(3), 2), Gaussian()),
    ):
        assert not hasattr(family, "kl_exact_and_grad")
        assert vae_numpy.VAE(family, (6, 2)).kl == "sample"
        with refuses("offers no exact KL: none is known of|offers no exact KL: the KL of .* is infinite"):
            vae_numpy.VAE(family, (6, 2), kl="exact")
    with refuses("the exact KL of the multivariate t needs df from 0.1 to 1e5, got 1e.06: take kl_sample"):
        kl_exact(MultivariateT(1e6), np.zeros((2, 3)), np.zeros((2, 3)))
    with refuses(r"codes of a density over whole codes must have shape \(B, d\), got \(3,\)"):
        kl_exact(MultivariateT(3), np.zeros(3), np.zeros(3))
    with refuses(r"codes of a density over whole codes must have shape \(..., d\), got \(\)"):
        MultivariateT(3).log_prob(0.0)
    for bad in (0, -1, np.nan, np.inf):
        with refuses("scale must be a number from 1e-6 to 1e6, got"):
            Scaled(Gaussian(), bad)
    with refuses("family must have the methods sample, log_prob and score"):
        Apart(Gaussian(), 3)


def test_the_unit_variance_control_has_unit_variance():
    draws = UNIT.sample(np.random.default_rng(0), 400_000)
    assert stats.kstest(draws[:20_000], stats.t(3, scale=3**-0.5).cdf).pvalue > 0.01
    assert stats.t(3, scale=UNIT.scale).var() == pytest.approx(1)
    z = np.linspace(-5, 5, 21)
    np.testing.assert_allclose(UNIT.log_prob(z), stats.t.logpdf(z, 3, scale=3**-0.5), rtol=1e-12)
    np.testing.assert_allclose(UNIT.score(z), differences(lambda x: UNIT.log_prob(x).sum(), z), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("family", [*PAIRS, *WHOLE], **names)
def test_the_density_of_tensors(family):
    z = np.random.default_rng(0).normal(0, 3, (6, 4))
    np.testing.assert_allclose(vae_torch.log_prob(family, torch.tensor(z)), family.log_prob(z), rtol=1e-12)


# The multivariate t


@pytest.mark.parametrize("family", WHOLE, **names)
@pytest.mark.parametrize("d", [1, 2, 10])
def test_multivariate_density_score_and_draws(family, d):
    reference = stats.multivariate_t(np.zeros(d), df=family.df, seed=3)
    draws = family.sample(np.random.default_rng(0), (20_000, d))
    assert stats.kstest(draws[:, 0], stats.t(family.df).cdf).pvalue > 0.01
    radius = (draws**2).mean(axis=1)  # of a t, |z|^2 / d has an F distribution
    assert stats.kstest(radius, stats.f(d, family.df).cdf).pvalue > 0.01
    np.testing.assert_array_equal(family.sample(np.random.default_rng(0), (40, 500, d)).reshape(draws.shape), draws)
    z = draws[:50].reshape(5, 10, d)
    assert family.log_prob(z).shape == z.shape
    np.testing.assert_allclose(family.log_prob(z).sum(axis=-1), reference.logpdf(z).reshape(5, 10), rtol=1e-10)
    np.testing.assert_allclose(family.log_prob(z)[..., 0], stats.t.logpdf(z[..., 0], family.df), rtol=1e-10)
    z = z[:3, :2].clip(-30, 30)
    np.testing.assert_allclose(family.score(z), differences(lambda x: family.log_prob(x).sum(), z), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("df", [0.2, 1, 3, 21, 1e3])
def test_multivariate_kl_of_one_coordinate_is_that_of_t(df, rng):
    mu, logvar = rng.normal(0, 2, (40, 1)), rng.normal(-1, 1, (40, 1))
    for found, expected in zip(
        divergences.multivariate_t(df, mu, logvar, tolerance=1e-14), kl_exact_and_grad(StudentT(df), mu, logvar), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * max(1, df))  # the series of t is cut off


@pytest.mark.parametrize("df", [3, 21])
@pytest.mark.parametrize("d", [2, 10])
def test_multivariate_kl_by_400_000_draws(df, d, rng):
    mu, logvar = rng.normal(size=(1, d)), rng.normal(-1, 1, (1, d))
    eps = MultivariateT(df).sample(np.random.default_rng(1), (400_000, d))
    q = stats.multivariate_t(mu[0], np.diag(np.exp(logvar[0])), df=df)
    z = mu + np.exp(logvar / 2) * eps
    draws = q.logpdf(z) - stats.multivariate_t(np.zeros(d), df=df).logpdf(z)
    kl = kl_exact(MultivariateT(df), mu, logvar)
    assert kl.shape == (1, 1)
    assert draws.mean() == pytest.approx(kl[0, 0], abs=4 * draws.std() / np.sqrt(len(draws)))
    sampled = kl_sample(MultivariateT(df), *(np.repeat(part, 1000, axis=0) for part in (mu, logvar)), eps[:1000])
    np.testing.assert_allclose(sampled, draws[:1000], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", WHOLE, **names)
def test_multivariate_kl_s_gradient(family, rng):
    mu, logvar = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    _, dmu, dlogvar = kl_exact_and_grad(family, mu, logvar)
    np.testing.assert_allclose(dmu, differences(lambda m: kl_exact(family, m, logvar).sum(), mu), atol=1e-7)
    np.testing.assert_allclose(dlogvar, differences(lambda v: kl_exact(family, mu, v).sum(), logvar), atol=1e-7)
    zero = np.zeros((1, 3))
    for part in kl_exact_and_grad(family, zero, zero):
        np.testing.assert_allclose(part, 0, atol=1e-8)
    assert [part.shape for part in kl_exact_and_grad(family, zero[:0], zero[:0])] == [(0, 1), (0, 3), (0, 3)]
    for part in kl_exact_and_grad(family, np.array([[1e15, 0]]), np.array([[-80.0, 80]])):
        assert np.isfinite(part).all()


# Through both models


@pytest.mark.parametrize("kl", ["exact", "sample"])
@pytest.mark.parametrize("family", PAIRS + WHOLE[1:], **names)
def test_network_gradient_and_both_back_ends(family, kl, rng):
    ours = vae_numpy.VAE(family, (7, 5, 3), rng=1, dtype=np.float64, kl=kl)
    for value in ours.params.values():
        value[...] = rng.normal(0, 0.5, value.shape)
    x, eps = rng.random((6, 7)), family.sample(rng, (6, 3))
    loss, grads = ours.loss_and_grad(x, eps)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        model = vae_numpy.VAE(family, (7, 5, 3), dtype=dtype, kl=kl)
        twin = vae_torch.VAE(family, (7, 5, 3), dtype=getattr(torch, np.dtype(dtype).name), kl=kl)
        for each in (model, twin):
            checkpoint.set_params(each, ours.params)
        (loss, grads), (twin_loss, twin_grads) = (each.loss_and_grad(x, eps) for each in (model, twin))
        assert float(twin_loss.total) == pytest.approx(float(loss.total), rel=tolerance)
        for name, grad in grads.items():
            np.testing.assert_allclose(twin_grads[name], grad, atol=tolerance * np.abs(grad).max())
    loss, grads = ours.loss_and_grad(x, eps)
    for name in ("encoder.0.weight", "encoder.1.bias"):
        value = ours.params[name]

        def total(changed, name=name):
            ours.params[name] = changed
            return ours.loss(x, eps).total

        slopes = differences(total, value)
        ours.params[name] = value
        np.testing.assert_allclose(grads[name], slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("family", [StudentT(3), StudentT(2000), *PAIRS[:4], *WHOLE[1:]], **names)
def test_the_formulas_take_tensors(family, rng):
    """On a GPU the exact KL and its derivatives are computed there, by the same formulas."""
    mu, logvar = rng.normal(size=(5, 3)), rng.normal(-1, 1, (5, 3))
    expected = family.kl_exact_and_grad(mu, logvar)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        found = family.kl_exact_and_grad(torch.tensor(mu, dtype=dtype), torch.tensor(logvar, dtype=dtype))
        for tensor, array in zip(found, expected, strict=True):
            assert tensor.dtype == dtype
            np.testing.assert_allclose(tensor, array, rtol=20 * tolerance, atol=20 * tolerance)


def test_the_prior_counts_where_it_should(rng):
    """Imputation and scores of Apart are those of the prior, and q(z) that of the encoder."""
    apart, prior = Apart(Gaussian(), StudentT(3)), StudentT(3)
    assert prior_of(apart) is apart.prior and prior_of(prior) is prior
    model, other = (vae_numpy.VAE(family, (7, 5, 2), rng=1, dtype=np.float64) for family in (apart, prior))
    x, missing, z = rng.random((4, 7)), rng.random((4, 7)) < 0.5, rng.normal(size=(4, 2))
    for ours, expected in zip(*(impute.energy_and_grad(m, x, missing, z) for m in (model, other)), strict=True):
        np.testing.assert_array_equal(ours, expected)
    mu, logvar = model.encode(x)
    eps = Gaussian().sample(np.random.default_rng(5), (1, 4, 2))[0]
    z = mu + np.exp(logvar / 2) * eps
    kl = (stats.norm.logpdf(eps) - logvar / 2 - stats.t.logpdf(z, 3)).sum(axis=1)
    out = model.decode(z)
    weights = [impute.log_weight(m, x, missing, z, eps, np.exp(logvar / 2), out)[0] for m in (model, other)]
    encoders = [density.logpdf(eps).sum(axis=1) for density in (stats.norm, stats.t(3))]
    np.testing.assert_allclose(weights[0] + encoders[0], weights[1] + encoders[1], rtol=1e-10)
    scores = outliers.unusualness(model, x, draws=1, seed=5)
    np.testing.assert_allclose(scores["negative_elbo"] - scores["reconstruction"], kl, rtol=1e-10)
    np.testing.assert_allclose(kl_sample_and_grad(apart, mu, logvar, eps)[0], kl, rtol=1e-10)
    np.testing.assert_allclose(scores["kl"], kl_exact(apart, mu, logvar).sum(axis=1))


@pytest.mark.parametrize("family", [*PAIRS, *WHOLE, Apart(Scaled(Gaussian(), 2), StudentT(2))], **names)
def test_files_remember_them(family, tmp_path, refuses):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, vae_numpy.VAE(family, (7, 5, 3), rng=1))
    for backend in ("numpy", "torch"):
        assert repr(checkpoint.load(path, backend).family) == repr(family)
    checkpoint.load(path, family=family)
    with refuses("another family"):
        checkpoint.load(path, family=Apart(StudentT(9), Gaussian()))


def test_a_file_of_a_mixture_with_a_family_of_one_s_own(tmp_path, refuses):
    class Mine(StudentT):
        pass

    path, family = tmp_path / "model.safetensors", Apart(Gaussian(), Mine(3))
    checkpoint.save(path, vae_numpy.VAE(family, (7, 5, 3)))
    with refuses(r"holds a model of the family 'Mine', not one of tvae_lib's"):
        checkpoint.load(path)
    assert checkpoint.load(path, family=family).family is family
