"""The directive ``check-log``: a table of what the derivations have checked in this build.

The pages write their counts while they are executed (:mod:`bn_tutorial.lab.checks`), so the table is
made when all of them have been read. The last line also goes to the log of the build.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

HEAD = (
    "page",
    "checked with numbers",
    "largest residual",
    "by algebra",
    "by experiment",
    "broken variants caught",
)


class check_log(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the table."""


class CheckLog(SphinxDirective):
    """Leave a place for the table, and have this page written anew in every build."""

    def run(self) -> list[nodes.Node]:
        """Return the place."""
        self.env.check_log_pages = {*getattr(self.env, "check_log_pages", ()), self.env.docname}
        return [check_log()]


def counted(pages: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return what the pages have checked, in this order; those that check nothing are left out."""
    paths = (folder / f"{Path(page).name}.json" for page in pages)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def rows(counts: list[dict[str, Any]], titles: dict[str, str]) -> list[tuple[str, ...]]:
    """Return the table's rows as text, the sums last."""
    summed = ("numeric", "symbolic", "statistical", "caught")
    total = {name: sum(count[name] for count in counts) for name in summed}
    total |= {"page": "", "largest": max((count["largest"] for count in counts), default=0.0)}
    order = ("numeric", "largest", "symbolic", "statistical", "caught")
    return [
        (titles.get(c["page"], "all"), *(f"{c[n]:.1e}" if n == "largest" else str(c[n])
                                         for n in order))
        for c in [*counts, total]
    ]  # fmt: skip


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the table in its place."""
    for place in doctree.findall(check_log):
        order = list(app.env.toctree_includes.get(docname, []))
        titles = {Path(page).name: app.env.titles[page].astext() for page in order}
        table = rows(counted(order, Path(os.environ["BN_TUTORIAL_CHECKS"])), titles)
        place.replace_self(_table(table))


def _table(body: list[tuple[str, ...]]) -> nodes.table:
    def row(cells: tuple[str, ...]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))

    group = nodes.tgroup(cols=len(HEAD))
    group += [nodes.colspec(colwidth=1) for _ in HEAD]
    group += nodes.thead("", row(HEAD))
    group += nodes.tbody("", *map(row, body))
    return nodes.table("", group)


def write_again(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Name the pages that hold the table; say the sums."""
    pages = sorted(getattr(env, "check_log_pages", ()))
    for page in pages:
        counts = counted(env.toctree_includes.get(page, []), Path(os.environ["BN_TUTORIAL_CHECKS"]))
        if counts:
            logger.info(
                "Derivations: %s identities checked with numbers (largest residual %s), %s by "
                "algebra, %s by experiment; %s broken variants caught.", *rows(counts, {})[-1][1:]
            )  # fmt: skip
    return pages


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.add_node(check_log)
    app.add_directive("check-log", CheckLog)
    app.connect("env-updated", write_again)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
