"""The family of the page "Add your own latent", and others, through everything in the library that takes a family."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.special import log_expit, logsumexp
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import kl_divergence

from tvae_lib import checkpoint, impute, outliers, plots, vae_numpy, vae_torch
from tvae_lib.interactive import page_weights
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact, kl_exact_and_grad, kl_sample, kl_sample_and_grad
from tvae_lib.train import fit

PAGE = Path(__file__).parents[2] / "book" / "own_latent.md"
SIZES = (12, 8, 2)
OPTIONS = {"batch_size": 20, "lr": 0.01, "seed": 3, "progress": False}


def class_of_the_page():
    cells = re.findall(r"```\{code-cell\} python3\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    (source,) = [cell for cell in cells if "class Laplace" in cell]
    namespace = {}
    exec(source, namespace)
    return namespace["Laplace"]


Laplace = class_of_the_page()


class Sampled:
    """The three methods that a family needs, no more, and no __repr__ either: Laplace again."""

    sample, log_prob, score = Laplace.sample, Laplace.log_prob, Laplace.score


class Exponential(Sampled):
    """A density with parameters: exp(-|z|^shape), up to its constant. NumPy's numbers in it make everything float64."""

    def __init__(self, shape, weights=None):
        self.shape = np.float64(shape)
        self.weights = weights
        self._rv = stats.gennorm(shape)  # what JSON cannot hold

    def sample(self, rng, shape):
        return self._rv.rvs(size=shape, random_state=rng)

    def log_prob(self, z):
        return np.asarray(self._rv.logpdf(z))

    def score(self, z):
        return -self.shape * np.sign(z) * np.abs(np.asarray(z, float)) ** (self.shape - 1)


def models(family, dtype="float64", **options):
    """A NumPy and a PyTorch model with the same parameters, large enough for codes that differ from the prior."""
    ours = vae_numpy.VAE(family, sizes=SIZES, rng=2, dtype=dtype, **options)
    for value in ours.params.values():
        value *= 5
    twin = vae_torch.VAE(family, sizes=SIZES, dtype=getattr(torch, dtype), **options)
    checkpoint.set_params(twin, ours.params)
    return ours, twin


@pytest.fixture
def x(rng):
    return rng.random((60, 12)).astype(np.float32) ** 2


@pytest.fixture
def latent(rng):
    return [torch.tensor(rng.normal(size=(7, 3)), requires_grad=True) for _ in range(2)]


def torch_laplace(mu, logvar):
    return TorchLaplace(mu, torch.exp(logvar / 2)), TorchLaplace(torch.zeros_like(mu), torch.ones_like(mu))


# The page's formulas


def test_density_score_and_sampler_are_scipy_s():
    z, h = np.linspace(-9, 9, 40), 1e-6
    np.testing.assert_allclose(Laplace().log_prob(z), stats.laplace.logpdf(z), rtol=1e-12)
    slope = (stats.laplace.logpdf(z + h) - stats.laplace.logpdf(z - h)) / (2 * h)
    np.testing.assert_allclose(Laplace().score(z), slope, rtol=1e-6)
    draws = Laplace().sample(np.random.default_rng(5), (20_000, 2))
    assert draws.shape == (20_000, 2) and stats.kstest(draws.ravel(), "laplace").pvalue > 0.01


def test_exact_kl_and_its_gradient_are_torch_s(latent):
    q, p = torch_laplace(*latent)
    expected = kl_divergence(q, p)
    grads = torch.autograd.grad(expected.sum(), latent)
    found = kl_exact_and_grad(Laplace(), *(part.detach().numpy() for part in latent))
    for ours, theirs in zip(found, (expected.detach(), *grads), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    kl = vae_torch.kl_exact(Laplace(), *latent)
    torch.testing.assert_close(kl, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(kl.sum(), latent), grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mu, sigma", [(0.0, 1.0), (0.5, 0.2), (-4.0, 1.7)])
def test_exact_kl_is_the_integral(mu, sigma):
    def integrand(eps):
        return 0.5 * np.exp(-abs(eps)) * (abs(mu + sigma * eps) - abs(eps) - np.log(sigma))

    points = sorted([0, -mu / sigma])
    value, _ = integrate.quad(integrand, -60, 60, points=points, epsabs=1e-11, limit=500)
    assert kl_exact(Laplace(), np.array(mu), np.array(2 * np.log(sigma))) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("family", [Laplace(), Sampled()])
def test_sampled_kl_in_both_back_ends(family, latent):
    eps = torch.tensor(family.sample(np.random.default_rng(1), (7, 3)))
    q, p = torch_laplace(*latent)
    z = latent[0] + torch.exp(latent[1] / 2) * eps
    expected = (q.log_prob(z) - p.log_prob(z)).sum(dim=1)
    grads = torch.autograd.grad(expected.sum(), latent)
    found = kl_sample_and_grad(family, *(part.detach().numpy() for part in latent), eps.numpy())
    for ours, theirs in zip(found, (expected.detach(), *grads), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    kl = vae_torch.kl_sample(family, *latent, eps)
    torch.testing.assert_close(kl, expected, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(torch.autograd.grad(kl.sum(), latent), grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(lambda mu, logvar: vae_torch.kl_sample(family, mu, logvar, eps), latent)


def test_a_second_derivative_is_refused_not_wrong():
    z = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(vae_torch.log_prob(Exponential(3), z).square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


# The network


@pytest.mark.parametrize("family, kl", [(Laplace(), "exact"), (Laplace(), "sample"), (Exponential(1.5), None)])
def test_network_gradient(family, kl, x):
    ours, twin = models(family, kl=kl)
    eps = family.sample(np.random.default_rng(0), (60, 2))
    loss, grads = ours.loss_and_grad(x, eps)
    twin_loss, twin_grads = twin.loss_and_grad(x, eps)
    assert float(twin_loss.total) == pytest.approx(loss.total, rel=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(twin_grads[name], grad, atol=1e-11)
        entries, h = np.random.default_rng(7).choice(grad.size, min(grad.size, 12), replace=False), 1e-6
        flat = ours.params[name].reshape(-1)
        for i in entries:
            losses = []
            for step in (h, -2 * h):
                flat[i] += step
                losses.append(ours.loss(x, eps).total)
            flat[i] += h
            assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(grad.reshape(-1)[i], rel=1e-5, abs=1e-6)


def test_a_family_that_computes_in_float64_leaves_the_model_in_float32(x):
    family = Exponential(1.5)
    eps = family.sample(np.random.default_rng(0), (60, 2))
    ours, twin = models(family, "float32")
    assert {str(grad.dtype) for grad in ours.loss_and_grad(x, eps)[1].values()} == {"float32"}
    loss, grads = twin.loss_and_grad(x, eps)
    assert {str(grad.dtype) for grad in (loss.kl, *grads.values())} == {"torch.float32"}


def test_the_density_counts_not_the_attributes_nor_the_base_class(latent):
    class Wide(Sampled):
        df = 5.0

    class Flat(StudentT):
        log_prob, score = Laplace.log_prob, Laplace.score

    class Pointed(Gaussian):
        log_prob, score = Laplace.log_prob, Laplace.score

    eps = torch.tensor(Laplace().sample(np.random.default_rng(1), (7, 3)))
    expected = vae_torch.kl_sample(Laplace(), *latent, eps)
    for family in (Wide(), Flat(5), Pointed()):
        torch.testing.assert_close(vae_torch.kl_sample(family, *latent, eps), expected, rtol=0, atol=0)
        assert vae_numpy.VAE(family, sizes=SIZES).kl == "sample"


# What is missing is said


def test_without_an_exact_kl(latent, refuses):
    mu, logvar = (part.detach() for part in latent)
    for backend in (vae_numpy, vae_torch):
        assert backend.VAE(Sampled(), sizes=SIZES).kl == "sample"
        with refuses(r"Sampled .*offers no exact KL: .* has no attribute 'kl_exact_and_grad'; kl=\"sample\" does without"):
            backend.VAE(Sampled(), sizes=SIZES, kl="exact")
    with refuses("Sampled .*offers no exact KL: .* has no attribute 'kl_exact_and_grad'"):
        kl_exact(Sampled(), mu.numpy(), logvar.numpy())
    with refuses("Sampled .*offers no exact KL"):
        vae_torch.kl_exact(Sampled(), mu, logvar)


@pytest.mark.parametrize("backend", [vae_numpy, vae_torch])
def test_what_is_no_family(backend, refuses):
    class Unfinished:
        sample = Laplace.sample

    with refuses(r"family must be an object, got the class Laplace; call it: Laplace\(...\)"):
        backend.VAE(Laplace, sizes=SIZES)
    with refuses("family must have the methods sample, log_prob and score, got .*Unfinished.* without log_prob, score"):
        backend.VAE(Unfinished(), sizes=SIZES)
    with refuses("family must have the methods .*, got 'laplace' without sample, log_prob, score"):
        backend.VAE("laplace", sizes=SIZES)


def test_a_page_cannot_hold_it(refuses):
    with refuses(r"a page can hold models of the families Gaussian and StudentT, got Laplace\(\)"):
        page_weights.pack(models(Laplace())[0], "decoder")


def test_its_colour_is_neither_of_the_two():
    assert {plots.colour(name) for name in (Laplace(), "laplace", "Laplace VAE", Sampled(), Exponential(2))} == {plots.OTHER}
    assert {plots.colour(name) for name in (StudentT(3), "t", "t21", "t, ν = 3", "t-VAE", "the t")} == {plots.STUDENT_T}


# Training and files


def test_a_run_with_another_parameter_is_another_run(x, tmp_path, refuses):
    path = tmp_path / "run.safetensors"
    fit(models(Exponential(1.5), "float32")[0], x, x[:20], epochs=1, checkpoint=path, **OPTIONS)
    for other, message in ((Exponential(2), "family.shape 1.5 there, 2.0 here"), (Sampled(), "Exponential there, Sampled here")):
        with refuses(f"belongs to another run: .*{message}"):
            fit(models(other, "float32")[0], x, x[:20], epochs=2, checkpoint=path, **OPTIONS)
    # The class has lost an attribute since.
    lost = Exponential(1.5)
    del lost.shape
    with refuses("belongs to another run: .*family.shape 1.5 there, None here"):
        fit(models(lost, "float32")[0], x, x[:20], epochs=2, checkpoint=path, **OPTIONS)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("family", [Laplace(), Sampled(), Exponential(1.5, weights=np.arange(3)), Exponential(1, weights=(2, 3))])
def test_a_file_opens_with_its_family(family, backend, x, tmp_path, refuses):
    path, name = tmp_path / "model.safetensors", type(family).__name__
    eps = family.sample(np.random.default_rng(0), (60, 2))
    for model in models(family, "float32"):
        checkpoint.save(path, model)
        with refuses(rf"holds a model of the family '{name}', not one of tvae_lib's: load\(path, family={name}\(...\)\)"):
            checkpoint.load(path, backend)
        back = checkpoint.load(path, backend, family=family)
        assert back.family is family and back.kl == model.kl and back.sizes == SIZES
        before, after = (m.reconstruct(x, eps) for m in (model, back))
        np.testing.assert_allclose(after, before, rtol=1e-5)


def test_a_file_refuses_another_family(tmp_path, refuses):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, models(Exponential(1.5), "float32")[0])
    for other, message in (
        (Exponential(2), "family.shape 1.5 there, 2.0 here"),
        (Laplace(), "family Exponential there, Laplace here"),
        (StudentT(3), "df None there, 3.0 here"),
    ):
        with refuses(f"holds a model of another family: .*{message}"):
            checkpoint.load(path, family=other)
    with refuses("family must be an object, got the class Exponential"):
        checkpoint.load(path, family=Exponential)
    checkpoint.save(path, models(StudentT(3), "float32")[0])
    assert checkpoint.load(path, family=StudentT(3)).family.df == 3
    with refuses("another family: .*df 3.0 there, 5.0 here"):
        checkpoint.load(path, family=StudentT(5))


def test_what_a_file_says_of_a_family(tmp_path, refuses):
    assert checkpoint.describe(models(StudentT(3))[0]) == {"family": "StudentT", "df": 3.0, "sizes": [12, 8, 2], "kl": "sample"}
    described = checkpoint.describe(models(Exponential(1.5, weights=np.arange(3)))[0])
    assert described["family.shape"] == 1.5 and described["family.weights"] == [0, 1, 2]
    assert not any("_rv" in key for key in described)
    json.dumps(described)
    with refuses("the family's attribute weights is a Generator: numbers, texts and arrays can be stored"):
        checkpoint.save(tmp_path / "model.safetensors", models(Exponential(1.5, weights=np.random.default_rng()))[0])
    assert list(tmp_path.iterdir()) == []


# Missing pixels and unusual images, against a grid over the two coordinates of the code

GRID = np.stack(np.meshgrid(*[np.linspace(-14, 14, 281)] * 2), axis=-1).reshape(-1, 2)
CELL = 2 * np.log(0.1)


def log_joint(model, image, kept):
    """log p(x_observed, z) over the grid, by SciPy's Laplace density."""
    logits = model.decode(GRID)
    pixels = image * log_expit(logits) + (1 - image) * log_expit(-logits)
    return pixels[:, kept].sum(axis=1) + stats.laplace.logpdf(GRID).sum(axis=1)


@pytest.mark.parametrize("family", [Laplace(), Sampled()])
@pytest.mark.parametrize("method", [impute.importance, impute.langevin])
def test_imputation_is_the_posterior_mean(method, family, x, rng):
    model = models(family)[0]
    missing = rng.random((4, 12)) < 0.4
    prediction = method(model, x[:4], missing, draws=4000, seed=0)
    for i in range(4):
        log_p = log_joint(model, x[i], ~missing[i])
        weight = np.exp(log_p - logsumexp(log_p))
        expected = weight @ np.exp(log_expit(model.decode(GRID)))
        np.testing.assert_allclose(prediction[i], expected, atol=0.03)


def test_imputation_finds_the_most_probable_code(x, rng):
    model, missing = models(Laplace())[0], rng.random((4, 12)) < 0.4
    prediction = impute.latent_map(model, x[:4], missing, draws=400, seed=0)
    for i in range(4):
        best = GRID[np.argmax(log_joint(model, x[i], ~missing[i]))]
        np.testing.assert_allclose(prediction[i], np.exp(log_expit(model.decode(best[None])[0])), atol=0.03)


@pytest.mark.parametrize("which", [0, 1], ids=["numpy", "torch"])
@pytest.mark.parametrize("family", [Laplace(), Exponential(1.5)])
def test_every_imputation_runs_in_either(family, which, x, rng):
    model, missing = models(family, "float32")[which], rng.random(x.shape) < 0.4
    for method in (impute.single_pass, impute.pseudo_gibbs, impute.importance, impute.latent_map, impute.langevin):
        prediction = method(model, x, missing, draws=6, seed=0)
        assert prediction.shape == x.shape and prediction.dtype == np.float32
        assert (prediction >= 0).all() and (prediction <= 1).all()


def test_unusualness_against_a_grid(x):
    with_exact, without = (outliers.unusualness(models(f)[0], x[:4], draws=4000, seed=1) for f in (Laplace(), Sampled()))
    model = models(Laplace())[0]
    q, p = torch_laplace(*(torch.tensor(part) for part in model.encode(x[:4])))
    kl = kl_divergence(q, p).sum(dim=1).numpy()
    assert kl.mean() > 0.5  # far from the prior
    np.testing.assert_allclose(with_exact["kl"], kl, rtol=1e-10)
    torch.manual_seed(0)
    z = q.sample((4000,))
    standard_error = (q.log_prob(z) - p.log_prob(z)).sum(dim=2).std(dim=0).numpy() / np.sqrt(4000)
    assert (np.abs(without["kl"] - kl) < 4 * standard_error).all() and standard_error.max() < 0.05
    assert (without["kl"] != with_exact["kl"]).all()
    for i in range(4):
        evidence = logsumexp(log_joint(model, x[i], np.full(12, True)) + CELL)
        assert with_exact["bound"][i] == without["bound"][i] == pytest.approx(-evidence, abs=0.05)


def test_a_laplace_prior_under_a_gaussian_encoder():
    mixed = Apart(Gaussian(), Laplace())
    assert vae_numpy.VAE(mixed, sizes=SIZES).kl == "sample"
    code = np.full((100_000, 1), 0.7), np.full((100_000, 1), -1.0)
    draws = kl_sample(mixed, *code, mixed.sample(np.random.default_rng(3), code[0].shape))
    q = stats.norm(0.7, np.exp(-0.5))
    exact, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.laplace.logpdf(z)), -7, 8, points=[0])
    assert draws.mean() == pytest.approx(exact, abs=4 * draws.std() / np.sqrt(len(draws)))


def test_kl_sample_is_unbiased_for_any_shape():
    family = Exponential(1.5)
    code = np.full((100_000, 1), 0.6), np.full((100_000, 1), -1.0)
    draws = kl_sample(family, *code, family.sample(np.random.default_rng(4), (100_000, 1)))
    q, p = stats.gennorm(1.5, 0.6, np.exp(-0.5)), stats.gennorm(1.5)
    exact, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -12, 12, points=[0, 0.6])
    assert draws.mean() == pytest.approx(exact, abs=4 * draws.std() / np.sqrt(len(draws)))
