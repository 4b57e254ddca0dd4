"""Try a model with its running statistics, with those of the batch, and with new ones.

All of it happens on lent buffers: see :mod:`bn_tutorial.networks.untouched`.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn_tutorial.networks.batches import (
    Batches,
    Forward,
    Loss,
    Origin,
    Score,
    first_of,
    is_plain,
    run,
    size,
    tensor_of,
)
from bn_tutorial.networks.gather import (
    Gathered,
    Moments,
    has_statistics,
    look,
    norm_layers,
    pools_batch,
)

FORWARDS = 6  # at most, for each batch
SAME = 1e-2  # outputs this far apart, in their spread, differ by rounding alone
#: Outputs of half a batch, too, in layers that compute in half precision. To take the statistics of
#: half a batch moves them by more, if it has no more than some hundred samples.
ALIKE = 0.05
_ALONE = 10, 4  # layers whose cost is measured one by one, and batches for it


@dataclass
class Offset:
    """How far running statistics are from those of the activations.

    Attributes
    ----------
    mean : float
        Root mean square over the channels of the difference of the means, in standard deviations.
    scale : float
        The same of the logarithm of the ratio of the standard deviations.
    ratio : float
        The median ratio of the variances.
    noise : float
        What ``mean`` would be if nothing but the choice of the batches differed.
    """

    mean: float
    scale: float
    ratio: float
    noise: float

    @property
    def off(self) -> float:
        """Both together."""
        both = math.hypot(self.mean, self.scale)
        return both if math.isfinite(both) else math.inf


@dataclass
class Trials:
    """What a model did on some batches, under which statistics.

    Attributes
    ----------
    layers : dict of str to Module
        All normalization layers.
    frozen : set of str
        Those that stay in evaluation mode in training.
    constant : set of str
        Those, not PyTorch's, whose statistics do not move in training.
    in_eval, in_batch, in_training : Gathered
        What reached the layers in evaluation mode; with the statistics of the batch in all layers
        that take them; and in training mode.
    scores : dict of str to Score
        ``"eval"``, ``"batch"`` and, where there is something to gather, ``"regathered"``.
    alone : dict of str to float
        What the statistics of one layer cost in loss, those of all others being gathered anew.
    change : float or None
        Without a loss: how much new statistics change the outputs, relative to their spread.
    refused : tuple or None
        The layer that raised an error, the error, and whether in evaluation mode.
    failed : dict of str to str
        The errors raised by trials, by name: ``"half"``, ``"batch"``, ``"biases"``,
        ``"training"``, ``"regathered"``, ``"alone"``, ``"remedy"``.
    idle : list of tuple
        Module with a bias, and the layer that takes it away: shown by moving the bias.
    forwards, batches, samples : int
        How many passes there were, batches, and samples in the largest.
    trains : bool
        Whether the model was in training mode.
    offsets : dict of str to Offset
        How far the running statistics are off.
    origin : Origin
        What the loader tells of itself.
    plain : bool
        Whether ``update_bn`` could run the model on the loader.
    mates : float or None
        How far the outputs of half a batch are from those of the same samples in the whole, in
        evaluation mode, relative to their spread; None where that cannot be told.
    """

    layers: dict[str, nn.Module]
    frozen: set[str] = field(default_factory=set)
    constant: set[str] = field(default_factory=set)
    in_eval: Gathered = field(default_factory=Gathered)
    in_batch: Gathered = field(default_factory=Gathered)
    in_training: Gathered = field(default_factory=Gathered)
    scores: dict[str, Score] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    change: float | None = None
    refused: tuple[str, Exception, bool] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    idle: list[tuple[str, str]] = field(default_factory=list)
    forwards: int = 0
    batches: int = 0
    samples: int = 0
    trains: bool = False
    offsets: dict[str, Offset] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    plain: bool = True
    mates: float | None = None

    def holds(self, name: str) -> bool:
        """Whether a layer uses its running statistics in training, too."""
        return name in self.frozen or name in self.constant

    def reached(self, name: str) -> Moments | None:
        """Return what reaches a layer with the statistics of the batch."""
        seen = self.in_batch.layers.get(name)
        return seen.all if seen and seen.all.count and seen.sound else None


def measure(
    model: nn.Module,
    batches: Batches,
    loss: Loss | None,
    forward: Forward | None,
    rewind: Callable[[], None],
    spare: Callable[[Trials], int] = lambda _: 0,
) -> Trials:
    """Run a model, whose buffers are lent, and see what its running statistics are worth.

    Parameters
    ----------
    model, batches, loss, forward
        As for :func:`bn_tutorial.networks.examine.examine`.
    rewind : callable
        Takes all random generators back, so that the same batches come again.
    spare : callable
        Given what is known so far, how many passes to leave for remedies.
    """
    trial = Trial(model, batches, loss, forward)
    looked = trial.look_at_three_modes()
    classes = trial.found.scores.get("eval", Score()).classes
    trial.found.origin = batches.origin(trial.found.samples, sum(classes, Counter()))
    if looked:
        rewind()
        trial.try_out("regathered", trial.gather_anew)
        rewind()
        trial.try_out("half", trial.halve, spare(trial.found))
        score = trial.found.scores.get("regathered")
        if trial.new and score and score.losses:
            rewind()
            trial.try_out("alone", trial.return_one_by_one, spare(trial.found))
    return trial.found


def make_plain(model: nn.Module) -> None:
    """Let a model, whose attributes are lent, run in plain Python and in this process alone."""
    for module in model.modules():
        attributes = vars(module)
        attributes["_compiled_call_impl"] = None  # hooks are for plain calls
        if hasattr(module, "_orig_mod"):  # a compiled part
            attributes["forward"] = module._orig_mod
        if isinstance(module, nn.SyncBatchNorm):  # the other processes would have to take part
            attributes["forward"] = functools.partial(_BatchNorm.forward, module)


class Trial:
    """The passes over the batches, one after the other; ``found`` is what they show."""

    def __init__(
        self, model: nn.Module, batches: Batches, loss: Loss | None, forward: Forward | None
    ) -> None:
        self.model, self.batches, self.loss, self.forward = model, batches, loss, forward
        self.found = found = Trials(norm_layers(model), trains=model.training)
        found.plain = forward is None and not batches.once
        make_plain(model)
        if not model.training:
            model.train()  # which leaves some layers as they are, if it was written so
        self.trained = {module: module.training for module in model.modules()}
        tracked = {name: layer for name, layer in found.layers.items() if has_statistics(layer)}
        found.frozen = {name for name, layer in tracked.items() if not layer.training}
        self.own = {name: _statistics(layer) for name, layer in tracked.items()}
        self.new: dict[str, tuple[Tensor, Tensor]] = {}
        self._last: Any = None  # the output of the latest look
        self._whole: Any = None  # that of the first batch in evaluation mode

    def run(self, batch: Any) -> tuple[Any, Any]:
        """Run the model on a batch, without gradients; return its output and the target."""
        self.found.forwards += 1
        with torch.no_grad():
            return run(self.model, batch, self.forward)

    def mode(self, *, batch: bool = False, training: bool = False) -> None:
        """Choose evaluation mode, the statistics of the batch, or training as it was."""
        for module, trained in self.trained.items():
            module.training = trained and training
        for name, layer in self.found.layers.items():
            layer.training |= batch and name not in self.found.frozen
        self.put(self.own)

    def put(self, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Give running statistics to layers, by name."""
        with torch.no_grad():
            for name, (mean, var) in statistics.items():
                layer: Any = self.found.layers[name]
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(var)

    def look_at_three_modes(self) -> bool:
        """Look at what reaches the layers; return whether all of them took it."""
        found = self.found
        for batch in self.batches:
            found.batches += 1
            found.samples = max(found.samples, size(batch))
            found.plain &= is_plain(self.model, batch)
            self.mode()
            if not self._look(batch, "eval", found.in_eval):
                return False
            self._whole = self._last if found.batches == 1 else self._whole
            self.mode(batch=True)
            self.try_out("batch", self._look, batch, "batch", found.in_batch)
            if found.refused:
                return False
            if found.batches == 1:
                found.constant = {name for name in self.own if self._holds(name)}
                self.try_out("biases", self._move_biases, batch)
            self.try_out("training", self._train, batch)
        return True

    def try_out(self, what: str, trial: Callable[..., object], *arguments: Any) -> None:
        """Try what the model need not bear; its error is kept, and this not tried again.

        The plain pass in evaluation mode is no trial: its error is the user's to see.
        """
        if what in self.found.failed:
            return
        try:
            trial(*arguments)
        except Exception as error:
            self.found.failed[what] = f"{type(error).__name__}: {error}"
            self.found.scores.pop(what, None)  # it is of some batches only

    def _look(self, batch: Any, kind: str, gathered: Gathered) -> bool:
        try:
            output, target = self._pass(batch, gathered)
        except (ValueError, RuntimeError) as error:
            if gathered.inside is None:
                raise
            self.found.refused = (gathered.inside, error, kind == "eval")
            return False
        self._last = output if self.found.batches == 1 else None
        self.found.scores.setdefault(kind, Score()).add(output, target, self.loss)
        return True

    def _train(self, batch: Any) -> None:
        self.mode(training=True)
        self._pass(batch, self.found.in_training)

    def _pass(self, batch: Any, gathered: Gathered) -> tuple[Any, Any]:
        """Run the model on a batch, and look at what reaches the layers."""
        with look(self.model, self.found.layers, gathered):
            gathered.begin(size(batch))
            return self.run(batch)

    def halve(self, spare: int) -> None:
        """Run half of the first batch in evaluation mode, where no sample should mind."""
        if self.found.forwards + 2 + spare > FORWARDS * self.found.batches:
            return
        batch = next(iter(self.batches))
        whole, half = tensor_of(self._whole), size(batch) // 2
        if whole is None or half < 1 or whole.ndim == 0 or len(whole) != size(batch):
            return
        self.mode()
        apart = self._apart(whole[:half], first_of(batch, half))
        if apart and apart > ALIKE:  # unless the model draws at random
            again = self._apart(whole, batch)
            apart = apart if again is not None and again <= ALIKE else None
        self.found.mates = apart

    def _apart(self, before: Tensor, batch: Any) -> float | None:
        """Return how far the outputs of a batch are from those of before, in their spread."""
        after = tensor_of(self.run(batch)[0])
        if after is None or after.shape != before.shape or before.numel() < 2:
            return None
        rounding = 100 * torch.finfo(before.dtype).eps if before.is_floating_point() else 0.0
        before, after = before.float(), after.float()
        spread = before.std() + rounding * before.abs().max()
        apart = ((after - before).abs().max() / spread).item()
        return apart if math.isfinite(apart) else None

    def _holds(self, name: str) -> bool:
        """Whether a layer of another library keeps its statistics in training mode."""
        layer = self.found.layers[name]
        if type(layer).__module__.startswith("torch.nn."):
            return False
        now = _statistics(layer)
        pairs = zip(self.own[name], now, strict=True)
        return all(bool(((a == b) | (a.isnan() & b.isnan())).all()) for a, b in pairs)

    def _move_biases(self, batch: Any) -> None:
        """Move the biases before layers that pool the batch; keep those that change nothing."""
        found = self.found
        pairs = [
            (seen.bias, name)
            for name, seen in found.in_batch.layers.items()
            if seen.bias and pools_batch(found.layers[name]) and not found.holds(name)
        ]
        if not pairs:
            return
        before = tensor_of(self._last)  # of the same batch in the same mode
        self.mode(batch=True)
        producers = [self.model.get_submodule(name) for name, _ in pairs]
        handles = [module.register_forward_hook(lambda _, __, y: y + 1) for module in producers]
        try:
            after = tensor_of(self.run(batch)[0])
        finally:
            for handle in handles:
                handle.remove()
        if before is None or after is None or before.numel() < 2:
            return
        apart = (before.float() - after.float()).abs().max()
        if apart <= SAME * before.float().std():
            found.idle = pairs

    def of_batches(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Pass all batches through with their own statistics; return what these are, by layer."""
        for number, batch in enumerate(self.batches):
            self.mode(batch=True)
            self._pass(batch, self.found.in_batch)
            if number == 0:
                self.found.constant = {name for name in self.own if self._holds(name)}
        return {name: (one.mean, one.var) for name, one in self._gathered().items()}

    def _gathered(self) -> dict[str, Moments]:
        """Return what reached the layers with statistics, but those that hold what they have."""
        reached = {name: self.found.reached(name) for name in self.own}
        return {
            name: moments
            for name, moments in reached.items()
            if moments is not None and not self.found.holds(name)
        }

    def gather_anew(self) -> None:
        """Gather the statistics anew, and see what that is good for."""
        found = self.found
        for name, moments in self._gathered().items():
            found.offsets[name] = offset(found.layers[name], moments, self.own[name])
            self.new[name] = (moments.mean, moments.var)
        if not self.new:
            return
        known = bool(found.scores["eval"].losses or found.scores["eval"].right)
        change, spread = 0.0, 0.0
        score = found.scores["regathered"] = Score()
        self.mode()
        for batch in self.batches:
            self.put(self.new)
            output, target = self.run(batch)
            score.add(output, target, self.loss)
            y = tensor_of(output)
            if not known and y is not None:
                self.put(self.own)
                old = tensor_of(self.run(batch)[0])
                change += (old - y).float().square().sum().item() if old is not None else 0.0
                spread += (y - y.mean(0)).float().square().sum().item()
        if spread and not known:
            found.change = math.sqrt(change / spread) if math.isfinite(change) else math.inf

    def return_one_by_one(self, spare: int) -> None:
        """Give each of the worst layers its own statistics back, the others keeping the new."""
        found = self.found
        worst = sorted(self.new, key=lambda name: -found.offsets[name].off)
        count = min(_ALONE[1], found.batches)
        left = FORWARDS * found.batches - found.forwards - spare
        worst = worst[: min(_ALONE[0], max(left, 0) // count)]
        scores = {name: Score() for name in worst}
        for batch in islice(self.batches, count):
            for name, score in scores.items():
                self.put({**self.new, name: self.own[name]})
                score.add(*self.run(batch), self.loss)
        base = sum(found.scores["regathered"].losses[:count]) / count
        found.alone = {n: sum(score.losses) / count - base for n, score in scores.items()}


def _statistics(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.running_mean.clone(), layer.running_var.clone()


def offset(layer: nn.Module, moments: Moments, running: tuple[Tensor, Tensor]) -> Offset:
    """Compare running statistics, mean and variance, with what reaches a layer."""
    mean, var = (tensor.detach().cpu().double() for tensor in running)
    eps, momentum = getattr(layer, "eps", 0.0), getattr(layer, "momentum", None)
    sigma = (moments.var + eps).sqrt().clamp_min(1e-12)
    kept = 0.0 if momentum is None else momentum / (2 - momentum)  # of the noise of one batch
    noise = (moments.scatter / sigma**2).mean() * (1 / moments.count + kept)
    ratio = (var + eps).clamp_min(1e-24) / sigma**2
    if not (mean.isfinite().all() and var.isfinite().all()):
        return Offset(math.inf, math.inf, math.nan, noise.sqrt().item())
    return Offset(
        ((mean - moments.mean) / sigma).square().mean().sqrt().item(),
        (ratio.log() / 2).square().mean().sqrt().item(),
        ratio.median().item(),
        noise.sqrt().item(),
    )
