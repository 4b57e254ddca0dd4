"""Images as they are not in the training set: brighter, paler, noisy, blurred, moved, inverted.

Each corruption takes grey values, uint8, shape (N, 28, 28), to others of the same shape, and gives
the same for the same images and seed. The strengths are chosen so that a person reads most of the
digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

_INK = 255


def brighten(images: Tensor, by: float = 0.4) -> Tensor:
    """Add a share of full ink to every pixel; what would be more than full ink is full ink.

    Examples
    --------
    >>> brighten(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)).tolist()
    [[[102, 153, 255]]]
    """
    return _grey(images.float() + by * _INK)


def pale(images: Tensor, by: float = 0.3) -> Tensor:
    """Keep a share of the contrast: multiply the distance of every pixel from middle grey.

    Examples
    --------
    >>> pale(torch.tensor([[[0, 255]]], dtype=torch.uint8)).tolist()
    [[[89, 166]]]
    """
    return _grey(_INK / 2 + by * (images.float() - _INK / 2))


def add_noise(images: Tensor, by: float = 0.5, seed: int = 0) -> Tensor:
    """Add Gaussian noise with a standard deviation that is a share of full ink.

    Examples
    --------
    >>> black = torch.zeros(2, 28, 28, dtype=torch.uint8)
    >>> torch.equal(add_noise(black), add_noise(black)), bool(add_noise(black).any())
    (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return _grey(images.float() + by * _INK * noise)


def blur(images: Tensor, size: int = 5) -> Tensor:
    """Replace every pixel by the mean over a square around it; beyond the edge is background.

    Examples
    --------
    >>> dot = torch.zeros(1, 3, 3, dtype=torch.uint8)
    >>> dot[0, 1, 1] = 255
    >>> blur(dot, size=3)[0, 0].tolist()
    [28, 28, 28]
    """
    return _grey(avg_pool2d(images.float()[:, None], size, stride=1, padding=size // 2)[:, 0])


def move(images: Tensor, by: int = 2) -> Tensor:
    """Move the digit so many pixels to the right and down; background follows.

    Examples
    --------
    >>> move(torch.tensor([[[1, 2], [3, 4]]], dtype=torch.uint8), by=1).tolist()
    [[[0, 0], [0, 1]]]
    """
    height, width = images.shape[1:]
    return pad(images, (by, 0, by, 0))[:, :height, :width]


def invert(images: Tensor) -> Tensor:
    """Exchange ink and background.

    Examples
    --------
    >>> invert(torch.tensor([[[0, 255]]], dtype=torch.uint8)).tolist()
    [[[255, 0]]]
    """
    return _INK - images


#: Every corruption, at its usual strength, by what a page calls it.
CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": brighten,
    "contrast": pale,
    "noise": add_noise,
    "blur": blur,
    "shift": move,
    "inversion": invert,
}


def corrupt(images: Tensor, name: str) -> Tensor:
    """Corrupt images.

    Parameters
    ----------
    images : Tensor, uint8, shape (N, 28, 28)
        Grey values from 0 (background) to 255 (ink). They stay as they are.
    name : str
        A key of ``CORRUPTIONS``.

    Returns
    -------
    Tensor, uint8, shape (N, 28, 28)
        New ones.

    Raises
    ------
    TypeError, ValueError
        If the images have another dtype or shape, or there is no such corruption.

    Examples
    --------
    >>> corrupt(torch.zeros(1, 28, 28, dtype=torch.uint8), "inversion").unique().tolist()
    [255]
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption is {name!r}, expected one of {list(CORRUPTIONS)}")
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}, expected torch.uint8")
    if images.ndim != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}, expected (N, height, width)")
    return CORRUPTIONS[name](images)


def _grey(values: Tensor) -> Tensor:
    return values.round().clamp(0, _INK).to(torch.uint8)
