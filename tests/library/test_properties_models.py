"""Property tests of the models, their training, files and uses, with small networks; `anything` says what is tried."""

import numpy as np
import pytest
import torch
from anything import any_input, families, few, floats, obeys
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import expit, log_expit

from tvae_lib import checkpoint, impute, outliers, train, vae_numpy, vae_torch
from tvae_lib.interactive import page_weights
from tvae_lib.latent import Gaussian, StudentT

SIZES = (6, 5, 2)
IMAGES, CODES = floats((3, 6), 0, 1, ["float64", "float32", "float16"]), floats((3, 2), -1e4, 1e4)
METHODS = [
    impute.single_pass,
    impute.pseudo_gibbs,
    impute.importance,
    impute.importance_and_ess,
    impute.latent_map,
    impute.langevin,
]


def twins(family, dtype=np.float64, kl="sample", scale=1.0):
    """A model of each back end with the same parameters; scale multiplies the weights of the last layer, and so the logits."""
    ours = vae_numpy.VAE(family, SIZES, rng=1, dtype=dtype, kl=kl)
    ours.params["decoder.1.weight"] *= scale
    twin = vae_torch.VAE(family, SIZES, kl=kl, dtype=getattr(torch, np.dtype(dtype).name))
    checkpoint.set_params(twin, ours.params)
    return ours, twin


def plain(result):
    """Tensors as arrays, in whatever a model returned."""
    return [part.detach().numpy() if hasattr(part, "detach") else np.asarray(part) for part in result]


@given(floats((3, 6), -1e4, 1e4), IMAGES)
@example(np.full((3, 6), 1e4), np.zeros((3, 6)))
@example(np.full((3, 6), -1e15), np.ones((3, 6)))
def test_bernoulli_loss(logits, x):
    cost, probabilities = obeys(vae_numpy.bernoulli_loss, logits, x)
    wide, x = logits.astype(float), x.astype(float)
    tolerance = 1e-5 if logits.dtype == np.float32 else 1e-9
    expected = -(x * log_expit(wide) + (1 - x) * log_expit(-wide)).sum(axis=1)
    np.testing.assert_allclose(cost, expected, rtol=tolerance, atol=tolerance * np.abs(wide).max())
    np.testing.assert_allclose(probabilities, expit(wide), rtol=tolerance, atol=1e-37)


@given(any_input((3, 6)), any_input((3, 6)))
def test_bernoulli_loss_of_anything(logits, x):
    for pair in ((logits, x), (logits, np.ones((3, 6))), (np.ones((3, 6)), x)):
        obeys(vae_numpy.bernoulli_loss, *pair)


@given(families(), IMAGES, CODES, st.sampled_from([1.0, 0.0, 1e4]), st.sampled_from(["exact", "sample"]))
def test_the_two_models_agree_and_stay_finite(family, x, eps, scale, kl):
    ours, twin = twins(family, kl=kl, scale=scale)
    for name, arguments in {"encode": (x,), "decode": (eps,), "reconstruct": (x, eps), "reconstruction_and_dz": (x, eps)}.items():
        results = [plain(obeys(getattr(model, name), *arguments)) for model in (ours, twin)]
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9 * max(1, np.abs(b).max(initial=0)))
    (loss, grads), (twin_loss, twin_grads) = (obeys(model.loss_and_grad, x, eps) for model in (ours, twin))
    assert obeys(ours.loss, x, eps).total == loss.total
    np.testing.assert_allclose(loss.reconstruction, twin_loss.reconstruction, rtol=1e-6)
    np.testing.assert_allclose(loss.kl, twin_loss.kl, rtol=1e-6, atol=1e-6)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, twin_grads[name], rtol=1e-5, atol=1e-7 * max(1, np.abs(grad).max()))


@given(families(), floats((3, 6), 0, 1), floats((3, 2), -1e12, 1e12), st.sampled_from(["exact", "sample"]))
def test_huge_noise_in_float32(family, x, eps, kl):
    for model in twins(family, np.float32, kl):
        assert obeys(model.loss_and_grad, x, eps) is not None
        assert obeys(model.reconstruct, x, eps) is not None


@given(any_input((3, 6), (1, 6)), any_input((3, 2), (1, 2)), any_input((3, 6)), st.sampled_from([np.float32, np.float64]))
def test_models_of_anything(x, eps, missing, dtype):
    good_x, good_eps = np.full((3, 6), 0.5), np.ones((3, 2))
    for model in twins(StudentT(3), dtype):
        obeys(model.encode, x)
        obeys(model.decode, eps)
        for pair in ((x, eps), (x, good_eps), (good_x, eps)):
            for method in (model.reconstruct, model.loss, model.loss_and_grad, model.reconstruction_and_dz):
                obeys(method, *pair)
        obeys(model.reconstruction_and_dz, good_x, good_eps, missing)
        obeys(model.loss_and_grad, x, good_eps, missing)
        obeys(model.loss_and_grad, good_x, good_eps, missing, all_pixels=True)


@few
@given(any_input())
def test_making_a_model_of_anything(value):
    for options in ({"sizes": value}, {"rng": value}, {"dtype": value}, {"kl": value}, {"family": value}):
        if value is not None and not (isinstance(value, int) and value > 1000):
            obeys(vae_numpy.VAE, **{"family": Gaussian(), "sizes": SIZES, **options})
        if options.keys() & {"sizes", "kl", "family"}:
            obeys(vae_torch.VAE, **{"family": Gaussian(), "sizes": SIZES, **options})


# Training


@few
@given(families(), floats((5, 6), 0, 1), st.integers(0, 2**70), st.floats(1e-300, 1e-3), st.integers(1, 5))
def test_training_stays_finite(family, x, seed, lr, batch_size):
    df = getattr(family, "df", np.inf)
    for model in twins(family, np.float32):
        options = {"epochs": 1, "batch_size": batch_size, "lr": lr, "seed": seed, "progress": False}
        try:
            history = obeys(train.fit, model, x, x, **options)
        except FloatingPointError as error:  # one huge draw, and the step after it goes anywhere
            assert df < 3 and "learning rate" in str(error)
            continue
        assert len(history) == 1 if history is not None else df < 0.7  # a draw beyond 1e15 is refused
        scores = obeys(train.evaluate, model, x, np.random.default_rng(seed))
        assert scores.shape == (3,) if scores is not None else df < 0.7


@few
@given(any_input((5, 6)))
@example(10**400)
def test_training_on_anything(value):
    x, model = np.full((5, 6), 0.5), twins(Gaussian())[0]
    good = {"train": x, "valid": x, "epochs": 1, "batch_size": 2, "lr": 0.1, "seed": 0, "progress": False}
    for name in ("train", "valid", "batch_size", "lr", "seed"):
        try:
            obeys(train.fit, model, **{**good, name: value})
        except FloatingPointError as error:  # a learning rate of 1e300
            assert name == "lr" and "learning rate" in str(error)
            model = twins(Gaussian())[0]
    for name in ("missing", "optimizer", "kl_weight"):
        if not callable(value):
            obeys(train.fit, model, **{**good, name: value})
    if not isinstance(value, int) or value < 10:
        obeys(train.fit, model, **{**good, "epochs": value})
    obeys(train.evaluate, model, value, np.random.default_rng(0))
    obeys(train.evaluate, model, x, value)


# Missing pixels and unusual images


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@few
@given(
    families(), floats((3, 6), 0, 1, ["float64", "float32", "float16"]), st.integers(0, 2**18 - 1), st.sampled_from([0.0, 1e4])
)
def test_imputation_is_a_probability_and_blind_to_what_is_missing(method, family, x, pattern, scale):
    missing = np.array(list(f"{pattern:018b}")).reshape(3, 6) == "1"
    for model in twins(family, np.float32, scale=scale):
        prediction = obeys(method, model, x, missing, draws=4)
        if prediction is None:  # heavy tails: a draw beyond 1e15
            assert family.df < 0.7
            continue
        hidden = np.where(missing, np.nan, x)
        again = method(model, hidden, missing, draws=4)
        if method is impute.importance_and_ess:
            (prediction, ess), (again, _) = prediction, again
            assert (ess >= 1 - 1e-5).all() and (ess <= 5 + 1e-4).all()
        np.testing.assert_array_equal(prediction, again)
        assert prediction.shape == (3, 6) and prediction.min() >= 0 and prediction.max() <= 1 + 1e-6
        filled = obeys(impute.fill, hidden, missing, prediction)
        np.testing.assert_array_equal(filled, np.where(missing, prediction, x))


@few
@given(any_input((3, 6)), any_input((3, 6)))
def test_imputation_and_scores_of_anything(value, other):
    x, missing, model = np.full((3, 6), 0.5), np.eye(3, 6, dtype=bool), twins(StudentT(3))[0]
    for method in METHODS:
        obeys(method, model, value, missing, draws=2)
        obeys(method, model, x, value, draws=2)
        obeys(method, model, value, other, draws=2)
        obeys(method, model, x, missing, draws=2, seed=value)
        if not isinstance(value, int):
            obeys(method, model, x, missing, draws=value)
    obeys(impute.importance, model, x, missing, draws=2, warm_up=value)
    obeys(outliers.unusualness, model, value, draws=2)
    obeys(outliers.unusualness, model, x, draws=2, seed=value)
    if not isinstance(value, int):
        obeys(outliers.unusualness, model, x, draws=value)


@given(any_input((3, 6)), any_input((3, 6)))
def test_filling_in_of_anything(value, other):
    x, missing = np.full((3, 6), 0.5), np.eye(3, 6, dtype=bool)
    for arguments in ((value, missing, x), (x, value, x), (x, missing, value), (value, missing, other), (value, other, value)):
        obeys(impute.fill, *arguments)


@few
@given(families(), floats((3, 6), 0, 1), st.sampled_from([0.0, 1.0, 1e4]))
def test_unusualness(family, x, scale):
    scores = obeys(outliers.unusualness, twins(family, scale=scale)[0], x, draws=3)
    if scores is not None:
        assert (scores["negative_elbo"] >= scores["bound"] - 1e-6 * np.abs(scores["bound"])).all()  # Jensen's inequality


# Files and pages


@few
@given(any_input(), st.sampled_from(["save", "extra", "dtype", "load", "read", "backend", "family"]))
def test_files_of_anything(tmp_path_factory, value, what):
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    model = twins(StudentT(3))[0]
    model.params["encoder.0.weight"][0, 0] = 1e6  # more than a float16 holds
    checkpoint.save(path, model)
    if what in ("save", "load", "read"):
        if isinstance(value, str) and value:  # a good path, but not there
            return
        call = {"save": lambda: checkpoint.save(value, model), "load": lambda: checkpoint.load(value)}
        obeys(call.get(what, lambda: checkpoint.read(value)))
    elif what == "extra":
        obeys(checkpoint.save, path, model, note=value)
    elif what == "dtype":
        obeys(checkpoint.save, path, model, dtype=value)
    else:
        obeys(checkpoint.load, path, **{what: value})


@given(families(), st.sampled_from([np.float16, np.float32, np.float64, None]), floats((5, 6), -1e15, 1e15))
def test_what_is_saved_is_loaded(tmp_path_factory, family, dtype, weight):
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    model = twins(family)[0]
    model.params["encoder.0.weight"] = weight
    obeys(checkpoint.save, path, model, dtype=dtype)
    if path.exists():
        found = checkpoint.load(path).params["encoder.0.weight"]
        np.testing.assert_array_equal(found, weight.astype(dtype or weight.dtype).astype(np.float32))
    else:
        assert dtype is np.float16 and np.abs(weight).max() > 65504


@given(floats((3, 4), -1e15, 1e15))
def test_one_byte_weights_are_the_nearest(weight):
    whole, scale = obeys(page_weights.quantise, weight)
    assert whole.dtype == np.int8 and (scale > 0).all()
    assert (np.abs(scale[:, None] * whole.astype(float) - weight) <= 0.5001 * scale[:, None]).all()


@few
@given(any_input((3, 4)))
def test_pages_of_anything(value):
    obeys(page_weights.quantise, value)
    obeys(page_weights.rounded, value)
    obeys(page_weights.pack, value, "encoder")
    obeys(page_weights.pack, twins(Gaussian())[0], value)
