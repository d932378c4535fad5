"""The shared figures draw what they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tvae_lib import plots
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.train import History


@pytest.fixture(autouse=True)
def close_figures():
    with matplotlib.rc_context():
        yield
    plt.close("all")


def test_colours_follow_the_model():
    assert plots.colour("gaussian") == plots.colour(Gaussian()) == plots.colour("Gaussian VAE") == "#0072B2"
    assert plots.colour("t21") == plots.colour(StudentT(3)) == "#D55E00"


def test_digits(rng):
    plots.set_style()
    images, mask = rng.random((4, 784)), rng.random((3, 784)) < 0.3
    holes = np.where(mask, np.nan, images[:3])
    figure = plots.show_digits([images, mask, holes], labels=["digits", "mask", "holes"], titles=list("abcd"))
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(figure.axes) == 12 and len(drawn) == 10
    np.testing.assert_allclose(drawn[1].images[0].get_array(), images[1].reshape(28, 28))
    assert [axis.get_ylabel() for axis in figure.axes[::4]] == ["digits", "mask", "holes"]
    assert [axis.get_title() for axis in figure.axes[:4]] == list("abcd")
    figure.canvas.draw()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    plots.show_digits([images[:1]]).canvas.draw()


def test_loss_curves():
    history = History(loss=[3.0, 2.0], valid_loss=[3.1, 2.2])
    figure = plots.loss_curves({"NumPy": {"gaussian": history, "t21": vars(history)}, "PyTorch": {"t21": history}})
    left, right = figure.axes
    assert [axis.get_title() for axis in (left, right)] == ["NumPy", "PyTorch"]
    assert [line.get_color() for line in left.lines] == ["#0072B2"] * 2 + ["#D55E00"] * 2
    np.testing.assert_array_equal(right.lines[0].get_xydata(), [[1, 3], [2, 2]])
    np.testing.assert_array_equal(right.lines[1].get_ydata(), [3.1, 2.2])
    assert left.get_xlabel() == "epoch" and "nats" in left.get_ylabel()
    figure.canvas.draw()


def test_colours_of_encoder_and_prior_apart():
    names = ("gaussian_t3", "Gaussian encoder, t prior, ν = 3", "t3_gaussian", "t encoder, ν = 3, Gaussian prior", "mt21")
    assert [plots.colour(name) for name in names] == ["#009E73", "#009E73", "#CC79A7", "#CC79A7", "#009E73"]


def test_images_of_another_shape(rng, refuses):
    images = rng.random((2, 12))
    figure = plots.show_digits([images], shape=(3, 4))
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), images[1].reshape(3, 4))
    with refuses(r"rows must be a list of arrays of shape \(n, 784\), got arrays of shape \[\(2, 12\)\]"):
        plots.show_digits([images])
    for shape in (12, (0, 12), (12,)):
        with refuses("shape"):
            plots.show_digits([images], shape=shape)


def test_a_forest_of_intervals(refuses):
    axis = plots.intervals({"one": (1.0, 0.5, 2.0), "two": 3.0}, reference=0, xlabel="nats", dots={"one": [0.7, 1.3]})
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one", "two"] and axis.get_xlabel() == "nats"
    assert axis.get_ylim() == (1.5, -0.5) and axis.get_legend() is None  # the first on top
    (bar,) = axis.containers
    np.testing.assert_allclose(bar.lines[2][0].get_segments(), [[[0.5, 0], [2, 0]]])
    drawn = [line.get_xydata().tolist() for line in axis.lines]
    assert [[3, 1]] in drawn and [[0.7, 0.3], [1.3, 0.3]] in drawn and [[0, 0], [0, 1]] in drawn

    figure, axes = plt.subplots()
    lines = {method: {"Gaussian": (1, 0, 2), "t, ν = 21": (2, 1, 3)} for method in ("one pass", "feeding back")}
    assert plots.intervals(lines, axes) is axes
    assert [bar.lines[0].get_color() for bar in axes.containers] == ["#0072B2", "#D55E00"] * 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Gaussian", "t, ν = 21"]
    assert len({bar.lines[0].get_ydata()[0] for bar in axes.containers}) == 4  # none hides another
    figure.canvas.draw()
    with refuses("rows must be a dict with at least one line"):
        plots.intervals({})


def test_a_table_for_the_page(refuses):
    class Gap:
        def __format__(self, spec):
            return f"−1 ({spec})"

    rows = [{"score": "loss < 1", "Gaussian": 109.444, "gap": Gap()}, {"score": "units", "Gaussian": 9, "t": None}]
    shown = plots.table(rows, ".1f", caption="Scores & more")
    assert str(shown).splitlines() == ["score | Gaussian | gap | t", "loss < 1 | 109.4 | −1 (.1f) | ", "units | 9 |  | "]
    html = shown._repr_html_()
    assert "<caption>Scores &amp; more</caption>" in html and "loss &lt; 1</th>" in html
    assert html.count('<th scope="col"') == 4 and html.count('<th scope="row"') == 2 and html.count("<td") == 6
    assert 'style="text-align: right">109.4</td>' in html and 'style="text-align: left">units' in html
    frame = pd.DataFrame({"t21": [1.25, np.nan]}, index=pd.Index(["a", "b"], name="run"))
    assert str(plots.table(frame, ".1f")) == "run | t21\na | 1.2\nb | "
    assert str(plots.table(pd.DataFrame({"words": ["one"]}))) == "words\none"
    for nothing in ([], [{}], pd.DataFrame(), 3):
        with refuses("rows must be"):
            plots.table(nothing)
