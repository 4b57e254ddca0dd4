"""The same figure elsewhere: on a telephone, and as a picture of the size of a stamp.

Both change a figure that was drawn for a wide page, in place. So nothing is drawn twice, and a
script knows of one layout only.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.text import Annotation

from bn_tutorial.lab.figures import LIGHT_PAGE, spread_labels

__all__ = ["narrow", "stamp"]

WIDTH = 3.9  # inches; a telephone shows 374 pixels on 343, so letters of 9 points have 11
HEIGHT = 2.7  # the greatest of a panel
SERIES = 4  # so many panels side by side are a series, in which each says little
ROW = 0.42  # the height of a row whose name stands above it, and of each line of the name
LINE = 0.2
LETTERS = {"title": 34, "across": 34, "upright": 24, "row": 32}  # that fit into a line
BOTH = 44  # letters of a name and of what stands beside it, where nothing is at the left
NARROW_LETTERS = {"title": 18, "across": 18, "upright": 14}  # in one of two columns
GROUND = {"facecolor": LIGHT_PAGE, "edgecolor": "none", "pad": 0.5}  # of words above lines
STAMP = (400 / 192, 280 / 192)  # inches, which are 400 x 280 pixels at 192 to the inch


def narrow(figure: Figure) -> None:
    """Lay a figure out for a telephone: its panels below each other, those of a column in a row.

    Of four and more columns, two stay side by side. Labels that panels shared are repeated where
    they are needed; long names of rows stand above the rows, and names below a panel are turned
    where they run into each other; a legend beside the panels is above.

    Parameters
    ----------
    figure : Figure
        Of :func:`bn_tutorial.lab.figures.new_figure`; it is changed.
    """
    panels = _by_column(figure)
    columns = 2 if len({column for column, _ in panels}) >= SERIES else 1
    tall = [_height(ax) / columns**0.5 for ax in panels.values()]
    placed = {
        (number // columns, number % columns): (row, ax)
        for number, ((_, row), ax) in enumerate(panels.items())
    }
    for (down, right), (row, ax) in placed.items():
        left, below = placed.get((down, right - 1)), placed.get((down + 1, right))
        if not (left and left[0] == row):
            _own_y(ax, [other for (_, its_row), other in panels.items() if its_row == row])
        if ax.get_shared_x_axes().joined(ax, below[1] if below else ax):
            ax.tick_params(labelbottom=below is None)
        _wrap(ax, LETTERS if columns == 1 else NARROW_LETTERS)
    above, at_left = [], 0  # panels whose names stand above; letters at the left of the others
    for number, ax in enumerate(panels.values()):
        names = [name.get_text() for name in ax.get_yticklabels()]
        longest = max(map(len, names), default=0)
        formula = names and "$" in names[0]  # as of a power of ten
        if _beside_rows(ax) or (longest > LETTERS["row"] // 2 and not formula):
            above.append((number, ax))
        elif not formula:
            at_left = max(at_left, longest)
    for number, ax in above:
        tall[number] = _name_rows_above(ax, BOTH - at_left)
    heights = [max(tall[start : start + columns]) for start in range(0, len(tall), columns)]
    figure.set_size_inches(WIDTH, sum(heights))
    _place(figure, list(panels.values()), columns, heights)
    _legends_above(figure)
    figure.draw_without_rendering()  # now the panels have their sizes
    tilted = [_tilt(ax, gap=figure.dpi / 24) for ax in panels.values()]  # three points
    if any(tilted):
        figure.draw_without_rendering()
    for ax in panels.values():
        spread_labels(ax)


def stamp(figure: Figure) -> None:
    """Leave of a figure what can be recognized at the size of a stamp: a panel without words.

    Of a series, all panels; of others, the first.

    Parameters
    ----------
    figure : Figure
        It is changed: words and other panels are gone.
    """
    panels = _by_column(figure)
    columns = 1 + max(column for column, _ in panels)
    kept = sorted(panels, key=lambda place: place[::-1])
    if columns < SERIES:
        kept, columns = [(0, 0)], 1
    for place, ax in panels.items():
        if place in kept:
            _strip(ax)
        else:
            ax.remove()
    for legend in [*figure.legends]:
        legend.remove()
    figure.supxlabel("")
    figure.set_size_inches(*STAMP)
    columns = 2 if len(kept) == SERIES else columns  # of a row, a square
    _place(figure, [panels[place] for place in kept], columns, [1.0] * (len(kept) // columns))


def _by_column(figure: Figure) -> dict[tuple[int, int], Axes]:
    """Return the panels by (column, row), column by column."""
    found = {}
    for ax in figure.axes:
        if (spec := ax.get_subplotspec()) is not None:
            found[spec.colspan.start, spec.rowspan.start] = ax
    return dict(sorted(found.items()))


def _height(ax: Axes) -> float:
    """Return the height of a panel's cell, in inches, up to a bound."""
    spec: Any = ax.get_subplotspec()
    figure: Any = ax.get_figure()
    ratios = np.asarray(spec.get_gridspec().get_height_ratios(), dtype=float)
    share = ratios[spec.rowspan.start] / ratios.sum()
    return float(min(share * figure.get_size_inches()[1], HEIGHT))


def _place(figure: Figure, panels: Sequence[Axes], columns: int, heights: Sequence[float]) -> None:
    """Put panels into a new grid, row by row."""
    grid = GridSpec(len(heights), columns, figure=figure, height_ratios=heights)
    for number, ax in enumerate(panels):
        ax.set_subplotspec(grid[number // columns, number % columns])


def _own_y(ax: Axes, row: Sequence[Axes]) -> None:
    """Give a panel the labels that it shared with others of its row."""
    together = ax.get_shared_y_axes()
    shared = [other for other in row if other is not ax and together.joined(ax, other)]
    ax.tick_params(labelleft=True)
    if shared:
        for first, label in zip(shared[0].get_yticklabels(), ax.get_yticklabels(), strict=False):
            label.set_color(first.get_color())
    if not ax.get_ylabel():
        ax.set_ylabel(next((text for other in shared if (text := other.get_ylabel())), ""))


def _wrap(ax: Axes, letters: Mapping[str, int]) -> None:
    """Break titles and labels into lines that fit."""

    def broken(text: str, where: str) -> str:
        return "\n".join(textwrap.fill(line, letters[where]) for line in text.splitlines())

    ax.set_title(broken(ax.get_title("left"), "title"), loc="left")
    ax.set_xlabel(broken(ax.get_xlabel(), "across"))
    ax.set_ylabel(broken(ax.get_ylabel(), "upright"))


def _beside_rows(ax: Axes) -> dict[float, Annotation]:
    """Return what :func:`bn_tutorial.lab.figures.draw_effects` writes at the right of rows."""
    return {
        float(text.xy[1]): text
        for text in ax.texts
        if isinstance(text, Annotation) and text.xy[0] == 1 and text.xyann == (6, 0)
    }


def _name_rows_above(ax: Axes, letters: int) -> float:
    """Put names above their rows, with what stands beside these; return the height.

    A name and what stands beside it share a line of so many letters, or have one each.
    """
    lines, beside = 1, _beside_rows(ax)
    for row, name in zip(ax.get_yticks(), [*ax.get_yticklabels()], strict=True):
        text = beside.get(float(row))
        wrapped = textwrap.wrap(name.get_text(), LETTERS["row"])
        if text and len(wrapped[-1]) + len(text.get_text()) > letters:
            wrapped.append("")  # what stands beside it has a line of its own
        lines = max(lines, len(wrapped))
        look: dict[str, Any] = {
            "xycoords": ax.get_yaxis_transform(),
            "textcoords": "offset points",
            "va": "bottom",
            "fontsize": 10,
            "bbox": GROUND,
            "annotation_clip": False,
        }
        ax.annotate("\n".join(wrapped), (0, row), (4, 6), color=name.get_color(), **look)
        if text:
            ax.annotate(text.get_text(), (1, row), (0, 6), ha="right", **look)
            text.remove()
    ax.tick_params(axis="y", length=0, labelleft=False)
    bottom, top = ax.get_ylim()
    ax.set_ylim(top=top + 0.2 * np.sign(top - bottom))  # for the first name
    return len(ax.get_yticks()) * (ROW + LINE * (lines - 1)) + 0.6


def _tilt(ax: Axes, gap: float) -> bool:
    """Turn the names below a panel where they come closer to each other than a gap, in pixels.

    Return whether they do.
    """
    boxes = [name.get_window_extent() for name in ax.get_xticklabels() if name.get_text()]
    close = any(left.x1 + gap > right.x0 for left, right in pairwise(boxes))
    if close:
        ax.tick_params(axis="x", labelrotation=40)
        for name in ax.get_xticklabels():
            name.set(ha="right", rotation_mode="anchor")
    return close


def _legends_above(figure: Figure) -> None:
    """Put the legends beside the panels above them, with as many columns as there is room for."""
    for legend in [*figure.legends]:
        texts, handles = legend.get_texts(), [*filter(None, legend.legend_handles)]
        labels, size = [text.get_text() for text in texts], texts[0].get_fontsize()
        legend.remove()
        for columns in (3, 2, 1):
            where: Any = "outside upper left"
            above = figure.legend(handles, labels, loc=where, fontsize=size, ncols=columns)
            height = above.get_window_extent().height / figure.dpi
            if columns == 1 or above.get_window_extent().width <= 0.95 * figure.bbox.width:
                break
            above.remove()
        width, panels = figure.get_size_inches()
        figure.set_size_inches(width, panels + height)


def _strip(ax: Axes) -> None:
    """Take the words off a panel, and draw its lines thicker."""
    for loc in ("left", "center", "right"):
        ax.set_title("", loc=loc)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
    ax.grid(visible=False)
    for text in [*ax.texts]:
        text.remove()
    if legend := ax.get_legend():
        legend.remove()
    for line in ax.get_lines():
        line.set_linewidth(1.4 * line.get_linewidth())
        line.set_markersize(1.2 * line.get_markersize())
