"""Live figures. Most need no kernel and no network: plain JavaScript (the files in js/) inside one HTML output.

The functions that make these return a `LiveFigure`. A notebook, the built book and a page opened from disk show its HTML; where
scripts are off, or where only pictures are shown, a still of the same message stands in its place.

`mask_explorer` is left to the kernel: it returns a `KernelFigure`, sliders of ipywidgets in a notebook and a still picture
anywhere else.
"""

import base64
import io
import itertools
import json
import math
import numbers
from functools import partial
from itertools import pairwise
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy import stats
from scipy.special import expit
from threadpoolctl import threadpool_limits

from tvae_lib import impute
from tvae_lib.data import load_mnist
from tvae_lib.inputs import generator, number, one_of, real_array, said, whole
from tvae_lib.interactive.page_weights import pack, pack_gaussian, pack_grey
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact
from tvae_lib.masks import random_pixels, random_squares
from tvae_lib.metrics import mse_missing
from tvae_lib.plots import GREY, colour
from tvae_lib.results import load_model
from tvae_lib.train import fit
from tvae_lib.vae_numpy import VAE

JS = Path(__file__).parent / "js"


class LiveFigure:
    """One self-contained HTML figure and its still picture; the last expression of a cell shows it.

    kind: names js/<kind>_explorer.js, and .css if it has a style of its own; settings: numbers, or lists of them, handed to the
    script; still: matplotlib figure; alt: what it shows, in words; parts: further files of js/ that the script needs; payload:
    JSON texts that it looks up in the page by name (each must be there once, whichever figure brings it).
    """

    def __init__(self, kind, settings, still, alt, parts=(), payload=None):
        self.kind, self.settings, self.alt, self.parts, self.payload = kind, settings, alt, parts, payload or {}
        self._png = _png(still)

    def _repr_png_(self):
        return self._png

    def _repr_html_(self):
        names = ("numerics", "panel", *self.parts, f"{self.kind}_explorer")
        scripts = "\n".join((JS / f"{name}.js").read_text("utf-8") for name in names)
        sheets = [JS / f"{name}.css" for name in ("explorer", *self.parts, f"{self.kind}_explorer")]
        styles = "".join(sheet.read_text("utf-8") for sheet in sheets if sheet.exists())
        data = " ".join(f'data-{name}="{value!r}"' for name, value in self.settings.items())
        picture = _data_url(self._png)
        payload = "".join(
            f'<script type="application/json" data-tvae="{name}">{text}</script>\n' for name, text in self.payload.items()
        )
        return (
            f'{payload}<div class="tvae-explorer" data-kind="{self.kind}" {data}>'
            f'<noscript><img alt="{self.alt}" src="{picture}"></noscript></div>\n'
            f"<style>\n{styles}</style>\n"
            f'<script>\n(() => {{\n"use strict";\n{scripts}}})();\n</script>'
        )

    def __repr__(self):
        shown = {name: value for name, value in self.settings.items() if isinstance(value, numbers.Real)}
        return f"{self.kind}_explorer({', '.join(f'{name}={value:g}' for name, value in shown.items())})"


class KernelFigure:
    """A picture that a running kernel draws again when its controls move; pages without a kernel show it still and say so.

    draw: function of the controls' values; returns a matplotlib figure and what it shows, in words. controls: dict of argument
    to ipywidget.
    """

    def __init__(self, draw, controls):
        self.draw, self.controls, self.view = draw, controls, widgets.HTML()
        for control in controls.values():
            control.style.description_width, control.layout.width = "14em", "40em"
            control.observe(self.update, names="value")
        self.box = widgets.VBox([*controls.values(), self.view])
        self.update()

    def update(self, _=None):
        """Draw the picture that the controls ask for. What cannot be drawn is said in one line."""
        with threadpool_limits(1):  # on matrices this small the threads of BLAS only wait for each other
            try:
                figure, self.alt = self.draw(**{name: control.value for name, control in self.controls.items()})
                self._png = _png(figure)
                self.view.value = self._picture()
            except (ValueError, FloatingPointError) as error:
                self.view.value = f"<p>No picture for these settings: {error}.</p>"

    def _picture(self):
        return f'<img alt="{self.alt}" src="{_data_url(self._png)}" style="max-width: 100%">'

    def _repr_mimebundle_(self, **kwargs):
        still = f"{self._picture()}\n<p>The controls of this figure need a running kernel: open this chapter in JupyterLab.</p>"
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}  # of ipywidgets 7 and 8 alike
        return {"application/vnd.jupyter.widget-view+json": view, "text/html": still, "image/png": self._png}


def kl_explorer(mu=1.0, sigma=0.5, df=3.0):
    """Densities, KL integrands and exact KL of Gaussian and t, with sliders for mu, sigma and df; starts at the values given.

    mu in [-6, 6], sigma in [0.05, 5], df in [1, 50], ValueError outside; sigma is the scale of q, and p has mu = 0, sigma = 1.
    Returns a LiveFigure.
    """
    mu, sigma, df = number("mu", mu, -6, 6), number("sigma", sigma, 0.05, 5), number("df", df, 1, 50)
    half = next(limit for limit in (5, 8, 12, 20, 30) if limit >= min(30, abs(mu) + 3.5 * sigma))
    z = np.union1d(np.linspace(-half, half, 601), np.clip(mu + sigma * np.linspace(-6, 6, 301), -half, half))
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    densities, integrands = figure.subplots(1, 2)
    values = []
    for family, name in ((Gaussian(), "Gaussian"), (StudentT(df), f"t, ν = {df:g}")):
        log_q, log_p = family.log_prob((z - mu) / sigma) - np.log(sigma), family.log_prob(z)
        integrand = np.exp(log_q) * (log_q - log_p)
        values.append(float(kl_exact(family, np.array(mu), np.array(2 * np.log(sigma)))))
        densities.plot(z, np.exp(log_q), color=colour(name), label=f"q {name}")
        densities.plot(z, np.exp(log_p), "--", color=colour(name), linewidth=1.3, label=f"p {name}")
        integrands.plot(z, integrand, color=colour(name), label=f"{name}: KL = {values[-1]:.4f}")
        integrands.fill_between(z, integrand, color=colour(name), alpha=0.22, linewidth=0)
    densities.set(title="Densities", xlabel="z")
    integrands.set(title="Integrands q log(q / p): the area is the KL", xlabel="z")
    _finish(densities, integrands)
    alt = (
        f"Two panels at mu = {mu:g}, sigma = {sigma:g}, nu = {df:g}. Left: the densities q and p of the Gaussian and of t. "
        f"Right: the integrands of their KL, shaded; the areas are {values[0]:.4f} nats (Gaussian) and {values[1]:.4f} nats (t)."
    )
    return LiveFigure("kl", {"mu": mu, "sigma": sigma, "df": df}, figure, alt)


def tails_explorer(mu=2.0, sigma=0.5, encoder_df=3.0, prior_df=3.0):
    """Densities of an encoder and a prior whose tails are set apart, and the KL of the four pairs that they make with Gaussians.

    mu in [0, 6], sigma in [0.05, 2], both df in [2.5, 200], ValueError outside. Returns a LiveFigure.
    """
    mu, sigma = number("mu", mu, 0, 6), number("sigma", sigma, 0.05, 2)
    encoder_df, prior_df = number("encoder_df", encoder_df, 2.5, 200), number("prior_df", prior_df, 2.5, 200)
    figure, z, at = Figure(figsize=(8, 3.3), layout="constrained"), np.linspace(-10, 10, 401), np.linspace(0, 6, 121)
    densities, prices = figure.subplots(1, 2)
    log_q = StudentT(encoder_df).log_prob((z - mu) / sigma) - np.log(sigma)
    densities.plot(z, log_q / np.log(10), color=colour("t"), label="encoder q")
    densities.plot(z, StudentT(prior_df).log_prob(z) / np.log(10), "--", color=GREY, label="prior p")
    densities.set(title="Densities, logarithm to base 10", xlabel="z", ylim=(-6, 2))
    values = []
    for encoder, prior in itertools.product((StudentT(encoder_df), Gaussian()), (StudentT(prior_df), Gaussian())):
        names = ["Gaussian" if isinstance(family, Gaussian) else "t" for family in (encoder, prior)]
        price = partial(kl_exact, Apart(encoder, prior))
        values.append(float(price(np.array(mu), np.array(2 * np.log(sigma)))))
        label = f"{names[0]} encoder, {names[1]} prior: {values[-1]:.3f}"
        prices.plot(at, price(at, np.full(at.shape, 2 * np.log(sigma))), color=colour(Apart(encoder, prior)), label=label)
    prices.set(title="KL against the location μ (nats)", xlabel="μ")
    _finish(densities, prices)
    alt = (
        f"Two panels at mu = {mu:g}, sigma = {sigma:g}. Left: the densities of the encoder, nu = {encoder_df:g}, and the prior, "
        f"nu = {prior_df:g}, on a logarithmic axis. Right: KL against mu. At mu it is {values[0]:.3f} nats with both tails, "
        f"{values[1]:.3f} with the encoder's alone, {values[2]:.3f} with the prior's alone and {values[3]:.3f} with neither."
    )
    settings = {"mu": mu, "sigma": sigma, "encoder-df": encoder_df, "prior-df": prior_df}
    return LiveFigure("tails", settings, figure, alt)


def sampling_explorer(df=3.0, draws=1000, seed=0):
    """Draws of t built one by one, eps = Z / sqrt(V / df): histogram, QQ plot and share beyond +-3, with a slider for df.

    df in [1, 50]; draws: how many are there at the start, 1 to 20000; seed: integer from 0 to 2**32 - 1, for the generator in the
    page. The still picture shows other draws of the same kind. Returns a LiveFigure. ValueError outside these ranges.
    """
    df = number("df", df, 1, 50)
    for name, value, low, high in (("draws", draws, 1, 20_000), ("seed", seed, 0, 2**32 - 1)):
        whole(name, value, low, high)
    rng = np.random.default_rng(seed)
    t = np.sort(rng.standard_normal(draws) / np.sqrt(rng.chisquare(df, draws) / df))
    z = np.linspace(-8, 8, 401)
    p = (np.arange(min(draws, 99)) + 0.5) / min(draws, 99)
    half = max(4, stats.t.ppf(p[-1], df))
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    histogram, quantiles = figure.subplots(1, 2)
    inside = t[np.abs(t) < 8]
    histogram.hist(inside, np.linspace(-8, 8, 33), weights=np.full(len(inside), 2 / draws), color=GREY, alpha=0.35, label="draws")
    quantiles.axline((0, 0), slope=1, color=GREY, linewidth=1)
    for family, ppf, name in ((Gaussian(), stats.norm.ppf, "Gaussian"), (StudentT(df), stats.t(df).ppf, f"t, ν = {df:g}")):
        style = "--" if name == "Gaussian" else "-"
        histogram.plot(z, np.exp(family.log_prob(z)), style, color=colour(name), label=name)
        quantiles.plot(ppf(p), t[(p * draws).astype(int)], "o", markersize=3, color=colour(name), label=f"against {name}")
    histogram.set(title="Histogram against the densities", xlabel="ε", xlim=(-8, 8))
    quantiles.set(title="Quantiles, draws against theory", xlabel="quantile of the density")
    _finish(histogram, quantiles)
    quantiles.set(xlim=(-half, half), ylim=(-half, half))
    alt = (
        f"Two panels for {draws} draws of epsilon = Z / sqrt(V / nu), nu = {df:g}. Left: their histogram and the densities of t "
        "and the Gaussian. Right: their quantiles follow the diagonal against t and leave it in the tails against the Gaussian."
    )
    return LiveFigure("sampling", {"df": df, "draws": int(draws), "seed": int(seed)}, figure, alt)


DEGREES = (3, 5, 10, 21, 50, 200, math.inf)  # what the full-length runs cover; infinity is the Gaussian


def df_explorer():
    """A slider over the degrees of freedom of the full-length runs: pre-drawn frames of the density and of reconstructed digits.

    The models are those of seed 0. The output is about 0.4 MB. Returns a LiveFigure.
    """
    test = load_mnist().test[:10]
    frames = []
    for df in DEGREES:
        figure, alt = _df_frame(df, load_model("gaussian" if df == math.inf else f"t{df:g}"), test)
        name = "infinity, the Gaussian" if df == math.inf else f"{df:g}"
        frames.append({"name": name, "src": _data_url(_png(figure)), "alt": alt})
        if df == 21:
            still, still_alt, start = figure, alt, len(frames) - 1
    ticks = ["∞" if df == math.inf else f"{df:g}" for df in DEGREES]
    data = {"label": "degrees of freedom ν", "ticks": ticks, "frames": frames}
    return LiveFigure("frames", {"start": start}, still, still_alt, payload={"frames": json.dumps(data)})


def _df_frame(df, model, x):
    """One frame of `df_explorer`: a figure and what it shows, in words."""
    z = np.linspace(-10, 10, 401)
    pixels = expit(model.decode(model.encode(x)[0]))
    error = np.mean((pixels - x) ** 2)
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.35])
    axis = left.subplots()
    axis.semilogy(z, np.exp(Gaussian().log_prob(z)), "--", color=colour("gaussian"), label="Gaussian")
    if df != math.inf:
        axis.semilogy(z, np.exp(model.family.log_prob(z)), color=colour("t"), label=f"t, ν = {df:g}")
    axis.set(title="Density, logarithmic axis", xlabel="z", xlim=(-10, 10), ylim=(1e-12, 2))
    axis.title.set_fontsize(10)
    axis.legend(fontsize=8, loc="lower center", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    axes = right.subplots(4, 5)
    right.suptitle(f"Digits, and their reconstructions from μ (MSE of the ten: {error:.4f})", fontsize=10)
    for row, images in zip(range(4), (x[:5], pixels[:5], x[5:], pixels[5:]), strict=True):
        for cell, image in zip(axes[row], images, strict=True):
            cell.imshow(image.reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            cell.set_axis_off()
    family = "the Gaussian prior" if df == math.inf else f"the t prior with nu = {df:g}"
    far = float(np.exp((Gaussian() if df == math.inf else model.family).log_prob(6.0)))
    alt = (
        f"Left: {family} on a logarithmic axis; at z = 6 the density is {far:.1e}. Right: ten test digits, each above its "
        f"reconstruction by the model trained with this prior; their mean squared error is {error:.4f}."
    )
    return figure, alt


MODELS = {"gaussian": ("gaussian", "Gaussian"), "t": ("t21", "t, ν = 21")}  # name in the page: name of the run, its title
HARD_DIGITS = [3001, 99, 249, 757]  # rows of the test set: chapter 06's five, and three that both models reconstruct badly
FIRST_DIGIT = 15  # what the playground starts with: a four on which the models differ as little as they do on average


def playground(seed=0):
    """Fill in the missing pixels of a test digit, or of a drawn one, by several methods, with the trained models in the page.

    seed: of the shipped pair of models, 0 to 4. The output holds their weights, and the covariance of the pixels: 2.4 MB.
    In the page its element has `__playground.run({model, method, image, missing, eps})`, which returns the prediction, for tests.
    Returns a LiveFigure.
    """
    models = _trained(seed)
    x, labels, rows = _test_digits()
    payload = {f"{name}-{part}": pack(model, part) for name, model in models.items() for part in ("decoder", "encoder")}
    payload["digits"] = json.dumps({"pixels": _pixels(x), "labels": labels, "rows": rows})
    mnist = load_mnist()
    payload["pool"] = json.dumps({"side": 28, "count": 300, "data": pack_grey(mnist.test[1000:1300])})
    payload["gaussian-pixels"] = pack_gaussian(mnist.train[:20_000])

    first = rows.index(FIRST_DIGIT)
    image, label = x[first : first + 1], labels[first]
    missing = random_squares(np.random.default_rng(seed), 1)
    titles, pictures = ["the digit", "what is left of it"], [image, np.where(missing, np.nan, image)]
    errors = {}
    methods = {"one pass": impute.single_pass, "feeding back": impute.pseudo_gibbs, "most probable code": impute.latent_map}
    for name, method in methods.items():
        filled = impute.fill(image, missing, method(models["gaussian"], image, missing))
        errors[name] = 1000 * np.mean((filled - image) ** 2)
        titles.append(f"{name}: {errors[name]:.1f}")
        pictures.append(filled)
    words = ", ".join(f"{error:.1f} ({title})" for title, error in errors.items())
    alt = (
        f"A handwritten {label}; the same with {missing.sum()} pixels hidden under squares; and how three methods fill it in "
        f"with the Gaussian VAE. Mean squared error over the image, in thousandths: {words}."
    )
    figure = _digits_figure(titles, pictures)
    return LiveFigure("playground", {"seed": seed, "row": FIRST_DIGIT}, figure, alt, parts=("network", "digits"), payload=payload)


def latent_explorer(seed=0):
    """Sliders for the ten latent coordinates of both trained models and, side by side, what their decoders make of them.

    seed: of the shipped pair of models, 0 to 4. Coordinates are in the order of their KL, averaged over the test digits. The
    output is about 1 MB. Returns a LiveFigure.
    """
    models = _trained(seed)
    x, labels, rows = _test_digits()
    data = {"pixels": _pixels(x), "labels": labels, "rows": rows, "kl": {}, "codes": {}}
    test = load_mnist().test
    titles, pictures = ["the digit"], [x[:1]]
    for name, model in models.items():
        data["kl"][name] = kl_exact(model.family, *model.encode(test)).mean(axis=0).round(4).tolist()
        mu = model.encode(x)[0]
        data["codes"][name] = mu.round(3).tolist()
        most = int(np.argmax(data["kl"][name]))
        for value in (-2, 0, 2):
            z = mu[:1].copy()
            z[0, most] += value
            titles.append(f"{MODELS[name][1]} {value:+d}" if value else MODELS[name][1])
            pictures.append(expit(model.decode(z)))
    payload = {"latent": json.dumps(data)} | {f"{name}-decoder": pack(model, "decoder") for name, model in models.items()}
    alt = (
        f"A handwritten {labels[0]}, and for each of the two models what its decoder makes of the digit's code, and of the code "
        "with its most active coordinate moved down and up by 2: the shape changes smoothly into another."
    )
    figure = _digits_figure(titles, pictures)
    return LiveFigure("latent", {"seed": seed}, figure, alt, parts=("network", "digits"), payload=payload)


PAGE_DIGITS, PAGE_SIZES = 3000, (196, 128, 2)  # what the page trains on, and its network
# Of the classes 0 to 9, told apart by colour-blind readers too; as in the script.
CLASS_COLOURS = ["#332288", "#CC6677", "#117733", "#AA4499", "#88CCEE", "#882255", "#44AA99", "#222222", "#999933", "#DDCC77"]


def training_explorer(seed=0):
    """Train a small VAE, or two side by side, in the page itself: 3,000 digits of 14 x 14 pixels.

    A model is Gaussian, t, or has a t prior under a Gaussian encoder. seed: of the still picture's model, a whole
    number. The output is about 0.35 MB; it needs no kernel. Returns a LiveFigure.
    """
    seed = whole("seed", seed, 0)
    x, labels, unseen = page_digits()
    packed = pack_grey(np.concatenate([x, unseen]))
    data = {"side": 14, "count": len(x) + len(unseen), "labels": "".join(map(str, labels)), "data": packed}
    model = VAE(Gaussian(), sizes=PAGE_SIZES, rng=seed)
    history = fit(model, x, unseen, epochs=10, batch_size=20, lr=0.03, seed=seed, progress=False)
    mu = model.encode(x)[0]
    figure = Figure(figsize=(7, 3.7), layout="constrained")
    plane, grid = figure.subplots(1, 2)
    for digit, shade in enumerate(CLASS_COLOURS):
        plane.plot(*mu[labels == digit][:80].T, "o", color=shade, markersize=2)
        place = {
            "fontsize": 12,
            "fontweight": "bold",
            "bbox": {"boxstyle": "round,pad=0.1", "facecolor": "white", "linewidth": 0},
        }
        plane.text(*mu[labels == digit].mean(axis=0), str(digit), **place)
    plane.set(title="codes of 800 digits, a colour for each class", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    side = np.linspace(-2.75, 2.75, 12)
    pixels = expit(model.decode(np.stack(np.meshgrid(side, side[::-1]), axis=-1).reshape(-1, 2)))
    tiles = pixels.reshape(12, 12, 14, 14).swapaxes(1, 2).reshape(168, 168)
    grid.imshow(tiles, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    grid.set_axis_off()
    grid.set_title("the decoder on a grid over that plane")
    for axis in (plane, grid):
        axis.title.set_fontsize(10)
    alt = (
        f"A Gaussian VAE with two coordinates after ten epochs, loss {history.loss[-1]:.0f} nats. Left: the codes of 800 digits, "
        "a colour for each class; most classes have a region of their own round the centre. Right: a grid of decoded codes; one "
        "digit changes smoothly into the next."
    )
    payload = {"training": json.dumps(data)}
    return LiveFigure("training", {}, figure, alt, parts=("network", "digits", "training"), payload=payload)


def page_digits():
    """The digits of `training_explorer`, 14 x 14 pixels in 16 grey levels: x (3000, 196), their labels, and ten others (10, 196).

    A pixel is the mean of four of MNIST's. The ten come from the test set, the first of every class.
    """
    mnist = load_mnist()
    first = [int(np.flatnonzero(mnist.test_labels == digit)[0]) for digit in range(10)]
    images = np.concatenate([mnist.train[:PAGE_DIGITS], mnist.test[first]]).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    levels = (np.round(15 * images) / 15).astype(np.float32).reshape(-1, 196)
    return levels[:PAGE_DIGITS], mnist.train_labels[:PAGE_DIGITS], levels[PAGE_DIGITS:]


METHODS = {
    "one pass": impute.single_pass,
    "feeding back": impute.pseudo_gibbs,
    "weighting": impute.importance,
    "Langevin": impute.langevin,
    "most probable code": impute.latent_map,
}


def mask_explorer(seed=1):
    """Erase scattered pixels and squares of a test digit, and see how a trained model fills them in, by any method of chapter 07.

    seed: of the shipped pair of models, 0 to 4. Returns a KernelFigure.
    """
    trained = {title: load_model(run, seed) for run, title in MODELS.values()}

    def draw(model, **settings):
        return _draw_imputation(trained[model], **settings)

    def slider(description, low, high, value, kind=widgets.IntSlider, **step):
        return kind(description=description, min=low, max=high, value=value, continuous_update=False, **step)

    controls = {
        "row": slider("test digit, row", 0, 999, FIRST_DIGIT),
        "share": slider("share of scattered pixels", 0, 0.9, 0, widgets.FloatSlider, step=0.05),
        "count": slider("number of squares", 0, 100, 50),
        "max_side": slider("largest side of a square", 1, 14, 4),
        "mask_seed": slider("seed of the mask", 0, 9, 0),
        "method": widgets.Dropdown(description="method", options=METHODS.keys(), value="most probable code"),
        "model": widgets.Dropdown(description="model", options=trained.keys(), value=MODELS["t"][1]),
    }
    return KernelFigure(draw, controls)


def fill_in(model, row, share, count, max_side, mask_seed, method):
    """Hide pixels of one test digit and fill them in, with 30 passes of a method.

    share of all pixels at random, and count squares with sides up to max_side. Returns the digit, what is missing, and the
    imputation, each (1, 784). ValueError unless row is one of the 10,000, and method one of METHODS; the rest as in `masks`.
    """
    row = whole("row", row, 0, 9999)
    one_of("method", method, *METHODS)
    x = load_mnist().test[row : row + 1]
    rng = generator(mask_seed)
    missing = random_pixels(rng, x.shape, share) | random_squares(rng, 1, count, max_side)
    return x, missing, impute.fill(x, missing, METHODS[method](model, x, missing))


def _draw_imputation(model, row, method, **mask):
    x, missing, filled = fill_in(model, row, method=method, **mask)
    error = mse_missing(x, filled, missing)
    titles = ["the digit", f"{missing.sum()} pixels missing", f"filled in, MSE {error:.3f}", "its error"]
    figure = _digits_figure(titles, [x, np.where(missing, np.nan, x), filled, np.abs(filled - x)], size=(8, 2.3))
    return figure, (
        f"A handwritten {load_mnist().test_labels[row]}; the same with {missing.sum()} of 784 pixels missing; filled in by the "
        f"method called {method}; and where that errs. Mean squared error on the missing pixels: {error:.3f}."
    )


def _trained(seed):
    return {name: load_model(run, seed) for name, (run, _) in MODELS.items()}


def _test_digits():
    """Two dozen test digits: images (24, 784), labels and rows; two of each class, and some that are hard."""
    mnist = load_mnist()
    rows = [int(row) for digit in range(10) for row in np.flatnonzero(mnist.test_labels == digit)[:2]] + HARD_DIGITS
    return mnist.test[rows], mnist.test_labels[rows].tolist(), rows


def _pixels(x):
    return base64.b64encode(np.round(255 * x).astype(np.uint8).tobytes()).decode()


def _digits_figure(titles, images, size=(8, 1.5)):
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(images))
    _show_images(axes, images)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=8)
    return figure


def _show_images(axes, images):
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image.reshape(28, 28), cmap=colormaps["gray"].with_extremes(bad="#e8a0a0"), vmin=0, vmax=1)
        axis.set_axis_off()


# Where the boxes of the backpropagation figure stand: (along the flow, across it), as in js/backprop_explorer.js.
NETWORK = {
    **{f"x[{i}]": (0, i - 0.5) for i in range(2)},
    **{f"e1[{i}]": (1, i - 1) for i in range(3)},
    **{"logvar": (2, -1), "mu": (2, 0), "eps": (2, 1), "sigma": (3, -1), "z": (3, 0), "kl": (3, 2)},
    **{f"d1[{i}]": (4, i - 1) for i in range(3)},
    **{f"logits[{i}]": (5, i - 0.5) for i in range(2)},
    **{f"pi[{i}]": (6, i - 0.5) for i in range(2)},
    **{"reconstr.": (7, 0), "loss": (7, 2)},
}


def backprop_explorer(model, x, eps):
    """Forward and backward pass of a small VAE, step by step: every value, every derivative, and the line of code that makes it.

    model: `VAE` with sizes (2, 3, 1); its family is shown first; the reader can switch to others with the same weights.
    x: the two pixels of one image, in [0, 1]; eps: the noise, one number from -10 to 10. Returns a LiveFigure. ValueError for
    another model, image or eps.
    """
    if not isinstance(model, VAE) or model.sizes != (2, 3, 1):
        raise ValueError(f"model must be a NumPy VAE with sizes (2, 3, 1), got {said(getattr(model, 'sizes', model))}")
    gaussian = isinstance(model.family, Gaussian)
    if not gaussian and (model.kl == "exact" or not isinstance(model.family, StudentT)):
        raise ValueError(f'model must be a Gaussian VAE or a t-VAE with kl="sample", got {model.family!r} with kl={model.kl!r}')
    x = real_array("x", x).astype(float).reshape(1, -1)
    eps = number("eps", eps, -10, 10)
    values, derivatives = _backprop_values(model, x, np.full((1, 1), eps))
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.5, 7.5), ylim=(2.45, -1.45))
    axis.axis("off")
    for start, end in _network_wires():
        axis.plot(*zip(NETWORK[start], NETWORK[end], strict=True), color="#bbbbbb", linewidth=0.9, zorder=1)
    for name, (along, across) in NETWORK.items():
        frame = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": GREY}
        text = f"{name}\n{values[name]:.3f}\n{f'd {derivatives[name]:.3f}' if name in derivatives else ' '}"
        axis.text(along, across, text, ha="center", va="center", fontsize=8, bbox=frame, zorder=2)
    family = "the Gaussian VAE" if gaussian else f"the t-VAE with nu = {model.family.df:g}"
    alt = (
        f"A network of two pixels, three hidden units, one latent code and back, for {family}. Every box holds a value and, "
        f"after d, the derivative of the loss. The loss is {values['loss']:.3f}, its derivative for z is {derivatives['z']:.3f}."
    )
    names = [f"{half}.{i}" for half in ("encoder", "decoder") for i in range(2)]
    layers = [[model.params[f"{name}.{part}"].astype(float).tolist() for part in ("weight", "bias")] for name in names]
    settings = {"df": 0.0 if gaussian else model.family.df, "exact": int(model.kl == "exact")}  # df = 0 stands for the Gaussian
    settings |= {"eps": eps, "x": x[0].tolist(), "layers": layers}
    return LiveFigure("backprop", settings, figure, alt, parts=("backprop",))


def _network_wires():
    """The pairs of boxes that a line joins."""
    stages = [["x"], ["e1"], ["mu", "logvar"], [], ["z"], ["d1"], ["logits"], [], ["pi"], ["reconstr."], ["loss"]]
    pairs = [pair for before, after in pairwise(stages) for pair in itertools.product(before, after)]
    pairs += [("mu", "z"), ("logvar", "sigma"), ("sigma", "z"), ("eps", "z"), ("z", "kl"), ("kl", "loss")]
    kinds = {name.split("[")[0] for name in NETWORK}
    of = {kind: [name for name in NETWORK if name.split("[")[0] == kind] for kind in kinds}
    wires = [wire for first, second in pairs for wire in itertools.product(of[first], of[second])]
    return [*wires, *zip(of["logits"], of["pi"], strict=True)]


def _backprop_values(model, x, eps):
    """The numbers in the boxes: values of the forward pass, derivatives of the loss. Two dicts by the names of NETWORK."""
    loss, grads = model.loss_and_grad(x, eps)
    mu, logvar = model.encode(x)
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * eps
    logits = model.decode(z)
    dz = model.reconstruction_and_dz(x, z)[1] - (0 if model.kl == "exact" else model.family.score(z))
    dmu, dlogvar = grads["encoder.1.bias"]
    forward = {"x": x, "e1": model.forward("encoder", x)[1], "mu": mu, "logvar": logvar, "eps": eps, "sigma": sigma, "z": z}
    forward |= {"d1": model.forward("decoder", z)[1], "logits": logits, "pi": expit(logits)}
    forward |= {"reconstr.": loss.reconstruction, "kl": loss.kl, "loss": loss.total}
    backward = {"e1": grads["encoder.0.bias"], "mu": dmu, "logvar": dlogvar, "sigma": 2 * dlogvar / sigma, "z": dz}
    backward |= {"d1": grads["decoder.0.bias"], "logits": grads["decoder.1.bias"]}

    def by_box(found):
        flat = ((name, i, float(value)) for name, array in found.items() for i, value in enumerate(np.ravel(array)))
        return {f"{name}[{i}]" if f"{name}[0]" in NETWORK else name: value for name, i, value in flat}

    return by_box(forward), by_box(backward)


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor="white")
    return buffer.getvalue()


def _data_url(png):
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _finish(*axes):
    for axis in axes:
        axis.title.set_fontsize(10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, alpha=0.25)
        axis.margins(x=0)
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + 0.2 * (high - low))  # room for the legend
        axis.legend(frameon=False, fontsize=8, loc="upper left")
