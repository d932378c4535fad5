"""The training in the page, its JavaScript run by Node: every number against the library, Adam against PyTorch's."""

import json

import numpy as np
import pytest
import torch
from node import run_node
from scipy import stats
from scipy.integrate import quad

from tvae_lib.data import load_mnist
from tvae_lib.interactive import page_digits, training_explorer
from tvae_lib.interactive.page_weights import pack_grey
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact_and_grad
from tvae_lib.vae_numpy import VAE

NAMES = ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
MODELS = [
    (Gaussian(), "exact"),
    (Gaussian(), "sample"),
    (StudentT(2), "exact"),
    (StudentT(2), "sample"),
    (StudentT(21.5), "exact"),
    (Apart(Gaussian(), StudentT(5)), "exact"),
    (Apart(Gaussian(), StudentT(2)), "sample"),
]
# Layers from lists, and the layers' arrays in the order of NAMES, weight before bias.
HEAD = """
const layer = (l) => ({ weight: Float32Array.from(l.weight), bias: Float32Array.from(l.bias) });
const network = (n) => ({ encoder: n.slice(0, 2).map(layer), decoder: n.slice(2).map(layer) });
const flat = (layers) => layers.flatMap((l) => [Array.from(l.weight), Array.from(l.bias)]);
"""


def page_family(family, kl, weight=1):
    encoder, prior = (family.encoder, family.prior) if isinstance(family, Apart) else (family, family)
    degrees = {"df": getattr(prior, "df", None), "encoderDf": getattr(encoder, "df", None)}
    return {**degrees, "exact": kl == "exact", "weight": weight}


def layers(model):
    return [{part: model.params[f"{name}.{part}"].ravel().tolist() for part in ("weight", "bias")} for name in NAMES]


def arrays(params):
    return [params[f"{name}.{part}"].ravel() for name in NAMES for part in ("weight", "bias")]


def run(body, data):
    return run_node(f"(() => {{ {HEAD} {body} }})()", data, "training")


@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (1, 4, 3), (2, 5, 7), (3, 2, 196), (100, 128, 50)])
def test_product(m, n, k):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(n, k))
    found = run_node(
        "Array.from(js.multiply(data.a, data.b, new Float64Array(data.a.length / data.k * (data.b.length / data.k)),"
        "data.a.length / data.k, data.b.length / data.k, data.k))",
        {"a": a.ravel().tolist(), "b": b.ravel().tolist(), "k": k},
        "network",
    )
    np.testing.assert_allclose(np.reshape(found, (m, n)), a @ b.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("df", [1, 1.5, 2, 3, 4.2, 21, 50])
def test_exact_kl_of_t_and_its_gradient(df):
    mu, sigma = np.meshgrid([-6, -1.3, 0, 0.2, 5.0], [0.05, 0.4, 1, 1.8, 5])
    mu, sigma = mu.ravel(), sigma.ravel()
    script = "data.map(([mu, sigma, df]) => Object.values(js.klStudentAndGradient(mu, sigma, df)))"
    found = run_node(script, [[m, s, df] for m, s in zip(mu, sigma, strict=True)])
    kl, dmu, dlogvar = kl_exact_and_grad(StudentT(df), mu, 2 * np.log(sigma))
    np.testing.assert_allclose(found, np.stack([kl, dmu, 2 * dlogvar / sigma], axis=1), rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize("df", [1, 2, 3, 21])
def test_kl_of_a_gaussian_from_a_t_and_its_gradient(df):
    mu, sigma = (values.ravel() for values in np.meshgrid([-6, -1.3, 0, 0.2, 5.0], [0.05, 0.4, 1, 1.8]))
    script = "data.points.map((point) => Object.values(js.klApartAndGradient(Infinity, data.df)(...point)))"
    found = run_node(script, {"df": df, "points": np.stack([mu, sigma], axis=1).tolist()})
    prior, expected = stats.t(df), []
    pull = lambda z: (df + 1) * z / (df + z * z)  # minus the derivative of the log prior
    for m, s in zip(mu, sigma, strict=True):
        mean = lambda f, m=m, s=s: quad(lambda e: stats.norm.pdf(e) * f(m + s * e, e), -12, 12, epsabs=1e-9, limit=200)[0]
        kl = -stats.norm.entropy() - np.log(s) - mean(lambda z, e: prior.logpdf(z))
        expected.append([kl, mean(lambda z, e: pull(z)), mean(lambda z, e: pull(z) * e) - 1 / s])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def example(family, kl, rows=7):
    """A network with weights of ordinary size, images and noise."""
    model = VAE(family, sizes=(196, 128, 2), rng=1, dtype=np.float64, kl=kl)
    rng = np.random.default_rng(2)
    for value in model.params.values():
        value += rng.normal(0, 0.05, value.shape)
    return model, page_digits()[0][:rows].astype(float), model.family.sample(rng, (rows, 2))


def in_the_page(model, family, x, eps):
    body = """
    const { network: n, family, x, eps, rows } = data;
    family.df ??= Infinity;
    family.encoderDf ??= Infinity;
    const found = js.finish(js.lossAndGradients(network(n), family, Float32Array.from(x), Float32Array.from(eps), rows));
    return { reconstruction: found.reconstruction, kl: [...found.kl], gradients: flat(found.gradients), mu: [...found.mu] };
    """
    data = {"network": layers(model), "family": family, "x": x.ravel().tolist(), "eps": eps.ravel().tolist(), "rows": len(x)}
    return run(body, data)


@pytest.mark.parametrize("family, kl", MODELS)
def test_loss_and_every_gradient(family, kl):
    model, x, eps = example(family, kl)
    found = in_the_page(model, page_family(family, kl), x, eps)
    loss, grads = model.loss_and_grad(x, eps)
    assert found["reconstruction"] == pytest.approx(loss.reconstruction.mean(), rel=1e-5)
    coarse = 1e-4 if isinstance(family, Apart) else 0  # 24 nodes in the library, more in the page
    assert sum(found["kl"]) == pytest.approx(loss.kl.mean(), rel=1e-5, abs=coarse)
    np.testing.assert_allclose(found["mu"], model.encode(x)[0].ravel(), rtol=0, atol=1e-5)
    for gradient, expected in zip(found["gradients"], arrays(grads), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


def test_weight_of_the_kl():
    model, x, eps = example(StudentT(3), "sample")
    none, once, thrice = (in_the_page(model, page_family(model.family, "sample", weight), x, eps) for weight in (0, 1, 3))
    assert none["kl"] == once["kl"] == thrice["kl"]
    for first, second, third in zip(*(found["gradients"] for found in (none, once, thrice)), strict=True):
        np.testing.assert_allclose(np.subtract(third, first), 3 * np.subtract(second, first), rtol=0, atol=1e-4)
    dmu = model.loss_and_grad(x, eps)[1]["encoder.1.bias"]
    flat = VAE(Flat(), sizes=(196, 128, 2), dtype=np.float64, kl="sample")
    flat.params = model.params
    without = flat.loss_and_grad(x, eps)[1]["encoder.1.bias"][:2]  # the location: log sigma is all that is left of this KL
    np.testing.assert_allclose(none["gradients"][3][:2], without, rtol=0, atol=1e-4)
    assert np.abs(dmu[:2] - without).min() > 0.01


class Flat:
    """A density without shape: its KL knows nothing of mu."""

    def sample(self, rng, shape):
        return rng.normal(size=shape)

    def log_prob(self, z):
        return 0 * z

    score = log_prob


def test_adam_is_pytorchs():
    model, x, eps = example(Gaussian(), "exact")
    steps = [model.loss_and_grad(x[i : i + 3], eps[i : i + 3])[1] for i in range(5)]
    body = """
    const net = network(data.network);
    const memory = {};
    for (const step of data.steps) js.adamStep(net, step.map(layer), memory, 0.01);
    return flat(js.layersOf(net));
    """
    as_lists = [[{"weight": g[f"{n}.weight"].ravel().tolist(), "bias": g[f"{n}.bias"].tolist()} for n in NAMES] for g in steps]
    found = run(body, {"network": layers(model), "steps": as_lists})
    weights = [torch.tensor(value, requires_grad=True) for value in arrays(model.params)]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    for step in steps:
        for weight, gradient in zip(weights, arrays(step), strict=True):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
    for values, expected in zip(found, weights, strict=True):
        np.testing.assert_allclose(values, expected.detach(), rtol=0, atol=1e-5)


def adam(model, grads, memory, lr):
    """One step of Adam on a NumPy model."""
    memory["steps"] = t = memory.get("steps", 0) + 1
    for name, gradient in grads.items():
        mean, square = memory.get(name, (0, 0))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        memory[name] = mean, square
        model.params[name] -= lr * mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)


def repeat_epoch(family, kl, x, start, steps):
    """The first epoch's mean reconstruction and KL in NumPy, from the page's first weights, rows and noise."""
    model = VAE(family, sizes=(196, 128, 2), kl=kl)
    keys = [f"{name}.{part}" for name in NAMES for part in ("weight", "bias")]
    model.params = {
        key: np.array(value, np.float32).reshape(model.params[key].shape) for key, value in zip(keys, start, strict=True)
    }
    losses, memory = [], {}
    for step in steps:
        loss, grads = model.loss_and_grad(x[step["rows"]], np.reshape(step["eps"], (-1, 2)).astype(np.float32))
        losses.append([loss.reconstruction.mean(), loss.kl.mean()])
        adam(model, grads, memory, 0.004)
    return np.mean(losses, axis=0)


EPOCH = """
const infinite = (df) => df ?? Infinity;
const families = data.families.map((family) => ({ ...family, df: infinite(family.df), encoderDf: infinite(family.encoderDf) }));
const run = js.newRun(js.unpackImages(data.images).subarray(0, 3000 * 196), [196, 128, 2], families, 5);
const start = run.models.map(({ network }) => flat(js.layersOf(network)));
const steps = [];
for (let step = 0; step < 30; step += 1) {
  steps.push({ rows: [...js.nextRows(run)], eps: families.map((family) => [...js.noiseOf(run, family)]) });
  js.finish(js.trainStep(run, 0.004));
}
return { start, steps, history: run.models.map((model) => model.history) };
"""


@pytest.fixture(scope="module")
def epochs():
    """One epoch of two models side by side, as the page trains them."""
    data = {"families": [page_family(Gaussian(), "exact"), page_family(StudentT(3), "sample")]}
    data["images"] = json.loads(training_explorer().payload["training"])
    return run(EPOCH, data)


def test_first_epoch_is_numpys(epochs):
    x = page_digits()[0]
    for i, (family, kl) in enumerate([(Gaussian(), "exact"), (StudentT(3), "sample")]):
        steps = [{"rows": step["rows"], "eps": step["eps"][i]} for step in epochs["steps"]]
        expected = repeat_epoch(family, kl, x, epochs["start"][i], steps)
        (found,) = epochs["history"][i]
        np.testing.assert_allclose([found["reconstruction"], sum(found["kl"])], expected, rtol=1e-3)


def test_side_by_side_from_the_same_start_and_noise(epochs):
    np.testing.assert_array_equal(*(np.concatenate(start) for start in epochs["start"]))
    assert np.std(epochs["start"][0][0]) == pytest.approx(0.1, rel=0.02)
    rows = np.array([step["rows"] for step in epochs["steps"]])
    assert len(np.unique(rows)) == 3000
    gaussian, t = np.array([step["eps"] for step in epochs["steps"]]).transpose(1, 0, 2)
    root = gaussian / t  # of V / 3, always positive
    assert (root > 0).all() and np.mean(root**2) == pytest.approx(1, abs=0.05)
    assert len(np.unique(gaussian)) == gaussian.size


def test_digits_in_the_page():
    figure = training_explorer()
    data = json.loads(figure.payload["training"])
    pixels = np.reshape(run("return Array.from(js.unpackImages(data))", data), (3010, 14, 14))
    mnist = load_mnist()
    seen = mnist.train[:3000].reshape(-1, 28, 28)
    mean = (seen[:, ::2, ::2] + seen[:, 1::2, ::2] + seen[:, ::2, 1::2] + seen[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(pixels[:3000], mean, rtol=0, atol=1 / 30 + 1e-6)
    np.testing.assert_allclose(pixels * 15, np.round(pixels * 15), atol=1e-5)
    assert data["labels"] == "".join(map(str, mnist.train_labels[:3000]))
    assert len(figure._repr_html_()) < 500_000


def test_packed_images_refuse_what_is_no_pixel():
    with pytest.raises(ValueError, match=r"^pixels must lie in \[0, 1\], got values from -1 to 2"):
        pack_grey(np.array([-1.0, 2.0]))
    assert pack_grey(np.zeros((0, 4))) == ""


def test_the_tied_t_pays_for_its_clouds():
    """What chapter 11 says of the preset "whose tail?"."""
    body = """
    const families = [3, Infinity].map((encoderDf) => ({ df: 3, encoderDf, exact: true, weight: 1 }));
    const run = js.newRun(js.unpackImages(data).subarray(0, 3000 * 196), [196, 128, 2], families, 0);
    for (let step = 0; step < 600; step += 1) js.finish(js.trainStep(run, 0.004));
    return run.models.map(({ history }) => history[19].reconstruction + history[19].kl[0] + history[19].kl[1]);
    """
    tied, apart = run(body, json.loads(training_explorer().payload["training"]))
    assert 0.1 < tied - apart < 1
