"""Plain copies: after a build, every chapter once more as a notebook that reads well wherever a notebook is opened.

JupyterLab, Colab, GitHub and VS Code know neither roles nor directives nor captions. In a copy these are ordinary Markdown:
references and citations are words with links into the built book, equations have their numbers, boxes are quotations with a bold
title, solutions are folded in <details>, captions stand under their figures. Code cells stay as they are, with the outputs of the
build; in front of the first stands one that fetches the library where it is missing.

The copies go to `notebooks` beside the HTML, and take the place of the sources that the page's download button hands out.
"""

import base64
import contextlib
import html
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from sphinx.addnodes import pending_xref
from sphinx.util import logging

from workbooks import FOLDER, describe, links

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from make_workbooks import COLAB

log = logging.getLogger(__name__)

ROLE = re.compile(r"\{(?P<role>[a-z]+(?::[a-z]+)?)\}`(?P<text>[^`]+)`")
DOMAINS = {
    "doc": "std",
    "eq": "math",
    "numref": "std",
    "ref": "std",
    "term": "std",
}
EQUATION = re.compile(
    r"\$\$(?P<body>[^$]+)\$\$ *\((?P<label>[\w-]+)\)", flags=re.S
)
KEY = re.compile(r"<!--\w[\w.+-]*(?: ~[\d.]+%?)?-->")
TARGET = re.compile(r"^\([\w-]+\)=\n", flags=re.M)
FENCE = re.compile(r"(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)")
DIRECTIVE = re.compile(r"\{(?P<name>[\w-]+)\} *(?P<argument>.*)")
BOXES = {"admonition", "hint", "important", "note", "tip", "warning"}
# By themselves these touch what follows in JupyterLab, and the mark of an answer stands on a line above it.
FOLD = '<details style="margin-bottom: 1em">'
HANGING = '<summary style="list-style-position: outside; margin-left: 1em">'
WIDGET = "application/vnd.jupyter.widget-view+json"


def parts(text):
    """The pieces of a Markdown text: strings of prose and code, and directives as tuples of name, argument, options and body."""
    lines, prose = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        fence = FENCE.match(line)
        if not fence:
            prose.append(line)
            continue
        inside = []
        while lines and not re.fullmatch(
            re.escape(fence["fence"]) + f"{fence['fence'][0]}* *", lines[0]
        ):
            inside.append(lines.pop(0))
        closing = lines.pop(0) if lines else ""
        directive = DIRECTIVE.fullmatch(fence["info"].strip())
        if prose:
            yield "\n".join(prose)
            prose = []
        if directive:
            options = {}
            while inside and (
                option := re.fullmatch(r":([\w-]+): *(.*)", inside[0])
            ):
                options[option[1]] = option[2]
                inside.pop(0)
            body = "\n".join(inside).strip("\n")
            yield directive["name"], directive["argument"], options, body
        else:
            yield ["\n".join([line, *inside, closing])]
    if prose:
        yield "\n".join(prose)


def on_one_line(text):
    """The text with every formula on a line of its own or in the course of one: JupyterLab would take the > of a quotation into it."""
    return re.sub(
        r"\$\$.+?\$\$|\$[^$\n]+\n?[^$\n]*\$",
        lambda formula: " ".join(formula[0].split()),
        text,
        flags=re.S,
    )


def quotation(title, text):
    lines = [f"**{title}**", "", *on_one_line(text).split("\n")]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def folded(title, text):
    head = f"{FOLD}\n<summary><b>{title}</b></summary>"
    return f"{head}\n\n{text}\n\n</details>"


class Plain:
    """Makes the Markdown of one page plain."""

    def __init__(self, app, page):
        self.app, self.env, self.page = app, app.env, page
        self.here = urljoin(
            app.config.plain_copies_base, app.builder.get_target_uri(page)
        )

    def markdown(self, text):
        """Markdown without roles, directives and labels."""
        return "\n".join(self.part(part) for part in parts(text))

    def part(self, part):
        if isinstance(part, str):
            return self.prose(part)
        return part[0] if isinstance(part, list) else self.directive(*part)

    def prose(self, text):
        text = KEY.sub("", TARGET.sub("", text))
        text = EQUATION.sub(self.equation, text)
        text = text.replace("<summary>\n\n", f"{HANGING}\n\n")
        return ROLE.sub(self.role, text)

    def equation(self, equation):
        number = self.reference("eq", equation["label"]).strip("()")
        return f"$${equation['body'].rstrip()}\n\\tag{{{number}}}\n$$"

    def role(self, role):
        if role["role"] == "math":
            return f"${role['text']}$"
        return self.reference(role["role"], role["text"]) or role[0]

    def reference(self, role, text):
        """What a reference says, with a link where it leads to another page; None if nothing of that name is known."""
        explicit = re.fullmatch(r"(.+?)\s*<(.+)>", text, flags=re.S)
        words, target = explicit.groups() if explicit else (text, text)
        domain, kind = DOMAINS.get(role), role
        if role.startswith("cite:"):
            domain, kind = role.split(":")
        if domain is None:
            log.warning("plain copy of %s: no plain %s", self.page, role)
            return None
        if kind in {"ref", "term"}:
            target = " ".join(target.split()).lower()
        exercises = getattr(self.env, "sphinx_exercise_registry", {})
        if kind == "ref" and not explicit and target in exercises:
            kind = "numref"  # as sphinx-exercise does
        cross = pending_xref(
            "",
            nodes.inline("", words),
            refdoc=self.page,
            refdomain=domain,
            reftype=kind,
            reftarget=target,
            refexplicit=bool(explicit),
        )
        found = self.env.get_domain(domain).resolve_xref(
            self.env,
            self.page,
            self.app.builder,
            kind,
            target,
            cross,
            nodes.inline("", words),
        )
        return words if found is None else self.plain(found)

    def plain(self, node):
        """The Markdown of a resolved reference."""
        if isinstance(node, nodes.Text):
            return node.astext()
        inside = "".join(self.plain(child) for child in node.children)
        if not isinstance(node, nodes.reference):
            return inside
        address = node.get("refuri", "")
        if not urlsplit(address).path and not urlsplit(address).netloc:
            return inside
        return f"[{inside}]({urljoin(self.here, address)})"

    def directive(self, name, argument, options, body):
        if name in BOXES:
            title = self.prose(argument) or name.capitalize()
            box = folded if options.get("class") == "dropdown" else quotation
            return box(title, self.markdown(body))
        if name == "exercise":
            title = f"{self.exercise(options.get('label', ''))} {argument}"
            return quotation(title.rstrip(), self.markdown(body))
        if name == "solution":
            title = f"Solution of {self.exercise(argument)}"
            return folded(title, self.markdown(body))
        if name == "workbook":
            return quotation(
                "Workbook of this chapter", self.workbook(argument)
            )
        if name == "figure":
            return self.figure(argument, options, body)
        log.warning("plain copy of %s: no plain {%s}", self.page, name)
        return body

    def figure(self, address, options, caption):
        """A picture, put into the text itself so that it needs no file beside the notebook, and its caption."""
        path = Path(self.env.doc2path(self.page)).parent / address
        kind = {"svg": "svg+xml", "jpg": "jpeg"}.get(
            path.suffix[1:], path.suffix[1:]
        )
        data = base64.b64encode(path.read_bytes()).decode()
        label = self.reference("numref", options["name"])
        alt = html.escape(options.get("alt", ""))
        # As HTML: VS Code takes no SVG from Markdown's own pictures.
        picture = f'<img alt="{alt}" src="data:image/{kind};base64,{data}">'
        return f"{picture}\n\n**{label}** {self.markdown(caption)}"

    def exercise(self, label):
        numbers = self.env.toc_fignumbers.get(self.page, {})
        number = numbers.get("exercise", {}).get(label, ())
        return " ".join(["Exercise", ".".join(map(str, number))]).rstrip()

    def workbook(self, name):
        about = describe(FOLDER / f"{name}.ipynb")
        every = self.role(
            re.match(ROLE, "{doc}`All workbooks </book/workbooks>`")
        )
        _, *services = links(name, self.app.config.html_theme_options)
        sentence = f"About {about['minutes']} minutes"
        sentence += f": {', '.join(services)}." if services else "."
        return f"{about['builds']} {sentence} {every}."


def outputs(cell):
    """What a code cell shows in the copy: no keys, no messages on stderr, no view of a widget whose kernel is gone."""
    kept = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output.get("name") == "stderr" or any(
            mime.startswith("application/papermill") for mime in data
        ):
            continue
        data.pop(WIDGET, None)
        output.pop("transient", None)
        kept.append(output)
    return kept


def copy_of(app, page):
    """The plain copy of a chapter, a notebook."""
    source = nbformat.read(app.env.doc2path(page), as_version=4)
    cache = get_cache(Path(app.outdir).parent / ".jupyter_cache")
    with contextlib.suppress(
        KeyError
    ):  # a page that failed is not in the cache
        _, source = cache.merge_match_into_notebook(source)
    plain, cells = Plain(app, page), []
    address = app.config.html_theme_options.get("repository_url")
    for cell in source.cells:
        if cell.cell_type == "markdown":
            cell.source = plain.markdown(cell.source)
            cells.append(cell)
            continue
        if address:
            cells.append(fetch_library(address))
            address = None
        cell.outputs = outputs(cell)
        cells.append(cell)
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            label = plain.reference("numref", figure["name"])
            caption = plain.markdown(figure.get("caption", ""))
            cells.append(
                nbformat.v4.new_markdown_cell(
                    f"**{label}** {caption}",
                    id=f"caption-{figure['name']}"[:64],
                )
            )
    source.cells = cells
    source.metadata.pop("widgets", None)
    return source


def fetch_library(address):
    """The cell that Colab needs, folded away."""
    cell = nbformat.v4.new_code_cell(
        COLAB.format(address=address, packages="myst-nb safetensors").rstrip(),
        id="fetch-the-library",
    )
    cell.metadata = nbformat.from_dict({"jupyter": {"source_hidden": True}})
    return cell


def chapters(env):
    return [
        page
        for page in sorted(env.found_docs)
        if env.doc2path(page).endswith(".ipynb")
    ]


def write_copies(app, exception):
    if exception or app.builder.name != "html":
        return
    folder = Path(app.outdir).parent / "notebooks"
    folder.mkdir(exist_ok=True)
    for page in chapters(app.env):
        path = folder / f"{Path(page).name}.ipynb"
        nbformat.write(copy_of(app, page), path)
        handed_out = Path(app.outdir, "_sources", f"{page}.ipynb")
        if handed_out.exists():
            shutil.copy(path, handed_out)


def open_copies(app, page, template, context, doctree):
    """Let a chapter's buttons for Colab and Binder open the copy, from the branch on which the workflow publishes them."""
    name = Path(page).name
    branch = app.config.html_theme_options.get("repository_branch") or "main"
    for group in context.get("header_buttons", []):
        if group.get("label") != "launch-buttons":
            continue
        for button in group["buttons"]:
            for wrong, right in {
                f"/blob/{branch}/{page}.": f"/blob/notebooks/notebooks/{name}.",
                f"/{branch}?urlpath=lab/tree/{page}.": f"/notebooks?urlpath=lab/tree/notebooks/{name}.",
            }.items():
                button["url"] = button.get("url", "").replace(wrong, right)


def setup(app):
    app.add_config_value("plain_copies_base", "", "html")
    app.connect("html-page-context", open_copies, priority=900)
    app.connect("build-finished", write_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
