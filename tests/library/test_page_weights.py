"""The trained models as a web page has them: what the rounding costs, and the JavaScript that runs them, by node."""

import base64
import json
import re

import numpy as np
import pytest
from node import run_node
from scipy import stats

from tvae_lib import baselines, impute, masks, metrics
from tvae_lib.data import load_mnist
from tvae_lib.experiments import load_model
from tvae_lib.experiments import test_masks as stored_masks
from tvae_lib.interactive import latent_explorer, playground
from tvae_lib.interactive.page_weights import fit_gaussian, pack, pack_gaussian, quantise, rounded

RUNS = ("gaussian", "t21")


def packed(model):
    return {part: json.loads(pack(model, part)) for part in ("decoder", "encoder")}


@pytest.mark.parametrize("name", RUNS)
def test_one_byte_per_weight_keeps_the_scores(name):
    model = load_model(name)
    twin = rounded(model)
    x = load_mnist().test[:1000]
    eps = model.family.sample(np.random.default_rng(0), (1000, 10))
    whole, with_bytes = (metrics.mse(x, m.reconstruct(x, eps)) for m in (model, twin))
    assert with_bytes == pytest.approx(whole, rel=0.005)
    for missing in stored_masks(0).values():
        missing = missing[:1000]
        whole, with_bytes = (metrics.mse_missing(x, impute.single_pass(m, x, missing), missing) for m in (model, twin))
        assert with_bytes == pytest.approx(whole, rel=0.005)


def test_quantise():
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    weight[2] = 0
    whole, scale = quantise(weight)
    assert whole.dtype == np.int8 and whole.shape == (5, 7) and np.abs(whole).max() == 127
    assert (np.abs(scale[:, None] * whole - weight) <= 0.501 * scale[:, None]).all()


def test_rounded_leaves_the_model_alone():
    model = load_model("t21")
    before = {name: value.copy() for name, value in model.params.items()}
    twin = rounded(model)
    for name, value in before.items():
        np.testing.assert_array_equal(model.params[name], value)
        assert twin.params[name].dtype == np.float32 and twin.params[name].shape == value.shape


@pytest.mark.parametrize("name", RUNS)
def test_javascript_encodes_decodes_and_differentiates(name):
    model = rounded(load_model(name))
    x = load_mnist().test[99:100]
    missing = np.random.default_rng(0).random(x.shape) < 0.3
    z = np.linspace(-2, 2, 10)[None]
    data = packed(model) | {"x": x[0].tolist(), "z": z[0].tolist(), "missing": missing[0].tolist()}
    script = (
        "((m) => { const { mu, sigma } = js.encode(m, Float32Array.from(data.x)); const z = Float32Array.from(data.z);"
        "const { probabilities, gradient } = js.decodeAndGradient(m, z, Float32Array.from(data.x), data.missing);"
        "return [mu, sigma, probabilities, gradient].map((list) => Array.from(list)); })"
        "(js.buildModel(data.decoder, data.encoder))"
    )
    mu, logvar = model.encode(x)
    _, dz = model.reconstruction_and_dz(x, z, missing)
    expected = (mu, np.exp(0.5 * logvar), 1 / (1 + np.exp(-model.decode(z))), dz - model.family.score(z))
    for found, value in zip(run_node(script, data, "network"), expected, strict=True):
        np.testing.assert_allclose(found, value[0], rtol=2e-4, atol=1e-4)


def test_conditional_mean_in_javascript():
    mnist = load_mnist()
    x, rng = mnist.test[100:120].astype(float), np.random.default_rng(0)
    missing = masks.random_squares(rng, 20)
    missing[0] = np.arange(784) >= 392
    data = {"gaussian": json.loads(pack_gaussian(mnist.train[:5000])), "x": x.tolist(), "missing": missing.astype(int).tolist()}
    script = (
        "((g) => data.x.map((x, i) => Array.from(js.finish(js.conditionalMean(g, x, data.missing[i])))))"
        "(js.finish(js.unpackGaussian(data.gaussian)))"
    )
    found = np.array(run_node(script, data, "network"))
    mean, pixels, covariance = fit_gaussian(mnist.train[:5000])
    for image, hidden, filled in zip(x, missing, found, strict=True):
        known, wanted = ~hidden[pixels], hidden[pixels]
        solved = np.linalg.solve(covariance[np.ix_(known, known)], (image - mean)[pixels[known]])
        expected = mean.copy()
        expected[pixels[wanted]] = np.clip(mean[pixels[wanted]] + covariance[np.ix_(wanted, known)] @ solved, 0, 1)
        np.testing.assert_allclose(filled[hidden], expected[hidden], rtol=0, atol=1e-4)
    library = baselines.conditional_mean(mnist.train[:5000], x, missing)
    ours, theirs = (np.square(x - guess)[missing].mean() for guess in (found, library))
    assert theirs / 1.15 < ours < 1.15 * theirs  # what bytes and ridge cost


def test_masks_in_javascript():
    script = (
        "Array.from({ length: 400 }, (_, seed) => [js.randomPixels(generator(seed).uniform, 0.3),"
        "js.randomSquares(generator(seed).uniform, 50, 4)].map((mask) => Array.from(mask)))"
    )
    random, squares = np.array(run_node(script, None, "network")).transpose(1, 0, 2)
    assert (random.sum(axis=1) == 235).all()
    assert stats.chisquare(random.sum(axis=0)).pvalue > 1e-3  # every pixel as often as any other
    library = masks.random_squares(np.random.default_rng(0), 4000).astype(int)
    np.testing.assert_allclose(squares.mean(axis=0), library.mean(axis=0), atol=0.13)  # low at the rim, as in the library
    assert stats.ks_2samp(squares.sum(axis=1), library.sum(axis=1)).pvalue > 1e-3


@pytest.mark.parametrize("make, most", [(playground, 2_500_000), (latent_explorer, 1_200_000)])
def test_output_is_self_contained(make, most):
    figure = make()
    html = figure._repr_html_()
    assert len(html) < most and html == make()._repr_html_()
    assert ' id="' not in html and not re.search(r"https?://|\bimport\b|fetch\(|\bsrc=\"(?!data:)", html)
    assert re.search(r'<noscript><img alt="[^"<]{60,}" src="data:image/png;base64,', html)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_weights_are_in_a_page_once():
    names = re.findall(r'data-tvae="([\w-]+)">', playground()._repr_html_())
    halves = [f"{model}-{half}" for model in ("gaussian", "t") for half in ("decoder", "encoder")]
    assert sorted(names) == sorted(["digits", "gaussian-pixels", "pool", *halves])
    assert sum(len(pack(load_model(run), part)) for run in RUNS for part in ("decoder", "encoder")) < 2_500_000


def test_digits_are_those_of_the_test_set():
    digits = json.loads(playground().payload["digits"])
    pixels = np.frombuffer(base64.b64decode(digits["pixels"]), np.uint8).reshape(-1, 784)
    np.testing.assert_array_equal(pixels, np.round(255 * load_mnist().test[digits["rows"]]))
    assert digits["labels"] == load_mnist().test_labels[digits["rows"]].tolist() and set(digits["labels"]) == set(range(10))


def test_bad_seed():
    for make in (playground, latent_explorer):
        with pytest.raises(ValueError, match=r"^no weights are shipped .* with seed 99"):
            make(seed=99)
