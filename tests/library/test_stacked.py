"""Many runs trained side by side end where `fit` takes each of them alone."""

import dataclasses

import numpy as np
import pytest

from tvae_lib import checkpoint, results
from tvae_lib.experiments import STUDIES, Run, driver, stacked
from tvae_lib.train import History, fit
from tvae_lib.vae_numpy import VAE

SCHEDULE = {"epochs": 2, "batch_size": 20, "lr": 0.01}
MODELS = ["gaussian", "t3", "t21", "gaussian_t3", "t3_gaussian", "t5_t3", "mt3", "mt21", "t3unit"]


def few_images(rng):
    return rng.random((90, 20)), rng.random((30, 20))  # a last batch of ten is dropped


def alone(model, seed, images, **options):
    return fit(model, *images, **SCHEDULE, **options, seed=seed, progress=False)


def check_alike(stack, histories, singles):
    for model, history, (single, other) in zip(stack, histories, singles, strict=True):
        tolerance = 2e-9 if "Multivariate" in repr(single.family) else 1e-10  # `fit` has its KL to within 1e-9
        for name, value in single.params.items():
            np.testing.assert_allclose(model.params[name], value, rtol=0, atol=tolerance, err_msg=f"{single.family} {name}")
        for name, series in vars(other).items():
            if name != "seconds":
                np.testing.assert_allclose(
                    vars(history)[name], series, rtol=tolerance, atol=tolerance, err_msg=f"{single.family} {name}"
                )


def test_each_ends_where_fit_takes_it(rng):
    images, seeds = few_images(rng), range(len(MODELS))
    families = [*map(results.family_of, MODELS)]
    make = lambda: [VAE(f, (20, 8, 3), seed, np.float64, kl="exact") for f, seed in zip(families, seeds, strict=True)]
    stack, histories, singles = make(), [History() for _ in seeds], make()
    stacked.train_together(stack, seeds, histories, *images, **SCHEDULE)
    check_alike(stack, histories, [(single, alone(single, seed, images)) for single, seed in zip(singles, seeds, strict=True)])
    assert all(len(history) == 2 for history in histories)


def some_holes(rng, n):
    return rng.random((n, 20)) < rng.random((n, 1))


@pytest.mark.parametrize("mask_input, all_pixels", [(False, False), (True, False), (False, True)])
def test_training_with_holes(rng, mask_input, all_pixels):
    images, seeds, options = few_images(rng), range(2), {"missing": some_holes, "all_pixels": all_pixels}
    families = [results.family_of(model) for model in MODELS[:2]]
    make = lambda: [VAE(f, (20, 8, 3), 1, np.float64, kl="exact", mask_input=mask_input) for f in families]
    stack, histories, singles = make(), [History() for _ in seeds], make()
    stacked.train_together(stack, seeds, histories, *images, **SCHEDULE, **options)
    others = [alone(single, seed, images, **options) for single, seed in zip(singles, seeds, strict=True)]
    check_alike(stack, histories, list(zip(singles, others, strict=True)))


def test_what_is_trained_together_is_scored_by_the_sweep(rng, tmp_path, monkeypatch):
    """Interrupted after its first epoch, too."""
    tiny = {"sizes": (20, 8, 3), "epochs": 3, "batch_size": 20, "lr": 0.01, "kl": "exact", "shipped": 1}
    images = few_images(rng)
    scores = lambda run, model, mnist: [("test_loss", "", "", float(model.loss(images[1], np.ones((30, 3))).total))]
    study = dataclasses.replace(STUDIES[0], name="tiny", data=lambda run, mnist: images, score=scores, **tiny)
    runs = [Run(model, seed, study) for seed in (0, 1) for model in ("gaussian", "t3")]
    sampled = Run("t3", 2, dataclasses.replace(study, kl="sample"))
    monkeypatch.setattr(stacked, "load_mnist", dict)
    monkeypatch.setattr(driver, "load_mnist", dict)
    stacked.train_runs([*runs, sampled], tmp_path / "whole", "cpu")

    def power_cut(epoch, stack):
        save(epoch, stack)
        raise KeyboardInterrupt

    train_together = stacked.train_together
    with monkeypatch.context() as patched:

        def cut_short(*arguments, after, **options):
            global save
            save = after
            train_together(*arguments, after=power_cut, **options)

        patched.setattr(stacked, "train_together", cut_short)
        with pytest.raises(KeyboardInterrupt):
            stacked.train_runs(runs, tmp_path / "cut", "cpu", every=1)
    stacked.train_runs(runs, tmp_path / "cut", "cpu", every=1)

    for run in runs:
        trained = [driver.paths(run, tmp_path / name)[2] for name in ("whole", "cut")]
        (_, whole, extra), (_, cut, _) = map(checkpoint.read, trained)
        for name in whole:
            assert whole[name].dtype == np.float16
            np.testing.assert_array_equal(whole[name], cut[name])
        assert extra["provenance"]["device"] == "CPU, stacked" and len(extra["history"]["loss"]) == 3
        monkeypatch.setattr(driver, "fit", None)  # would fail if called
        record = results.read_record(driver.execute(run, tmp_path / "whole", progress=False))
        assert record["provenance"] == extra["provenance"] and "commit" in record["scored"]
        assert [name for name, *_ in record["scores"]] == ["test_loss"]
    assert not list((tmp_path / "whole" / "work").glob("*.safetensors"))
    assert len(list((tmp_path / "whole" / "weights").glob("*"))) == 2  # seed 0 of each
