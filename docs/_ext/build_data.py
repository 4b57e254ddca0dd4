"""The data of a build: decided once, and exported to every process that the build starts."""

from __future__ import annotations

import importlib
import os
from typing import Any

from bn_tutorial.storage import named_folder

FOLDERS = ("BN_TUTORIAL_DATA", "BN_TUTORIAL_CACHE")


def wishes() -> dict[str, str]:
    """Return what the user set, with absolute folders: each script runs in a folder of its own."""
    for name in FOLDERS:
        if folder := named_folder(name):
            os.environ[name] = str(folder)
    names = (*FOLDERS, "BN_TUTORIAL_DATASET")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def decide(wished: dict[str, str], built: dict[str, Any]) -> dict[str, str]:
    """Describe the data to use: those of the last build, if the answer cannot be another.

    That spares a build in which nothing changed the import of torch, which takes seconds. Where
    the last build fell back to the embedded digits, MNIST may be there now.
    """
    last: dict[str, str] = built.get("data", {})
    explicit = "BN_TUTORIAL_DATASET" in wished
    if built.get("wishes") == wished and (explicit or last.get("name") == "mnist"):
        facts = last
    else:
        data = importlib.import_module("bn_tutorial.data.loading")
        chosen = data.load(data.resolve())
        facts = {name: getattr(chosen, name) for name in ("name", "title", "licence", "source")}
        facts["digest"] = chosen.digest
    os.environ["BN_TUTORIAL_DATASET"] = facts["name"]
    return facts
