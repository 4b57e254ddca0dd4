"""Build the site a second time, elsewhere, and compare every file: ``nox -s repeat``.

The first build goes on in this checkout with all that it remembers. The second is of a copy, in
which every script and page is executed, in circumstances of its own: another path, with a space and
a letter that is not ASCII, another time zone, locale, umask and order of hashes. Both have the
same finished trainings, and the same date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build_data

ELSEWHERE = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
DATE = {"SOURCE_DATE_EPOCH": "1700000000"}
MADE = (".*", "__pycache__", "_build", "gallery", "generated", "mutants")


def main(here: Path) -> int:
    """Build twice, say which files differ, and return how many."""
    build_data.wishes()  # a folder that is named by a relative path is the same for both
    first = build(here, "repeated", DATE)
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "a second, längst")
        copy(here, there)
        second = build(there, "html", {**DATE, **ELSEWHERE}, umask=0o077)
        names = different(first, second)
        if names:  # to look at what differs
            shutil.copytree(second, first.with_name("repeated-elsewhere"), dirs_exist_ok=True)
    count = len(files(first))
    print(f"{len(names)} of {count} files differ between two builds.", *names, sep="\n  ")  # noqa: T201
    return len(names)


def copy(here: Path, there: Path) -> None:
    """Copy the sources, without what a build, a test or a tool makes."""
    shutil.copytree(here, there, ignore=shutil.ignore_patterns(*MADE))


def build(checkout: Path, name: str, environment: dict[str, str], umask: int = -1) -> Path:
    """Build a checkout with its own package; return the folder of the site."""
    site = checkout / "docs" / "_build" / name
    command = (sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "--quiet", "-b", "html")
    ended = subprocess.run(
        [*command, "-d", "docs/_build/doctrees", "docs", str(site)],
        cwd=checkout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(checkout), **environment},
        umask=umask,
    )
    if ended.returncode:
        sys.exit(f"The build in {checkout} failed: nothing is compared.")
    return site


def files(site: Path) -> set[str]:
    """Return the names of all files of a site."""
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def different(first: Path, second: Path) -> list[str]:
    """Return the names of the files that only one site has, or that are not the same bytes."""
    names, common = files(first) | files(second), files(first) & files(second)
    same = {name for name in common if (first / name).read_bytes() == (second / name).read_bytes()}
    return sorted(names - same)


if __name__ == "__main__":
    sys.exit(main(Path.cwd()) > 0)
