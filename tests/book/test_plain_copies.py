"""The plain copies of the chapters: nothing that only the book's build understands, and the same code."""

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from functools import cache
from itertools import pairwise

import nbformat
import pytest
import yaml
from execute import cached
from test_book import CHAPTERS, HTML, ROOT, built, page_html

COPIES = ROOT / "_build" / "notebooks"
RAW = re.compile(r"\{[a-z:-]+\}`|^ *(?:`{3,}|:{3,})\{|^\([\w-]+\)=|<!--|\$\$ *\(|\[\]|\*\*None", flags=re.M)


def notebook(*cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel})


def text(*lines, id="text"):
    return nbformat.v4.new_markdown_cell("\n".join(lines), id=id)


def code(source, id="code", **metadata):
    return nbformat.v4.new_code_cell(source, id=id, metadata=nbformat.from_dict(metadata))


DOT = 'from IPython.display import SVG\nSVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\')'
FIGURE = {"mystnb": {"figure": {"name": "fig-dot", "caption": "A dot, see {doc}`two` and {eq}`sum`: 5<!--five--> of 6."}}}
ONE = [
    text(
        "# One",
        "",
        "```{admonition} What $x$ is",
        ":class: tip",
        "As in {cite:p}`ada1843`,",
        "and $a +",
        "b$ with",
        "",
        "$$",
        "x = 1",
        "$$",
        "```",
        "",
        "$$",
        "s &= 1 + 1 \\\\",
        "$$ (sum)",
        "",
        "```python",
        "print('{not} a `role`')",
        "```",
        id="opening",
    ),
    code(DOT, id="figure", tags=["hide-input"], jupyter={"source_hidden": True}, **FIGURE),
    text(
        "(here)=",
        "## A part",
        "{numref}`fig-dot` and {eq}`sum`, {doc}`two`, {doc}`chapter 2 <two>`, {ref}`here`,",
        "{ref}`that <there>`, {eq}`other`, {math}`y`, {ref}`ex-one`.",
        "",
        "```{exercise} Twice",
        ":label: ex-one",
        "What is {eq}`sum`?",
        "```",
        "",
        "````{solution} ex-one",
        ":class: dropdown",
        "It is:",
        "```python",
        "2",
        "```",
        "````",
        id="part",
    ),
    text(
        *["```{admonition} Going deeper", ":class: dropdown", "Folded.", "```", ""],
        *['<details name="q-01-1"><summary>', "", "$2$", "", "</summary>", "", "**Right.**", "", "</details>"],
        id="folds",
    ),
    code("print(6 * 7)\nimport sys\nprint('careful', file=sys.stderr)", id="answer"),
]
DRAWN = "```{figure} dot.svg\n:name: fig-drawn\n:alt: A dot.\n\nDrawn, see {doc}`one`.\n```\n"
TWO = [text(f"# Two\n\n(there)=\n## *That* part\n\n$$\ny\n$$ (other)\n\n{DRAWN}")]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The plain copies of a small book of two chapters."""
    folder = tmp_path_factory.mktemp("book")
    nbformat.write(notebook(*ONE), folder / "one.ipynb")
    nbformat.write(notebook(*TWO), folder / "two.ipynb")
    (folder / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (folder / "index.md").write_text("# Home\n\n```{toctree}\n:numbered:\none\ntwo\n```\n\n```{bibliography}\n```\n")
    (folder / "all.bib").write_text("@book{ada1843, author={Ada Lovelace}, title={Notes}, year=1843, publisher={Taylor}}\n")
    settings = {
        "extensions": ["myst_nb", "sphinx_exercise", "sphinxcontrib.bibtex", "plain_copies"],
        "bibtex_bibfiles": ["all.bib"],
        "bibtex_reference_style": "author_year",
        "myst_enable_extensions": ["dollarmath", "colon_fence"],
        "numfig": True,
        "nb_execution_mode": "cache",
        "plain_copies_base": "https://example.org/book/",
        "html_theme_options": {"repository_url": "https://github.com/ada/book"},
        "html_theme": "sphinx_book_theme",
    }
    # In a Python of its own: Sphinx and docutils keep what they have registered.
    build = "import json, sys; from sphinx.application import Sphinx; folder, settings = sys.argv[1], json.loads(sys.argv[2]); "
    build += "Sphinx(folder, None, folder + '/out/html', folder + '/trees', 'html', settings, None, sys.stderr).build()"
    path = os.pathsep.join([str(ROOT / "book" / "_ext"), str(ROOT)])
    command = [sys.executable, "-c", build, str(folder), json.dumps(settings)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path})
    return {path.stem: nbformat.read(path, as_version=4).cells for path in (folder / "out" / "notebooks").glob("*.ipynb")}


def test_the_prose_is_plain(copies):
    cells = {cell.id: cell.source for cell in copies["one"]}
    cited = "[[Lovelace, 1843](https://example.org/book/index.html#id2)]"
    assert cells["opening"].split("\n") == [
        *["# One", "", "> **What $x$ is**", ">", f"> As in {cited},", "> and $a + b$ with", ">", "> $$ x = 1 $$", ""],
        *["$$", "s &= 1 + 1 \\\\", "\\tag{1.1}", "$$", "", "```python", "print('{not} a `role`')", "```"],
    ]
    two = "https://example.org/book/two.html"
    words = [f"Fig. 1.1 and (1.1), [Two]({two}), [chapter 2]({two}), A part,"]
    words += [f"[that]({two}#there), [(2.1)]({two}#equation-other), $y$, Exercise 1.1."]
    assert cells["part"].split("\n") == [
        *["## A part", *words, "", "> **Exercise 1.1 Twice**", ">", "> What is (1.1)?", ""],
        *['<details style="margin-bottom: 1em">', "<summary><b>Solution of Exercise 1.1</b></summary>", ""],
        *["It is:", "```python", "2", "```", "", "</details>"],
    ]
    assert cells["folds"].split("\n") == [
        *['<details style="margin-bottom: 1em">', "<summary><b>Going deeper</b></summary>", "", "Folded.", "", "</details>", ""],
        '<details name="q-01-1"><summary style="list-style-position: outside; margin-left: 1em">',
        *["", "$2$", "", "</summary>", "", "**Right.**", "", "</details>"],
    ]
    assert cells["caption-fig-dot"] == f"**Fig. 1.1** A dot, see [Two]({two}) and (1.1): 5 of 6."


def test_a_picture_stands_in_the_text_itself(copies):
    pattern = r'<img alt="A dot\." src="data:image/svg\+xml;base64,(\S+)">\n\n(.*)'
    picture, caption = re.search(pattern, copies["two"][0].source).groups()
    assert b64decode(picture).startswith(b"<svg ")
    assert caption == "**Fig. 2.1** Drawn, see [One](https://example.org/book/one.html)."


def test_the_code_is_the_same_with_its_output(copies):
    ids = [cell.id for cell in copies["one"]]
    assert ids == ["opening", "fetch-the-library", "figure", "caption-fig-dot", "part", "folds", "answer"]
    of = {cell.id: cell for cell in copies["one"]}
    for cell in (ONE[1], ONE[-1]):
        assert of[cell.id].source == cell.source and of[cell.id].metadata == cell.metadata
    assert "image/svg+xml" in of["figure"].outputs[0].data
    assert [(output.name, output.text) for output in of["answer"].outputs] == [("stdout", "42\n")]
    assert "https://github.com/ada/book" in of["fetch-the-library"].source and of["fetch-the-library"].outputs == []
    assert [cell.cell_type for cell in copies["two"]] == ["markdown"]


# The book's own copies


@cache
def cells_of(page, folder):
    path = (COPIES / page.removeprefix("book/") if folder is COPIES else ROOT / page).with_suffix(".ipynb")
    if folder is COPIES:
        nbformat.validate(nbformat.read(path, as_version=4))
    return nbformat.read(path, as_version=4).cells


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_copy_has_the_code_of_its_source(page):
    code = lambda cells: [(cell.id, cell.source, cell.metadata) for cell in cells if cell.cell_type == "code"]
    first, *rest = code(cells_of(page, COPIES))
    assert first[0] == "fetch-the-library" and "git clone" in first[1]
    assert rest == code(cells_of(page, ROOT))


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_who_runs_a_copy_sees_no_warnings(page):
    """The page and the copy leave out what goes to stderr; a reader who runs the cells does not."""
    outputs = [output for cell in cached(ROOT / f"{page}.ipynb").cells for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_copy_is_plain(page):
    cells = [cell.source for cell in cells_of(page, COPIES) if cell.cell_type == "markdown"]
    prose = [re.sub(r"^```\w*\n.*?^```$|`[^`\n]+`(?!`)", "", cell, flags=re.M | re.S) for cell in cells]
    assert [found[0] for cell in prose for found in [RAW.search(cell)] if found] == []
    labels = sum(len(re.findall(r"^\$\$ \(\S+\)$", cell.source, flags=re.M)) for cell in cells_of(page, ROOT))
    assert sum(cell.count(r"\tag{") for cell in cells) == labels


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_copy_has_its_outputs_and_a_caption_under_every_figure(page):
    cells = cells_of(page, COPIES)
    number = int(page[5:7])
    for cell, below in pairwise(cells):
        if "figure" in cell.metadata.get("mystnb", {}):
            assert [output for output in cell.outputs if "image/png" in output.get("data", {})], cell.id
            assert re.match(rf"\*\*Fig\. {number}\.\d+\*\* .{{30}}", below.source), cell.id
    data = [mime for cell in cells if cell.cell_type == "code" for output in cell.outputs for mime in output.get("data", {})]
    assert not [mime for mime in data if "papermill" in mime or "widget" in mime]


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_the_download_button_hands_out_the_copy(page):
    name = page.removeprefix("book/")
    assert (HTML / "_sources" / f"{page}.ipynb").read_bytes() == (COPIES / f"{name}.ipynb").read_bytes()


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_the_launch_buttons_open_the_copy(page):
    links = [tag["href"] for tag in page_html(page).select("a.dropdown-item[href]")]
    launched = [link for link in links if "colab.research" in link or "mybinder" in link]
    name = page.removeprefix("book/")
    assert len(launched) == 2
    assert all(re.search(rf"/notebooks(\?urlpath=lab/tree)?/notebooks/{name}\.ipynb$", link) for link in launched)


@built
def test_the_links_of_the_copies_lead_to_pages():
    base = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["plain_copies_base"]
    found = set()
    for page in CHAPTERS:
        for cell in cells_of(page, COPIES):
            found |= set(re.findall(rf"\]\({re.escape(base)}([^)#]+)", cell.source))
    assert len(found) > 9
    assert [page for page in found if not (HTML / page).exists()] == []
