"""Let a page load and run files of this site alone: its Content-Security-Policy.

The policy stands in the page, because not every host can send one (GitHub Pages cannot). What no
page can say of itself, such as who may frame it (``frame-ancestors``), is left to the host.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

TEMPLATES = Path(__file__).parents[1] / "_templates"
# Stands in each page: as a file, it would hold up the first paint by a round trip.
BEFORE_PAINT = (TEMPLATES / "before-paint.js").read_text(encoding="utf-8")
POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "style-src-attr": ["'unsafe-inline'"],  # KaTeX gives each box of a formula its height
    "img-src": ["'self'", "data:"],  # the theme's style sheet holds drawings, such as arrows
    "object-src": ["'none'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'"],
}


def policy(script: str = "", style: str = "") -> str:
    """Return the tag for a page, which may hold this script and this style sheet itself."""
    sources = {name: list(allowed) for name, allowed in POLICY.items()}
    for name, text in (("script-src", script), ("style-src", style)):
        if text:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            sources[name].append(f"'sha256-{digest}'")
    content = "; ".join(" ".join([name, *allowed]) for name, allowed in sources.items())
    return f'<meta http-equiv="Content-Security-Policy" content="{content}">'


def write(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Put the policy before all that it holds for; the page of no address makes its own."""
    context["policy"], context["before_paint"] = policy, BEFORE_PAINT
    context["metatags"] = policy(BEFORE_PAINT) + "\n" + context.get("metatags", "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it, after what else writes such tags."""
    app.connect("html-page-context", write, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
