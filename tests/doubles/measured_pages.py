"""A small site whose pages show what was measured, for the tests of what shows it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

from bn_tutorial.lab.evidence import Evidence

RATE, KEEP, SIZE = GALLERY = (
    "01_a/plot_01_change_the_rate",
    "01_a/plot_02_keep_the_rate",
    "02_b/plot_01_vary_size",
)
DATA = {
    name: SimpleNamespace(name=name, title=f"the {name}", digest="0")
    for name in ("mnist", "digits")
}
CONF = """
extensions = ["evidence_roles", "forest", "comparisons", "myst_parser"]
exclude_patterns = ["_build"]
"""


class Measured:
    """A site whose gallery is written by hand, and what its scripts have measured."""

    def __init__(self, root: Path) -> None:
        self.root, self.docs = root, root / "docs"
        self.out = self.docs / "_build" / "html"
        for page in GALLERY:
            self.write(f"tutorial_src/{page}.py", "")
            self.write(f"docs/gallery/{page}.rst", f"Page\n====\n\nIt is {page}.\n")
        self.write("docs/conf.py", CONF)
        self.page("Text.")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def page(self, text: str) -> None:
        """Write the home page, whose text begins on line 3."""
        self.write(
            "docs/index.md", f"# Home\n\n{text}\n\n```{{toctree}}\n:glob:\n\ngallery/*/*\n```\n"
        )

    def evidence(self, page: str, *, data: str = "mnist", **options: Any) -> Evidence:
        return Evidence(page, data=DATA[data], seeds=range(3), **options)

    def measure(
        self,
        page: str = RATE,
        *,
        data: str = "mnist",
        claims: dict[str, str] | None = None,
        **arms: list[float],
    ) -> Evidence:
        """Save effects of a page by name, of three seeds, whose controls are almost zero."""
        evidence = self.evidence(page, data=data, horizon="9 steps", claims=claims)
        for name, treated in arms.items():
            control = [0.0, 0.1, -0.1]
            evidence.compare(name, treated, control, unit="points", smallest=1.0)
        evidence.save()
        return evidence

    def build(self) -> str:
        """Build, and return the warnings."""
        app = SphinxTestApp("html", srcdir=self.docs, freshenv=True)  # as fresh.py has it
        try:
            app.build()
            self.log = app.status.getvalue()
            return app.warning.getvalue()
        finally:
            app.cleanup()

    def read(self, page: str = "index") -> BeautifulSoup:
        return BeautifulSoup((self.out / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
