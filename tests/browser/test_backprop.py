"""The backpropagation figure in a real browser: every number of every step is the library's."""

import json
import re

import numpy as np
import pytest
from pages import check_still_without_scripts, find, set_width, text, wait, write_page
from scipy.special import expit

from tvae_lib.interactive import backprop_explorer
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.vae_numpy import VAE

X, EPS, LAST, RATE = np.array([[0.9, 0.2]]), np.array([[1.5]]), 22, 0.1
FAMILIES = [(Gaussian(), "exact"), (Gaussian(), "sample"), (StudentT(21), "sample"), (StudentT(3), "sample")]
ENTER, LEFT, RIGHT, HOME, END = "\ue007", "\ue012", "\ue014", "\ue011", "\ue010"  # the WebDriver codes of these keys
GIVEN = re.compile(r"(x\.|eps$|(en|de)coder)")  # weights and inputs: three decimals at most


def network(family=None, kl=None, seed=19, decimals=1):
    """A model with weights of ordinary size; the t-VAE with 3 degrees of freedom if no family is given."""
    model = VAE(family or StudentT(3), sizes=(2, 3, 1), dtype=np.float64, kl=kl)
    rng = np.random.default_rng(seed)
    for value in model.params.values():
        value[...] = rng.normal(0, 0.8, value.shape).round(decimals)
    return model


def flatten(found):
    """{"e1": [..]} to {"e1.0": .., ...}."""
    flat = {}
    for name, array in found.items():
        array = np.asarray(array, float)
        flat |= {".".join([name, *map(str, index)]): float(v) for index, v in np.ndenumerate(array)}
    return flat


def expected(model, x=X, eps=EPS):
    """All numbers of the figure, from the library."""
    W = {name: value for name, value in model.params.items() if "weight" in name}
    b = {name: value for name, value in model.params.items() if "bias" in name}
    family, exact = model.family, model.kl == "exact"
    loss, grads = model.loss_and_grad(x, eps)
    mu, logvar = model.encode(x)
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * eps
    logits = model.decode(z)
    ea = x @ W["encoder.0.weight"].T + b["encoder.0.bias"]
    da = z @ W["decoder.0.weight"].T + b["decoder.0.bias"]
    dz = model.reconstruction_and_dz(x, z)[1]
    dmu, dlogvar = grads["encoder.1.bias"]
    one = {"eps": eps, "mu": mu, "logvar": logvar, "sigma": sigma, "z": z, "reconstruction": loss.reconstruction}
    one |= {"logf_eps": family.log_prob(eps), "logf_z": family.log_prob(z), "kl": loss.kl, "loss": loss.total}
    one |= {"dz_decoder": dz, "minus_score": -family.score(z), "g": dz - (0 if exact else family.score(z))}
    one |= {"kl_dsigma": sigma * exact - 1 / sigma, "dmu": dmu, "dlogvar": dlogvar, "dsigma": 2 * dlogvar / sigma}
    one |= {"pull.gaussian": z, "pull.21": -StudentT(21).score(z), "pull.3": -StudentT(3).score(z)}
    if isinstance(family, StudentT):
        one[f"pull.{family.df:g}"] = -family.score(z)
    several = {
        "x": x,
        "ea": ea,
        "e1": np.maximum(ea, 0),
        "da": da,
        "d1": np.maximum(da, 0),
        "logits": logits,
        "pi": expit(logits),
    }
    several |= {"cost": np.logaddexp(0, logits) - x * logits, "dlogits": grads["decoder.1.bias"]}
    several |= {"dd1": grads["decoder.0.bias"], "de1": grads["encoder.0.bias"]}
    after = network(family, model.kl)
    after.params = {name: value - RATE * grads[name] for name, value in model.params.items()}
    one["after"] = after.loss(x, eps).total
    everything = {name: np.ravel(value)[0] for name, value in one.items()} | {name: np.ravel(v) for name, v in several.items()}
    return flatten(everything | model.params | {f"grad.{name}": value for name, value in grads.items()})


def open_page(browser, tmp_path, *figures, width=800, background="white"):
    set_width(browser, width)
    browser.get(write_page(tmp_path / "page.html", *figures, background=background).as_uri())
    wait(lambda: len(find(browser, "svg")) == len(figures))


def shown(browser):
    """(name, printed text) of every number in the words and in the picture."""
    script = "return [...document.querySelectorAll('[data-key]')].map((node) => [node.dataset.key, node.textContent])"
    return [(name, text.replace("\u2212", "-")) for name, text in browser.execute_script(script)]


def numbers(browser):
    found = browser.execute_script("return JSON.stringify(document.querySelector('.tvae-explorer').backprop())")
    return json.loads(found)


def press(browser, name):
    """Click a button from a script: hundreds of clicks by the mouse take a minute."""
    script = "[...document.querySelectorAll('button')].find((button) => button.innerText === arguments[0]).click()"
    browser.execute_script(script, name)


@pytest.mark.parametrize("seed, decimals", [(19, 1), (3, 8)])
def test_every_number_of_every_step_is_the_librarys(quiet_page, tmp_path, seed, decimals):
    open_page(quiet_page, tmp_path, backprop_explorer(network(seed=seed, decimals=decimals), X, EPS.item()))
    ever_shown = set()
    for (family, kl), radio in zip(FAMILIES, find(quiet_page, "input[type=radio]"), strict=True):
        radio.click()
        right = expected(network(family, kl, seed, decimals))
        found = numbers(quiet_page)
        del found["step"]
        assert found.keys() == right.keys()
        np.testing.assert_allclose([found[name] for name in right], list(right.values()), rtol=0, atol=1e-9)
        titles = []
        for step in range(LAST + 1):
            assert numbers(quiet_page)["step"] == step
            printed = shown(quiet_page)
            assert len(printed) >= 3
            for name, number in printed:
                assert float(number) == pytest.approx(right[name], abs=0.0005 + 1e-9), (family, step, name)
                assert GIVEN.match(name) or len(number.split(".")[1]) == 3, (name, number)
            ever_shown |= {name for name, _ in printed}
            titles.append(text(quiet_page, ".tvae-heading"))
            assert f"step {step} of {LAST}" in text(quiet_page, ".tvae-phase")
            press(quiet_page, "Next")
        assert len(set(titles)) == LAST + 1 and numbers(quiet_page)["step"] == LAST  # Next at the end does nothing
        press(quiet_page, "Start over")
    assert ever_shown == expected(network()).keys()  # every number is put in front of the reader somewhere


def test_printed_sums_hold(quiet_page, tmp_path):
    """The numbers put in give the result printed, as far as three decimals go."""
    open_page(quiet_page, tmp_path, backprop_explorer(network(), X, EPS.item()))
    checked = 0
    for radio in find(quiet_page, "input[type=radio]"):
        radio.click()
        for step in range(LAST + 1):
            for line in quiet_page.execute_script("return [...document.querySelectorAll('.tvae-line')].map((p) => p.innerText)"):
                sum_ = line.strip().removesuffix(" (this model)").split(": ")[-1]
                for sign, python in (("\u2212", "-"), ("\u00b7", "*"), ("\u00b2", "**2")):
                    sum_ = sum_.replace(sign, python)
                left, right = sum_.split(" = ")[-2:] if " = " in sum_ else ("", "")
                if not re.fullmatch(r"(max|exp|log|[-+*/(), .\d])*", left) or not re.fullmatch(r"-?[\d.]+|max\(0, \S+\)", right):
                    continue
                names = {"max": max, "exp": np.exp, "log": np.log}
                assert eval(left, names) == pytest.approx(eval(right, names), abs=0.012), (step, sum_)
                checked += 1
            press(quiet_page, "Next")
        press(quiet_page, "Start over")
    assert checked > 100


def test_values_then_derivatives_light_up(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, backprop_explorer(network(), X, EPS.item()))
    lit, seen = [], set()
    for step in range(LAST + 1):
        in_picture = set(
            quiet_page.execute_script("return [...document.querySelectorAll('svg [data-key]')].map((n) => n.dataset.key)")
        )
        assert seen - in_picture <= {"dz_decoder"}  # what is known stays; g takes the place of dz_decoder
        lit.append(in_picture - seen)
        seen |= in_picture
        kind = "forward" if step <= 10 or step == LAST else "backward"
        assert find(quiet_page, f"rect.tvae-{kind}") and bool(find(quiet_page, f"path.tvae-{kind}")) == (0 < step < LAST)
        press(quiet_page, "Next")
    forward = [["x", "eps"], ["e1"], ["mu", "logvar"], ["sigma"], ["z"], ["d1"], ["logits"], ["pi"], ["reconstruction"], ["kl"]]
    backward = {11: ["dlogits"], 13: ["dd1"], 15: ["dz_decoder"], 17: ["g", "dmu"], 18: ["dsigma", "dlogvar"], 20: ["de1"]}
    order = [*forward, ["loss"], *(backward.get(step, []) for step in range(11, LAST + 1))]
    assert [{name.split(".")[0] for name in names} for names in lit] == [set(names) for names in order]


def test_keyboard_and_words(quiet_page, tmp_path):
    open_page(quiet_page, tmp_path, backprop_explorer(network(), X, EPS.item()))

    def step():
        return numbers(quiet_page)["step"]

    back, forward, over = find(quiet_page, "button")
    slider = find(quiet_page, "input[type=range]")[0]
    assert back.get_attribute("aria-disabled") == "true" and forward.get_attribute("aria-disabled") == "false"
    forward.send_keys(ENTER, ENTER, RIGHT, RIGHT, LEFT)
    assert step() == 3 and slider.get_property("value") == "3"
    back.send_keys(ENTER, LEFT, LEFT, LEFT)
    assert step() == 0
    live = find(quiet_page, '[aria-live="polite"]')[0]
    slider.send_keys(RIGHT * 3)
    assert slider.get_attribute("aria-valuetext") == "step 3 of 22: The scale sigma"
    wait(lambda: live.get_property("textContent").startswith("Step 3 of 22, forward. The scale sigma. sigma = exp(0.5"))
    assert f"{expected(network())['sigma']:.3f}" in live.get_property("textContent")
    assert "sigma = 1.193" in find(quiet_page, "svg[role=img]")[0].get_attribute("aria-label")
    slider.send_keys(END)
    assert step() == LAST and forward.get_attribute("aria-disabled") == "true"
    slider.send_keys(HOME, RIGHT * 12)
    weight = network().loss_and_grad(X, EPS)[1]["decoder.1.weight"]
    wait(lambda: f"{weight[0, 1]:.3f}".replace("-", "\u2212") in live.get_property("textContent"))
    height = find(quiet_page, ".tvae-step")[0].size["height"]
    slider.send_keys(RIGHT * 4)
    assert find(quiet_page, ".tvae-step")[0].size["height"] == height  # the picture does not jump
    radios = find(quiet_page, "input[type=radio]")
    assert [radio.is_selected() for radio in radios] == [False, False, False, True]
    radios[3].send_keys(LEFT)
    assert radios[2].is_selected() and step() == 16
    right = expected(network(StudentT(21)))
    assert f"(21 + 2.830²) = {right['minus_score']:.3f} (this model)" in find(quiet_page, ".tvae-step")[0].text
    over.send_keys(ENTER)
    assert step() == 0
    assert find(quiet_page, "fieldset legend")[0].text == "Model" and all(
        node.text for node in find(quiet_page, "fieldset label")
    )
    assert find(quiet_page, f"label[for={slider.get_attribute('id')}]")
    for node in find(quiet_page, ".tvae-explorer :is(input, button)"):  # JupyterLab takes keys from elements without it
        assert node.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_two_on_one_page_start_as_told(quiet_page, tmp_path):
    first, second = network(Gaussian()), network(StudentT(5), seed=4)
    open_page(quiet_page, tmp_path, backprop_explorer(first, X, 1.5), backprop_explorer(second, X, -0.7))
    chosen = [label.text for label in find(quiet_page, "fieldset label") if label.find_element("tag name", "input").is_selected()]
    assert chosen == ["Gaussian, exact KL", "t, ν = 5"]
    find(quiet_page, "button")[1].click()
    assert [node.get_property("value") for node in find(quiet_page, "input[type=range]")] == ["1", "0"]
    found = quiet_page.execute_script("return document.querySelectorAll('.tvae-explorer')[1].backprop()")
    right = expected(second, X, np.array([[-0.7]]))
    assert found["dlogvar"] == pytest.approx(right["dlogvar"], abs=1e-9) and found["pull.5"] == pytest.approx(right["pull.5"])


@pytest.mark.parametrize("width", [360, 800])
def test_fits_on_dark_pages(quiet_page, tmp_path, width):
    open_page(quiet_page, tmp_path, backprop_explorer(network(), X, EPS.item()), width=width, background="#111")
    root = find(quiet_page, ".tvae-explorer")[0]
    for _ in range(LAST + 1):
        assert quiet_page.execute_script("return document.documentElement.scrollWidth") <= width
        inner = "const r = arguments[0]; return [...r.querySelectorAll('svg, table, p')].every((n) => n.offsetWidth === undefined"
        assert quiet_page.execute_script(inner + " || n.scrollWidth <= r.clientWidth)", root)
        press(quiet_page, "Next")
    assert root.value_of_css_property("background-color") in ("rgba(255, 255, 255, 1)", "rgb(255, 255, 255)")
    picture = find(quiet_page, "svg")[0].size
    assert (picture["height"] > picture["width"]) == (width == 360)
    outside = """
        const box = document.querySelector("svg").getBoundingClientRect();
        return [...document.querySelectorAll("svg text, svg rect")].filter((node) => {
          const { left, right, top, bottom } = node.getBoundingClientRect();
          return left < box.left - 0.5 || right > box.right + 0.5 || top < box.top - 0.5 || bottom > box.bottom + 0.5;
        }).length"""
    assert quiet_page.execute_script(outside) == 0


def test_still_without_scripts(quiet_page, tmp_path):
    page = write_page(tmp_path / "still.html", backprop_explorer(network(), X, EPS.item()))
    assert "The loss is 2.917" in check_still_without_scripts(quiet_page, page)
