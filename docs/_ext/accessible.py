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
        context["body"] = body.replace("<div id='sg-tag-list' class='sphx-glr-tag-list'></div>", "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
