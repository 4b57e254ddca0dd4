"""Show a script's figures as SVG, with their alt text: a sphinx-gallery scraper.

There are four of each, light and dark, for wide pages and for telephones; a page shows one, and a
browser loads no other. The PNG is the stamp that stands for the page in the lists of experiments.
A figure without a description, one too heavy, or a colour without a partner for the dark page,
fails the build.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bn_tutorial.lab import figures, layouts

# A colour is always the value of a style property; an id such as href="#abc123" is not.
COLOUR = re.compile(r"(?<=: )#[0-9a-f]{6}\b")

PATH = re.compile(r'(?<= d=")[^"]+')
NUMBER = re.compile(r"-?\d+\.\d+")
AGAIN = re.compile(r"(?<=L )([^A-Z]+) L (?=[^A-Z])")  # a line to, after a line to

HASHED = re.compile(r'(?<=")[a-z][0-9a-f]{10}(?=")')  # an id, as matplotlib makes it

LEAD = "sphx-glr-lead"  # the class of the figure that its page opens with: see lead_figure.py

HEAVIEST = 200_000  # bytes of an SVG: it would keep a reader waiting

IMAGE = """
.. image:: /{path}
   :alt: {alt}
   :class: sphx-glr-single-img only-{theme} on-{layout}{lead}
   :width: {width}
   :height: {height}
   :loading: lazy
"""


def scrape(_block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save and close the open figures; return the reStructuredText that shows them."""
    docs = Path(gallery_conf["src_dir"])
    paths = block_vars["image_path_iterator"]
    try:
        numbered = zip(plt.get_fignums(), paths, strict=False)  # the paths never end
        return "".join(show(plt.figure(number), Path(path), docs) for number, path in numbered)
    finally:
        plt.close("all")


def show(figure: Figure, png: Path, docs: Path) -> str:
    """Write one figure; return the image directives, of which a page shows one."""
    alt = figures.alt_text(figure)
    shown, lead = "", f" {LEAD}" if figures.is_lead(figure) else ""
    narrow = pickle.loads(pickle.dumps(figure))  # a copy: its own layout changes a figure
    layouts.narrow(narrow)
    for layout, drawing in (("wide", figure), ("narrow", narrow)):
        light = draw(drawing, f"{png.stem}_{layout}")
        width, height = (drawing.get_size_inches() * 96).round().astype(int)  # CSS pixels
        for theme, svg in (("light", light), ("dark", darken(light))):
            path = png.with_name(f"{png.stem}_{layout}_{theme}.svg")
            path.write_text(svg, encoding="utf-8")
            shown += IMAGE.format(
                path=path.relative_to(docs).as_posix(),
                alt=alt,
                theme=theme,
                layout=layout,
                lead=lead,
                width=width,
                height=height,
            )
    layouts.stamp(figure)
    # sphinx-gallery takes the page's first for the page.
    for path in {png, png.with_name(f"{png.stem[:-3]}001.png") if lead else png}:
        figure.savefig(path, dpi=192, facecolor="white", metadata={"Software": None})
    return shown


def draw(figure: Figure, name: str) -> str:
    """Return a figure as SVG; the same figure gives the same bytes at every build."""
    svg = io.StringIO()
    with plt.rc_context({**figures.STYLE, "svg.hashsalt": name}):
        # 192 dots per inch, of what is rasterized in it, are sharp on a screen of doubled pixels.
        figure.savefig(svg, format="svg", dpi=192, transparent=True, metadata={"Date": None})
    light = number_ids(PATH.sub(shorten, svg.getvalue()))
    if len(light) > HEAVIEST:
        raise ValueError(
            f"{name} has {len(light):,} bytes as SVG, expected at most {HEAVIEST:,}: draw fewer "
            "points, or rasterized=True"
        )
    return light


def shorten(path: re.Match[str]) -> str:
    """Write the points of a path to a hundredth of a point: no screen shows more."""
    short = NUMBER.sub(lambda number: f"{round(float(number.group()), 2):g}", path.group())
    return AGAIN.sub(r"\1 ", " ".join(short.split()))


def number_ids(svg: str) -> str:
    """Give ids numbers: matplotlib makes them of all digits of a place, of which the last vary."""
    for number, name in enumerate(dict.fromkeys(HASHED.findall(svg))):
        svg = svg.replace(name, f"id{number}")
    return svg


def darken(svg: str) -> str:
    """Exchange every colour of an SVG for its partner on a dark page."""
    strangers = sorted(set(COLOUR.findall(svg)) - set(figures.DARK))
    if strangers:
        raise ValueError(
            f"{', '.join(strangers)} would be drawn unchanged on a dark page: use figures.COLORS, "
            "or rasterized=True for what a colour map paints"
        )
    dark = COLOUR.sub(lambda colour: figures.DARK[colour.group()], svg)
    # matplotlib leaves out a fill of black, the default: it becomes what is inherited.
    return dark.replace("<svg ", f'<svg fill="{figures.DARK["#000000"]}" ', 1)


def use_site_style(_conf: dict[str, Any], _script: str | None) -> None:
    """Set the style before each script: it reaches what a script adds to a figure, too."""
    plt.rcParams.update(figures.STYLE)
