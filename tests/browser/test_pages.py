"""The rendered pages in a browser, as files: offline, on a telephone, a screen and paper, and for readers who see little."""

import json

import pytest
from pages import HEAD, HTML, PAGES, ROOT, TYPESET, find, next_frame, one, set_width, wait
from test_accessibility import AXE, complaints

built = pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")


SHEET = 672  # a sheet of A4 between the margins of book/_static/print.css, in pixels
CUT = """
return [...document.querySelectorAll(".bd-article :is(pre, div.math, div.math > mjx-container, table)")]
  .filter((box) => box.offsetWidth)
  .filter((box) => box.scrollWidth > box.clientWidth + 1 || box.getBoundingClientRect().right > window.innerWidth + 1)
  .map((box) => box.textContent.trim().slice(0, 80));
"""
# The live figures that stick out of their box when that shrinks; they hear of it too late for a printer.
STICKS_OUT = """
return [...document.querySelectorAll(".tvae-explorer")].filter((figure) => {
  figure.style.width = `${figure.clientWidth - 100}px`;
  const right = (node) => node.getBoundingClientRect().right;
  return [...figure.querySelectorAll("svg")].some((svg) => right(svg) > right(figure));
}).length;
"""
# The answers to questions of which no more than their first line shows.
CLOSED = """
const height = (node) => node.getBoundingClientRect().height;
return [...document.querySelectorAll("details.answer")].filter((box) => height(box) < height(box.firstElementChild) + 15).length;
"""
# The titles of the neighbouring pages that are cut off, and the intervals in tables that take several lines.
CUT_OFF = """
const lines = (node) => {
  const range = document.createRange();
  range.selectNodeContents(node);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
};
const titles = [...document.querySelectorAll(".prev-next-title")].filter((box) => box.scrollWidth > box.clientWidth);
const cells = [...document.querySelectorAll("table.compact td")];
const intervals = cells.filter((cell) => /^\\S+ \\(\\S+ to \\S+\\)$/.test(cell.innerText) && lines(cell) > 1);
return [...titles, ...intervals].map((box) => box.innerText);
"""
STILL = "document.head.insertAdjacentHTML('beforeend', '<style>* { transition: none !important }</style>')"


def open_page(browser, page, width):
    """Open a page of the book from disk, and return what is said of its formulas."""
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    set_width(browser, width)
    browser.set_script_timeout(120)  # a long page full of formulas takes axe seconds
    browser.get((HTML / f"{page}.html").as_uri())
    seen = browser.execute_async_script(TYPESET)
    browser.execute_script(STILL)  # or colours would be judged while they fade from light to dark
    return seen


def check_accessible(browser, mode, rules=None):
    """axe has nothing to say of the page in this mode, light or dark."""
    if AXE.exists():
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", mode)
        next_frame(browser)
        assert complaints(browser, rules) == [], mode


@built
@pytest.mark.parametrize("page", PAGES)
def test_page_on_a_telephone_without_a_network(browser, page):
    seen = open_page(browser, page, 360)
    assert seen["errors"] == []
    assert seen["typeset"] == seen["raw"]
    assert seen["wide"] <= 0, "the page scrolls sideways on a narrow screen"
    assert browser.execute_script(CUT_OFF) == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    serious = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in serious if "theme mode" not in message] == []  # the theme says so on the first visit
    check_accessible(browser, "light")


@built
@pytest.mark.parametrize("page", PAGES)
def test_page_on_a_screen_and_on_paper(browser, page):
    open_page(browser, page, 1200)
    check_accessible(browser, "dark", ["color-contrast"])
    check_accessible(browser, "light")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        set_width(browser, SHEET)
        assert browser.execute_script(CUT) == []
        assert browser.execute_script(STICKS_OUT) == 0
        assert browser.execute_script(CLOSED) == 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


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
