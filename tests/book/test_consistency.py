"""What must agree across the pages: figures and the text that speaks of them, citations, symbols, terms, reading times."""

import json
import re
import sys
from functools import cache

import pytest
import yaml
from bs4 import BeautifulSoup
from reading_time import count, minutes, stated
from test_book import CHAPTERS, PAGES, ROOT, article, built


def cells_of(page):
    return json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]


@cache
def text_of(page):
    """What stands on a page besides its code."""
    if page in CHAPTERS:
        return "\n\n".join("".join(cell["source"]) for cell in cells_of(page) if cell["cell_type"] == "markdown")
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


def options_of_code(page):
    """The options of a page's code cells: the metadata of a notebook's, the lines with a leading colon in a Markdown file."""
    if page in CHAPTERS:
        return [cell["metadata"] for cell in cells_of(page) if cell["cell_type"] == "code"]
    blocks = re.findall(r"^```\{code-cell\}.*\n((?::.*\n)+)", text_of(page), flags=re.M)
    return [yaml.safe_load(re.sub(r"^:", "", block, flags=re.M)) for block in blocks]


def figures_of(page):
    """Label, caption and alternative text of a page's figures."""
    options = [option.get("mystnb", {}) for option in options_of_code(page)]
    return [
        (option["figure"]["name"], option["figure"].get("caption", ""), option.get("image", {}).get("alt", ""))
        for option in options
        if "figure" in option
    ]


def targets(role, text):
    """What a role points to: `{numref}`fig-x`` and `{numref}`words <fig-x>`` both point to fig-x."""
    return [re.sub(r".*<(.*)>", r"\1", inside) for inside in re.findall(rf"\{{{role}\}}`([^`]+)`", text)]


# Figures


@pytest.mark.parametrize("page", PAGES)
def test_the_text_speaks_of_every_figure(page):
    spoken_of = targets("numref", text_of(page))
    assert [name for name, _, _ in figures_of(page) if name not in spoken_of] == []


def test_every_figure_has_a_label_of_its_own_a_caption_and_alternative_text():
    figures = [figure for page in PAGES for figure in figures_of(page)]
    names = [name for name, _, _ in figures]
    assert len(names) == len(set(names)) > 50
    assert [name for name in names if not re.fullmatch(r"fig-[a-z0-9-]+", name)] == []
    assert [name for name, caption, _ in figures if len(caption) < 30 or caption[-1] not in ".)"] == []
    assert [name for name, caption, alt in figures if len(alt) < 30 or alt == caption] == []


@built
def test_the_list_of_figures_is_complete():
    listed = [tag["href"] for tag in article("book/figures").select("ul.figures a[href]")]
    drawn = []
    for page in PAGES:
        for tag in article(page).select("figure[id]"):
            assert tag.figcaption and len(tag.figcaption.get_text()) > 30, (page, tag["id"])
            drawn.append(f"{page.removeprefix('book/')}.html#{tag['id']}")
    assert len(drawn) > 50
    assert [address for address in listed if address in drawn] == drawn
    marks = (".tvae-explorer", 'p:-soup-contains("need a running kernel")')
    live = [page for page in PAGES if any(article(page).select(mark) for mark in marks)]
    rest = [address for address in listed if address not in drawn]
    assert {address.partition(".html")[0] for address in rest} == {page.removeprefix("book/") for page in live}


def test_the_directive_lists_the_figures_of_a_small_book(tmp_path, monkeypatch):
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    dot = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    pages = {
        "index": "# Home\n\n```{toctree}\n:numbered:\nbook/two\nbook/one\nbook/figures\n```\n\n```{image} dot.svg\n```\n",
        "book/one": "# One\n\n```{figure} ../dot.svg\n:name: fig-b\nAll of $x$, see {doc}`two`.\n```\n",
        "book/two": "# Two\n## Part\n<p>They need a running kernel.</p>\n\n```{figure} ../dot.svg\n:name: fig-a\nFirst.\n```\n",
        "book/figures": "# Figures\n\n```{figures}\n```\n",
        "book/orphan": "---\norphan: true\n---\n# Not in the book\n\n```{figure} ../dot.svg\nNot listed.\n```\n",
    }
    (tmp_path / "book").mkdir()
    (tmp_path / "dot.svg").write_text(dot)
    for name, text in pages.items():
        (tmp_path / f"{name}.md").write_text(text)
    settings = {"extensions": ["myst_parser", "figures"], "numfig": True, "myst_enable_extensions": ["dollarmath"]}
    out, trees = tmp_path / "out", tmp_path / "trees"

    def build():
        with patch_docutils(), docutils_namespace():
            Sphinx(tmp_path, None, out, trees, "html", settings, status=None, warning=sys.stderr, warningiserror=True).build()
        soup = BeautifulSoup((out / "book" / "figures.html").read_text(encoding="utf-8"), "html.parser")
        rows = [tag.get_text() for tag in soup.select("p.rubric, ul.figures li")]
        return rows, [tag["href"] for tag in soup.select("p.rubric a, ul.figures a")]

    rows, addresses = build()
    assert rows == ["1. Two", "Live figure, in Part", "Fig. 1.1: First.", "2. One", "Fig. 2.1: All of \\(x\\), see Two."]
    assert addresses == ["two.html", "two.html#part", "two.html#fig-a", "one.html", "one.html#fig-b", "two.html"]
    # A page that changes changes the list, though the list's own page did not.
    (tmp_path / "book" / "one.md").write_text(pages["book/one"].replace("All of", "Half of"))
    assert "Half of" in build()[0][-1]


# Citations, symbols, terms


def test_every_citation_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), flags=re.M))
    cited = {key.strip() for page in PAGES for group in targets(r"cite:\w+", text_of(page)) for key in group.split(",")}
    assert len(cited) > 10
    assert cited - keys == set()


def test_every_symbol_names_a_chapter():
    tables = re.findall(r"^\|.*\n(?:\|.*\n)+", text_of("book/notation") + "\n", flags=re.M)
    lines = [line for line in text_of("book/notation").splitlines() if line.startswith("|")]
    assert sum(len(table.splitlines()) for table in tables) == len(lines)
    for table in tables:
        head, rule, *rows = table.splitlines()
        assert head.endswith("| Chapter |") and re.fullmatch(r"\|(---\|)+", rule), "a blank line inside a table?"
        for row in rows:
            number, file = re.search(r"\| \{doc\}`(\d+) <(\w+)>` \|$", row).groups()
            assert f"book/{file}" in CHAPTERS and file.startswith(f"{int(number):02}_"), row


def glossary():
    """The terms with their definitions."""
    inside = re.search(r"```\{glossary\}\n:sorted:\n\n(.*?)\n```", text_of("book/glossary"), flags=re.S)[1]
    return dict(entry.split("\n  ", 1) for entry in inside.split("\n\n"))


def test_every_term_says_where_it_is_explained():
    entries = glossary()
    assert list(entries) == sorted(entries, key=str.lower)
    labels = {page.removeprefix("book/"): re.findall(r"^\$\$ \((\S+)\)$", text_of(page), flags=re.M) for page in PAGES}
    for page in PAGES:
        labels[page.removeprefix("book/")] += [name for name, _, _ in figures_of(page)]
    for term, meaning in entries.items():
        pages = targets("doc", meaning)
        assert pages and set(pages) <= set(labels), term
        assert all(page.startswith(f"{number}_") for number, page in re.findall(r"`chapter (\d+) <(\w+)>`", meaning)), term
        known = {label for page in pages for label in labels[page]}
        assert set(targets("eq", meaning) + targets("numref", meaning)) <= known, term


# Reading times


def markdown(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": text}


def test_reading_time_counts_what_is_read():
    cells = [
        markdown("Three plain words<!--of-a-key-->, $x + y$ and\n\n$$\na &= b \\\\\n&= c\n$$ (label)\n\n```python\none = 1\n```"),
        code("two = 2\n\nthree = 3"),
        code("folded = 4", tags=["hide-input"], mystnb={"figure": {"caption": "A caption."}}),
        code("from lib import df_explorer"),
        code("df_explorer()"),
        markdown("The end.\n\n## Exercises\n\nNot counted."),
        markdown("Nor is this."),
    ]
    assert list(count(cells).values()) == [11, 2, 5, 1, 1]
    words = {**dict.fromkeys(count([]), 0), "words": 300}
    assert minutes(words) == pytest.approx(2)


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_box_time_is_near_what_is_counted(page):
    counted = minutes(count(cells_of(page)))
    assert stated(cells_of(page))[0] == pytest.approx(counted, rel=1 / 3)


def test_the_teachers_table_repeats_the_boxes():
    rows = re.findall(r"^\| (\d\d) \| (\d+) min \| (\d+) min \|", text_of("book/teaching"), flags=re.M)
    boxes = {page[5:7]: stated(cells_of(page)) for page in CHAPTERS}
    assert len(rows) >= 7
    assert {number: boxes[number] for number, *_ in rows} == {number: (int(read), int(solve)) for number, read, solve in rows}
