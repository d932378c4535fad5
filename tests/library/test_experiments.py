"""The long runs, rehearsed on a few images: protocol, files, resuming, scores, and the command line."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from scipy import stats

from tvae_lib import checkpoint, experiments, impute, metrics, outliers, results
from tvae_lib.data import load_fashion_test
from tvae_lib.experiments import STUDIES, Run, driver, scoring, studies
from tvae_lib.latent import Gaussian, StudentT, kl_exact
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE


def run_of(model, seed=0, study=STUDIES[0], **fields):
    """A run of the protocol, or of the study of that name, with some of its fields changed."""
    if isinstance(study, str):
        study = next(row for row in STUDIES if row.name == study)
    return Run(model, seed, dataclasses.replace(study, **fields))


@pytest.fixture
def all_scores(mnist, monkeypatch):
    """The same code on 1,000 training, 40 validation and 60 test images."""
    few = SimpleNamespace(train=mnist.train[:1000], valid=mnist.valid[:40], test=mnist.test[:60])
    few.train_labels, few.test_labels = mnist.train_labels[:1000], mnist.test_labels[:60]
    monkeypatch.setattr(driver, "load_mnist", lambda: few)
    monkeypatch.setattr(scoring, "DRAWS", 3)
    return few


@pytest.fixture
def few_images(all_scores, monkeypatch):
    """The same, where it does not matter how much is scored."""
    monkeypatch.setattr(scoring, "METHODS", (impute.single_pass,))
    monkeypatch.setattr(scoring, "score_outliers", lambda *arguments: [])
    return all_scores


def test_protocol_is_the_source_project_s():
    assert experiments.PROTOCOL == {"epochs": 300, "batch_size": 500, "lr": 0.005}
    assert (scoring.DRAWS, results.MISSING_FRACTION) == (30, 0.3)
    full = [run for run in experiments.sweep() if run.study.name == ""]
    assert all(run.study.protocol == experiments.PROTOCOL and run.study.kl is None for run in full)
    seeds = {}
    for run in full:
        seeds.setdefault((run.model, run.study.backend), []).append(run.seed)
    assert seeds["gaussian", "numpy"] == seeds["t21", "numpy"] == list(range(10))
    assert len(seeds) == 9 and all(len(some) == 6 for pair, some in seeds.items() if pair[0] not in ("gaussian", "t21"))


def test_every_row_of_the_table_is_sound():
    runs = experiments.sweep()
    assert len({run.name for run in runs}) == len(runs)
    for study in STUDIES:
        assert study.what and study.protocol.keys() == experiments.PROTOCOL.keys()
        first = study.runs[0]
        assert first.seed == 0 and {run.model for run in study.runs} == set(study.models)
        model = first.new_model()
        assert model.sizes == study.sizes and study.kl in (None, model.kl)
        for run in study.runs:
            assert results.model_of(run.family) == run.model


def test_every_finished_run_is_one_of_the_table():
    finished = {path.stem for path in (results.RESULTS / "runs").glob("*.json")}
    names = {run.name for run in experiments.sweep()} | {f"baselines-{seed}" for seed in range(scoring.BASELINE_SEEDS)}
    assert finished <= names
    shipped = {run.name for run in experiments.sweep() if run.ships_weights}
    assert {path.stem for path in (results.RESULTS / "weights").glob("*.safetensors")} <= shipped


def data_of(run, mnist):
    return run.study.data(run, mnist)


def test_training_data_of_the_studies(mnist):
    images, valid = data_of(run_of("gaussian", 4, "without"), mnist)
    assert len(images) == np.sum(mnist.train_labels != 4) and len(valid) == np.sum(mnist.valid_labels != 4)
    assert not {image.tobytes() for image in mnist.train[mnist.train_labels == 4][:100]} & {image.tobytes() for image in images}
    fashion = {image.tobytes() for image in load_fashion_test()[0][2000:]}
    scored = {image.tobytes() for image in outliers.unusual_images(mnist.test[:2000])["fashion"]}
    for study, share in (("foreign1", 0.01), ("foreign10", 0.1)):
        (images, valid), (other, _) = (data_of(run_of("gaussian", seed, study), mnist) for seed in (0, 1))
        assert valid is mnist.valid
        assert images.shape == mnist.train.shape and images.dtype == np.float32
        replaced = np.flatnonzero((images != mnist.train).any(axis=1))
        assert len(replaced) == round(share * len(images))
        assert {images[i].tobytes() for i in replaced} <= fashion - scored
        assert (np.diff(replaced) > 1).mean() > 0.8 and (images != other).any()
    assert data_of(run_of("gaussian"), mnist)[0] is mnist.train
    people, few = data_of(run_of("t21", 0, "heavy"), mnist)
    assert people.shape == (10_000, 50) and few.shape == (1000, 50) and set(np.unique(people)) == {0, 1}
    again = data_of(run_of("gaussian", 0, "heavy"), mnist)[0]
    np.testing.assert_array_equal(people, again)  # both models learn from the same people
    right = lambda study: data_of(run_of("gaussian", 0, study), mnist)[0].sum(axis=1)
    know_all_or_nothing = lambda study: np.isin(right(study), (0, 50)).mean()
    assert know_all_or_nothing("heavy") > 5 * know_all_or_nothing("light")


def test_holes_to_train_with(rng):
    missing = studies.training_holes(rng, 4000)
    assert missing.shape == (4000, 784) and missing.dtype == bool
    share = missing.mean(axis=1)
    assert np.mean(share == 0) == pytest.approx(0.1, abs=0.02)
    alone = missing.reshape(-1, 28, 28)  # a scattered hole has as many neighbours as any pixel: squares have more
    pairs = (alone[:, :, 1:] & alone[:, :, :-1]).mean(axis=(1, 2))
    squares = pairs > share**2 + 0.08
    assert squares.mean() == pytest.approx(0.45, abs=0.03) and share[squares].mean() == pytest.approx(0.375, abs=0.01)
    scattered = share[~squares & (share > 0)]
    assert stats.kstest(scattered, stats.uniform(0, 0.6).cdf).pvalue > 0.01


def test_a_warm_start_begins_with_the_gaussian_s_weights():
    model, gaussian = run_of("t3", 1, "warm").new_model(), experiments.load_model("gaussian", 1)
    assert model.family.df == 3 and model.kl == "exact"
    for name, value in gaussian.params.items():
        np.testing.assert_array_equal(model.params[name], value)
    other = run_of("t3", 1, "exact").new_model()
    assert (other.params["encoder.0.weight"] != gaussian.params["encoder.0.weight"]).any()


def test_outlier_scores(all_scores):
    model, test = VAE(StudentT(21), rng=1), all_scores.test
    run = run_of("t21", 2, "without")
    rows = run.study.score(run, model, all_scores)
    scores = {row[:3]: row[3] for row in rows}
    known = all_scores.test_labels != 2
    assert len(scores) == len(rows) and {row[:3] for row in experiments.score(model, 2, test)} < set(scores)
    usual = outliers.unusualness(model, test[known], seed=2)
    assert scores["test_bound", "", ""] == pytest.approx(usual["bound"].mean(), rel=1e-6)
    sets = {**outliers.unusual_images(test[known], 2), "left out": test[~known]}
    for name, images in sets.items():
        unusual = outliers.unusualness(model, images, seed=2)
        for score in ("reconstruction", "kl", "negative_elbo", "bound"):
            better = unusual[score][:, None] > usual[score]
            assert scores["auc", name, score] == pytest.approx(better.mean(), abs=1e-6), (name, score)
    assert "left out" not in {row[1] for row in scoring.score_digits(run_of("t21", 2), model, all_scores)}


def test_names_of_runs():
    assert run_of("gaussian", 3).name == "gaussian-numpy-3" and run_of("gaussian", 3).family.__class__ is Gaussian
    assert run_of("t2.1", backend="torch").name == "t2.1-torch-0" and run_of("t21", 3, "exact").name == "t21-numpy-3-exact"
    assert isinstance(run_of("t21").family, StudentT) and run_of("t21").family.df == 21


def test_masks_of_a_seed():
    first, again, other = (experiments.test_masks(seed, n=200) for seed in (1, 1, 2))
    assert list(first) == ["random", "squares"]
    for kind in first:
        assert first[kind].shape == (200, 784) and first[kind].dtype == bool
        np.testing.assert_array_equal(first[kind], again[kind])
        assert (first[kind] != other[kind]).any()
    assert first["random"].sum() == round(0.3 * 200 * 784)


def test_scores_are_what_their_names_say(all_scores):
    model, test = VAE(StudentT(21), rng=1), all_scores.test
    rows = experiments.score(model, 5, test)
    scores = {row[:3]: row[3] for row in rows}
    assert len(scores) == len(rows) and all(type(value) is float for value in scores.values())
    mu, logvar = model.encode(test)
    per_dimension = kl_exact(model.family, mu, logvar).mean(axis=0)
    np.testing.assert_allclose(
        [scores[f"kl_dimension_{i}", "", ""] for i in range(10)], sorted(per_dimension, reverse=True), rtol=1e-6
    )
    assert scores["active_units", "", ""] == np.sum(np.var(mu, axis=0) > 0.01)
    eps = np.random.default_rng(5).standard_t(21, (60, 10))
    assert scores["test_loss", "", ""] == pytest.approx(model.loss(test, eps).total, rel=1e-5)
    assert scores["reconstruction_mse", "", ""] == pytest.approx(metrics.mse(test, model.reconstruct(test, eps)), rel=1e-5)
    for kind, missing in experiments.test_masks(5, 60).items():
        for method in scoring.METHODS:
            prediction = method(model, test, missing, draws=3, seed=5)
            filled = np.where(missing, prediction, test)
            expected = {
                "mse_prediction": np.mean((prediction - test) ** 2),
                "mse_imputation": np.mean((filled - test) ** 2),
                "mse_missing": np.mean((prediction - test)[missing] ** 2),
                "ssim_global_prediction": metrics.ssim_global(test, prediction),
                "ssim_global_imputation": metrics.ssim_global(test, filled),
                "ssim_imputation": metrics.ssim(test, filled),
            }
            for metric, value in expected.items():
                assert scores[metric, kind, method.__name__] == pytest.approx(value, rel=1e-4), (metric, kind, method)
        for name, method in {"floor": impute.single_pass, "floor_latent_map": impute.latent_map}.items():
            floor = method(model, test, np.zeros_like(missing), draws=3, seed=5)
            assert scores["mse_missing", kind, name] == pytest.approx(metrics.mse_missing(test, floor, missing), rel=1e-5)
        ess = impute.importance_and_ess(model, test, missing, draws=3, seed=5)[1]
        assert scores["ess_median", kind, "importance"] == pytest.approx(np.median(ess), rel=1e-5)


def test_execute_trains_scores_and_ships(few_images, tmp_path):
    run = run_of("t21", 2, epochs=2)
    path = experiments.execute(run, tmp_path, progress=False)
    record = json.loads(path.read_text())
    assert path == tmp_path / "runs" / "t21-numpy-2.json"
    assert {key: record[key] for key in ("model", "seed", "backend", "epochs")} == {
        "model": "t21",
        "seed": 2,
        "backend": "numpy",
        "epochs": 2,
    }
    assert record["protocol"] == {"epochs": 2, "batch_size": 500, "lr": 0.005}
    assert {"date", "commit", "python", "numpy", "scipy", "machine"} <= set(record["provenance"])
    assert record["provenance"]["numpy"] == np.__version__

    model = VAE(StudentT(21), rng=2)
    options = {"epochs": 2, "batch_size": 500, "lr": 0.005, "seed": 2, "progress": False}
    history = fit(model, few_images.train, few_images.valid, **options)
    np.testing.assert_allclose(record["history"]["loss"], history.loss, atol=1e-5)
    np.testing.assert_allclose(record["history"]["valid_kl"], history.valid_kl, atol=1e-5)

    weights = tmp_path / "weights" / "t21-numpy-2.safetensors"
    _, params, _ = checkpoint.read(weights)
    for name, value in model.params.items():
        np.testing.assert_array_equal(params[name], value.astype(np.float16))
    # What is scored is what is shipped.
    again = experiments.score(checkpoint.load(weights), 2, few_images.test)
    assert [tuple(row) for row in record["scores"]][: len(again)] == again
    assert not (tmp_path / "work" / "t21-numpy-2.safetensors").exists()


def test_a_finished_run_is_not_repeated(few_images, tmp_path, monkeypatch):
    path = experiments.execute(run_of("gaussian", epochs=1), tmp_path, progress=False)
    written = path.stat().st_mtime_ns
    monkeypatch.setattr(driver, "fit", None)  # would fail if called
    assert experiments.execute(run_of("gaussian", epochs=1), tmp_path, progress=False) == path
    assert path.stat().st_mtime_ns == written


def test_only_some_seeds_ship_weights(few_images, tmp_path):
    shipped = {run.name for run in experiments.sweep() if run.ships_weights}
    assert {"gaussian-numpy-4", "t21-numpy-4", "t3-numpy-0", "t21-torch-0"} <= shipped
    assert not {"gaussian-numpy-5", "t3-numpy-1", "t21-torch-1", "t21-numpy-0-exact"} & shipped
    experiments.execute(run_of("gaussian", 5, epochs=1), tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_scoring_again_needs_no_training_but_the_run_s_own_weights(few_images, tmp_path, monkeypatch, refuses):
    run = run_of("t21", epochs=1)
    path = experiments.execute(run, tmp_path, progress=False)
    first = results.read_record(path)
    monkeypatch.setattr(driver, "fit", None)  # would fail if called
    results.write_record(path, {**first, "scores": [row for row in first["scores"] if "dimension" in row[0]]})
    again = results.read_record(experiments.score_again(run, tmp_path))
    assert "commit" in again.pop("scored") and again == first
    before = path.read_bytes()
    checkpoint.save(tmp_path / "weights" / "t21-numpy-0.safetensors", VAE(StudentT(21), rng=9), dtype=np.float16)
    with refuses("t21-numpy-0.safetensors holds the weights of another run than t21-numpy-0.json: restore both"):
        experiments.score_again(run, tmp_path)
    assert path.read_bytes() == before


def test_without_git_the_commit_is_unknown_or_told(tmp_path, monkeypatch):
    assert re.fullmatch("[0-9a-f]{7,}|unknown", driver.provenance()["commit"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TVAE_COMMIT", raising=False)
    assert driver.provenance()["commit"] == "unknown"
    monkeypatch.setenv("TVAE_COMMIT", "1234abc")
    assert driver.provenance()["commit"] == "1234abc"


def test_a_run_that_another_process_trains_is_left_to_it(few_images, tmp_path):
    (tmp_path / "work").mkdir()
    run = run_of("gaussian", epochs=1)
    with FileLock(tmp_path / "work" / "gaussian-numpy-0.lock"):
        other = subprocess.run(
            [sys.executable, "-c", f"from tvae_lib.experiments import *; print(execute(sweep()[0], {str(tmp_path)!r}))"],
            capture_output=True,
            text=True,
        )
        assert other.stdout == "None\n"
        assert not list(tmp_path.glob("*/*.json")) and not list(tmp_path.rglob("*.safetensors"))
    assert experiments.execute(run, tmp_path, progress=False).exists()


def test_bars_get_lines_of_their_own(tmp_path):
    with driver._free_line(tmp_path) as first, driver._free_line(tmp_path) as second:
        assert (first, second) == (1, 2)
    with driver._free_line(tmp_path) as again:
        assert again == 1


def test_a_diverging_run_is_recorded_as_failed(few_images, tmp_path):
    for lr in (10, 1e30):
        path = experiments.execute(run_of("t3", epochs=5, lr=lr), tmp_path / str(lr), progress=False)
        record = json.loads(path.read_text())
        assert "learning rate" in record["failed"] and record["scores"] == []
        assert len(experiments.collect(tmp_path / str(lr))) == 0


def test_the_table(few_images, tmp_path):
    runs = [run_of(model, seed, epochs=1) for model in ("gaussian", "t21") for seed in (0, 1)]
    for run in runs:
        experiments.execute(run, tmp_path, progress=False)
    table = experiments.collect(tmp_path)
    assert list(table.columns) == ["model", "nu", "seed", "backend", "study", "metric", "mask", "method", "value"]
    assert set(zip(table.model, table.nu, table.seed, strict=True)) == {
        ("gaussian", np.inf, 0),
        ("gaussian", np.inf, 1),
        ("t21", 21, 0),
        ("t21", 21, 1),
    }
    key = ["model", "seed", "backend", "metric", "mask", "method"]
    assert not table.duplicated(key).any()
    record = json.loads((tmp_path / "runs" / "t21-numpy-1.json").read_text())
    mine = table[(table.model == "t21") & (table.seed == 1)]
    assert len(mine) == len(record["scores"])
    np.testing.assert_allclose(mine.value, [row[3] for row in record["scores"]], rtol=1e-6)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "runs.csv", keep_default_na=False), table)


def test_baselines_are_scored_once(few_images, tmp_path, monkeypatch):
    path = experiments.execute_baselines(1, tmp_path)
    table = experiments.collect(tmp_path)
    assert set(table.model) == {"baseline"} and set(table.seed) == {1} and set(table.method) == set(scoring.BASELINES)
    missing = experiments.test_masks(1, 60)["squares"]
    stored = table.set_index(["metric", "mask", "method"]).value
    assert stored["mse_missing", "squares", "zero"] == pytest.approx(np.mean(few_images.test[missing] ** 2), rel=1e-5)
    monkeypatch.setitem(scoring.BASELINES, "white", lambda train, test, missing: np.ones_like(test))  # only what is new
    first = results.read_record(path)
    assert experiments.execute_baselines(1, tmp_path) == path
    second = results.read_record(path)
    assert second["scores"][: len(first["scores"])] == first["scores"]
    assert {row[2] for row in second["scores"][len(first["scores"]) :]} == {"white"}
    assert second["provenance"]["methods"] == ["white"] and second["provenance"]["before"] == first["provenance"]
    monkeypatch.setattr(scoring, "score_baselines", None)
    assert experiments.execute_baselines(1, tmp_path) == path


def test_reading_what_was_shipped(few_images, tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    experiments.execute(run_of("t21", epochs=2), tmp_path, progress=False)
    assert len(experiments.load_history("t21")["loss"]) == 2
    model = experiments.load_model("t21")
    assert repr(model.family) == "StudentT(df=21)" and model.sizes == (784, 400, 128, 10)
    with refuses("no weights are shipped for model 't7' with seed 0, study ''; there are t21$"):
        experiments.load_model("t7")
    shutil.copy(tmp_path / "runs" / "t21-numpy-0.json", tmp_path / "runs" / "half.json.tmp")
    assert set(experiments.collect(tmp_path).model) == {"t21"}


# The command line


def test_quick_runs_everything_into_its_own_folder(few_images, tmp_path, capsys):
    experiments.main(["--quick", "--results", str(tmp_path)])
    assert sorted(path.stem for path in tmp_path.glob("quick/runs/*.json")) == [
        "gaussian-numpy-0",
        "t21-numpy-0",
        "t21-torch-0",
        "t3-numpy-0",
    ]
    table = pd.read_csv(tmp_path / "quick" / "runs.csv", keep_default_na=False)
    assert set(table.model) == {"gaussian", "t3", "t21"}
    assert [path.name for path in tmp_path.iterdir()] == ["quick"]
    assert "finished t3-numpy-0" in capsys.readouterr().err


def test_only_some_models(few_images, tmp_path):
    experiments.main(["--quick", "--only", "t3", "--results", str(tmp_path)])
    assert [path.stem for path in tmp_path.glob("quick/runs/*.json")] == ["t3-numpy-0"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "t7"], "'t7' is not one of gaussian, gaussian_t21, "),
        (
            ["--study", "cold"],
            "'cold' is not one of apart, exact, foreign1, foreign10, ",
        ),
        (["--jobs", "0"], "--jobs must be 1 or more, got 0"),
        (["--fast"], "--fast"),
        (
            ["--score-again", "--dask", "tcp://nowhere:1"],
            "--score-again reads the weights that are stored here: leave out --dask",
        ),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        experiments.main(arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        experiments.main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--quick" in shown and "--jobs" in shown and os.sep + "work" not in shown


def test_a_finished_sweep_has_nothing_to_do(few_images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(studies, "sweep", lambda: [run_of("gaussian", epochs=1)])
    monkeypatch.setattr(scoring, "BASELINE_SEEDS", 1)
    experiments.main(["--results", str(tmp_path)])
    table = (tmp_path / "runs.csv").read_text()
    monkeypatch.setattr(driver, "execute", None)
    experiments.main(["--results", str(tmp_path)])
    assert (tmp_path / "runs.csv").read_text() == table
    experiments.main(["--score-again", "--results", str(tmp_path)])
    assert (tmp_path / "runs.csv").read_text() == table


def test_files_come_from_workers_that_share_no_folder(few_images, tmp_path, monkeypatch):
    """The worker's repository lies elsewhere: what it sends back is written here."""
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(studies, "rehearsal", lambda: [run_of("t21", seed, epochs=1) for seed in (0, 7)])
    on_this_machine, seen = driver.execute_anywhere, []

    def on_the_worker(run, results, progress):
        seen.append(results)
        with monkeypatch.context() as patched:
            patched.setattr(driver, "RESULTS", there)
            return on_this_machine(run, results, progress)

    monkeypatch.setattr(driver, "execute_anywhere", on_the_worker)
    monkeypatch.setattr(driver, "RESULTS", here)
    experiments.main(["--quick", "--results", str(here)])
    assert [path.as_posix() for path in seen] == ["quick", "quick"]
    for path in ("runs/t21-numpy-0.json", "runs/t21-numpy-7.json", "weights/t21-numpy-0.safetensors"):
        assert (here / "quick" / path).read_bytes() == (there / "quick" / path).read_bytes()
    assert not (here / "quick" / "work" / "t21-numpy-0.lock").exists()


def test_what_needs_no_network_is_scored_where_the_sweep_was_started(few_images, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(studies, "sweep", lambda: [run_of("t21", epochs=1)])
    monkeypatch.setattr(driver, "_on_dask", lambda address, work: sent.extend(work) or [])
    monkeypatch.setattr(driver, "execute_baselines", lambda seed, results: sent.append(f"here {seed}"))
    experiments.main(["--dask", "tcp://nowhere:1", "--results", str(tmp_path)])
    assert [one if isinstance(one, str) else one[0].__name__ for one in sent] == [
        "execute_anywhere",
        *map("here {}".format, range(3)),
    ]


def test_which_files_are_sent(few_images, tmp_path):
    runs = [run_of("t21", seed, epochs=1) for seed in (0, 7)]
    for run in runs:
        name, files = driver.execute_anywhere(run, tmp_path, progress=False)
        expected = [f"runs/{name}.json"] + [f"weights/{name}.safetensors"] * run.ships_weights
        assert name == run.name and list(files) == expected
        assert all((tmp_path / path).read_bytes() == content for path, content in files.items())


# What the repository ships

SHIPPED = [name for name in ("gaussian-numpy-0", "t21-numpy-0") if (results.RESULTS / "weights" / f"{name}.safetensors").exists()]


@pytest.mark.skipif(not SHIPPED, reason="no results are shipped yet")
@pytest.mark.parametrize("name", SHIPPED or ["none"])
def test_shipped_weights_give_the_table_s_numbers(mnist, name):
    model_name, backend, seed = name.split("-")
    model, seed = experiments.load_model(model_name, int(seed)), int(seed)
    table = experiments.load_scores()
    assert set(table[table.model == "t3"].nu) == {3.0} and np.isnan(table[table.model == "baseline"].nu).all()
    mine = table[(table.model == model_name) & (table.seed == seed) & (table.backend == backend) & (table.study == "")]
    stored = mine.set_index(["metric", "mask", "method"]).value.to_dict()
    eps = model.family.sample(np.random.default_rng(seed), (10_000, 10))
    assert metrics.mse(mnist.test, model.reconstruct(mnist.test, eps)) == pytest.approx(
        stored["reconstruction_mse", "", ""], rel=1e-4
    )
    mu, logvar = model.encode(mnist.test)
    assert np.sum(mu.var(axis=0) > 0.01) == stored["active_units", "", ""]
    assert kl_exact(model.family, mu, logvar).mean(axis=0).max() == pytest.approx(stored["kl_dimension_0", "", ""], rel=1e-4)
    assert len(experiments.load_history(model_name, seed)["loss"]) == 300
    if model_name == "gaussian":  # imputing takes long, and is the same for both
        return
    missing = experiments.test_masks(seed)["squares"]
    prediction = impute.single_pass(model, mnist.test, missing, draws=30, seed=seed)
    assert metrics.mse_missing(mnist.test, prediction, missing) == pytest.approx(
        stored["mse_missing", "squares", "single_pass"], rel=1e-4
    )


@pytest.mark.skipif(not SHIPPED, reason="no results are shipped yet")
def test_scores_by_seed_refuses_names_that_no_run_has():
    assert len(experiments.scores_by_seed("test_loss")) >= 10
    wrong = [{"metric": "accuracy"}, {"metric": "auc", "mask": "mirrored", "method": "bound"}]
    wrong += [{"metric": "test_loss", "study": "approximate"}, {"metric": "test_loss", "backend": "jax"}]
    wrong += [
        {"metric": "mse_imputation"},
        {"metric": "mse_imputation", "mask": "random"},
        {"metric": "test_loss", "mask": "random"},
    ]
    for names in wrong:
        with pytest.raises(ValueError, match="must be one of"):
            experiments.scores_by_seed(**names)
    with pytest.raises(ValueError, match=r"^mask must be one of 'random', 'squares', got ''$"):
        results.paired("mse_imputation", method="single_pass")
