"""The plain copies of the chapters in a real JupyterLab: all is rendered, live figures are drawn, and one is run throughout.

And as Visual Studio Code renders their text, with markdown-it and KaTeX from npm.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from pages import ROOT, find, set_width, wait

HERE = Path(__file__).parent
COPIES = ROOT / "_build" / "notebooks"
NAMES = sorted(path.stem for path in COPIES.glob("*.ipynb"))
RUN = "03_sampling"  # the chapter whose cells are all run
SETTINGS = {
    # Every cell is drawn, not only those in sight; and nothing asks whether there is news.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
pytestmark = pytest.mark.skipif(not NAMES, reason="the book is not built yet: run `make book`")

# What stands in the notebook's panel, once it is drawn.
SEEN = """
const all = (selector) => [...document.querySelectorAll(".jp-Notebook " + selector)];
const isLabel = (node) => /^Fig\\. \\d/.test(node.textContent);
const prose = (node) => {
  const copy = node.cloneNode(true);
  copy.querySelectorAll("code, mjx-container").forEach((part) => part.remove());
  return copy.textContent;
};
return {
  prose: all(".jp-MarkdownCell .jp-RenderedMarkdown").map(prose).join("\\n"),
  captions: all(".jp-RenderedMarkdown > p:first-child > strong:first-child").filter(isLabel).length,
  waiting: all(".jp-MarkdownCell:not(.jp-mod-rendered)").length,
  formulas: all("mjx-container").length,
  broken: all("mjx-merror, .MathJax_Error, .katex-error").map((node) => node.textContent),
  errors: all('[data-mime-type="application/vnd.jupyter.error"]').map((node) => node.innerText),
  details: all(".jp-RenderedMarkdown details").length,
  open: all(".jp-RenderedMarkdown details[open]").length,
  loose: all(".jp-RenderedMarkdown summary > p").filter((node) => getComputedStyle(node).listStylePosition !== "outside").length,
  figures: all(".tvae-explorer").length,
  drawn: all(".tvae-explorer").filter((node) => node.querySelector("svg *, canvas, img")).length,
  still: all(".tvae-explorer").filter((node) => !node.querySelector("input, button, select")).length,
  pictures: all(".jp-RenderedMarkdown img").filter((image) => image.naturalWidth > 0).length,
  images: all(".jp-RenderedImage img").filter((image) => image.naturalWidth > 0).length,
};
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with settings of its own, in which the copies are trusted."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(COPIES, folder / "notebooks")
    for name, settings in SETTINGS.items():
        path = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **own, "IPYTHONDIR": str(folder / "ipython")}
    trusted = map(str, sorted((folder / "notebooks").glob("*.ipynb")))
    subprocess.run([sys.executable, "-m", "jupyter", "trust", *trusted], env=environment, check=True, capture_output=True)
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--expose-app-in-browser"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://localhost:{port}"
    try:
        wait(lambda: server.poll() is not None or answers(f"{address}/api/status"), 60)
        assert server.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        server.terminate()
        server.wait(30)


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def stop_kernels(lab):
    """End what the page started; it may still be starting, so that is tried and not insisted on."""
    for session in json.load(urllib.request.urlopen(f"{lab}/api/sessions")):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE"))


def look(browser):
    """What the notebook's panel shows, once all its Markdown is drawn and nothing moves any more."""
    wait(lambda: find(browser, ".jp-Notebook .jp-MarkdownCell.jp-mod-rendered"), 90)
    before, seen = None, browser.execute_script(SEEN)
    end = time.monotonic() + 90
    while seen != before or seen["waiting"]:
        assert time.monotonic() < end, "the notebook is not drawn"
        time.sleep(1)
        before, seen = seen, browser.execute_script(SEEN)
    return seen


def check(seen, notebook):
    """What a reader of a copy must find, from a description of what is shown and the notebook itself."""
    assert re.findall(r"\{[a-z:-]+\}|\$|:::|<!--|\\tag|\*\*", seen["prose"]) == []
    assert seen["broken"] == [] and seen["errors"] == []
    source = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert seen["formulas"] > sum(cell.count(r"\tag{") for cell in source)
    assert (seen["details"], seen["open"]) == (sum(cell.count("<details") for cell in source), 0)
    assert seen["loose"] == 0, "the mark of an answer stands above it"
    figures = [cell for cell in notebook.cells if "figure" in cell.metadata.get("mystnb", {})]
    assert seen["captions"] == len(figures) <= seen["images"]
    assert seen["pictures"] == sum(cell.count("<img ") for cell in source)
    assert seen["figures"] == seen["drawn"]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_reads_well_in_jupyterlab(lab, browser, name):
    set_width(browser, 1200)
    browser.get(f"{lab}/lab/tree/{name}.ipynb?reset")
    notebook = nbformat.read(COPIES / f"{name}.ipynb", as_version=4)
    seen = look(browser)
    check(seen, notebook)
    live = sum("_explorer(" in cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert seen["still"] == 0 or not live
    stop_kernels(lab)


@pytest.mark.skipif(not (HERE / "node_modules" / "markdown-it").is_dir(), reason="run `npm ci --prefix tests/browser`")
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_reads_well_in_visual_studio_code(name):
    run = subprocess.run(["node", HERE / "vscode.cjs", COPIES / f"{name}.ipynb"], capture_output=True, text=True, check=True)
    soup = BeautifulSoup("\n".join(json.loads(run.stdout)), "html.parser")
    assert [node.get_text() for node in soup.select(".katex-error")] == []
    text = "\n".join(cell.source for cell in nbformat.read(COPIES / f"{name}.ipynb", 4).cells if cell.cell_type == "markdown")
    assert len(soup.select("details")) == text.count("<details") and len(soup.select(".katex")) > text.count(r"\tag{")
    assert len(soup.select("blockquote > p:first-child > strong")) > 2
    assert len(soup.select(".katex .tag")) == text.count(r"\tag{")
    for node in soup.select("code, .katex"):
        node.decompose()
    assert re.findall(r"\{[a-z:-]+\}|\$|<!--|\*\*|</?\w+>", soup.get_text()) == []


def test_a_copy_runs_in_jupyterlab(lab, browser):
    if RUN not in NAMES:
        pytest.skip(f"{RUN} is not among the copies")
    set_width(browser, 1200)
    browser.get(f"{lab}/lab/tree/{RUN}.ipynb?reset")
    notebook = nbformat.read(COPIES / f"{RUN}.ipynb", as_version=4)
    look(browser)
    browser.execute_script("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    wait(lambda: not browser.execute_script(SEEN)["images"], 20)
    browser.execute_script("window.ran = 0; jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = 1 })")
    wait(lambda: browser.execute_script("return window.ran"), 300)
    check(look(browser), notebook)
    stop_kernels(lab)
