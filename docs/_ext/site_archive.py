"""Pack the built site into one file, which reads without a server: ``nox -s archive``."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from pathlib import Path

LEFT_OUT = {".buildinfo", "objects.inv"}  # for the next build, and for other projects


def write(site: Path, archive: Path) -> None:
    """Write the files of the site, in one folder named like the archive.

    The same files give the same bytes: every file has one date, that of the build
    (``SOURCE_DATE_EPOCH``) or else the earliest that the format knows.
    """
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), 315532800))[:6]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(site.rglob("*")):
            if path.is_file() and path.name not in LEFT_OUT and path.suffix != ".map":
                name = f"{archive.stem}/{path.relative_to(site).as_posix()}"
                entry = zipfile.ZipInfo(name, date)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
