"""Figures and settings used by more than one chapter."""

import re

import matplotlib.pyplot as plt
import numpy as np

from tvae_lib.inputs import real_array, said

GAUSSIAN, STUDENT_T = "#0072B2", "#D55E00"  # the two colours of the book, safe for colour-blind readers
OTHER = "#009E73"  # and a third, as safe, for any other family
GREY = "#666666"


def colour(model):
    """The colour of a model name ("gaussian", "t21", "t, ν = 3", ...) or of a latent family."""
    name = str(model).lower()
    if "gaussian" in name:
        return GAUSSIAN
    return STUDENT_T if re.search(r"\bt(\d|\b)|student", name) else OTHER


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


def show_digits(rows, labels=None, titles=None, size=0.72):
    """Draw rows of images.

    rows: list of (n, 784) arrays; labels: one text per row; titles: one per column. Pixels that are NaN are drawn in a light
    red: they are missing. Returns the matplotlib figure. ValueError if there is no image, one is not 784 numbers, or there are
    fewer labels than rows or titles than columns.
    """
    rows = [real_array("a row of images", row) for row in _list("rows", rows)]
    if not any(row.size for row in rows) or any(np.prod(row.shape[1:]) != 784 for row in rows):
        raise ValueError(f"rows must be arrays of shape (n, 784), got {[row.shape for row in rows]}")
    n_columns = max(len(row) for row in rows)
    label_width = 0 if labels is None else 1.35
    labels, titles = _list("labels", labels, len(rows)), _list("titles", titles, n_columns)
    shape = (n_columns * size + label_width, len(rows) * size + (0.3 if titles is not None else 0.05))
    figure, axes = plt.subplots(len(rows), n_columns, figsize=shape, squeeze=False)
    cmap = plt.get_cmap("gray").with_extremes(bad="#e8a0a0")
    for i, row in enumerate(rows):
        for j, axis in enumerate(axes[i]):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            if j < len(row):
                axis.imshow(np.reshape(row[j], (28, 28)), cmap=cmap, vmin=0, vmax=1)
            if j == 0 and labels is not None:
                axis.set_ylabel(labels[i], rotation=0, ha="right", va="center", fontsize=9)
            if i == 0 and titles is not None:
                axis.set_title(titles[j], fontsize=8)
    return figure


def _list(name, values, n=0):
    """`values` as a list of at least n, or None if they are None."""
    if values is None and n:
        return None
    try:
        values = list(values)
    except TypeError:
        raise ValueError(f"{name} must be a list, got {said(values)}") from None
    if len(values) < n:
        raise ValueError(f"{name} must be at least {n}, got {len(values)}")
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
