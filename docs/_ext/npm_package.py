"""Keep pinned npm packages in the user's cache folder; nothing of them is committed."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import logging
import os
import tarfile
from pathlib import Path
from typing import NamedTuple

import dukpy

from bn_tutorial.fetch import DownloadError, download
from bn_tutorial.storage import cache_folder, replace_when_complete

_log = logging.getLogger(__name__)

LIMIT = 10_000_000  # bytes of a package


class Package(NamedTuple):
    """A version of a package, and what ``npm view NAME@VERSION dist.integrity`` says of it."""

    name: str
    version: str
    integrity: str


@functools.cache
def files(package: Package) -> dict[str, bytes]:
    """Return the files of a package by their paths in it: once a process.

    They are read from one archive, as ``npm pack`` makes it, which is verified each time and
    downloaded where it is missing or damaged. Nothing is unpacked that could be damaged later.

    Raises
    ------
    OSError
        If it is not there and cannot be fetched, or cannot be read. The message names it.
    """
    path = cache_folder() / f"{package.name}-{package.version}.tgz"
    archive = _kept(path)
    if archive is None or integrity_of(archive) != package.integrity:
        if archive is not None:
            _log.warning("%s is damaged. It is downloaded again.", path)
        archive = _fetched(package, path)
        with replace_when_complete(path) as partial:
            partial.write_bytes(archive)
    with tarfile.open(fileobj=io.BytesIO(archive)) as contents:
        return {
            member.name.partition("/")[2]: file.read()
            for member in contents
            if (file := contents.extractfile(member))
        }


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror}): delete it") from error


def _fetched(package: Package, path: Path) -> bytes:
    name, version, integrity = package
    try:
        archive = download(f"{registry()}/{name}/-/{path.name}", limit=LIMIT)
        if integrity_of(archive) != integrity:
            raise DownloadError(f"{registry()} has another {path.name}: its integrity is wrong")
    except DownloadError as error:
        raise OSError(
            f"{path} is not there, and could not be fetched ({error}). Run again with a network "
            f"connection, or run `npm pack {name}@{version}` elsewhere and put there what it makes"
        ) from error
    return archive


def integrity_of(archive: bytes) -> str:
    """Return what npm calls the integrity of an archive: its SHA-512."""
    return "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()


def registry() -> str:
    """Return the address of the registry: what npm's own variable says, or else what dukpy asks."""
    (known,) = (
        text.partition("/{")[0]
        for text in dukpy.install._fetch_package_info.__code__.co_consts
        if isinstance(text, str) and text.startswith("https:")
    )
    return os.environ.get("NPM_CONFIG_REGISTRY", known).rstrip("/")
