"""The live figures in a real browser, opened from disk and worked by keyboard."""

import itertools
import re

import numpy as np
import pytest
from pages import (
    END,
    HOME,
    LEFT,
    RIGHT,
    check_still_without_scripts,
    find,
    next_frame,
    property_of,
    set_width,
    text,
    values,
    wait,
    write_page,
)
from scipy import stats

from tvae_lib.interactive import kl_explorer, sampling_explorer, tails_explorer
from tvae_lib.latent import Apart, Gaussian, StudentT, kl_exact

SLIDERS, BOXES = "input[type=range]", "input[type=number]"


def open_page(browser, tmp_path, *figures, background="white", width=900):
    set_width(browser, width)
    browser.get(write_page(tmp_path / "page.html", *figures, background=background).as_uri())
    wait(lambda: len(find(browser, "svg")) == 2 * len(figures))


def settings(browser):
    return [float(box.get_property("value")) for box in find(browser, BOXES)]


def shown_kl(browser):
    next_frame(browser)
    shown = values(browser)
    return [shown["gaussian"], shown["t"]]


def expected_kl(mu, sigma, df):
    return [float(kl_exact(family, np.array(mu), np.array(2 * np.log(sigma)))) for family in (Gaussian(), StudentT(df))]


def test_kl_sliders_by_keyboard(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, kl_explorer())
    assert settings(quiet_page) == [1, 0.5, 3]
    names = ["mu", "sigma", "nu"]
    for i, keys in itertools.product(range(3), (RIGHT * 7, LEFT * 30, HOME, END)):
        before, picture = settings(quiet_page), property_of(quiet_page, "svg", "outerHTML")
        slider = find(quiet_page, SLIDERS)[i]
        slider.send_keys(keys)
        after, shown = settings(quiet_page), shown_kl(quiet_page)
        assert after[i] != before[i] and after[:i] + after[i + 1 :] == before[:i] + before[i + 1 :]
        np.testing.assert_allclose(shown, expected_kl(*after), rtol=0, atol=1e-4)
        assert slider.get_attribute("aria-valuetext") == f"{names[i]} = {after[i]:g}"
        assert property_of(quiet_page, "svg", "outerHTML") != picture


def test_kl_typed_values_on_a_grid(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, kl_explorer())
    type_in = (
        "const boxes = document.querySelectorAll('input[type=number]');"
        "boxes.forEach((box, i) => { box.value = arguments[0][i]; box.dispatchEvent(new Event('input')); });"
    )
    for point in itertools.product((-6, -0.7, 0, 2.25), (0.05, 0.31, 1, 5), (1, 1.3, 4, 21, 50)):
        quiet_page.execute_script(type_in, point)
        shown = shown_kl(quiet_page)
        np.testing.assert_allclose(shown, expected_kl(*point), rtol=0, atol=1e-4, err_msg=str(point))


def test_kl_typed_by_key_and_kept_in_range(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, kl_explorer())
    for typed, kept in (("21", 21), ("7.77", 7.77), ("80", 50), ("0.2", 1), ("", 1)):
        box = find(quiet_page, BOXES)[2]
        quiet_page.execute_script("arguments[0].select()", box)
        box.send_keys(typed or "\ue017", "\ue007")  # the number or Delete, then Enter
        assert settings(quiet_page)[2] == kept
        np.testing.assert_allclose(shown_kl(quiet_page), expected_kl(1, 0.5, kept), rtol=0, atol=1e-4)


def test_kl_in_words(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, kl_explorer())
    find(quiet_page, SLIDERS)[0].send_keys(RIGHT * 10)
    gaussian, t = shown_kl(quiet_page)
    live = quiet_page.find_element("css selector", '[aria-live="polite"]')
    wait(lambda: f"KL Gaussian {gaussian:.4f}, KL t {t:.4f}" in live.get_property("textContent"))
    sentence = text(quiet_page, ".tvae-sentence")
    below = float(re.search(r"t below Gaussian by (\d+\.\d{4}) nats", sentence)[1])
    assert below == pytest.approx(gaussian - t, abs=1.5e-4) and sentence in live.get_property("textContent")
    labels = [svg.get_attribute("aria-label") for svg in find(quiet_page, "svg[role=img]")]
    assert "centred at 2 " in labels[0] and f"{gaussian:.4f}" in labels[1] and f"{t:.4f}" in labels[1]


def test_tails_set_apart_by_keyboard(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, tails_explorer())
    assert settings(quiet_page) == [2, 0.5, 3, 3]
    for i, keys in itertools.product(range(4), (RIGHT * 5, HOME, END)):
        slider = find(quiet_page, SLIDERS)[i]
        slider.send_keys(keys)
        next_frame(quiet_page)
        (mu, sigma, encoder_df, prior_df), shown = settings(quiet_page), values(quiet_page)
        for name, q, p in (
            ("both", StudentT(encoder_df), StudentT(prior_df)),
            ("encoder", StudentT(encoder_df), Gaussian()),
            ("prior", Gaussian(), StudentT(prior_df)),
            ("neither", Gaussian(), Gaussian()),
        ):
            assert shown[name] == pytest.approx(float(kl_exact(Apart(q, p), mu, 2 * np.log(sigma))), abs=1e-3)
    assert slider.get_attribute("aria-valuetext") == "nu of the prior = 200"
    live = quiet_page.find_element("css selector", '[aria-live="polite"]')
    wait(lambda: "the encoder's tail alone changes" in live.get_property("textContent"))


def sampling_numbers(browser):
    """n, Z, V, ε of the last draw, and the three shares beyond 3 in per cent."""
    next_frame(browser)
    recipe = text(browser, ".tvae-sentence").replace("\u2212", "-")
    numbers = re.fullmatch(r"Draw (\d+): Z = (\S+), V = (\S+), ε = Z / √\(V / \S+\) = (\S+)", recipe).groups()
    shown = values(browser)
    return [float(number) for number in (*numbers, shown["draws"], shown["t"], shown["gaussian"])]


def test_sampling_by_keyboard(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, sampling_explorer())
    slider = find(quiet_page, SLIDERS)[0]
    first_z = sampling_numbers(quiet_page)[1]
    for keys in (HOME, RIGHT * 20, END):
        slider.send_keys(keys)
        df = settings(quiet_page)[0]
        n, z, v, t, *shares = sampling_numbers(quiet_page)
        assert n == 1000 and z == first_z and slider.get_attribute("aria-valuetext") == f"nu = {df:g}"
        assert t == pytest.approx(z / np.sqrt(v / df), rel=0.02, abs=2e-3)
        expected = [200 * stats.t.sf(3, df), 200 * stats.norm.sf(3)]
        np.testing.assert_allclose(shares[1:], expected, rtol=0, atol=0.006)
        share = expected[0] / 100
        assert abs(shares[0] / 100 - share) < 4 * np.sqrt(share * (1 - share) / n)
    slider.send_keys(HOME)
    for i, count in ((3, 1), (0, 2), (1, 12), (2, 1012)):
        find(quiet_page, "button")[i].send_keys("\ue007")
        assert sampling_numbers(quiet_page)[0] == count
    live = quiet_page.find_element("css selector", '[aria-live="polite"]')
    wait(lambda: live.get_property("textContent").startswith("1012 draws"))
    for _ in range(25):
        find(quiet_page, "button")[2].click()
    assert sampling_numbers(quiet_page)[0] == 20_000


def test_several_on_one_page(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, kl_explorer(), kl_explorer(mu=2, df=21), sampling_explorer(df=5))
    assert settings(quiet_page) == [1, 0.5, 3, 2, 0.5, 21, 5]
    find(quiet_page, SLIDERS)[3].send_keys(RIGHT)
    assert settings(quiet_page) == [1, 0.5, 3, 2.1, 0.5, 21, 5]
    ids = [node.get_attribute("id") for node in find(quiet_page, "[id]")]
    assert len(ids) == 7 == len(set(ids))
    for node in find(quiet_page, ".tvae-explorer :is(input, button)"):  # JupyterLab takes keys from elements without it
        assert node.get_attribute("data-lm-suppress-shortcuts") == "true"
    for slider in find(quiet_page, SLIDERS):
        assert len(find(quiet_page, f"label[for={slider.get_attribute('id')}]")) == 1


@pytest.mark.parametrize("make", [kl_explorer, sampling_explorer, tails_explorer])
def test_narrow_and_dark(quiet_page, tmp_path, make):
    open_page(quiet_page, tmp_path, make(), background="#111", width=360)
    assert quiet_page.execute_script("return document.documentElement.scrollWidth") <= 360
    root = quiet_page.find_element("class name", "tvae-explorer")
    assert root.value_of_css_property("background-color") in ("rgba(255, 255, 255, 1)", "rgb(255, 255, 255)")
    assert root.value_of_css_property("color") == "rgba(34, 34, 34, 1)"
    narrow = property_of(quiet_page, "svg", "clientWidth")
    set_width(quiet_page, 900)
    wait(lambda: property_of(quiet_page, "svg", "clientWidth") > narrow + 50)  # redrawn for the new width


@pytest.mark.parametrize("make", [kl_explorer, sampling_explorer, tails_explorer])
def test_still_without_scripts(quiet_page, tmp_path, make):
    check_still_without_scripts(quiet_page, write_page(tmp_path / "still.html", make()))
