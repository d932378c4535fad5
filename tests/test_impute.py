"""Imputation: hidden pixels are never looked at, and the methods are what their docstrings say."""

import numpy as np
import pytest

from tvae_lib import impute, masks, metrics
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

METHODS = [
    getattr(impute, name)
    for name in ("single_pass", "pseudo_gibbs", "importance", "latent_map", "langevin")
    if hasattr(impute, name)
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
SIZES = (784, 12, 3)


@pytest.fixture(params=[Gaussian(), StudentT(5)], ids=str)
def model(request):
    model = VAE(request.param, sizes=SIZES, rng=2)
    model.params["encoder.1.bias"][:3] = 1
    model.params["decoder.1.weight"] *= 5
    return model


@pytest.fixture
def masked(mnist):
    x = mnist.test[:11]
    return x, masks.random_squares(np.random.default_rng(3), len(x))


@every_method
@pytest.mark.parametrize("hidden", [0.0, 0.7, "noise", "other images", np.nan, -np.inf, 1e30])
def test_hidden_pixels_are_never_looked_at(model, masked, mnist, method, hidden):
    x, missing = masked
    values = {"noise": np.random.default_rng(1).random(x.shape), "other images": mnist.test[100:111]}.get(hidden, hidden)
    changed = np.where(missing, values, x).astype(np.float32)
    np.testing.assert_array_equal(
        method(model, changed, missing, draws=6, seed=4),
        method(model, x, missing, draws=6, seed=4),
    )


@every_method
def test_observed_pixels_are_looked_at(model, masked, method):
    x, missing = masked
    changed = np.where(missing, x, 1 - x)
    assert np.abs(method(model, changed, missing, draws=6) - method(model, x, missing, draws=6)).max() > 1e-3


@every_method
def test_seeds_repeat_and_differ(model, masked, method):
    first, again, default, zero, other = (
        method(model, *masked, draws=4, **options) for options in ({"seed": 7}, {"seed": 7}, {}, {"seed": 0}, {"seed": 8})
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(default, zero)
    if method.__name__ != "latent_map":  # an optimum need not depend on the seed
        assert (first != other).any(axis=1).all()


@every_method
def test_predictions_are_probabilities_of_all_pixels(model, masked, method):
    x, missing = masked[0].copy(), masked[1].copy()
    prediction = method(model, x, missing, draws=5)
    assert prediction.shape == x.shape and prediction.dtype == np.float32
    assert prediction.min() >= 0 and prediction.max() <= 1 and prediction.std() > 0.01
    np.testing.assert_array_equal(x, masked[0])  # nothing is changed in place
    np.testing.assert_array_equal(missing, masked[1])


@every_method
def test_draws_one_no_image_nothing_and_everything_missing(model, masked, method):
    x, missing = masked
    assert np.isfinite(method(model, x, missing, draws=1)).all()
    assert method(model, x[:0], missing[:0], draws=2).shape == (0, 784)
    assert np.isfinite(method(model, x, np.zeros_like(missing), draws=2)).all()
    everything = np.ones_like(missing)
    np.testing.assert_array_equal(method(model, x, everything, draws=3), method(model, 1 - x, everything, draws=3))


def slices(n, size):
    return [slice(start, start + size) for start in range(0, n, size)]


@pytest.mark.parametrize("chunk", [500, 4])
def test_single_pass_is_the_naive_loop(model, masked, monkeypatch, chunk):
    """Encode, draw and decode again for every draw: slower, and the same numbers."""
    monkeypatch.setattr(impute, "CHUNK", chunk)
    x, missing = masked
    rng, expected = np.random.default_rng(6), []
    for rows in slices(len(x), chunk):
        zeroed = x[rows] * ~missing[rows]
        passes = [model.reconstruct(zeroed, model.family.sample(rng, (len(zeroed), 3))) for _ in range(9)]
        expected.append(np.mean(passes, axis=0))
    np.testing.assert_allclose(impute.single_pass(model, x, missing, draws=9, seed=6), np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("chunk", [500, 4])
@pytest.mark.parametrize("draws, kept", [(1, 1), (2, 1), (9, 5), (10, 5)])
def test_pseudo_gibbs_is_the_naive_loop(model, masked, monkeypatch, chunk, draws, kept):
    monkeypatch.setattr(impute, "CHUNK", chunk)
    x, missing = masked
    rng, expected = np.random.default_rng(6), []
    for rows in slices(len(x), chunk):
        image, passes = x[rows] * ~missing[rows], []
        for _ in range(draws):
            passes.append(model.reconstruct(image, model.family.sample(rng, (len(image), 3))))
            image = impute.fill(x[rows], missing[rows], passes[-1])
        expected.append(np.mean(passes[-kept:], axis=0))
    np.testing.assert_allclose(impute.pseudo_gibbs(model, x, missing, draws=draws, seed=6), np.concatenate(expected), atol=1e-5)


def test_single_pass_agrees_with_the_naive_loop_in_distribution(model, masked):
    x, missing = masked
    zeroed, rng = np.where(missing, 0, x), np.random.default_rng(77)
    passes = np.array([model.reconstruct(zeroed, model.family.sample(rng, (len(x), 3))) for _ in range(1500)])
    standard_error = passes.std(axis=0) / np.sqrt(1500)
    difference = impute.single_pass(model, x, missing, draws=1500, seed=1) - passes.mean(axis=0)
    assert np.abs(difference / (np.sqrt(2) * standard_error + 1e-5)).max() < 5.5  # 8,624 pixels, far from independent


def test_many_images_span_chunks(mnist):
    model = VAE(StudentT(21), sizes=SIZES, rng=2)
    x = mnist.test[: impute.CHUNK + 3]
    missing = masks.random_pixels(np.random.default_rng(0), x.shape, 0.3)
    for method in (impute.single_pass, impute.pseudo_gibbs):
        prediction = method(model, x, missing, draws=2)
        assert prediction.shape == x.shape and (prediction.min(axis=1) > 0.1).all()  # no row left at 0


def test_fill(masked, rng):
    x, missing = masked
    prediction = rng.random(x.shape).astype(np.float32)
    filled = impute.fill(x, missing, prediction)
    np.testing.assert_array_equal(filled[~missing], x[~missing])
    np.testing.assert_array_equal(filled[missing], prediction[missing])
    assert filled.dtype == np.float32 and filled is not x
    np.testing.assert_array_equal(impute.fill(np.where(missing, np.nan, x), missing, prediction), filled)


# A model that has learnt something


@pytest.fixture(scope="module", params=[Gaussian(), StudentT(21)], ids=str)
def trained(request, mnist):
    model = VAE(request.param, sizes=(784, 64, 8), rng=0)
    fit(model, mnist.train[:5000], mnist.valid[:100], epochs=14, batch_size=25, lr=0.01, seed=0, progress=False)
    return model


@pytest.mark.parametrize("kind", ["pixels", "squares"])
def test_a_briefly_trained_model_beats_the_mean(trained, mnist, kind):
    x, rng = mnist.test[:400], np.random.default_rng(0)
    missing = masks.random_pixels(rng, x.shape, 0.3) if kind == "pixels" else masks.random_squares(rng, len(x))
    by_mean = metrics.mse_missing(x, np.broadcast_to(mnist.train.mean(axis=0), x.shape), missing)
    assert 0.06 < by_mean < 0.1
    for method in METHODS:
        prediction = method(trained, x, missing, draws=30, seed=0)
        assert metrics.mse_missing(x, prediction, missing) < 0.9 * by_mean, method.__name__
        filled = impute.fill(x, missing, prediction)
        assert metrics.mse(x, filled) == pytest.approx(metrics.mse_missing(x, prediction, missing) * missing.mean(), rel=1e-4)
        assert metrics.ssim(x[:50], filled[:50]) > metrics.ssim(x[:50], np.where(missing, 0, x)[:50])


# Bad input

BAD_MASKS = {
    "int": lambda m: m.astype(int),
    "float": lambda m: m.astype(float),
    "text": lambda m: m.astype(str),
    "fewer rows": lambda m: m[:5],
    "one row": lambda m: m[0],
    "would broadcast": lambda m: m[:1],
    "pictures": lambda m: m.reshape(-1, 28, 28),
}


@every_method
@pytest.mark.parametrize("change", BAD_MASKS.values(), ids=BAD_MASKS)
def test_bad_masks(model, masked, method, change, refuses):
    x, missing = masked
    with refuses(r"missing must be bool of shape \(11, 784\), got"):
        method(model, x, change(missing))


@every_method
def test_bad_images(model, masked, method, refuses):
    x, missing = masked
    for bad in (x[:, :700], x[0], x.reshape(-1, 28, 28)):
        with refuses(r"x must have shape \(n, 784\), got"):
            method(model, bad, missing)
    for value in (np.nan, -0.5, 255.0, np.inf):
        observed = np.where(missing, x, value).astype(np.float32)
        with refuses(r"pixels must lie in \[0, 1\], got values from"):
            method(model, observed, missing)


@every_method
@pytest.mark.parametrize("draws", [0, -1, 2.5, 2.0, float("nan"), "30", None])
def test_bad_draws(model, masked, method, draws, refuses):
    with refuses("draws must be a whole number, 1 or more, got"):
        method(model, *masked, draws=draws)


def test_fill_wants_three_equal_shapes_and_a_mask(masked, refuses):
    x, missing = masked
    for arguments in ((x, missing[0], x), (x, missing, x[:1]), (x[0], missing, x), (x, missing, 0.5)):
        with refuses("x, missing and prediction must have one shape, got"):
            impute.fill(*arguments)
    for bad in (missing.astype(int), missing.astype(float)):
        with refuses("missing must be bool, got"):
            impute.fill(x, bad, x)
