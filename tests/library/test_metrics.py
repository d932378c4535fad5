"""Scores against scikit-image and against plain formulas."""

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import mean_squared_error, structural_similarity

from tvae_lib import metrics


@pytest.fixture
def pair(mnist, rng):
    truth = mnist.test[:12]
    prediction = np.clip(truth + rng.normal(0, 0.2, truth.shape), 0, 1).astype(np.float32)
    return truth, prediction


def test_mse(pair):
    assert metrics.mse(*pair) == pytest.approx(mean_squared_error(*pair), rel=1e-6)
    assert metrics.mse(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]])) == 0.5
    assert metrics.mse(pair[0], pair[0]) == 0


def test_mse_missing(pair, rng):
    missing = rng.random(pair[0].shape) < 0.3
    total = sum((float(a) - float(b)) ** 2 for a, b, m in zip(*map(np.ravel, (*pair, missing)), strict=True) if m)
    assert metrics.mse_missing(*pair, missing) == pytest.approx(total / missing.sum(), rel=1e-6)
    everything = np.ones(pair[0].shape, bool)
    assert metrics.mse_missing(*pair, everything) == pytest.approx(metrics.mse(*pair), rel=1e-6)
    one = np.zeros_like(everything)
    one[3, 5] = True
    assert metrics.mse_missing(*pair, one) == pytest.approx(float(pair[0][3, 5] - pair[1][3, 5]) ** 2, rel=1e-6)


def test_scores_of_many_float32_pixels_lose_no_precision():
    x = np.zeros((3000, 784), np.float32)
    assert metrics.mse(x, x + np.float32(0.1)) == pytest.approx(0.01, rel=1e-6)


def test_ssim_global_by_the_plain_formula(pair):
    x, y = (np.ravel(part).astype(float) for part in pair)
    value_range = max(x.max(), y.max()) - min(x.min(), y.min())
    (var_x, covariance), (_, var_y) = np.cov(x, y, bias=True)
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    above = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
    below = (x.mean() ** 2 + y.mean() ** 2 + c1) * (var_x + var_y + c2)
    assert metrics.ssim_global(*pair) == pytest.approx(above / below, rel=1e-9)
    assert metrics.ssim_global(pair[0] / 2, pair[1] / 2) == pytest.approx(above / below, rel=1e-6)  # the joint range, not 1
    lifted = (2 * (x.mean() + 1) * (y.mean() + 1) + c1) / ((x.mean() + 1) ** 2 + (y.mean() + 1) ** 2 + c1)
    contrast = (2 * covariance + c2) / (var_x + var_y + c2)
    assert metrics.ssim_global(x + 1, y + 1) == pytest.approx(lifted * contrast, rel=1e-9)  # which is not the largest value


def test_windowed_ssim_is_scikit_image_s(pair):
    stack = [np.reshape(part, (-1, 28, 28)) for part in pair]
    per_image = [
        structural_similarity(a, b, data_range=1, gaussian_weights=True, use_sample_covariance=False)
        for a, b in zip(*stack, strict=True)
    ]
    assert metrics.ssim(*pair) == pytest.approx(np.mean(per_image), rel=1e-6)
    channels = np.moveaxis(np.stack(stack), 1, -1)  # scikit-image's other way to keep images apart
    other = structural_similarity(*channels, data_range=1, gaussian_weights=True, use_sample_covariance=False, channel_axis=-1)
    assert metrics.ssim(*pair) == pytest.approx(other, rel=1e-6)


def test_windowed_ssim_of_images_of_another_shape(pair, refuses):
    stack = [np.reshape(part, (-1, 28, 28))[:, :16, :12] for part in pair]
    options = {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}
    expected = np.mean([structural_similarity(a, b, **options) for a, b in zip(*stack, strict=True)])
    assert metrics.ssim(*(part.reshape(-1, 192) for part in stack), shape=(16, 12)) == pytest.approx(expected, rel=1e-6)
    with refuses(r"images must have shape \(n, 192\), got \(12, 784\)"):
        metrics.ssim(*pair, shape=(16, 12))
    with refuses(r"shape must have 11 rows and columns or more, the width of a window, got \(8, 98\)"):
        metrics.ssim(*pair, shape=(8, 98))


def test_windowed_ssim_by_the_plain_formula(pair):
    def smooth(image):
        return gaussian_filter(image, 1.5, truncate=3.5)

    scores = []
    for a, b in zip(*(np.reshape(part, (-1, 28, 28)).astype(float) for part in pair), strict=True):
        mean_a, mean_b = smooth(a), smooth(b)
        var_a, var_b, cov = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2, smooth(a * b) - mean_a * mean_b
        ssim = (
            (2 * mean_a * mean_b + 0.01**2)
            * (2 * cov + 0.03**2)
            / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
        )
        scores.append(ssim[5:-5, 5:-5].mean())  # windows that lie inside the image
    assert metrics.ssim(*pair) == pytest.approx(np.mean(scores), abs=1e-5)


@pytest.mark.parametrize("ssim", [metrics.ssim, metrics.ssim_global])
def test_ssim_of_equal_images_is_one(pair, ssim):
    assert ssim(pair[0], pair[0]) == pytest.approx(1)
    assert ssim(*pair) < 0.95
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for constant in (0.0, 1.0):
            flat = np.full((2, 784), constant)
            assert ssim(flat, flat) == pytest.approx(1)


def test_coverage_of_draws_like_the_truth_is_the_level(rng):
    draws = rng.standard_normal((20, 300, 200))  # the last of them is the truth
    missing = rng.random((300, 200)) < 0.7
    for level in (0.5, 0.9):
        error = np.sqrt(level * (1 - level) / missing.sum())
        assert metrics.coverage(draws[19], draws[:19], missing, level) == pytest.approx(level, abs=4 * error)
    assert metrics.coverage(draws[19], 0.5 * draws[:19], missing, 0.9) < 0.75  # over-confident


def test_coverage_by_counting(rng):
    draws, truth = rng.random((19, 6, 5)), rng.random((6, 5))
    missing = rng.random((6, 5)) < 0.8
    for level, first in ((0.9, 0), (0.5, 4)):
        inside = [first + 1 <= np.sum(d < t) <= 18 - first for d, t in zip(draws[:, missing].T, truth[missing], strict=True)]
        assert metrics.coverage(truth, draws, missing, level) == pytest.approx(np.mean(inside))
    assert metrics.coverage(truth, np.repeat(truth[None], 3, axis=0), missing) == 1  # both ends belong to the interval


def test_bad_coverage(rng, refuses):
    draws, truth, missing = rng.random((19, 6, 5)), rng.random((6, 5)), np.ones((6, 5), bool)
    with refuses(r"completions must have shape \(k, 6, 5\), got \(6, 5\)"):
        metrics.coverage(truth, truth, missing)
    with refuses(r"completions must have shape \(k, 6, 5\), got \(0, 6, 5\)"):
        metrics.coverage(truth, draws[:0], missing)
    with refuses("missing marks no pixel"):
        metrics.coverage(truth, draws, ~missing)
    for level in (0, 1, np.nan, "0.9", 90):
        with refuses("level must lie between 0 and 1, got"):
            metrics.coverage(truth, draws, missing, level)


def test_scores_are_plain_floats(pair):
    missing = np.ones(pair[0].shape, bool)
    values = metrics.mse(*pair), metrics.mse_missing(*pair, missing), metrics.ssim_global(*pair), metrics.ssim(*pair)
    assert all(type(value) is float for value in values)


def test_bad_input(pair, refuses):
    x, prediction = pair
    for score in (metrics.mse, metrics.ssim, metrics.ssim_global):
        for other in (prediction[:1], prediction[0], prediction[:, :1]):  # all would broadcast
            with refuses("must have the same shape"):
                score(x, other)
    with refuses("must have the same shape"):
        metrics.mse_missing(x, prediction[:1], np.ones(x.shape, bool))
    for missing in (np.ones(x.shape, int), np.ones(x.shape), np.ones(784, bool), np.ones((1, 784), bool)):
        with refuses("missing must be bool of shape"):
            metrics.mse_missing(x, prediction, missing)
    with refuses("missing marks no pixel"):
        metrics.mse_missing(x, prediction, np.zeros(x.shape, bool))
