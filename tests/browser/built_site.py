"""Read the HTML of a built site: what its pages link to, show and weigh. No browser is needed."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FIGURES = {".svg", ".png", ".jpg", ".gif", ".webp"}


@dataclass
class Page(HTMLParser):
    """The ids of a page, what it links to and loads, and its images as (address, alt text)."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    images: list[tuple[str, str | None]] = field(default_factory=list)
    inline_scripts: int = 0  # bytes

    def __post_init__(self) -> None:
        super().__init__()
        self.within_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given[key] or "" for key in ("id", "name") if key in given}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("href"):
            self.resources.append(given["href"])
        if tag in ("script", "img", "source", "iframe", "video", "audio") and given.get("src"):
            self.resources.append(given["src"])
        if tag == "img":
            self.images.append((given.get("src") or "", given.get("alt")))
        self.within_script = tag == "script" and given.get("type") != "application/json"

    def handle_data(self, data: str) -> None:
        if self.within_script:
            self.inline_scripts += len(data.encode())

    def handle_endtag(self, _tag: str) -> None:
        self.within_script = False


def page_names(site: Path) -> list[str]:
    """Return the pages, as paths below the site; the theme's templates are none."""
    found = (path.relative_to(site) for path in site.rglob("*.html"))
    return sorted(path.as_posix() for path in found if path.parts[0] != "_static")


@cache
def read(path: Path) -> Page:
    """Return what a page says."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_addresses(site: Path, name: str) -> list[str]:
    """Return the addresses of a page that lead to no file, or to no place in a page."""
    page = read(site / name)
    addresses = dict.fromkeys([*page.links, *page.resources])
    return [address for address in addresses if not exists(site, name, address)]


def exists(site: Path, name: str, address: str) -> bool:
    """Tell whether an address on a page leads somewhere; other hosts are not asked."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return parts.scheme != "file"
    base = site if parts.path.startswith("/") else (site / name).parent
    target = base / unquote(parts.path).lstrip("/") if parts.path else site / name
    if target.is_dir():
        target /= "index.html"
    if not target.resolve().is_relative_to(site.resolve()) or not target.is_file():
        return False
    if target.suffix != ".html" or parts.fragment in ("", "top"):
        return True
    return unquote(parts.fragment) in read(target.resolve()).ids


def foreign_resources(site: Path, name: str) -> list[str]:
    """Return what a page would load from another host."""
    return [address for address in read(site / name).resources if urlsplit(address).netloc]


def unspoken_images(site: Path, name: str) -> list[str]:
    """Return the images without alt text, or with the name of a file in place of one."""
    return [
        f"{address}: {alt!r}"
        for address, alt in read(site / name).images
        if not speaks(address, alt)
    ]


def speaks(address: str, alt: str | None) -> bool:
    """Tell whether an alt text could be one: empty or a sign (decoration), or words of its own."""
    if alt is None:
        return False
    words, stem = squeezed(alt), squeezed(Path(urlsplit(address).path).stem)
    is_file_name = re.search(r"\.(svg|png|jpe?g|gif|webp)$", alt, re.IGNORECASE)
    return not is_file_name and (not words or words not in stem)


def squeezed(text: str) -> str:
    """Return the letters and digits of a text."""
    return re.sub(r"[\W_]+", "", text).lower()


@cache
def compressed_size(path: Path) -> int:
    """Return the bytes that a server sends for a file; fonts and images are compressed already."""
    content = path.read_bytes()
    return len(content) if path.suffix == ".woff2" else len(gzip.compress(content, 6))


def file_size(path: Path) -> int:
    """Return the bytes of a file."""
    return path.stat().st_size


def weight(site: Path, names: set[str]) -> int:
    """Return the compressed bytes of the files that a page loads, without its figures."""
    files = (site / name for name in names if Path(name).suffix not in FIGURES)
    return sum(compressed_size(path) for path in files if path.is_file())


def own_script_bytes(
    site: Path, name: str, loaded: set[str], sources: Path, *, compressed: bool = False
) -> int:
    """Return the bytes of JavaScript of a page that neither Sphinx nor the theme wrote.

    Parameters
    ----------
    site, name
        The built site and the page in it.
    loaded
        What the page loaded, as paths below the site.
    sources
        The folder of static files that this project wrote.
    compressed
        Whether files count as a server sends them.
    """
    size = compressed_size if compressed else file_size
    own = {f"_static/{path.relative_to(sources).as_posix()}" for path in sources.rglob("*.*js")}
    scripts = sum(size(site / path) for path in loaded & own)
    return scripts + read(site / name).inline_scripts
