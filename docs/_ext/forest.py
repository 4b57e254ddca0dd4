"""The directive ``forest``: one picture of many verdicts.

Each line of its content is a row, ``words | effect``, with the effect named as for the role
``effect``; a line that begins with ``#`` is a heading. Every row links to its experiment. A dot and
its bar are the estimate and its interval, coloured and shaped by the verdict; the grey band is what
does not matter; a hollow dot is the record of the other data set. All effects have one unit;
``:range: -4 12`` cuts the axis, and an arrow says that a row goes on.

The picture is drawn twice, for wide and for narrow screens; the style sheet shows one.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from evidence_roles import effect_named, facts
from matplotlib.ticker import MaxNLocator
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bn_tutorial.lab.effects import VERDICTS, Effect

OTHER = {"mnist": "digits", "digits": "mnist"}

# Each mark around the origin, about ten units wide.
MARKS = {
    "yes": '<circle r="5"/>',
    "size open": '<path d="M0-6L6 5H-6Z"/>',
    "small": '<path d="M0 6L6-5H-6Z"/>',
    "none": '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    "undecided": '<path d="M-5-5L5 5M-5 5L5-5" class="stroke"/>',
    "opposite small": '<path d="M0 6L6-5H-6Z"/>',
    "opposite size open": '<path d="M0-6L6 5H-6Z"/>',
    "opposite": '<path d="M0-6.5L6.5 0L0 6.5L-6.5 0Z"/>',
}


class forest(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """Rows of effects."""


@dataclass(frozen=True)
class Row:
    """A heading, or an effect with its words and page, and what the other data say."""

    words: str
    page: str = ""
    effect: Effect | None = None
    other: Effect | None = None


@dataclass(frozen=True)
class Layout:
    """Where things stand, in pixels."""

    name: str
    width: int
    left: int  # where the axis begins
    right: int  # where it ends
    row: int  # height of a row
    above: bool  # whether the words stand above their bar


WIDE = Layout("wide", 720, 300, 560, 27, above=False)
NARROW = Layout("narrow", 340, 8, 332, 50, above=True)


class Forest(SphinxDirective):
    """Read the rows."""

    has_content = True
    required_arguments = 0
    final_argument_whitespace = True
    option_spec = {"range": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the picture; the page is read again whenever the evidence changes."""
        self.assert_has_content()
        rows = []
        for line in self.content:
            if line.startswith("#"):
                rows.append(Row(line.lstrip("# ")))
            elif line.strip():
                words, bar, name = line.partition("|")
                if not bar:
                    raise self.error(f"forest: expected `words | effect`, got {line!r}")
                try:
                    rows.append(self.row(words.strip(), name.strip()))
                except LookupError as error:
                    raise self.error(f"forest: {error}") from error
        units = {row.effect.unit for row in rows if row.effect}
        if len(units) != 1:
            raise self.error(f"forest: expected effects of one unit, got {sorted(units)}")
        ends = self.options.get("range")
        return [forest("", rows=rows, range=tuple(map(float, ends.split())) if ends else None)]

    def row(self, words: str, name: str) -> Row:
        """Return an effect and, if it is on record, what the other data set says."""
        page, effect = effect_named(name, self.env)
        try:
            other = effect_named(f"{name}@{OTHER[effect.data]}", self.env)[1]
        except (KeyError, LookupError):
            other = None
        return Row(words, page, effect, other)


def draw(rows: list[Row], layout: Layout, cut: tuple[float, float] | None, link: Any) -> str:
    """Return the picture as SVG."""
    effects = [row.effect for row in rows if row.effect]
    others = [row.other for row in rows if row.other]
    ends = [end for e in effects for end in (e.low, e.high, -e.smallest, e.smallest)]
    low, high = cut or (min(ends), max(ends))
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        share = (np.clip(value, low, high) - low) / (high - low)
        return round(float(layout.left + share * (layout.right - layout.left)), 1)

    parts, y = [], 8.0
    for row in rows:
        if row.effect is None:
            y += 24
            parts.append(f'<text class="heading" x="0" y="{y - 6}">{escape(row.words)}</text>')
            continue
        middle = y + (layout.row - 14 if layout.above else layout.row / 2)
        parts.append(one_row(row, row.effect, layout, x, (low, high), y, middle, link(row.page)))
        y += layout.row
    bottom = y + 4
    ticks = [t for t in MaxNLocator(6).tick_values(low, high) if low <= t <= high]
    grid = "".join(
        f'<path class="grid" d="M{x(t)} 8V{bottom}"/>'
        f'<text class="tick" x="{x(t)}" y="{bottom + 15}">{_tick(t)}</text>'
        for t in ticks
    )
    zero = f'<path class="zero" d="M{x(0)} 8V{bottom}"/>' if low <= 0 <= high else ""
    centre = (layout.left + layout.right) / 2
    unit = f'<text class="tick" x="{centre}" y="{bottom + 33}">{escape(effects[0].unit)}</text>'
    label = escape(summary(rows, bool(others)))
    return (
        f'<svg class="forest forest-{layout.name}" viewBox="0 0 {layout.width} {bottom + 40:.0f}" '
        f'width="{layout.width}" role="group" aria-label="{label}">'
        f"{grid}{zero}{''.join(parts)}{unit}</svg>"
    )


def one_row(
    row: Row,
    effect: Effect,
    layout: Layout,
    x: Any,
    ends: tuple[float, float],
    top: float,
    middle: float,
    href: str,
) -> str:
    """Return one row, a link."""
    height = 20 if layout.above else layout.row
    left, right = x(-effect.smallest), x(effect.smallest)
    parts = [
        f'<rect class="touch" x="0" y="{top}" width="{layout.width}" height="{layout.row}"/>',
        f'<rect class="band" x="{left}" y="{middle - height / 2}" '
        f'width="{right - left:.1f}" height="{height}"/>',
    ]
    if row.other and ends[0] <= row.other.mean <= ends[1]:
        parts.append(f'<circle class="hollow" cx="{x(row.other.mean)}" cy="{middle}" r="4"/>')
    parts.append(f'<path class="bar" d="M{x(effect.low)} {middle}H{x(effect.high)}"/>')
    for beyond, place, sign in (
        (effect.low < ends[0], ends[0], 1),
        (effect.high > ends[1], ends[1], -1),
    ):
        if beyond:  # an arrow: it goes on
            tip = f"M{x(place) + 6 * sign} {middle - 5}L{x(place)} {middle}l{6 * sign} 5"
            parts.append(f'<path class="bar" d="{tip}"/>')
    parts.append(
        f'<g class="mark" transform="translate({x(effect.mean)} {middle})">'
        f"{MARKS[effect.verdict]}</g>"
    )
    line, indent = (top + 16, 8) if layout.above else (middle + 5, 12)
    number = escape(effect.estimate())
    parts += [
        f'<text class="words" x="{indent}" y="{line}">{escape(row.words)}</text>',
        f'<text class="number" x="{layout.width - 8}" y="{line}">{number}</text>',
    ]
    told = escape(tell(row, effect))
    kind = effect.verdict.replace(" ", "-")
    return (
        f'<a href="{href}" class="verdict-{kind}" aria-label="{told}"><title>{told}</title>'
        f"{''.join(parts)}</a>"
    )


def tell(row: Row, effect: Effect) -> str:
    """Say a row in words."""
    verdict = VERDICTS[effect.verdict].words
    told = f"{row.words}: {effect.estimate()} {effect.unit}, {verdict}. {facts(effect)}"
    if row.other:
        verdict = VERDICTS[row.other.verdict].words
        told += f". {row.other.data}: {row.other.estimate()}, {verdict}"
    return told


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def summary(rows: list[Row], others: bool) -> str:
    """Describe the picture for who does not see it."""
    count = sum(row.effect is not None for row in rows)
    words = f"{count} comparisons, each a link, with interval, what does not matter, and verdict"
    return words + (", and the other data set's estimate." if others else ".")


def visit(self: Any, node: forest) -> None:
    """Write both pictures."""
    here = self.builder.current_docname

    def link(page: str) -> str:
        return self.builder.get_relative_uri(here, f"gallery/{page}")

    pictures = [draw(node["rows"], layout, node["range"], link) for layout in (WIDE, NARROW)]
    self.body.append(f'<div class="forest-box">{"".join(pictures)}</div>')


def depart(_self: Any, _node: forest) -> None:
    """Nothing is left open."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(forest, html=(visit, depart))
    app.add_directive("forest", Forest)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
