"""The directives `workbook` (the box at a chapter's end) and `workbooks` (the list of all), made from the files in book/workbooks/.

Links to Colab and Binder are built from the repository's address in _config.yml, which the theme's launch buttons use too.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).parents[1] / "workbooks"


def describe(path):
    """Title, minutes and purpose of a workbook, as its notebook says."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    heading = "".join(notebook["cells"][0]["source"]).partition("\n")[0]
    return {
        "title": heading.removeprefix("# "),
        **notebook["metadata"]["workbook"],
    }


def links(name, theme_options):
    """Markdown links to get one workbook: a download, and where the repository's address is known, Colab and Binder."""
    found = [f"{{download}}`download </book/workbooks/{name}.ipynb>`"]
    address = theme_options.get("repository_url", "")
    repository = re.fullmatch(
        r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address
    )
    if repository:
        branch = theme_options.get("repository_branch") or "main"
        services = theme_options.get("launch_buttons", {})
        file = f"book/workbooks/{name}.ipynb"
        if colab := services.get("colab_url"):
            found.append(
                f"[open in Colab]({colab}/github/{repository[1]}/blob/{branch}/{file})"
            )
        if binder := services.get("binderhub_url"):
            found.append(
                f"[open in Binder]({binder}/v2/gh/{repository[1]}/{branch}?urlpath=lab/tree/{file})"
            )
    return found


class Markdown(SphinxDirective):
    """A directive that writes Markdown and has it read like the rest of the page."""

    def render(self, text):
        container = nodes.container()
        self.state.nested_parse(
            StringList(text.splitlines(), self.get_source_info()[0]),
            self.content_offset,
            container,
        )
        return container.children

    def entry(self, path):
        self.env.note_dependency(str(path))
        about = describe(path)
        get = links(path.stem, self.config.html_theme_options)
        return (
            f"{about['builds']} About {about['minutes']} minutes: {', '.join(get)}.",
            about["title"],
        )


class Workbook(Markdown):
    """The box at the end of a chapter: `{workbook} 02_kl`."""

    required_arguments = 1

    def run(self):
        path = FOLDER / f"{self.arguments[0]}.ipynb"
        if not path.exists():
            raise self.error(f"there is no workbook {path.name}")
        text, _ = self.entry(path)
        return self.render(
            f":::{{admonition}} Workbook of this chapter\n:class: seealso\n{text} {{doc}}`All workbooks </book/workbooks>`.\n:::"
        )


class Workbooks(Markdown):
    """The list of all workbooks there are."""

    def run(self):
        self.env.note_dependency(str(FOLDER))
        lines = []
        for path in sorted(FOLDER.glob("*.ipynb")):
            text, title = self.entry(path)
            lines += [f"**{title}**", f": {text}", ""]
        if len(links("any", self.config.html_theme_options)) == 1:
            lines += [
                "Only downloads are listed: `_config.yml` names no GitHub repository that Colab or Binder could open."
            ]
        return self.render("\n".join(lines))


def setup(app):
    app.add_directive("workbook", Workbook)
    app.add_directive("workbooks", Workbooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
