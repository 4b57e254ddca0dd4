"""A stand-in for MNIST: four tiny idx files, which the package is told to expect."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import struct

import numpy as np
import pytest

# These need a browser and the built site (nox -s site), or minutes; each has a session.
collect_ignore = ["browser", "device", "docs", "examine", "faults"]

# A library that torch brings along counts its leaks at the very end, behind pytest's summary, which
# is to be the last line.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

# A test that takes long has not failed: the machine may be busy.
if importlib.util.find_spec("hypothesis"):  # the browser's session does without
    from hypothesis import settings

    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")

COUNTS = {"train": 20, "t10k": 10}  # images in the stand-in


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def no_network(*_args, **_kwargs):
    raise OSError("no network in tests")


@pytest.fixture
def tiny_files(monkeypatch):
    """The files by name. Nothing is found yet, and there is no network to fetch anything from."""
    from bn_tutorial.data import mnist  # not above: tests of the documentation do without torch

    rng = np.random.default_rng(0)
    files = {}
    for part, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, count, dtype=np.uint8))
    expected = {
        name: mnist.File(len(file), hashlib.sha256(file).hexdigest(), hashlib.md5(file).hexdigest())
        for name, file in files.items()
    }
    monkeypatch.setattr(mnist, "FILES", expected)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return files


@pytest.fixture
def write_mnist(tiny_files):
    """A function that writes the files under a root, and returns the folder that holds them."""

    def write(root):
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name, content in tiny_files.items():
            (raw / name).write_bytes(content)
        return raw

    return write


@pytest.fixture
def given(tmp_path, write_mnist):
    """A torchvision root that holds the files."""
    root = tmp_path / "given"
    write_mnist(root)
    return root


@pytest.fixture
def warnings_of(caplog):
    """A function that returns the text of all warnings so far."""
    return lambda: "\n".join(r.getMessage() for r in caplog.records if r.levelname == "WARNING")
