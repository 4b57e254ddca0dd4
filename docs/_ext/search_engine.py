"""Give the page of the search its engine: MiniSearch, and the stemmer that Sphinx brings.

``_static/search`` says what they are asked, and shows what they answer.
"""

from __future__ import annotations

from pathlib import Path

from npm_package import Package, files
from sphinx import package_dir
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

MINISEARCH = Package(
    "minisearch",
    "7.2.0",
    "sha512-dqT2XBYUOZOiC5t2HRnwADjhNS2cecp9u+TJRiJ1Qp/f5qjkeT5APcGPjHw+bz89Ms8Jp+cG4AlE+QZ/QnDglg==",
)
STEMMERS = ("base-stemmer.js", "english-stemmer.js")  # Snowball's; the second needs the first


def copy_assets(target: Path) -> None:
    """Write both as scripts of the site, MiniSearch with its licence."""
    package = files(MINISEARCH)
    target.mkdir(parents=True, exist_ok=True)
    (target / "minisearch.js").write_bytes(package["dist/umd/index.js"])
    (target / "minisearch-LICENSE.txt").write_bytes(package["LICENSE.txt"])
    folder = Path(package_dir, "search", "minified-js")
    stemmer = "".join((folder / name).read_text(encoding="utf-8") for name in STEMMERS)
    (target / "stemmer.js").write_text(stemmer, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""

    def write_assets(app: Sphinx) -> None:
        try:
            copy_assets(Path(app.outdir, "_static", "search"))
        except OSError as error:
            raise SphinxError(f"MiniSearch, which searches the site: {error}") from error

    app.connect("builder-inited", write_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
