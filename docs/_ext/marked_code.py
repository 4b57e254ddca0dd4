"""The lines of the package that stand under a marker: ``# [eq-dgamma]``, ``# [read eq-dgamma]``.

Without Sphinx, for the tests in a browser ask for them, too.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "bn_tutorial"


def marked_lines(mark: str, package: Path) -> tuple[Path, int, str]:
    """Find the statements under a marker: their module, the first line's number, their text.

    They end at a blank line, a comment, or a return.
    """
    for module in sorted(package.rglob("*.py")):
        source = module.read_text(encoding="utf-8")
        if found := re.search(rf"^ *# \[{re.escape(mark)}\]$", source, re.MULTILINE):
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
    raise ValueError(f"no line of the package is marked # [{mark}]")


def to_read(label: str) -> str:
    """Return the plain line of an equation, or the package's where there is no other."""
    try:
        return marked_lines(f"read {label}", PACKAGE)[2]
    except ValueError:
        return marked_lines(label, PACKAGE)[2]
