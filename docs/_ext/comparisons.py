"""Every comparison of the site: a table, the numbers seed by seed, and how the build agrees.

``{comparisons}`` shows all effects of this build: estimate, what matters, verdict, what the
interval allows for, the verdict that is left after Holm's correction for all of them, and how long
was trained. Wherever a verdict stands that this correction takes away, it gets a dagger;
``{daggers}`verdicts on this page` `` says of how many: "3 of the 9 verdicts on this page".
``{reproduced}`` compares the verdicts with those on record; every build ends by saying in its log
what it says.
The record of a data set, ``docs/record/<name>.json``, is written by ``nox -s record`` from a whole
build.
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
from evidence_roles import estimate, measured, only_one_page, show_effect, show_verdict
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bn_tutorial.lab import evidence
from bn_tutorial.lab.effects import VERDICTS, Effect, holm
from bn_tutorial.lab.evidence import Agreement, Record

logger = logging.getLogger(__name__)

COLUMNS = (
    *("comparison", "estimate", "matters from", "verdict"),
    *("allows for", "with all counted", "trained for"),
)
LOST = "does not hold"
SEEDS = "seed-by-seed.csv"  # beside the page of comparisons


# ---------------------------------------------------------------------------------------------
# What was compared
# ---------------------------------------------------------------------------------------------


def compared(docs: Path) -> list[tuple[str, Effect]]:
    """Return the effects of this build, each with its page.

    Raises
    ------
    LookupError
        If the evidence of a page is damaged; while one page is built, it is left out instead.
    """
    found = []
    for page in gallery_state.scripts_in(docs.parent / "tutorial_src"):
        if evidence.path_of(page).is_file():
            try:
                found += [(page, effect) for effect in evidence.recall(page).effects.values()]
            except LookupError:
                if not only_one_page():
                    raise
    return found


def kept(effects: list[Effect]) -> list[bool]:
    """Tell for each effect whether its verdict is decided, and remains so when all are counted."""
    return [
        effect.verdict != "undecided" and p < 1 - effect.confidence
        for effect, p in zip(effects, holm(effects), strict=True)
    ]


def after_holm(effect: Effect, remains: bool) -> str:
    """Say what is left of a verdict: one that does not hold may be a weaker one, not none."""
    if effect.verdict == "undecided":
        return "undecided"
    return "holds" if remains else LOST


def allows_for(effect: Effect) -> str:
    """Say in short which repetitions an interval allows for: with what else than here."""
    more = [("images", bool(effect.images)), ("choice", effect.chosen)]
    return ", ".join(["seeds", *(word for word, is_so in more if is_so)])


def this_build(docs: Path) -> Record | None:
    """Return what this build has measured, if anything.

    Raises
    ------
    LookupError
        As for :func:`compared`.
    ValueError
        If it is of several data sets.
    """
    pages = dict.fromkeys(page for page, _ in compared(docs))
    today = datetime.now(UTC).date().isoformat()
    return evidence.make_record(pages, today) if pages else None


def agreement(docs: Path) -> tuple[str, list[Agreement]]:
    """Return a sentence about this build and the record, and the verdicts that differ.

    Raises
    ------
    LookupError
        If evidence or the record is damaged.
    """
    try:
        now = this_build(docs)
    except ValueError as error:  # one page was built on other data than the rest
        return f"This build cannot be compared with a record: {error}.", []
    if now is None:
        return "This build has compared nothing.", []
    path = record_of(now, docs)
    if not path.is_file():
        return f"There is no record of a build on {now.data['title']} yet.", []
    then = evidence.read_record(path)
    found = evidence.agreements(then, now)
    if only_one_page():
        found = [one for one in found if one.now]
    different = [one for one in found if not one.same]
    sentence = (
        f"{len(found) - len(different)} of {len(found)} verdicts of this build on "
        f"{now.data['title']} are those on record, of {then.date} "
        f"(PyTorch {then.versions['torch']}, {then.device})."
    )
    before, here = (one.versions.get("instructions") for one in (then, now))
    if before and before != here:
        sentence += f" That was made by a processor of another kind ({before}; here {here})."
    return sentence, different


def record_of(record: Record, docs: Path) -> Path:
    """Return where a record is kept."""
    return docs / "record" / f"{record.data['name']}.json"


def words(effect: Effect | None) -> str:
    """Return an estimate and its verdict."""
    return f"{estimate(effect)}: {VERDICTS[effect.verdict].words}" if effect else "missing"


# ---------------------------------------------------------------------------------------------
# On the page
# ---------------------------------------------------------------------------------------------


class Comparisons(SphinxDirective):
    """Show the table, by page."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence and the table."""
        try:
            found = compared(Path(self.env.srcdir))
        except LookupError as error:
            raise self.error(f"comparisons: {error}") from error
        effects = [effect for _, effect in found]
        remain = kept(effects)
        decided = sum(effect.verdict != "undecided" for effect in effects)
        text = (
            f"This build made {len(effects)} comparisons. {decided} of them have a verdict other "
            f"than undecided; {sum(remain)} keep it when all are counted (Holm's correction). "
            f"All intervals allow for other seeds, {sum(e.images > 0 for e in effects)} also for "
            f"other test images, {sum(e.chosen for e in effects)} for another choice of a setting."
        )
        rows: list[list[nodes.Node]] = [
            [
                show_effect(page, effect, effect.name),
                nodes.Text(estimate(effect)),
                nodes.Text(f"{effect.smallest:g}" if effect.smallest else "any"),
                show_verdict(page, effect),
                nodes.Text(allows_for(effect)),
                nodes.Text(after),
                nodes.Text(effect.horizon),
            ]
            for (page, effect), after in zip(found, map(after_holm, effects, remain), strict=True)
        ]
        shown: list[nodes.Node] = [nodes.paragraph("", text)]
        if rows:
            shown.append(table := as_table(COLUMNS, rows))
            for row in table.findall(nodes.row):
                row[COLUMNS.index("allows for")]["classes"].append("allows-for")
        return shown


class Reproduced(SphinxDirective):
    """Say how this build agrees with the record of its data set."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence, and the verdicts that differ."""
        try:
            sentence, different = agreement(Path(self.env.srcdir))
        except LookupError as error:
            raise self.error(f"reproduced: {error}") from error
        rows: list[list[nodes.Node]] = [
            [nodes.Text(text) for text in (one.page, one.name, words(one.then), words(one.now))]
            for one in different
        ]
        shown: list[nodes.Node] = [nodes.paragraph("", sentence)]
        columns = ("page", "comparison", "on record", "in this build")
        if rows:
            shown.append(as_table(columns, rows))
        return shown


class Daggers(SphinxRole):
    """How many verdicts of a page have a dagger."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return what is told when all verdicts of the page are there."""
        return [nodes.inline("", self.text, classes=["daggers"])], []


def as_table(columns: tuple[str, ...], rows: list[list[nodes.Node]]) -> nodes.table:
    """Lay out cells with headings."""

    def row(cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))

    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    group += nodes.thead("", row([nodes.Text(name) for name in columns]))
    group += nodes.tbody("", *map(row, rows))
    # By the first class, the search leaves the table out: see search_index.py.
    return nodes.table("", group, classes=["comparisons", "stacked"])


def count_all(app: Sphinx, *_: object) -> None:
    """Find out, before pages are read, which verdicts do not hold when all are counted."""
    try:
        found = compared(Path(app.srcdir))
    except LookupError:  # which is said where the effects are shown
        found = []
    remain = kept([effect for _, effect in found])
    app.env.comparisons_lost = {
        (page, (effect.name, effect.data))
        for (page, effect), remains in zip(found, remain, strict=True)
        if after_holm(effect, remains) == LOST
    }


def mark_lost(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Put a dagger behind each verdict that does not hold when all are counted, and say why."""
    judged = [node for node in doctree.findall(measured) if "judged" in node]
    lost = [node for node in judged if (node["page"], node["judged"]) in app.env.comparisons_lost]
    for node in lost:
        node += nodes.superscript("", "\N{DAGGER}", classes=["lost"])
        node["facts"] += " \N{DAGGER} With all comparisons of this site counted, it does not hold."
    for node in doctree.findall(nodes.inline):
        if "daggers" in node["classes"]:
            node.children[:] = [nodes.Text(f"{len(lost)} of the {len(judged)} {node.astext()}")]


# ---------------------------------------------------------------------------------------------
# At the end of a build, and after it
# ---------------------------------------------------------------------------------------------


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the numbers seed by seed, and say in the log how the build agrees with the record."""
    if exception or app.builder.format != "html":
        return
    docs = Path(app.srcdir)
    try:
        found = compared(docs)
        sentence, different = agreement(docs)
    except LookupError as error:
        logger.warning("comparisons: %s", error)
        return
    with Path(app.outdir, SEEDS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("page", "comparison", "unit", "seed", "treated", "control"))
        for page, effect in found:
            for seed, pair in zip(effect.seeds, effect.pairs, strict=True):
                writer.writerow((page, effect.name, effect.unit, seed, *pair))
    logger.info(sentence, color="bold")
    for one in different:
        logger.info(
            "  %s, %s: %s; on record: %s", one.page, one.name, words(one.now), words(one.then)
        )


def write_record(docs: Path) -> Path:
    """Write the record of the build that is there; return its file.

    Raises
    ------
    LookupError
        If it has compared nothing, or is not whole: a script is not as it ran.
    ValueError
        If it is of several data sets.
    """
    if old := gallery_state.outdated(docs):
        raise LookupError(f"not built as they are now: {', '.join(old)}. Run nox -s docs first.")
    if (record := this_build(docs)) is None:
        raise LookupError("no script has compared anything")
    path = record_of(record, docs)
    path.parent.mkdir(exist_ok=True)
    evidence.write_record(record, path)
    return path


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both directives and the last words of a build."""
    app.setup_extension("evidence_roles")
    app.add_directive("comparisons", Comparisons)
    app.add_directive("reproduced", Reproduced)
    app.add_role("daggers", Daggers())
    app.connect("env-before-read-docs", count_all)
    app.connect("doctree-resolved", mark_lost)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    here = Path(sys.argv[1])
    os.environ["BN_TUTORIAL_EVIDENCE"] = str(here / "gallery" / "evidence")
    try:
        print(f"The record is in {write_record(here)}")  # noqa: T201
    except (LookupError, ValueError) as error:
        sys.exit(f"No record was written: {error}")
