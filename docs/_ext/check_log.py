"""The directive ``check-log``: a table of what the derivations have checked in this build.

The pages write their counts while they are executed (:mod:`bn_tutorial.lab.checks`), so the table
is made when all of them have been read. The last line also goes to the log of the build. A page
that makes checks and whose counts are not there is a warning: the sums would be too small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import executed_pages
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

SUMMED = ("numeric", "symbolic", "statistical", "caught")

Counts = dict[str, Any]


class check_log(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the table."""


class CheckLog(SphinxDirective):
    """Leave a place for the table, and remember the page."""

    def run(self) -> list[nodes.Node]:
        """Return the place."""
        self.env.check_log_pages = {*getattr(self.env, "check_log_pages", ()), self.env.docname}
        return [check_log()]


def file_of(page: str, app: Sphinx) -> Path | None:
    """Return the file of a page's counts, or nothing if the page makes no checks."""
    text = Path(app.env.doc2path(page)).read_text(encoding="utf-8")
    return executed_pages.checks_of(text, app)


def read(path: Path) -> Counts | None:
    """Return what a page has counted, or nothing if that is missing or damaged."""
    try:
        counts: Counts = json.loads(path.read_text(encoding="utf-8"))
        return counts if counts.keys() >= {*SUMMED, "largest"} else None
    except (OSError, ValueError, AttributeError):
        return None


def counted(pages: list[str], app: Sphinx) -> dict[str, Counts]:
    """Return what each page has checked, in this order; those that check nothing are left out."""
    files = {page: file_of(page, app) for page in pages}
    return {page: found for page, path in files.items() if path and (found := read(path))}


def rows(counts: dict[str, Counts], titles: dict[str, nodes.title]) -> list[tuple[str, ...]]:
    """Return the table's rows as text, the sums last."""
    total: Counts = {name: sum(count[name] for count in counts.values()) for name in SUMMED}
    total["largest"] = max((count["largest"] for count in counts.values()), default=0.0)
    order = ("numeric", "largest", "symbolic", "statistical", "caught")
    named = [(titles[page].astext(), count) for page, count in counts.items()]
    return [
        (title, *(f"{count[n]:.1e}" if n == "largest" else str(count[n]) for n in order))
        for title, count in [*named, ("all", total)]
    ]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the table in its place."""
    for place in doctree.findall(check_log):
        counts = counted(app.env.toctree_includes.get(docname, []), app)
        place.replace_self(_table(rows(counts, app.env.titles)))


def _table(body: list[tuple[str, ...]]) -> nodes.table:
    def row(cells: tuple[str, ...]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))

    group = nodes.tgroup(cols=len(HEAD))
    group += [nodes.colspec(colwidth=1) for _ in HEAD]
    group += nodes.thead("", row(HEAD))
    group += nodes.tbody("", *map(row, body))
    return nodes.table("", group)


def report(app: Sphinx, env: BuildEnvironment) -> None:
    """Say the sums in the log of the build, and which page is not among them."""
    for table in sorted(getattr(env, "check_log_pages", ())):
        pages = env.toctree_includes.get(table, [])
        counts = counted(pages, app)
        for page in pages:
            if page not in counts and (path := file_of(page, app)):
                logger.warning("its counts are not in %s: was it executed?", path, location=page)
        if counts:
            logger.info(
                "Derivations: %s identities checked with numbers (largest residual %s), %s by "
                "algebra, %s by experiment; %s broken variants caught.",
                *rows(counts, env.titles)[-1][1:],
            )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.setup_extension("executed_pages")
    app.add_node(check_log)
    app.add_directive("check-log", CheckLog)
    app.connect("env-updated", report)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
