"""Run KaTeX, a JavaScript library, while the site is built; Sphinx knows it through ``katex.py``.

dukpy is a JavaScript engine that pip installs.
"""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path

import dukpy
from npm_package import fetch

VERSION = "0.19.1"
# The letters and the digits: every formula has some.
FONTS_OF_ALL = ("KaTeX_Main-Regular", "KaTeX_Math-Italic")
# "error" also refuses what KaTeX would accept and LaTeX would not.
RENDER = """katex.renderToString(dukpy.tex, {displayMode: dukpy.display, macros: dukpy.macros,
                                             strict: "error", output: "htmlAndMathml"})"""


@functools.cache
def interpreter() -> dukpy.JSInterpreter:
    """Return a JavaScript engine in which KaTeX is loaded (forty milliseconds)."""
    engine = dukpy.JSInterpreter()
    script = fetch("katex", VERSION) / "dist/katex.min.js"
    engine.evaljs(script.read_text(encoding="utf-8") + "; 0")
    return engine


def render(tex: str, macros: dict[str, str], *, display: bool) -> str:
    """Return the HTML of a formula, MathML for screen readers included.

    Raises
    ------
    ValueError
        If KaTeX cannot read the formula.
    """
    try:
        return str(interpreter().evaljs(RENDER, tex=tex, macros=macros, display=display))
    except dukpy.JSRuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def copy_assets(target: Path) -> None:
    """Copy KaTeX's style sheet, its licence and its woff2 fonts, which every browser reads."""
    package = fetch("katex", VERSION)
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = (package / "dist/katex.min.css").read_text(encoding="utf-8")
    css = re.sub(r',url\([^)]*\) format\("(woff|truetype)"\)', "", css)
    for font in (package / "dist/fonts").glob("*.woff2"):
        shutil.copyfile(font, target / "fonts" / font.name)
    (target / "katex.css").write_text(css, encoding="utf-8")
    shutil.copyfile(package / "LICENSE", target / "LICENSE")
