"""Scores of unusualness against SciPy's densities and a grid, and the sets of unusual images."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_expit, logsumexp

from tvae_lib import outliers
from tvae_lib.latent import Gaussian, StudentT, kl_sample
from tvae_lib.vae_numpy import VAE


@pytest.fixture(params=[Gaussian(), StudentT(4)], ids=str)
def model(request):
    model = VAE(request.param, sizes=(784, 6, 2), rng=3, dtype=np.float64)
    model.params["encoder.1.weight"] *= 0.1
    model.params["decoder.1.weight"] *= 3
    return model


def standard(family):
    return stats.norm() if isinstance(family, Gaussian) else stats.t(family.df)


def test_scores_against_a_grid(model, mnist):
    x = mnist.test[:4]
    scores = outliers.unusualness(model, x, draws=4000, seed=1)
    axis = np.linspace(-15, 15, 251)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    cell = 2 * np.log(axis[1] - axis[0])
    mu, logvar = model.encode(x)
    logits = model.decode(grid)
    log_prior = standard(model.family).logpdf(grid).sum(axis=1)
    log_likelihood = logits @ x.T.astype(float) + log_expit(-logits).sum(axis=1)[:, None]  # of the pixels, summed
    for i in range(4):
        log_p = log_likelihood[:, i] + log_prior
        sigma = np.exp(logvar[i] / 2)
        log_q = standard(model.family).logpdf((grid - mu[i]) / sigma).sum(axis=1) - np.log(sigma).sum()
        q = np.exp(log_q + cell)
        assert q.sum() == pytest.approx(1, abs=2e-3)
        assert scores["bound"][i] == pytest.approx(-logsumexp(log_p + cell), abs=0.1)
        assert scores["negative_elbo"][i] == pytest.approx(q @ (log_q - log_p), rel=0.01)
    assert (scores["negative_elbo"] >= scores["bound"]).all()
    np.testing.assert_allclose(scores["negative_elbo"], scores["reconstruction"] + scores["kl"], rtol=0.01)


def test_chunks_and_one_draw(model, mnist, monkeypatch):
    x = mnist.test[:7]
    whole = outliers.unusualness(model, x, draws=1, seed=2)
    np.testing.assert_allclose(whole["bound"], whole["negative_elbo"], rtol=1e-12)  # one weight: both are -log w
    monkeypatch.setattr(outliers, "CHUNK", 3)
    for name, values in outliers.unusualness(model, x, draws=1, seed=2).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-9)
    assert outliers.unusualness(model, x[:0])["bound"].shape == (0,)


def test_a_family_without_an_exact_kl(mnist):
    class Plain:
        sample, log_prob, score = (getattr(Gaussian(), name) for name in ("sample", "log_prob", "score"))

    x, model = mnist.test[:5], VAE(Plain(), sizes=(784, 6, 2), rng=3, dtype=np.float64)
    scores, rng = outliers.unusualness(model, x, draws=9, seed=1), np.random.default_rng(1)
    kl = [kl_sample(Gaussian(), *model.encode(x), rng.standard_normal((5, 2))) for _ in range(9)]
    np.testing.assert_allclose(scores["kl"], np.mean(kl, axis=0), rtol=1e-9)


def test_unusual_images(mnist):
    digits = mnist.test[:50]
    sets = outliers.unusual_images(digits, seed=4)
    assert list(sets) == ["fashion", "rotated", "shifted", "inverted", "noisy", "patched"]
    again, other = outliers.unusual_images(digits, seed=4), outliers.unusual_images(digits, seed=5)
    for name, images in sets.items():
        assert images.shape == digits.shape and images.dtype == np.float32
        assert images.min() >= 0 and images.max() <= 1
        assert (np.abs(images - digits).max(axis=1) > 0.3).all(), name
        np.testing.assert_array_equal(images, again[name])
        assert (images != other[name]).any() == (name not in ("fashion", "inverted"))
    np.testing.assert_allclose(sets["inverted"], 1 - digits)
    assert ((sets["patched"] == 1).sum(axis=1) >= 64).all()


def test_shifts_move_the_centre_of_mass(mnist):
    """What stays on the canvas moves by 4 to 7 pixels both ways; the blank border of a digit lets most of it stay."""
    digits = np.zeros((200, 28, 28), np.float32)
    digits[:, 14, 14] = 1
    shifted = outliers.unusual_images(digits.reshape(200, 784), seed=0)["shifted"].reshape(200, 28, 28)
    row, column = np.array(np.nonzero(shifted))[1:] - 14
    assert len(row) == 200 and set(np.abs(row)) == set(np.abs(column)) == {4, 5, 6, 7}
    assert set(np.sign(row)) == set(np.sign(column)) == {-1, 1}
    assert len({*zip(row, column, strict=True)}) > 30


def test_rotations_turn_as_far_as_they_say():
    bar = np.zeros((300, 28, 28), np.float32)
    bar[:, 4:24, 13:15] = 1
    rotated = outliers.unusual_images(bar.reshape(300, 784), seed=0)["rotated"].reshape(300, 28, 28)
    y, x = np.mgrid[:28, :28] - 13.5
    mass = rotated.sum(axis=(1, 2))
    angle = 0.5 * np.arctan2(2 * (rotated * x * y).sum(axis=(1, 2)) / mass, (rotated * (y**2 - x**2)).sum(axis=(1, 2)) / mass)
    degrees = np.abs(np.degrees(angle))
    assert degrees.min() == pytest.approx(30, abs=2) and degrees.max() == pytest.approx(90, abs=2)
    assert 0.35 < np.mean(angle > 0) < 0.65


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 1.0], ids=str)
def test_scores_that_are_no_row(bad, refuses):
    for usual, unusual in ((bad, [1.0]), ([1.0], bad)):
        with refuses("usual and unusual must be two rows of scores, got shapes"):
            outliers.auc(usual, unusual)


def test_auc():
    rng = np.random.default_rng(0)
    usual, unusual = rng.normal(size=400), rng.normal(size=300) + 1
    assert outliers.auc(usual, unusual) == pytest.approx(np.mean(unusual[:, None] > usual), abs=1e-12)
    assert outliers.auc([0.0, 0.0], [0.0]) == 0.5 and outliers.auc([0.0], [1.0]) == 1 and outliers.auc([1.0], [0.0]) == 0


def test_a_model_finds_inverted_digits_unusual(mnist):
    """Of all relatives the inverted digit is the easiest to tell: nearly every pixel is wrong."""
    model = VAE(Gaussian(), sizes=(784, 6, 2), rng=3)
    model.params["decoder.1.bias"][:] = np.log(np.clip(mnist.train.mean(axis=0), 1e-3, 1))
    scores = {
        name: outliers.unusualness(model, images, draws=4)["bound"]
        for name, images in outliers.unusual_images(mnist.test[:100]).items()
    }
    usual = outliers.unusualness(model, mnist.test[:100], draws=4)["bound"]
    assert outliers.auc(usual, scores["inverted"]) > 0.99
