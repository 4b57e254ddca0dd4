"""Try remedies on a lent model, by the very lines that the report prints, and say what they change.

Each is tried on the first batch: a pass before and a pass after, with the same random numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bn_tutorial.networks.batches import Batches, Forward, Loss, Score, size, tensor_of
from bn_tutorial.networks.checks_with_data import gain, mended
from bn_tutorial.networks.checks_without_data import GATHER, UPDATE
from bn_tutorial.networks.gather import Gathered, has_statistics, look
from bn_tutorial.networks.report import Finding, Report
from bn_tutorial.networks.trials import FORWARDS, Trial, Trials, offset
from bn_tutorial.networks.untouched import untouched

#: Passes that a remedy takes: one before, one after.
PASSES = 2
_MOST = 4  # remedies that are tried


def passes(findings: Iterable[Finding]) -> int:
    """Return how many passes it takes to try the remedies of some findings."""
    return PASSES * min(_MOST, len({one.remedy for one in findings if _can_be_tried(one)}))


def prove(
    model: nn.Module,
    findings: list[Finding],
    trials: Trials,
    batches: Batches,
    loss: Loss | None,
    forward: Forward | None,
) -> list[Finding]:
    """Return the findings, with what their remedies do on a copy.

    New statistics were tried on all batches already. Of the other remedies those are tried that
    need neither another training nor another loader, as far as there are passes left.

    Parameters
    ----------
    model, batches, loss, forward
        As for :func:`bn_tutorial.networks.examine.examine`; the model's buffers are lent.
    findings : list of Finding
        Not yet tried.
    trials : Trials
        What the model did; the passes are added to it, and the error of a remedy.
    """
    done: dict[str, str] = {}
    batch: Any = None
    for found in findings:
        if found.remedy in done or "remedy" in trials.failed or trials.refused:
            continue
        if found.remedy in (UPDATE, GATHER) and {*found.layers} & {*trials.offsets}:
            done[found.remedy] = "" if "regathered" in trials.failed else mended(trials).words
        elif _can_be_tried(found) and trials.forwards + PASSES <= FORWARDS * trials.batches:
            batch = next(iter(batches)) if batch is None else batch
            try:
                with untouched(model) as rewind:
                    remedy = _Remedy(model, batch, loss, forward, found, trials)
                    done[found.remedy] = remedy.effect(rewind)
            except Exception as error:
                trials.failed["remedy"] = f"{found.code}: {type(error).__name__}: {error}"
    return [
        dataclasses.replace(found, tried=done.get(found.remedy, "") if found.remedy else "")
        for found in findings
    ]


def _can_be_tried(found: Finding) -> bool:
    return bool(found.remedy) and found.code in _EFFECTS


class _Remedy:
    """A remedy on a lent model, with one batch."""

    def __init__(
        self,
        model: nn.Module,
        batch: Any,
        loss: Loss | None,
        forward: Forward | None,
        found: Finding,
        trials: Trials,
    ) -> None:
        self.model, self.batch, self.loss = model, batch, loss
        self.found, self.trials = found, trials
        self.layers: dict[str, Any] = {
            name: trials.layers[name] for name in found.layers if name in trials.layers
        }
        given = {module: module.training for module in model.modules()}
        self.trial = Trial(model, Batches([batch], 1), loss, forward)
        for module, mode in given.items():
            module.training = mode

    def effect(self, rewind: Any) -> str:
        """Return in words what the line changes."""
        self.rewind = rewind
        return str(_EFFECTS[self.found.code](self))

    def carry_out(self) -> None:
        """Do what the report says, word for word."""
        report = Report("", "", "", [self.found])
        names = {"model": self.model, "report": report, "torch": torch, "nn": nn}
        exec(self.found.remedy, names)

    def run(self) -> tuple[Any, Score]:
        """Run the batch; return the output, and the score."""
        self.rewind()
        self.trials.forwards += 1
        output, target = self.trial.run(self.batch)
        score = Score()
        score.add(output, target, self.loss)
        return output, score

    def moved(self) -> int:
        """Return how many of the layers have other statistics than the model came with."""
        return sum(
            not torch.equal(layer.running_mean, self.trial.own[name][0])
            for name, layer in self.layers.items()
            if has_statistics(layer)
        )

    def movement(self) -> str:
        """Count the layers whose statistics a pass moves, with the modes that they have."""
        if self.found.code == "track-running-stats":  # these settings are for training
            self.trial.mode(training=True)
        _, before = self.run()
        first = self.moved()
        self.trial.put(self.trial.own)
        self.carry_out()
        _, after = self.run()
        said = f"with one batch: statistics that a pass moves {first} -> {self.moved()}"
        if before.loss is not None and after.loss is not None:
            said += f", loss {before.loss:.3g} -> {after.loss:.3g}"
        return said

    def distance(self) -> str:
        """Say how far one batch takes statistics that were right."""
        moments = {name: self.trials.reached(name) for name in self.layers}
        right = {n: (one.mean, one.var) for n, one in moments.items() if one is not None}
        offs = []
        for carry_out in (False, True):
            self.trial.mode(training=True)
            self.trial.put(right)
            if carry_out:
                self.carry_out()
            self.run()
            now = {n: (self.layers[n].running_mean, self.layers[n].running_var) for n in right}
            seen = ((n, one) for n, one in moments.items() if one is not None)
            offs.append(
                max((offset(self.layers[n], one, now[n]).off for n, one in seen), default=0)
            )
        before, after = offs
        return f"one batch takes statistics that were right {before:.2g} -> {after:.2g} sigma off"

    def spread(self) -> str:
        """Compare the variances in training with those in evaluation, as the finding did."""
        self.carry_out()
        seen = []
        for mode in ("batch", "training"):
            self.trial.mode(**{mode: True})
            gathered = Gathered()
            with look(self.model, self.layers, gathered):
                gathered.begin(size(self.batch))
                self.run()
            seen.append({name: one.all.var for name, one in gathered.layers.items()})
        ratios = [
            ((seen[1][name] + layer.eps) / (seen[0][name] + layer.eps)).median().item()
            for name, layer in self.layers.items()
            if name in seen[0] and name in seen[1]
        ]
        worst = max(ratios, key=lambda ratio: abs(ratio - 1), default=1.0)
        return f"with one batch: variance x {worst:.2f} in train mode"

    def outputs(self) -> str:
        """Compare outputs: in evaluation mode, or with the statistics of the batch."""
        self.trial.mode(batch=self.found.code == "dead-channels")
        old, before = self.run()
        self.carry_out()
        new, after = self.run()
        words = gain(before, after).words or _changed(tensor_of(old), tensor_of(new))
        return words and f"with one batch: {words}"


def _changed(old: Tensor | None, new: Tensor | None) -> str:
    if old is None or new is None or old.shape != new.shape:
        return ""
    old, new = old.double(), new.double()
    spread = (old - old.mean(0)).square().sum().sqrt().item()
    change = (new - old).square().sum().sqrt().item()
    return f"changes the outputs by {100 * change / spread:.0f} % of their spread" if spread else ""


_EFFECTS = {
    "frozen-but-moving": _Remedy.movement,
    "depends-on-the-batch": _Remedy.movement,
    "track-running-stats": _Remedy.movement,
    "swapped-momentum": _Remedy.distance,
    "dropout-in-front": _Remedy.spread,
    "eps-underflow": _Remedy.outputs,
    "dead-channels": _Remedy.outputs,
}
