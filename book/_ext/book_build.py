"""What the book asks of Sphinx beyond its configuration: mathematics without a network, and no stale results."""

import hashlib
import os
import re
import shutil
from importlib.metadata import files
from pathlib import Path

from sphinx.search import languages
from sphinx.search.en import SearchEnglish

ROOT = Path(__file__).parents[2]
# Folders of results/ that git ignores, and the answer checks, which no page runs.
IGNORED = {"work", "quick", "checks"}


def copy_mathjax(app):
    """Put MathJax and its fonts (2 MB of the package's 24) where `mathjax_path` looks for them."""
    if app.builder.format != "html":
        return
    for file in files("sphinx-mathjax-offline"):
        if file.name == "tex-chtml-full.js" or file.suffix == ".woff":
            below = file.as_posix().partition("/static/mathjax/")[2]
            target = Path(app.outdir, "_static", "mathjax", below)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)


def fingerprint():
    """A hash over everything the notebooks read besides their own text: the library and the stored results."""
    digest = hashlib.sha256()
    for path in sorted(
        [*ROOT.glob("tvae_lib/**/*"), *ROOT.glob("results/**/*")]
    ):
        if (
            path.is_file()
            and path.suffix != ".pyc"
            and not IGNORED & set(path.relative_to(ROOT).parts)
        ):
            digest.update(
                path.relative_to(ROOT).as_posix().encode() + path.read_bytes()
            )
    return digest.hexdigest()


def fresh_cache(cache):
    """Empty the notebook cache if the library or the results changed, and return their fingerprint.

    The cache looks at the notebook's text only, and would keep outputs that the library no longer produces.
    """
    now = fingerprint()
    stamp = cache / "library.sha256"
    if not stamp.exists() or stamp.read_text() != now:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        stamp.write_text(now)
    return now


def run_again_after_changes(app, env, added, changed, removed):
    """Read every page again when the library or the results changed."""
    now = fresh_cache(Path(app.outdir).parent / ".jupyter_cache")
    if getattr(env, "library_fingerprint", None) == now:
        return []
    env.library_fingerprint = now
    return sorted(env.found_docs)


def keep_bars(app, what, name, obj, options, lines):
    """Docstrings are plain text first: |mu| there is an absolute value, not a substitution of reStructuredText."""
    lines[:] = [re.sub(r"\|(\w+)\|", r"\\|\1\\|", line) for line in lines]


def drop_scripts(app, page, template, context, doctree):
    """Take out sphinx-thebe, which nothing here uses and which logs an error on every page, and the state of ipywidgets.

    A page has no kernel that could use that state; it shows the still picture that a KernelFigure brings.
    """
    scripts = context.get("script_files", [])
    scripts[:] = [
        file
        for file in scripts
        if "thebe"
        not in f"{file.filename} {file.attributes.get('body')}".lower()
        and "widget-state" not in file.attributes.get("type", "")
    ]


# HTML of the page, and what is better.
BETTER = {
    # MyST-NB: every fold was called by this, not by the text that it shows ("Show code cell source").
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # docutils: role="list" around the bibliography allows only list items; ARIA gave doc-biblioentry up for them.
    'role="doc-biblioentry"': 'role="listitem"',
    # The fold over a cell's code becomes a small mark (book.css); one with words of its own, such as "Show the solution", stays a bar.
    '<details class="admonition hide above-input">\n<summary>\n<p class="collapsed admonition-title">Show the code</p>': (
        '<details class="admonition hide above-input quiet">\n<summary>\n<p class="collapsed admonition-title">Show the code</p>'
    ),
}


def mend_html(app, page, template, context, doctree):
    body = context.get("body", "")
    for wrong, right in BETTER.items():
        body = body.replace(wrong, right)
    # A number stays on one line with its sign; its key (tools/numbers_in_text.py) may stand between the two.
    context["body"] = re.sub(r"(\d(?:<!--[^>]*-->)?) %", "\\1\u00a0%", body)


# The search sees no difference between two spellings: -ize is read as -ise, in the pages and in what is asked.
IZE = r"\b(\w{3,}[iy])z(e|ed|es|er|ers|ing|ation|ations)\b"


class SearchBothSpellings(SearchEnglish):
    js_stemmer_code = (
        SearchEnglish.js_stemmer_code
        + f"""
if (typeof Search !== "undefined") {{
  const query = Search.query;
  Search.query = (words) => query(words.replace(/{IZE}/gi, "$1s$2"));
}}
"""
    )

    def stem(self, word):
        return super().stem(re.sub(IZE, r"\1s\2", word, flags=re.I))


def setup(app):
    languages["en"] = SearchBothSpellings
    # The kernel "python3" is this Python, whatever is installed elsewhere under that name.
    os.environ.pop("JUPYTER_PATH", None)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    app.connect("builder-inited", copy_mathjax)
    app.connect("env-get-outdated", run_again_after_changes)
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("html-page-context", drop_scripts, priority=900)
    app.connect("html-page-context", mend_html)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
