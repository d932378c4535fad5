"""Figures and settings used by more than one chapter."""

import re

import matplotlib.pyplot as plt
import numpy as np

from tvae_lib.inputs import real_array, said, whole

GAUSSIAN, STUDENT_T = "#0072B2", "#D55E00"  # the two colours of the book, safe for colour-blind readers
OTHER = "#009E73"  # and a third, as safe, for any other family
T_GAUSSIAN = "#CC79A7"  # a t encoder under a Gaussian prior; the opposite is one of the others
GREY = "#666666"


def colour(model):
    """The colour of a model name ("gaussian", "t21", "t, ν = 3", ...) or of a latent family."""
    name = str(model).lower()
    gaussian, t = re.search("gaussian", name), re.search(r"(\b|_)t(\d|\b|_)|student", name)
    if gaussian and t:  # encoder and prior apart, encoder first
        return OTHER if gaussian.start() < t.start() else T_GAUSSIAN
    return GAUSSIAN if gaussian else STUDENT_T if t and "multivariate" not in name else OTHER


def set_style():
    """The look of every figure: opaque white, no box, readable in print and in dark mode."""
    plt.rcParams.update(
        {
            "figure.figsize": (7, 3.2),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "image.cmap": "gray",
        }
    )


def show_digits(rows, labels=None, titles=None, size=0.72, shape=(28, 28)):
    """Draw rows of images.

    rows: list of (n, 784) arrays; labels: one text per row; titles: one per column; shape: height and width of an image.
    Pixels that are NaN are drawn in a light red: they are missing. Returns the matplotlib figure. ValueError if there is none, or
    one is not height times width numbers, or there are fewer labels than rows or titles than columns.
    """
    rows = [real_array("a row of images", row) for row in as_list("rows", rows)]
    height, width = as_list("shape", shape, 2)[:2]
    pixels = whole("the height of shape", height, 1) * whole("the width of shape", width, 1)
    if not any(row.size for row in rows) or any(np.prod(row.shape[1:]) != pixels for row in rows):
        shapes = said([row.shape for row in rows])
        raise ValueError(f"rows must be a list of arrays of shape (n, {pixels}), got arrays of shape {shapes}")
    n_columns = max(len(row) for row in rows)
    label_width = 0 if labels is None else 1.35
    labels, titles = as_list("labels", labels, len(rows)), as_list("titles", titles, n_columns)
    extent = (n_columns * size + label_width, len(rows) * size * height / width + (0.3 if titles is not None else 0.05))
    figure, axes = plt.subplots(len(rows), n_columns, figsize=extent, squeeze=False)
    cmap = plt.get_cmap("gray").with_extremes(bad="#e8a0a0")
    for i, row in enumerate(rows):
        for j, axis in enumerate(axes[i]):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            if j < len(row):
                axis.imshow(np.reshape(row[j], (height, width)), cmap=cmap, vmin=0, vmax=1)
            if j == 0 and labels is not None:
                axis.set_ylabel(labels[i], rotation=0, ha="right", va="center", fontsize=9)
            if i == 0 and titles is not None:
                axis.set_title(titles[j], fontsize=8)
    return figure


def as_list(name, values, n=0):
    """`values` as a list of at least n, or None if they are None."""
    if values is None and n:
        return None
    try:
        values = list(values)
    except TypeError:
        raise ValueError(f"{name} must be a list, got {said(values)}") from None
    if len(values) < n:
        raise ValueError(f"{name} must be a list of at least {n}, got {len(values)}")
    return values


def loss_curves(histories):
    """Training (dashed) and validation (solid) loss against the epoch, one panel per group.

    histories: dict of panel title to dict of label to History (or a dict with the same series). Returns the figure. ValueError if
    a panel would be empty, or there is none.
    """
    if not isinstance(histories, dict) or not histories or not all(isinstance(g, dict) and g for g in histories.values()):
        raise ValueError("histories must hold at least one panel, and every panel at least one history")
    figure, axes = plt.subplots(1, len(histories), figsize=(3.6 * len(histories), 3.2), sharey=True, squeeze=False)
    for axis, (title, group) in zip(axes[0], histories.items(), strict=True):
        for label, history in group.items():
            series = history if isinstance(history, dict) else vars(history)
            epochs = np.arange(1, len(series["loss"]) + 1)
            axis.plot(epochs, series["loss"], "--", color=colour(label), linewidth=1)
            axis.plot(epochs, series["valid_loss"], color=colour(label), label=label)
        axis.set(title=title, xlabel="epoch")
        axis.legend()
    axes[0, 0].set_ylabel("loss (nats per image)")
    return figure


def intervals(rows, axis=None, *, dots=None, reference=None, xlabel=""):
    """Means with their intervals, a line for each: a forest plot.

    rows: dict of a line's label to (mean, low, high), such as a `results.Interval`; to a plain number, drawn as a grey diamond;
    or to a dict of model to either, drawn side by side in the models' colours with a legend. dots: dict of label to values of
    single runs. reference: where a thin upright line is drawn, such as 0. Returns the axis, a new one if none is given.
    """
    if not isinstance(rows, dict) or not rows:
        raise ValueError(f"rows must be a dict with at least one line, got {said(rows)}")
    if axis is None:
        _, axis = plt.subplots(figsize=(6.5, 0.6 + 0.32 * len(rows)))
    if reference is not None:
        axis.axvline(reference, color=GREY, linewidth=1)
    named = set()
    for place, (label, line) in enumerate(rows.items()):
        models = line if isinstance(line, dict) else {None: line}
        for model, shift in zip(models, np.linspace(-0.15, 0.15, len(models)) if len(models) > 1 else [0], strict=True):
            look = {"color": "black" if model is None else colour(model), "label": None if model in named else model}
            named.add(model)
            if np.ndim(models[model]) == 0 and not hasattr(models[model], "low"):
                axis.plot(models[model], place + shift, "D", markersize=4, **look | {"color": GREY})
                continue
            mean, low, high = models[model]
            axis.errorbar(mean, place + shift, xerr=[[mean - low], [high - mean]], fmt="o", markersize=4, capsize=2, **look)
        if dots is not None and label in dots:
            axis.plot(dots[label], np.full(len(dots[label]), place + 0.3), "o", color=GREY, alpha=0.5, markersize=3)
    axis.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axis.set_yticks(range(len(rows)), list(rows))
    axis.grid(False, axis="y")
    if named - {None}:
        axis.legend()
    return axis
