"""Record what passes through a network: activations forward, gradients backward.

A probe only looks: neither what the network computes nor the network itself is changed by it. A
*measure*, to be taken at each evaluation of a training, goes from a Module and images, Tensor,
shape (N, 784), to ndarrays by name, whose shapes depend on the network alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Signals:
    """What :func:`watch` recorded, by the name of the module, in the order of the network.

    The output of each module at the last forward pass, and the gradient of the loss with respect to
    it, of the same shape, once there has been a backward pass after that.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def watch(model: nn.Module, *types: type[nn.Module]) -> Iterator[Signals]:
    """Record outputs and gradients of all modules of some types while a block runs.

    Parameters
    ----------
    model : Module
        The network, in whichever mode it is.
    *types : type of Module
        The kinds of modules to watch, e.g. ``nn.Sigmoid``; at least one.

    Yields
    ------
    Signals
        Filled by each pass within the block, forward and backward, in place of the one before. The
        tensors are detached from the graph but share the network's memory. A gradient is that of
        the loss *as it is*: with a mean over N samples, each sample's row carries a factor 1/N.

    Raises
    ------
    TypeError, ValueError
        If a watched module does not return a Tensor; if there is nothing to watch.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    >>> with watch(model, nn.Sigmoid) as signals:
    ...     model(torch.zeros(5, 3)).sum().backward()
    >>> signals.outputs["1"].shape, signals.gradients["1"].unique().tolist()
    (torch.Size([5, 2]), [1.0])
    """
    if not types:
        raise ValueError("expected at least one type of module to watch, e.g. nn.Sigmoid")
    watched = {name: module for name, module in model.named_modules() if isinstance(module, types)}
    if not watched:
        names = ", ".join(kind.__name__ for kind in types)
        raise ValueError(f"the {type(model).__name__} has no module of type {names} to watch")
    signals = Signals()
    with ExitStack() as hooks:
        for name, module in watched.items():
            hooks.callback(module.register_forward_hook(_recorder(name, signals)).remove)
        yield signals


def _recorder(name: str, signals: Signals) -> Any:
    def keep_gradient(gradient: Tensor) -> None:
        signals.gradients[name] = gradient.detach()

    def keep_output(module: nn.Module, _: Any, output: object) -> None:
        if not isinstance(output, Tensor):
            kinds = f"{type(module).__name__} returned {type(output).__name__}"
            raise TypeError(f"cannot watch {name!r}: {kinds}, expected a Tensor")
        signals.gradients.pop(name, None)
        signals.outputs[name] = output.detach()
        if output.requires_grad:
            output.register_hook(keep_gradient)  # type: ignore[no-untyped-call]

    return keep_output


def signal(outputs: Tensor) -> float:
    """Return how much a unit's output differs from sample to sample, averaged over the units.

    Of a layer's outputs, shape (N, units), it is the (biased) standard deviation over the samples.
    What differs between *units* alone carries no information about the input and does not count.

    Examples
    --------
    >>> signal(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    0.5
    """
    return outputs.std(dim=0, unbiased=False).mean().item()


def saturated(outputs: Tensor) -> float:
    """Return the share of sigmoid outputs that are nearer than a twentieth to zero or one.

    Examples
    --------
    >>> saturated(torch.tensor([[0.01, 0.5], [0.5, 0.99]]))
    0.5
    """
    return ((outputs < 0.05) | (outputs > 0.95)).float().mean().item()


def slope(outputs: Tensor) -> float:
    """Return the mean slope of the sigmoids that gave these outputs; a quarter is the greatest.

    Examples
    --------
    >>> slope(torch.tensor([[0.5, 0.5]]))
    0.25
    """
    return (outputs * (1 - outputs)).mean().item()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize with the statistics of the batch while a block runs, and leave no trace of it.

    So it can be seen what batch normalization does before its running statistics are worth the
    name. Within the block modules with running statistics are in training mode and the others, such
    as dropout, in evaluation mode; afterwards all buffers and modes are as before.

    Examples
    --------
    >>> model = nn.BatchNorm1d(1).eval()
    >>> with batch_statistics(model):
    ...     y = model(torch.tensor([[1.0], [3.0]]))
    >>> y.detach().round().ravel().tolist(), model.running_mean.item(), model.training
    ([-1.0, 1.0], 0.0, False)
    """
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    for module in modes:
        module.training = bool(list(module.buffers(recurse=False)))
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


# ---------------------------------------------------------------------------------------------
# To be measured at each evaluation of a training
# ---------------------------------------------------------------------------------------------


def slopes(model: nn.Module, images: Tensor) -> dict[str, NDArray[np.float64]]:
    """Measure ``"slope"``, shape (hidden layers,): of the sigmoids, with batch statistics."""
    with batch_statistics(model), torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        model(images)
    return {"slope": np.array([slope(outputs) for outputs in signals.outputs.values()])}


def percentiles(model: nn.Module, images: Tensor) -> dict[str, NDArray[np.float64]]:
    """Measure ``"percentiles"``, shape (units, 3): the 15th, 50th and 85th of each unit's inputs.

    The units are the sigmoids of the last hidden layer, in evaluation mode.
    """
    model.eval()
    with torch.inference_mode(), watch(model, nn.Sigmoid) as signals:
        model(images)
    last = list(signals.outputs.values())[-1].cpu()  # because not every device knows float64
    # The sigmoid is increasing, so its inverse takes percentiles to percentiles.
    values = torch.quantile(last, torch.tensor([0.15, 0.5, 0.85]), dim=0).double().logit()
    return {"percentiles": values.T.numpy()}


def weight_norms(model: nn.Module, _images: Tensor) -> dict[str, NDArray[np.float64]]:
    """Measure ``"norm"``, shape (hidden layers,): that of the weights, whatever is shown."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)][:-1]
    # Not Tensor.norm, which on some devices takes a way that PyTorch has deprecated.
    norms = [torch.linalg.vector_norm(layer.weight.detach()).item() for layer in layers]
    return {"norm": np.array(norms)}


MEASURES: dict[str, Callable[[nn.Module, Tensor], Mapping[str, NDArray[np.float64]]]] = {
    "slopes": slopes,
    "percentiles": percentiles,
    "weight norms": weight_norms,
}
