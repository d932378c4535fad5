"""The hand-written gradient against finite differences, the loss against plain formulas, and bad input."""

import warnings

import numpy as np
import pytest
from scipy.special import expit, xlogy

from tvae_lib.latent import Gaussian, StudentT, kl_exact, kl_sample
from tvae_lib.vae_numpy import VAE, bernoulli_loss

SHAPES = [(5, 2), (6, 5, 2), (7, 5, 4, 3), (4, 6, 1)]


def small_model(family, sizes, kl, seed=0):
    """A float64 model whose weights and biases are all of ordinary size, with a batch and noise for it."""
    model = VAE(family, sizes=sizes, rng=seed, dtype=np.float64, kl=kl)
    rng = np.random.default_rng(seed + 1)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.5, value.shape)
    x = rng.uniform(size=(5, sizes[0]))
    x[0, 0], x[1, 1] = 0, 1
    return model, x, family.sample(rng, (5, sizes[-1]))


def finite_differences(loss, array, h=1e-5):
    """Central differences of loss() for every entry of `array`, which is changed in place and restored."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + h
        up = loss()
        array[index] = kept - h
        down = loss()
        array[index] = kept
        slopes[index] = (up - down) / (2 * h)
    return slopes


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("kl", ["exact", "sample"])
@pytest.mark.parametrize("family", [Gaussian(), StudentT(3), StudentT(21), StudentT(2.5)], ids=str)
def test_gradient_of_the_whole_network(family, kl, sizes):
    model, x, eps = small_model(family, sizes, kl)
    _, grads = model.loss_and_grad(x, eps)
    assert grads.keys() == model.params.keys()
    for name, array in model.params.items():
        slopes = finite_differences(lambda: model.loss(x, eps).total, array)
        assert grads[name].shape == array.shape
        assert np.linalg.norm(slopes) > 1e-4, f"{name}: the check would prove nothing"
        error = np.linalg.norm(grads[name] - slopes) / np.linalg.norm(slopes)
        assert error < 1e-6, f"{name}: relative error {error:.1e}"


@pytest.mark.parametrize("family", [Gaussian(), StudentT(21)], ids=str)
def test_gradient_of_the_full_size_network_along_a_line(family, rng):
    model = VAE(family, rng=3, dtype=np.float64)
    x, eps = rng.uniform(size=(20, 784)), family.sample(rng, (20, 10))
    _, grads = model.loss_and_grad(x, eps)
    slope = np.sqrt(sum(np.sum(grad**2) for grad in grads.values()))  # the slope along the gradient is its length
    start, values, h = {name: value.copy() for name, value in model.params.items()}, [], 1e-6
    for step in (h, -h):
        model.params = {name: start[name] + step / slope * grads[name] for name in start}
        values.append(model.loss(x, eps).total)
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kl", ["exact", "sample"])
@pytest.mark.parametrize("family", [Gaussian(), StudentT(5)], ids=str)
def test_loss_by_plain_formulas(family, kl):
    model, x, eps = small_model(family, (7, 5, 4, 3), kl)
    p = model.params
    h = x
    for i in range(2):
        h = np.maximum(h @ p[f"encoder.{i}.weight"].T + p[f"encoder.{i}.bias"], 0)
    out = h @ p["encoder.2.weight"].T + p["encoder.2.bias"]
    mu, logvar = out[:, :3], out[:, 3:]
    h = mu + np.exp(logvar / 2) * eps
    for i in range(2):
        h = np.maximum(h @ p[f"decoder.{i}.weight"].T + p[f"decoder.{i}.bias"], 0)
    logits = h @ p["decoder.2.weight"].T + p["decoder.2.bias"]
    pi = 1 / (1 + np.exp(-logits))
    cross_entropy = -np.sum(xlogy(x, pi) + xlogy(1 - x, 1 - pi), axis=1)
    divergence = kl_exact(family, mu, logvar).sum(axis=1) if kl == "exact" else kl_sample(family, mu, logvar, eps)

    loss = model.loss(x, eps)
    assert loss.reconstruction.shape == loss.kl.shape == (5,)
    np.testing.assert_allclose(loss.reconstruction, cross_entropy, rtol=1e-12)
    np.testing.assert_allclose(loss.kl, divergence, rtol=1e-12)
    assert loss.total == pytest.approx(np.mean(cross_entropy + divergence), rel=1e-12)
    also, _ = model.loss_and_grad(x, eps)
    np.testing.assert_array_equal(also.reconstruction, loss.reconstruction)
    np.testing.assert_array_equal(also.kl, loss.kl)
    for part, expected in zip(model.encode(x), (mu, logvar), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)
    np.testing.assert_allclose(model.decode(mu), model.decode(mu.tolist()))
    np.testing.assert_allclose(model.reconstruct(x, eps), pi, rtol=1e-12)


@pytest.mark.parametrize("kl", ["exact", "sample"])
def test_huge_df_is_the_gaussian(kl):
    gaussian, x, eps = small_model(Gaussian(), (7, 5, 4, 3), kl)
    student, _, _ = small_model(StudentT(1e8), (7, 5, 4, 3), kl)
    (loss_g, grads_g), (loss_t, grads_t) = gaussian.loss_and_grad(x, eps), student.loss_and_grad(x, eps)
    np.testing.assert_allclose(loss_t.reconstruction, loss_g.reconstruction, rtol=1e-12)
    np.testing.assert_allclose(loss_t.kl, loss_g.kl, rtol=1e-5, atol=1e-5)
    for name in grads_g:
        np.testing.assert_allclose(grads_t[name], grads_g[name], rtol=1e-5, atol=1e-5)


def test_the_gradient_changes_neither_input_nor_parameters():
    model, x, eps = small_model(StudentT(21), (6, 5, 2), "sample")
    before = {name: value.copy() for name, value in model.params.items()}
    x_before, eps_before = x.copy(), eps.copy()
    first, second = model.loss_and_grad(x, eps)[1], model.loss_and_grad(x, eps)[1]
    for name in before:
        np.testing.assert_array_equal(model.params[name], before[name])
        np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(eps, eps_before)


def test_a_gradient_step_lowers_the_loss(mnist):
    model, eps = VAE(StudentT(21), rng=0), np.random.default_rng(0).standard_t(21, (100, 10))
    loss, grads = model.loss_and_grad(mnist.train[:100], eps)
    assert 500 < loss.total < 700  # 784 log 2 = 543 nats, plus what random weights add
    for name, grad in grads.items():
        model.params[name] -= 0.001 * grad
    assert model.loss(mnist.train[:100], eps).total < loss.total


def test_parameters_have_pytorch_s_names_and_shapes():
    shapes = {name: value.shape for name, value in VAE(Gaussian()).params.items()}
    assert shapes == {
        **{"encoder.0.weight": (400, 784), "encoder.0.bias": (400,), "encoder.1.weight": (128, 400), "encoder.1.bias": (128,)},
        **{"encoder.2.weight": (20, 128), "encoder.2.bias": (20,), "decoder.0.weight": (128, 10), "decoder.0.bias": (128,)},
        **{"decoder.1.weight": (400, 128), "decoder.1.bias": (400,), "decoder.2.weight": (784, 400), "decoder.2.bias": (784,)},
    }


def test_initial_weights():
    first, again, other = (VAE(Gaussian(), rng=seed) for seed in (1, 1, 2))
    for name, value in first.params.items():
        np.testing.assert_array_equal(value, again.params[name])
        assert value.dtype == np.float32
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert (value != other.params[name]).any()
            assert value.std() == pytest.approx(0.1, rel=0.1) and abs(value.mean()) < 0.02
    # One object only differs between the two models: with one seed they start from the same weights.
    np.testing.assert_array_equal(VAE(StudentT(21), rng=1).params["decoder.2.weight"], first.params["decoder.2.weight"])
    from_generator = VAE(Gaussian(), rng=np.random.default_rng(1))
    np.testing.assert_array_equal(from_generator.params["encoder.0.weight"], first.params["encoder.0.weight"])


def test_precision_is_kept():
    for dtype in (np.float32, np.float64):
        model = VAE(StudentT(21), sizes=(6, 5, 2), dtype=dtype)
        x, eps = np.full((3, 6), 0.5), np.ones((3, 2))
        _, grads = model.loss_and_grad(x, eps)
        assert all(grad.dtype == dtype for grad in grads.values())
        assert model.encode(x)[0].dtype == model.decode(eps).dtype == model.reconstruct(x, eps).dtype == dtype


def test_default_kl_is_the_source_project_s():
    assert VAE(Gaussian(), sizes=(3, 1)).kl == "exact"
    assert VAE(StudentT(21), sizes=(3, 1)).kl == "sample"
    assert VAE(StudentT(21), sizes=(3, 1), kl="exact").kl == "exact"
    assert VAE(Gaussian(), sizes=(3, 1), kl="sample").kl == "sample"


# Extreme but legal input


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bernoulli_loss_at_extreme_logits(dtype):
    logits = np.array([[-1e4, 1e4, -1e4, 1e4, 0.0, 0.0, 88.8, -745.2, 3.0, -3.0]], dtype)
    x = np.array([[0, 1, 1, 0, 0, 1, 0.25, 0.5, 0.5, 1]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cost, probabilities = bernoulli_loss(logits, x)
    tolerance = 20 * np.finfo(dtype).eps
    reference = np.sum(np.logaddexp(0, logits.astype(float)) - x.astype(float) * logits.astype(float), axis=1)
    np.testing.assert_allclose(cost, reference, rtol=tolerance)
    np.testing.assert_allclose(probabilities, expit(logits.astype(float)), rtol=tolerance, atol=1e-44)
    np.testing.assert_allclose(bernoulli_loss(logits[:, :2], x[:, :2])[0], 0, atol=1e-30)


@pytest.mark.parametrize("family", [Gaussian(), StudentT(1), StudentT(21)], ids=str)
@pytest.mark.parametrize("kl", ["exact", "sample"])
def test_no_warning_for_black_and_white_images_and_saturated_pixels(family, kl):
    model = VAE(family, sizes=(784, 20, 5), kl=kl)
    x = np.zeros((4, 784), np.float32)
    x[1::2] = 1
    model.params["decoder.1.bias"][:] = np.where(np.arange(784) % 2, 1e4, -1e4)
    eps = np.array([[1e3], [-1e3], [0.0], [1e-30]]) * np.ones(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, grads = model.loss_and_grad(x, eps)
        assert np.isin(model.reconstruct(x, 0 * eps), (0, 1)).all()
    assert np.isfinite(loss.total) and all(np.isfinite(grad).all() for grad in grads.values())


def test_no_images_is_no_error():
    model = VAE(Gaussian(), sizes=(6, 5, 2))
    assert model.encode(np.zeros((0, 6)))[0].shape == (0, 2)
    assert model.reconstruct(np.zeros((0, 6)), np.zeros((0, 2))).shape == (0, 6)


# Bad input

X, EPS = np.full((3, 6), 0.5), np.zeros((3, 2))


def with_value(array, value):
    changed = array.copy()
    changed[1, 1] = value
    return changed


BAD_IMAGES = {
    "below": (with_value(X, -1e-3), r"pixels must lie in \[0, 1\], got values from -0.001 to 0.5"),
    "above": (with_value(X, 255), r"pixels must lie in \[0, 1\], got values from 0.5 to 255"),
    "nan": (with_value(X, np.nan), r"pixels must lie in \[0, 1\]"),
    "inf": (with_value(X, np.inf), r"pixels must lie in \[0, 1\]"),
    "width": (X[:, :5], r"images must have shape \(n, 6\), got \(3, 5\)"),
    "one image": (X[0], r"images must have shape \(n, 6\), got \(6,\)"),
    "28 x 28": (np.zeros((3, 2, 3)), r"images must have shape \(n, 6\), got \(3, 2, 3\)"),
    "scalar": (0.5, r"images must have shape \(n, 6\), got \(\)"),
}


@pytest.mark.parametrize("x, message", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images(x, message, refuses):
    model = VAE(StudentT(21), sizes=(6, 5, 2))
    for call in (
        model.encode,
        lambda x: model.loss(x, EPS),
        lambda x: model.loss_and_grad(x, EPS),
        lambda x: model.reconstruct(x, EPS),
    ):
        with refuses(message):
            call(x)


BAD_EPS = {
    "rows": (EPS[:2], r"eps must be floating point of shape \(3, 2\), got float64 of shape \(2, 2\)"),
    "would broadcast": (EPS[:1], r"eps must be floating point of shape \(3, 2\), got float64 of shape \(1, 2\)"),
    "one row": (EPS[0], r"eps must be floating point of shape \(3, 2\), got float64 of shape \(2,\)"),
    "scalar": (0.0, r"eps must be floating point of shape \(3, 2\), got float64 of shape \(\)"),
    "transposed": (EPS.T, r"eps must be floating point of shape \(3, 2\), got float64 of shape \(2, 3\)"),
    "int": (EPS.astype(int), r"eps must be floating point of shape \(3, 2\), got int64"),
    "bool": (EPS.astype(bool), r"eps must be floating point of shape \(3, 2\), got bool"),
    "complex": (EPS.astype(complex), r"eps must be floating point of shape \(3, 2\), got complex128"),
    "text": (EPS.astype(str), r"eps must be floating point of shape \(3, 2\), got <U"),
    "nan": (with_value(EPS, np.nan), "eps must be finite"),
    "inf": (with_value(EPS, -np.inf), "eps must be finite"),
}


@pytest.mark.parametrize("eps, message", BAD_EPS.values(), ids=BAD_EPS)
def test_bad_noise(eps, message, refuses):
    model = VAE(Gaussian(), sizes=(6, 5, 2))
    for call in (model.loss, model.loss_and_grad, model.reconstruct):
        with refuses(message):
            call(X, eps)


@pytest.mark.parametrize(
    "sizes", [(784,), (), (784, 0, 10), (784, -4, 10), (784, 2.5, 10), (784, "4", 10), (784, None), (6, float("nan"))]
)
def test_bad_sizes(sizes, refuses):
    with refuses("sizes must be at least two positive whole numbers"):
        VAE(Gaussian(), sizes=sizes)


@pytest.mark.parametrize("kl", ["Exact", "quadrature", 1, True])
def test_bad_kl(kl, refuses):
    with refuses('kl must be "exact", "sample" or None, got'):
        VAE(Gaussian(), sizes=(6, 2), kl=kl)


def test_diverged_weights_are_named(refuses):
    model = VAE(StudentT(21), sizes=(6, 5, 2))
    model.params["encoder.0.weight"][0, 0] = np.nan
    for call in (model.loss, model.loss_and_grad):
        with refuses("the encoder puts out NaN or infinity: the weights have diverged", error=FloatingPointError):
            call(X, EPS)


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_gradient_with_respect_to_the_code(sizes, refuses):
    model, x, z = small_model(StudentT(5), sizes, "sample")
    z = np.clip(z, -3, 3)
    cost, dz = model.reconstruction_and_dz(x, z)
    np.testing.assert_allclose(cost, bernoulli_loss(model.decode(z), x)[0], rtol=1e-12)
    slopes = finite_differences(lambda: model.reconstruction_and_dz(x, z)[0].sum(), z)
    np.testing.assert_allclose(dz, slopes, rtol=1e-6, atol=1e-7)
    with refuses(r"pixels must lie in \[0, 1\]"):
        model.reconstruction_and_dz(x - 1, z)


def test_gradient_with_respect_to_the_code_from_some_pixels():
    model, x, z = small_model(StudentT(5), (6, 5, 4, 2), "sample")
    missing = np.random.default_rng(1).random(x.shape) < 0.4
    cost, dz = model.reconstruction_and_dz(x, z, missing)
    logits = model.decode(z)
    each = np.logaddexp(0, logits) - x * logits
    np.testing.assert_allclose(cost, (each * ~missing).sum(axis=1), rtol=1e-12)
    slopes = finite_differences(lambda: model.reconstruction_and_dz(x, z, missing)[0].sum(), z)
    np.testing.assert_allclose(dz, slopes, rtol=1e-6, atol=1e-7)
    for others in (0.0, 1.0):  # what the missing pixels hold does not matter
        np.testing.assert_array_equal(model.reconstruction_and_dz(np.where(missing, others, x), z, missing)[1], dz)
    cost, dz = model.reconstruction_and_dz(x, z, np.ones_like(missing))
    assert (cost == 0).all() and (dz == 0).all()
