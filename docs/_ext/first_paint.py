"""Let a page be painted as soon as its head is there: it holds what it looks like, no script waits.

The theme and the extensions bring thirteen style sheets, of which nine tenths are for what a page
has not. A rule stays on a page if a selector of it has no class but those on the page and the words
of its scripts, which may set them. What stays stands in the page: as a file, it would come a round
trip later, and share the network with the text.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

from lightningcss import process_stylesheet
from policy import BEFORE_PAINT, policy
from sphinx.application import Sphinx

# The gallery has no tags (accessible.py), the theme's icons are a font (icon_font.py), and the
# search is MiniSearch's (search_engine.py).
UNUSED = ("sg-tags.js", "scripts/fontawesome.js", "sphinx_highlight.js")
UNUSED += ("searchtools.js", "language_data.js")
FOR_OTHERS = ("*.map", "webpack-macros.html")  # for who develops the theme
WITHOUT_SCRIPTS = "without-scripts.css"
MAP = re.compile(r"\n//# sourceMappingURL=\S*\s*\Z")
LINK = re.compile(
    r'<link\b[^>]*\bhref="(?P<root>[^"]*_static/)(?P<sheet>[^"?]+\.css)[^"]*"[^>]*>\n?\s*'
    r"(?!</noscript>)"
)
IMPORT = re.compile(r'@import "([^"]+)";')
ADDRESS = re.compile(r"""url\((["']?)(?!data:|[a-z]+:|#)([^)"']+)\1\)""")
OF_PAGES = re.compile(r'\b(?:class|id)="([^"]*)"')
OF_SCRIPTS = re.compile(r"[\w-]{3,}")  # shorter ones are variables
LOADED = re.compile(r'<script\b[^>]*\bsrc="[^"]*_static/([^"?]+)')
SYMBOLS = re.compile(r"(?:[.#]|@keyframes )(-?[_a-zA-Z][\w-]*)")
VARIABLES = re.compile(r"(--[\w-]+)\s*:")
READ = re.compile(r"var\(\s*(--[\w-]+)")
# What the scripts of the theme can make, and are asked for by no page here.
NEVER_MADE = re.compile(
    "alert|announcement|async-banner|carousel|list-group|modal|offcanvas|popover|progress|toast"
    "|version-switcher"
)


def defer_scripts(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any
) -> None:
    """Make scripts wait for the page, and leave out those that do nothing here.

    Two options of the theme are among them: they would be scripts that stand in the page itself.
    """
    context["script_files"] = [
        script
        for script in context["script_files"]
        if script.filename not in [f"_static/{name}" for name in UNUSED]
        and not script.attributes.get("body", "").startswith("DOCUMENTATION_OPTIONS.")
    ]
    for script in context["script_files"]:
        if script.filename and "async" not in script.attributes:
            script.attributes["defer"] = "defer"


def read(sheet: str, static: Path) -> str:
    """Return a sheet with what it imports, and with addresses as from the folder of all sheets."""
    folder = posixpath.dirname(sheet)

    def below(address: str) -> str:
        return posixpath.normpath(posixpath.join(folder, address))

    css = ADDRESS.sub(
        lambda found: f'url("{below(found[2])}")', (static / sheet).read_text(encoding="utf-8")
    )
    return IMPORT.sub(lambda found: read(below(found[1]), static), css)


def scripts_of(page: str, scripts: dict[str, str]) -> list[str]:
    """Return the texts of the scripts that a page loads, and of those that they name in turn."""
    found, texts = [name for name in LOADED.findall(page) if name in scripts], list[str]()
    for name in found:  # which grows
        texts.append(scripts[name])
        others = (other for other in scripts if posixpath.basename(other) in texts[-1])
        found += [other for other in others if other not in found]
    return texts


@cache
def words_of(script: str) -> set[str]:
    """Return the words of a script that may be what it sets."""
    return {word for word in OF_SCRIPTS.findall(script) if not NEVER_MADE.search(word)}


def lean(css: str, page: str, scripts: list[str]) -> str:
    """Return a style sheet without rules for what a page has not, then variables likewise."""
    words = set().union(*map(words_of, scripts))
    has = {name for names in OF_PAGES.findall(page) for name in names.split()}
    css = process_stylesheet(css, unused_symbols=set(SYMBOLS.findall(css)) - has - words)
    reads = {name for text in (css, page, *scripts) for name in READ.findall(text)}
    return process_stylesheet(css, unused_symbols=set(VARIABLES.findall(css)) - reads - words)


def dressed(page: str, static: Path, scripts: dict[str, str]) -> str:
    """Return a page that holds its rules itself, in the place of the first link to a sheet."""
    if not (first := LINK.search(page)):
        return page
    css = "".join(read(found["sheet"], static) for found in LINK.finditer(page))
    css = lean(css, page, scripts_of(page, scripts))
    css = ADDRESS.sub(lambda found: f'url("{first["root"]}{found[2]}")', css)
    rest = LINK.sub("", page[first.start() :])
    page = f"{page[: first.start()]}<style>{css}</style>\n{rest}"
    return page.replace(policy(BEFORE_PAINT), policy(BEFORE_PAINT, css))


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Give each page its rules when all are written, and publish no sheet beside them."""
    if exception or app.builder.format != "html":
        return
    static = app.outdir / "_static"
    for path in [path for pattern in (*FOR_OTHERS, *UNUSED) for path in static.rglob(pattern)]:
        path.unlink()
    scripts = {}
    for path in static.rglob("*.js"):
        text = MAP.sub("\n", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        scripts[path.relative_to(static).as_posix()] = text
    for path in app.outdir.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        path.write_text(dressed(page, static, scripts), encoding="utf-8")
    for path in static.rglob("*.css"):
        if path.name != WITHOUT_SCRIPTS:
            path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("html-page-context", defer_scripts, priority=900)
    app.connect("build-finished", finish, priority=900)  # the theme writes a sheet then
    return {"parallel_read_safe": True, "parallel_write_safe": True}
