"""The directive ``course-map``: a picture of which page of the course needs which.

It stands on the page of the course (see :mod:`course`), which is written anew in every build. An
edge is a link behind **You need**; one that follows from others is left out. Each page is a link.
The picture is drawn twice, across for wide and downwards for narrow screens; the style sheet shows
one. Who does not see it hears with each link what its page needs.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any

import course
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

LINE = 22  # characters in a box
BOX, GAP, ROW = (164, 38), 20, 46  # across: a box, the room for lines beside it, a row
NARROW, STEP, DEEP = 343, 26, 18  # downwards: the whole width, a row, and an indent


class course_map(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the picture."""


class CourseMap(SphinxDirective):
    """Leave a place for the picture."""

    def run(self) -> list[nodes.Node]:
        """Return the place."""
        return [course_map()]


# ---------------------------------------------------------------------------------------------
# What needs what
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stop:
    """A page of the course."""

    title: str
    further: bool
    needs: list[str]  # what no other need of it needs already
    level: int  # how many pages must be read before it, one after the other


def short(title: str) -> str:
    """Return a title up to its first comma or colon."""
    return re.split("[,:]", title)[0]


def stops(env: BuildEnvironment) -> dict[str, Stop]:
    """Return the pages in order; what comes later cannot be needed, so there is no circle."""
    further = {page for part in env.course_parts for page in part.further}  # type: ignore[attr-defined]
    found: dict[str, Stop] = {}
    implied: dict[str, set[str]] = {}
    for page in course.pages(env):
        needs = [need for need in course.needs(env.get_doctree(page)) if need in found]
        already: set[str] = set().union(*(implied[need] for need in needs))
        implied[page] = already.union(needs)
        direct = sorted({*needs} - already, key=list(found).index)
        level = max((found[need].level + 1 for need in direct), default=0)
        found[page] = Stop(short(env.titles[page].astext()), page in further, direct, level)
    return found


def parent(page: str, found: dict[str, Stop]) -> str:
    """Return the page beside which a page stands: the last that it needs, if any."""
    return found[page].needs[-1] if found[page].needs else ""


def walk(found: dict[str, Stop], root: str = "") -> Iterator[str]:
    """Go through the pages, each directly followed by those that stand beside it."""
    for page in found:
        if parent(page, found) == root:
            yield page
            yield from walk(found, page)


# ---------------------------------------------------------------------------------------------
# The drawing
# ---------------------------------------------------------------------------------------------


def told(stop: Stop, found: dict[str, Stop]) -> str:
    """Say a page and what it needs in words."""
    needed = " and ".join(found[need].title for need in stop.needs)
    return f"{stop.title}{' (further)' if stop.further else ''}: needs {needed or 'no other page'}"


def linked(stop: Stop, where: str, found: dict[str, Stop], drawn: str) -> str:
    """Make what is drawn of a page a link to it."""
    look = ' class="further"' if stop.further else ""
    words = escape(told(stop, found))
    return f'<a href="{escape(where)}"{look} aria-label="{words}">{drawn}</a>'


def places(found: dict[str, Stop]) -> tuple[dict[str, tuple[float, float]], int]:
    """Return the upper left corner of each box across, and the number of rows."""
    order = list(walk(found))
    beside = {page: [other for other in order if parent(other, found) == page] for page in order}
    row: dict[str, float] = {}
    rows = 0
    for page in order:
        if not beside[page]:
            row[page], rows = rows, rows + 1
    for page in reversed(order):  # so that those that stand beside a page have their rows
        if beside[page]:
            row[page] = (row[beside[page][0]] + row[beside[page][-1]]) / 2
    column = BOX[0] + GAP
    return {page: (1 + column * found[page].level, 1 + ROW * row[page]) for page in order}, rows


def across(found: dict[str, Stop], where: Callable[[str], str]) -> str:
    """Draw boxes from left to right: what a page needs stands to its left."""
    width, height = BOX
    at, rows = places(found)
    lines, boxes = [], []
    for page, stop in found.items():
        x, y = at[page]
        for need in stop.needs:
            start, left = at[need][0] + width, at[need][1] + height / 2
            bend = f"C{start + GAP} {left:g} {x - GAP} {y + height / 2:g} {x} {y + height / 2:g}"
            lines.append(f"M{start} {left:g}{bend}")
        words = textwrap.wrap(stop.title, LINE, max_lines=2, placeholder=" …")
        first = y + height / 2 + 4.5 - 7.5 * (len(words) - 1)
        text = " ".join(  # of two lines a screen reader makes one name
            f'<text x="{x + width / 2:g}" y="{first + 15 * number:g}">{escape(line)}</text>'
            for number, line in enumerate(words)
        )
        box = f'<rect x="{x}" y="{y:g}" width="{width}" height="{height}" rx="5"/>'
        boxes.append(linked(stop, where(page), found, box + text))
    whole = max(x for x, _ in at.values()) + width + 1
    return picture("wide", whole, rows * ROW - (ROW - height) + 2, lines, boxes)


def downwards(found: dict[str, Stop], where: Callable[[str], str]) -> str:
    """Draw one page in a row: what it needs stands above it, further to the left or in brackets."""
    order = list(walk(found))
    at = {page: (7 + DEEP * found[page].level, STEP * (n + 0.5)) for n, page in enumerate(order)}
    lines, rows = [], []
    brackets = count(NARROW - 1, -6)  # each has a column of its own, at the right
    for page in order:
        stop, (x, y) = found[page], at[page]
        lines += [f"M{at[need][0]} {at[need][1]:g}V{y:g}H{x}" for need in stop.needs[-1:]]
        for need, right in zip(stop.needs[:-1], brackets, strict=False):
            lines.append(f"M{right - 8} {at[need][1]:g}H{right}V{y:g}H{right - 8}")
        touch = f'<path class="touch" d="M{x - 6} {y - STEP / 2:g}H{NARROW}v{STEP}H{x - 6}Z"/>'
        dot = f'<circle cx="{x}" cy="{y:g}" r="4.5"/>'
        text = f'<text x="{x + 11}" y="{y + 4.5:g}">{escape(stop.title)}</text>'
        rows.append(linked(stop, where(page), found, touch + dot + text))
    return picture("narrow", NARROW, STEP * len(order), lines, rows)


def picture(name: str, width: float, height: float, lines: list[str], links: list[str]) -> str:
    """Return a picture of links, with the lines between them behind."""
    return (
        f'<svg class="needs needs-{name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        'role="group" aria-label="Which page needs which; each is a link.">'
        f'<path class="lines" d="{"".join(lines)}"/>{"".join(links)}</svg>'
    )


# ---------------------------------------------------------------------------------------------
# On the page
# ---------------------------------------------------------------------------------------------


def visit(self: Any, _node: course_map) -> None:
    """Write both pictures."""
    found, here = stops(self.builder.env), self.builder.current_docname

    def where(page: str) -> str:
        return str(self.builder.get_relative_uri(here, page))

    pictures = across(found, where) + downwards(found, where)
    self.body.append(f'<div class="needs-box">{pictures}</div>')


def depart(_self: Any, _node: course_map) -> None:
    """Nothing is left open."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(course_map, html=(visit, depart))
    app.add_directive("course-map", CourseMap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
