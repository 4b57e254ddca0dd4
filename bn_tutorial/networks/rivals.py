"""What can stand in the place of batch normalization, for units and for channels of images.

All take a Tensor of shape (N, C) or (N, C, H, W) to one of the same shape; the channels are axis 1,
and gamma and beta, shape (C,), start at one and zero. See :func:`rival_maker` for their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

_EPS = 1e-5


class _Affine(nn.Module):
    """What has a gamma and a beta for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def scale_and_shift(self, x: Tensor) -> Tensor:
        """Return ``gamma x + beta``, channel by channel."""
        return along_channels(self.weight, x) * x + along_channels(self.bias, x)


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """Shape one value per channel, shape (C,), so that it goes with x, shape (N, C, ...).

    Examples
    --------
    >>> along_channels(torch.ones(3), torch.zeros(2, 3, 28, 28)).shape
    torch.Size([1, 3, 1, 1])
    """
    return values.view(1, -1, *[1] * (x.ndim - 2))


def _pooled(x: Tensor) -> tuple[int, ...]:
    """Return the axes that batch normalization pools: all but the channels."""
    return (0, *range(2, x.ndim))


class RMSNorm(_Affine):
    """Each sample divided by the root of the mean of its squares; no mean is subtracted.

    The mean is over all channels and positions of a sample, as that of ``GroupNorm(1, C)`` is.

    Notes
    -----
    After Zhang and Sennrich 2019. :class:`torch.nn.RMSNorm` normalizes the last axes, where images
    have no channels.

    Examples
    --------
    >>> round(RMSNorm(2)(torch.tensor([[3.0, 4.0]])).square().mean().item(), 4)
    1.0
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, shape (N, C, ...)."""
        square = x.square().mean(tuple(range(1, x.ndim)), keepdim=True)
        return self.scale_and_shift(x * torch.rsqrt(square + _EPS))


class DynamicTanh(_Affine):
    """DyT, ``gamma tanh(alpha x) + beta``: no statistics at all.

    Parameters
    ----------
    channels : int
        C.
    alpha : float
        Where the one scalar alpha starts, which is learned.

    Notes
    -----
    After Zhu et al. 2025, "Transformers without Normalization".

    Examples
    --------
    >>> DynamicTanh(1, 2.0)(torch.tensor([[0.5]])).item() == torch.tensor(1.0).tanh().item()
    True
    """

    def __init__(self, channels: int, alpha: float = 0.5) -> None:
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        """Squash x, shape (N, C, ...)."""
        return self.scale_and_shift(torch.tanh(self.alpha * x))


class DynamicErf(DynamicTanh):
    """Derf, ``gamma erf(alpha x + s) + beta``; s is one learned scalar that starts at zero.

    Notes
    -----
    After Chen et al. 2025, "Stronger Normalization-Free Transformers".

    Examples
    --------
    >>> DynamicErf(1)(torch.tensor([[2.0]])).item() == torch.tensor(1.0).erf().item()
    True
    """

    def __init__(self, channels: int, alpha: float = 0.5) -> None:
        super().__init__(channels, alpha)
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Squash x, shape (N, C, ...)."""
        return self.scale_and_shift(torch.erf(self.alpha * x + self.shift))


class BatchRenorm(_Affine):
    """Batch normalization pulled towards the running statistics, also while it trains.

    ``(x - mu_B)/sigma_B r + d`` with ``r = clip(sigma_B/sigma, 1/r_max, r_max)`` and
    ``d = clip((mu_B - mu)/sigma, -d_max, d_max)``; no gradient flows through r and d. Within the
    limits a sample's output is the one that evaluation would give.

    Parameters
    ----------
    channels : int
        C.
    r_max, d_max : float
        The limits: 1 and 0 make it batch normalization.
    momentum : float
        The weight of a batch in the running mean and the running *standard deviation*.

    Notes
    -----
    After Ioffe 2017. There the limits grow from 1 and 0 over thousands of steps; here they are what
    they are from the first step on, because our trainings are shorter than that.

    Examples
    --------
    >>> layer = BatchRenorm(1, r_max=1.0, d_max=0.0)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).ravel().tolist()
    [-1.0, 1.0]
    """

    running_mean: Tensor
    running_std: Tensor

    def __init__(
        self, channels: int, r_max: float = 3.0, d_max: float = 5.0, momentum: float = 0.1
    ) -> None:
        super().__init__(channels)
        self.r_max, self.d_max, self.momentum = r_max, d_max, momentum
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_std", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, shape (N, C, ...)."""
        if not self.training:
            mean, std = self.running_mean, self.running_std
            return self.scale_and_shift((x - along_channels(mean, x)) / along_channels(std, x))
        mean = x.mean(_pooled(x))
        std = (x.var(_pooled(x), unbiased=False) + _EPS).sqrt()
        with torch.no_grad():
            r = (std / self.running_std).clamp(1 / self.r_max, self.r_max)
            d = ((mean - self.running_mean) / self.running_std).clamp(-self.d_max, self.d_max)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_std.lerp_(std, self.momentum)
        xhat = (x - along_channels(mean, x)) / along_channels(std, x)
        return self.scale_and_shift(xhat * along_channels(r, x) + along_channels(d, x))


def _batch(channels: int, axes: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if axes else nn.BatchNorm1d(channels)


def _instance(channels: int, axes: int) -> nn.Module:
    if not axes:
        raise ValueError("an instance of a single unit has no spread: it needs images")
    return nn.InstanceNorm2d(channels, affine=True)


# From the number of channels and of axes behind them (0 or 2); a third is the number in the name.
# One entry a kind, which names all that the kind needs: what a run depends on is looked up here.
RIVALS: dict[str | None, Callable[..., nn.Module | None]] = {
    None: lambda *_: None,
    "batch": lambda channels, axes: _batch(channels, axes),
    "layer": lambda channels, _: nn.GroupNorm(1, channels),
    "instance": lambda channels, axes: _instance(channels, axes),
    "rms": lambda channels, _: RMSNorm(channels),
    "renorm": lambda channels, _: BatchRenorm(channels),
    "group": lambda channels, _, number: nn.GroupNorm(int(number), channels),
    "dyt": lambda channels, _, number: DynamicTanh(channels, number),
    "derf": lambda channels, _, number: DynamicErf(channels, number),
}
_NUMBERED = ("group", "dyt", "derf")


def parse_rival(norm: str | None) -> tuple[str | None, float | None]:
    """Take a name that :func:`rival_maker` knows apart: a key of ``RIVALS``, and the number.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> parse_rival("group:4"), parse_rival("dyt:0.5"), parse_rival(None)
    (('group', 4.0), ('dyt', 0.5), (None, None))
    """
    found = re.fullmatch(r"([a-z]+)(?::([0-9]*\.?[0-9]+))?", norm) if norm else None
    kind, number = (found[1], found[2]) if found else (None, None)
    good = norm is None or (found and kind in RIVALS and (kind in _NUMBERED) == bool(number))
    if not good or (kind == "group" and not float(number or 0) == int(float(number or 0)) > 0):
        known = [f"{name}:<number>" if name in _NUMBERED else name for name in RIVALS]
        raise ValueError(f"norm is {norm!r}, expected one of {known}")
    return kind, float(number) if number else None


def rival_maker(norm: str | None, axes: int) -> Callable[[int], nn.Module | None]:
    """Return what makes a normalization, or None, for a number of channels.

    Parameters
    ----------
    norm : None or str
        None, ``"batch"``, ``"layer"`` (all of a sample: ``GroupNorm(1, C)``), ``"group:4"`` (4
        groups), ``"instance"`` (:class:`torch.nn.InstanceNorm2d` with gamma and beta), ``"rms"``
        (:class:`RMSNorm`), ``"renorm"`` (:class:`BatchRenorm`), ``"dyt:0.5"``
        (:class:`DynamicTanh`, from alpha = 0.5) or ``"derf:0.5"`` (:class:`DynamicErf`).
    axes : {0, 2}
        How many axes follow the channels: none for units, two for images.

    Raises
    ------
    ValueError
        If ``norm`` is not one of the above; from the callable, if it does not go with the channels.

    Examples
    --------
    >>> rival_maker("group:2", axes=2)(8).num_groups
    2
    """
    kind, number = parse_rival(norm)

    def make(channels: int) -> nn.Module | None:
        try:
            return RIVALS[kind](channels, axes, *([] if number is None else [number]))
        except ValueError as error:
            message = f"norm {norm!r} cannot be given {channels} channels: {error}"
            raise ValueError(message) from error

    return make
