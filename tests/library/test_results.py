"""Reading results/: intervals, pairs of models, names, and the source project's figures."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tvae_lib import checkpoint, results
from tvae_lib.results import Interval


def test_interval_of_a_sample(rng):
    values = rng.normal(3, 2, 12)
    gap = Interval.of(values)
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    np.testing.assert_allclose([*gap], [values.mean(), *expected], rtol=1e-12)
    assert gap.mean in gap and gap.low in gap and gap.high in gap
    assert gap.low - 1e-9 not in gap and gap.high + 1e-9 not in gap
    with pytest.raises(AttributeError):
        gap.mean = 0.0
    for scaled in (-1000 * gap, gap * -1000):
        np.testing.assert_allclose([*scaled], [*Interval.of(-1000 * values)], rtol=1e-12)


def test_intervals_are_written_with_a_real_minus():
    gap = Interval(0.00123, -0.0003, 0.0027)
    assert f"{gap:+.4f}" == "+0.0012 (−0.0003 to +0.0027)" and 0 in gap
    assert f"{1000 * gap:.1f}" == "1.2 (−0.3 to 2.7)"
    assert f"{gap:+.1%}" == "+0.1% (−0.0% to +0.3%)"
    assert f"{Interval.of([-2.0]):+.1f}" == f"{Interval.of([-2.0, -2.0]):+.1f}" == "−2.0"
    assert f"{Interval.of([]):+.1f}" == "–"
    assert 0 in Interval.of([5.0])  # of one value nothing is known


def test_names_and_families():
    names = ("gaussian", "t21", "t2.1", "mt3", "gaussian_t3", "t3_gaussian", "t5_t21")
    titles = (
        "Gaussian",
        "t, ν = 21",
        "t, ν = 2.1",
        "multivariate t, ν = 3",
        "Gaussian encoder, t prior, ν = 3",
        "t encoder, ν = 3, Gaussian prior",
        "t encoder, ν = 5, t prior, ν = 21",
    )
    assert tuple(map(results.title, names)) == titles
    for name in (*names, "t3unit"):
        assert results.model_of(results.family_of(name)) == name
    assert results.family_of("t3unit").scale ** 2 * stats.t(3).var() == pytest.approx(1)
    assert results.title("latent_map") == "most probable code" and results.title("pca60") == "PCA, 60"
    assert results.title("gaussian_laplace") == "Gaussian encoder, Laplace prior"
    assert results.title("mse_imputation") == "mse_imputation" and results.title("t3unit") == "t, ν = 3, unit variance"


@pytest.mark.parametrize("name", ["t", "tx", "normal", "21", ""])
def test_a_name_without_a_family_is_refused(name, refuses):
    with refuses(f'model must be "gaussian", "t21", "mt21", "gaussian_t3" or alike, got {name!r}'):
        results.family_of(name)


def test_a_family_without_a_name_is_refused(refuses):
    with refuses("family must be one of tvae_lib.latent, got 3"):
        results.model_of(3)


@pytest.fixture
def few_scores(monkeypatch):
    """A table of two studies: seeds 0 to 2 of the Gaussian, 1 to 3 of t, and a model of the study "apart"."""
    names = {"mask": "squares", "method": "single_pass", "backend": "numpy", "metric": "mse_imputation", "nu": 0.0}
    values = {
        ("gaussian", ""): {0: 0.020, 1: 0.021, 2: 0.024},
        ("t21", ""): {1: 0.020, 2: 0.021, 3: 0.1},
        ("gaussian_t3", "apart"): {0: 0.021, 2: 0.022},
    }
    rows = [
        names | {"model": model, "study": study, "seed": seed, "value": value}
        for (model, study), runs in values.items()
        for seed, value in runs.items()
    ]
    monkeypatch.setattr(results, "load_scores", lambda: pd.DataFrame(rows)[results.COLUMNS])
    return {"mask": "squares", "method": "single_pass"}


def test_pairs_are_the_seeds_of_both(few_scores):
    gap = results.paired("mse_imputation", "t21", "gaussian", **few_scores)
    np.testing.assert_allclose([*gap], results.mean_interval([-0.001, -0.003]))
    other = results.paired("mse_imputation", "gaussian_t3", "gaussian", **few_scores, study="apart", other_study="")
    np.testing.assert_allclose([*other], results.mean_interval([0.001, -0.002]))
    both = results.scores_by_seed("mse_imputation", **few_scores, models=["t21", "gaussian"])
    assert list(both.columns) == ["t21", "gaussian"] and list(both.index) == [1, 2]


def test_a_row_that_compares(few_scores):
    row = results.compare("mse_imputation", scale=1000, spec=".1f", **few_scores)
    assert results.compare("mse_imputation", **few_scores)["Gaussian"] == "0.02 ± 0.00"
    assert row == {"Gaussian": "22.5 ± 2.1", "t, ν = 21": "20.5 ± 0.7", "t − Gaussian (95 %)": "−2.0 (−14.7 to +10.7)"}


def test_models_without_scores_are_refused(few_scores, refuses):
    with refuses("models must be among 'gaussian', 't21', got 't3'"):
        results.paired("mse_imputation", "t3", **few_scores)


def test_files_of_a_study(refuses):
    expected = checkpoint.load(results.RESULTS / "weights" / "gaussian-numpy-0-holes.safetensors").params
    np.testing.assert_equal(results.load_model("gaussian", study="holes").params, expected)
    record = results.read_record(results.RESULTS / "runs" / "t5_t3-numpy-1-exact.json")
    assert results.load_history("t5_t3", 1, study="exact") == record["history"]
    with refuses(r"no run of 't5_t3' with seed 7 \(numpy, study 'exact'\) is stored; models there: gaussian, .*, t5_t3"):
        results.load_history("t5_t3", 7, study="exact")
    with refuses("no weights are shipped for model 'gaussian' with seed 0, study 'exact'; there are gaussian-numpy-0"):
        results.load_model("gaussian", study="exact")


def test_scores_of_filling_in(tmp_path, monkeypatch):
    rows = [["random", "importance", {"mse": 0.01}], ["squares", "latent_map", {"mse": 0.02, "ssim": 0.5}]]
    holes = {"a": {"model": "t21", "seed": 2, "study": "holes_mask", "rows": rows}}
    floor = {"b": {"network": "vaeac", "seed": 0, "rows": rows[:1]}, "c": {"network": "", "seed": 1, "rows": rows[1:]}}
    (tmp_path / "holes.json").write_text(json.dumps(holes))
    (tmp_path / "floor.json").write_text(json.dumps(floor))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    expected = [
        ["holes_mask", "t21", 2, "random", "importance", 10, np.nan],
        ["holes_mask", "t21", 2, "squares", "latent_map", 20, 0.5],
        ["vaeac", "gaussian", 0, "random", "importance", 10, np.nan],
        ["without", "gaussian", 1, "squares", "latent_map", 20, 0.5],
    ]
    columns = ["trained", "model", "seed", "mask", "method", "mse", "ssim"]
    pd.testing.assert_frame_equal(results.load_filling.__wrapped__(), pd.DataFrame(expected, columns=columns), check_dtype=False)


def test_what_the_source_project_published(refuses):
    assert results.published("mse_imputation", "random") == {"gaussian": 0.0091, "t21": 0.0081}
    assert results.published("ssim_global_prediction", "squares") == {"gaussian": 0.5746, "t21": 0.6506}
    assert results.published("valid_loss", backend="torch") == {"gaussian": 109.34, "t21": 109.44}
    table = pd.read_csv(results.RESULTS / "published.csv", keep_default_na=False)
    assert len(table) == 26 and not table.duplicated(list(table.columns[:-1])).any()
    assert set(table.metric) - {"loss", "valid_loss"} <= set(results.load_scores().metric)
    with refuses("nothing was published as 'mse_missing' for mask '' and 'numpy'; there are loss"):
        results.published("mse_missing")
