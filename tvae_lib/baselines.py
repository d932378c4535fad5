"""Ways to fill in missing values that need no network, against which the models are measured.

Each takes complete training data (N, D), data x (n, D) and a mask `missing` (bool, True = missing), never looks at the values of
x under the mask, and returns a prediction (n, D); `impute.fill` then keeps what was observed. `limits` are the bounds of the data
and of the predictions: (0, 1) for pixels, None for real numbers, whose columns should be standardised first.

ValueError unless the numbers lie within the limits (and are finite, at most 1e15), there is at least one row to train on, and the
shapes fit.
"""

import numpy as np
from scipy.linalg.lapack import dposv

from tvae_lib.inputs import check_image_shape, check_images, check_mask, finite, number, real_array, said, whole
from tvae_lib.metrics import mse_missing


def _check(train, x, missing, limits):
    """The three as arrays, and the two limits. x has what is nearest to 0 where it is missing."""
    low, high = _bounds(limits)
    missing = check_mask(missing, real_array("x", x).shape)
    x = np.where(missing, np.clip(0, low, high), x)
    train, x = finite("train", train, limit=1e15), finite("x", x, limit=1e15)
    if train.ndim != 2 or not train.size:
        raise ValueError(f"train must hold at least one image, shape (N, D), got shape {train.shape}")
    for part in (train, x):
        check_images(part, train.shape[1], low, high)
    return train, x, missing, (low, high)


def _bounds(limits):
    if limits is None:
        return -np.inf, np.inf
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError, OverflowError):
        low, high = 0, 0
    if not low < high:
        raise ValueError(f"limits must be two numbers, the lower first, or None, got {said(limits)}")
    return low, high


def zero(train, x, missing, limits=(0, 1)):
    """Black."""
    train, x, missing, _ = _check(train, x, missing, limits)
    return np.zeros(x.shape, np.float32)


def mean(train, x, missing, limits=(0, 1)):
    """The mean training image, whatever is observed."""
    train, x, missing, _ = _check(train, x, missing, limits)
    return np.broadcast_to(train.mean(axis=0, dtype=np.float64), x.shape).astype(np.float32)


def blur(train, x, missing, width=1.0, shape=(28, 28), limits=(0, 1)):
    """The mean of the observed pixels around, weighted by a Gaussian of standard deviation `width` pixels.

    shape: rows and columns of an image. What has no observed pixel within 4 widths gets the mean training image.
    ValueError unless width lies in [0.1, 100].
    """
    from scipy.ndimage import gaussian_filter

    train, x, missing, _ = _check(train, x, missing, limits)
    shape, width = check_image_shape(shape, x.shape), number("width", width, 0.1, 100)
    images = np.stack([~missing, np.where(missing, 0, x)]).astype(np.float64).reshape(2, -1, *shape)
    weight, total = gaussian_filter(images, (0, 0, width, width), mode="constant").reshape(2, *x.shape)
    around = weight > 1e-9
    return np.where(around, total / np.where(around, weight, 1), train.mean(axis=0, dtype=np.float64)).astype(np.float32)


def nearest_neighbours(train, x, missing, k=10, limits=(0, 1)):
    """The mean of the k training images that are nearest on the observed pixels.

    It is what scikit-learn's KNNImputer does; with matrix products for the distances 10,000 images take a minute, not an hour.
    ValueError unless k is a whole number from 1 to N.
    """
    train, x, missing, _ = _check(train, x, missing, limits)
    k = whole("k", k, 1, len(train))
    squared, prediction = train**2, np.empty(x.shape, np.float32)
    for start in range(0, len(x), 500):
        rows = slice(start, start + 500)
        observed = (~missing[rows]).astype(np.float32)
        # |x - y|^2 over the observed pixels, without |x|^2, which is the same for every y
        distance = observed @ squared.T - 2 * np.where(missing[rows], 0, x[rows]) @ train.T
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        prediction[rows] = train[nearest].mean(axis=1)
    return prediction


def principal_components(train, x, missing, components=60, passes=30, limits=(0, 1)):
    """Start from the mean image, then `passes` times project the filled-in image on the first principal components.

    The linear relative of feeding an image back to an autoencoder. ValueError unless components is a whole number from 1 to the
    smaller of N and the number of pixels, and passes one of 0 or more.
    """
    from sklearn.decomposition import PCA

    train, x, missing, bounds = _check(train, x, missing, limits)
    if np.ptp(train, axis=0).max() < 1e-6:
        raise ValueError("train must hold images that differ by more than 1e-6: others have no principal components")
    components, passes = whole("components", components, 1, min(train.shape)), whole("passes", passes)
    pca = PCA(components, svd_solver="covariance_eigh").fit(train.astype(np.float64))  # float32 loses digits of the covariance
    prediction = mean(train, x, missing, limits)
    for _ in range(passes):
        filled = np.where(missing, prediction, x)
        prediction = np.clip(pca.inverse_transform(pca.transform(filled)), *bounds).astype(np.float32)
    return prediction


def conditional_mean(train, x, missing, ridge=1e-3, limits=(0, 1)):
    """mu_m + S_mo (S_oo + ridge I)^-1 (x_o - mu_o), clipped: what a Gaussian expects of the missing pixels m, given the others o.

    mu and S are mean and covariance of the training images. The prediction of an observed pixel is that pixel.

    With P = (S + ridge I)^-1 it is also mu_m - P_mm^-1 P_mo (x_o - mu_o), so of m and o the smaller set is solved for; what is
    multiplied by P_mo and S_mo is so for all images at once, and images with the same mask share one Cholesky factor.
    ValueError unless ridge lies in [1e-12, 1e12] and is large enough for S + ridge I to have a factor in float64.
    """
    train, x, missing, bounds = _check(train, x, missing, limits)
    mu = train.mean(axis=0, dtype=np.float64)
    centred = train - mu
    covariance = centred.T @ centred / len(train)
    covariance[np.diag_indices(len(mu))] += number("ridge", ridge, 1e-12, 1e12)
    precision = _solve(covariance.copy(), np.eye(len(mu))).T  # LAPACK answers column by column; rows are faster to pick from
    observed = np.where(missing, 0, x - mu)
    pull, solution = -observed @ precision, np.zeros(x.shape)
    few_missing = 2 * missing.sum(axis=1, keepdims=True) <= len(mu)
    for rows in same_rows(missing):
        if few_missing[rows[0]]:
            matrix, right, solved = precision, pull, np.flatnonzero(missing[rows[0]])
        else:
            matrix, right, solved = covariance, observed, np.flatnonzero(~missing[rows[0]])
        block = matrix.take(solved, 0).take(solved, 1)
        solution[np.ix_(rows, solved)] = _solve(block, right[rows].take(solved, 1).T).T
    expected = np.where(few_missing, solution, solution @ covariance)  # solved for m: the answer; for o: still times S_mo
    return np.clip(np.where(missing, mu + expected, x), *bounds).astype(np.float32)


def same_rows(missing):
    """The numbers of the rows of a mask (n, D), one array for each pattern that occurs: rows in one array are equal."""
    if not missing.size:
        return []
    _, pattern = np.unique(np.packbits(missing, axis=1), axis=0, return_inverse=True)
    order = np.argsort(pattern, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(pattern[order])) + 1)


def _solve(matrix, right):
    """matrix^-1 right, of a symmetric positive definite matrix, by a Cholesky factor written over the matrix."""
    if not right.size:
        return right
    _, solution, failed = dposv(matrix.T, right, lower=True, overwrite_a=True)  # transposed: no copy is made for LAPACK
    if failed:
        raise ValueError("ridge is too small for these data: the covariance with the ridge added has no Cholesky factor")
    return solution


def tuned(method, option, values, train, valid, missing, **others):
    """The one of `values` for an option of a method that leaves the smallest error on the missing pixels of validation images."""
    error = lambda value: mse_missing(valid, method(train, valid, missing, **{option: value}, **others), missing)
    return min(values, key=error)
