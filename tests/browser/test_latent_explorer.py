"""The latent explorer in a real browser: sliders by keyboard, and the page's decoders against the library's."""

import re

import numpy as np
import pytest
from pages import END, HOME, RIGHT, find, next_frame, one, open_at, text, wait, write_page
from scipy.special import expit

from tvae_lib.data import load_mnist
from tvae_lib.interactive import latent_explorer
from tvae_lib.interactive.page_weights import rounded
from tvae_lib.latent import kl_exact
from tvae_lib.results import load_model

# Read from a copy: Chromium complains of a canvas that is read again and again.
GREYS = """
const copy = new OffscreenCanvas(28, 28).getContext("2d");
copy.drawImage(arguments[0], 0, 0);
return [...copy.getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0);
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("latent") / "page.html", latent_explorer())


@pytest.fixture
def opened(quiet_page, path):
    yield open_at(quiet_page, path, ready="canvas[aria-label]")


def decoded(browser):
    """The pixels that each of the two models shows, (2, 784)."""
    next_frame(browser)
    return np.array([browser.execute_script(GREYS, canvas) for canvas in find(browser, ".tvae-views canvas")[:2]]) / 255


def codes(browser):
    """The code that the sliders of each model hold, in the order of the model's own coordinates."""
    z = np.zeros((2, 10))
    for k, column in enumerate(find(browser, ".tvae-column")):
        for slider in column.find_elements("css selector", "input"):
            name, value = re.fullmatch(r"z(\d+) = (\S+)", slider.get_attribute("aria-valuetext")).groups()
            z[k, int(name) - 1] = float(value)
    return z


def test_sliders_move_the_picture(opened):
    models = [rounded(load_model(name)) for name in ("gaussian", "t21")]
    before = decoded(opened)
    sliders = find(opened, ".tvae-column:nth-child(2) input[type=range]")
    for slider, keys, value in ((sliders[0], RIGHT * 7, 0.7), (sliders[1], HOME, -5), (sliders[3], END, 5)):
        slider.send_keys(keys)
        assert slider.get_attribute("aria-valuetext").endswith(f"= {value:.1f}")
    shown, z = decoded(opened), codes(opened)
    assert np.array_equal(shown[0], before[0]) and not np.array_equal(shown[1], before[1])
    for pixels, model, code in zip(shown, models, z, strict=True):
        np.testing.assert_allclose(pixels, expit(model.decode(code[None]))[0], rtol=0, atol=0.01)


def test_active_coordinates_come_first(opened):
    test = load_mnist().test
    for column, name in zip(find(opened, ".tvae-column"), ("gaussian", "t21"), strict=True):
        model = load_model(name)
        kl = kl_exact(model.family, *model.encode(test)).mean(axis=0)
        labels = [label.get_property("textContent") for label in column.find_elements("css selector", "label")]
        found = [re.search(r"z(\d+) KL (\S+)", label).groups() for label in labels]
        order = [int(i) - 1 for i, _ in found]
        assert sorted(order) == list(range(10)) and (np.diff(kl[order]) < 1e-4).all()
        np.testing.assert_allclose([float(value) for _, value in found], np.sort(kl)[::-1], atol=0.006)
        inactive = column.find_elements("css selector", "details input")
        assert len(inactive) == (kl < 0.05).sum() and not any(slider.is_displayed() for slider in inactive)


def test_digits_draws_and_reset(opened):
    start = decoded(opened)
    digit, draw, reset = find(opened, "button")
    for _ in range(2):
        digit.send_keys("\ue007")
    note = text(opened, ".tvae-note")
    errors = [float(number) for number in re.findall(r"0\.\d{4}", note)]
    assert note.startswith("Test image 13, a 0.")
    pixels = decoded(opened)
    np.testing.assert_allclose(np.square(pixels - load_mnist().test[13]).mean(axis=1), errors, atol=1e-3)
    mu = [load_model(name).encode(load_mnist().test[13:14])[0][0] for name in ("gaussian", "t21")]
    np.testing.assert_allclose(codes(opened), mu, atol=0.051)
    live = one(opened, '[aria-live="polite"]')
    wait(lambda: live.get_property("textContent") == note)

    draw.send_keys("\ue007")
    z = codes(opened)
    assert not np.array_equal(decoded(opened), pixels) and (np.abs(z) > 0.05).all(axis=0).sum() > 5
    assert np.corrcoef(z.ravel()[:10], z.ravel()[10:])[0, 1] > 0.9  # the same normal draws for both
    reset.send_keys("\ue007")
    assert np.array_equal(decoded(opened), start) and not codes(opened).any()


def test_names_and_width(opened, path):
    for control in find(opened, ".tvae-explorer :is(input, button)"):
        assert control.get_attribute("data-lm-suppress-shortcuts") == "true"
        assert not control.is_displayed() or control.accessible_name
    names = [slider.accessible_name for slider in find(opened, "input") if slider.is_displayed()]
    assert len(set(names)) == len(names) > 14
    open_at(opened, path, width=360, ready="canvas[aria-label]")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
