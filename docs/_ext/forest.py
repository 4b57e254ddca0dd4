"""The directive ``forest``: one picture of many verdicts.

Its content names pages, as for the role ``effect`` and with commas between them; a line that begins
with ``#`` is a heading. Each claim of these pages (see :class:`bn_tutorial.lab.evidence.Evidence`)
is a row, if its effect has the ``:unit:``. Every row links to its experiment. A dot and its bar are
the estimate and its interval, coloured and shaped by the verdict; the grey band is what does not
matter; a hollow dot is the record of the other data set. ``:range: -4 12`` cuts the axis, and an
arrow says that a row goes on. Above the rows stands what the signs mean that they use.

The picture is drawn twice, for wide and for narrow screens; the style sheet shows one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from evidence_roles import (
    TITLES,
    effect_named,
    estimate,
    facts,
    gap,
    headlines,
    link,
    look,
    only_one_page,
)
from matplotlib.ticker import MaxNLocator
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bn_tutorial.lab.effects import VERDICTS, Effect

OTHER = {"mnist": "digits", "digits": "mnist"}

# Each mark around the origin, about ten units wide.
UP, DOWN = '<path d="M0-6L6 5H-6Z"/>', '<path d="M0 6L6-5H-6Z"/>'
MARKS = {
    "yes": '<circle r="5"/>',
    "size open": UP,
    "small": DOWN,
    "none": '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    "undecided": '<path d="M-5-5L5 5M-5 5L5-5" class="stroke"/>',
    "opposite small": DOWN,
    "opposite size open": UP,
    "opposite": '<path d="M0-6.5L6.5 0L0 6.5L-6.5 0Z"/>',
}
HOLLOW = '<circle class="hollow" r="4"/>'
ARROW = '<path class="bar" d="M-7 0H6M1-5L6 0L1 5"/>'
BAND = '<rect class="band" x="-6" y="-9" width="12" height="18"/>'


class forest(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """Rows of effects."""


@dataclass(frozen=True)
class Row:
    """An effect with its words and page, and what the other data say; without one, a heading."""

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
    strip: int  # height of what is drawn in it: all of it, or what is below the words
    ticks: int  # at most

    @property
    def above(self) -> bool:
        """Whether the words stand above bar and number."""
        return self.strip < self.row

    def middle(self, top: float) -> float:
        """Return the height of the bar in a row that begins there."""
        return top + self.row - self.strip / 2


WIDE = Layout("wide", 720, 270, 530, row=27, strip=27, ticks=6)
NARROW = Layout("narrow", 340, 8, 140, row=50, strip=28, ticks=3)
TOP, HEADING, KEY = 8, 24, 22  # pixels: above all, a heading, a line of the key
LETTER = 7  # the width of one, about


# ---------------------------------------------------------------------------------------------
# What is drawn
# ---------------------------------------------------------------------------------------------


def ends(argument: str) -> tuple[float, float]:
    """Read the ends of the axis.

    Raises
    ------
    ValueError
        If they are not two ascending numbers.
    """
    numbers = [float(number) for number in argument.split()]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ValueError(f"expected two ascending numbers, got {argument}")
    return numbers[0], numbers[1]


class Forest(SphinxDirective):
    """Read the pages."""

    has_content = True
    option_spec = {"unit": directives.unchanged_required, "range": ends}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the picture; a gap for what is missing while one page is built."""
        self.assert_has_content()
        rows, missing = [], {}
        for line in filter(str.strip, self.content):
            if line.startswith("#"):
                rows.append(Row(line.lstrip("# ")))
                continue
            for name in map(str.strip, line.split(",")):
                try:
                    rows += self.rows(name)
                except LookupError as error:
                    missing[name] = str(error)
        if missing and not only_one_page():
            raise self.error(f"forest: {'; '.join(missing.values())}")
        gaps = [nodes.paragraph("", "", gap(name)) for name in missing]
        if not any(row.effect for row in rows):
            if not gaps:
                raise self.error("forest: it names no page")
            return gaps
        return [*gaps, forest("", rows=rows, range=self.options.get("range"))]

    def rows(self, name: str) -> list[Row]:
        """Return the claims of a page in this unit.

        Raises
        ------
        LookupError
            If it has none, or has saved nothing.
        """
        unit = self.options.get("unit", "")
        page, claims = headlines(name, self.env)
        rows = [
            Row(words, page, effect, self.on_other_data(page, effect))
            for words, effect in claims
            if effect.unit == unit
        ]
        if not rows:
            raise LookupError(f"{page} has no claim in {unit or 'numbers without a unit'}")
        return rows

    def on_other_data(self, page: str, effect: Effect) -> Effect | None:
        """Return what the other data set says, if it is on record in the same unit."""
        if effect.data not in OTHER:
            return None
        try:
            other = effect_named(f"{page}: {effect.name} @ {OTHER[effect.data]}", self.env)[1]
        except LookupError:
            return None
        return other if other.unit == effect.unit else None


# ---------------------------------------------------------------------------------------------
# The drawing
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The numbers and the pixels between which it runs."""

    low: float
    high: float
    left: int
    right: int

    def at(self, value: float) -> float:
        """Return the place of a number, or of the end that is nearer to it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def holds(self, value: float) -> bool:
        """Whether a number lies on the axis."""
        return self.low <= value <= self.high


def axis_for(rows: list[Row], layout: Layout, cut: tuple[float, float] | None) -> Axis:
    """Return an axis with room for all rows, or as it is cut, and a margin."""
    effects = [row.effect for row in rows if row.effect]
    shown = [end for e in effects for end in (e.low, e.high, -e.smallest, e.smallest)]
    shown += [row.other.mean for row in rows if row.other]
    low, high = cut or (min(shown), max(shown))
    margin = 0.04 * (high - low) or 1.0
    return Axis(low - margin, high + margin, layout.left, layout.right)


def draw(
    rows: list[Row],
    layout: Layout,
    cut: tuple[float, float] | None,
    where: Callable[[str], str],
) -> str:
    """Return the picture as SVG.

    Parameters
    ----------
    rows : list of Row
        From top to bottom.
    layout : Layout
        Where things stand.
    cut : (float, float), optional
        The ends of the axis.
    where : callable
        Of a page: the attribute that leads there (see :func:`evidence_roles.link`).
    """
    axis = axis_for(rows, layout, cut)
    signs, y = key(rows, axis, layout)
    drawn, tops = [], []
    for row in rows:
        if row.effect is None:
            for line in wrap(row.words, layout.width // (LETTER + 1)):
                y += HEADING
                drawn.append(f'<text class="heading" x="0" y="{y - 6}">{escape(line)}</text>')
        else:
            drawn.append(one_row(row, row.effect, layout, axis, y, where(row.page)))
            tops.append(y)
            y += layout.row
    unit = next(row.effect.unit for row in rows if row.effect)
    return (
        f'<svg class="forest forest-{layout.name}" viewBox="0 0 {layout.width} {y + 44}" '
        f'width="{layout.width}" role="group" aria-label="{escape(summary(rows))}">'
        f"{signs}{scale(axis, layout, tops, unit)}{''.join(drawn)}</svg>"
    )


def key(rows: list[Row], axis: Axis, layout: Layout) -> tuple[str, int]:
    """Say what the signs mean that are used; who hears a row hears its verdict there.

    Returns
    -------
    str
        The key, in lines.
    int
        Where the rows begin.
    """
    effects = [row.effect for row in rows if row.effect]
    used = {effect.verdict for effect in effects}
    signs = [
        (f'<g class="mark {look(verdict)}">{MARKS[verdict]}</g>', words)
        for verdict, (words, _) in VERDICTS.items()
        if verdict in used
    ]
    others = [row.other for row in rows if row.other and axis.holds(row.other.mean)]
    if others:
        signs.append((HOLLOW, f"on {TITLES[others[0].data]}"))
    if any(effect.smallest for effect in effects):
        signs.append((BAND, "too small to matter"))
    if any(effect.low < axis.low or effect.high > axis.high for effect in effects):
        signs.append((ARROW, "goes on beyond the axis"))
    drawn, x, y = [], 8.0, TOP + KEY / 2
    for sign, words in signs:
        wide = 36 + LETTER * len(words)
        if x > 8 and x + wide > layout.width:
            x, y = 8.0, y + KEY
        drawn.append(
            f'<g transform="translate({x:.0f} {y:.0f})">{sign}'
            f'<text class="sign" x="14" y="4.5">{escape(words)}</text></g>'
        )
        x += wide
    return f'<g aria-hidden="true">{"".join(drawn)}</g>', int(y + KEY)


def scale(axis: Axis, layout: Layout, tops: list[int], unit: str) -> str:
    """Return grid, ticks, zero and unit; who hears the rows hears their numbers there."""
    bottom = tops[-1] + layout.row + 4

    def upright(kind: str, value: float) -> str:
        """Draw a line beside bars alone: words that it crosses are hard to read."""
        x, above = axis.at(value), layout.row - layout.strip
        parts = "".join(f"M{x} {top + above}v{layout.strip}" for top in tops)
        return f'<path class="{kind}" d="{parts}"/>'

    ticks = filter(axis.holds, MaxNLocator(layout.ticks).tick_values(axis.low, axis.high))
    lines = [
        upright("grid", tick)
        + f'<text class="tick" x="{axis.at(tick)}" y="{bottom + 15}">{tick_label(tick)}</text>'
        for tick in ticks
    ]
    if axis.holds(0):
        lines.append(upright("zero", 0))
    centre = layout.width / 2 if layout.above else (axis.left + axis.right) / 2
    told = f"{escape(unit)}; to the right of 0 it is as the row says"
    lines.append(f'<text class="tick" x="{centre}" y="{bottom + 33}">{told}</text>')
    return f'<g aria-hidden="true">{"".join(lines)}</g>'


def tick_label(value: float) -> str:
    """Return a number as text; zero has no sign."""
    return f"{value + 0.0:g}".replace("-", "\N{MINUS SIGN}")


def one_row(row: Row, effect: Effect, layout: Layout, axis: Axis, top: int, where: str) -> str:
    """Return one row: a link, or on the page itself a stop for the keyboard."""
    middle = layout.middle(top)
    line, indent = (top + 16, 8) if layout.above else (middle + 5, 12)
    number = f'class="number" x="{layout.width - 8}" y="{middle + 5}"'
    tag = "a" if where.startswith("href") else "g"
    return "".join(
        [
            f'<{tag} {where} class="forest-row {look(effect.verdict)}">',
            f"<title>{escape(tell(row, effect))}</title>",
            f'<rect class="touch" x="0" y="{top}" width="{layout.width}" height="{layout.row}"/>',
            *marks(row, effect, axis, middle, layout.strip),
            f'<text class="words" x="{indent}" y="{line}">{escape(row.words)}</text>',
            f"<text {number}>{effect.estimate()}</text>",
            f"</{tag}>",
        ]
    )


def marks(row: Row, effect: Effect, axis: Axis, middle: float, height: float) -> list[str]:
    """Return what does not matter, the other data set's estimate, the interval, the estimate."""
    low, high = axis.at(-effect.smallest), axis.at(effect.smallest)
    drawn = [
        f'<rect class="band" x="{low}" y="{middle - height / 2}" width="{high - low:.1f}" '
        f'height="{height}"/>',
        f'<path class="bar" d="M{axis.at(effect.low)} {middle}H{axis.at(effect.high)}"/>',
    ]
    for goes_on, end, back in (
        (effect.low < axis.low, axis.left, 6),
        (effect.high > axis.high, axis.right, -6),
    ):
        if goes_on:
            arrow = f"M{end + back} {middle - 5}L{end} {middle}L{end + back} {middle + 5}"
            drawn.append(f'<path class="bar arrow" d="{arrow}"/>')
    if row.other and axis.holds(row.other.mean):
        x = axis.at(row.other.mean)
        drawn.append(f'<g transform="translate({x} {middle})">{HOLLOW}</g>')
    if axis.holds(effect.mean):
        x = axis.at(effect.mean)
        mark = MARKS[effect.verdict]
        drawn.append(f'<g class="mark" transform="translate({x} {middle})">{mark}</g>')
    return drawn


# ---------------------------------------------------------------------------------------------
# In words
# ---------------------------------------------------------------------------------------------


def tell(row: Row, effect: Effect) -> str:
    """Say a row in words."""
    told = f"{row.words}: {estimate(effect)}, {VERDICTS[effect.verdict].words}. {facts(effect)}"
    if row.other:
        verdict = VERDICTS[row.other.verdict].words
        told += f" On {TITLES[row.other.data]}: {row.other.estimate()}, {verdict}."
    return told


def summary(rows: list[Row]) -> str:
    """Describe the picture for who does not see it."""
    count = sum(row.effect is not None for row in rows)
    noun = "comparison, a link" if count == 1 else "comparisons, each a link"
    others = ", and the estimate on the other data set" if any(row.other for row in rows) else ""
    return f"{count} {noun} with its estimate, interval and verdict{others}."


# ---------------------------------------------------------------------------------------------
# On the page
# ---------------------------------------------------------------------------------------------


def visit(self: Any, node: forest) -> None:
    """Write both pictures."""
    pictures = [
        draw(node["rows"], layout, node["range"], lambda page: link(self.builder, page))
        for layout in (WIDE, NARROW)
    ]
    self.body.append(f'<div class="forest-box">{"".join(pictures)}</div>')


def depart(_self: Any, _node: forest) -> None:
    """Nothing is left open."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(forest, html=(visit, depart))
    app.add_directive("forest", Forest)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
