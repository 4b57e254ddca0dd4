"""The directive ``lead-figure``: a page of the gallery opens with a figure that it draws below.

``.. lead-figure::`` in a script's docstring shows the figure that the script makes with
``new_figure(..., lead=True)``. The scraper of the figures has written its images before Sphinx
reads the page.
"""

from __future__ import annotations

import os
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from gallery_figures import LEAD
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class LeadFigure(SphinxDirective):
    """Show the figure of this page that is its answer."""

    def run(self) -> list[nodes.Node]:
        """Return the images, light and dark."""
        parts = Path(self.env.docname).parts
        if len(parts) != 3 or parts[0] != "gallery":
            raise self.error("lead-figure: only a page of the gallery has a lead figure")
        written = Path(self.env.srcdir, LEAD.format(page=parts[1], name=parts[2]))
        self.env.note_dependency(str(written))
        if not written.is_file():
            if os.environ.get("BN_TUTORIAL_ONLY"):
                return [nodes.strong("", "[not drawn]", classes=["not-measured"])]
            raise self.error(f"lead-figure: {self.env.docname} makes no figure with lead=True")
        lines = written.read_text(encoding="utf-8").splitlines()
        return self.parse_content_to_nodes_from(lines, str(written))

    def parse_content_to_nodes_from(self, lines: list[str], source: str) -> list[nodes.Node]:
        """Parse lines that are not the directive's own."""
        box = nodes.container(classes=["lead-figure"])
        self.state.nested_parse(StringList(lines, source), self.content_offset, box)
        return [box]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("lead-figure", LeadFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
