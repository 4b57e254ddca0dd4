"""The directives ``equation-code`` and ``equation-summary``: equations beside their code.

``{equation-code} eq-dgamma`` shows, in one row with the equation before it, the line under the
comment ``# [read eq-dgamma]``: the plain one, to be read. The package computes the equation under
``# [eq-dgamma]``: if it does so by other lines they are folded below, and where there is no plain
one they are what is shown. ``:shape:`` says the shape of the result. Nothing is retyped: when the
code moves or changes, so does the page; when the marker has gone, the build fails.

``{equation-summary} eq-mean eq-center`` sets equations of its page below each other, and their
lines likewise, to be copied.
"""

from __future__ import annotations

from html import escape

import marked_code
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


class equation_summary(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the equations; their lines of code stand beside it already."""


class Shows(SphinxDirective):
    """What both directives do with code."""

    def find(self, mark: str) -> tuple[str, str]:
        """Return the lines under a marker, and where they are."""
        module, first, code = marked_code.marked_lines(mark, marked_code.PACKAGE)
        return code, f"{module.relative_to(marked_code.PACKAGE).as_posix()}, line {first}"

    @staticmethod
    def block(code: str) -> nodes.literal_block:
        """Return a listing."""
        return nodes.literal_block(code, code, language="python")


class EquationCode(Shows):
    """Show the line that computes the equation before it."""

    required_arguments = 1
    option_spec = {"shape": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the line, what is to be said of it, and the package's line if that is another."""
        label = self.arguments[0]
        try:
            code, (computed, where) = marked_code.to_read(label), self.find(label)
        except ValueError as error:
            raise self.error(str(error)) from error
        facts = [f"shape {self.options['shape']}"] if "shape" in self.options else []
        if code == computed:
            facts.append(where)
        row = nodes.container("", self.block(code), classes=["equation-code"])
        if facts:
            said = " \N{MIDDLE DOT} ".join(facts)
            row += nodes.paragraph(said, said, classes=["code-facts"])
        if code != computed:
            opened = (
                '<details class="folded-code package-code"><summary>'
                f"in the package: {escape(where)}</summary>"
            )
            row += nodes.raw("", opened, format="html")
            row += [self.block(computed), nodes.raw("", "</details>", format="html")]
        return [row]


class EquationSummary(Shows):
    """Show equations and their lines together."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return a row whose equations are put in when the page has been read."""
        labels = self.arguments[0].split()
        try:
            code = "\n".join(map(marked_code.to_read, labels))
        except ValueError as error:
            raise self.error(str(error)) from error
        place = equation_summary(labels=labels)
        self.set_source_info(place)
        beside = nodes.container("", self.block(code), classes=["equation-code"])
        return [nodes.container("", place, beside, classes=["equation-row", "equation-summary"])]


def arrange(_app: Sphinx, doctree: nodes.document) -> None:
    """Put each equation and its code into one row, and the equations into the summaries."""
    blocks = {block.get("label"): block for block in doctree.findall(nodes.math_block)}
    for code in list(doctree.findall(nodes.container)):
        if "equation-code" in code["classes"] and "equation-row" not in code.parent["classes"]:
            at = code.parent.index(code)
            before = code.parent[at - 1]
            if at and isinstance(before, nodes.math_block):
                code.parent.remove(code)
                row = nodes.container(classes=["equation-row"])
                before.replace_self(row)
                row += [before, code]
    for place in list(doctree.findall(equation_summary)):
        if missing := [label for label in place["labels"] if label not in blocks]:
            logger.warning("no equation of this page is %s", ", ".join(missing), location=place)
        given = [blocks[label].astext() for label in place["labels"] if label in blocks]
        tex = r" \\ ".join(text.replace("=", "&=", 1) for text in given)  # aligned at the sign
        block = nodes.math_block(tex, tex, nowrap=False, label=None, number=None)
        block.source, block.line = place.source, place.line
        place.replace_self(block)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.add_directive("equation-code", EquationCode)
    app.add_directive("equation-summary", EquationSummary)
    app.connect("doctree-read", arrange)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
