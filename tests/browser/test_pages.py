"""The rendered pages in a browser, opened as files: no request leaves the folder, and the mathematics is typeset."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]

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


@pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")
@pytest.mark.parametrize("page", PAGES)
def test_page_works_offline(browser, page):
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.set_window_size(400, 900)
    browser.get((HTML / f"{page}.html").as_uri())
    seen = browser.execute_async_script(TYPESET)
    assert seen["errors"] == []
    assert seen["typeset"] == seen["raw"]
    assert seen["wide"] <= 0, "the page scrolls sideways on a narrow screen"
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    serious = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in serious if "theme mode" not in message] == []  # the theme says so on the first visit
