"""Print the built book into one PDF, with contents, page numbers and bookmarks: `python tools/make_pdf.py`, or `make pdf`.

Chromium prints every page of _build/html with the style sheet book/_static/print.css; pypdf joins them. Links between the pages
lead to the pages' beginnings.
"""

import argparse
import base64
import html
import io
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, NameObject
from selenium import webdriver

ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build" / "html"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"]
TYPESET = """
const done = arguments[arguments.length - 1];
if (!document.querySelector(".math")) done();
else if (window.MathJax && MathJax.startup && MathJax.startup.promise) MathJax.startup.promise.then(() => done());
else setTimeout(done, 5000);
"""
# Chromium's own list of headings has the page numbers, but texts that lose spaces, or stand twice, where a line or page breaks.
HEADINGS = """
return [...document.querySelectorAll("h1, h2")].filter((node) => node.getClientRects().length).map((node) => {
  const copy = node.cloneNode(true);
  copy.querySelectorAll(".headerlink").forEach((link) => link.remove());
  return [node.tagName === "H1" ? 0 : 1, copy.textContent.trim()];
});
"""
STYLE = """
@page { size: A4; margin: %s }
body { margin: 0; font: 12.5px/1.5 "DejaVu Sans", sans-serif }
h1 { margin: 60mm 0 5mm; font-size: 34px; font-weight: 500 } h2 { break-before: page; font-size: 22px; font-weight: 500 }
h3 { margin: 1.2em 0 0.3em; font-size: 14px }
p { display: flex; gap: 0.5em; margin: 0.1em 0 } p.section { margin-left: 2em; color: #444; font-size: 11px }
p span { flex: 1; border-bottom: 1px dotted #aaa; margin-bottom: 0.4em }
div { height: 297mm; break-after: page; position: relative }
div span { position: absolute; bottom: 9mm; width: 100%%; text-align: center }
"""


def parts():
    """The captions of _toc.yml with their pages; the root has none."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    yield "", [toc["root"]]
    for part in toc["parts"]:
        yield part["caption"], [chapter["file"] for chapter in part["chapters"]]


def open_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for flag in FLAGS:
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def print_page(browser, address):
    """The PDF of one address, as a reader."""
    browser.get(address)
    browser.execute_async_script(TYPESET)
    options = {"printBackground": True, "preferCSSPageSize": True, "generateDocumentOutline": True}
    data = browser.execute_cdp_cmd("Page.printToPDF", options)["data"]
    return PdfReader(io.BytesIO(base64.b64decode(data)))


def print_text(browser, body, margin):
    """The PDF of some HTML."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(f"<!doctype html><meta charset=utf-8><style>{STYLE % margin}</style>{body}")
        file.flush()
        return print_page(browser, Path(file.name).as_uri())


def headings(browser, reader):
    """Level (0 or 1), text and page number of the headings of the page that was printed last."""

    def walk(items, level):
        for item in items:
            if isinstance(item, list):
                yield from walk(item, level + 1)
            elif level < 2:
                yield level, item.title, reader.get_destination_page_number(item)

    found, texts = list(walk(reader.outline, 0)), browser.execute_script(HEADINGS)
    if [level for level, _ in texts] == [level for level, _, _ in found]:
        return [(level, text, number) for (level, text), (_, _, number) in zip(texts, found, strict=True)]
    return found


def contents(entries, title, author):
    """The HTML of title page and contents. entries: caption, level, text and page number."""
    lines, last = [f"<h1>{html.escape(title)}</h1><p>{html.escape(author)}</p><h2>Contents</h2>"], ""
    for caption, level, text, number in entries:
        if caption != last:
            lines.append(f"<h3>{html.escape(caption)}</h3>")
            last = caption
        kind = ' class="section"' if level else ""
        lines.append(f"<p{kind}>{html.escape(text)}<span></span>{number}</p>")
    return "".join(lines)


def mend_links(writer, starts):
    """Let links to other pages of the book lead to where these begin. starts: the page number by HTML file."""
    for page in writer.pages:
        for annotation in page.get("/Annots", []):
            annotation = annotation.get_object()
            address = urlsplit(str(annotation.get("/A", {}).get("/URI", "")))
            target = starts.get(Path(unquote(address.path))) if address.scheme == "file" else None
            if address.scheme == "file":
                del annotation["/A"]
            if target is not None:
                where = writer.pages[target].indirect_reference
                annotation[NameObject("/Dest")] = ArrayObject([where, NameObject("/Fit")])


def build(browser, out):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    printed = []
    for caption, pages in parts():
        for page in pages:
            path = HTML / f"{page}.html"
            reader = print_page(browser, path.as_uri())
            printed.append((caption, path, reader, headings(browser, reader)))

    def front(offset):
        """Title and contents, if the pages of the book begin after so many others."""
        entries, start = [], offset
        for caption, _, reader, found in printed:
            entries += [(caption, level, text, start + number + 1) for level, text, number in found]
            start += len(reader.pages)
        return print_text(browser, contents(entries, config["title"], config["author"]), "18mm 16mm 20mm")

    opening = front(len(front(0).pages))
    writer = PdfWriter()
    writer.append(opening, import_outline=False)
    starts = {}
    for _, path, reader, found in printed:
        start = starts[path] = len(writer.pages)
        writer.append(reader, import_outline=False)
        above = None
        for level, text, number in found:
            mark = writer.add_outline_item(text, start + number, parent=above if level else None)
            above = above if level else mark
    mend_links(writer, starts)
    numbers = "".join(f"<div><span>{number}</span></div>" for number in range(1, len(writer.pages) + 1))
    for page, number in zip(writer.pages, print_text(browser, numbers, "0").pages, strict=False):
        page.merge_page(number)
    for page in writer.pages:
        page.compress_content_streams()
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    writer.write(out)
    return len(writer.pages)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="tools/make_pdf.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "t-vae-book.pdf")
    options = parser.parse_args(arguments)
    browser = open_browser()
    try:
        pages = build(browser, options.out)
    finally:
        browser.quit()
    print(f"{options.out}: {pages} pages, {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
