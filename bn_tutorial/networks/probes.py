"""Record what passes through a network: activations forward, gradients backward.

A probe only looks: neither what the network computes nor the network itself is changed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Signals:
    """What :func:`watch` recorded, by the name of the module, in the order of the network.

    Attributes
    ----------
    outputs : dict of str to Tensor
        The output of each module at the last forward pass.
    gradients : dict of str to Tensor
        The gradient of the loss with respect to that output, of the same shape, at the last
        backward pass. Empty until there is one.
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
        Filled by every forward and backward pass within the block; each pass replaces the record
        of the one before. The tensors are detached from the graph but share the network's memory.

    Raises
    ------
    TypeError
        In the forward pass, if a watched module does not return a Tensor.
    ValueError
        If no type is given or the network has no module of these types.

    Notes
    -----
    A gradient is that of the loss *as it is*: with a mean over N samples, each sample's row carries
    a factor 1/N. A new forward pass discards the gradients of the one before.

    Examples
    --------
    >>> import torch
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

    Parameters
    ----------
    outputs : Tensor, shape (N, units)
        Of one layer.

    Returns
    -------
    float
        The (biased) standard deviation over the samples. What differs between *units* alone, and
        so carries no information about the input, does not count.

    Examples
    --------
    >>> import torch
    >>> signal(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    0.5
    """
    return outputs.std(dim=0, unbiased=False).mean().item()


def saturated(outputs: Tensor) -> float:
    """Return the share of sigmoid outputs that are nearer than a twentieth to zero or one.

    Examples
    --------
    >>> import torch
    >>> saturated(torch.tensor([[0.01, 0.5], [0.5, 0.99]]))
    0.5
    """
    return ((outputs < 0.05) | (outputs > 0.95)).float().mean().item()


def slope(outputs: Tensor) -> float:
    """Return the mean slope of the sigmoids that gave these outputs; a quarter is the greatest.

    Examples
    --------
    >>> import torch
    >>> slope(torch.tensor([[0.5, 0.5]]))
    0.25
    """
    return (outputs * (1 - outputs)).mean().item()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize with the statistics of the batch while a block runs, and leave no trace of it.

    Before there are running statistics worth the name, this is the only way to see what batch
    normalization does. The network is in training mode within the block; afterwards its buffers and
    the mode of each module are as before.

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
    model.train()
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


def slopes(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the mean slope of the sigmoids of every hidden layer, with batch statistics.

    Parameters
    ----------
    model : Module
        A network with sigmoids.
    images : Tensor, shape (N, 784)
        What to show to it.

    Returns
    -------
    dict of str to float
        ``"slope 1"`` for the first hidden layer, and so on.
    """
    with batch_statistics(model), torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        model(images)
    outputs = signals.outputs.values()
    return {f"slope {number}": slope(output) for number, output in enumerate(outputs, 1)}


def percentiles(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return percentiles of the inputs of the last hidden layer's sigmoids, in evaluation mode.

    Parameters
    ----------
    model : Module
        A network with sigmoids.
    images : Tensor, shape (N, 784)
        What to show to it.

    Returns
    -------
    dict of str to float
        For unit 0 of the layer ``"unit 0, 15 %"``, ``"unit 0, 50 %"`` and ``"unit 0, 85 %"``, and
        so on for all units.
    """
    model.eval()
    with torch.inference_mode(), watch(model, nn.Sigmoid) as signals:
        model(images)
    last = list(signals.outputs.values())[-1]
    levels = (0.15, 0.5, 0.85)
    # The sigmoid is increasing, so its inverse takes percentiles to percentiles.
    values = torch.quantile(last, torch.tensor(levels, device=last.device), dim=0).double().logit()
    return {
        f"unit {unit}, {level:.0%}".replace("%", " %"): values[row, unit].item()
        for unit in range(values.shape[1])
        for row, level in enumerate(levels)
    }


def weight_norms(model: nn.Module, _images: Tensor) -> dict[str, float]:
    """Return the norm of every hidden layer's weights.

    Parameters
    ----------
    model : DeepNet
        The network.
    _images : Tensor
        Not used: weights have the same norm whatever is shown.

    Returns
    -------
    dict of str to float
        ``"norm 1"`` for the first hidden layer, and so on.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)][:-1]
    return {f"norm {n}": layer.weight.detach().norm().item() for n, layer in enumerate(layers, 1)}


MEASURES: dict[str, Callable[[nn.Module, Tensor], dict[str, float]]] = {
    "slopes": slopes,
    "percentiles": percentiles,
    "weight norms": weight_norms,
}
