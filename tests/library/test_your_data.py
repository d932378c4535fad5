"""The study behind the page "Which method for my data?": its data, its scores, and the tables that are shipped."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tvae_lib import results
from tvae_lib.experiments import your_data
from tvae_lib.results import RESULTS


@pytest.mark.parametrize("name", your_data.DATA)
def test_the_data(name):
    train, holes, test, missing = your_data.split(your_data.DATA[name], seed=1)
    assert train.shape == holes.shape and test.shape == missing.shape and train.shape[1] == test.shape[1]
    assert len(test) == pytest.approx(0.3 * (len(train) + len(test)), abs=1)
    assert 0.1 < missing.mean() < 0.5 and np.abs(train.mean(axis=0)).max() < 0.1 and train.std(axis=0).max() < 1.01
    error, seconds = your_data.score(your_data.METHODS["mean"], train, test, missing)
    assert error == pytest.approx(np.mean((test - train.mean(axis=0))[missing] ** 2)) and seconds >= 0


def test_the_gap_of_a_wave_is_one_stretch(rng):
    _, missing = your_data.waves(rng, 200)
    edges = np.diff(np.pad(missing.astype(int), ((0, 0), (1, 1))), axis=1)
    assert (missing.sum(axis=1) == 15).all() and (np.abs(edges).sum(axis=1) == 2).all()


def test_no_method_looks_under_the_holes():
    train, _, test, missing = your_data.split(your_data.measurements, seed=0)
    for name in ("conditional mean", "nearest neighbours"):
        filled = your_data.METHODS[name](train, np.where(missing, np.nan, test))
        np.testing.assert_allclose(filled[~missing], test[~missing], rtol=1e-5)
        assert np.mean(np.square(filled - test)[missing]) < 0.5


def test_what_is_shipped():
    tried, swept = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("your_data", "your_data_sweep"))
    small = tried[tried.data != "MNIST"]
    expected = len(your_data.DATA) * len(your_data.SEEDS) * (len(your_data.METHODS) + len(your_data.WITH_GAPS))
    assert len(small) == expected and small.error.between(0, 1.2).all() and (small.seconds >= 0).all()
    assert set(swept.option) == set(your_data.SWEEP) and swept.error.between(0, 1.2).all()
    # Without a seed: linear algebra gives what it gave.
    train, _, test, missing = your_data.split(your_data.measurements, seed=0)
    error, _ = your_data.score(your_data.conditional_mean, train, test, missing)
    stored = small.query("data == 'measurements' and training == 'whole' and method == 'conditional mean' and seed == 0")
    assert stored.error.item() == pytest.approx(error, rel=1e-3)


def test_both_tables_are_made(monkeypatch, mnist, tmp_path):
    few = replace(mnist, train=mnist.train[::100])
    methods = {name: your_data.METHODS[name] for name in ("mean", "conditional mean")}
    for name, value in {"METHODS": methods, "WITH_GAPS": ("mean",), "SEEDS": range(2), "RESULTS": tmp_path}.items():
        monkeypatch.setattr(your_data, name, value)
    monkeypatch.setattr(your_data, "SWEEP", {"epochs": (1, 30), "sd": (None,)})
    monkeypatch.setattr(your_data, "load_mnist", lambda: few)
    monkeypatch.setattr(your_data.on_mnist, "__defaults__", (20,))
    your_data.main()
    tried, swept = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("your_data", "your_data_sweep"))
    assert len(tried) == 3 * 2 * 3 + 6
    errors = tried[tried.training == "whole"].groupby(["data", "method"]).error.mean()
    assert all(errors[data, "conditional mean"] < errors[data, "mean"] for data in ("digits", "measurements", "MNIST"))
    missing = results.test_masks(0)["squares"][:20]
    expected = 1000 * np.mean(np.where(missing, few.train.mean(axis=0) - few.test[:20], 0) ** 2)
    assert errors["MNIST", "mean"] == pytest.approx(expected, rel=1e-4)
    values = swept[swept.option == "epochs"].groupby("value").error.mean()
    assert values["30"] < values["1"] and set(swept[swept.option == "sd"].value) == {"learned"}
