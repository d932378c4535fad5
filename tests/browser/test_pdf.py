"""The book on paper: contents, page numbers, bookmarks and links of the PDF."""

import make_pdf
from make_pdf import build
from pages import HEAD
from pypdf import PdfReader


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
