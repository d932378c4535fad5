"""The slider over pre-drawn frames in a real browser."""

import math

import pytest
from pages import END, HOME, LEFT, check_still_without_scripts, find, one, open_at, write_page

from tvae_lib import interactive


@pytest.fixture(scope="module")
def figure():
    return interactive.df_explorer()


@pytest.fixture(scope="module")
def path(tmp_path_factory, figure):
    return write_page(tmp_path_factory.mktemp("frames") / "page.html", figure)


def test_every_frame_by_keyboard(quiet_page, path):
    opened = open_at(quiet_page, path, ready="img")
    slider, image = one(opened, "input[type=range]"), one(opened, ".tvae-explorer img")
    assert slider.get_attribute("aria-valuetext") == "degrees of freedom ν: 21" and one(opened, "output").text == "21"
    slider.send_keys(HOME)
    seen = []
    for df in interactive.DEGREES:
        name = "infinity, the Gaussian" if df == math.inf else f"{df:g}"
        assert one(opened, "output").text == name and slider.get_attribute("aria-valuetext").endswith(name)
        assert ("Gaussian prior" if df == math.inf else f"nu = {df:g} ") in image.get_attribute("alt")
        assert opened.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) == 800
        seen.append(image.get_attribute("src"))
        slider.send_keys("\ue014")
    assert len(set(seen)) == len(interactive.DEGREES)
    slider.send_keys(END + LEFT)
    assert one(opened, "output").text == "200"


def test_narrow_window(quiet_page, path):
    opened = open_at(quiet_page, path, width=360, ready="img")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    assert find(opened, "label")[0].get_attribute("for") == one(opened, "input").get_attribute("id")


def test_without_scripts(browser, path, figure):
    assert check_still_without_scripts(browser, path) == figure.alt
