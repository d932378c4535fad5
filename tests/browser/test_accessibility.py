"""axe-core on every live figure (and in test_pages.py on every page): nothing that it calls serious or critical.

axe-core comes from npm, in the version that package.json names; `make test` installs it where there is npm.
"""

from pathlib import Path

import pytest
from pages import LEFT, RIGHT, find, next_frame, open_at, set_width, wait, write_page

from tvae_lib.interactive import (
    backprop_explorer,
    df_explorer,
    kl_explorer,
    latent_explorer,
    playground,
    sampling_explorer,
    tails_explorer,
    training_explorer,
)
from tvae_lib.latent import StudentT
from tvae_lib.vae_numpy import VAE

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: run `npm ci --prefix tests/browser`")

# What the theme does and this book leaves: the rule, and the class of the one element that may break it.
THEME = {
    # Named "Color mode", as its tooltip says; the words inside ("Light") are the titles of its icons, which nobody sees.
    ("label-content-name-mismatch", "theme-switch-button"),
    # Named "Search", as it shows; axe would have the keys Ctrl+K, shown beside the word, in the name too.
    ("label-content-name-mismatch", "search-button-field"),
}
AUDIT = """
const [rules, done] = arguments;
const options = { resultTypes: ["violations"], ...(rules && { runOnly: rules }) };
axe.run(document, options).then((found) => done(found.violations), (error) => done(String(error)));
"""


def complaints(browser, rules=None):
    """What axe calls serious or critical: the rule, the element and the reason, one line each. rules: names, None for all."""
    if not browser.execute_script("return 'axe' in window"):
        browser.execute_script(AXE.read_text("utf-8"))
    violations = browser.execute_async_script(AUDIT, rules)
    assert isinstance(violations, list), violations
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary'].splitlines()[1].strip()}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if not any(violation["id"] == rule and name in node["html"].split(">")[0] for rule, name in THEME)
    ]


def test_axe_finds_what_is_wrong(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<html lang="en"><title>t</title><body><img src="data:,"><p style="color:#aaa;background:#fff">pale</p>')
    browser.get(page.as_uri())
    assert {line.split(":")[0] for line in complaints(browser)} == {"image-alt", "color-contrast"}


FIGURES = {
    "kl": kl_explorer,
    "sampling": sampling_explorer,
    "tails": tails_explorer,
    "backprop": lambda: backprop_explorer(VAE(StudentT(3), sizes=(2, 3, 1)), x=(0.9, 0.2), eps=1.5),
    "latent": latent_explorer,
    "frames": df_explorer,
    "playground": playground,
    "training": training_explorer,
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_after_a_control_was_moved(quiet_page, tmp_path, name):
    page = write_page(tmp_path / "page.html", FIGURES[name]())
    open_at(quiet_page, page, ready=".tvae-explorer input[type=range]")
    slider = next(slider for slider in find(quiet_page, "input[type=range]") if slider.is_enabled() and slider.is_displayed())
    before = slider.get_property("value")
    slider.send_keys((LEFT if before == slider.get_property("max") else RIGHT) * 3)
    wait(lambda: slider.get_property("value") != before)
    next_frame(quiet_page)
    for width in (900, 360):
        set_width(quiet_page, width)
        next_frame(quiet_page)
        assert complaints(quiet_page) == [], f"{width} pixels wide"
