"""Offer each experiment's notebook in Colab, once a GitHub repository holds the built site.

``colab_site = "owner/name/blob/branch"`` says where; it is empty until then, and no page has a
link.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

NOTEBOOK = re.compile(
    r'<a class="reference download[^>]*href="[./]*(_downloads/[^"]*\.ipynb)".*?</div>', re.S
)
ADDRESS = "https://colab.research.google.com/github/{}/{}"
LINK = f"""
<div class="sphx-glr-download docutils container">
<p><a class="reference external" href="{ADDRESS}">Open in Colab</a></p>
</div>"""


def add_link(app: Sphinx, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Put the link behind that of the notebook's download."""
    site = app.config.colab_site
    if site and page.startswith("gallery/"):
        context["body"] = NOTEBOOK.sub(lambda m: m[0] + LINK.format(site, m[1]), context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.setup_extension("take_along")  # whose setting it reads
    app.connect("html-page-context", add_link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
