"""Every comparison of the site: a table, the numbers seed by seed, and how the build agrees.

``{comparisons}`` shows all effects of this build: estimate, what matters, verdict, the verdict that
is left after Holm's correction for all of them, how long was trained, and the verdict on record.
The record of a data set, ``docs/record/<name>.json``, is written by ``nox -s record`` from a whole
build. Every build ends by saying how many of its verdicts are those on record.
"""

from __future__ import annotations

import csv
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gallery_state
from docutils import nodes
from evidence_roles import facts, measured, saved_pages
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from bn_tutorial.lab import evidence
from bn_tutorial.lab.effects import VERDICTS, Effect, holm
from bn_tutorial.lab.evidence import Agreement, Record

logger = logging.getLogger(__name__)

COLUMNS = ("comparison", "estimate", "matters from", "verdict", "with all counted", "trained for")
SEEDS = "seed-by-seed.csv"  # beside the page of comparisons


class Comparisons(SphinxDirective):
    """Show the table, by page."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence and the table; read again whenever any evidence changes."""
        docs = Path(self.env.srcdir)
        for page in gallery_state.scripts_in(docs.parent / "tutorial_src"):
            self.env.note_dependency(str(evidence.path_of(page)))
        pages = {page: saved.effects for page, saved in saved_pages(docs).items() if saved.effects}
        everything = [effect for effects in pages.values() for effect in effects.values()]
        adjusted = dict(zip(map(id, everything), holm(everything), strict=True))
        decided = [effect for effect in everything if effect.verdict != "undecided"]
        left = sum(adjusted[id(effect)] < 1 - effect.confidence for effect in decided)
        text = (
            f"This build made {len(everything)} comparisons. {len(decided)} of them have a verdict "
            f"other than undecided; {left} keep it when all are counted (Holm's correction)."
        )
        return [nodes.paragraph("", text), self.table(pages, adjusted)]

    def table(self, pages: dict[str, dict[str, Effect]], adjusted: dict[int, float]) -> nodes.Node:
        """Return the table of all effects."""
        rows: list[list[nodes.Node]] = []
        for page, effects in pages.items():
            for effect in effects.values():
                kept = adjusted[id(effect)] < 1 - effect.confidence
                after = "the same" if kept or effect.verdict == "undecided" else "undecided"
                verdict = VERDICTS[effect.verdict]
                look = f"verdict verdict-{effect.verdict.replace(' ', '-')}"
                told = f"{verdict.meaning} {facts(effect)}"
                rows.append(
                    [
                        measured("", effect.name, page=page, facts=facts(effect), look="effect"),
                        nodes.Text(f"{effect.estimate()} {effect.unit}"),
                        nodes.Text(f"{effect.smallest:g}" if effect.smallest else "any"),
                        measured("", verdict.words, page=page, facts=told, look=look),
                        nodes.Text(after),
                        nodes.Text(effect.horizon),
                    ]
                )
        return as_table(COLUMNS, rows)


def as_table(columns: tuple[str, ...], rows: list[list[nodes.Node]]) -> nodes.table:
    """Lay out cells with headings."""
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    head = nodes.row("", *(nodes.entry("", nodes.paragraph("", name)) for name in columns))
    group += nodes.thead("", head)
    body = nodes.tbody()
    for row in rows:
        body += nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in row))
    group += body
    return nodes.table("", group, classes=["comparisons"])


class Reproduced(SphinxDirective):
    """Say how this build agrees with the record of its data set."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence, and the verdicts that differ."""
        docs = Path(self.env.srcdir)
        for page in gallery_state.scripts_in(docs.parent / "tutorial_src"):
            self.env.note_dependency(str(evidence.path_of(page)))
        for path in docs.glob("record/*.json"):
            self.env.note_dependency(str(path))
        sentence, different = agreement(docs)
        found: list[nodes.Node] = [nodes.paragraph("", sentence)]
        if different:
            rows: list[list[nodes.Node]] = [
                [
                    nodes.Text(one.name),
                    nodes.Text(words(one.then)),
                    nodes.Text(words(one.now)),
                ]
                for one in different
            ]
            found.append(as_table(("comparison", "on record", "in this build"), rows))
        return found


def words(effect: Effect | None) -> str:
    """Return an estimate and its verdict."""
    if effect is None:
        return "missing"
    return f"{effect.estimate()} {effect.unit}: {VERDICTS[effect.verdict].words}"


def this_build(docs: Path) -> Record | None:
    """Return what this build has measured, if anything."""
    pages = [page for page, saved in saved_pages(docs).items() if saved.effects]
    today = datetime.now(UTC).date().isoformat()
    return evidence.make_record(pages, today) if pages else None


def agreement(docs: Path) -> tuple[str, list[Agreement]]:
    """Return a sentence about this build and the record, and the verdicts that differ."""
    now = this_build(docs)
    if now is None:
        return "This build has compared nothing.", []
    path = docs / "record" / f"{now.data['name']}.json"
    try:
        then = evidence.read_record(path)
    except LookupError:
        return f"There is no record of a build on {now.data['title']} yet.", []
    found = evidence.agreements(then, now)
    different = [one for one in found if not one.same]
    same = len(found) - len(different)
    sentence = (
        f"{same} of {len(found)} verdicts of this build on {now.data['title']} are those on "
        f"record, of {then.date} (PyTorch {then.versions['torch']}, {then.device})."
    )
    return sentence, different


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the numbers seed by seed, and say in the log how the build agrees with the record."""
    if exception or app.builder.format != "html":
        return
    docs = Path(app.srcdir)
    with Path(app.outdir, SEEDS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("page", "comparison", "unit", "seed", "treated", "control"))
        for page, saved in saved_pages(docs).items():
            for effect in saved.effects.values():
                for seed, pair in zip(effect.seeds, effect.pairs, strict=True):
                    writer.writerow((page, effect.name, effect.unit, seed, *pair))
    sentence, different = agreement(docs)
    logger.info(sentence, color="bold")
    for one in different:
        logger.info(
            "  %s, %s: %s; on record: %s", one.page, one.name, words(one.now), words(one.then)
        )


def write_record(docs: Path) -> Path:
    """Write the record of the build that is there; return its file."""
    record = this_build(docs)
    if record is None:
        raise SystemExit("there is no evidence of a build: run nox -s docs first")
    path = docs / "record" / f"{record.data['name']}.json"
    path.parent.mkdir(exist_ok=True)
    evidence.write_record(record, path)
    return path


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both directives and the last words of a build."""
    app.add_directive("comparisons", Comparisons)
    app.add_directive("reproduced", Reproduced)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    os.environ.setdefault("BN_TUTORIAL_EVIDENCE", str(docs / "gallery" / "evidence"))
    print(f"The record is in {write_record(docs)}")  # noqa: T201
