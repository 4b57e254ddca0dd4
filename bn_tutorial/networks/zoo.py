"""Sixteen normalizations, each in one line of mathematics and one of code, and what they do.

What is normalized is ``z = w x``, shape (N, C, S): N samples, C channels, S positions (one, for the
units of a perceptron). What holds of a normalization is not written down but tried, by
:func:`properties`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from bn_tutorial.networks.norms import GhostBatchNorm1d
from bn_tutorial.networks.rivals import BatchRenorm, DynamicErf, DynamicTanh, RMSNorm
from bn_tutorial.networks.standardized import RELU_GAIN, standardize

EPS = 1e-5
SAMPLES, CHANNELS, POSITIONS = 6, 4, 5  # of what the properties are tried on
_SAME = 1e-3  # relative; eps alone changes less, and what is not invariant changes much more

# ---------------------------------------------------------------------------------------------
# Those that are neither PyTorch's nor another module's
# ---------------------------------------------------------------------------------------------


class FilterResponseNorm(nn.Module):
    """Each channel of each sample divided by the root of its mean square (Singh, Krishnan 2020).

    Without the activation that belongs to it.
    """

    def forward(self, z: Tensor) -> Tensor:
        """Normalize z, shape (N, C, S)."""
        return z / (z.square().mean(2, keepdim=True) + EPS).sqrt()


class EvoNormS0(nn.Module):
    """A gated input over its group's deviation: activation and norm in one (Liu et al. 2020)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.ones(1, channels, 1))
        self.groups = groups

    def forward(self, z: Tensor) -> Tensor:
        """Normalize z, shape (N, C, S)."""
        parts = z.view(len(z), self.groups, -1)
        std = (parts.var(2, correction=0, keepdim=True) + EPS).sqrt()
        return (z * torch.sigmoid(self.v * z)).view_as(parts).div(std).view_as(z)


class UnitLength(nn.Module):
    """The channels as a vector of unit length: of each position, or of each output's weights.

    So are queries and keys (Henry et al. 2020), and in nGPT all states and weights (Loshchilov et
    al. 2025).
    """

    def forward(self, z: Tensor) -> Tensor:
        """Normalize z, shape (N, C, S)."""
        return normalize(z, dim=1)


# ---------------------------------------------------------------------------------------------
# The list
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normalization:
    """One normalization.

    Parameters
    ----------
    name, formula, code : str
        What it is called; without gamma and beta, in TeX, as a function of ``z`` (of the weights
        ``w``, where it is these that are normalized); and in PyTorch.
    make : callable
        From the linear map in front, a ``Conv1d`` without bias over one position, to a Module from
        x to the normalized z.
    """

    name: str
    formula: str
    code: str
    make: Callable[[nn.Conv1d], nn.Module]


def _behind(make: Callable[[], nn.Module]) -> Callable[[nn.Conv1d], nn.Module]:
    return lambda linear: nn.Sequential(linear, make())


def _weights(change: Callable[[nn.Conv1d], object]) -> Callable[[nn.Conv1d], nn.Module]:
    def make(linear: nn.Conv1d) -> nn.Module:
        change(linear)
        return linear

    return make


def _unit_weights(linear: nn.Conv1d) -> None:
    register_parametrization(linear, "weight", UnitLength())


ZOO = [
    Normalization(
        "Batch",
        r"(z - \operatorname{E}_{NS} z) / \sqrt{\operatorname{Var}_{NS} z + \epsilon}",
        "nn.BatchNorm1d(C)",
        _behind(lambda: nn.BatchNorm1d(CHANNELS)),
    ),
    Normalization(
        "Ghost batch",
        r"\text{batch normalization of each part of the batch}",
        "GhostBatchNorm1d(C, size=3)",
        _behind(lambda: GhostBatchNorm1d(CHANNELS, size=3)),
    ),
    Normalization(
        "Batch renorm",
        r"r\, (z - \operatorname{E}_{NS} z) / \sqrt{\operatorname{Var}_{NS} z + \epsilon} + d",
        "BatchRenorm(C)",
        _behind(lambda: BatchRenorm(CHANNELS)),
    ),
    Normalization(
        "Layer",
        r"(z - \operatorname{E}_{CS} z) / \sqrt{\operatorname{Var}_{CS} z + \epsilon}",
        "nn.GroupNorm(1, C)",
        _behind(lambda: nn.GroupNorm(1, CHANNELS)),
    ),
    Normalization(
        "Group",
        r"(z - \operatorname{E}_{gS} z) / \sqrt{\operatorname{Var}_{gS} z + \epsilon}",
        "nn.GroupNorm(2, C)",
        _behind(lambda: nn.GroupNorm(2, CHANNELS)),
    ),
    Normalization(
        "Instance",
        r"(z - \operatorname{E}_{S} z) / \sqrt{\operatorname{Var}_{S} z + \epsilon}",
        "nn.InstanceNorm1d(C)",
        _behind(lambda: nn.InstanceNorm1d(CHANNELS)),
    ),
    Normalization(
        "RMS",
        r"z / \sqrt{\operatorname{E}_{CS} z^2 + \epsilon}",
        "z * torch.rsqrt(z.square().mean((1, 2), keepdim=True) + eps)",
        _behind(lambda: RMSNorm(CHANNELS)),
    ),
    Normalization(
        "Filter response",
        r"z / \sqrt{\operatorname{E}_{S} z^2 + \epsilon}",
        "z / (z.square().mean(2, keepdim=True) + eps).sqrt()",
        _behind(FilterResponseNorm),
    ),
    Normalization(
        "EvoNorm-S0",
        r"z\, \sigma(v z) / \sqrt{\operatorname{Var}_{gS} z + \epsilon}",
        "z * torch.sigmoid(v * z) / group_std(z)",
        _behind(lambda: EvoNormS0(CHANNELS, groups=2)),
    ),
    Normalization(
        "Query-key",
        r"s\, z / \lVert z \rVert_C",
        "s * F.normalize(z, dim=1)",
        _behind(UnitLength),
    ),
    Normalization(
        "Unit sphere (nGPT)",
        r"z / \lVert z \rVert_C, \quad w / \lVert w \rVert",
        "F.normalize(F.conv1d(x, F.normalize(w, dim=1)), dim=1)",
        lambda linear: nn.Sequential(_weights(_unit_weights)(linear), UnitLength()),
    ),
    Normalization(
        "DyT",
        r"\tanh(\alpha z)",
        "torch.tanh(alpha * z)",
        _behind(lambda: DynamicTanh(CHANNELS)),
    ),
    Normalization(
        "Derf",
        r"\operatorname{erf}(\alpha z + s)",
        "torch.erf(alpha * z + s)",
        _behind(lambda: DynamicErf(CHANNELS)),
    ),
    Normalization(
        "Weight norm",
        r"g\, w / \lVert w \rVert",
        "nn.utils.parametrizations.weight_norm(linear)",
        _weights(weight_norm),
    ),
    Normalization(
        "Weight standardization",
        r"(w - \operatorname{E} w) / \sqrt{\operatorname{Var} w}",
        "(w - w.mean(1)) / w.std(1, correction=0)",
        _weights(lambda linear: standardize(linear, "standardized")),
    ),
    Normalization(
        "Scaled weight standardization",
        r"\tfrac{1.71}{\sqrt n} (w - \operatorname{E} w) / \sqrt{\operatorname{Var} w}",
        "1.71 / n**0.5 * (w - w.mean(1)) / w.std(1, correction=0)",
        _weights(lambda linear: standardize(linear, "scaled", RELU_GAIN)),
    ),
]

# ---------------------------------------------------------------------------------------------
# What they do
# ---------------------------------------------------------------------------------------------


def properties(norm: Normalization, seed: int = 0) -> dict[str, bool | int | None]:
    """Try what holds of a normalization, with random numbers.

    Parameters
    ----------
    norm : Normalization
        Which.
    seed : int
        Of the numbers.

    Returns
    -------
    dict
        Whether, in training mode, the output stays the same if all of z of a sample is shifted, if
        it is scaled, if a channel is scaled, if the weights are scaled; whether a sample's output
        depends on the others of its batch; whether the output is the same in evaluation mode;
        whether the gradient with respect to z adds up to zero over the batch (for each channel),
        and over a sample. None where there is nothing to try: what normalizes weights does nothing
        to z.

        ``"passes"`` is inferred, not counted: how often z is read or written, at least, to
        normalize it, if the numbers that share a statistic do not fit into the cache. See Notes.

    Notes
    -----
    Passes are inferred from which z an output depends on, which is tried. If on its own alone, z is
    read once and written once. If on more, all of these must have been read before the first output
    can be written, and by then the first have left the cache: read, read again, write. Who
    normalizes weights need not touch z.

    Examples
    --------
    >>> found = properties(ZOO[0])
    >>> found["scale of a channel"], found["depends on the batch"], found["same in evaluation"]
    (True, True, False)
    """
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    linear = nn.Conv1d(CHANNELS, CHANNELS, 1, bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(numbers(*linear.weight.shape))
    model = norm.make(linear).double().train()
    z, x = (numbers(SAMPLES, CHANNELS, POSITIONS) + 0.3 for _ in range(2))
    of_layer = _tried_on_z(model[1] if isinstance(model, nn.Sequential) else None, z, numbers)

    before = model(x).detach()
    others = torch.cat([x[:1], numbers(SAMPLES - 1, CHANNELS, POSITIONS)])
    depends = not _same(model(others)[0], before[0])
    raw = [p for name, p in model.named_parameters() if name.endswith(("weight", "original", "1"))]
    with torch.no_grad():
        next(p for p in raw if p.ndim == 3).mul_(3)
    scaled = model(x).detach()
    return {
        **of_layer,
        "scale of the weights": _same(scaled, before),
        "depends on the batch": depends,
        "same in evaluation": _same(model.eval()(x), scaled),
    }


def _tried_on_z(
    layer: nn.Module | None, z: Tensor, numbers: Callable[..., Tensor]
) -> dict[str, bool | int | None]:
    """Try what a layer does to z, shape (N, C, S); without one there is nothing to try."""
    names = [
        *("shift of a sample", "scale of a sample", "scale of a channel"),
        *("sum over the batch", "sum over a sample"),
    ]
    if layer is None:
        return {**dict.fromkeys(names), "passes": 0}
    one = torch.zeros(SAMPLES, 1, 1, dtype=torch.float64)
    one[0] = 1
    channel = torch.ones(1, CHANNELS, 1, dtype=torch.float64)
    channel[:, 0] = 3
    y = layer(z).detach()
    leaf = z.clone().requires_grad_()
    (dz,) = torch.autograd.grad(layer(leaf), leaf, numbers(*y.shape))
    (first,) = torch.autograd.grad(layer(leaf)[0, 0, 0], leaf)
    tried = [_same(layer(changed), y) for changed in (z + one, z * (1 + 2 * one), z * channel)]
    tried += [_same(dz.sum(axes), torch.zeros(1)) for axes in ((0, 2), (1, 2))]
    alone = int((first != 0).sum()) == 1
    return {**dict(zip(names, tried, strict=True)), "passes": 2 if alone else 3}


def _same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= _SAME * max(1.0, float(b.abs().max())))
