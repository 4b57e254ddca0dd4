"""Let a page be painted soon: its scripts wait, and one style sheet holds what the site uses.

The theme and the extensions bring thirteen sheets, of which nine tenths are for what no page here
has. A rule stays if a selector of it has no class but those on some page and the words of the
scripts, which may set them.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightningcss import process_stylesheet
from sphinx.application import Sphinx

# The gallery has no tags (accessible.py), and the theme's icons are a font (icon_font.py).
UNUSED = ("sg-tags.js", "scripts/fontawesome.js")
FOR_OTHERS = ("*.map", "webpack-macros.html")  # for who develops the theme
WITHOUT_SCRIPTS = "without-scripts.css"
MAP = re.compile(r"\n//# sourceMappingURL=\S*\s*\Z")
ALL = "all.css"  # what the pages link to in place of the sheets
LINK = re.compile(
    r'<link\b[^>]*\bhref="(?P<root>[^"]*_static/)(?P<sheet>[^"?]+\.css)[^"]*"[^>]*>\n?\s*'
    r"(?!</noscript>)"
)
IMPORT = re.compile(r'@import "([^"]+)";')
ADDRESS = re.compile(r"""url\((["']?)(?!data:|[a-z]+:|#)([^)"']+)\1\)""")
OF_PAGES = re.compile(r'\bclass="([^"]*)"')
OF_SCRIPTS = re.compile(r"[\w-]+")
CLASSES = re.compile(r"\.(-?[_a-zA-Z][\w-]*)")
VARIABLES = re.compile(r"(--[\w-]+)\s*:")
READ = re.compile(r"var\(\s*(--[\w-]+)")


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


def lean(css: str, pages: list[str], scripts: list[str]) -> str:
    """Return a style sheet without rules for classes that nothing has, then variables likewise."""
    words = {word for script in scripts for word in OF_SCRIPTS.findall(script)}
    has = {name for page in pages for names in OF_PAGES.findall(page) for name in names.split()}
    css = process_stylesheet(css, unused_symbols=set(CLASSES.findall(css)) - has - words)
    reads = {name for text in (css, *pages) for name in READ.findall(text)}
    return process_stylesheet(css, unused_symbols=set(VARIABLES.findall(css)) - reads - words)


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Put the sheets of all pages into one when they are written, and link the pages to it."""
    if exception or app.builder.format != "html":
        return
    static = app.outdir / "_static"
    for path in [path for pattern in (*FOR_OTHERS, *UNUSED) for path in static.rglob(pattern)]:
        path.unlink()
    scripts = {path: path.read_text(encoding="utf-8") for path in static.rglob("*.js")}
    for path, text in scripts.items():
        path.write_text(MAP.sub("\n", text), encoding="utf-8")
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(app.outdir.rglob("*.html"))}
    css = "".join(read(sheet, static) for sheet in order_of(pages.values()))
    css = lean(css, [*pages.values()], [*scripts.values()])
    for path in static.rglob("*.css"):
        if path.name != WITHOUT_SCRIPTS:
            path.unlink()
    (static / ALL).write_text(css, encoding="utf-8")
    for path, page in pages.items():
        path.write_text(relinked(page, f"{ALL}?v={zlib.crc32(css.encode()):08x}"), encoding="utf-8")


def order_of(pages: Iterable[str]) -> dict[str, None]:
    """Return the names of all sheets, as on the page that has the most, then others'."""
    linked = [[found["sheet"] for found in LINK.finditer(page)] for page in pages]
    return dict.fromkeys(name for names in sorted(linked, key=len, reverse=True) for name in names)


def relinked(page: str, sheet: str) -> str:
    """Return a page with one link to a style sheet, in the place of the first."""
    found = LINK.search(page)
    if not found:
        return page
    link = f'<link rel="stylesheet" href="{found["root"]}{sheet}">\n'
    return page[: found.start()] + link + LINK.sub("", page[found.start() :])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("html-page-context", defer_scripts, priority=900)
    app.connect("build-finished", finish, priority=900)  # the theme writes a sheet then
    return {"parallel_read_safe": True, "parallel_write_safe": True}
