"""Images as sequences of unequal length: read row by row, some slower than others."""

from __future__ import annotations

import torch
from torch import Tensor


def read_rows(images: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Read images row by row, each in a number of frames of its own, and pad with zeros.

    The frames of an image are evenly spaced from its first row to its last; between two rows they
    are mixtures of both.

    Parameters
    ----------
    images : Tensor, float, shape (N, H, W)
        Whatever the numbers mean.
    lengths : Tensor, int64, shape (N,)
        How many frames each image has: at least two.

    Returns
    -------
    frames : Tensor, shape (N, W, T)
        T is the greatest length. The frames of a shorter image are followed by zeros.
    mask : Tensor, bool, shape (N, T)
        True for a frame, False for padding.

    Raises
    ------
    ValueError
        If the shapes do not go together, or a length is less than two.

    Examples
    --------
    >>> ramp = torch.tensor([[[1.0], [2.0], [3.0]]]).expand(2, 3, 1)
    >>> frames, mask = read_rows(ramp, torch.tensor([2, 5]))
    >>> frames[:, 0].tolist()
    [[1.0, 3.0, 0.0, 0.0, 0.0], [1.0, 1.5, 2.0, 2.5, 3.0]]
    >>> mask.sum(dim=1).tolist()
    [2, 5]
    """
    if images.ndim != 3 or lengths.shape != images.shape[:1]:
        raise ValueError(
            f"images have shape {tuple(images.shape)} and lengths {tuple(lengths.shape)}, "
            "expected (N, height, width) and (N,)"
        )
    if int(lengths.min()) < 2:
        raise ValueError(f"a length is {int(lengths.min())}, expected at least 2")
    count, height, width = images.shape
    steps = torch.arange(int(lengths.max()), device=images.device)
    mask = steps < lengths[:, None]
    place = (steps * (height - 1) / (lengths[:, None] - 1)).clamp(max=height - 1)
    above = place.floor().long()

    def rows(numbers: Tensor) -> Tensor:
        return images.gather(1, numbers[..., None].expand(count, -1, width))

    mixed = torch.lerp(
        rows(above), rows((above + 1).clamp(max=height - 1)), (place - above)[..., None]
    )
    return (mixed * mask[..., None]).transpose(1, 2), mask
