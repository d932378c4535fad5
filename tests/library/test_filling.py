"""What chapter 07 measures besides the scores of the sweep, against plain counting, and what is shipped of it."""

import numpy as np
import pandas as pd
import pytest

from tvae_lib import baselines, impute, metrics, results
from tvae_lib.experiments import filling


def test_the_rule_takes_the_largest_of_the_best():
    a = {"method": "a", "mask": "m", "value": [1, 2, 3], "error": [5.0, 5.024, 5.026]}
    b = {"method": "b", "mask": ["m", "m", "n"], "value": [1, 2, 3], "error": [5.1, 5.0, 9.0]}
    rows = pd.concat([pd.DataFrame(a), pd.DataFrame(b)])
    assert filling.chosen(rows).to_dict() == {("a", "m"): 2, ("b", "m"): 2, ("b", "n"): 3}


def test_coverage_is_promised_and_found(mnist):
    rows = list(filling.coverages(20, [1], ["gaussian"], copies=8, methods={"latent_map": (impute.latent_map, {})}))
    assert [(row["mask"], row["level"]) for row in rows] == [(m, p) for m in ("random", "squares") for p in (0.5, 0.9)]
    missing, model = results.test_masks(1, 20)["squares"], results.load_model("gaussian", 1)
    drawn = impute.completions(model, mnist.test[:20], missing, method=impute.latent_map, copies=8, seed=1)[:, missing]
    assert set(np.unique(drawn)) == {0, 1}
    inside = np.mean([(np.delete(drawn, i, axis=0) == drawn[i]).any(axis=0) for i in range(5)])
    assert rows[3]["promised"] == pytest.approx(inside)  # 0.9 of seven draws: from the least to the largest
    assert 0.8 < rows[3]["covered"] < 1 and rows[2]["covered"] < rows[3]["covered"]


def test_fractions_and_walks(mnist):
    x, model, missing = mnist.test[:6], results.load_model("gaussian", 2), results.test_masks(2, 6)
    rows = pd.DataFrame(filling.walks(6, [2], (8, 60)))
    code = rows.query("method == 'latent_map' and mask == 'squares'").error.item()
    prediction = impute.latent_map(model, x, missing["squares"], draws=30, seed=2)
    assert code == pytest.approx(1000 * np.mean((prediction - x)[missing["squares"]] ** 2), rel=1e-5)
    assert rows.accepted.dropna().between(0, 1).all() and set(rows.query("method == 'langevin'").draws) == {8, 60}
    rows = pd.DataFrame(filling.fractions(6, [2], [2, 8])).set_index(["method", "missing"]).error
    assert rows["conditional", 20] < rows["conditional", 80] and len(rows) == 10


def test_what_is_shipped(mnist):
    settings = results.stored("filling/settings")
    assert settings.groupby(["method", "mask"]).size().to_dict().keys() == {
        (method, mask) for method in filling.SETTINGS for mask in ("random", "squares")
    }
    # Without a seed: the blur gives what it gave.
    valid, missing = mnist.valid[:300], results.test_masks(1000, 300)["squares"]
    width = filling.chosen(settings)["blur", "squares"]
    prediction = baselines.blur(mnist.train, valid, missing, width=width)
    stored = settings.query("method == 'blur' and mask == 'squares' and value == @width").error.item()
    assert stored == pytest.approx(1000 * metrics.mse_missing(valid, prediction, missing), rel=1e-4)
    coverages = results.stored("filling/coverages")
    assert coverages.covered.between(0.5, 1).all() and coverages.promised.between(0.5, 1).all()
    assert results.stored("filling/walks").accepted.dropna().between(0, 1).all()
    with pytest.raises(ValueError, match=r"there are .*filling/coverages"):
        results.stored("filling/nothing")


def test_settings_are_tried_on_validation_digits(mnist, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(filling, "SETTINGS", {"blur": (baselines.blur, "width", (0.5, 2.0))})
    rows = list(filling.settings(n=30))
    valid, missing = mnist.valid[:30], results.test_masks(1000, 30)["squares"]
    expected = 1000 * metrics.mse_missing(valid, baselines.blur(mnist.train, valid, missing, width=2.0), missing)
    assert len(rows) == 4 and rows[3]["error"] == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(filling, "EXPERIMENTS", (filling.settings, filling.walks))
    monkeypatch.setattr(filling.settings, "__defaults__", (10,))
    for _ in range(2):
        filling.main(["--results", str(tmp_path), "--only", "settings"])
    assert capsys.readouterr().out == "settings: 4 rows\n" and [path.name for path in tmp_path.iterdir()] == ["settings.json"]
