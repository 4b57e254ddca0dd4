"""Say at the foot of a page what it was made with: versions, device, seeds, and its time.

The data and the date are known to the template already.
"""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx

from bn_tutorial import fingerprint

GALLERY_TIME = re.compile(
    r'<p class="sphx-glr-timing"><strong>Total running time of the script:</strong> '
    r"\((?:(\d+) minutes )?([\d.]+) seconds\)</p>\n?"
)


def read_evidence(page: str) -> dict[str, Any]:
    """Return what a gallery script recorded; nothing for other pages."""
    path = Path(os.environ.get("BN_TUTORIAL_EVIDENCE", ""), f"{page.removeprefix('gallery/')}.json")
    recorded = page.startswith("gallery/") and path.is_file()
    return json.loads(path.read_text(encoding="utf-8")) if recorded else {}


def say_duration(seconds: float) -> str:
    """Return a time in words, with the precision that a reader needs."""
    if seconds < 1:
        return "less than a second"
    minutes, rest = divmod(round(seconds), 60)
    words = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0)
    return " ".join(words)


def add_facts(app: Sphinx, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Give the template the facts of a page, and take sphinx-gallery's own line of time away."""
    evidence = read_evidence(page)
    versions = evidence.get("versions") or {name: version(name) for name in ("numpy", "torch")}
    executed = NbMetadataCollector.get_exec_data(app.env, page) if context.get("body") else None
    seconds = executed["runtime"] if executed else None
    timed = GALLERY_TIME.search(context.get("body", ""))
    if timed:
        seconds = 60 * int(timed[1] or 0) + float(timed[2])
        context["body"] = context["body"].replace(timed[0], "")
    context["provenance"] = {
        "numpy": versions["numpy"],
        "torch": versions["torch"],
        "device": evidence.get("device") or fingerprint.device(),
        "seeds": len(evidence.get("seeds", ())) or None,
        "duration": say_duration(seconds) if seconds else None,
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("html-page-context", add_facts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
