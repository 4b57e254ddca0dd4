"""Run KaTeX, a JavaScript library, while the site is built; Sphinx knows it through ``katex.py``.

dukpy, a JavaScript engine that pip installs, fetches KaTeX once into the user's cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shutil
import tempfile
from pathlib import Path

import dukpy

from bn_tutorial.storage import cache_folder

VERSION = "0.19.1"
# "error" also refuses what KaTeX would accept and LaTeX would not.
RENDER = """katex.renderToString(dukpy.tex, {displayMode: dukpy.display, macros: dukpy.macros,
                                             strict: "error", output: "htmlAndMathml"})"""


@functools.cache
def package() -> Path:
    """Return KaTeX's folder, which is fetched if this user never had it."""
    folder = cache_folder() / f"katex-{VERSION}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it prints a dot per kilobyte
                    dukpy.install_jspackage("katex", VERSION, partial)
            except dukpy.install.JSPackageInstallError as error:
                raise OSError(
                    f"KaTeX {VERSION} is not in {folder} yet, and could not be fetched: {error}"
                ) from error
            with contextlib.suppress(OSError):  # another build was faster: take its copy
                Path(partial, "katex").rename(folder)
    return folder


@functools.cache
def interpreter() -> dukpy.JSInterpreter:
    """Return a JavaScript engine in which KaTeX is loaded (forty milliseconds)."""
    engine = dukpy.JSInterpreter()
    engine.evaljs((package() / "dist/katex.min.js").read_text(encoding="utf-8") + "; 0")
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
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    css = (package() / "dist/katex.min.css").read_text(encoding="utf-8")
    css = re.sub(r',url\([^)]*\) format\("(woff|truetype)"\)', "", css)
    (target / "katex.css").write_text(css, encoding="utf-8")
    for font in (package() / "dist/fonts").glob("*.woff2"):
        shutil.copyfile(font, target / "fonts" / font.name)
    shutil.copyfile(package() / "LICENSE", target / "LICENSE")
