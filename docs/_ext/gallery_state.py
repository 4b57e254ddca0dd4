"""Which scripts of the gallery are up to date, and what is left of those that are gone.

sphinx-gallery keeps, next to its copy of a script, the checksum of the text that ran to the end
(``.md5``), and runs a script when that is missing or differs. A script is named here by its path
without suffix: ``03_in_training/plot_01_compare_training``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from sphinx_gallery.utils import get_md5sum

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources

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
    """Tell whether the script ran to the end, with the text that it has now."""
    checksum = gallery / f"{script}.py.md5"
    now = get_md5sum(source / f"{script}.py", mode="t")
    return checksum.is_file() and checksum.read_text() == now


def forget(script: str, gallery: Path) -> None:
    """Make a script run again; what it measured last time is no longer evidence."""
    (gallery / f"{script}.py.md5").unlink(missing_ok=True)
    (gallery / "evidence" / f"{script}.json").unlink(missing_ok=True)


def remove_leftovers(scripts: Iterable[str], gallery: Path) -> None:
    """Remove the pages, figures and evidence of scripts that were renamed or deleted."""
    known = set(scripts)
    sections = {script.split("/")[0] for script in known}
    for evidence in (gallery / "evidence").glob("*/*.json"):
        if f"{evidence.parent.name}/{evidence.stem}" not in known:
            evidence.unlink()
    for copy in gallery.glob("*/plot_*.py"):
        if f"{copy.parent.name}/{copy.stem}" not in known:
            images = copy.parent / "images"
            for path in (
                *copy.parent.glob(f"{copy.stem}.*"),
                *images.glob(f"sphx_glr_{copy.stem}_[0-9][0-9][0-9]*"),
                *images.glob(f"thumb/sphx_glr_{copy.stem}_thumb.*"),
            ):
                path.unlink()
    for folder in gallery.glob("*/images"):
        if folder.parent.name not in sections:
            shutil.rmtree(folder.parent)
