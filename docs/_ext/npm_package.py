"""Fetch a pinned npm package once into the user's cache folder; nothing of it is committed."""

from __future__ import annotations

import contextlib
import functools
import io
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dukpy

from bn_tutorial.storage import cache_folder

PATIENCE = 30.0  # seconds until the registry must have said something


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Let no connection wait longer: dukpy opens its own, which would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@functools.cache
def fetch(name: str, version: str) -> Path:
    """Return the folder of a package, which is fetched if this user never had it.

    Raises
    ------
    OSError
        If it is not there and cannot be fetched.
    """
    folder = cache_folder() / f"{name}-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            try:
                # It prints a dot per kilobyte.
                with patience(), contextlib.redirect_stdout(io.StringIO()):
                    dukpy.install_jspackage(name, version, partial)
            except dukpy.install.JSPackageInstallError as error:
                raise OSError(
                    f"{name} {version} is not in {folder} yet, and could not be fetched: {error}"
                ) from error
            with contextlib.suppress(OSError):  # another process was faster: take its copy
                Path(partial, name).rename(folder)
    return folder
