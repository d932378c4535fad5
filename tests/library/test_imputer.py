"""The scikit-learn imputer: scikit-learn's own checks, a table with known structure, and files without pickle."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from tvae_lib import checkpoint, imputer
from tvae_lib.imputer import VAEImputer
from tvae_lib.latent import Gaussian
from tvae_lib.tables.imputer import some_missing
from tvae_lib.vae_numpy import VAE


@parametrize_with_checks([VAEImputer(epochs=5)])
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def curve():
    """Four columns that one number decides, two of them bent, in different units; a third of the numbers is missing."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, 1200)
    whole = np.stack([t, 100 * t**2, 0.01 * np.sin(3 * t) + 5, -t], axis=1) + rng.normal(0, 0.02, (1200, 4)) * [1, 100, 0.01, 1]
    return whole, np.where(rng.random(whole.shape) < 0.3, np.nan, whole)


@pytest.fixture(scope="module")
def fitted(curve):
    return VAEImputer(code=4, epochs=60).fit(curve[1][:800])


def error(whole, holes, filled):
    """Mean squared error on what is missing, in variances of a column."""
    return np.mean(np.square((filled - whole) / whole.std(axis=0))[np.isnan(holes)])


def test_a_bent_table_with_gaps(curve, fitted):
    whole, holes = (part[800:] for part in curve)
    filled = fitted.transform(holes)
    np.testing.assert_array_equal(filled[~np.isnan(holes)], holes[~np.isnan(holes)])
    by_mean = error(whole, holes, SimpleImputer().fit(curve[1][:800]).transform(holes))
    assert error(whole, holes, filled) < 0.35 * by_mean
    for method in imputer.METHODS:
        other = VAEImputer.set_params(fitted, method=method).transform(holes)
        assert error(whole, holes, other) < 0.6 * by_mean, method
    fitted.set_params(method="most probable code")


def test_several_imputations_differ_where_the_rest_says_little(curve, fitted):
    whole, holes = (part[800:].copy() for part in curve)
    holes[:40] = np.nan
    tables = fitted.sample(holes, copies=6)
    assert tables.shape == (6, 400, 4)
    there = ~np.isnan(holes)
    np.testing.assert_array_equal(tables[:, there], np.broadcast_to(holes[there], (6, there.sum())))
    spread = tables.std(axis=0) / whole.std(axis=0)
    assert (spread[~there] > 0).all() and spread[:40].mean() > 1.3 * spread[40:][~there[40:]].mean()


def test_units_do_not_matter(curve):
    """Columns in other units, from other zeros: the same filled-in table in these units."""
    holes = curve[1][:300]
    units, zeros = np.array([1e3, 1e-4, 7, 1]), np.array([5, -1, 0, 1e3])
    here = VAEImputer(epochs=3).fit_transform(holes)
    there = VAEImputer(epochs=3).fit_transform(holes * units + zeros)
    np.testing.assert_allclose(there, here * units + zeros, rtol=1e-4)


def test_every_batch_of_a_whole_table_gets_holes():
    missing = some_missing(7)(np.random.default_rng(0), 3000)
    assert missing.shape == (3000, 7) and missing.dtype == bool
    assert abs(missing.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / missing.size)


def test_seeds_follow_the_random_state(curve, capsys):
    first, again, other = (VAEImputer(epochs=0, random_state=i).fit(curve[1][:20]).model_.params for i in (1, 1, 2))
    assert capsys.readouterr() == ("", "")
    np.testing.assert_equal(first, again)
    assert (first["encoder.0.weight"] != other["encoder.0.weight"]).any()
    assert len({VAEImputer(random_state=i)._seed() for i in range(200)}) == 200


def test_saved_and_loaded(curve, fitted, tmp_path, refuses):
    path = tmp_path / "imputer.safetensors"
    fitted.save(path)
    loaded = VAEImputer.load(path)
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.transform(curve[1]), fitted.transform(curve[1]))
    frame = pd.DataFrame(curve[1][:50], columns=list("abcd"))
    VAEImputer(epochs=1).fit(frame).save(path)
    assert list(VAEImputer.load(path).get_feature_names_out()) == list("abcd")
    assert VAEImputer.load(path).feature_names_in_.dtype == object  # as scikit-learn makes it
    VAEImputer(code=np.int64(2), sd=np.float64(0.5), epochs=1).fit(frame).save(path)  # as a grid search sets them
    assert VAEImputer.load(path).get_params()["code"] == 2
    checkpoint.save(path, VAE(Gaussian(), (4, 3, 2)))
    with refuses("holds a model, but no imputer"):
        VAEImputer.load(path)


def test_in_a_pipeline_and_a_grid_search():
    X, y = load_breast_cancer(return_X_y=True)
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)[:200]
    pipeline = make_pipeline(VAEImputer(epochs=5), KNNImputer(), LogisticRegression(max_iter=20, solver="newton-cholesky"))
    search = GridSearchCV(pipeline, {"vaeimputer__code": [2, 4], "vaeimputer__df": [None, 5]}, cv=2).fit(X, y[:200])
    assert search.best_score_ > 0.8 and len(search.cv_results_["params"]) == 4


def test_columns_without_numbers_and_constant_ones():
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[:, 0], X[:, 1] = np.nan, 1e6
    X[:10, 1] = np.nan
    filled = VAEImputer(epochs=5).fit_transform(X)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[:, 1], 1e6, rtol=1e-5)


def test_bad_arguments(curve, refuses):
    for options, message in (
        ({"method": "magic"}, "method must be"),
        ({"epochs": -1}, "epochs must be a whole number, 0 or more, got -1"),
        ({"code": 0}, "sizes must be"),
        ({"df": -1}, "df must be"),
        ({"sd": 0}, "sd must be"),
    ):
        with refuses(message):
            VAEImputer(**{"epochs": 1, **options}).fit(curve[1][:20]).transform(curve[1][:20])
