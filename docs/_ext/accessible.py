"""Mend the HTML that confuses assistive technology."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def mend(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Exchange what docutils and sphinx-gallery write."""
    if "body" in context:
        # A bibliography is a role="list"; its entries have a role that is deprecated.
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        # An empty place for tags, which we do not use: the same id in every section of a gallery.
        body = body.replace("<div id='sg-tag-list' class='sphx-glr-tag-list'></div>", "")
        # A folded cell says in its summary what it holds; this label would say less.
        context["body"] = body.replace(' aria-label="Toggle hidden content"', "")


def choose_light(app: Sphinx, exception: Exception | None) -> None:
    """Give pages a theme where no script chooses one: "auto" has no colours of its own."""
    if exception or app.builder.format != "html":
        return
    for path in app.outdir.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if 'data-theme="auto"' in text[:500]:
            text = text.replace('data-theme="auto"', 'data-theme="light"', 1)
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_js_file("reading.js", loading_method="defer")
    app.connect("html-page-context", mend)
    app.connect("build-finished", choose_light)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
