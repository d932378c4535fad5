"""Training in the page in a real browser: its numbers against NumPy, its controls, and that it lets the page breathe."""

import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pages import LEFT, RIGHT, check_still_without_scripts, find, next_frame, one, open_at, text, wait, write_page

from tvae_lib.interactive import page_digits, training_explorer
from tvae_lib.latent import Apart, Gaussian, StudentT

sys.path.append(str(Path(__file__).parents[1] / "library"))
from test_page_training import arrays, example, layers, page_family, repeat_epoch

UP = "\ue013"
ROOT = "document.querySelector('.tvae-explorer').__training"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("training") / "page.html", training_explorer())


@pytest.fixture
def opened(quiet_page, page):
    quiet_page.set_script_timeout(120)
    open_at(quiet_page, page)
    at_rest(quiet_page)
    yield quiet_page


def press(browser, name):
    browser.find_element("xpath", f"//button[text()='{name}']").click()


def steps(browser):
    return browser.execute_script(f"return {ROOT}.run().steps")


def picture(browser, selector="canvas.tvae-plane"):
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map((c) => c.toDataURL())", selector)


def at_rest(browser):
    """Wait until nothing is computed and everything is drawn."""
    wait(lambda: not browser.execute_script(f"return {ROOT}.busy()"), 120)
    next_frame(browser)
    next_frame(browser)


def train(browser, page, fragment):
    open_at(browser, page, fragment)
    wanted = int(re.search(r"steps=(\d+)", fragment)[1])
    wait(lambda: steps(browser) == wanted, 300)
    at_rest(browser)


@pytest.mark.parametrize("kl", ["exact", "sample"])
@pytest.mark.parametrize("family", [Gaussian(), StudentT(2), StudentT(21), Apart(Gaussian(), StudentT(5))])
def test_gradients_are_numpys(opened, family, kl):
    model, x, eps = example(family, kl, rows=20)
    found = opened.execute_script(
        f"""const [layers, family, x, eps] = arguments;
        const net = layers.map((l) => ({{ weight: Float32Array.from(l.weight), bias: Float32Array.from(l.bias) }}));
        family.df ??= Infinity;
        family.encoderDf ??= Infinity;
        const network = {{ encoder: net.slice(0, 2), decoder: net.slice(2) }};
        const found = {ROOT}.lossAndGradients(network, family, Float32Array.from(x), Float32Array.from(eps), 20);
        return [found.reconstruction, found.kl[0] + found.kl[1],
                found.gradients.flatMap((l) => [Array.from(l.weight), Array.from(l.bias)])];""",
        layers(model),
        page_family(family, kl),
        x.ravel().tolist(),
        eps.ravel().tolist(),
    )
    loss, grads = model.loss_and_grad(x, eps)
    np.testing.assert_allclose(found[:2], [loss.reconstruction.mean(), loss.kl.mean()], rtol=1e-4)
    for gradient, expected in zip(found[2], arrays(grads), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


def test_first_epoch_is_numpys(opened, page):
    start = opened.execute_script(f"return {ROOT}.start()")
    plan = opened.execute_script(f"return {ROOT}.plan(30)")
    expected = repeat_epoch(Gaussian(), "exact", page_digits()[0], start, plan)
    train(opened, page, "#model=gaussian&steps=30")
    shown = re.search(r"= (\S+) reconstruction \+ (\S+) KL", text(opened, ".tvae-values")).groups()
    np.testing.assert_allclose([float(number) for number in shown], expected, rtol=0.01, atol=0.05)


def test_run_pause_step_and_start_again(opened):
    first = picture(opened)
    press(opened, "One step")
    at_rest(opened)
    assert steps(opened) == 1 and picture(opened) != first and "not trained yet" in text(opened, ".tvae-values")
    press(opened, "Run")
    wait(lambda: steps(opened) >= 32, 120)
    press(opened, "Pause")
    at_rest(opened)
    stopped, unfolded = steps(opened), picture(opened)
    assert re.search(r"loss \d+\.\d nats = \d+\.\d reconstruction \+ \d+\.\d KL", text(opened, ".tvae-values"))
    time.sleep(0.3)
    assert steps(opened) == stopped
    live = find(opened, '[aria-live="polite"]')[0]
    wait(lambda: live.get_property("textContent").startswith(f"Epoch {stopped // 30}. Gaussian: loss"))
    press(opened, "Start again")
    at_rest(opened)
    assert steps(opened) == 0 and picture(opened) == first != unfolded


def test_same_state_same_training(opened, page):
    fragment = "#model=t2&weight=0.5&model1=gaussian_t4&weight1=1&kl=draw&rate=0.01&seed=7&steps=12"
    seen = []
    for _ in range(2):
        train(opened, page, fragment)
        seen.append((picture(opened), picture(opened, ".tvae-view canvas[role=img]")))
    assert seen[0] == seen[1] and len(seen[0][0]) == 2
    assert [title.text for title in find(opened, ".tvae-model")] == ["t, ν = 2, KL × 0.5", "t prior, ν = 4, Gaussian encoder"]
    press(opened, "Link to this state")
    assert opened.current_url.endswith(fragment)
    train(opened, page, fragment.replace("seed=7", "seed=8"))
    assert picture(opened) != seen[0][0]


def test_bad_addresses_are_ignored(opened, page):
    first = picture(opened)
    for fragment in ("#model=magic", "#model=t0.5", "#weight=3", "#a-heading"):
        open_at(opened, page, fragment)
        at_rest(opened)
        wait(lambda: picture(opened) == first)
    open_at(opened, page, "#model=t3&weight=-1&rate=x&seed=1e9&steps=-3")
    at_rest(opened)
    assert [title.text for title in find(opened, ".tvae-model")] == ["t, ν = 3"]


def test_presets(opened):
    seen = set()
    for button in find(opened, ".tvae-presets button"):
        button.click()
        at_rest(opened)
        note = text(opened, ".tvae-note")
        assert steps(opened) == 0 and 60 < len(note) < 220
        seen.add((note, *(title.text for title in find(opened, ".tvae-model"))))
    pairs = {titles[1:] for titles in seen}
    assert len(seen) == 6 and {("Gaussian", "t, ν = 5"), ("t, ν = 3", "t prior, ν = 3, Gaussian encoder")} < pairs


def test_settings_take_effect_while_it_learns(opened):
    press(opened, "One step")
    at_rest(opened)
    find(opened, "input[type=radio][value=apart]")[0].click()
    press(opened, "One step")
    at_rest(opened)
    assert opened.execute_script(f"return {ROOT}.run().models[0].family.encoderDf") is None  # JSON's word for infinity
    find(opened, "input[type=radio][value=t]")[0].click()
    slider = find(opened, ".tvae-settings input[type=range]")[0]
    slider.send_keys(LEFT * 4)
    press(opened, "One step")
    at_rest(opened)
    family = opened.execute_script(f"return {ROOT}.run().models[0].family")
    shown = float(slider.get_attribute("aria-valuetext").split("= ")[1])
    assert steps(opened) == 3 and family["encoderDf"] == family["df"] == shown < 5
    press(opened, "Link to this state")
    assert opened.current_url.endswith("steps=0") and "from the start" in text(opened, ".tvae-buttons .tvae-note")


def test_pointing_at_the_plane(opened, page):
    plane = one(opened, "canvas.tvae-plane")
    spot = ".tvae-rest .tvae-picture:last-child canvas"
    train(opened, page, "#model=gaussian&steps=30")
    plane = one(opened, "canvas.tvae-plane")
    before = picture(opened, spot)
    plane.send_keys(RIGHT * 5 + UP * 3)
    region = find(opened, '[aria-live="polite"]')[1]
    wait(lambda: "of the ten nearest codes" in region.get_property("textContent"))
    at = re.search(r"decoded at (\S+), (\S+);", region.get_property("textContent")).groups()
    assert float(at[0]) > 0 and float(at[1]) > 0
    wait(lambda: picture(opened, spot) != before)
    middle = picture(opened, spot)
    opened.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "arguments[0].dispatchEvent(new PointerEvent('pointerdown', { clientX: box.left + 4, clientY: box.top + 4 }))",
        plane,
    )
    wait(lambda: picture(opened, spot) != middle)
    dots = picture(opened)
    one(opened, "input[type=checkbox]").click()
    wait(lambda: picture(opened) != dots)


def test_diverged_weights_are_said(opened, page):
    open_at(opened, page, "#model=t1&weight=20&kl=draw&rate=0.05&steps=0")
    opened.execute_script(f"{ROOT}.run().models[0].network.encoder[1].bias.fill(1e30)")
    press(opened, "Run")
    wait(lambda: "diverged" in text(opened, ".tvae-values"), 30)
    at_rest(opened)
    press(opened, "Run")  # starts again
    wait(lambda: steps(opened) > 1, 60)
    press(opened, "Pause")


def test_slices_are_short_and_frames_come_often(opened):
    found = opened.execute_async_script(
        f"""const done = arguments[arguments.length - 1];
        const [button] = [...document.querySelectorAll("button")].filter((b) => b.textContent === "Run");
        button.click();
        setTimeout(() => {{
          {ROOT}.slices.length = {ROOT}.frames.length = 0;
          setTimeout(() => {{ button.click(); done([{ROOT}.slices, {ROOT}.frames]); }}, 4000);
        }}, 3000);"""
    )
    slices, frames = (np.array(times) for times in found)
    gaps = np.diff(frames)
    for name, times in (("slices", slices), ("between frames", gaps)):
        print(f"{name}, ms: {np.quantile(times, [0, 0.1, 0.5, 0.9]).round(1)} (least, 10 %, 50 %, 90 %)")
    # On a busy machine other processes stop many of them in the middle.
    assert np.quantile(slices, 0.1) <= 12 and gaps.min() <= 100


def test_a_hidden_tab_stops(opened):
    press(opened, "Run")
    wait(lambda: steps(opened) > 0, 60)
    opened.execute_script(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    time.sleep(0.2)
    stopped = steps(opened)
    time.sleep(0.5)
    assert steps(opened) == stopped
    opened.execute_script("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait(lambda: steps(opened) > stopped, 60)


def test_names(opened):
    press(opened, "Gaussian beside t")
    at_rest(opened)
    for node in find(opened, ".tvae-explorer :is(input, button, canvas, summary)"):
        assert node.accessible_name or not node.is_displayed(), node.get_attribute("outerHTML")
    for node in find(opened, ".tvae-explorer :is(input, button, canvas[tabindex])"):
        assert node.get_attribute("data-lm-suppress-shortcuts") == "true"


@pytest.mark.parametrize("width", [360, 900])
def test_fits_the_screen(opened, page, width):
    open_at(opened, page, "#model=t2&model1=gaussian", width=width)
    at_rest(opened)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


def test_still_without_scripts(quiet_page, page):
    assert "a grid of decoded codes" in check_still_without_scripts(quiet_page, page)
