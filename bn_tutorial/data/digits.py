"""Digits that need no network: as many images as MNIST has, drawn from 1,797 small ones.

The 8x8 digits that come with scikit-learn are enlarged to MNIST's 28x28 pixels and distorted.
Training and test images stem from different originals. Drawing takes seconds, so :func:`load`
keeps them in a file until the code that draws them, or a library that it draws with, is another.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from bn_tutorial import fingerprint
from bn_tutorial.storage import prepare_folder, replace_when_complete

_log = logging.getLogger(__name__)

_Part = tuple[Tensor, Tensor]  # images and their labels
_Content = tuple[_Part, _Part, str]  # the training part, the test part, the digest of both

_TEST_ORIGINALS = 360  # of 1,797
_BOX = 20  # pixels that an 8x8 original spans at scale 1, as in MNIST


# ---------------------------------------------------------------------------------------------
# Drawn
# ---------------------------------------------------------------------------------------------


def draw(train_count: int, test_count: int, seed: int = 0) -> tuple[_Part, _Part]:
    """Draw training and test images, from originals that were separated before.

    Parameters
    ----------
    train_count, test_count : int
        How many images. Each original is used equally often, give or take one.
    seed : int, default 0
        Decides everything that is drawn. The global generators stay as they are.

    Returns
    -------
    train, test : tuple of Tensor
        Images (uint8, shape (N, 28, 28)) and their labels (int64, shape (N,)).
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    originals, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        originals, labels, test_size=_TEST_ORIGINALS, stratify=labels, random_state=seed
    )
    images, test_images = (torch.from_numpy(part / 16).float().view(-1, 8, 8) for part in parts[:2])
    labels, test_labels = (torch.from_numpy(part).long() for part in parts[2:])
    generator = torch.Generator().manual_seed(seed)

    def distorted(originals: Tensor, labels: Tensor, count: int) -> _Part:
        pick = torch.randperm(count, generator=generator) % len(originals)
        return enlarge(originals[pick], random_maps(count, generator)), labels[pick]

    return distorted(images, labels, train_count), distorted(test_images, test_labels, test_count)


def enlarge(originals: Tensor, maps: Tensor) -> Tensor:
    """Enlarge and distort each original by its map, as :func:`random_maps` draws them.

    Shares of ink, 0 to 1, float32, shape (N, 8, 8), and maps, shape (N, 2, 3), become grey values
    from 0 (background) to 255 (ink), uint8, shape (N, 28, 28).
    """
    images = torch.empty(len(maps), 28, 28, dtype=torch.uint8)
    # In batches, because the intermediate images are four bytes a pixel, and the grids eight.
    for start in range(0, len(maps), 5_000):
        part = slice(start, start + 5_000)
        grid = torch.nn.functional.affine_grid(
            maps[part], [len(maps[part]), 1, 28, 28], align_corners=False
        )
        ink = torch.nn.functional.grid_sample(
            originals[part, None], grid, mode="bicubic", align_corners=False
        ).squeeze(1)
        # An 8x8 value is the share of ink under it, so a stroke ends about where the value is one
        # half; the steeper slope gives the edge MNIST's width, and the stroke its full white.
        images[part] = ((ink - 0.55) * 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return images


def random_maps(count: int, generator: torch.Generator) -> Tensor:
    """Draw affine maps from output to input, float32, shape (count, 2, 3).

    Coordinates run from -1 to 1, to the right and downwards. The output is rotated by up to 15
    degrees, scaled by up to 10 %, sheared by up to 0.2, and shifted by up to 2 pixels, each way.
    """

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * bound

    angle, scale, shear = uniform(15).deg2rad(), 1 + uniform(0.1), uniform(0.2)
    shift = torch.stack([uniform(2 / 14), uniform(2 / 14)], dim=1)  # 28 pixels are 2 units wide
    cos, sin = angle.cos(), angle.sin()
    # rotation times [[1, shear], [0, 1]]
    linear = torch.stack([cos, cos * shear - sin, sin, sin * shear + cos], dim=1).view(-1, 2, 2)
    linear *= (28 / _BOX / scale).view(-1, 1, 1)
    return torch.cat([linear, -linear @ shift[:, :, None]], dim=2)


# ---------------------------------------------------------------------------------------------
# Remembered
# ---------------------------------------------------------------------------------------------


def load(cache: Path, train_count: int = 60_000, test_count: int = 10_000) -> _Content:
    """Return what :func:`draw` does and its digest, from the cache folder if they are there.

    Else they are drawn, and put into ``digits.npz`` there. A damaged file is named in a warning,
    and replaced. The digest is the SHA-256 of all images and labels, hexadecimal.

    Raises
    ------
    OSError
        As for :func:`bn_tutorial.storage.prepare_folder`, which creates the folder.
    """
    path, recipe = prepare_folder(cache) / "digits.npz", _recipe(train_count, test_count)
    content = _read(path, recipe)
    if content is None:
        with FileLock(path.with_suffix(".lock")):
            content = _read(path, recipe)  # another process may have drawn them meanwhile
            if content is None:
                train, test = draw(train_count, test_count)
                content = train, test, _digest(train, test)
                _write(path, recipe, content)
    return content


def _recipe(*counts: int) -> str:
    """Return what tells digits drawn by this code from digits drawn by another."""
    code = fingerprint.of_code(f"{__name__}.draw")
    versions = fingerprint.versions("torch", "scikit-learn")
    return " ".join([code, *versions.values(), *map(str, counts)])


def _digest(*parts: _Part) -> str:
    content = hashlib.sha256()
    for images, labels in parts:
        content.update(images.numpy().data)
        content.update(labels.numpy().data)
    return content.hexdigest()


def _write(path: Path, recipe: str, content: _Content) -> None:
    (images, labels), (test_images, test_labels), digest = content
    with replace_when_complete(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            recipe=recipe,
            digest=digest,
            images=images.numpy(),
            labels=labels.numpy(),
            test_images=test_images.numpy(),
            test_labels=test_labels.numpy(),
        )


def _read(path: Path, recipe: str) -> _Content | None:
    """Read what `_write` wrote, or None if it is not there, outdated or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            if arrays["recipe"].item() != recipe:
                return None
            train, test = (
                (torch.from_numpy(arrays[f"{of}images"]), torch.from_numpy(arrays[f"{of}labels"]))
                for of in ("", "test_")
            )
            digest = str(arrays["digest"])
        if _digest(train, test) != digest:
            raise ValueError("its digest is another")
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive may raise nearly anything
        _log.warning("%s is damaged (%s): the digits are drawn anew", path, error)
        return None
    return train, test, digest
