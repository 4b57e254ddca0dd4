"""A network for sequences of unequal length, whose normalization may leave out the padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bn_tutorial.networks.settings import whole

_KERNEL = 5  # frames


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization over the real frames alone; padding leaves it as zero.

    Arguments and buffers are those of :class:`torch.nn.BatchNorm1d`, which the real frames of all
    sequences, in one row, are given to.

    Examples
    --------
    >>> x = torch.tensor([[[1.0, 3.0, 0.0]]])  # two frames and a padded one
    >>> mask = torch.tensor([[True, True, False]])
    >>> MaskedBatchNorm1d(1)(x, mask).detach().round(decimals=3).ravel().tolist()
    [-1.0, 1.0, 0.0]
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize x, shape (N, C, T), where mask, shape (N, T), is True; by default everywhere.

        Raises
        ------
        ValueError
            If the shapes do not go together; in training mode, if there is one real frame or none.
        """
        if mask is None:
            return super().forward(x)
        if x.ndim != 3 or mask.shape != (len(x), x.shape[2]):
            raise ValueError(
                f"x has shape {tuple(x.shape)} and mask {tuple(mask.shape)}, "
                "expected (N, C, T) and (N, T)"
            )
        frames = x.transpose(1, 2)
        y = torch.zeros_like(frames)
        y[mask] = super().forward(frames[mask])
        return y.transpose(1, 2)


class FrameNorm(nn.LayerNorm):
    """Layer normalization over the channels of each frame, of x, shape (N, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each frame by itself."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "masked": MaskedBatchNorm1d,
    "layer": FrameNorm,
}


class _Block(nn.Module):
    """A convolution over the frames, a normalization and a ReLU; padding leaves it as zero."""

    def __init__(self, linear: nn.Conv1d, norm: nn.Module) -> None:
        super().__init__()
        self.linear, self.norm, self.activation = linear, norm, nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Take x, shape (N, C, T), with mask, shape (N, T), to the same frames."""
        given = (mask,) if isinstance(self.norm, MaskedBatchNorm1d) else ()
        y: Tensor = self.activation(self.norm(self.linear(x), *given))
        return y * mask[:, None]


class SequenceNet(nn.Module):
    """A convolutional network for sequences of unequal length, in one padded batch.

    Two or more blocks, each a convolution over five frames, a normalization and a ReLU; then the
    mean over the frames of a sequence, and a linear map. Padding is zero in front of every
    convolution and does not enter the mean: the arms of a comparison differ in the statistics of
    their normalizations alone.

    Parameters
    ----------
    norm : {"batch", "masked", "layer"}
        :class:`torch.nn.BatchNorm1d`, which pools the padding as if it were data;
        :class:`MaskedBatchNorm1d`; or :class:`FrameNorm`.
    channels : sequence of int
        Of the frames, and of each convolution.
    classes : int
        Number of logits.
    seed : int
        Of the initial weights, which depend on nothing else but their shapes.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.

    Examples
    --------
    >>> model = SequenceNet("masked", channels=(28, 8))
    >>> model(torch.zeros(2, 28, 9), torch.ones(2, 9, dtype=torch.bool)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, norm: str, *, channels: Sequence[int] = (28, 32, 32), classes: int = 10, seed: int = 0
    ) -> None:
        super().__init__()
        channels = [whole(number, "a number of channels") for number in channels]
        if len(channels) < 2 or min(channels) < 1:
            raise ValueError(f"channels is {tuple(channels)}, expected two or more, all positive")
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}, expected one of {list(NORMS)}")
        make: Callable[[int], nn.Module] = NORMS[norm]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(whole(seed, "seed"))
            blocks = []
            for inputs, outputs in pairwise(channels):
                linear = nn.Conv1d(inputs, outputs, _KERNEL, padding=_KERNEL // 2)
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
                nn.init.zeros_(linear.bias)  # type: ignore[arg-type]
                blocks.append(_Block(linear, make(outputs)))
            self.blocks = nn.ModuleList(blocks)
            self.output = nn.Linear(channels[-1], whole(classes, "classes"))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return logits, shape (N, classes).

        Parameters
        ----------
        x : Tensor, shape (N, C, T)
            Frames, and zeros behind the last of each sequence.
        mask : Tensor, bool, shape (N, T)
            True for a frame; at least one of each sequence.
        """
        for block in self.blocks:
            x = block(x, mask)
        logits: Tensor = self.output(x.sum(dim=2) / mask.sum(dim=1, keepdim=True))
        return logits
