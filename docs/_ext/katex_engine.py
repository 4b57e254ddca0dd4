"""Run KaTeX, a JavaScript library, while the site is built; Sphinx knows it through ``katex.py``.

dukpy is a JavaScript engine that pip installs.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import dukpy
from npm_package import Package, files

KATEX = Package(
    "katex",
    "0.19.1",
    "sha512-jG8uKntjSEcm2EpQOh0XturpPuuC9r3Sq5HLHdsFdWZT27E672SF19QEi+of0/YeOy15lDgRhKvr5614uRrEfA==",
)
# The letters and the digits: every formula has some.
FONTS_OF_ALL = ("KaTeX_Main-Regular", "KaTeX_Math-Italic")
# "error" also refuses what KaTeX would accept and LaTeX would not.
RENDER = """katex.renderToString(dukpy.tex, {displayMode: dukpy.display, macros: dukpy.macros,
                                             strict: "error", output: "htmlAndMathml"})"""
# The marks of symbols are no LaTeX. Nothing else of that kind is trusted.
RENDER_MARKED = """katex.renderToString(dukpy.tex, {
  displayMode: dukpy.display, macros: dukpy.macros, output: "html",
  trust: function (context) { return context.command === "\\\\htmlData"; },
  strict: function (code) { return code === "htmlExtension" ? "ignore" : "error"; }})"""
FOR_THE_EYE = '<span class="katex-html"'
ENCLOSING = re.compile(r' class="enclosing(?: mtight)?"(?= data-s)')  # no style sheet knows it


@functools.cache
def interpreter() -> dukpy.JSInterpreter:
    """Return a JavaScript engine in which KaTeX is loaded (forty milliseconds)."""
    engine = dukpy.JSInterpreter()
    engine.evaljs(files(KATEX)["dist/katex.min.js"].decode() + "; 0")
    return engine


def render(tex: str, macros: dict[str, str], *, display: bool, marked: str = "") -> str:
    r"""Return the HTML of a formula, MathML for screen readers included.

    Parameters
    ----------
    tex : str
        The formula.
    macros : dict of str to str
        What commands of ours stand for.
    display : bool
        Whether it is a block of its own.
    marked : str
        The same with its symbols marked, as ``\htmlData{s=...}{...}``: for the eye alone.

    Raises
    ------
    ValueError
        If KaTeX cannot read the formula.
    """
    html = _run(RENDER, tex, macros, display)
    if marked in ("", tex):
        return html
    seen = ENCLOSING.sub("", _run(RENDER_MARKED, marked, macros, display))
    return html.partition(FOR_THE_EYE)[0] + "".join(seen.partition(FOR_THE_EYE)[1:])


def _run(script: str, tex: str, macros: dict[str, str], display: bool) -> str:
    try:
        return str(interpreter().evaljs(script, tex=tex, macros=macros, display=display))
    except dukpy.JSRuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def copy_assets(target: Path) -> None:
    """Copy KaTeX's style sheet, its licence and its woff2 fonts, which every browser reads."""
    package = files(KATEX)
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = package["dist/katex.min.css"].decode()
    css = re.sub(r',url\([^)]*\) format\("(woff|truetype)"\)', "", css)
    for path, content in package.items():
        if path.endswith(".woff2"):
            (target / "fonts" / Path(path).name).write_bytes(content)
    (target / "katex.css").write_text(css, encoding="utf-8")
    (target / "LICENSE").write_bytes(package["LICENSE"])
