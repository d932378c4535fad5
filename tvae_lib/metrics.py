"""Scores of an image against the truth. All take arrays (n, D) with values in [0, 1] and return one float.

ValueError unless both arrays have one shape, with at least one pixel, and hold real numbers from -1e6 to 1e6: a prediction may
leave [0, 1] a little.
"""

import numbers

import numpy as np

from tvae_lib.inputs import check_image_shape, check_mask, finite, said


def _pair(x, prediction):
    x, prediction = (finite(name, value, limit=1e6) for name, value in (("the truth", x), ("the prediction", prediction)))
    if x.shape != prediction.shape:
        raise ValueError(f"the two sets of images must have the same shape, got {x.shape} and {prediction.shape}")
    if not x.size:
        raise ValueError(f"there must be at least one pixel to score, got images of shape {x.shape}")
    return x, prediction


def mse(x, prediction):
    """Mean squared error over all pixels."""
    x, prediction = _pair(x, prediction)
    return float(np.mean(np.square(x - prediction), dtype=np.float64))


def mse_missing(x, prediction, missing):
    """Mean squared error over the missing pixels only. missing: bool (n, D), at least one True."""
    x, prediction = _pair(x, prediction)
    missing = check_mask(missing, x.shape)
    if not missing.any():
        raise ValueError("missing marks no pixel, so there is nothing to score")
    return float(np.mean(np.square(x - prediction)[missing], dtype=np.float64))


def coverage(x, completions, missing, level=0.9):
    """The share of missing pixels that lie in their predictive interval of the given level: of `level` itself if all is well.

    completions: (k, n, D), k completed images for each of the n true ones, as `impute.completions` gives them. A pixel's interval
    goes from one quantile of its k draws to another, such that one more draw of the same kind would fall in between with
    probability `level` (if no two are equal). For 0.5 and 0.9 take k = 19: from the 5th to the 15th, from the 1st to the 19th.
    """
    x, completions = finite("the truth", x, limit=1e6), finite("completions", completions, limit=1e6)
    missing = check_mask(missing, x.shape)
    if completions.ndim != x.ndim + 1 or completions.shape[1:] != x.shape or not len(completions):
        raise ValueError(f"completions must have shape (k, {', '.join(map(str, x.shape))}), got {completions.shape}")
    if not missing.any():
        raise ValueError("missing marks no pixel, so there is nothing to score")
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {said(level)}")
    low, high = np.quantile(completions[:, missing], [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return float(np.mean((low <= x[missing]) & (x[missing] <= high)))


def ssim_global(x, prediction):
    """The source project's SSIM: ONE window, the whole (n, D) matrix, with the joint range of the two as dynamic range.

    It is not the SSIM of Wang et al. (2004), which averages over small windows of each image: see `ssim`.
    """
    x, y = (part.astype(float) for part in _pair(x, prediction))
    value_range = max(x.max(), y.max()) - min(x.min(), y.min())
    if value_range == 0:
        return 1.0  # one and the same constant
    scale = max(np.abs(x).max(), np.abs(y).max())  # without it squares of very small values would be 0
    x, y, value_range = x / scale, y / scale, value_range / scale
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    mean_x, mean_y = x.mean(), y.mean()
    covariance = np.mean((x - mean_x) * (y - mean_y))
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))


def ssim(x, prediction, shape=(28, 28)):
    """Structural similarity of Wang et al. (2004): Gaussian windows of sigma 1.5 on each image, averaged.

    shape: rows and columns of an image, 11 or more, the width of a window.
    """
    from skimage.metrics import structural_similarity

    x, prediction = _pair(x, prediction)
    shape = check_image_shape(shape, x.shape)
    if min(shape) < 11:
        raise ValueError(f"shape must have 11 rows and columns or more, the width of a window, got {shape}")
    pairs = zip(x.reshape(-1, *shape), prediction.reshape(-1, *shape), strict=True)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(np.mean([structural_similarity(a, b, **options) for a, b in pairs]))
