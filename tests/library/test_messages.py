"""What is wrong is said of the right argument: every message begins with its name and ends with what was got."""

import re

import numpy as np
import pytest

from tvae_lib import impute, inputs, masks, metrics, train, vae_numpy
from tvae_lib.latent import Apart, Gaussian, Scaled, StudentT, kl_exact, kl_sample
from tvae_lib.vae_numpy import VAE, bernoulli_loss

RAGGED = [[1.0], [1.0, 2.0]]
X = np.full((2, 784), 0.5, np.float32)
CODE, NOISE, MASK = np.zeros((2, 3)), np.ones((2, 3)), np.ones(X.shape, bool)
MODEL = VAE(Gaussian(), (784, 5, 3))
FAMILIES = {"Gaussian": Gaussian(), "t": StudentT(3)}
NO_ARRAY = "must be an array, and NumPy can make none of this list"


def cases():
    for family in FAMILIES.values():
        for function in (family.log_prob, family.score):
            yield function, (np.nan,), "z must be finite and at most 1e+120 in size, got NaN"
            yield function, ("one",), "z must hold real numbers, got <U3"
            yield function, (np.float32([-3e15, 2]),), "z must be finite and at most 1e+15 in size, got values from -3e+15 to 2"
        yield kl_exact, (family, RAGGED, CODE), f"mu {NO_ARRAY}"
        yield kl_exact, (family, CODE, RAGGED), f"logvar {NO_ARRAY}"
        yield kl_exact, (family, CODE, NOISE[0]), "mu and logvar must have the same shape, got (2, 3) and (3,)"
        yield kl_sample, (family, CODE, CODE, RAGGED), f"eps {NO_ARRAY}"
        yield kl_sample, (family, CODE, CODE, NOISE[0]), "eps must be floating point of shape (2, 3), got float64 of shape (3,)"
        yield (
            kl_sample,
            (family, CODE, CODE, NOISE * np.inf),
            "eps must be finite and at most 1e+120 in size, got values from inf",
        )
        large = "sigma * eps must be finite and at most 1e+120 in size, got values from 1."
        yield kl_sample, (family, CODE, CODE + 600, NOISE * 1e119), large
    code = "mu and logvar must be finite, in float64 at most 1e+120 and 600 in size, got more or NaN"
    single = "mu and logvar must be finite, in float32 at most 1e+15 and 80 in size, got more or NaN"
    yield inputs.check_code, (CODE, CODE + 600.001), code
    yield inputs.check_code, (CODE - 1.001e120, CODE), code
    yield inputs.check_code, (CODE.astype(np.float32), CODE + 80.001), single
    yield inputs.check_code, (CODE, np.float32(CODE - 80.001)), single
    yield inputs.check_code, (np.float32(CODE + 1.001e15), CODE), single
    none = "7 offers no exact KL: 'int' object has no attribute 'kl_exact_and_grad'; kl=\"sample\" does without"
    yield kl_exact, (7, CODE, CODE), none
    df = "df must be a number from 1e-6 to 1e20 (for more take the Gaussian), got"
    yield StudentT, (0,), f"{df} 0"
    yield StudentT, (1.001e20,), f"{df} 1.001e+20"
    yield (
        StudentT(0.001).sample,
        (np.random.default_rng(0), 100),
        "some draws of StudentT(df=0.001) exceed the largest float64; a t needs a df of 0.05 or more",
    )

    yield VAE, (Gaussian,), "family must be an object, got the class Gaussian; call it: Gaussian(...)"
    yield VAE, (7,), "family must have the methods sample, log_prob and score, got 7 without sample, log_prob, score"
    yield VAE, (Gaussian(), (784,)), "sizes must be at least two positive whole numbers, images first, latent last, got (784,)"
    yield VAE, (Gaussian(), (784, 3), 0, np.float16), "dtype must be one of float32, float64, got"
    yield inputs.check_kl, ("both", Gaussian(), "exact"), 'kl must be "exact", "sample" or None, got \'both\''
    hint = "7 offers no exact KL: 'int' object has no attribute 'kl_exact_and_grad'; kl=\"sample\" does without"
    yield inputs.check_kl, ("exact", 7, "sample"), hint
    infinite = "Apart(StudentT(df=2), Gaussian()) offers no exact KL: the KL of Gaussian() from StudentT(df=2) is infinite;"
    yield inputs.check_kl, ("exact", Apart(StudentT(2), Gaussian()), "sample"), infinite
    yield Scaled, (Apart(Gaussian(), StudentT(3)), 2), "family must have one density for encoder and prior, got Apart(Gaussian()"
    incomplete = type("Mine", (), {name: None for name in ("limits", "outputs", "cost_and_grad", "mean", "__repr__")})
    incomplete.__repr__ = lambda self: "Mine()"
    such = "likelihood must be an object such as Bernoulli() or Normal(), got"
    yield VAE, (Gaussian(), (4, 2), 0, np.float32, None, incomplete()), f"{such} Mine() without costs, sample"
    yield VAE, (Gaussian(), (4, 2), 0, np.float32, None, 3), f"{such} 3"
    yield MODEL.encode, (RAGGED,), f"images {NO_ARRAY}"
    yield MODEL.encode, (X[:, 1:],), "images must have shape (n, 784), got (2, 783)"
    yield MODEL.encode, (X + 1,), "pixels must lie in [0, 1], got values from 1.5 to 1.5"
    yield MODEL.loss, (X, RAGGED), f"eps {NO_ARRAY}"
    yield MODEL.loss, (X, NOISE * 1e16), "eps must be finite and at most 1e+15 in size in float32, got more or NaN"
    yield MODEL.loss_and_grad, (X[:0], NOISE[:0]), "a gradient needs at least one image, got none"
    yield lambda: MODEL.loss(X[:0], NOISE[:0]).total, (), "a mean loss needs at least one image, got none"
    yield train.evaluate, (MODEL, X[:0], np.random.default_rng(0)), "x must hold at least one image"
    yield inputs.check_images, (X * 1j, 784), "images must hold real numbers, got complex64"
    yield inputs.generator, (None,), "seed must be a whole number, 0 or more, or a np.random.Generator, got None"
    yield MODEL.decode, (RAGGED,), f"z {NO_ARRAY}"
    for wrong in (NOISE[:, 1:], NOISE[0], np.ones((2, 3, 4))):
        yield MODEL.decode, (wrong,), f"z must hold real numbers, shape (n, 3), got float64 of shape {wrong.shape}"
    yield MODEL.decode, (NOISE * 1.001e15,), "z must be finite and at most 1e+15 in size in float32, got more or NaN"
    yield MODEL.reconstruction_and_dz, (X, NOISE[:1]), "x and z must have the same number of rows, got 2 and 1"
    yield bernoulli_loss, (RAGGED, X), f"logits {NO_ARRAY}"
    yield bernoulli_loss, (X * np.nan, X), "logits must be finite and at most 1e+15 in size, got NaN"
    yield bernoulli_loss, (X, RAGGED), f"x {NO_ARRAY}"
    yield bernoulli_loss, (0.0, X), "images must have shape (n, 0), got (2, 784)"
    yield bernoulli_loss, (X[0], X), "logits and x must have the same shape, got (784,) and (2, 784)"

    rng = np.random.default_rng(0)
    yield masks.random_pixels, (rng, (2, 784), 1.5), "fraction must be a number from 0 to 1, got 1.5"
    yield masks.random_squares, (rng, 2.5), "n must be a whole number, 0 or more, got 2.5"
    yield masks.random_squares, (rng, 2, -1), "count must be a whole number, 0 or more, got -1"
    yield masks.random_squares, (rng, 2, 50, 29), "max_side must be a whole number from 1 to 28, got 29"

    for score in (metrics.mse, metrics.ssim_global, metrics.ssim):
        yield score, (RAGGED, X), f"the truth {NO_ARRAY}"
        yield score, (X, RAGGED), f"the prediction {NO_ARRAY}"
        yield score, (X, X + 1e6), "the prediction must be finite and at most 1e+06 in size, got values from 1e+06 to 1e+06"
        yield score, (X[:0], X[:0]), "there must be at least one pixel to score, got images of shape (0, 784)"
    yield metrics.coverage, (X, X[None] + 1e6, MASK), "completions must be finite and at most 1e+06 in size, got"
    yield metrics.coverage, (X + 1e6, X[None], MASK), "the truth must be finite and at most 1e+06 in size, got"
    yield metrics.ssim, (X[:, 1:], X[:, 1:]), "images must have shape (n, 784), got (2, 783)"
    yield metrics.mse_missing, (X, X, ~MASK), "missing marks no pixel, so there is nothing to score"

    yield impute.single_pass, (MODEL, RAGGED, MASK), f"x {NO_ARRAY}"
    yield impute.fill, (RAGGED, MASK, X), f"x {NO_ARRAY}"
    yield impute.fill, (X, RAGGED, X), f"missing {NO_ARRAY}"
    yield impute.fill, (X, MASK, RAGGED), f"prediction {NO_ARRAY}"
    yield impute.fill, (X, MASK[:1], X), "x, missing and prediction must have one shape, got (2, 784), (1, 784) and (2, 784)"
    yield impute.fill, (X, MASK * 1, X), "missing must be bool, got int"
    finite = "the observed pixels of x and the prediction of the missing ones must be finite, got NaN or infinity"
    yield impute.fill, (X, MASK, X * np.nan), finite


@pytest.mark.parametrize(("function", "arguments", "message"), [*cases()])
def test_the_message(function, arguments, message, refuses):
    with refuses("^" + re.escape(message)):
        function(*arguments)


def test_long_values_are_cut():
    assert inputs.said("a" * 78) == repr("a" * 78)
    assert inputs.said("a" * 79) == "'" + "a" * 76 + "..."
    assert inputs.said(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"


def test_the_limits_themselves_are_allowed():
    inputs.check_code(CODE + 1e120, CODE - 600)
    inputs.check_code(np.float32(CODE - 1e15), np.float32(CODE + 80))
    assert StudentT(1e20).df == 1e20 and StudentT(1e-6).df == 1e-6
    assert np.isfinite(MODEL.decode(NOISE * np.float32(1e15))).all()
    assert metrics.mse(X * 0.0, np.full(X.shape, 1e6)) == 1e12


def test_images_of_another_width_with_holes(refuses):
    with refuses(r"^x must have shape \(n, 784\), got \(2, 783\)"):
        impute.single_pass(MODEL, X[:, 1:], MASK[:, 1:])


@pytest.mark.parametrize("part", ["encoder.0.bias", "encoder.1.bias"])
def test_diverged_weights_are_named(part):
    model = VAE(Gaussian(), (784, 5, 3))
    model.params[part][0] = np.nan
    message = "^the encoder puts out NaN or infinity: the weights have diverged, try a lower learning rate$"
    with pytest.raises(FloatingPointError, match=message):
        model.loss(X, NOISE)
    model.params[part][0] = 1e20
    if part == "encoder.1.bias":
        message = "^mu and logvar must be finite, .*: the weights have diverged, try a lower learning rate$"
        with pytest.raises(FloatingPointError, match=message):
            model.loss(X, NOISE)


def test_gradients_keep_the_models_precision():
    """Also with a family that computes in float64."""

    class Wide(Gaussian):
        def kl_exact_and_grad(self, mu, logvar):
            return [np.asarray(part, float) for part in Gaussian.kl_exact_and_grad(self, mu, logvar)]

    _, grads = VAE(Wide(), (784, 5, 3), kl="exact").loss_and_grad(X, NOISE)
    assert {value.dtype for value in grads.values()} == {np.dtype(np.float32)}
    assert vae_numpy.VAE(Wide(), (784, 5, 3)).kl == "sample"


def test_the_seed_is_0_unless_another_is_given():
    for name, value in VAE(Gaussian(), (784, 5, 3)).params.items():
        np.testing.assert_array_equal(value, VAE(Gaussian(), (784, 5, 3), rng=0).params[name])


def test_errors_are_averaged_in_double_precision():
    rng = np.random.default_rng(5)
    x, prediction, missing = rng.random((300, 784), np.float32), rng.random((300, 784), np.float32), rng.random((300, 784)) < 0.5
    squares = np.square(x - prediction)
    assert metrics.mse(x, prediction) == pytest.approx(squares.astype(float).mean(), rel=1e-13)
    assert metrics.mse_missing(x, prediction, missing) == pytest.approx(squares[missing].astype(float).mean(), rel=1e-13)
