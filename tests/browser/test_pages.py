"""The rendered pages in a browser, opened as files: no request leaves the folder, and the mathematics is typeset."""

import json

import pytest
from pages import HTML, PAGES, TYPESET, set_width


@pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")
@pytest.mark.parametrize("page", PAGES)
def test_page_works_offline(browser, page):
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    set_width(browser, 400)
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
