"""Keep of the theme's icon fonts only the icons that the site shows.

Whole, the one that every page loads weighs a third of the page.
"""

from __future__ import annotations

import re
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
FONTS = "vendor/fontawesome/webfonts"
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
RULE = re.compile(r'([^{}]*)\{--fa:"\\([0-9a-f]+)"')
OF_STYLES = re.compile("[\ue000-\uf8ff]")  # private use: letters that only an icon font has


def code_points(css: str) -> dict[str, int]:
    """Return the place in the font of each icon, by its name, as the theme's style sheet says."""
    return {
        name: int(code, 16)
        for selectors, code in RULE.findall(css)
        for name in NAME.findall(selectors)
    }


def shrink(font: Path, codes: set[int], target: Path) -> None:
    """Write a font that holds these code points only."""
    options = subset.Options(flavor="woff2")
    chooser = subset.Subsetter(options)
    chooser.populate(unicodes=codes)
    with subset.load_font(font, options) as content:
        chooser.subset(content)
        subset.save_font(content, target, options)


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Shrink the fonts when all pages are written: they and the theme's script name the icons."""
    if exception or app.builder.format != "html":
        return
    css = (THEME / "styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    known = code_points(css)
    texts = [*app.outdir.rglob("*.html"), THEME / "scripts/pydata-sphinx-theme.js"]
    used = {name for path in texts for name in NAME.findall(path.read_text(encoding="utf-8"))}
    codes = {known[name] for name in used & known.keys()}
    codes |= {ord(letter) for letter in OF_STYLES.findall(css)}  # such as that of a download
    for font in (THEME / FONTS).glob("*.woff2"):  # always from the whole: an icon may be new
        shrink(font, codes, app.outdir / "_static" / FONTS / font.name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
