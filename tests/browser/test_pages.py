"""The rendered pages in a browser, opened as files: no request leaves the folder, and the mathematics is typeset."""

import json

import pytest
from pages import HEAD, HTML, PAGES, ROOT, TYPESET, find, one, set_width, wait

built = pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")


@built
@pytest.mark.parametrize("page", PAGES)
def test_page_works_offline(browser, page):
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    set_width(browser, 360)
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


@pytest.mark.parametrize("width, lines", [(360, 2), (900, 1)])
def test_the_parts_of_a_formula_stand_below_each_other_on_a_telephone(browser, tmp_path, width, lines):
    formulas = [
        r"\[a = 1 \qquad b = \frac{1}{2}\]",
        r"\[a = {1 \qquad 2}\]",
        r"\[\begin{split}a &= 1 \qquad b\end{split}\]",
        r"\[a\]",
    ]
    boxes = "".join(f'<div class="math"><span>(1)</span>{formula}</div>' for formula in formulas).replace("&", "&amp;")
    page = tmp_path / "page.html"
    page.write_text(f'{HEAD}<script defer src="{(ROOT / "book/_static/book.js").as_uri()}"></script></head><body>{boxes}')
    set_width(browser, width)
    browser.get(page.as_uri())
    shown = [box.text.removeprefix("(1)") for box in find(browser, "div.math")]
    assert shown[0] == (formulas[0] if lines == 1 else r"\[\begin{gathered}a = 1 \\b = \frac{1}{2}\end{gathered}\]")
    assert shown[1:] == formulas[1:]


@built
@pytest.mark.parametrize(
    "words", [("generalise", "generalize"), ("regularisation", "regularization"), ("standardized", "standardised")]
)
def test_the_search_finds_both_spellings(browser, words):
    found = []
    for word in words:
        browser.get((HTML / "search.html").as_uri() + f"?q={word}")
        wait(lambda: one(browser, "p.search-summary").text.startswith(("Search finished", "Your search")), 20)
        found.append([link.get_attribute("href").partition("?")[0] for link in find(browser, "#search-results ul.search a")])
    assert found[0] == found[1]
    assert found[0]
