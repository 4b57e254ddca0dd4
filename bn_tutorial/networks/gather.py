"""Look at what reaches the normalization layers of a model, and keep a few numbers a channel."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

_CALLS = 8  # in one forward pass, that are told apart
_DROPPING = ("StochasticDepth", "DropPath", "DropBlock2d")  # of torchvision and timm


def norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the normalization layers by name: PyTorch's, and what has running statistics."""
    known = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, known) or {"running_mean", "running_var"} <= module._buffers.keys()
    }


def has_statistics(layer: nn.Module) -> bool:
    """Whether a layer keeps a running mean and a running variance."""
    statistics = (getattr(layer, "running_mean", None), getattr(layer, "running_var", None))
    return all(isinstance(one, Tensor) for one in statistics)


def pools_batch(layer: nn.Module) -> bool:
    """Whether a layer is one of PyTorch's that pool over the batch."""
    return isinstance(layer, _BatchNorm)


# ---------------------------------------------------------------------------------------------
# Moments
# ---------------------------------------------------------------------------------------------


class Moments:
    """The moments of many batches, by channel: Tensors, float64, shape (C,), on the CPU.

    Attributes
    ----------
    count : int
        Of batches.
    mean, var : Tensor
        The means over the batches of their means and of their unbiased variances: what running
        statistics estimate.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.var = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, mean: Tensor, var: Tensor) -> None:
        """Take the moments of one batch."""
        self.count += 1
        step = mean - self.mean
        self.mean = self.mean + step / self.count
        self._squares = self._squares + step * (mean - self.mean)
        self.var = self.var + (var - self.var) / self.count

    @property
    def scatter(self) -> Tensor:
        """The variance of the batches' means, shape (C,)."""
        return self._squares / max(self.count - 1, 1)


def apart(calls: list[Moments]) -> tuple[float, float]:
    """Return how far the inputs of several calls differ from those of the first, and the noise.

    In standard deviations, means and spreads together, as root mean square over the channels; the
    noise is what the choice of the samples alone gives.
    """
    first, *others = calls
    sigma = (sum((one.var for one in calls), torch.zeros(())) / len(calls)).clamp_min(1e-12).sqrt()
    distances = [
        math.hypot(
            ((one.mean - first.mean) / sigma).square().mean().sqrt().item(),
            ((one.var + 1e-12) / (first.var + 1e-12)).log().div(2).square().mean().sqrt().item(),
        )
        for one in others
    ]
    noise = (2 * (first.scatter / sigma**2).mean() / first.count).sqrt().item()
    return max(distances), noise


class Between:
    """How far whole batches differ, against what random samples would; of batches of one size."""

    def __init__(self) -> None:
        self._batches, self._samples = Moments(), 0

    def add(self, samples: Tensor) -> None:
        """Take a batch: what each sample gives, shape (N, C)."""
        self._samples = self._samples or len(samples)
        if len(samples) == self._samples > 1:
            self._batches.add(samples.mean(0), samples.var(0))

    @property
    def f_ratio(self) -> tuple[float, int] | None:
        """The variance of the batches' means times N, over that within a batch; and the batches.

        The median over channels. Near one for random samples.
        """
        if self._batches.count < 2:
            return None
        ratio = self._batches.scatter * self._samples / self._batches.var
        varied = (self._batches.var > 1e-12) & ratio.isfinite()
        return (ratio[varied].median().item(), self._batches.count) if varied.any() else None


class Shared(NamedTuple):
    """How many values shared a mean in a call, and of how many samples."""

    values: int
    samples: int


@dataclass
class Seen:
    """What one layer was given in all forward passes.

    Attributes
    ----------
    all : Moments
        Of all calls.
    between : Between
        Of the first calls.
    calls : list of Moments
        Of the first call in each forward pass, the second, ...
    most_calls : int
        In one forward pass.
    values, samples : int
        The fewest that shared a mean.
    shared : list of Shared
        In each call; of layers with statistics.
    constant : float
        Of a layer without running statistics, the largest share of its means over values that
        differ by less than the root of eps.
    sound : bool
        Whether all inputs were finite.
    dtype : dtype
        Of the inputs.
    bias : str
        The module whose output is the input, if that has a bias.
    """

    all: Moments = field(default_factory=Moments)
    between: Between = field(default_factory=Between)
    calls: list[Moments] = field(default_factory=list)
    most_calls: int = 0
    values: int = 2**62
    samples: int = 2**62
    shared: list[Shared] = field(default_factory=list)
    constant: float = 0.0
    sound: bool = True
    dtype: torch.dtype = torch.float32
    bias: str = ""

    @property
    def typical(self) -> Shared:
        """As in most calls: a last batch, which may be short, does not count."""
        if not self.shared:
            return Shared(self.values, self.samples)
        return Shared(*map(median_low, zip(*self.shared, strict=True)))


class Gathered:
    """What :func:`look` saw: the layers by name, in the order of their first calls.

    Attributes
    ----------
    layers : dict of str to Seen
        Of the layers that were reached.
    dropped : dict of str to list of str
        The dropouts that ran before each of them.
    shares : dict of str to str
        Of each dropout, the attribute that says how much it drops.
    batch : int
        The samples of the batch that runs, to be set; 0 if not known.
    inside : str or None
        The layer that was entered and not left: one that raised an error.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Seen] = {}
        self.dropped: dict[str, list[str]] = {}
        self.shares: dict[str, str] = {}
        self.batch = 0
        self.inside: str | None = None
        self.calls: dict[str, int] = {}
        self._dropouts: list[str] = []
        self._made: dict[str, weakref.ref[Tensor]] = {}

    def begin(self, batch: int) -> None:
        """Open the next forward pass, of so many samples."""
        self.batch, self.inside = batch, None
        self.calls.clear()
        self._dropouts.clear()

    def keep(self, name: str, layer: nn.Module, x: Tensor) -> None:
        """Take what a layer is given."""
        self.inside = name
        seen = self.layers.setdefault(name, Seen())
        self.dropped.setdefault(name, list(self._dropouts))
        call = self.calls[name] = self.calls.get(name, 0) + 1
        seen.most_calls = max(seen.most_calls, call)
        seen.dtype = x.dtype
        seen.bias = next((n for n, made in self._made.items() if made() is x), "")
        if x.numel():
            if isinstance(layer, _NormBase) or has_statistics(layer):
                self._keep_channels(seen, layer, x, call)
            else:
                _keep_samples(seen, layer, x)

    def _keep_channels(self, seen: Seen, layer: nn.Module, x: Tensor, call: int) -> None:
        x = _precise(x)
        alone = isinstance(layer, _NormBase) and not isinstance(layer, _BatchNorm)
        if alone and x.ndim == _dimensions(layer):  # instance normalization without a batch
            x = x.unsqueeze(0)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        means = x.mean(axes[1:]) if x.ndim > 2 else x  # of each sample, shape (N, C)
        total, channels = x.numel(), x.shape[1]
        if alone:  # pools each sample by itself
            total //= len(x)
            var = x.var(axes[1:], correction=min(1, total // channels - 1)).mean(0)
        else:
            var = x.var(axes, correction=min(1, total // channels - 1))
        seen.shared.append(Shared(total // channels, 1 if alone else len(x)))
        seen.values = min(seen.values, total // channels)
        seen.samples = min(seen.samples, seen.shared[-1].samples)
        mean, var = (tensor.cpu().double() for tensor in (means.mean(0), var))
        seen.sound &= bool(mean.isfinite().all() and var.isfinite().all())
        while len(seen.calls) < min(call, _CALLS):
            seen.calls.append(Moments())
        for moments in (seen.all, seen.calls[min(call, _CALLS) - 1]):
            moments.add(mean, var)
        if call == 1 and self.batch and len(x) % self.batch == 0:
            # Several rows of one sample are no samples of their own.
            by_sample = means.reshape(self.batch, -1, channels).mean(1)
            seen.between.add(by_sample.cpu().double())

    def leave(self, _: nn.Module, __: Any, ___: Any) -> None:
        """Note that a layer has done its work."""
        self.inside = None


def _keep_samples(seen: Seen, layer: nn.Module, x: Tensor) -> None:
    """Look at a layer that pools within a sample."""
    seen.sound &= bool(x.isfinite().all())
    seen.samples = 1
    rows = x
    if isinstance(layer, nn.GroupNorm):
        rows = x.reshape(len(x), layer.num_groups, -1)
        seen.values = min(seen.values, rows.shape[-1])
    else:
        shape: Any = layer.normalized_shape
        seen.values = min(seen.values, torch.Size(shape).numel())
        if tuple(x.shape[-len(shape) :]) != tuple(shape):
            return  # a subclass that puts its axes elsewhere, or an error to come
        rows = x.flatten(-len(shape))
    eps = getattr(layer, "eps", None)
    rows = _precise(rows)
    centred = not isinstance(layer, nn.RMSNorm)
    var = rows.var(-1, correction=0) if centred else rows.square().mean(-1)
    seen.constant = max(seen.constant, (var <= (eps or 0.0)).float().mean().item())


def _precise(x: Tensor) -> Tensor:
    return x.detach() if x.dtype == torch.float64 else x.detach().float()


def _dimensions(layer: nn.Module) -> int:
    """Return the dimensions of one sample that an instance normalization takes."""
    return {"1": 2, "2": 3, "3": 4}.get(type(layer).__name__.rstrip("dD")[-1:], 0)


@contextmanager
def look(model: nn.Module, layers: Mapping[str, nn.Module], found: Gathered) -> Iterator[None]:
    """Look at what reaches some layers of a model in each forward pass of a block."""

    def entered(name: str) -> Any:
        def hook(layer: nn.Module, arguments: Any, options: dict[str, Any]) -> None:
            x = arguments[0] if arguments else options.get("input")
            if isinstance(x, Tensor):
                found.keep(name, layer, x)

        return hook

    def made(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found._made[name] = weakref.ref(output)

        return hook

    def dropped(name: str) -> Any:
        return lambda *_: found._dropouts.append(name)

    with ExitStack() as hooks:
        for name, module in layers.items():
            handle = module.register_forward_pre_hook(entered(name), with_kwargs=True)
            hooks.callback(handle.remove)
            hooks.callback(module.register_forward_hook(found.leave).remove)
        for name, module in model.named_modules():
            if isinstance(module, _ConvNd | nn.Linear) and module.bias is not None:
                hooks.callback(module.register_forward_hook(made(name)).remove)
            elif _drops(module):
                found.shares[name] = _share(module)
                hooks.callback(module.register_forward_pre_hook(dropped(name)).remove)
        yield


def _drops(module: nn.Module) -> bool:
    share = getattr(module, _share(module), 0.0)
    dropping = isinstance(module, _DropoutNd) or type(module).__name__ in _DROPPING
    return dropping and isinstance(share, float | int) and share > 0


def _share(module: nn.Module) -> str:
    return "p" if hasattr(module, "p") else "drop_prob"
