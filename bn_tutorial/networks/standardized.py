"""Weight standardization: what is normalized is the weights, not what passes through them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

# 1/sqrt(Var(max(z, 0))) for z ~ N(0, 1): behind a ReLU it makes the variance one again.
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))

KINDS = ("plain", "standardized", "scaled")


class Standardized(nn.Module):
    """The weights of each output, less their mean, divided by their standard deviation.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs, ...)
        What is standardized; only its shape is used here.
    factor : float, optional
        If given, divided is by the root of the fan-in as well, and multiplied by this factor and a
        learned gain for each output, which starts at one.

    Notes
    -----
    After Qiao et al. 2019; scaled, after Brock, De and Smith 2021.

    Examples
    --------
    >>> weight = torch.tensor([[1.0, 3.0]])
    >>> Standardized(weight)(weight).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, weight: Tensor, factor: float | None = None) -> None:
        super().__init__()
        self.factor = factor
        if factor is not None:
            self.gain = nn.Parameter(torch.ones(len(weight), *[1] * (weight.ndim - 1)))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights that the layer computes with, of the same shape."""
        fan_in = tuple(range(1, weight.ndim))
        var, mean = torch.var_mean(weight, fan_in, correction=0, keepdim=True)
        standard = (weight - mean) * torch.rsqrt(var + 1e-10)
        if self.factor is None:
            return standard
        return self.gain * (self.factor / math.sqrt(weight[0].numel())) * standard


def standardize(
    layer: nn.Linear | nn.Conv1d | nn.Conv2d, kind: str, factor: float = RELU_GAIN
) -> None:
    """Let a layer compute with standardized weights from now on.

    Parameters
    ----------
    layer : Linear or Conv2d
        Changed in place; trained are, as before, the weights that it has now.
    kind : {"plain", "standardized", "scaled"}
        ``"plain"`` changes nothing.
    factor : float
        Of the scaled kind: with ``RELU_GAIN`` a layer behind a ReLU gives the variance that the
        ReLU was given, with one a layer gives the mean square of its input.

    Raises
    ------
    ValueError
        If ``kind`` is none of these.

    Examples
    --------
    >>> layer = nn.Linear(100, 3)
    >>> standardize(layer, "standardized")
    >>> layer.weight.std(1, correction=0).detach().round(decimals=3).tolist()
    [1.0, 1.0, 1.0]
    """
    if kind not in KINDS:
        raise ValueError(f"weights is {kind!r}, expected one of {list(KINDS)}")
    if kind != "plain":
        wanted = Standardized(layer.weight, factor if kind == "scaled" else None)
        register_parametrization(layer, "weight", wanted)
