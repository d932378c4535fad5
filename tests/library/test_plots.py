"""The shared figures draw what they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
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
