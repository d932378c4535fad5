"""Scores of an image against the truth. All take arrays (n, 784) with values in [0, 1] and return one float."""

import numpy as np


def _same_shape(x, prediction):
    if np.shape(x) != np.shape(prediction):
        raise ValueError(f"the two sets of images must have the same shape, got {np.shape(x)} and {np.shape(prediction)}")


def mse(x, prediction):
    """Mean squared error over all pixels."""
    _same_shape(x, prediction)
    return float(np.mean(np.square(x - prediction), dtype=np.float64))


def mse_missing(x, prediction, missing):
    """Mean squared error over the missing pixels only. missing: bool (n, 784), at least one True."""
    _same_shape(x, prediction)
    if np.shape(missing) != np.shape(x) or np.asarray(missing).dtype != bool:
        raise ValueError(f"missing must be bool of shape {np.shape(x)}, got {np.asarray(missing).dtype} of {np.shape(missing)}")
    if not np.any(missing):
        raise ValueError("missing marks no pixel, so there is nothing to score")
    return float(np.mean(np.square(x - prediction)[missing], dtype=np.float64))


def ssim_global(x, prediction):
    """The source project's SSIM: ONE window, the whole (n, 784) matrix, with the joint range of the two as dynamic range.

    It is not the SSIM of Wang et al. (2004), which averages over small windows of each image: see `ssim`.
    """
    _same_shape(x, prediction)
    x, y = np.asarray(x, float), np.asarray(prediction, float)
    value_range = max(x.max(), y.max()) - min(x.min(), y.min())
    if value_range == 0:
        return 1.0  # one and the same constant
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    mean_x, mean_y = x.mean(), y.mean()
    covariance = np.mean((x - mean_x) * (y - mean_y))
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))


def ssim(x, prediction):
    """Structural similarity of Wang et al. (2004): Gaussian windows of sigma 1.5 on each 28 x 28 image, averaged."""
    from skimage.metrics import structural_similarity

    _same_shape(x, prediction)
    pairs = zip(np.reshape(x, (-1, 28, 28)), np.reshape(prediction, (-1, 28, 28)), strict=True)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(np.mean([structural_similarity(a, b, **options) for a, b in pairs]))
