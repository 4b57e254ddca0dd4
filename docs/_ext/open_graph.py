"""Describe each page to what shows a link to it: its title and its first sentence.

An address or an image needs to know where the site is published (``html_baseurl``); without that
it is left out.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from sentences import first_sentence
from sphinx.application import Sphinx


def said_first(doctree: nodes.document) -> str:
    """Return the first sentence of a page's text, in plain words; a formula as its TeX.

    A label such as **The question.** is no part of it, and a paragraph that a label without an
    end opens (**You need** ...) is not what the page says.
    """
    for paragraph in doctree.findall(nodes.paragraph):
        label = paragraph[0].astext() if isinstance(paragraph[0], nodes.strong) else ""
        if isinstance(paragraph.parent, nodes.section) and (not label or label.endswith(".")):
            sentence = first_sentence(paragraph.astext().removeprefix(label), ends=".?!:")
            if sentence:
                return re.sub(r":$", ".", sentence)
    return ""


def describe(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the tags to the head of a page."""
    site, title = app.config.project, unescape(re.sub("<[^>]*>", "", context.get("title", "")))
    tags = {"og:type": "article", "og:site_name": site, "og:title": title or site}
    sentence = said_first(doctree) if doctree else ""
    if sentence:
        tags["og:description"] = sentence
    if app.config.html_baseurl:
        tags["og:url"] = urljoin(app.config.html_baseurl, f"{page}.html")
        tags["og:image"] = urljoin(app.config.html_baseurl, app.config.open_graph_image)
    html = [f'<meta property="{name}" content="{escape(text)}">' for name, text in tags.items()]
    if sentence:
        html.append(f'<meta name="description" content="{escape(sentence)}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(html)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_config_value("open_graph_image", "", "html", types=frozenset({str}))
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
