"""The directive `figures`: a list of all figures of the book with number, caption and link, made from the pages when they are written."""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

PAGE = "book/figures"
# What only a live figure's output holds: the class of a LiveFigure, the note under a KernelFigure.
LIVE = ('class="tvae-explorer"', "need a running kernel")


class list_of_figures(nodes.General, nodes.Element):
    """Where the list goes. It is filled in when every page has been read and every figure has its number."""


class Figures(SphinxDirective):
    def run(self):
        return [list_of_figures()]


def place_of(node):
    """The section in which a node stands."""
    while not isinstance(node, nodes.section):
        node = node.parent
    return node


class FillList(SphinxPostTransform):
    """Puts the figures of all pages, in the book's order, where the directive stands."""

    # Before references are resolved, so that a caption may hold one.
    default_priority = 5

    def run(self, **kwargs):
        for place in list(self.document.findall(list_of_figures)):
            pages = self.env.collect_relations()  # in the book's order
            place.replace_self(
                [node for page in pages for node in self.figures_of(page)]
            )

    def figures_of(self, page):
        """A heading and a list, or nothing for a page without figures."""
        entries = nodes.bullet_list(classes=["figures"])
        for node in self.env.get_doctree(page).findall():
            entry = []
            if isinstance(node, nodes.figure):
                entry = self.still(page, node)
            elif isinstance(node, nodes.raw):
                entry = self.live(page, node)
            if entry:
                entries += nodes.list_item("", nodes.paragraph("", "", *entry))
        if not entries.children:
            return []
        number = self.env.toc_secnumbers.get(page, {}).get("")
        title = (f"{number[0]}. " if number else "") + self.env.titles[
            page
        ].astext()
        return [
            nodes.rubric("", "", self.link(page, "", nodes.Text(title))),
            entries,
        ]

    def still(self, page, figure):
        """Number and caption of a figure, or nothing if it has no number."""
        numbers = self.env.toc_fignumbers.get(page, {}).get("figure", {})
        number = next(
            (numbers[name] for name in figure["ids"] if name in numbers), None
        )
        if not number:
            return []
        label = self.config.numfig_format["figure"] % ".".join(map(str, number))
        caption = next(figure.findall(nodes.caption)).deepcopy().children
        return [
            self.link(page, figure["ids"][0], nodes.Text(label)),
            nodes.Text(": "),
            *caption,
        ]

    def live(self, page, output):
        """The section in which a live figure stands; it has neither number nor caption."""
        if not any(mark in output.astext() for mark in LIVE):
            return []
        section = place_of(output)
        title = section.next_node(nodes.title).astext()
        return [
            nodes.Text("Live figure, in "),
            self.link(page, section["ids"][0], nodes.Text(title)),
        ]

    def link(self, page, anchor, text):
        return make_refnode(
            self.app.builder, self.env.docname, page, anchor, text
        )


def write_again(app, env):
    """The list depends on every page, so its page is written in every build that has it."""
    return [PAGE] if PAGE in env.found_docs else []


def setup(app):
    app.add_node(list_of_figures)
    app.add_directive("figures", Figures)
    app.add_post_transform(FillList)
    app.connect("env-updated", write_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
