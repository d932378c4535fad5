"""The live figures without a browser: their arithmetic run by node, their HTML, their settings."""

import base64
import itertools
import json
import re

import numpy as np
import pytest
from node import JS, run_node
from scipy import stats

from tvae_lib import impute, masks
from tvae_lib.experiments import load_model
from tvae_lib.interactive import (
    DEGREES,
    METHODS,
    NETWORK,
    _backprop_values,
    backprop_explorer,
    df_explorer,
    fill_in,
    kl_explorer,
    mask_explorer,
    sampling_explorer,
    tails_explorer,
)
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact
from tvae_lib.plots import GAUSSIAN, STUDENT_T
from tvae_lib.vae_numpy import VAE

MU, SIGMA = np.array([-6, -2.5, -0.3, 0, 0.1, 1, 6]), np.array([0.05, 0.2, 0.9, 1, 1.5, 5])
DF = np.array([1, 1.05, 1.5, 2, 3, 4.2, 10, 21, 50])


def small_vae(family, seed=19, kl=None):
    """The network of the backpropagation figure, with weights of ordinary size."""
    model = VAE(family, sizes=(2, 3, 1), dtype=np.float64, kl=kl)
    rng = np.random.default_rng(seed)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.8, value.shape)
    return model


def backprop_example():
    return backprop_explorer(small_vae(StudentT(3)), x=(0.9, 0.2), eps=1.5)


def test_kl_in_javascript_equals_kl_exact():
    points = [tuple(map(float, point)) for point in itertools.product(MU, SIGMA, DF)]
    found = run_node("data.map(([mu, sigma, df]) => [js.klGaussian(mu, sigma), js.klStudent(mu, sigma, df)])", points)
    for (mu, sigma, df), values in zip(points, found, strict=True):
        logvar = np.array(2 * np.log(sigma))
        expected = [kl_exact(family, np.array(mu), logvar) for family in (Gaussian(), StudentT(df))]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6, err_msg=f"mu={mu} sigma={sigma} df={df}")


def test_kl_of_two_families_in_javascript():
    degrees = [2.5, 3, 4.2, 21, 200, None]  # None stands for the Gaussian: JSON has no infinity
    script = "data.pairs.map(([q, p]) => data.points.map(([mu, sigma]) => js.klApart(q ?? Infinity, p ?? Infinity)(mu, sigma)))"
    points = [(0, 1), (0, 0.05), (1.5, 0.4), (6, 2)]
    pairs = list(itertools.product(degrees, repeat=2))
    found = run_node(script, {"pairs": pairs, "points": points})
    mu, logvar = np.array(points, float).T[0], 2 * np.log(np.array(points).T[1])
    for pair, values in zip(pairs, found, strict=True):
        family = Apart(*(Gaussian() if df is None else StudentT(df) for df in pair))
        np.testing.assert_allclose(values, kl_exact(family, mu, logvar), rtol=0, atol=2e-4, err_msg=str(pair))


def test_densities_in_javascript():
    z = [-30.0, -2.0, 0.0, 0.7, 8.0]
    found = run_node("data.df.map((df) => data.z.map(js.logDensity(df)))", {"z": z, "df": DF.tolist()})
    for df, values in zip(DF, found, strict=True):
        np.testing.assert_allclose(values, StudentT(df).log_prob(np.array(z)), rtol=0, atol=1e-9)
    gaussian = run_node("data.map(js.logDensity(Infinity))", z)
    np.testing.assert_allclose(gaussian, Gaussian().log_prob(np.array(z)), rtol=0, atol=1e-12)


def test_tails_and_quantiles_in_javascript():
    data = {"df": [1, 1.5, 3, 21, 50], "z": [-4, -0.5, 0, 1, 3, 12], "p": [0.0001, 0.02, 0.5, 0.7, 0.995]}
    script = (
        "[...data.df, Infinity].map((df) => js.tailTable(js.logDensity(df), df === Infinity ? 1 : Math.sqrt(df)))"
        ".map((table) => [...data.z.map(table.above), ...data.p.map(table.quantile)])"
    )
    found = run_node(script, data)
    for law, row in zip([*map(stats.t, data["df"]), stats.norm], found, strict=True):
        np.testing.assert_allclose(row[: len(data["z"])], law.sf(data["z"]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(row[len(data["z"]) :], law.ppf(data["p"]), rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("df", [1, 1.7, 3, 21.5])
def test_draws_in_javascript(df):
    script = (
        "((next) => Array.from({length: 20000}, () => { const d = next(); return [d.z, d.v, d.t]; }))"
        "(js.studentDraws(data.seed, data.df))"
    )
    draws = np.array(run_node(script, {"seed": 0, "df": df}))
    z, v, t = draws.T
    np.testing.assert_allclose(t, z / np.sqrt(v / df))
    for sample, law in ((z, stats.norm), (v, stats.chi2(df)), (t, stats.t(df))):
        assert stats.kstest(sample, law.cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(z, v).statistic) < 0.03
    np.testing.assert_array_equal(run_node(script, {"seed": 0, "df": df}), draws)
    assert not np.array_equal(run_node(script, {"seed": 1, "df": df}), draws)


def test_sliders_step_through_round_numbers():
    sigma, df = (np.array(run_node(f"js.ladder({ends})", 0)) for ends in ("0.05, 5", "1, 50"))
    assert sigma[0] == 0.05 and sigma[-1] == 5 and df[0] == 1 and df[-1] == 50
    assert {0.5, 1} <= set(sigma) and {2, 3, 5, 10, 21} <= set(df)
    for values in (sigma, df):
        ratios = values[1:] / values[:-1]
        assert ratios.min() > 1.01 and ratios.max() < 1.06  # even on a log axis, to the eye


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family, kl", [(Gaussian(), "exact"), (Gaussian(), "sample"), (StudentT(3), None), (StudentT(21), None)])
def test_backpropagation_in_javascript(family, kl, seed):
    model = small_vae(family, seed, kl)
    rng = np.random.default_rng(seed)
    x, eps = rng.random(2), rng.normal()
    names = sorted({name.rsplit(".", 1)[0] for name in model.params})
    net = {name: {part: model.params[f"{name}.{part}"].tolist() for part in ("weight", "bias")} for name in names}
    data = {"net": net, "df": getattr(family, "df", 0), "exact": kl == "exact", "x": x.tolist(), "eps": eps}
    script = """((family) => {
        const v = js.backwardPass(data.net, family, js.forwardPass(data.net, family, data.x, data.eps));
        const next = js.descend(data.net, v.grad, 0.1);
        const after = js.forwardPass(next, family, data.x, data.eps);
        const grads = data.names.flatMap((name) => [v.grad[name].weight.flat(), v.grad[name].bias].flat());
        return [v.reconstruction, v.kl, after.loss, ...grads];
    })({ df: data.df || Infinity, exact: data.exact })"""
    found = run_node(script, data | {"names": names}, "backprop")
    loss, grads = model.loss_and_grad([x], [[eps]])
    for name, gradient in grads.items():
        model.params[name] -= 0.1 * gradient
    expected = [[loss.reconstruction[0], loss.kl[0], model.loss([x], [[eps]]).total]]
    expected += [grads[f"{name}.{part}"].ravel() for name in names for part in ("weight", "bias")]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-9)


def test_still_of_the_backpropagation_figure_knows_every_box():
    for model in (small_vae(StudentT(3)), small_vae(Gaussian())):
        values, derivatives = _backprop_values(model, np.array([[0.9, 0.2]]), np.array([[1.5]]))
        assert values.keys() == NETWORK.keys() and set(derivatives) < set(NETWORK)
        _, grads = model.loss_and_grad([[0.9, 0.2]], [[1.5]])
        dmu_by_hand = derivatives["z"] + (values["mu"] if model.kl == "exact" else 0)
        assert derivatives["mu"] == grads["encoder.1.bias"][0] == pytest.approx(dmu_by_hand)


@pytest.mark.parametrize(
    "model, settings, message",
    [
        (VAE(Gaussian(), sizes=(2, 3, 2)), {}, r"^model must be a NumPy VAE with sizes \(2, 3, 1\), got \(2, 3, 2\)"),
        ("model", {}, "^model must be a NumPy VAE .* got 'model'"),
        (small_vae(StudentT(3), kl="exact"), {}, '^model must be .* kl="sample"'),
        (small_vae(Gaussian()), {"x": (0.9, 1.2)}, r"^pixels must lie in \[0, 1\]"),
        (small_vae(Gaussian()), {"x": (0.9,)}, r"^images must have shape \(n, 2\)"),
        (small_vae(Gaussian()), {"eps": float("nan")}, "^eps must be a number"),
    ],
)
def test_bad_settings_of_the_backpropagation_figure(model, settings, message):
    with pytest.raises(ValueError, match=message):
        backprop_explorer(model, **({"x": (0.9, 0.2), "eps": 1.5} | settings))


def test_frames_over_the_degrees_of_freedom(mnist):
    figure = df_explorer()
    frames = json.loads(figure.payload["frames"])["frames"]
    assert len(frames) == len(DEGREES) and frames[figure.settings["start"]]["alt"] == figure.alt
    for df, frame in zip(DEGREES, frames, strict=True):
        law = stats.norm if df == np.inf else stats.t(df)
        model = load_model("gaussian" if df == np.inf else f"t{df}", backend="torch")
        with model.no_grad():
            pixels = model.decode(model.encode(mnist.test[:10])[0]).sigmoid().numpy()
        assert f"density is {law.pdf(6):.1e}" in frame["alt"]
        assert f"{np.mean((pixels - mnist.test[:10]) ** 2):.4f}." in frame["alt"]
        assert base64.b64decode(frame["src"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "make, most",
    [(f, 150_000) for f in (kl_explorer, tails_explorer, sampling_explorer, backprop_example)] + [(df_explorer, 900_000)],
)
def test_output_is_self_contained(make, most):
    figure = make()
    html = figure._repr_html_()
    assert not re.search(r"https?://|\bimport\b|fetch\(|\bsrc=\"(?!data:)", html)
    assert html.count("</script>") == 1 + len(figure.payload)
    assert ' id="' not in html  # ids are made in the page, so that copies do not clash
    assert re.search(r'<noscript><img alt="[^"<]{60,}" src="data:image/png;base64,', html)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(html) < most and html == make()._repr_html_()


def test_colours_are_the_books():
    script = (JS / "panel.js").read_text("utf-8")
    assert f'gaussian: "{GAUSSIAN}"' in script and f't: "{STUDENT_T}"' in script


def test_start_values_are_handed_over():
    assert 'data-mu="-2.5" data-sigma="0.25" data-df="21.0"' in kl_explorer(mu=-2.5, sigma=0.25, df=21)._repr_html_()
    assert repr(kl_explorer(df=5)) == "kl_explorer(mu=1, sigma=0.5, df=5)"
    assert 'data-encoder-df="21.0" data-prior-df="3.0"' in tails_explorer(encoder_df=21)._repr_html_()
    with pytest.raises(ValueError, match=r"prior_df must be a number from 2\.5 to 200, got 2"):
        tails_explorer(prior_df=2)


@pytest.mark.parametrize(
    "settings", [{"mu": 7}, {"mu": float("nan")}, {"mu": "1"}, {"sigma": 0}, {"sigma": 6}, {"df": 0.5}, {"df": 51}, {"df": True}]
)
def test_bad_start_values(settings):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings))} must be a number from .* got"):
        kl_explorer(**settings)


@pytest.mark.parametrize(
    "settings", [{"df": 0.9}, {"draws": 0}, {"draws": 20_001}, {"draws": 10.0}, {"seed": -1}, {"seed": True}]
)
def test_bad_settings_of_the_sampling_explorer(settings):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings))} must be a (number|whole number) from .* got"):
        sampling_explorer(**settings)


# Figures that a kernel draws


def turn(figure, **settings):
    """Set controls as a reader would. Returns what the figure shows then, as HTML."""
    for name, value in settings.items():
        figure.controls[name].value = value
    return figure.view.value


def test_every_control_has_a_label():
    assert all(len(control.description) > 3 for control in mask_explorer().controls.values())


@pytest.mark.parametrize("method", METHODS)
def test_filling_in_is_the_librarys(mnist, method):
    library = {"one pass": impute.single_pass, "feeding back": impute.pseudo_gibbs, "weighting": impute.importance}
    library |= {"Langevin": impute.langevin, "most probable code": impute.latent_map}
    x, missing, filled = fill_in(load_model("t21", 1), row=7, share=0.25, count=3, max_side=9, mask_seed=5, method=method)
    rng = np.random.default_rng(5)
    hidden = masks.random_pixels(rng, (1, 784), 0.25) | masks.random_squares(rng, 1, 3, 9)
    prediction = library[method](load_model("t21", 1), mnist.test[7:8], hidden, draws=30, seed=0)
    np.testing.assert_array_equal(missing, hidden)
    np.testing.assert_array_equal(x, mnist.test[7:8])
    np.testing.assert_array_equal(filled, np.where(hidden, prediction, x))


def test_masks_by_their_controls(mnist):
    figure = mask_explorer()
    settings = {"row": 7, "share": 0.25, "count": 3, "max_side": 9, "mask_seed": 5, "method": "feeding back"}
    shown = turn(figure, model="Gaussian", **settings)
    x, missing, filled = fill_in(load_model("gaussian", 1), **settings)
    error = np.square(x - filled)[missing].mean()
    assert f"A handwritten {mnist.test_labels[7]}; the same with {missing.sum()} of 784 pixels missing" in shown
    assert f"the method called feeding back; and where that errs. Mean squared error on the missing pixels: {error:.3f}." in shown


def test_what_cannot_be_drawn_is_said_in_one_line():
    figure = mask_explorer()
    assert turn(figure, share=0, count=0) == (
        "<p>No picture for these settings: missing marks no pixel, so there is nothing to score.</p>"
    )
    assert turn(figure, count=9).startswith("<img alt=")


@pytest.mark.parametrize("version", [7, 8])
def test_without_a_kernel_a_still_picture_says_so(version, monkeypatch):
    figure = mask_explorer()
    if version == 7:  # whose widgets show themselves by another method
        monkeypatch.delattr("ipywidgets.Widget._repr_mimebundle_")
    bundle = figure._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert re.match(r'<img alt="[^"<]{60,}" src="data:image/png;base64,[^"]+"', bundle["text/html"])
    assert "need a running kernel" in bundle["text/html"] and not re.search("https?:|<script", bundle["text/html"])
