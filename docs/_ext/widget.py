"""The directive ``widget``: a figure to touch, whose first view the build writes into the page.

``{widget} move-a-sample`` puts the widget's view there, drawn by its own script, which runs while
the site is built; its content is shown where there is no JavaScript. If the script does not compute
what the package computes, the build fails. Only pages with a widget load scripts for it.

Where it shows equations of the derivations, their lines of code beside them, the build puts them
there too; the script chooses which is seen.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import dukpy
import katex_engine
import numpy as np
from docutils import nodes
from marked_code import to_read
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective
from widget_data import LATER, PIECES, STARTS

SCRIPTS = Path(__file__).parents[1] / "_static" / "widgets"


class widget(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """A widget; its children are what is shown without JavaScript."""


@functools.cache
def interpreter() -> dukpy.JSInterpreter:
    """Return a JavaScript engine in which all widgets are loaded; it knows of no document."""
    engine = dukpy.JSInterpreter()
    for path in (SCRIPTS / "core.js", *(SCRIPTS / f"{name}.js" for name in STARTS)):
        engine.evaljs(path.read_text(encoding="utf-8") + "; 0")
    return engine


def first_view(name: str) -> tuple[str, str]:
    """Return a widget's first view as HTML, and its data as JSON that a script element may hold."""
    if name not in STARTS:
        raise ValueError(f"there is no widget {name!r}, expected one of {', '.join(STARTS)}")
    data, expected = STARTS[name]()
    first = interpreter().evaljs("bnWidgets.first(dukpy.name, dukpy.data)", name=name, data=data)
    for key, value in expected.items():
        if not np.allclose(first["numbers"][key], value, rtol=1e-12, atol=1e-12):
            raise ValueError(
                f"{name}.js computes {first['numbers'][key]} for {key}; the package, {value}"
            )
    return first["html"], json.dumps(data).replace("<", r"\u003c")


class Widget(SphinxDirective):
    """``widget`` with a name, and the text that stands for it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the widget, or a gap while one page is built."""
        self.assert_has_content()
        name = self.arguments[0]
        try:
            html, data = first_view(name)
        except ValueError as error:
            raise self.error(str(error)) from error
        except LookupError as missing:
            if not os.environ.get("BN_TUTORIAL_ONLY"):
                raise self.error(str(missing)) from missing
            return [nodes.strong("", "[not recorded]", classes=["not-measured"])]
        later = {path: make() for path, make in LATER.get(name, {}).items()}
        content = self.parse_content_to_nodes()
        return [widget("", *content, name=name, html=html, data=data, later=later)]


def equations(env: BuildEnvironment, labels: list[str]) -> dict[str, str]:
    """Return the TeX of equations, from the pages that derive them."""
    known = env.domains.math_domain.equations
    if missing := [label for label in labels if label not in known]:
        raise SphinxError(f"a widget shows {', '.join(missing)}: no page has such an equation")
    pages = {known[label][0] for label in labels}
    blocks = [b for page in pages for b in env.get_doctree(page).findall(nodes.math_block)]
    return {b["label"]: b.astext() for b in blocks if b.get("label") in labels}


def pieces(self: Any, name: str) -> str:
    """Return the equations of a widget, each with the line that computes it, none of them seen."""
    labels = PIECES.get(name, {})
    tex = equations(self.builder.env, list(labels.values())) if labels else {}
    rows = []
    for key, label in labels.items():
        formula = katex_engine.render(tex[label], self.config.katex_macros, display=True)
        code = self.highlighter.highlight_block(to_read(label), "python")
        rows.append(f'<div class="bn-piece" data-piece="{key}" hidden>{formula}{code}</div>')
    return "".join(rows)


def visit(self: Any, node: widget) -> None:
    """Write the view, the data, and what is for readers without JavaScript."""
    html = node["html"].replace("<!-- pieces -->", pieces(self, node["name"]))
    self.body.append(f'<div class="bn-widget" data-widget="{node["name"]}">{html}')
    self.body.append(f'<script type="application/json">{node["data"]}</script><noscript>')


def depart(self: Any, _: widget) -> None:
    """Close it."""
    self.body.append("</noscript></div>\n")


def load_scripts(app: Sphinx, _page: str, _template: str, _context: Any, doctree: Any) -> None:
    """Load what the widgets of this page need, in order and after the page.

    What one may ask for later lies in the site, and no page loads it.
    """
    widgets = list(doctree.findall(widget)) if doctree else []
    for path, text in {p: t for node in widgets for p, t in node.get("later", {}).items()}.items():
        file = Path(app.outdir, "_static", path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    names = sorted({node["name"] for node in widgets})
    if names:
        app.add_css_file("widgets.css")
    for name in ("core", *names) if names else ():
        app.add_js_file(f"widgets/{name}.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.add_node(widget, html=(visit, depart))
    app.add_directive("widget", Widget)
    app.connect("html-page-context", load_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
