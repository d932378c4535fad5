"""The methods without a network: against scikit-learn and direct loops, and blind to what is missing."""

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer

from tvae_lib import baselines, masks, metrics

METHODS = [
    baselines.zero,
    baselines.mean,
    baselines.blur,
    baselines.nearest_neighbours,
    baselines.principal_components,
    baselines.conditional_mean,
]


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
    for k in (1, 10):
        imputer = KNNImputer(n_neighbors=k, keep_empty_features=True).fit(train)
        expected = imputer.transform(np.where(missing, np.nan, x))
        prediction = baselines.nearest_neighbours(train, x, missing, k=k)
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


def test_blur_by_loops(rng):
    """Each missing pixel, one at a time: its observed neighbours, weighted by exp(-distance^2 / (2 width^2))."""
    rows, columns, width = 6, 9, 0.8
    x, train = rng.random((3, 54)), rng.random((4, 54))
    missing = rng.random((3, 54)) < 0.5
    missing[2] = True  # nothing to average
    prediction = baselines.blur(train, x, missing, width=width, shape=(rows, columns))
    row, column = np.divmod(np.arange(54), columns)
    for image in range(2):
        for pixel in np.flatnonzero(missing[image]):
            down, right = row - row[pixel], column - column[pixel]
            near = ~missing[image] & (abs(down) <= 3) & (abs(right) <= 3)  # SciPy's filter ends at 4 widths, rounded
            weight = np.exp(-(down**2 + right**2) / (2 * width**2)) * near
            expected = (weight @ x[image]) / weight.sum() if near.any() else train[:, pixel].mean()
            assert prediction[image, pixel] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(prediction[2], train.mean(axis=0), rtol=1e-6)


def solves(train, x, missing, ridge):
    """The plain reference of `conditional_mean`: one solve for each image, by the formula."""
    mu, covariance = train.mean(axis=0), np.cov(train, rowvar=False, bias=True) + ridge * np.eye(train.shape[1])
    prediction = x.astype(float)
    for image, m in zip(prediction, missing, strict=True):
        solution = np.linalg.solve(covariance[np.ix_(~m, ~m)], (image - mu)[~m])
        image[m] = mu[m] + covariance[np.ix_(m, ~m)] @ solution
    return prediction


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_conditional_mean_against_a_loop_of_solves(mnist, share):
    train, x = mnist.train[:3000].astype(float), mnist.test[:40]
    missing = np.random.default_rng(1).random(x.shape) < share
    missing[0], missing[1] = False, True
    found = baselines.conditional_mean(train, x, missing, ridge=0.01)
    np.testing.assert_allclose(found, np.clip(solves(train, x, missing, 0.01), 0, 1), atol=1e-6)
    assert (found[0] == x[0]).all()
    np.testing.assert_allclose(found[1], train.mean(axis=0), atol=1e-6)


def test_conditional_mean_of_a_gaussian_table(rng):
    """Real numbers, few columns, masks that repeat: the mean squared error is the conditional variance."""
    mixing = rng.normal(size=(5, 5))
    train, x = rng.normal(size=(20_000, 5)) @ mixing + 3, rng.normal(size=(20_000, 5)) @ mixing + 3
    missing = rng.random(x.shape) < 0.4
    found = baselines.conditional_mean(train, x, missing, ridge=1e-6, limits=None)
    np.testing.assert_allclose(found, solves(train, x, missing, 1e-6), atol=1e-4)
    covariance = mixing.T @ mixing
    for pattern in ([0, 1, 0, 0, 1], [1, 1, 1, 0, 1]):
        m = np.array(pattern, bool)
        here = (missing == m).all(axis=1)
        left = linalg.inv(linalg.inv(covariance)[np.ix_(m, m)])  # the covariance of m once the others are known
        error = np.mean((found - x)[np.ix_(here, m)] ** 2, axis=0)
        np.testing.assert_allclose(error, np.diag(left), rtol=0.3)


def test_rows_with_one_mask_are_found(rng):
    missing = rng.random((200, 9)) < 0.1
    groups = baselines.same_rows(missing)
    assert sorted(np.concatenate(groups)) == list(range(200))
    assert len(groups) == len(set(map(bytes, missing)))
    assert all((missing[rows] == missing[rows[0]]).all() for rows in groups)
    assert baselines.same_rows(missing[:0]) == []


def test_tuned_takes_the_value_with_the_smallest_error(task):
    train, x, missing = (part[:200] for part in task)
    errors = [metrics.mse_missing(x, baselines.blur(train, x, missing, width=width), missing) for width in (0.3, 1, 5)]
    assert baselines.tuned(baselines.blur, "width", (0.3, 1, 5), train, x, missing) == (0.3, 1, 5)[np.argmin(errors)] == 1


@pytest.mark.parametrize("method", [m for m in METHODS if m is not baselines.blur], ids=lambda method: method.__name__)
def test_a_table_of_real_numbers(rng, method):
    """Three columns, two of them one number times two: all but black and the mean know the one from the other."""
    options = {"components": 2} if method is baselines.principal_components else {}
    train = rng.normal(size=(500, 3))
    train[:, 1] = 2 * train[:, 0]
    x, missing = train[:50], np.tile([False, True, False], (50, 1))
    found = method(train + 7, x + 7, missing, limits=None, **options)
    assert found.shape == x.shape and np.isfinite(found).all()
    if method not in METHODS[:2]:
        assert metrics.mse_missing(x + 7, found, missing) < 0.05 * x[:, 1].var()


def test_what_is_taken_if_nothing_is_said(task):
    options = [{}, {}, {"width": 1, "shape": (28, 28)}, {"k": 10}, {"components": 60, "passes": 30}, {"ridge": 1e-3}]
    train, x, missing = task[0][:200], task[1][:6], task[2][:6]
    for method, said in zip(METHODS, options, strict=True):
        np.testing.assert_array_equal(method(train, x, missing), method(train, x, missing, limits=(0, 1), **said))


def test_bad_input(task, refuses):
    train, x, missing = (part[:20] for part in task)
    with refuses(r"shape must be two whole numbers, 1 or more, rows and columns, got \(28,\)"):
        baselines.blur(train, x, missing, shape=(28,))
    with refuses(r"images must have shape \(n, 64\), got \(20, 784\)"):
        baselines.blur(train, x, missing, shape=(8, 8))
    for width in (0, -1, np.nan, "1", True):
        with refuses("width must be a number from 0.1 to 100, got"):
            baselines.blur(train, x, missing, width=width)
        with refuses("ridge must be a number from 1e-12 to 1e\\+12, got"):
            baselines.conditional_mean(train, x, missing, ridge=width)
    with refuses("ridge is too small for these data"):
        baselines.conditional_mean(1e9 * train, x, missing, ridge=1e-12, limits=None)
    for limits in (3, (1, 0), (0, np.nan), ("a", "b"), (0, 1, 2)):
        with refuses("limits must be two numbers, the lower first, or None, got"):
            baselines.mean(train, x, missing, limits=limits)
    with refuses(r"pixels must lie in \[0, 0.5\], got values from 0 to 1"):
        baselines.mean(train, x, missing, limits=(0, 0.5))
    for method in METHODS:
        for wrong in (1.01 * train, train - 0.01):
            with refuses(r"pixels must lie in \[0, 1\], got values from"):
                method(wrong, x, missing)
