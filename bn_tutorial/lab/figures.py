"""The site's figure style: one size, one palette, and a description for who cannot see.

A figure appears twice on its page, for light and for dark: the dark one is the light one with the
colours of `DARK` exchanged. So draw with `COLORS` (or with the default cycle, which is the same),
and let `LINE_STYLES` and `MARKERS` repeat what a colour says. Anything coloured by a colour map
should be rasterized, which keeps it as it is in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from bn_tutorial.lab.effects import VERDICTS, Effect

__all__ = [
    "COLORS",
    "DARK",
    "LINE_STYLES",
    "LOOKS",
    "MARKERS",
    "STYLE",
    "alt_text",
    "draw_effects",
    "draw_pooled",
    "draw_spread",
    "is_lead",
    "label_lines",
    "new_figure",
    "spread_labels",
]

# name: (on a light page, on a dark page). Their luminances are a factor apart, so that they differ
# in greyscale and for every kind of colour vision.
_PAIRS = {
    "blue": ("#004195", "#82bcff"),
    "orange": ("#ec6600", "#f37413"),
    "green": ("#006347", "#7fdfbf"),
    "pink": ("#d34297", "#f9d8eb"),
    "purple": ("#4b1a71", "#a268ee"),
    "grey": ("#616a74", "#a1a9b2"),
}
# Furniture: text, axes, grid, and the page itself.
INK, _INK_ON_DARK = "#1f2328", "#e6e9ee"
AXIS, _AXIS_ON_DARK = "#57606a", "#a8b1bd"
GRID, _GRID_ON_DARK = "#d8dee4", "#38414c"
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#14181e"

#: Colours by name, for light pages.
COLORS = {name: light for name, (light, _) in _PAIRS.items()}
#: The line style that goes with each colour.
LINE_STYLES: dict[str, Any] = {
    "blue": "solid",
    "orange": "dashed",
    "green": "dashdot",
    "pink": "dotted",
    "purple": (0, (6, 1.5, 1, 1.5, 1, 1.5)),
    "grey": (0, (8, 3)),
}
#: The marker that goes with each colour.
MARKERS = {"blue": "o", "orange": "s", "green": "^", "pink": "D", "purple": "v", "grey": "x"}

#: What each colour becomes on a dark page.
DARK = {
    **dict(_PAIRS.values()),
    INK: _INK_ON_DARK,
    AXIS: _AXIS_ON_DARK,
    GRID: _GRID_ON_DARK,
    LIGHT_PAGE: DARK_PAGE,
    "#000000": _INK_ON_DARK,
}

# Any, because matplotlib types the keys as literals that differ between its versions.
#: The settings of matplotlib with which every figure of the site is drawn.
STYLE: Any = {
    # Twelve points on 6.4 inches are the size of the text beside the figure; on a telephone,
    # where the figure is half as wide, they are still legible.
    "font.size": 12.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 12.0,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "figure.titlesize": 13.0,
    "figure.dpi": 96.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=list(COLORS.values()))
    + cycler(linestyle=[LINE_STYLES[name] for name in COLORS]),
    "lines.linewidth": 2.0,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "legend.handlelength": 2.8,  # long enough to tell a dashed line from a dotted one
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": AXIS,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": LIGHT_PAGE,
    "axes.facecolor": "none",
    "patch.edgecolor": LIGHT_PAGE,
}


def new_figure(
    rows: int = 1,
    cols: int = 1,
    *,
    alt: str,
    lead: bool = False,
    width: float = 6.4,
    height: float | None = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Make a figure in the site's style, with the text that stands for it.

    Parameters
    ----------
    alt : str
        What the figure shows, in a sentence, for readers who do not see it.
    lead : bool
        Whether the page opens with this figure, rather than to show it where it is drawn.
    width, height : float
        Inches. The column of text is about 7.2 wide; by default each row is as high as its axes
        are wide, up to 3.6.
    rows, cols, **subplots
        As for `matplotlib.pyplot.subplots`, whose results are returned; the layout is constrained.

    Raises
    ------
    ValueError
        If `alt` has fewer than three words, or is a file name.

    Examples
    --------
    >>> figure, axes = new_figure(alt="A rising line, from zero to one.")
    >>> alt_text(figure)
    'A rising line, from zero to one.'
    >>> plt.close(figure)
    """
    text = _described(alt)
    if height is None:
        height = rows * min(3.6, width / cols)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, cols, figsize=(width, height), layout="constrained", **subplots
        )
    figure.set_label(text)
    if lead:
        figure.set_gid("lead")
    return figure, axes


def alt_text(figure: Figure) -> str:
    """Return the text that stands for a figure, on one line.

    Raises
    ------
    ValueError
        If :func:`new_figure` has not made the figure, so that it has none.
    """
    return _described(str(figure.get_label()))


def is_lead(figure: Figure) -> bool:
    """Whether a page opens with this figure."""
    return figure.get_gid() == "lead"


def _described(alt: str) -> str:
    text = " ".join(alt.split())
    if len(text.split()) < 3 or re.search(r"\.(png|svg|jpe?g|gif|pdf|py)$", text, re.IGNORECASE):
        raise ValueError(
            f"a figure needs new_figure(alt=...): a sentence that says what it shows; got {alt!r}"
        )
    return text


def draw_spread(
    ax: Axes, x: npt.ArrayLike, runs: npt.ArrayLike, *, color: str, label: str, marker: bool = True
) -> None:
    """Draw the mean of several runs as a line, and the range that they span as a band.

    Parameters
    ----------
    x, runs : array_like, shapes (points,) and (runs, points)
        What the runs have in common, and a curve for each.
    color : str
        A name in `COLORS`; the line style goes with it, and the marker, where one is wanted.
    """
    runs = np.asarray(runs)
    hue = COLORS[color]
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=hue, alpha=0.2, linewidth=0)
    ax.plot(
        x,
        runs.mean(axis=0),
        color=hue,
        linestyle=LINE_STYLES[color],
        marker=MARKERS[color] if marker else None,
        label=label,
    )


BESIDE = 1.06  # where labels of lines stand, in widths of the axes


def label_lines(ax: Axes, *, gap: float = 0.06, fontsize: float = 10.0) -> None:
    """Write the label of each line beside its last point, instead of a legend.

    Labels stand to the right of the axes, at least ``gap`` of their height apart, and a stroke in
    the line's colour, too thin to be taken for data, leads to each. Call this last, when the limits
    of the axes are what they will be.
    """
    ax.autoscale_view()  # which matplotlib else puts off until it draws
    for line in ax.get_lines():
        if not str(line.get_label()).startswith("_"):
            points = np.asarray(line.get_xydata(), dtype=float)
            finite = points[np.isfinite(points).all(axis=1)]
            to_axes = line.get_transform() + ax.transAxes.inverted()
            end = to_axes.transform(finite[-1]) if len(finite) else (1.0, 0.0)
            x, y = np.clip(end, 0.0, 1.0)
            stroke = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.6}
            ax.annotate(
                str(line.get_label()),
                (x, y),
                xytext=(BESIDE, y),
                xycoords="axes fraction",
                textcoords="axes fraction",
                va="center",
                fontsize=fontsize,
                arrowprops={**stroke, "relpos": (0, 0.5), "shrinkB": 0},
                annotation_clip=False,
            )
    spread_labels(ax, gap=gap)


def spread_labels(ax: Axes, *, gap: float | None = None) -> None:
    """Move the labels of :func:`label_lines` apart; by default as far as their letters are high."""
    labels: list[Any] = [text for text in ax.texts if text.get_position()[0] == BESIDE]
    labels.sort(key=lambda text: text.xy[1])
    if gap is None:
        figure: Any = ax.get_figure()
        points = ax.get_window_extent().height * 72 / figure.dpi
        letters = [text.get_fontsize() * (1 + text.get_text().count("\n")) for text in labels]
        gap = 1.2 * max(letters, default=0.0) / points
    for text, height in zip(labels, _apart([t.xy[1] for t in labels], gap), strict=True):
        text.set_position((BESIDE, height))


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights apart, upwards, and from the top of the axes down again."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    for place in reversed(range(len(moved))):
        above = moved[place + 1] - gap if place + 1 < len(moved) else 1.0
        moved[place] = min(moved[place], above)
    return moved


#: Colour and marker of each verdict, for rows of effects.
LOOKS = {
    "yes": ("green", "o"),
    "size open": ("green", "^"),
    "small": ("green", "v"),
    "none": ("grey", "s"),
    "undecided": ("grey", "x"),
    "opposite small": ("pink", "v"),
    "opposite size open": ("pink", "^"),
    "opposite": ("pink", "D"),
}


def draw_effects(
    ax: Axes, effects: Sequence[Effect], *, labels: Sequence[str] | None = None, unit: str = ""
) -> None:
    """Draw effects of one unit as rows: estimate and interval, what does not matter, and zero.

    Colour and marker follow from the verdict, which stands at the right of its row.

    Parameters
    ----------
    effects : sequence of Effect
        From top to bottom.
    labels : sequence of str, optional
        What to call them; by default their names. " - " is drawn as a minus sign.
    unit : str
        For the label of the axis; by default that of the effects.

    Raises
    ------
    ValueError
        If the units differ.
    """
    if len(units := {effect.unit for effect in effects}) != 1:
        raise ValueError(f"expected effects of one unit, got {sorted(units)}")
    for row, effect in enumerate(effects):
        color, marker = LOOKS[effect.verdict]
        corner, width = (-effect.smallest, row - 0.5), 2 * effect.smallest
        ax.add_patch(Rectangle(corner, width, 1, facecolor=GRID, edgecolor="none", zorder=0.5))
        line: dict[str, Any] = {"color": COLORS[color], "linestyle": "solid"}
        ax.plot([effect.low, effect.high], [row, row], **line)
        ax.plot(effect.mean, row, marker=marker, markersize=7, **line)
        at_right: dict[str, Any] = {
            "xycoords": ax.get_yaxis_transform(),
            "textcoords": "offset points",
        }
        words = VERDICTS[effect.verdict].words
        ax.annotate(words, (1, row), (6, 0), va="center", fontsize=9, **at_right)
    ax.axvline(0, color=INK, linewidth=0.8, linestyle="solid")
    names = labels or [effect.name for effect in effects]
    minus = " \N{MINUS SIGN} "
    ax.set_yticks(range(len(effects)), [name.replace(" - ", minus) for name in names])
    ax.set_ylim(len(effects) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(unit or units.pop())


def draw_pooled(ax: Axes, pooled: npt.NDArray[np.bool_]) -> None:
    """Draw a block of numbers in the place of some axes, and mark those that share a mean.

    `pooled`, shape (N, C, S), says which. Samples go into the depth, channels to the right, pixels
    upwards; only what lies on the front, the top or the right of the block can be seen.
    """
    samples, channels, pixels = pooled.shape

    def cell(marked: bool, *corners: tuple[float, float, float]) -> None:
        """Draw one face; a corner is (sample, channel, pixel)."""
        flat = [(c + 0.45 * n, s + 0.35 * n) for n, c, s in corners]
        face = COLORS["orange"] if marked else LIGHT_PAGE
        hatch = "////" if marked else None
        ax.add_patch(Polygon(flat, facecolor=face, edgecolor=INK, linewidth=0.8, hatch=hatch))

    for n, c in np.ndindex(samples, channels):
        top = [(n, c, pixels), (n, c + 1, pixels), (n + 1, c + 1, pixels), (n + 1, c, pixels)]
        cell(bool(pooled[n, c, -1]), *top)
    for n, s in np.ndindex(samples, pixels):
        right = [(n, channels, s), (n + 1, channels, s), (n + 1, channels, s + 1)]
        cell(bool(pooled[n, -1, s]), *right, (n, channels, s + 1))
    for c, s in np.ndindex(channels, pixels):
        front = [(0, c, s), (0, c + 1, s), (0, c + 1, s + 1), (0, c, s + 1)]
        cell(bool(pooled[0, c, s]), *front)
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.set_axis_off()
    ax.text(channels / 2, -0.25, "channels", ha="center", va="top", fontsize=10)
    ax.text(-0.25, pixels / 2, "pixels", ha="right", va="center", fontsize=10, rotation=90)
    depth = (channels + 0.45 * samples / 2 + 0.3, 0.35 * samples / 2 - 0.3)
    ax.text(*depth, "samples", ha="left", va="center", fontsize=10)
