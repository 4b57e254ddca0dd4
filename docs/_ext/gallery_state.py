"""Which scripts of the gallery are up to date, and what is left of those that are gone.

sphinx-gallery keeps, next to its copy of a script, the checksum of the text that ran to the end
(``.md5``), and runs a script when that is missing or differs. When it has written all that belongs
to a script, this is sealed (``.sealed.json``): where a file of it is missing or altered, the script
runs again. A script is named here by its path without suffix:
``03_in_training/plot_01_compare_training``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import seal
from sphinx.util import logging
from sphinx_gallery.utils import get_md5sum

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources

logger = logging.getLogger(__name__)

DEPENDENCIES = (
    *("numpy", "scipy", "sympy", "torch", "torchvision", "scikit-learn", "matplotlib"),
    "sphinx-gallery",
)
CELL = re.compile(
    r"^```\{code-cell\}[^\n]*\n"
    r"(?:---\n.*?\n---\n|(?::[^\n]*\n)*)"  # its options, written in one of two ways
    r"(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def wanted() -> str:
    """Return how the names of the scripts to build begin: nothing, where all are to be built."""
    return os.environ.get("BN_TUTORIAL_ONLY", "").removesuffix(".py")


def scripts_in(folder: Path) -> list[str]:
    """Return the names of the scripts in the sections of a folder."""
    scripts = sorted(folder.glob("*/plot_*.py"))
    return [path.relative_to(folder).with_suffix("").as_posix() for path in scripts]


def mark_of(code: Iterable[str], sources: Sources, data: str) -> str:
    """Return the fingerprint of all that the output of some code depends on, its text apart."""
    reached = [sources.of_script(text) for text in code]
    return fingerprint.of(reached, fingerprint.versions(*DEPENDENCIES), fingerprint.device(), data)


def cells_of(page: str) -> str:
    """Return the code that a page executes."""
    return "\n".join(CELL.findall(page))


def is_current(script: str, source: Path, gallery: Path) -> bool:
    """Tell whether the script ran to the end, with the text that it has now, and all is there."""
    now = get_md5sum(source / f"{script}.py", mode="t")
    return ran(script, gallery) == now and seal.holds(seal_of(script, gallery))


def outdated(docs: Path) -> list[str]:
    """Return the scripts that did not run to the end as they are now, or whose files are gone."""
    source, gallery = docs.parent / "tutorial_src", docs / "gallery"
    return [name for name in scripts_in(source) if not is_current(name, source, gallery)]


def ran(script: str, gallery: Path) -> str:
    """Return the checksum of the text that ran to the end; nothing where none did."""
    checksum = gallery / f"{script}.py.md5"
    return checksum.read_text(encoding="utf-8", errors="replace") if checksum.is_file() else ""


def seal_of(script: str, gallery: Path) -> Path:
    """Return the file of a script's seal."""
    return gallery / f"{script.replace('/', '.')}.sealed.json"


def files_of(script: str, gallery: Path) -> list[Path]:
    """Return all files that a script has made."""
    section, name = script.split("/")
    images = gallery / section / "images"
    return [
        *(gallery / section).glob(f"{name}.*"),
        *images.glob(f"sphx_glr_{name}_[0-9][0-9][0-9]*"),
        *images.glob(f"thumb/sphx_glr_{name}_thumb.*"),
        *(gallery / "evidence" / section).glob(f"{name}.json"),
    ]


def finish(gallery_conf: dict[str, Any], file: str | None, when: str) -> None:
    """Seal what a script has made, when it ran to the end: one of sphinx-gallery's resets."""
    gallery = Path(gallery_conf["src_dir"], "gallery")
    for script in scripts_in(gallery) if file and when == "after" else ():
        if script.endswith(f"/{file.removesuffix('.py')}") and ran(script, gallery):
            seal.write(seal_of(script, gallery), files_of(script, gallery))


def forget(script: str, gallery: Path) -> None:
    """Remove all that a script has made: it runs again, and what it measured is no evidence."""
    for path in (seal_of(script, gallery), *files_of(script, gallery)):
        path.unlink(missing_ok=True)


def remove_leftovers(scripts: Iterable[str], gallery: Path) -> None:
    """Remove the pages, figures and evidence of scripts that were renamed or deleted."""
    known = set(scripts)
    sections = {script.split("/")[0] for script in known}
    made = [*gallery.glob("*/plot_*.*"), *gallery.glob("evidence/*/*.json")]
    for script in {f"{path.parent.name}/{path.name.split('.')[0]}" for path in made} - known:
        forget(script, gallery)
    for folder in gallery.glob("*/images"):
        if folder.parent.name not in sections:
            shutil.rmtree(folder.parent)
