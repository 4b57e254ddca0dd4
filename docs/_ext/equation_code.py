"""The directive ``equation-code``: the lines of the package that compute an equation.

``{equation-code} eq-dgamma`` shows what stands under the comment ``# [eq-dgamma]``, with its line
numbers, its module, and with ``:shape:`` the shape of the result. Nothing is retyped: when the
code moves or changes, so does the page; when the marker has gone, the build fails.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.code import container_wrapper
from sphinx.util.docutils import SphinxDirective

PACKAGE = Path(__file__).parents[2] / "bn_tutorial"


def marked_lines(label: str, package: Path) -> tuple[Path, int, str]:
    """Find the statements under a marker: their module, the first line's number, their text.

    They end at a blank line, a comment, or a return.
    """
    for module in sorted(package.rglob("*.py")):
        source = module.read_text(encoding="utf-8")
        if found := re.search(rf"^ *# \[{re.escape(label)}\]$", source, re.MULTILINE):
            first = source.count("\n", 0, found.start()) + 2
            last = first - 1
            statements = (
                node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)
            )
            for node in sorted(statements, key=lambda node: node.lineno):
                if node.lineno == last + 1 and not isinstance(node, ast.Return):
                    last = node.end_lineno or node.lineno
            lines = source.splitlines()[first - 1 : last]
            return module, first, textwrap.dedent("\n".join(lines))
    raise ValueError(f"no line of the package is marked # [{label}]")


class EquationCode(SphinxDirective):
    """Show the marked line as a numbered code block."""

    required_arguments = 1
    option_spec = {"shape": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the code block with its caption."""
        try:
            module, first, code = marked_lines(self.arguments[0], PACKAGE)
        except ValueError as error:
            raise self.error(str(error)) from error
        self.env.note_dependency(str(module))
        block = nodes.literal_block(code, code, language="python", linenos=True)
        block["highlight_args"] = {"linenostart": first}
        caption = f"``{module.relative_to(PACKAGE.parent).as_posix()}``"
        if "shape" in self.options:
            caption += f", shape {self.options['shape']}"
        return [container_wrapper(self, block, caption)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("equation-code", EquationCode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
