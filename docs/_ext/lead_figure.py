"""The directive ``lead-figure``: a page of the gallery opens with a figure that it draws below.

``.. lead-figure::`` in a script's docstring is where the figure stands that the script makes with
``new_figure(..., lead=True)``: it is moved there from below the code that draws it. A page has one
of each, or neither.
"""

from __future__ import annotations

from docutils import nodes
from evidence_roles import gap, only_one_page
from gallery_figures import LEAD
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


class lead_figure(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place for it."""


class LeadFigure(SphinxDirective):
    """Keep the place."""

    def run(self) -> list[nodes.Node]:
        """Return the place, which knows its line."""
        place = lead_figure()
        self.set_source_info(place)
        return [place]


def move(app: Sphinx, doctree: nodes.document) -> None:
    """Put the images of the figure into its place."""
    places = list(doctree.findall(lead_figure))
    images = [image for image in doctree.findall(nodes.image) if LEAD in image["classes"]]
    figures = len(images) // 4  # light and dark, wide and narrow
    missing = places and not images and only_one_page()  # another page's script has not run
    if not missing and (len(places) != figures or figures > 1):
        logger.warning(
            "lead-figure: expected one directive and one figure with lead=True, got %d and %d",
            len(places),
            figures,
            location=places[0] if places else app.env.docname,
        )
    for image in images:
        image.parent.remove(image)
    for place in places:  # of several, the first has the figure
        shown = nodes.container("", *images, classes=["lead-figure"])
        place.replace_self(nodes.paragraph("", "", gap("the figure")) if missing else shown)
        images = []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.add_directive("lead-figure", LeadFigure)
    app.connect("doctree-read", move)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
