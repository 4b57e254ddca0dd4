"""Watch a training loop for what a finished model cannot show: who calls its layers, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bn_tutorial.networks.checks_with_data import APART, NOISE
from bn_tutorial.networks.gather import Moments, apart, has_statistics, norm_layers
from bn_tutorial.networks.report import Finding, Report, shorten, verdict

_CALLS = 8  # in one step, that are told apart


@dataclass
class _Layer:
    """What one layer went through; ``step`` holds the calls of the present step."""

    module: Any
    mean: Tensor
    step: list[tuple[Tensor, Tensor, bool]] = field(default_factory=list)
    calls: list[Moments] = field(default_factory=list)
    forwards: int = 0
    repeated: int = 0
    without_gradient: int = 0
    updates: int = 0
    overtaken: bool = False


class Watched:
    """What :func:`watch_norms` sees, while it goes on and afterwards; print it.

    Attributes
    ----------
    steps : int
        Of the optimizer.
    forwards : float
        Passes in train mode through the busiest layer, for each step.
    first_nan : tuple or None
        The step, from 1 on, and the first layer whose input was not finite.
    """

    def __init__(self, model: nn.Module) -> None:
        self.steps = 0
        self.first_nan: tuple[int, str] | None = None
        self._subject = type(model).__name__
        self._layers = {
            name: _Layer(module, module.running_mean.clone())  # type: ignore[operator]
            for name, module in norm_layers(model).items()
            if has_statistics(module)
        }
        if not self._layers:
            raise ValueError(f"the {self._subject} has no layer with running statistics to watch")

    @property
    def forwards(self) -> float:
        """Passes in train mode through the busiest layer, for each step."""
        return max(one.forwards for one in self._layers.values()) / max(self.steps, 1)

    @property
    def report(self) -> Report:
        """The findings so far."""
        findings = [*self._findings()]
        seen = f"{len(self._layers)} layers, {self.steps} steps, "
        seen += f"{self.forwards:.3g} passes in train mode a step"
        unchecked = ["whether the statistics fit the activations: examine()"]
        return Report(self._subject, verdict(findings), seen, findings, unchecked=unchecked)

    @property
    def findings(self) -> list[Finding]:
        """The findings so far, worst first."""
        return self.report.findings

    def __str__(self) -> str:
        """Print as the report does."""
        return str(self.report)

    # -----------------------------------------------------------------------------------------
    # What the hooks tell
    # -----------------------------------------------------------------------------------------

    def _enter(self, name: str, x: Tensor) -> None:
        layer = self._layers[name]
        if not layer.module.training or not x.numel():
            return
        layer.forwards += 1
        layer.updates += 1
        values = x.detach().float()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count = x.numel() // x.shape[1]
        moments = values.mean(axes), values.var(axes, correction=min(1, count - 1))
        mean, var = (tensor.cpu().double() for tensor in moments)
        if self.first_nan is None and not mean.isfinite().all():
            self.first_nan = (self.steps + 1, name)
        layer.step.append((mean, var, torch.is_grad_enabled()))

    def _leave(self, name: str, output: Any) -> None:
        layer = self._layers[name]
        if layer.module.training or not isinstance(output, Tensor) or not output.requires_grad:
            return
        updates = layer.updates

        def backward(_: Tensor) -> None:
            layer.overtaken |= layer.updates != updates

        output.register_hook(backward)  # type: ignore[no-untyped-call]

    def _end_step(self, *_: Any) -> None:
        self.steps += 1
        self._close()

    def _close(self) -> None:
        """Tell the calls of a step apart: recomputed, without gradient, and the others in order."""
        for layer in self._layers.values():
            once: list[tuple[Tensor, Tensor, bool]] = []
            for mean, var, gradient in layer.step:
                same = [i for i, one in enumerate(once) if _equal(one[0], mean)]
                if same and _equal(once[same[0]][1], var):
                    layer.repeated += 1  # one of them may be without gradient: checkpointing
                    once[same[0]] = (mean, var, gradient or once[same[0]][2])
                else:
                    once.append((mean, var, gradient))
            learnt = [one for one in once if one[2]]
            layer.without_gradient += len(once) - len(learnt)
            for number, (mean, var, _) in enumerate(learnt[:_CALLS]):
                if number == len(layer.calls):
                    layer.calls.append(Moments())
                layer.calls[number].add(mean, var)
            layer.step.clear()

    # -----------------------------------------------------------------------------------------
    # What follows
    # -----------------------------------------------------------------------------------------

    def _findings(self) -> Iterator[Finding]:
        if self.first_nan:
            step, name = self.first_nan
            summary = f"first in step {step}, at the input of {name or 'the layer'}"
            hint = "look at that step's batch, learning rate and precision"
            yield Finding("error", "nan-activations", summary, (name,), (hint,))
        overtaken = self._names(lambda one: one.overtaken)
        if overtaken:
            yield Finding(
                "error",
                "eval-backward",
                f"{shorten(overtaken)}: a pass in train mode came between the forward pass in eval "
                "mode and its backward pass, which took the new statistics",
                overtaken,
                ("call backward first, or give the layer new buffers between the two",),
            )
        yield from self._extra_passes()
        yield from self._distributions()
        moved = self._names(
            lambda one: _frozen(one.module) and not torch.equal(one.mean, one.module.running_mean)
        )
        if moved:
            yield Finding(
                "warning",
                "frozen-but-moving",
                f"{shorten(moved)}: requires_grad is False, and the statistics have moved",
                moved,
                ("model.train() undoes eval(): repeat it after each",),
                'for name in report.layers("frozen-but-moving"): model.get_submodule(name).eval()',
            )

    def _extra_passes(self) -> Iterator[Finding]:
        repeated = self._names(lambda one: one.repeated > 0)
        if repeated:
            count = max(self._layers[name].repeated for name in repeated)
            yield Finding(
                "warning",
                "double-counting",
                f"{shorten(repeated)}: {count} batches passed twice within a step, and were "
                "counted twice",
                repeated,
                ("activation checkpointing? Its momentum is twice what it says",),
                _halved(self._layers[repeated[0]].module.momentum),
            )
        moved = self._names(lambda one: one.without_gradient > 0)
        if moved:
            count = max(self._layers[name].without_gradient for name in moved)
            yield Finding(
                "warning",
                "no-grad-is-not-eval",
                f"{shorten(moved)}: {count} passes in train mode without gradient moved the "
                "statistics",
                moved,
                ("a teacher, or validation? no_grad stops gradients, eval() the statistics",),
                "model.eval()",
            )

    def _distributions(self) -> Iterator[Finding]:
        for name, layer in self._layers.items():
            used = [one for one in layer.calls if one.count >= 3]
            if len(used) < 2:
                continue
            distance, noise = apart(used)
            if distance > max(APART, NOISE * noise):
                yield Finding(
                    "warning",
                    "several-distributions",
                    f"{name or 'the layer'}: {len(layer.calls)} passes a step, their inputs "
                    f"{distance:.1f} sigma apart ({APART:g} matter): one running average fits none",
                    (name,),
                    ("one layer for each kind of input, or one batch of all kinds",),
                )

    def _names(self, condition: Any) -> tuple[str, ...]:
        return tuple(name for name, one in self._layers.items() if condition(one))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=0.0)


def _halved(momentum: float | None) -> str:
    """Return the line that sets a momentum that, taken twice, weighs as much as this one."""
    if momentum is None:
        return ""
    return (
        'for name in report.layers("double-counting"): '
        f"model.get_submodule(name).momentum = {1 - (1 - momentum) ** 0.5:.4f}"
    )


def _frozen(layer: nn.Module) -> bool:
    learns = [parameter.requires_grad for parameter in layer.parameters()]
    return bool(learns) and not any(learns)


@contextmanager
def watch_norms(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[Watched]:
    """Watch the layers with running statistics during some steps of a training.

    Parameters
    ----------
    model : Module
        The model that is trained, or a teacher that should stay as it is.
    optimizer : Optimizer, optional
        Whose steps are counted; without one the whole block is one step.

    Yields
    ------
    Watched
        What was seen, to be printed during the block or after it.

    Raises
    ------
    ValueError
        If no layer has running statistics.

    Notes
    -----
    It takes two moments of each layer's input, a few numbers a channel, and changes nothing.
    Gather statistics (``update_bn``) outside the block: its passes are without gradient.

    Examples
    --------
    >>> model = nn.BatchNorm1d(1)
    >>> with watch_norms(model) as seen, torch.no_grad():
    ...     y = model(torch.rand(8, 1))
    >>> seen.report.codes
    ['no-grad-is-not-eval']
    """
    seen = Watched(model)

    def entered(name: str) -> Any:
        def hook(_: nn.Module, arguments: Any, options: dict[str, Any]) -> None:
            x = arguments[0] if arguments else options.get("input")
            if isinstance(x, Tensor):
                seen._enter(name, x)

        return hook

    def left(name: str) -> Any:
        return lambda _, __, output: seen._leave(name, output)

    with ExitStack() as hooks:
        if optimizer is not None:
            hooks.callback(optimizer.register_step_post_hook(seen._end_step).remove)
        for name, layer in seen._layers.items():
            handle = layer.module.register_forward_pre_hook(entered(name), with_kwargs=True)
            hooks.callback(handle.remove)
            hooks.callback(layer.module.register_forward_hook(left(name)).remove)
        try:
            yield seen
        finally:
            seen._close()
