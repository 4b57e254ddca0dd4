"""Say at the foot of a page what it was made with: versions, device and seeds.

The data and the date are known to the template already. How long it took is in the log: no two
builds take the same time, but they give the same pages.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx

from bn_tutorial import fingerprint


def read_evidence(page: str) -> dict[str, Any]:
    """Return what a gallery script recorded; nothing for other pages."""
    path = Path(os.environ.get("BN_TUTORIAL_EVIDENCE", ""), f"{page.removeprefix('gallery/')}.json")
    recorded = page.startswith("gallery/") and path.is_file()
    return json.loads(path.read_text(encoding="utf-8")) if recorded else {}


def add_facts(app: Sphinx, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Give the template the facts of a page."""
    evidence = read_evidence(page)
    versions = evidence.get("versions") or {name: version(name) for name in ("numpy", "torch")}
    executed = NbMetadataCollector.get_exec_data(app.env, page) if context.get("body") else None
    context["provenance"] = {
        "numpy": versions["numpy"],
        "torch": versions["torch"],
        "device": evidence.get("device") or fingerprint.device(),
        "seeds": len(evidence.get("seeds", ())) or None,
        "ran": bool(evidence or executed),
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("html-page-context", add_facts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
