"""Ways to fill in missing pixels that need no network, against which the models are measured.

Each takes complete training images (N, 784), images x (n, 784) and a mask `missing` (bool, True = missing), never looks at the
values of x under the mask, and returns a prediction (n, 784); `impute.fill` then keeps the observed pixels.

ValueError unless pixels, the observed ones of x and all of train, lie in [0, 1], there is at least one training image, and the
shapes fit.
"""

import numpy as np

from tvae_lib.inputs import check_images, check_mask, real_array, whole


def _check(train, x, missing):
    """The three as arrays, x with 0 where it is missing. NumPy's float32 and float64 stay; other numbers become float32."""
    train, x = real_array("train", train), real_array("x", x)
    check_images(train, train.shape[-1] if train.ndim else 0)
    if not train.size:
        raise ValueError(f"train must hold at least one image, got shape {train.shape}")
    missing = check_mask(missing, x.shape)
    x = np.where(missing, 0, x)
    check_images(x, train.shape[1])
    return *(part if part.dtype in (np.float32, np.float64) else part.astype(np.float32) for part in (train, x)), missing


def zero(train, x, missing):
    """Black."""
    train, x, missing = _check(train, x, missing)
    return np.zeros(x.shape, np.float32)


def mean(train, x, missing):
    """The mean training image, whatever is observed."""
    train, x, missing = _check(train, x, missing)
    return np.broadcast_to(train.mean(axis=0, dtype=np.float64), x.shape).astype(np.float32)


def nearest_neighbours(train, x, missing, k=10):
    """The mean of the k training images that are nearest on the observed pixels.

    It is what scikit-learn's KNNImputer does; with matrix products for the distances 10,000 images take a minute, not an hour.
    ValueError unless k is a whole number from 1 to N.
    """
    train, x, missing = _check(train, x, missing)
    k = whole("k", k, 1, len(train))
    squared, prediction = train**2, np.empty(x.shape, np.float32)
    for start in range(0, len(x), 500):
        rows = slice(start, start + 500)
        observed = (~missing[rows]).astype(np.float32)
        # |x - y|^2 over the observed pixels, without |x|^2, which is the same for every y
        distance = observed @ squared.T - 2 * x[rows] @ train.T
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        prediction[rows] = train[nearest].mean(axis=1)
    return prediction


def principal_components(train, x, missing, components=60, passes=30):
    """Start from the mean image, then `passes` times project the filled-in image on the first principal components.

    The linear relative of feeding an image back to an autoencoder. ValueError unless components is a whole number from 1 to the
    smaller of N and the number of pixels, and passes one of 0 or more.
    """
    from sklearn.decomposition import PCA

    train, x, missing = _check(train, x, missing)
    if np.ptp(train, axis=0).max() < 1e-6:
        raise ValueError("train must hold images that differ by more than 1e-6: others have no principal components")
    components, passes = whole("components", components, 1, min(train.shape)), whole("passes", passes)
    pca = PCA(components, svd_solver="covariance_eigh").fit(train.astype(np.float64))  # float32 loses digits of the covariance
    prediction = mean(train, x, missing)
    for _ in range(passes):
        filled = np.where(missing, prediction, x)
        prediction = np.clip(pca.inverse_transform(pca.transform(filled)), 0, 1).astype(np.float32)
    return prediction
