"""Training with holes, likelihoods other than Bernoulli, Adam, and a weight on the KL."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_expit

from tvae_lib import checkpoint, impute, likelihood, outliers, vae_numpy, vae_torch
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.likelihood import Bernoulli, Normal
from tvae_lib.train import evaluate, fit

SIZES = (7, 5, 3)
LIKELIHOODS = [Bernoulli(), Normal(0.3), Normal(), likelihood.StudentT(4, 0.5)]
OPTIONS = {"batch_size": 10, "lr": 0.01, "seed": 3, "progress": False}
every_likelihood = pytest.mark.parametrize("kind", LIKELIHOODS, ids=str)


def models(kind=None, dtype=np.float64, family=None, **options):
    """A NumPy and a PyTorch model with the same parameters of ordinary size."""
    family = family or StudentT(5)
    ours = vae_numpy.VAE(family, SIZES, rng=1, dtype=dtype, likelihood=kind, **options)
    rng = np.random.default_rng(4)
    for value in ours.params.values():
        value[...] = rng.normal(0, 0.3, value.shape)
    twin = vae_torch.VAE(family, SIZES, dtype=getattr(torch, np.dtype(dtype).name), likelihood=kind, **options)
    checkpoint.set_params(twin, ours.params)
    return ours, twin


def data(kind, rng, n=6):
    """Rows that the likelihood takes, noise for them, and a mask."""
    x = rng.random((n, 7)) if kind is None or isinstance(kind, Bernoulli) else rng.normal(0.5, 1.5, (n, 7))
    return x, rng.standard_t(5, (n, 3)).clip(-2, 2), rng.random((n, 7)) < 0.4


def costs_by_scipy(kind, out, x):
    if isinstance(kind, Bernoulli):
        return -(x * log_expit(out) + (1 - x) * log_expit(-out))
    if isinstance(kind, likelihood.StudentT):
        return -stats.t.logpdf(x, kind.df, out, kind.scale)
    return -stats.norm.logpdf(x, out[:, :7], kind.sd or np.exp(out[:, 7:] / 2))


def slopes_of(model, name, loss, h=1e-5):
    """Central differences of loss() for every entry of a parameter."""
    value, found = model.params[name].reshape(-1), []
    for i in range(value.size):
        kept, both = value[i], []
        for step in (h, -h):
            value[i] = kept + step
            both.append(loss())
        value[i] = kept
        found.append((both[0] - both[1]) / (2 * h))
    return np.reshape(found, model.params[name].shape)


@every_likelihood
@pytest.mark.parametrize("masked", [False, True])
def test_cost_and_its_gradient(kind, masked, rng):
    x, _, missing = data(kind, rng)
    out = rng.normal(size=(6, kind.outputs(7)))
    missing = missing if masked else None
    cost, slope = kind.cost_and_grad(out.copy(), x, missing)
    each = costs_by_scipy(kind, out, x)
    np.testing.assert_allclose(cost, np.where(missing if masked else False, 0, each).sum(axis=1), rtol=1e-10)
    for index in np.ndindex(out.shape):
        step = np.zeros_like(out)
        step[index] = 1e-6
        up, down = (kind.cost_and_grad(out + sign * step, x, missing)[0].sum() for sign in (1, -1))
        assert slope[index] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-7)
    assert kind.mean(out).shape == x.shape


@every_likelihood
@pytest.mark.parametrize("mask_input", [False, True])
@pytest.mark.parametrize("options", [{}, {"missing": True}, {"missing": True, "all_pixels": True}], ids=str)
def test_loss_and_gradient_of_the_network(kind, mask_input, options, rng):
    x, eps, missing = data(kind, rng)
    options = {**options, "missing": missing} if options else {}
    ours, twin = models(kind, mask_input=mask_input)
    loss, grads = ours.loss_and_grad(x, eps, **options)

    p, h = ours.params, np.where(missing, 0, x) if options else x
    if mask_input:
        h = np.concatenate([h, missing if options else 0 * x], axis=1)
    h = np.maximum(h @ p["encoder.0.weight"].T + p["encoder.0.bias"], 0) @ p["encoder.1.weight"].T + p["encoder.1.bias"]
    h = h[:, :3] + np.exp(h[:, 3:] / 2) * eps
    out = np.maximum(h @ p["decoder.0.weight"].T + p["decoder.0.bias"], 0) @ p["decoder.1.weight"].T + p["decoder.1.bias"]
    each = costs_by_scipy(kind, out, x)
    kept = ~missing if options and not options.get("all_pixels") else np.ones_like(missing)
    np.testing.assert_allclose(loss.reconstruction, (each * kept).sum(axis=1), rtol=1e-10)

    twin_loss, twin_grads = twin.loss_and_grad(x, eps, **options)
    np.testing.assert_allclose(twin_loss.reconstruction, loss.reconstruction, rtol=1e-12)
    assert float(twin.loss(torch.tensor(x), torch.tensor(eps), **options).total.detach()) == pytest.approx(loss.total, rel=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(twin_grads[name], grad, rtol=1e-9, atol=1e-12)
    for name in ("encoder.0.weight", "decoder.1.bias"):
        slopes = slopes_of(ours, name, lambda: ours.loss(x, eps, **options).total)
        np.testing.assert_allclose(grads[name], slopes, rtol=1e-5, atol=1e-7 * np.abs(slopes).max())


@pytest.mark.parametrize("which", [0, 1], ids=["numpy", "torch"])
def test_what_is_missing_is_never_looked_at(which, rng, refuses):
    x, eps, missing = data(None, rng)
    model = models()[which]
    expected = model.loss_and_grad(x, eps, missing)
    for others in (np.nan, 1e30, -1):
        holes = np.where(missing, others, x)
        found = model.loss_and_grad(holes, eps, missing)
        assert float(found[0].total) == float(expected[0].total)
        np.testing.assert_array_equal(found[1]["encoder.0.weight"], expected[1]["encoder.0.weight"])
        with refuses(r"pixels must lie in \[0, 1\]"):
            model.loss(holes, eps, missing, all_pixels=True)
        with refuses(r"pixels must lie in \[0, 1\]"):
            model.loss(holes, eps)
    with refuses(r"missing must be bool of shape \(6, 7\), got"):
        model.loss(x, eps, missing[:1])


def test_likelihoods_print_themselves():
    assert [*map(repr, (Bernoulli(), Normal(), Normal(0.5)))] == ["Bernoulli()", "Normal()", "Normal(0.5)"]
    assert repr(likelihood.StudentT(3)) == "StudentT(df=3, scale=1)"


def test_limits_follow_the_likelihood(rng, refuses):
    x, eps, _ = data(Normal(1), rng)
    for model in models(Normal(1)):
        assert float(model.loss_and_grad(x, eps)[0].total) > 0
        with refuses(r"pixels must lie in \[-1e\+06, 1e\+06\], got"):
            model.loss(x * np.nan, eps)
    for bad in (0, -1, 9.9e-7, 1.0000001e6, np.nan, "1", True):
        with refuses("sd must be a number from 1e-6 to 1e6, got"):
            Normal(bad)
        with refuses("scale must be a number from 1e-6 to 1e6, got"):
            likelihood.StudentT(3, bad)
    for bad in (Normal, 3, "normal"):
        with refuses("likelihood must be an object such as"):
            vae_numpy.VAE(Gaussian(), SIZES, likelihood=bad)


@every_likelihood
@pytest.mark.parametrize("mask_input", [False, True])
def test_every_imputation_and_files(kind, mask_input, rng, tmp_path):
    x, _, missing = data(kind, rng)
    path = tmp_path / "model.safetensors"
    for model in models(kind, np.float32, mask_input=mask_input):
        for method in (
            impute.single_pass,
            impute.pseudo_gibbs,
            impute.metropolis,
            impute.importance,
            impute.latent_map,
            impute.langevin,
        ):
            prediction = method(model, np.where(missing, np.nan, x), missing, draws=6)
            assert prediction.shape == x.shape and np.isfinite(prediction).all()
        checkpoint.save(path, model)
        for backend in ("numpy", "torch"):
            back = checkpoint.load(path, backend)
            assert repr(back.likelihood) == repr(kind) and back.mask_input == mask_input
            np.testing.assert_allclose(
                impute.single_pass(back, x, missing), impute.single_pass(model, x, missing), rtol=1e-4, atol=1e-5
            )
    scores = outliers.unusualness(models(kind)[0], x, draws=3)
    assert np.isfinite(scores["bound"]).all()


def test_the_first_pass_tells_the_encoder_what_is_missing(rng):
    x, _, missing = data(None, rng)
    model = models(mask_input=True)[0]
    told, untold = model.encode(x, missing)[0], model.encode(np.where(missing, 0, x))[0]
    assert np.abs(told - untold).max() > 1e-3
    zeroed = np.where(missing, 0, x).astype(np.float32)
    np.testing.assert_allclose(impute.warmed_up(model, zeroed, missing, 0, rng)[0], told, rtol=1e-5)
    z = told + np.exp(model.encode(x, missing)[1] / 2) * impute.noise(model, told, np.random.default_rng(0))
    np.testing.assert_allclose(impute.pseudo_gibbs(model, x, missing, draws=1), impute.decode(model, z), atol=1e-5)


@every_likelihood
def test_draws_have_the_density(kind, rng):
    out = rng.normal(size=(1, kind.outputs(7))).repeat(20_000, axis=0)
    draws, mean = kind.sample(out, rng), kind.mean(out)
    assert draws.shape == mean.shape == (20_000, 7) and draws.dtype == out.dtype
    if isinstance(kind, Bernoulli):
        assert set(np.unique(draws)) == {0, 1}
        np.testing.assert_allclose(draws.mean(axis=0), mean[0], atol=0.02)
    elif isinstance(kind, Normal):
        sd = kind.sd or np.exp(out[0, 7:] / 2)
        assert stats.kstest(((draws - mean) / sd).ravel(), "norm").pvalue > 0.01
    else:
        assert stats.kstest(((draws - mean) / kind.scale).ravel(), stats.t(kind.df).cdf).pvalue > 0.01


# Training


def holes(rng, n):
    return rng.random((n, 7)) < 0.3


def test_fit_with_holes_is_the_loop_written_out(rng):
    x, _, mask = data(None, rng, 30)
    for missing in (mask, holes):
        model, twin = models()[0], models()[0]
        history = fit(model, np.where(mask, np.nan, x) if missing is mask else x, x, epochs=1, missing=missing, **OPTIONS)
        draw = np.random.default_rng((3, 0))
        order, losses = draw.permutation(30).reshape(3, 10), []
        for rows in order:
            eps = twin.family.sample(draw, (10, 3))
            hidden = mask[rows] if missing is mask else holes(draw, 10)
            loss, grads = twin.loss_and_grad(x[rows], eps, hidden)
            losses.append(loss.total)
            for name, grad in grads.items():
                twin.params[name] -= 0.01 * grad
        assert history.loss[0] == pytest.approx(np.mean(losses), rel=1e-12)
        for name, value in twin.params.items():
            np.testing.assert_allclose(model.params[name], value, rtol=1e-12)
        eps = twin.family.sample(draw, (30, 3))
        hidden = None if missing is mask else holes(draw, 30)
        assert history.valid_loss[0] == pytest.approx(twin.loss(x, eps, hidden).total, rel=1e-12)


def test_holes_of_the_validation_images_and_all_pixels(rng, refuses):
    x, eps, mask = data(None, rng, 30)
    model = models()[0]
    found = evaluate(model, np.where(mask, np.nan, x), np.random.default_rng(0), mask)
    eps = model.family.sample(np.random.default_rng(0), (30, 3))
    assert found[0] == pytest.approx(model.loss(x, eps, mask).total, rel=1e-12)
    found = evaluate(model, x, np.random.default_rng(0), mask, all_pixels=True)
    assert found[0] == pytest.approx(model.loss(x, eps, mask, all_pixels=True).total, rel=1e-12)
    many, holes = np.tile(x, (40, 1)), np.tile(mask, (40, 1))  # in two parts
    eps = model.family.sample(np.random.default_rng(0), (1200, 3))
    found = evaluate(model, many, np.random.default_rng(0), holes)
    assert found[0] == pytest.approx(model.loss(many, eps, holes).total, rel=1e-12)
    history = fit(model, x, np.where(mask, np.nan, x), epochs=1, missing=np.zeros_like(mask), **OPTIONS)
    assert np.isfinite(history.valid_loss).all()
    with refuses(r"pixels of train must lie in \[0, 1\]"):
        fit(model, np.where(mask, np.nan, x), x, epochs=1, missing=mask, all_pixels=True, **OPTIONS)
    with refuses("all_pixels must be True or False, got 'no'"):
        fit(model, x, x, epochs=1, missing=mask, all_pixels="no", **OPTIONS)
    with refuses(r"missing must be bool of shape \(30, 7\)"):
        fit(model, x, x, epochs=1, missing=mask[:5], **OPTIONS)


@pytest.mark.parametrize("which", [0, 1], ids=["numpy", "torch"])
def test_adam_is_pytorch_s(which, rng):
    x, _, _ = data(None, rng, 30)
    model, twin = models()[which], models()[1]
    fit(model, x, x, epochs=2, optimizer="adam", **OPTIONS)
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    for epoch in range(2):
        draw = np.random.default_rng((3, epoch))
        for rows in draw.permutation(30).reshape(3, 10):
            optimiser.zero_grad()
            twin.loss(x[rows], twin.family.sample(draw, (10, 3))).total.backward()
            optimiser.step()
    for name, value in twin.params.items():
        np.testing.assert_allclose(model.params[name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("which", [0, 1], ids=["numpy", "torch"])
def test_adam_with_holes_resumes_to_the_same_bits(which, rng, tmp_path, refuses):
    x, _, _ = data(None, rng, 30)
    path, rare = tmp_path / "run.safetensors", {"optimizer": "adam", "missing": holes, "kl_weight": 0.5}
    whole = models(dtype=np.float32)[which]
    history = fit(whole, x, x, epochs=4, **rare, **OPTIONS)
    for epochs in (1, 3, 4):
        model = models(dtype=np.float32)[which]
        resumed = fit(model, x, x, epochs=epochs, checkpoint=path, **rare, **OPTIONS)
    assert resumed.loss == history.loss and resumed.valid_loss == history.valid_loss
    for name, value in whole.params.items():
        np.testing.assert_array_equal(model.params[name], value)
    np.testing.assert_array_equal(checkpoint.load(path).params["encoder.0.bias"], whole.params["encoder.0.bias"])
    for change, message in (
        ({"optimizer": "sgd"}, "optimizer adam there, None here"),
        ({"kl_weight": 1}, "kl_weight 0.5 there, None here"),
        ({"missing": None}, r"missing \d+ there, None here"),
        ({"missing": lambda rng, n: rng.random((n, 7)) < 0.1}, r"missing \d+ there, \d+ here"),
    ):
        with refuses(f"belongs to another run: .*{message}"):
            fit(models(dtype=np.float32)[which], x, x, epochs=5, checkpoint=path, **{**rare, **change}, **OPTIONS)
    for name, bad in (("optimizer", "Adam"), ("optimizer", None), ("kl_weight", -1), ("kl_weight", "1")):
        with refuses(f"{name} must be"):
            fit(model, x, x, epochs=1, **{name: bad}, **OPTIONS)


@pytest.mark.parametrize("which", [0, 1], ids=["numpy", "torch"])
def test_the_weight_of_the_kl_is_in_the_gradient_alone(which, rng):
    x, eps, _ = data(None, rng)
    model = models()[which]
    (loss, whole), (same, half), (_, none) = (model.loss_and_grad(x, eps, kl_weight=w) for w in (1.0, 0.5, 1e-300))
    assert float(same.total) == float(loss.total)
    for name in whole:
        np.testing.assert_allclose(half[name], 0.5 * (whole[name] + none[name]), rtol=1e-9, atol=1e-12)
    ours = models()[0]
    slopes = slopes_of(ours, "encoder.1.bias", lambda: ours.loss(x, eps).reconstruction.mean())
    np.testing.assert_allclose(none["encoder.1.bias"], slopes, rtol=1e-5, atol=1e-7)
