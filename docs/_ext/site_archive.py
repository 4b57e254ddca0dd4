"""Pack the built site into one file, which reads without a server: ``nox -s archive``."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

LEFT_OUT = {".buildinfo", "objects.inv"}  # for the next build, and for other projects


def write(site: Path, archive: Path) -> None:
    """Write the files of the site, in one folder named like the archive, with the build's date."""
    files = {
        f"{archive.stem}/{path.relative_to(site).as_posix()}": path
        for path in sorted(site.rglob("*"))
        if path.is_file() and path.name not in LEFT_OUT and path.suffix != ".map"
    }
    pack(archive, files, int(os.environ.get("SOURCE_DATE_EPOCH", 0)))


def pack(archive: Path, files: dict[str, Path], seconds: int = 0) -> None:
    """Write files under these names; the same files give the same bytes.

    Every file has one date, in seconds since 1970, which the format knows from 1980 on.
    """
    date = time.gmtime(max(seconds, 315532800))[:6]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
