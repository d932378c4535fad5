"""The book on paper: contents, page numbers, bookmarks and links of the PDF; nothing on a printed page is cut off."""

import make_pdf
import pytest
from make_pdf import build
from pages import HEAD, HTML, PAGES, TYPESET, set_width
from pypdf import PdfReader

# A sheet of A4 between the margins of book/_static/print.css, in pixels.
SHEET = 672
CUT = """
return [...document.querySelectorAll(".bd-article :is(pre, div.math, table)")]
  .filter((box) => box.offsetWidth)
  .filter((box) => box.scrollWidth > box.clientWidth + 1 || box.getBoundingClientRect().right > window.innerWidth + 1)
  .map((box) => box.textContent.trim().slice(0, 80));
"""


def test_pages_are_joined_with_contents_numbers_and_links(browser, tmp_path, monkeypatch):
    sheet = '<div style="break-after: page"></div>'
    pages = {
        "one": "<h1>One</h1><h2>First <i>part</i><a class=headerlink>#</a></h2>"
        f'<a href="two.html#end">There</a>{sheet}<h2>Second part</h2>',
        "two": f"<h1>Two</h1>{sheet}{sheet}<h2 id=end>The end</h2>",
    }
    for name, body in pages.items():
        (tmp_path / f"{name}.html").write_text(f"{HEAD}<title>{name}</title></head><body>{body}")
    monkeypatch.setattr(make_pdf, "HTML", tmp_path)
    monkeypatch.setattr(make_pdf, "parts", lambda: [("", ["one"]), ("Chapters", ["two"])])
    assert build(browser, tmp_path / "book.pdf") == 2 + 2 + 3
    reader = PdfReader(tmp_path / "book.pdf")
    assert reader.pages[0].extract_text().split("\n")[0].startswith("The t-VAE book")
    listed = "".join(reader.pages[1].extract_text().split())
    assert listed == "ContentsOne3Firstpart3Secondpart4ChaptersTwo5Theend72"  # the 2 is the number of this page
    assert [page.extract_text().strip().split("\n")[-1] for page in reader.pages][2:] == ["3", "4", "5", "6", "7"]
    marks = [(mark.title, reader.get_destination_page_number(mark)) for mark in reader.outline if not isinstance(mark, list)]
    assert marks == [("One", 2), ("Two", 4)]
    (link,) = (annotation.get_object() for annotation in reader.pages[2]["/Annots"])
    assert link["/Dest"][0].get_object() == reader.pages[4].get_object()


@pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")
@pytest.mark.parametrize("page", PAGES)
def test_nothing_on_a_printed_page_is_cut_off(browser, page):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        set_width(browser, SHEET)
        browser.get((HTML / f"{page}.html").as_uri())
        browser.execute_async_script(TYPESET)
        assert browser.execute_script(CUT) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
