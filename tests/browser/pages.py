"""What the browser tests share: the rendered pages, a page on disk for a live figure, the keys, and how to wait."""

import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
LEFT, RIGHT, HOME, END = "\ue012", "\ue014", "\ue011", "\ue010"  # the WebDriver codes of these keys
HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'

# An asynchronous script: waits until a page's formulas are typeset, and reports on them.
TYPESET = """
const done = arguments[arguments.length - 1];
const finish = () => done({
  raw: document.querySelectorAll(".math").length,
  typeset: document.querySelectorAll(".math mjx-container").length,
  errors: [...document.querySelectorAll("mjx-merror")].map(node => node.textContent),
  wide: document.documentElement.scrollWidth - window.innerWidth,
});
if (!document.querySelector(".math")) finish();
else if (window.MathJax && MathJax.startup && MathJax.startup.promise) MathJax.startup.promise.then(finish);
else setTimeout(finish, 5000);
"""


def write_page(path, *figures, background="white"):
    """Write the HTML of some live figures to a page of their own."""
    body = "\n".join(figure._repr_html_() for figure in figures)
    start = f'{HEAD}<title>live figure</title></head><body style="background:{background};color:#ccc">'
    path.write_text(f"{start}{body}</body></html>", "utf-8")
    return path


def set_width(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def wait(condition, seconds=20):  # a page that computes may be slow on a busy machine
    """Wait until condition() is true; fail after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.02)


def open_at(browser, page, fragment="", width=900, ready="svg"):
    set_width(browser, width)
    browser.get("about:blank")
    browser.get(page.as_uri() + fragment)
    wait(lambda: find(browser, ready), 20)
    return browser


def one(browser, selector):
    return browser.find_element("css selector", selector)


def property_of(browser, selector, name):
    """A property of the first such element, found and read in one step: between two steps a figure may redraw itself."""
    return browser.execute_script("return document.querySelector(arguments[0])[arguments[1]]", selector, name)


def text(browser, selector):
    """The text of the first such element, found and read in one step, as `property_of` is."""
    return property_of(browser, selector, "innerText").strip()


def values(browser):
    """The numbers that a live figure shows in its boxes, by name, all read in one step."""
    script = "return [...document.querySelectorAll('[data-value]')].map((box) => [box.dataset.value, box.innerText])"
    return {name: float(shown) for name, shown in browser.execute_script(script)}


def next_frame(browser):
    browser.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")


def check_still_without_scripts(browser, page):
    """With scripts off a picture with a description stands there, and no control. Returns the description."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        image = browser.find_element("tag name", "img")
        assert image.size["width"] > 300 and len(image.get_attribute("alt")) > 60
        assert find(browser, "input") == []
        return image.get_attribute("alt")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
