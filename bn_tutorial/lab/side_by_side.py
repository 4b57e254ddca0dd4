"""Train networks of the same layers side by side: all of them take a step at the same time.

A step of a small network takes longer to be said than to be computed. Where several networks have
the same layers, and differ in their weights, learning rates and images, one product of matrices for
each layer serves all of them, and their steps are sooner done than one after the other. What comes
out is the same bit by bit: each network has its own batch, its own mean and variance, and its own
sum for every number. Before they begin, one step of each alone is compared with one of all.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy, group_norm, log_softmax, nll_loss

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.training import (
    EVALUATION_BATCH,
    FINITE_EVERY,
    Config,
    Course,
    History,
    Measure,
    Tensors,
    accuracy,
    change,
    descend,
    device,
    orders_of,
    tensors_of,
    train,
)
from bn_tutorial.networks.residual import Block

__all__ = ["SideBySide", "train_side_by_side"]

_POINTWISE = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Identity)
# So many numbers a processor takes at once; those that are left over it may round otherwise.
_LANES = 16


class _Own(NamedTuple):
    """A parameter of all networks, shape (networks, ...), and that of each, which is a view."""

    values: Tensor
    each: list[nn.Parameter]

    def directions(self, gradients: Tensor) -> Tensor:
        """Return what hooks on the networks' parameters, if any, make of the gradients."""
        if not any(own._backward_hooks for own in self.each):
            return gradients
        return torch.stack([*map(_hooked, self.each, gradients)])


def _hooked(parameter: nn.Parameter, gradient: Tensor) -> Tensor:
    # As PyTorch calls them; to ask it to do so takes longer than most hooks.
    for hook in (parameter._backward_hooks or {}).values():
        replaced = hook(gradient)
        gradient = gradient if replaced is None else replaced
    return gradient


class _Linear(torch.autograd.Function):
    """Each network's own linear map.

    PyTorch's gradient of such a product is that of its transpose, which may differ by a bit from
    what it computes for one network alone.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x, shape (networks, N, inputs), times the transposed weights, plus the bias."""
        ctx.save_for_backward(x, weight)
        ctx.with_bias = bias is not None
        if bias is None:
            return torch.bmm(x, weight.transpose(1, 2))
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Return the gradients of x (the images need none), of the weights and of the bias."""
        x, weight = ctx.saved_tensors
        dx = torch.bmm(dy, weight) if ctx.needs_input_grad[0] else None
        return dx, torch.bmm(dy.transpose(1, 2), x), dy.sum(1) if ctx.with_bias else None


class SideBySide:
    """Several networks of the same layers as one, which takes each through its own batch.

    The weights of their linear maps, and gamma, beta and running statistics of their batch
    normalizations, lie one behind the other in memory. The networks themselves go on to work:
    their parameters become views of it.

    Parameters
    ----------
    models : sequence of Module
        Nested ``nn.Sequential`` and residual blocks of any modules, of the same types and shapes
        in all networks. Linear maps, pointwise activations, ``nn.BatchNorm1d`` and ``nn.GroupNorm``
        are computed for all networks together; any other module takes one network after the other.
        So do hooks on parameters, such as those of :mod:`bn_tutorial.networks.steps`.

    Attributes
    ----------
    parameters : list
        What is trained: each parameter of all networks, with the networks as its first axis.

    Examples
    --------
    >>> models = [nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(4)]
    >>> x = torch.randn(4, 5, 3)
    >>> y = SideBySide(models)(x)
    >>> y.shape, torch.allclose(y[1], models[1](x[1]), atol=1e-6)
    (torch.Size([4, 5, 2]), True)
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        self.parameters: list[_Own] = []
        self._joined: dict[nn.Module, dict[str, Tensor]] = {}
        self._alone: list[list[nn.Parameter]] = [[] for _ in models]
        self._take(models)

    def _take(self, modules: Sequence[nn.Module]) -> None:
        """Join what can be computed together, in the order in which it is computed."""
        if parts := _parts(modules):
            for inner in parts:
                self._take(inner)
        elif _is_joined(modules[0]):
            self._join(modules)
        else:
            for module, own in zip(modules, self._alone, strict=True):
                own.extend(module.parameters())

    def _join(self, modules: Sequence[nn.Module]) -> None:
        """Put what the modules keep into one tensor for each name, of which theirs are views."""
        joined = self._joined[modules[0]] = {}
        for name, _ in modules[0].named_parameters():
            each = [module.get_parameter(name) for module in modules]
            joined[name] = values = torch.stack([own.detach() for own in each])
            for own, view in zip(each, values, strict=True):
                own.data = view
            values.requires_grad_()
            self.parameters.append(_Own(values, each))
        for name, _ in modules[0].named_buffers():
            joined[name] = torch.stack([m.get_buffer(name) for m in modules])
            for module, view in zip(modules, joined[name], strict=True):
                setattr(module, name, view)

    def __call__(self, x: Tensor) -> Tensor:
        """Return what each network makes of its own batch, in training mode.

        From shape (networks, N, inputs) to (networks, N, outputs).
        """
        return self._through(self.models, x)

    def _through(self, modules: Sequence[nn.Module], x: Tensor) -> Tensor:
        first = modules[0]
        if isinstance(first, Block):
            branches, after = _parts(modules)
            return self._through(after, x + self._through(branches, x))
        if isinstance(first, nn.Sequential):
            for inner in _parts(modules):
                x = self._through(inner, x)
            return x
        if first in self._joined:
            return _TOGETHER[type(first)](first, self._joined[first], x)
        if isinstance(first, _POINTWISE):
            y: Tensor = first(x)
            return y
        return torch.stack([module(own) for module, own in zip(modules, x, strict=True)])

    def _gradients(self, log_p: Tensor, targets: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return the gradients of each network's mean loss.

        Those of ``parameters``, and for each network those of the modules that it takes alone.
        """
        # That of the mean cross-entropy, written down: minus 1/N at the right classes.
        upstream = torch.zeros_like(log_p).scatter_(2, targets.unsqueeze(2), -1 / targets.shape[1])
        alone = [parameter for own in self._alone for parameter in own]
        wanted = [own.values for own in self.parameters] + alone
        found = iter(torch.autograd.grad(log_p, wanted, upstream))
        joined = [own.directions(next(found)) for own in self.parameters]
        return joined, [[next(found) for _ in own] for own in self._alone]

    @torch.no_grad()
    def step(self, log_p: Tensor, targets: Tensor, configs: Sequence[Config]) -> None:
        """Change the parameters of each network as its settings say."""
        with torch.enable_grad():
            joined, alone = self._gradients(log_p, targets)
        spans = list(_spans(configs))
        for own, gradients in zip(self.parameters, joined, strict=True):
            for span, config in spans:
                change(own.values[span], gradients[span], config, own.each[0].ndim > 1)
        for parameters, own_gradients, config in zip(self._alone, alone, configs, strict=True):
            for parameter, gradient in zip(parameters, own_gradients, strict=True):
                change(parameter, gradient, config, parameter.ndim > 1)


def _is_joined(module: nn.Module) -> bool:
    """Whether it is computed for all networks together, to the same bits."""
    # These classes themselves, for a subclass may compute something else.
    if type(module) is nn.BatchNorm1d:
        usual = module.affine and module.track_running_stats and module.momentum is not None
        return usual and module.num_features % _LANES == 0
    return type(module) is nn.Linear or (type(module) is nn.GroupNorm and module.affine)


def _parts(modules: Sequence[nn.Module]) -> list[tuple[nn.Module, ...]]:
    """Return the parts of modules that only call them, each part of all modules together."""
    if isinstance(modules[0], (Block, nn.Sequential)):
        return [*zip(*(module.children() for module in modules), strict=True)]
    return []


def _beside(x: Tensor) -> Tensor:
    """Put the networks' units beside each other: shape (N, networks C)."""
    return x.transpose(0, 1).flatten(1)


def _apart(y: Tensor, networks: int) -> Tensor:
    """Undo that: shape (networks, N, C)."""
    return y.view(len(y), networks, -1).transpose(0, 1)


def _map(_: nn.Linear, joined: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return cast(Tensor, _Linear.apply(x, joined["weight"], joined.get("bias")))


def _normalize_batch(layer: nn.BatchNorm1d, joined: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Normalize each network's units over its own batch."""
    joined["num_batches_tracked"].add_(1)
    names = ("running_mean", "running_var", "weight", "bias")
    mean, var, gamma, beta = (joined[name].view(-1) for name in names)
    momentum = cast(float, layer.momentum)
    return _apart(batch_norm(_beside(x), mean, var, gamma, beta, True, momentum, layer.eps), len(x))


def _normalize_groups(layer: nn.GroupNorm, joined: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Normalize each group of units of each network."""
    gamma, beta = joined["weight"].view(-1), joined["bias"].view(-1)
    return _apart(group_norm(_beside(x), layer.num_groups * len(x), gamma, beta, layer.eps), len(x))


_TOGETHER: dict[type[nn.Module], Callable[[Any, Mapping[str, Tensor], Tensor], Tensor]] = {
    nn.Linear: _map,
    nn.BatchNorm1d: _normalize_batch,
    nn.GroupNorm: _normalize_groups,
}


def _spans(configs: Sequence[Config]) -> Iterator[tuple[slice, Config]]:
    """Yield which networks that stand beside each other step alike, and how."""
    start = 0
    for _, alike in groupby(configs, lambda config: (config.lr, config.weight_decay)):
        several = list(alike)
        yield slice(start, start + len(several)), several[0]
        start += len(several)


def train_side_by_side(
    models: Sequence[nn.Module],
    data: Dataset,
    configs: Sequence[Config],
    *,
    measure: Measure | None = None,
) -> list[History]:
    """Train networks of the same layers, each as :func:`bn_tutorial.lab.training.train` would.

    Parameters
    ----------
    models : sequence of Module
        As of :class:`SideBySide`, each as that function takes it.
    data : Dataset
        What to train and to test on.
    configs : sequence of Config
        How to train each of them; they differ at most in rates, weight decay and seeds.
    measure : callable, optional
        As of that function.

    Returns
    -------
    list of History
        The same bit by bit as of each network alone, except for the seconds, which are shared.

    Raises
    ------
    ValueError
        From batch normalization, if a batch holds a single image; if a measure changes its shapes.

    Notes
    -----
    Where this machine's products of several matrices differ by a bit from those of one (a first
    step tells), the networks are trained one after the other.
    """
    where = device()
    for model in models:
        model.to(where)
    if len(models) == 1 or not _same_bits(models, data, configs):
        alone = zip(models, configs, strict=True)
        return [train(m, data, c, measure=measure, progress=False) for m, c in alone]
    start = time.perf_counter()
    tensors = tensors_of(data, where)
    courses = [Course(m, tensors, c, measure) for m, c in zip(models, configs, strict=True)]
    orders = [orders_of(len(data.train), config) for config in configs]
    going, together = [*range(len(models))], SideBySide(models)
    while going:
        for place in going:
            models[place].train()
        seen = {place: _Seen([], [], []) for place in going}
        for step in range(1, configs[0].evaluate_every + 1):
            images, targets = _batch(tensors, [next(orders[place]) for place in going])
            logits = together(images)
            log_p = log_softmax(logits, 2)
            together.step(log_p, targets, [configs[place] for place in going])
            for place, *own in zip(going, log_p.detach(), logits.detach(), targets, strict=True):
                seen[place].keep(*own)
            if step % FINITE_EVERY == 0:
                sound = [place for place in going if seen[place].losses[-1].isfinite()]
                together, going = _without_others(together, models, going, sound)
                if not going:
                    break
        for place, (losses, outputs, labels) in seen.items():
            right = accuracy(torch.cat(outputs), torch.cat(labels))
            courses[place].close(torch.stack(losses).tolist(), right)
        left = [place for place in going if not courses[place].over]
        together, going = _without_others(together, models, going, left)
    for model in models:
        model.eval()
    seconds = (time.perf_counter() - start) / len(models)
    return [course.history(seconds) for course in courses]


class _Seen(NamedTuple):
    """What one network did at each step since it was evaluated last."""

    losses: list[Tensor]
    outputs: list[Tensor]
    labels: list[Tensor]

    def keep(self, log_p: Tensor, logits: Tensor, targets: Tensor) -> None:
        self.losses.append(nll_loss(log_p, targets))
        self.outputs.append(logits)
        self.labels.append(targets)


def _without_others(
    together: SideBySide, models: Sequence[nn.Module], going: list[int], left: list[int]
) -> tuple[SideBySide, list[int]]:
    """Go on with those networks that are left: what has diverged need not be carried along."""
    if left and left != going:
        together = SideBySide([models[place] for place in left])
    return together, left


def _batch(tensors: Tensors, chosen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the networks' images, shape (networks, N, 784), and labels, shape (networks, N)."""
    images, labels = tensors.batch(torch.cat([*chosen]))
    shape = len(chosen), -1
    return images.view(*shape, images.shape[1]), labels.view(shape)


def _same_bits(models: Sequence[nn.Module], data: Dataset, configs: Sequence[Config]) -> bool:
    """Whether the networks answer and change as they would alone, bit by bit.

    Tried with a batch as large as most, and with one as large as the last of a pass.
    """
    tensors = tensors_of(data, device())
    shown = tensors.test.images[:EVALUATION_BATCH]
    # So large a rate that a bit of a gradient is not lost beside the weight.
    steps = [replace(config, lr=1.0, weight_decay=0.0) for config in configs]
    chosen = [next(orders_of(len(data.train), config)) for config in configs]
    for size in {len(chosen[0]), len(data.train) % len(chosen[0])} - {0}:
        alone, together = ([copy.deepcopy(m).eval() for m in models] for _ in range(2))
        side_by_side = SideBySide(together)
        pairs = [*zip(alone, together, strict=True)]
        if not all(torch.equal(one(shown), other(shown)) for one, other in pairs):
            return False
        images, targets = _batch(tensors, [rows[:size] for rows in chosen])
        for model in (*alone, *together):
            model.train()
        side_by_side.step(log_softmax(side_by_side(images), 2), targets, steps)
        for model, own, labels, step in zip(alone, images, targets, steps, strict=True):
            descend([*model.parameters()], cross_entropy(model(own), labels), step)
        if not all(
            all(map(torch.equal, one.parameters(), other.parameters())) for one, other in pairs
        ):
            return False
    return True
