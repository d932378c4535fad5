"""The book's files, and its pages as `make book` left them in _build/html."""

import copy
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from check_notebooks import MAX_LINES, fix, problems
from execute import cached
from jupyter_client.kernelspec import KernelSpecManager

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
CHAPTERS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]
NOTEBOOKS = sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("book/workbooks/**/*.ipynb")])


def built(test):
    """Mark a test that needs the built book, and skip it where there is none."""
    return pytest.mark.built(pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built yet: run `make book`")(test))


@cache
def page_html(page):
    return BeautifulSoup((HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")


def article(page):
    return page_html(page).select_one("article.bd-article")


@cache
def anchors(path):
    page = path.relative_to(HTML.resolve()).with_suffix("").as_posix()
    return {tag["id"] for tag in page_html(page).select("[id]")}


# How notebooks are stored


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_notebook_is_stored_clean(path):
    assert problems(path) == []


def code(source, outputs=(), **more):
    count = 0 if outputs else None
    return {"cell_type": "code", "metadata": {}, "execution_count": count, "source": source, "outputs": list(outputs), **more}


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


TEXT = {"cell_type": "markdown", "metadata": {}, "source": "Then."}
CHECKED = "# NBVAL_CHECK_OUTPUT\nprint(6 * 7)"


def write_notebook(path, *cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}))
    return path


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ([code("print(42)", [stream("42\n")])], "stores an output"),
        ([code("1", execution_count=3)], "execution count"),
        ([code(CHECKED, [stream("42\n")], execution_count=None)], "not 0"),
        ([code("open('/home/ada/data.csv')")], "absolute path"),
        ([code(CHECKED, [stream("/tmp/x.npy\n")])], "absolute path"),
        ([code(CHECKED, [stream("4" * 400_000)])], "bytes"),
        ([code("a = 1"), code("b = 2")], "both code"),
        ([code("a = 1"), code("check(a)", metadata={"tags": ["check"]}), code("b = 2")], "cells 2 and 3 are both code"),
    ],
)
def test_the_check_of_notebooks_complains(tmp_path, cells, complaint):
    found = problems(write_notebook(tmp_path / "bad.ipynb", *cells))
    assert len(found) == 1
    assert complaint in found[0]


def test_the_check_of_notebooks_accepts(tmp_path):
    check = code("check.task_1(c)", metadata={"tags": ["check"]})
    shared = {"cell_type": "markdown", "metadata": {}, "source": "See https://example.org/home/ada and results/tmp/x."}
    assert problems(write_notebook(tmp_path / "good.ipynb", code(CHECKED, [stream("42\n")]), shared, code("c = 3"), check)) == []


LINES = "\n".join("a = 1" for _ in range(MAX_LINES["cell"]))
SHORT = "a = 1\n\nb = 2"
HIDDEN = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}


def in_turns(*cells):
    return [part for cell in cells for part in (cell, TEXT)]


def test_folded_cells_are_folded_in_jupyterlab_too(tmp_path):
    folded = {"tags": ["hide-input"], "mystnb": {"figure": {"name": "fig-a"}}}
    stale, whole = {"jupyter": {"source_hidden": True, "other": 1}}, {"tags": ["hide-cell"]}
    options = (folded, {}, stale, whole)
    path = write_notebook(tmp_path / "page.ipynb", *in_turns(*(code("1", metadata=option) for option in options)))
    assert len(problems(path)) == 1 and "as they are in the book: 1, 5, 7;" in problems(path)[0]
    fix(path)
    assert problems(path) == []
    cells = json.loads(path.read_text())["cells"]
    assert [cell["metadata"] for cell in cells[::2]] == [
        {**folded, "jupyter": {"source_hidden": True}},
        {},
        {"jupyter": {"other": 1}},
        {**whole, "jupyter": {"source_hidden": True, "outputs_hidden": True}},
    ]


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ([code(LINES), code(SHORT), code(SHORT)], None),
        ([code(LINES + "\na = 1"), code(SHORT), code(SHORT)], "cell 1 has 26 lines"),
        ([code(LINES), code(LINES), code(SHORT)], "half of the code cells"),
        ([code(SHORT)] * 10 + [code(LINES)] * 8, "220 lines of code"),
        ([code(SHORT), code(SHORT + "\nc = 3", metadata=HIDDEN)], "only 2 of 5"),
    ],
)
def test_a_chapters_code_is_short_and_mostly_shown(tmp_path, cells, complaint):
    (tmp_path / "book").mkdir()
    found = problems(write_notebook(tmp_path / "book" / "10_new.ipynb", *in_turns(*cells)))
    assert found == [] if complaint is None else (len(found) == 1 and complaint in found[0])
    workbook = problems(write_notebook(tmp_path / "10_new.ipynb", *in_turns(*cells)))
    assert workbook == [], "the limits are for chapters"


def test_nbval_notices_what_is_wrong_and_keeps_what_is_right_for_the_build(tmp_path):
    good = in_turns(code(CHECKED, [stream("42\n")]), code("answer = 42\nassert answer == 42"), code("answer"), code("answer;"))
    check = code("print('Task 1.1: correct.')\nprint('Task 1.2: ' + verdict)", metadata={"tags": ["check"]})
    notebooks = {
        "good": good,
        "broken": [*good[:2], code("answer = 43\nassert answer == 42")],
        "changed": [code(CHECKED, [stream("43\n")])],
        "students": [code("verdict = 'not yet.'"), TEXT, check],
        "teacher/solved": [code("verdict = 'correct.'"), TEXT, check],
        "teacher/wrong": [code("verdict = 'not yet. It is twice the expected.'"), TEXT, check],
    }
    (tmp_path / "teacher").mkdir()
    for name, cells in notebooks.items():
        write_notebook(tmp_path / f"{name}.ipynb", *cells)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    own = f"import sys\nfrom pathlib import Path\nsys.path.append({str(ROOT / 'tools')!r})\nimport execute\n"
    own += f"execute.BOOK, execute.CACHE = Path({str(tmp_path)!r}), Path({str(tmp_path / 'cache')!r})\n"
    (tmp_path / "conftest.py").write_text(own + (ROOT / "book" / "conftest.py").read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "-p", "no:cacheprovider", "."]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    failed = set(re.findall(r"FAILED (\S+\.ipynb::Cell \d)", run.stdout))
    assert failed == {"broken.ipynb::Cell 1", "changed.ipynb::Cell 0", "teacher/wrong.ipynb::Cell 1"}, run.stdout
    assert "Task 1.2: not yet. It is twice the expected." in run.stdout
    kept = {name: cached(tmp_path / f"{name}.ipynb", tmp_path / "cache") for name in notebooks}
    assert {name for name in notebooks if kept[name]} == {"good", "students"}
    assert [output.output_type for cell in kept["good"].cells for output in cell.outputs] == ["stream", "execute_result"]


# The rendered pages


@built
@pytest.mark.parametrize("page", PAGES)
def test_page_exists_and_has_one_title(page):
    assert len(article(page).select("h1")) == 1


def is_elsewhere(address):
    return bool(re.match(r"(?:[a-z]+:)?//", address.strip(), flags=re.I)) and not address.startswith("file:")


@built
@pytest.mark.parametrize("page", [*PAGES, "search", "genindex"])
def test_page_asks_no_other_host(page):
    soup = page_html(page)
    loaded = [tag["src"] for tag in soup.select("[src]")] + [tag["data"] for tag in soup.select("object[data]")]
    loaded += [part.split()[0] for tag in soup.select("[srcset]") for part in tag["srcset"].split(",")]
    fetched = {"stylesheet", "preload", "prefetch", "icon", "shortcut", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
    loaded += [tag["href"] for tag in soup.select("link[href]") if fetched & set(tag.get("rel", []))]
    styles = [tag.get_text() for tag in soup.select("style")] + [tag["style"] for tag in soup.select("[style]")]
    loaded += [address for style in styles for address in addresses_in_css(style)]
    assert [address for address in loaded if is_elsewhere(address)] == []


@built
@pytest.mark.parametrize("page", PAGES)
def test_page_is_light(page):
    path = HTML / f"{page}.html"
    soup = page_html(page)
    sources = {tag["src"] for tag in soup.select("img[src], script[src]") if not tag["src"].startswith("data:")}
    brought = [(path.parent / unquote(urlsplit(source).path)).resolve().stat().st_size for source in sources]
    print(f"{page}: {path.stat().st_size / 1e6:.2f} MB, and {sum(brought) / 1e6:.2f} MB of pictures and scripts")
    assert path.stat().st_size < 1_500_000 or page == "book/playground"  # which holds both trained models


@built
@pytest.mark.parametrize("page, words", [("book/07_imputation", "pixels missing")])
def test_figure_of_the_kernel_stands_still(page, words):
    note = article(page).find("p", string=re.compile("need a running kernel"))
    picture = note.find_previous("img")
    assert words in picture["alt"] and picture["src"].startswith("data:image/png;base64,")
    assert page_html(page).select('script[type*="widget"], script[src*="widget"], script[src*="require"]') == []


def addresses_in_css(text):
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)
    return [address for address in found if not address.startswith("data:")]


@built
def test_style_sheets_ask_no_other_host():
    for path in HTML.rglob("*.css"):
        elsewhere = [address for address in addresses_in_css(path.read_text(encoding="utf-8")) if is_elsewhere(address)]
        assert elsewhere == [], path


@built
def test_mathematics_comes_from_this_folder():
    scripts = [tag["src"] for tag in page_html("book/notation").select("script[src]") if "mathjax" in tag["src"]]
    assert len(scripts) == 1
    script = (HTML / "book" / urlsplit(scripts[0]).path).resolve()
    assert script.stat().st_size > 500_000
    assert len(list(script.parent.rglob("*.woff"))) > 15


@built
@pytest.mark.parametrize("page", PAGES)
def test_figures_have_alternative_text(page):
    # Without "alt" MyST-NB writes the name of the picture's file.
    alts = [tag.get("alt", "") for tag in article(page).select("img")]
    assert [alt for alt in alts if len(alt) < 15 or re.search(r"\.(png|svg|jpe?g)$", alt)] == []


@built
@pytest.mark.parametrize("page", [*PAGES, "search", "genindex"])
def test_links_inside_the_book_lead_somewhere(page):
    here = HTML / f"{page}.html"
    dead = []
    for tag in page_html(page).select("a[href], link[href], img[src], script[src]"):
        address = tag.get("href") or tag["src"]
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or address == "#":
            continue
        target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        found = target.exists()
        if found and parts.fragment and target.suffix == ".html":
            found = unquote(parts.fragment) in anchors(target.resolve())
        dead += [] if found else [address]
    assert dead == []


@built
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_unresolved(page):
    soup = article(page)
    assert soup.select(".problematic, .system-message, .pasted-text-missing") == []
    text = soup.get_text()
    leftovers = re.findall(r"\{(?:ref|numref|eq|doc|cite:\w|glue:\w*|prf:ref)\}`|\[\?\]|\?\?|Traceback \(most recent", text)
    assert leftovers == []


@built
@pytest.mark.parametrize("page", PAGES)
def test_a_number_stays_on_one_line_with_its_per_cent_sign(page):
    soup = copy.copy(article(page))
    for verbatim in soup.select("pre, code, script, style, svg"):
        verbatim.decompose()
    assert not re.findall(r".{9}\d %", soup.get_text())


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_exercises_have_solutions(page):
    exercises = {tag["id"] for tag in article(page).select(".admonition.exercise[id]")}
    titles = article(page).select(".admonition.solution p.admonition-title a[href]")
    solved = {urlsplit(tag["href"]).fragment for tag in titles}
    assert 2 <= len(exercises) <= 3
    assert exercises == solved
    assert all("dropdown" in tag["class"] for tag in article(page).select(".admonition.solution"))


# Check yourself: the questions at a chapter's end


def questions(soup):
    """The answers of each question, as (is right, text, reasoning), by the question's name. Reads Markdown as well as HTML."""
    found = {}
    for tag in soup.select("details.answer"):
        text = tag.summary.extract().get_text().strip()
        found.setdefault(tag["name"], []).append(("right" in tag["class"], text, tag.get_text().strip()))
    return found


def own_questions(page):
    cells = json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = next(("".join(cell["source"]) for cell in cells if cell["id"] == "check-yourself"), "")
    return source, questions(BeautifulSoup(source, "html.parser"))


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_ends_with_questions(page):
    source, found = own_questions(page)
    assert 3 <= len(found) <= 5
    assert list(found) == [f"q-{page[5:7]}-{number}" for number in range(1, len(found) + 1)]
    assert re.findall(r"^\*\*Question (\d)\.\*\* .*\?", source, flags=re.M) == [name[-1] for name in found]
    for name, answers in found.items():
        assert 3 <= len({text for _, text, _ in answers}) == len(answers) <= 4, name
        assert sum(right for right, _, _ in answers) == 1, name
        for right, text, reasoning in answers:
            verdict, _, why = reasoning.partition("** ")
            assert verdict == ("**Right." if right else "**Not quite."), (name, text)
            assert len(why) > 40 and why.endswith("."), (name, text)
    places = [next(i for i, (right, _, _) in enumerate(answers) if right) for answers in found.values()]
    assert len(set(places)) > 1, "the right answer always stands in the same place"


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_the_questions_are_rendered(page):
    rendered, (_, written) = questions(copy.copy(article(page))), own_questions(page)
    assert [[right for right, _, _ in answers] for answers in rendered.values()] == [
        [right for right, _, _ in answers] for answers in written.values()
    ]
    assert list(rendered) == list(written)
    for answers in rendered.values():
        assert all(reasoning.startswith("Right. " if right else "Not quite. ") for right, _, reasoning in answers)
        assert not [text for _, text, reasoning in answers if re.search(r"\$|</?\w+>|\*\*|{\w+}`", text + reasoning)]


# Workbooks

WORKBOOKS = sorted(ROOT.glob("book/workbooks/*.ipynb"))


def links_to(path, soup):
    """The targets of a page's links to a workbook: the copy to download first, then addresses elsewhere."""
    targets = [tag["href"] for tag in soup.select("a[href]") if f"/{path.name}" in tag["href"]]
    return sorted(targets, key=is_elsewhere)


@built
@pytest.mark.parametrize("path", WORKBOOKS, ids=lambda path: path.stem)
def test_a_workbook_is_linked_from_its_chapter_and_from_the_list(path):
    chapter = next(page for page in CHAPTERS if page.startswith(f"book/{path.stem[:2]}_"))
    for page in (chapter, "book/workbooks"):
        download, *elsewhere = links_to(path, article(page))
        assert (HTML / "book" / unquote(download)).resolve().read_bytes() == path.read_bytes()
        assert [urlsplit(address).netloc for address in elsewhere] == ["colab.research.google.com", "mybinder.org"]
        repository = urlsplit(yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]).path
        assert all(repository in address for address in elsewhere)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://github.com/ada/fork", ["colab.example/github/ada/fork/blob/next/", "binder.example/v2/gh/ada/fork/next?"]),
        ("https://github.com/ada/fork.git", ["colab.example/github/ada/fork/blob/next/", "binder.example/v2/gh/ada/fork/next?"]),
        ("https://example.org/ada/fork", []),
        ("", []),
    ],
)
def test_addresses_follow_the_repository(address, found, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    links = importlib.import_module("workbooks").links
    services = {"colab_url": "https://colab.example", "binderhub_url": "https://binder.example"}
    options = {"repository_url": address, "repository_branch": "next", "launch_buttons": services}
    download, *elsewhere = links("02_kl", options)
    assert download.startswith("{download}")
    assert len(elsewhere) == len(found)
    assert all(part in link and "book/workbooks/02_kl.ipynb" in link for part, link in zip(found, elsewhere, strict=True))


def test_notebooks_run_in_the_python_that_builds_the_book(monkeypatch, tmp_path):
    """Whatever is installed elsewhere under the name of their kernel."""
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/another/python"], "display_name": "Other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert KernelSpecManager().get_kernel_spec("python3").argv[0] == "/another/python"
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    importlib.import_module("book_build").setup(Mock())
    assert KernelSpecManager().get_kernel_spec("python3").argv[0] != "/another/python"
