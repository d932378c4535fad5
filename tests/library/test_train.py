"""The training loop: plain SGD, repeatable, resumable to the bit, and a clear stop."""

import json
import warnings
from dataclasses import asdict

import numpy as np
import pytest

from tvae_lib import checkpoint
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.train import SGD, History, evaluate, fit
from tvae_lib.train import epoch as one_epoch
from tvae_lib.vae_numpy import VAE

SIZES = (784, 12, 3)
OPTIONS = {"batch_size": 50, "lr": 0.01, "seed": 4, "progress": False}


def new_model(family=None, **kwargs):
    return VAE(family or StudentT(21), **{"sizes": SIZES, "rng": 2, **kwargs})


@pytest.fixture(scope="module")
def small(mnist):
    return mnist.train[:230], mnist.valid[:60]


def without_seconds(history):
    return {name: values for name, values in asdict(history).items() if name != "seconds"}


def assert_same_run(first, second):
    """Two (model, history) pairs are equal to the bit, but for the clock."""
    assert without_seconds(first[1]) == without_seconds(second[1])
    for name, value in first[0].params.items():
        np.testing.assert_array_equal(value, second[0].params[name], err_msg=name)


@pytest.mark.parametrize("family", [Gaussian(), StudentT(3)], ids=str)
def test_fit_is_plain_sgd(small, family):
    # The same steps written out: batches, noise, gradient, update, then one evaluation of the validation images.
    model, twin = new_model(family, dtype=np.float64), new_model(family, dtype=np.float64)
    history = fit(model, *small, epochs=2, **OPTIONS)
    for epoch in range(2):
        rng = np.random.default_rng((4, epoch))
        order, losses = rng.permutation(230), []
        for start in (0, 50, 100, 150):  # the short fifth batch is dropped
            eps = family.sample(rng, (50, 3))
            loss, grads = twin.loss_and_grad(small[0][order[start : start + 50]], eps)
            losses.append(loss.total)
            for name in twin.params:
                twin.params[name] = twin.params[name] - 0.01 * grads[name]
        assert history.loss[epoch] == pytest.approx(np.mean(losses), rel=1e-10)
        valid = twin.loss(small[1], family.sample(rng, (60, 3)))
        assert history.valid_reconstruction[epoch] == pytest.approx(valid.reconstruction.mean(), rel=1e-10)
        assert history.valid_kl[epoch] == pytest.approx(valid.kl.mean(), rel=1e-10)
    for name, value in model.params.items():
        np.testing.assert_allclose(value, twin.params[name], rtol=1e-9, atol=1e-12)


def test_training_lowers_the_loss_and_fills_the_history(small):
    history = fit(new_model(), *small, epochs=6, **{**OPTIONS, "lr": 0.02})
    assert len(history) == 6 and all(len(values) == 6 for values in asdict(history).values())
    assert history.loss[-1] < 0.6 * history.loss[0] and history.valid_loss[-1] < 0.9 * history.valid_loss[0]
    np.testing.assert_allclose(np.add(history.reconstruction, history.kl), history.loss, rtol=1e-6)
    np.testing.assert_allclose(np.add(history.valid_reconstruction, history.valid_kl), history.valid_loss, rtol=1e-6)
    assert min(history.seconds) > 0
    assert all(type(value) is float for values in asdict(history).values() for value in values)


def test_same_seed_same_run_other_seed_other_run(small):
    runs = []
    for seed in (4, 4, 5):
        model = new_model()
        runs.append((model, fit(model, *small, epochs=2, **{**OPTIONS, "seed": seed})))
    assert_same_run(runs[0], runs[1])
    assert runs[0][1].loss != runs[2][1].loss
    assert (runs[0][0].params["encoder.0.weight"] != runs[2][0].params["encoder.0.weight"]).any()


def test_fit_leaves_global_random_state_data_and_precision_alone(small):
    np.random.seed(0)  # noqa: NPY002 (the point of the test)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    train, valid = small[0].copy(), small[1].copy()
    model = new_model()
    fit(model, train, valid, epochs=1, **OPTIONS)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(train, small[0])
    np.testing.assert_array_equal(valid, small[1])
    assert all(value.dtype == np.float32 for value in model.params.values())


def test_epochs_zero_does_nothing(small):
    model = new_model()
    assert len(fit(model, *small, epochs=0, **OPTIONS)) == 0
    np.testing.assert_array_equal(model.params["encoder.0.weight"], new_model().params["encoder.0.weight"])


def test_evaluate_weighs_images_not_batches(mnist):
    # 1,050 images are two chunks of unequal size; every image counts once.
    model = new_model(Gaussian())
    images = np.concatenate([mnist.valid[:1000], np.zeros((50, 784), np.float32)])
    rng = np.random.default_rng(8)
    eps = np.concatenate([rng.standard_normal((1000, 3)), rng.standard_normal((50, 3))])
    loss = model.loss(images, eps)
    expected = [loss.total, loss.reconstruction.mean(), loss.kl.mean()]
    np.testing.assert_allclose(evaluate(model, images, np.random.default_rng(8)), expected, rtol=1e-5)


def test_progress_bar(small, capsys):
    fit(new_model(), *small, epochs=2, **{**OPTIONS, "progress": True})
    shown = capsys.readouterr()
    assert "2/2" in shown.err and "valid=" in shown.err and "training:" in shown.err and not shown.out
    fit(new_model(), *small, epochs=1, **{**OPTIONS, "progress": {"desc": "seed 3"}})
    assert "seed 3:" in capsys.readouterr().err
    fit(new_model(), *small, epochs=2, **OPTIONS)
    assert capsys.readouterr() == ("", "")


# Resuming


class PowerCutError(Exception):
    pass


class Interrupted(VAE):
    """A model whose training breaks off after `steps` steps, in the middle of an epoch."""

    steps = 10

    def loss_and_grad(self, x, eps):
        self.steps -= 1
        if self.steps < 0:
            raise PowerCutError
        return super().loss_and_grad(x, eps)


@pytest.mark.parametrize("steps", [3, 10])
def test_resume_after_an_exception_is_exact(small, tmp_path, steps):
    family = StudentT(3)
    whole = new_model(family)
    whole_history = fit(whole, *small, epochs=5, **OPTIONS)
    path = tmp_path / "run.safetensors"
    broken = Interrupted(family, sizes=SIZES, rng=2)
    broken.steps = steps
    with pytest.raises(PowerCutError):
        fit(broken, *small, epochs=5, checkpoint=path, **OPTIONS)
    assert path.exists() == (steps >= 4)  # four steps make an epoch
    resumed = new_model(family)
    assert_same_run((resumed, fit(resumed, *small, epochs=5, checkpoint=path, **OPTIONS)), (whole, whole_history))


def test_resume_in_several_goes_and_from_the_end(small, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = new_model()
    whole_history = fit(whole, *small, epochs=5, **OPTIONS)
    for epochs in (1, 1, 3, 5):
        model = new_model(rng=99)  # its own weights are replaced by the checkpoint's, except at the very start
        if epochs == 1:
            model = new_model()
        history = fit(model, *small, epochs=epochs, checkpoint=path, **OPTIONS)
        assert len(history) == epochs
    assert_same_run((model, history), (whole, whole_history))
    written = path.stat().st_mtime_ns
    again = new_model()
    assert_same_run((again, fit(again, *small, epochs=5, checkpoint=path, **OPTIONS)), (whole, whole_history))
    assert path.stat().st_mtime_ns == written


def test_numpy_numbers_can_be_stored(small, tmp_path):
    path, options = (
        tmp_path / "run.safetensors",
        {**OPTIONS, "seed": np.int64(4), "batch_size": np.int32(50), "lr": np.float64(0.01)},
    )
    fit(new_model(), *small, epochs=1, checkpoint=path, **options)
    assert len(fit(new_model(), *small, epochs=np.int64(2), checkpoint=path, **OPTIONS)) == 2
    assert checkpoint.read(path)[2]["run"]["seed"] == 4


def test_checkpoint_of_another_run(small, tmp_path, refuses):
    path = tmp_path / "run.safetensors"
    fit(new_model(), *small, epochs=1, checkpoint=path, **OPTIONS)
    before = path.read_bytes()
    changed = small[0].copy()
    changed[0, 400] = 0.5 if changed[0, 400] != 0.5 else 0.25
    others = [
        (new_model(), small[0], {"seed": 5}, "seed 4 there, 5 here"),
        (new_model(), small[0], {"lr": 0.02}, "lr 0.01 there, 0.02 here"),
        (new_model(), small[0], {"batch_size": 20}, "batch_size 50 there, 20 here"),
        (new_model(), changed, {}, "train_crc"),
        (new_model(Gaussian()), small[0], {}, "family StudentT there, Gaussian here"),
        (new_model(StudentT(5)), small[0], {}, "df 21.0 there, 5.0 here"),
        (new_model(kl="exact"), small[0], {}, "kl sample there, exact here"),
        (new_model(sizes=(784, 12, 4)), small[0], {}, "sizes"),
    ]
    for model, train, options, message in others:
        with refuses(rf"run\.safetensors belongs to another run: .*{message}.*use another path"):
            fit(model, train, small[1], epochs=2, checkpoint=path, **{**OPTIONS, **options})
    assert path.read_bytes() == before


def test_checkpoint_that_is_no_run_or_damaged(small, tmp_path, refuses):
    path = tmp_path / "run.safetensors"
    checkpoint.save(path, new_model())  # weights only, no run
    with refuses("belongs to another run"):
        fit(new_model(), *small, epochs=2, checkpoint=path, **OPTIONS)
    path.write_bytes(path.read_bytes()[:-5])
    with refuses("is not a whole safetensors file"):
        fit(new_model(), *small, epochs=2, checkpoint=path, **OPTIONS)


# A loss that is not finite


@pytest.mark.parametrize(
    "family, kl", [(Gaussian(), "exact"), (Gaussian(), "sample"), (StudentT(3), "sample"), (StudentT(21), "exact")], ids=str
)
@pytest.mark.parametrize("lr", [3, 1e5, 1e30])
def test_divergence_stops_with_one_clear_line(small, family, kl, lr, refuses):
    with warnings.catch_warnings(), refuses("learning rate", error=FloatingPointError):
        warnings.simplefilter("error")
        fit(new_model(family, kl=kl), *small, epochs=20, **{**OPTIONS, "lr": lr})


class Diverging(VAE):
    """Gives an infinite loss from step `at` on."""

    at = 10

    def loss_and_grad(self, x, eps):
        loss, grads = super().loss_and_grad(x, eps)
        self.at -= 1
        if self.at < 0:
            loss.kl[0] = np.inf
        return loss, grads


def test_divergence_names_the_step_and_the_checkpoint_survives(small, tmp_path, refuses):
    path, twin_path = tmp_path / "run.safetensors", tmp_path / "twin.safetensors"
    broken = new_model()
    broken.params["decoder.1.bias"][:] = np.inf
    with np.errstate(invalid="ignore"), refuses("the loss is nan at epoch 1, step 1: try", error=FloatingPointError):
        one_epoch(broken, small[0], np.random.default_rng(0), SGD(broken.params, 0.01), batch_size=50)
    with refuses(r"the loss is inf at epoch 3, step 3: try a learning rate below 0\.01", error=FloatingPointError):
        fit(Diverging(StudentT(21), sizes=SIZES, rng=2), *small, epochs=5, checkpoint=path, **OPTIONS)
    twin = new_model()
    history = fit(twin, *small, epochs=2, checkpoint=twin_path, **OPTIONS)
    extra = checkpoint.read(path)[2]
    assert len(extra["history"]["loss"]) == 2
    assert_same_run((checkpoint.load(path), History(**extra["history"])), (twin, history))
    json.dumps(extra, allow_nan=False)


class DivergingAtLast(VAE):
    """Every training loss is finite, the validation loss after them is not."""

    def loss(self, x, eps):
        loss = super().loss(x, eps)
        loss.kl[0] = np.nan
        return loss


def test_a_validation_loss_that_is_not_finite_stops_too(small, tmp_path, refuses):
    path = tmp_path / "run.safetensors"
    with refuses(r"the validation loss is nan after epoch 1: try a learning rate below 0\.01", error=FloatingPointError):
        fit(DivergingAtLast(StudentT(21), sizes=SIZES), *small, epochs=2, checkpoint=path, **OPTIONS)
    assert not path.exists()


def test_divergence_in_the_last_step_is_not_saved(small, tmp_path, refuses):
    # One step an epoch: the first loss is fine, the weights after it are not.
    path = tmp_path / "run.safetensors"
    with refuses("learning rate", error=FloatingPointError):
        fit(new_model(), *small, epochs=1, checkpoint=path, **{**OPTIONS, "lr": 1e20, "batch_size": 230})
    assert not path.exists()


# Bad input


@pytest.mark.parametrize("epochs", [-1, 1.5, 2.0, float("nan"), float("inf"), "3", None])
def test_bad_epochs(small, epochs, refuses):
    with refuses("epochs must be a whole number, 0 or more, got"):
        fit(new_model(), *small, epochs=epochs, **OPTIONS)


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "0.1", None])
def test_bad_learning_rate(small, lr, refuses):
    with refuses("lr must be a finite number greater than 0, got"):
        fit(new_model(), *small, epochs=1, **{**OPTIONS, "lr": lr})


@pytest.mark.parametrize("batch_size", [0, -5, 231, 2.5, "50", None])
def test_bad_batch_size(small, batch_size, refuses):
    with refuses("batch size must be a whole number from 1 to 230, got"):
        fit(new_model(), *small, epochs=1, **{**OPTIONS, "batch_size": batch_size})


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_bad_seed(small, seed, refuses):
    with refuses("seed must be a whole number, 0 or more, got"):
        fit(new_model(), *small, epochs=1, **{**OPTIONS, "seed": seed})


def test_bad_images(small, refuses):
    train, valid = small
    for bad, message in [
        (train[:, :700], r"{} must have shape \(n, 784\), got \(230, 700\)"),
        (train * 255, r"pixels of {} must lie in \[0, 1\]"),
        (train - 0.5, r"pixels of {} must lie in \[0, 1\]"),
        (np.where(train > 0.9, np.nan, train), r"pixels of {} must lie in \[0, 1\]"),
    ]:
        for name, pair in (("train", (bad, valid)), ("valid", (train, bad))):
            with refuses(message.format(name)):
                fit(new_model(), *pair, epochs=1, **OPTIONS)
    with refuses("valid must hold at least one image"):
        fit(new_model(), train, valid[:0], epochs=1, **OPTIONS)
    with refuses("batch size"):
        fit(new_model(), train[:0], valid, epochs=1, **OPTIONS)
