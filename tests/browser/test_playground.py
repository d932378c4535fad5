"""The playground in a real browser: the models of the page against the library, and all controls by keyboard and mouse."""

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
    one,
    open_at,
    text,
    values,
    wait,
    write_page,
)

from tvae_lib import baselines, impute
from tvae_lib.data import load_mnist
from tvae_lib.interactive import playground
from tvae_lib.interactive.page_weights import rounded
from tvae_lib.results import load_model

DOWN, SPACE = "\ue015", " "
METHODS = {"single": impute.single_pass, "gibbs": impute.pseudo_gibbs, "code": impute.latent_map}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("playground") / "page.html", playground())


@pytest.fixture
def opened(quiet_page, page):
    yield open_at(quiet_page, page, "#view=priors&method=gibbs")


def sentence(browser):
    at_rest(browser)
    return text(browser, ".tvae-sentence")


def at_rest(browser):
    """Wait until nothing is computed and everything is drawn."""
    wait(lambda: not browser.execute_script("return document.querySelector('.tvae-explorer').__playground.busy()"), 60)
    next_frame(browser)
    next_frame(browser)


def errors(browser):
    """The error of each method or model, as the boxes show it: thousandths by name."""
    at_rest(browser)
    return values(browser)


def numbers(browser):
    """Pass, missing pixels, error of the Gaussian and of t, where the priors are compared."""
    shown = sentence(browser)
    found = re.fullmatch(r"Pass (\d+) of 30, (\d+) pixels missing", shown)
    assert found, shown
    shown = errors(browser)
    return [*map(float, found.groups()), shown["gaussian"], shown["t"]]


def choose(browser, value):
    one(browser, f'input[type=radio][value="{value}"]').click()


def pictures(browser):
    return browser.execute_script("return [...document.querySelectorAll('.tvae-row canvas')].map((c) => c.toDataURL())")


@pytest.mark.parametrize("name", ["gaussian", "t21"])
@pytest.mark.parametrize("method", METHODS)
def test_page_equals_library(opened, name, method):
    model = load_model(name)
    x = load_mnist().test[[0, 99]]
    missing = np.random.default_rng(0).random(x.shape) < 0.4
    for image, hidden in zip(x, missing, strict=True):
        rng = np.random.default_rng(7)
        eps = np.concatenate([model.family.sample(rng, (1, 10)) for _ in range(30)])
        job = {"model": name.removesuffix("21"), "method": method, "image": image.tolist()}
        job |= {"missing": hidden.tolist(), "eps": eps.tolist()}
        found = opened.execute_script("return document.querySelector('.tvae-explorer').__playground.run(arguments[0])", job)
        for twin, tolerance in ((rounded(model), 1e-3), (model, 1e-1)):
            expected = METHODS[method](twin, image[None], hidden[None], draws=30, seed=7)[0]
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_a_pass_takes_milliseconds(opened):
    times = opened.execute_script(
        "const { time } = document.querySelector('.tvae-explorer').__playground; time(20); return [time(), time(), time()]"
    )
    print(f"one pass of one digit takes {min(times):.2f} ms in the page")
    assert min(times) < 10


def test_methods_masks_and_passes_by_keyboard(opened):
    assert numbers(opened)[0] == 30
    seen = {}
    for method in METHODS:
        choose(opened, method)
        for mask, count in (("random", 235), ("half", 392), ("squares", None)):
            choose(opened, mask)
            seen[method, mask] = numbers(opened)
            assert count is None or seen[method, mask][1] == count
    assert len({tuple(values) for values in seen.values()}) == 9
    assert all(0 < error < 200 for values in seen.values() for error in values[2:])

    choose(opened, "gibbs")
    slider = one(opened, ".tvae-explorer .tvae-control input[type=range]")
    at_rest(opened)
    at_end = pictures(opened)
    for keys, shown in ((HOME, 1), (RIGHT * 4, 5), (LEFT, 4), (END, 30)):
        slider.send_keys(keys)
        assert numbers(opened)[0] == shown and slider.get_attribute("aria-valuetext") == f"pass = {shown}"
        assert (pictures(opened) == at_end) == (shown == 30)
    buttons = {button.text: button for button in find(opened, "button")}
    buttons["First pass"].send_keys("\ue007")
    buttons["Next pass"].send_keys("\ue007")
    assert numbers(opened)[0] == 2
    live = one(opened, '[aria-live="polite"]')
    wait(lambda: re.match(r"Pass 2 of 30, \d+ pixels missing. Gaussian \d", live.get_property("textContent")))
    before = pictures(opened)
    one(opened, "input[type=checkbox]").click()
    next_frame(opened)
    assert pictures(opened) != before


def test_numbers_are_those_of_the_pictures(opened):
    """The error in words is the one between the result and the digit, and the error map is black where nothing is missing."""
    choose(opened, "99")
    choose(opened, "random")
    shown = numbers(opened)
    grey = opened.execute_script(
        "return [...document.querySelectorAll('.tvae-row')].map((row) => { const c = row.querySelectorAll('canvas')[2];"
        "return [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0) })"
    )
    for error_map, error in zip(np.array(grey) / 255, shown[2:], strict=True):
        assert (error_map > 0).sum() <= 235
        assert 1000 * np.square(error_map).sum() / 784 == pytest.approx(error, rel=0.05)


def test_play_and_reduced_motion(opened):
    play = find(opened, ".tvae-buttons button")[2]
    play.click()
    wait(lambda: 2 <= numbers(opened)[0] < 30)
    assert play.text == "Pause"
    play.click()
    assert play.text == "Play"
    stopped = numbers(opened)[0]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]})
    try:
        find(opened, ".tvae-buttons button")[0].click()
        play.click()
        assert stopped < 30 and numbers(opened)[0] == 30 and play.text == "Play"
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_erase_and_draw_by_keyboard(opened):
    choose(opened, "none")
    assert sentence(opened).startswith("Nothing is missing") and not find(opened, "svg")
    canvas = one(opened, ".tvae-editor canvas")
    canvas.send_keys(SPACE)
    assert numbers(opened)[1] == 9
    canvas.send_keys(RIGHT * 3, SPACE)
    assert numbers(opened)[1] == 18
    opened.execute_script("arguments[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', shiftKey: true}))", canvas)
    assert numbers(opened)[1] == 21
    regions = find(opened, '[aria-live="polite"]')
    wait(lambda: regions[1].get_property("textContent") == "row 16, column 18: missing")
    choose(opened, "restore")
    canvas.send_keys(SPACE)
    assert numbers(opened)[1] == 12
    assert one(opened, 'input[value="own"]:checked')  # the mask is now one made by hand

    find(opened, 'input[value="own"]')[0].click()  # draw a digit
    assert one(opened, 'input[value="ink"]').is_selected()
    for _ in range(8):
        canvas.send_keys(DOWN, SPACE)
    choose(opened, "half")
    assert numbers(opened)[1] == 392
    assert errors(opened)["black"] > 2  # the ink below the middle counts


def test_erase_by_mouse(opened):
    from selenium.webdriver import ActionChains

    choose(opened, "none")
    canvas = one(opened, ".tvae-editor canvas")
    ActionChains(opened).move_to_element(canvas).click_and_hold().move_by_offset(60, 0).release().perform()
    count = numbers(opened)[1]
    assert 18 <= count <= 36 and count % 3 == 0


def test_state_in_the_address(opened, page):
    choose(opened, "757")
    choose(opened, "random")
    choose(opened, "single")
    box = one(opened, ".tvae-seed input")
    opened.execute_script("arguments[0].select()", box)
    box.send_keys("41", "\ue007")
    opened.find_element("xpath", "//button[text()='Link to this state']").click()
    assert opened.current_url.endswith("#view=priors&method=single&digit=757&mask=random&seed=41")
    shown, drawn = numbers(opened), pictures(opened)
    open_at(opened, page, "#" + opened.current_url.partition("#")[2])
    assert numbers(opened) == shown and pictures(opened) == drawn

    find(opened, 'input[value="own"]')[0].click()  # a drawn digit and a mask made by hand
    canvas = one(opened, ".tvae-editor canvas")
    canvas.send_keys(SPACE, DOWN * 3, SPACE)
    choose(opened, "erase")
    canvas.send_keys(SPACE)
    opened.find_element("xpath", "//button[text()='Link to this state']").click()
    shown, fragment = numbers(opened), opened.current_url.partition("#")[2]
    assert shown[1] == 9 and len(fragment) < 1000
    open_at(opened, page, "#" + fragment)
    assert numbers(opened)[1] == 9
    np.testing.assert_allclose(numbers(opened)[2:], shown[2:], atol=0.5)  # ink is kept in sixteen steps
    assert find(opened, 'input[value="own"]:checked')


def test_bad_addresses_are_ignored(opened, page):
    default = errors(open_at(opened, page))
    assert list(default) == ["single", "gibbs", "code", "linear", "black"]
    for fragment in ("#digit=12345&mask=round&view=magic&seed=-3", "#pixels=abc&mask=!!", "#seed=1e9&prior=x", "#a-heading"):
        open_at(opened, page, fragment)
        assert errors(opened) == default
    open_at(opened, page, "#digit=15&mask=squares&method=gibbs&seed=0")  # an address from before methods were compared
    assert list(errors(opened)) == ["gaussian", "t", "black"]


def test_methods_side_by_side(opened, page):
    mnist = load_mnist()
    open_at(opened, page, "#digit=15&mask=half")
    shown = errors(opened)
    hidden = np.arange(784) >= 392
    image = mnist.test[15]
    found = opened.execute_script(
        "return document.querySelector('.tvae-explorer').__playground.conditionalMean(arguments[0])",
        {"image": image.tolist(), "missing": hidden.tolist()},
    )
    library = baselines.conditional_mean(mnist.train[:20_000], image[None], hidden[None])[0]
    np.testing.assert_allclose(found, np.where(hidden, library, image), rtol=0, atol=0.35)  # bytes and their ridge
    assert np.abs(np.subtract(found, library))[hidden].mean() < 0.03
    assert shown["linear"] == pytest.approx(1000 * np.square(found - image).mean(), abs=0.06)
    assert shown["black"] == pytest.approx(1000 * np.square(image[hidden]).sum() / 784, abs=0.06)
    choose(opened, "t")
    other = errors(opened)
    assert other["linear"] == shown["linear"] and other["code"] != shown["code"]
    choose(opened, "priors")
    choose(opened, "code")
    assert errors(opened)["t"] == other["code"] and errors(opened)["gaussian"] == shown["code"]


def test_tally(opened, page):
    open_at(opened, page, "#view=methods&mask=half")
    at_rest(opened)
    opened.execute_script("document.querySelector('.tvae-explorer').__playground.tallyFor(3)")
    at_rest(opened)
    tally = opened.execute_script("return document.querySelector('.tvae-explorer').__playground.tally()")
    assert tally["count"] == sum(tally["closest"]) == 3
    shown = [box.text for box in find(opened, ".tvae-value div small")][:4]
    parts = zip(tally["sums"], tally["closest"], strict=True)
    assert shown == [f"over 3 digits: average {total / 3:.1f}, closest {count} times" for total, count in parts]
    found = opened.execute_script(
        "return document.querySelector('.tvae-explorer').__playground.conditionalMean(arguments[0])",
        {"image": load_mnist().test[1000].tolist(), "missing": (np.arange(784) >= 392).tolist()},
    )
    assert 1000 * np.square(found - load_mnist().test[1000]).mean() < tally["sums"][3]
    choose(opened, "random")
    at_rest(opened)
    assert opened.execute_script("return document.querySelector('.tvae-explorer').__playground.tally().count") == 0


def test_presets(opened, page):
    open_at(opened, page)
    seen = set()
    for link in find(opened, ".tvae-links a"):
        link.click()
        seen.add((sentence(opened), *errors(opened).items()))
    assert len(seen) == 3


def test_names_and_focus(opened):
    for control in find(opened, ".tvae-explorer :is(input, button, canvas[tabindex])"):
        assert control.accessible_name or not control.is_displayed(), control.get_attribute("outerHTML")
        assert control.get_attribute("data-lm-suppress-shortcuts") == "true"
    for canvas in find(opened, "canvas[role=img]"):
        assert canvas.get_attribute("aria-label")
    assert len(find(opened, ".tvae-thumbnails input")) == 25


@pytest.mark.parametrize("width", [360, 900])
def test_fits_the_screen(opened, page, width):
    open_at(opened, page, width=width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


def test_still_without_scripts(quiet_page, page):
    check_still_without_scripts(quiet_page, page)
