"""Fetch a pinned npm package once into the user's cache folder; nothing of it is committed."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from pathlib import Path

import dukpy

from bn_tutorial.storage import cache_folder


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
                with contextlib.redirect_stdout(io.StringIO()):  # it prints a dot per kilobyte
                    dukpy.install_jspackage(name, version, partial)
            except dukpy.install.JSPackageInstallError as error:
                raise OSError(
                    f"{name} {version} is not in {folder} yet, and could not be fetched: {error}"
                ) from error
            with contextlib.suppress(OSError):  # another process was faster: take its copy
                Path(partial, name).rename(folder)
    return folder
