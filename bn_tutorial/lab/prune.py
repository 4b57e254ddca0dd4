"""How much room the finished runs take, and what of them no code here can use any more.

``python -m bn_tutorial.lab.prune`` says it; with ``--prune`` it deletes what is out of date.
"""

from __future__ import annotations

import json
import shutil
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.real_networks import ConvSpec, ResidualSpec, Spec
from bn_tutorial.lab.remedied import RemediedSpec
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.stepped import FewWeightsSpec, ShiftingSpec, SteppedConvSpec, SteppedSpec
from bn_tutorial.lab.store import DAMAGE, Store
from bn_tutorial.lab.training import Config
from bn_tutorial.storage import cache_folder

#: Every kind of run that can be kept; the names of its settings tell a kind from the others.
SPECS: tuple[type[Spec], ...] = (
    *(RunSpec, ConvSpec, ResidualSpec),
    *(SteppedSpec, FewWeightsSpec, SteppedConvSpec, ShiftingSpec, RemediedSpec),
)

_STALE = 3600.0  # seconds since the last byte: nobody writes to such a file any more
_UNUSED = 30 * 86400.0  # seconds since a result was asked for: a script that would has changed
_DEVICES = ("cpu", "cuda")  # a run of the one is not out of date where one trains on the other


@dataclass(frozen=True)
class Room:
    """Files, and the room that they take.

    Attributes
    ----------
    files : tuple of Path
        Which ones.
    size : int
        In bytes.
    """

    files: tuple[Path, ...]
    size: int

    def __str__(self) -> str:
        """Return both in words."""
        return f"{len(self.files):>7,} files {self.size / 1e6:>9,.1f} MB"


@dataclass(frozen=True)
class Contents:
    """What the cache folder holds of runs; as text, a table.

    Attributes
    ----------
    folder : Path
        Where the runs are.
    current : Room
        Runs that the code, the libraries and a device of this moment would leave, and what scripts
        computed themselves and asked for in the last month.
    outdated : Room
        Other runs and results, and damaged runs.
    unfinished : Room
        What killed processes left half-written, anywhere in the cache folder.
    """

    folder: Path
    current: Room
    outdated: Room
    unfinished: Room

    def __str__(self) -> str:
        """Return a line for each."""
        return (
            f"{self.folder}\n"
            f"  current    {self.current}\n"
            f"  outdated   {self.outdated}\n"
            f"  unfinished {self.unfinished}"
        )


def contents(sources: Sources | None = None) -> Contents:
    """Look through the cache folder.

    Parameters
    ----------
    sources : Sources, optional
        The code that runs must be of to be current; by default that which is on disk.
    """
    folder, sources = cache_folder() / "runs", sources or Sources()

    @cache
    def store(digest: str, device: str) -> Store:
        return Store(digest, sources, device)

    def is_current(path: Path) -> bool:
        """Whether a run can be read where it would be looked for."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run = _run(content["run"])
            stores = [store(content["data"], device) for device in devices]
            return any(kept.path(run) == path and kept.read(run) for kept in stores)
        except DAMAGE:
            return False

    devices = {*_DEVICES, fingerprint.device()}

    def is_older(path: Path, seconds: float) -> bool:
        return path.stat().st_mtime < time.time() - seconds

    kept = {path: is_current(path) for path in sorted(folder.glob("*.json"))}
    results = sorted(folder.parent.glob("results/*.pickle"))
    kept |= {path: not is_older(path, _UNUSED) for path in results}
    return Contents(
        folder,
        _room(path for path, current in kept.items() if current),
        _room(path for path, current in kept.items() if not current),
        _room(path for path in folder.parent.rglob(".*.partial") if is_older(path, _STALE)),
    )


def prune(found: Contents) -> Room:
    """Delete what is outdated or unfinished, and return what that was."""
    deleted = _room([*found.outdated.files, *found.unfinished.files])
    for path in deleted.files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return deleted


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what there is, and prune it on request."""
    parser = ArgumentParser(prog="nox -s cache --", description="Finished runs: their room.")
    parser.add_argument("--prune", action="store_true", help="delete what is not current")
    wanted = parser.parse_args(arguments)
    print(found := contents())  # noqa: T201
    if wanted.prune:
        print(f"  deleted    {prune(found)}")  # noqa: T201


def _room(paths: Iterable[Path]) -> Room:
    files = tuple(paths)
    return Room(files, sum(path.lstat().st_size for path in files))


def _run(settings: dict[str, Any]) -> Spec:
    """Return the run that a file names; its settings say of which kind it is."""
    (kind,) = (kind for kind in SPECS if {f.name for f in fields(kind)} == settings.keys())
    lists = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    return kind(**{**settings, **lists, "config": Config(**settings["config"])})


if __name__ == "__main__":
    main()
