"""Fold the cells of a gallery script that draw or keep books: they teach nothing.

A cell whose first line is the comment ``# fold: draw the figure`` is shown closed, under these
words. Its output, and its figure, stay in sight.
"""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx

MARK = re.compile(r" *# fold: (.+)\n")  # sphinx-gallery indents what has numbered lines


def fold(app: Sphinx, doctree: nodes.document) -> None:
    """Put the marked cells of a page of the gallery into boxes that open."""
    if not app.env.docname.startswith("gallery/"):
        return
    for block in list(doctree.findall(nodes.literal_block)):
        marked = MARK.match(block.astext())
        if marked and block.get("language", "").lower() == "python":  # output has none
            # Sphinx colours a block only if its source is its text.
            block.rawsource = block.astext()[marked.end() :]
            block[:] = [nodes.Text(block.rawsource)]
            numbers = block.get("highlight_args", {})
            if "linenostart" in numbers:
                block["highlight_args"] = {**numbers, "linenostart": numbers["linenostart"] + 1}
            opened = f'<details class="folded-code"><summary>{escape(marked[1])}</summary>'
            closed = nodes.raw("", "</details>", format="html")
            block.replace_self([nodes.raw("", opened, format="html"), block, closed])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
