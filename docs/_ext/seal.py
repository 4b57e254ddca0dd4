"""Seals: which files were made together, and whether each of them is still as it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from bn_tutorial import fingerprint


def write(seal: Path, files: Iterable[Path]) -> None:
    """Seal files, which lie in the folder of the seal or below."""
    names = sorted(path.relative_to(seal.parent).as_posix() for path in files)
    fingerprint.write_signed(seal, {name: digest(seal.parent / name) for name in names})


def holds(seal: Path, *files: Path) -> bool:
    """Tell whether there is a seal, also of these files, and all that it names is as it was."""
    sealed = fingerprint.read_signed(seal)
    if sealed is None or {path.relative_to(seal.parent).as_posix() for path in files} - set(sealed):
        return False
    try:
        return all(digest(seal.parent / name) == known for name, known in sealed.items())
    except OSError:
        return False


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
