"""The methods without a network: against scikit-learn and a direct loop, and blind to what is missing."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer

from tvae_lib import baselines, masks, metrics

METHODS = [baselines.zero, baselines.mean, baselines.nearest_neighbours, baselines.principal_components]


@pytest.fixture(scope="module")
def task(mnist):
    x = mnist.test[:600]
    return mnist.train[:2000], x, masks.random_squares(np.random.default_rng(0), len(x))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_hidden_pixels_are_never_looked_at(task, method):
    train, x, missing = task
    prediction = method(train, x, missing)
    assert prediction.shape == x.shape and prediction.dtype == np.float32
    assert prediction.min() >= 0 and prediction.max() <= 1
    for hidden in (np.nan, 0.3, 1e30):
        np.testing.assert_array_equal(method(train, np.where(missing, hidden, x).astype(np.float32), missing), prediction)


def test_zero_and_mean(task):
    train, x, missing = task
    assert (baselines.zero(train, x, missing) == 0).all()
    np.testing.assert_allclose(baselines.mean(train, x, missing)[7], train.mean(axis=0, dtype=float), rtol=1e-6)


def test_nearest_neighbours_against_scikit_learn(task):
    train, x, missing = (part[:40] if part is not task[0] else part for part in task)
    imputer = KNNImputer(n_neighbors=10, keep_empty_features=True).fit(train)
    expected = imputer.transform(np.where(missing, np.nan, x))
    prediction = baselines.nearest_neighbours(train, x, missing, k=10)
    np.testing.assert_allclose(np.where(missing, prediction, x), expected, atol=1e-5)


def test_principal_components_stop_at_a_fixed_point(task):
    """The converged image solves a least-squares problem: the code that fits the observed pixels best (no clipping at play)."""
    train, x, missing = task
    train, x, missing = 0.4 + 0.2 * train, 0.4 + 0.2 * x[:5], missing[:5]
    pca = PCA(4, svd_solver="full").fit(train)
    prediction = baselines.principal_components(train, x, missing, components=4, passes=400)
    for image, hidden, ours in zip(x, missing, prediction, strict=True):
        basis = pca.components_[:, ~hidden].T
        code = np.linalg.lstsq(basis, (image - pca.mean_)[~hidden], rcond=None)[0]
        np.testing.assert_allclose(ours, pca.mean_ + code @ pca.components_, atol=1e-4)


def test_they_rank_as_expected(task):
    train, x, missing = task
    error = [metrics.mse_missing(x, method(train, x, missing), missing) for method in METHODS]
    assert error[0] > error[1] > max(error[2:])
