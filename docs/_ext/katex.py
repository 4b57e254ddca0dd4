"""Mathematics as HTML and MathML, made while the site is built: no page needs a script for it.

Bad TeX fails the build and names the page and the line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import katex_engine
from docutils import nodes
from docutils.utils import get_source_line
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.math import get_node_equation_number

# A script makes it a preload (before-paint.js): on a page from the disk it would be refused.
PRELOAD = '\n<link data-rel="preload" href="{}" as="font" type="font/woff2" crossorigin>'


def to_html(self: Any, node: nodes.Element, *, display: bool) -> str:
    """Render a formula, or say where it cannot be read; its symbols may be marked (symbols.py)."""
    tex, marked = node.astext(), node.get("marked", "")
    if display:
        tex, marked = as_displayed(node, tex), as_displayed(node, marked)
    try:
        return katex_engine.render(tex, self.config.katex_macros, display=display, marked=marked)
    except ValueError as error:
        source, line = get_source_line(node)
        raise SphinxError(f"{source}:{line}: {error}\n{tex}") from error


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    html = to_html(self, node, display=False)
    self.body.append(self.starttag(node, "span", "", CLASS="math") + html + "</span>")
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write an equation in a box of its own, which scrolls, by keyboard too, when it is wide."""
    number = get_node_equation_number(self, node) if node["number"] else ""
    label = f"Equation {number}".strip()
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(f'<div class="equation" role="group" tabindex="0" aria-label="{label}">')
    self.body.append(to_html(self, node, display=True) + "</div>")
    if number:
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def as_displayed(node: nodes.Element, tex: str) -> str:
    """Return the TeX of a block: its lines aligned, and numbered by Sphinx alone."""
    tex = re.sub(r"\\(begin|end)\{(align|alignat|equation|gather)\}", r"\\\1{\2*}", tex)
    if node.get("nowrap") or node.get("no-wrap"):
        return tex
    parts = [
        rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part
        for part in re.split(r"\n\s*\n", tex.strip())
    ]
    stacked = r" \\ ".join(parts)
    return stacked if len(parts) == 1 else rf"\begin{{gathered}}{stacked}\end{{gathered}}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; only pages with mathematics load its style sheet and fonts."""

    def write_assets(app: Sphinx) -> None:
        try:
            katex_engine.copy_assets(Path(app.outdir, "_static", "katex"))
        except OSError as error:
            raise SphinxError(f"KaTeX, which sets the formulas: {error}") from error

    def link_style_sheet(app: Sphinx, _page: str, _template: str, context: Any, _: Any) -> None:
        if context.get("has_maths_elements"):
            app.builder.add_css_file("katex/katex.css")  # type: ignore[attr-defined]
            # With the page, not after it: it must not be set twice.
            fonts = "".join(
                PRELOAD.format(context["pathto"](f"_static/katex/fonts/{font}.woff2", True))
                for font in katex_engine.FONTS_OF_ALL
            )
            context["metatags"] = context.get("metatags", "") + fonts

    app.add_config_value("katex_macros", {}, "html", types=frozenset({dict}))
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_block, None))
    app.connect("builder-inited", write_assets)
    app.connect("html-page-context", link_style_sheet)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
