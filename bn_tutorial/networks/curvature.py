"""How a loss bends: its slope and curvature as a function of the parameters, in units of choice.

Curvature has a unit. Multiply the weights in front of batch normalization by ten, and the network
computes the same, but its curvature with respect to them is a hundredth. So two networks can be
compared only in units that follow the parameters: each layer's own length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn


class Walk(NamedTuple):
    """What was met on a way straight down the gradient.

    Attributes
    ----------
    loss : ndarray, shape (distances + 1,)
        At the start, and at each distance.
    turned : ndarray, shape (distances,)
        Length of the difference between the gradient there and that at the start.
    """

    loss: NDArray[np.float64]
    turned: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A loss over the parameters of a network, each measured in a unit of its own.

    With units :math:`s`, a coordinate is the parameter divided by its unit; so the gradient has the
    components :math:`s_i g_i`, and the Hessian :math:`s_i H_{ij} s_j`.

    Parameters
    ----------
    loss : callable
        Returns the loss, a scalar Tensor, of the parameters as they are.
    parameters : sequence of Parameter
        Of the network. They are moved, and put back.
    units : sequence of float, optional
        One for each parameter; by default 1, the raw coordinates.

    Examples
    --------
    >>> w = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> surface = Surface(lambda: w[0] ** 2 + 2 * w[1] ** 2, [w])
    >>> surface.gradient().tolist(), surface.sharpness()
    ([6.0, 16.0], 4.0)
    >>> Surface(surface.loss, [w], [5.0]).sharpness()  # in units of its length
    100.0
    """

    loss: Callable[[], Tensor]
    parameters: Sequence[nn.Parameter]
    units: Sequence[float] | None = None

    def gradient(self, *, create_graph: bool = False) -> Tensor:
        """Return the gradient in these units, flat, shape (P,)."""
        found = torch.autograd.grad(self.loss(), list(self.parameters), create_graph=create_graph)
        return self._flat(found)

    def sharpness(self, tolerance: float = 0.03) -> float:
        """Return the largest eigenvalue of the Hessian in these units, by Lanczos' method.

        Parameters
        ----------
        tolerance : float
            Of the relative error.
        """
        slope = self.gradient(create_graph=True)

        def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            along = torch.as_tensor(vector.ravel(), dtype=slope.dtype).to(slope.device)
            bent = torch.autograd.grad(slope @ along, list(self.parameters), retain_graph=True)
            return self._flat(bent).cpu().double().numpy()

        size = len(slope)
        start = np.random.default_rng(0).normal(size=size)
        if size < 3:  # too few for the method
            return float(np.linalg.eigvalsh(np.array([product(e) for e in np.eye(size)]))[-1])
        hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
        (largest,) = eigsh(
            hessian, 1, which="LA", v0=start, tol=tolerance, return_eigenvectors=False
        )
        return float(largest)

    def walk(self, distances: Sequence[float]) -> Walk:
        """Go straight down the gradient in these units, and look at each distance.

        Parameters
        ----------
        distances : sequence of float
            From the start, in these units.
        """
        slope = self.gradient()
        # Not Tensor.norm, which on some devices takes a way that PyTorch has deprecated.
        direction = self._parts(slope / torch.linalg.vector_norm(slope))
        start = [parameter.detach().clone() for parameter in self.parameters]
        losses, turned = [self.loss().item()], list[float]()
        for distance in distances:
            with torch.no_grad():
                for parameter, before, part in zip(self.parameters, start, direction, strict=True):
                    parameter.copy_(before - distance * part)
            losses.append(self.loss().item())
            turned.append(torch.linalg.vector_norm(self.gradient() - slope).item())
        with torch.no_grad():
            for parameter, before in zip(self.parameters, start, strict=True):
                parameter.copy_(before)
        return Walk(np.array(losses), np.array(turned))

    def _units(self) -> Sequence[float]:
        return self.units or [1.0] * len(self.parameters)

    def _flat(self, parts: Sequence[Tensor]) -> Tensor:
        scaled = zip(parts, self._units(), strict=True)
        return torch.cat([unit * part.flatten() for part, unit in scaled])

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Turn coordinates into changes of the parameters."""
        parts = torch.split(flat, [parameter.numel() for parameter in self.parameters])
        return [
            unit * part.view_as(parameter)
            for part, unit, parameter in zip(parts, self._units(), self.parameters, strict=True)
        ]


def own_lengths(model: nn.Module) -> list[float]:
    """Return for each parameter the length of its layer: of weight and bias, or gamma and beta.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> nn.init.constant_(layer.weight, 2.0), nn.init.constant_(layer.bias, 1.0)
    (Parameter containing:
    tensor([[2., 2.]], requires_grad=True), Parameter containing:
    tensor([1.], requires_grad=True))
    >>> own_lengths(layer)
    [3.0, 3.0]
    """
    units = []
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        length = sum(parameter.detach().square().sum().item() for parameter in own) ** 0.5
        units += [length] * len(own)
    return units
