"""Fold the cells of a gallery script that draw or keep books: they teach nothing.

A cell whose first line is the comment ``# fold: draw the figure`` is shown closed, under these
words. Its output, and its figure, stay in sight.
"""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx

MARK = re.compile(r"# fold: (.+)\n")


def fold(app: Sphinx, doctree: nodes.document) -> None:
    """Put the marked cells of a page of the gallery into boxes that open."""
    if not app.env.docname.startswith("gallery/"):
        return
    for block in list(doctree.findall(nodes.literal_block)):
        if found := MARK.match(block.astext()):
            text = block.astext()[found.end() :]
            bare = nodes.literal_block(text, text, **block.attributes)
            summary = f'<details class="folded-code"><summary>{escape(found[1])}</summary>'
            block.replace_self(
                [
                    nodes.raw("", summary, format="html"),
                    bare,
                    nodes.raw("", "</details>", format="html"),
                ]
            )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
