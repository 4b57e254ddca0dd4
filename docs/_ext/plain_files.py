"""The data of the build as plain files, for the one script that uses nothing of the package.

That script reads MNIST as anyone would, by torchvision. While the site is built, the variable
``MNIST_FOLDER`` names a folder in which torchvision finds the images of the build: MNIST or, where
the build is on the digits, these, in MNIST's format (idx).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import seal
from sphinx.application import Sphinx
from sphinx.config import Config

from bn_tutorial.storage import cache_folder, replace_when_complete

if TYPE_CHECKING:  # an unchanged build need not wait for PyTorch
    from bn_tutorial.data.dataset import Dataset

PARTS = {"train": "train", "t10k": "test"}  # MNIST's names and ours


def write(data: Dataset, root: Path) -> None:
    """Write images and labels where torchvision looks for MNIST's, below a folder."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, part in PARTS.items():
        split = getattr(data, part)
        for file, array in (
            (f"{name}-images-idx3-ubyte", split.images.numpy()),
            (f"{name}-labels-idx1-ubyte", split.labels.numpy().astype(np.uint8)),
        ):
            with replace_when_complete(raw / file) as partial:
                # Two zeros, the code of an unsigned byte, the number of axes, and their lengths.
                head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
                partial.write_bytes(head + array.tobytes())


def ensure(digest: str) -> Path:
    """Return the folder with the data in use, of this digest; write them unless they are there."""
    # The digest in its name says what is in the folder, the seal that it is as it was written.
    root = cache_folder() / "plain" / digest[:16]
    if not seal.holds(root / "sealed.json"):
        from bn_tutorial.data.loading import load

        write(load(), root)
        seal.write(root / "sealed.json", root.glob("MNIST/raw/*-ubyte"))
    return root


def prepare(_app: Sphinx, config: Config) -> None:
    """Say to the scripts where they are."""
    os.environ["MNIST_FOLDER"] = str(ensure(config.html_context["data"]["digest"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register behind the extension that decides on the data, before the scripts run."""
    app.setup_extension("experiments")
    app.connect("config-inited", prepare, priority=2)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
