"""What batches show of a model: each check is a generator of findings from ``Trials``.

The thresholds are sizes of effects, not levels of significance: against the noise of averaging,
even a healthy model differs significantly. Each stands before the checks with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from bn_tutorial.networks.batches import Score
from bn_tutorial.networks.checks_without_data import (
    EXPLODED,
    GATHER,
    HUGE,
    LEFT,
    TYPICAL,
    UPDATE,
    averaged,
    left,
    window,
)
from bn_tutorial.networks.gather import apart, has_statistics, pools_batch
from bn_tutorial.networks.report import Finding, shorten
from bn_tutorial.networks.trials import ALIKE, Offset, Trials, offset

#: Standard deviations that running statistics may be off: healthy residual networks had 0.01, those
#: with swapped momentum 0.02, all that lost accuracy more than 0.1.
OFF = 0.05
#: And how many times the noise of their own averages: else small batches would seem stale.
NOISE = 3.0
#: Points of accuracy that new statistics must gain, and samples.
POINTS, SAMPLES = 2.0, 3
#: The share of the loss that they must take away, and in nats no less than the whole loss of a
#: model that gives the right class a probability of 95 %: -ln 0.95 = 0.05. That is a fiftieth of
#: the loss of guessing among ten classes, ln 10 = 2.3.
SHARE, NATS = 0.2, 0.05
#: Standard errors, over the batches, that a gain must have.
ERRORS = 3.0
#: Without targets: how much of the outputs' spread new statistics may change.
CHANGE = 0.1
#: Values that share a mean: with 16 the mean is off by a quarter of a standard deviation.
FEW = 16
#: The F ratio of the batches, one for random samples. Over 3 their means scatter 1.7 times as far
#: as they should; with few batches that can be chance, hence the standard deviations of F.
F_RATIO, F_ERRORS = 3.0, 5.0
#: The share of a batch from which on it is of one class, the most that a class may have of all the
#: batches then, and the samples of a batch: of a million times four random batches of sixteen none
#: were so.
PURE, MIXED, EACH = 0.9, 0.7, 16
#: How improbable it must be that chance keeps the other classes back until behind the batches: of
#: a thousand loaders in a random order, one is suspected.
CHANCE = 1e-3
#: Points of accuracy that the statistics of the batch may cost: batches of four digits cost a
#: healthy network nine.
LOST = 20.0
#: How many times too large a variance is that neither a rate nor averaged weights explain: it is a
#: hundredfold spread, of an exploded batch or of other units.
EXPLODES = 1e4
#: Standard deviations between the inputs of two calls of one layer: half of one changes what eval
#: mode computes as much as a small shift of the images' brightness.
APART = 0.5
#: The ratio of the variances with dropout and without: a dropout of 0.1 makes 1.1 to 1.2.
DROPPED = 1.3
#: The share of a layer's channels from which on their constancy is the layer's fault: a few dead
#: ones are in every network of ReLUs.
DEAD = 0.5
#: Rounding of the mean, in standard deviations.
ROUNDED = 0.1


@dataclass
class Gain:
    """What other statistics are worth: whether it matters, and in words."""

    matters: bool
    words: str


def gain(before: Score | None, after: Score | None) -> Gain:
    """Compare two scores on the same batches.

    Either the loss must fall by what matters, or the accuracy rise by it while the loss rises not
    at all: answers that are near the border between classes change sides with any change of the
    statistics, and where the loss is no better, that is all that happened.
    """
    if before is None or after is None:
        return Gain(False, "")
    words, matters, worse = "", False, False
    if before.loss is not None and after.loss is not None:
        words = f"loss {before.loss:.3g} -> {after.loss:.3g}"
        steps = [b - a for b, a in zip(before.losses, after.losses, strict=False)]
        least = max(SHARE * abs(before.loss), NATS if before.right else 0.0)
        if not math.isfinite(before.loss):
            matters = math.isfinite(after.loss)
        else:
            matters = _mean(steps) > max(least, ERRORS * _error(steps))
            worse = not after.loss <= before.loss
    if before.accuracy is not None and after.accuracy is not None:
        words = f"accuracy {100 * before.accuracy:.1f} % -> {100 * after.accuracy:.1f} %, {words}"
        more = [a - b for b, a in zip(before.right, after.right, strict=False)]
        points = 100 * (after.accuracy - before.accuracy)
        enough = points >= POINTS and sum(more) >= SAMPLES and not worse
        matters |= enough and _mean(more) > ERRORS * _error(more)
    return Gain(matters, words.strip(", "))


def _mean(values: list[Any]) -> float:
    return sum(values) / len(values) if values else 0.0


def _error(values: list[Any]) -> float:
    """Return the standard error of the mean; none can be had from one or two."""
    if len(values) < 3:
        return 0.0
    mean = _mean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def mended(trials: Trials) -> Gain:
    """Return what statistics that are gathered anew are worth; else, those of the batch."""
    if "regathered" in trials.failed:
        return gap(trials)
    found = gain(trials.scores.get("eval"), trials.scores.get("regathered"))
    if not found.words and trials.change is not None:
        words = f"they change the outputs by {100 * trials.change:.0f} % of their spread"
        return Gain(trials.change > CHANGE, words)
    return found


# ---------------------------------------------------------------------------------------------
# Statistics
# ---------------------------------------------------------------------------------------------


def far(found: Offset) -> bool:
    """Whether statistics are further off than matters, and than their noise explains."""
    return found.off > max(OFF, NOISE * found.noise)


def as_huge(trials: Trials, names: Iterable[str]) -> bool:
    """Whether the inputs of layers are as huge as their statistics, which then are right."""
    for name in names:
        layer: Any = trials.layers[name]
        moments = trials.reached(name)
        if moments is None:
            return False
        mean, var = layer.running_mean.cpu().double(), layer.running_var.cpu().double()
        near = (mean - moments.mean).abs() <= 0.01 * moments.mean.abs() + moments.var.sqrt()
        if not (near & (var <= 100 * (moments.var + layer.eps))).all():
            return False
    return True


def huge(trials: Trials, known: set[str]) -> Iterator[Finding]:
    """Find layers of which most running variances are huge against those that reach them."""
    sizes = {}
    for name in trials.offsets:
        layer: Any = trials.layers[name]
        moments = trials.reached(name)
        if moments is None or name in known:
            continue
        var = layer.running_var.detach().cpu().double()
        if (var / moments.var.clamp_min(TYPICAL[0])).median() > HUGE:
            sizes[name] = var.max().item()
    if sizes:
        yield Finding(
            "error",
            "huge-statistics",
            f"{shorten(sizes)}: up to {max(sizes.values()):.0e}, over {HUGE:.0e} times the "
            "variance that reaches it",
            tuple(sizes),
            (EXPLODED,),
            UPDATE,
        )


def shifted_by_dropout(trials: Trials) -> dict[str, float]:
    """Return the layers whose inputs spread otherwise in training than in evaluation: the ratio.

    Both with the statistics of the batch, so that it is not these that differ.
    """
    found = {}
    for name, seen in trials.in_training.layers.items():
        moments = trials.reached(name)
        if moments is None or trials.holds(name) or not seen.sound or "training" in trials.failed:
            continue
        eps = getattr(trials.layers[name], "eps", 0.0)
        ratio = ((seen.all.var + eps) / (moments.var + eps)).median().item()
        if ratio > DROPPED or ratio < 1 / DROPPED:
            found[name] = ratio
    return found


def stale(model: nn.Module, trials: Trials, known: set[str]) -> Iterator[Finding]:
    """Find statistics of other activations, except in layers that are known to be broken."""
    shifts = shifted_by_dropout(trials)
    off = {
        name: found
        for name, found in trials.offsets.items()
        if far(found) and name not in known and not _is_that_of_training(trials, name, shifts)
    }
    if not off:
        return
    cure = mended(trials)
    if known and cure.matters and _cheap(trials, off):
        return  # what is known explains the loss
    worst = max(off, key=lambda name: off[name].off)
    where = f"{len(off)} of {len(trials.offsets)} over {OFF:g} sigma"
    if not cure.matters:
        if off[worst].off > 5 * OFF:
            tail = f"; new ones gain nothing ({cure.words})" if cure.words else ""
            summary = f"{where}, {worst} {off[worst].off:.2f}{tail}"
            yield Finding("note", "stale-statistics", summary, tuple(off))
        return
    details = []
    for name in sorted(off, key=lambda n: -trials.alone.get(n, off[n].off / 1e6))[:3]:
        cost = f", alone costs {trials.alone[name]:.2g} loss" if name in trials.alone else ""
        found = off[name]
        details.append(
            f"{name or 'the layer'}: mean off {found.mean:.2f} sigma, var x {found.ratio:.2g}{cost}"
        )
    details.insert(1, _cause(trials, worst))
    code = "averaged-weights" if averaged(model) else "stale-statistics"
    yield Finding(
        "error", code, f"{where}; new ones: {cure.words}", tuple(off), tuple(details), UPDATE
    )


def _is_that_of_training(trials: Trials, name: str, shifts: dict[str, float]) -> bool:
    """Whether the statistics are those of training, which differs from evaluation by dropout."""
    layer: Any = trials.layers[name]
    if not shifts or "training" in trials.failed or name not in trials.in_training.layers:
        return False
    moments = trials.in_training.layers[name].all
    there = offset(layer, moments, (layer.running_mean, layer.running_var))
    return there.off < 0.5 * trials.offsets[name].off


def _cheap(trials: Trials, off: dict[str, Offset]) -> bool:
    """Whether none of these layers alone costs anything that matters."""
    loss = trials.scores["regathered"].loss or 0.0
    costs = [trials.alone.get(name, math.inf) for name in off]
    return all(cost <= max(SHARE * abs(loss), NATS) for cost in costs)


def _cause(trials: Trials, name: str) -> str:
    """Say what the counter tells of the cause."""
    layer: Any = trials.layers[name]
    momentum = getattr(layer, "momentum", None)
    counter = getattr(layer, "num_batches_tracked", None)
    if counter is None or momentum is None:
        return "other data, weights that changed since, or padding?"
    counted, rest = int(counter), left(momentum, int(counter))
    if trials.offsets[name].ratio > EXPLODES:
        return f"variances over {EXPLODES:.0e} times too large: a batch exploded, or other units?"
    if rest > LEFT:
        return (
            f"{counted} batches counted at momentum {momentum:g}: the initial 0 and 1 still weigh "
            f"{100 * rest:.0f} %, unless update_bn counted; {window(momentum)} would do"
        )
    return (
        f"{counted} batches counted, {window(momentum)} would do, so not too few: rate not "
        "decayed, weights averaged, other data?"
    )


def worse_in_eval(trials: Trials, reasons: list[Finding]) -> Iterator[Finding]:
    """Find a gap between the modes that new statistics do not mend, and that nothing explains."""
    if not gap(trials).matters or mended_enough(trials):
        return
    if not [found for found in reasons if found.level != "note"]:
        yield Finding(
            "error",
            "eval-worse",
            f"eval mode -> batch statistics: {gap(trials).words}; new statistics do not mend it",
            (),
            ("is this the loader of the training? Is there padding, do samples belong together?",),
        )


def worse_in_batch(trials: Trials, reasons: list[Finding]) -> Iterator[Finding]:
    """Note that the batches are not like those of the training, where nothing explains it."""
    known = {found.code for found in reasons}
    if lost(trials) and not known & {"batches-not-random", "small-batches", "batch-of-one"}:
        yield Finding(
            "note",
            "batches-not-random",
            f"eval mode -> batch statistics: {gap(trials).words} ({LOST:g} points matter)",
            (),
            ("batches unlike those of the training: in some order, smaller, of other data?",),
        )


def lost(trials: Trials) -> bool:
    """Whether the statistics of the batch do far worse than the running ones."""
    before, after = trials.scores.get("batch"), trials.scores.get("eval")
    if before is None or after is None or before.accuracy is None or after.accuracy is None:
        return False
    more = [a - b for b, a in zip(before.right, after.right, strict=False)]
    enough = 100 * (after.accuracy - before.accuracy) >= LOST
    return enough and _mean(more) > ERRORS * _error(more)


def gap(trials: Trials) -> Gain:
    """Return what the statistics of the batch are worth, against the running ones."""
    return gain(trials.scores.get("eval"), trials.scores.get("batch"))


def mended_enough(trials: Trials) -> bool:
    """Whether new statistics do as well as those of the batch."""
    return not gain(trials.scores.get("regathered"), trials.scores.get("batch")).matters


def with_sound_line(found: Finding, trials: Trials) -> Finding:
    """Return a finding with the line that does what was tried; with none where that did harm."""
    if found.remedy != UPDATE:
        return found
    loss = gain(trials.scores.get("regathered"), trials.scores.get("eval"))
    if loss.matters:
        level = "warning" if found.code == "never-gathered" else found.level
        why = f"trained in eval mode? Then they are part of the model; {mended(trials).words}"
        return replace(found, level=level, details=(why, *found.details), remedy="")
    # In train mode dropout is on, and update_bn moves layers that are frozen.
    as_tried = not (trials.frozen or trials.constant or shifted_by_dropout(trials))
    as_tried &= "training" not in trials.failed
    return found if trials.plain and as_tried else replace(found, remedy=GATHER)


# ---------------------------------------------------------------------------------------------
# What reaches the layers
# ---------------------------------------------------------------------------------------------


def refused(trials: Trials) -> Iterator[Finding]:
    """Say which layer raised an error."""
    if trials.refused is None:
        return
    name, error, in_eval = trials.refused
    kind = type(trials.layers[name]).__name__
    mode = "in eval mode, too" if in_eval else "in train mode"
    one = "more than 1" in str(error)
    larger = one and pools_batch(trials.layers[name])
    yield Finding(
        "error",
        "one-value" if one else "layer-refuses",
        f"{name or 'the model'} ({kind}) raises {mode}: {error}",
        (name,),
        (
            *(("a value minus its own mean is zero, whatever it was",) if one else ()),
            *(by_hand(trials) if larger else ()),
        ),
        remade(trials, "" if trials.in_batch.batch < trials.samples else "32") if larger else "",
    )


def not_finite(model: nn.Module, trials: Trials) -> Iterator[Finding]:
    """Find NaN and infinity that do not come from running statistics."""
    broken = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    first = next((name for name, seen in trials.in_batch.layers.items() if not seen.sound), None)
    if broken:
        summary = f"parameters are NaN or infinite: {shorten(broken)}"
        yield Finding("error", "nan-activations", summary, tuple(broken))
    elif first is not None:
        summary = (
            f"{first or 'the layer'} is the first layer whose input is NaN, infinite or too large"
        )
        yield Finding("error", "nan-activations", summary, (first,), ("look at the batches first",))


def few_values(trials: Trials, last: int | None) -> Iterator[Finding]:
    """Find means of few values, of one sample, and a last batch that will raise an error."""
    if trials.refused:
        return
    seen = {
        name: one
        for name, one in trials.in_batch.layers.items()
        if pools_batch(trials.layers[name]) and not trials.holds(name) and one.all.count
    }
    level = "error" if gap(trials).matters and not mended_enough(trials) else "warning"
    single = [name for name, one in seen.items() if one.typical.samples == 1]
    if single:
        yield Finding(
            level,
            "batch-of-one",
            f"one sample a batch in {shorten(single)}: trained as instance normalization, which "
            f"eval mode is not ({gap(trials).words})",
            tuple(single),
            ("make the layers nn.InstanceNorm2d(C, affine=True), with the same gamma and beta",),
        )
    few = {
        name: one.typical.values
        for name, one in seen.items()
        if one.typical.values < FEW and name not in single
    }
    if few:
        name = min(few, key=lambda n: few[n])
        yield Finding(
            "error" if few[name] == 2 else level,
            "small-batches",
            f"{few[name]} values share a mean in {name or 'the layer'} (few: under {FEW}), "
            f"{len(few)} such layers",
            tuple(few),
            (
                *(("two values become +1 and -1, whatever they were",) if few[name] == 2 else ()),
                *by_hand(trials),
            ),
            remade(trials, "32"),
        )
    lonely = [name for name, one in seen.items() if one.values == one.samples]
    if last == 1 and lonely:
        yield Finding(
            "warning",
            "last-batch",
            f"the last batch of each epoch has one sample: {shorten(lonely)} will raise an error",
            tuple(lonely),
            remedy=remade(trials),
        )
    short = [name for name, one in seen.items() if one.values < FEW <= one.typical.values]
    if short and last != 1:
        name = min(short, key=lambda n: seen[n].values)
        yield Finding(
            "warning" if seen[name].values == 2 else "note",
            "last-batch",
            f"{seen[name].values} values share a mean in {name or 'the layer'} in a short batch, "
            f"{seen[name].typical.values} as a rule (few: under {FEW})",
            tuple(short),
            ("in the running average it weighs as much as a full one",),
            remade(trials),
        )
    pooled = [
        name
        for name, one in trials.in_eval.layers.items()
        if one.values == 1 and not pools_batch(trials.layers[name])
    ]
    if pooled:
        summary = f"{shorten(pooled)} pools a single value: its output is beta for every input"
        yield Finding("error", "one-value", summary, tuple(pooled))


def random_ratio(trials: Trials) -> tuple[float, int, str] | None:
    """Return the largest F ratio of the batches, how many there were, and the layer."""
    found = []
    for name, seen in trials.in_eval.layers.items():
        if pools_batch(trials.layers[name]) and (ratio := seen.between.f_ratio):
            found.append((*ratio, name))
    return max(found, default=None)


def not_random(trials: Trials) -> Iterator[Finding]:
    """Find batches that differ more than random samples would, or are of one class each."""
    said = _by_ratio(trials) or _by_class(trials) or _by_later(trials)
    if said is None:
        return
    what, layers, why = said
    harm = gap(trials).matters
    yield Finding(
        "error" if harm else "warning",
        "batches-not-random",
        what + (f": eval -> batch {gap(trials).words}" if harm else ""),
        layers,
        (why, *by_hand(trials)),
        remade(trials),
    )


def _by_ratio(trials: Trials) -> tuple[str, tuple[str, ...], str] | None:
    """Say that what reaches a layer differs between batches."""
    found = random_ratio(trials)
    if found is None or found[1] < 4:
        return None
    ratio, batches, name = found
    if ratio <= max(F_RATIO, 1 + F_ERRORS * math.sqrt(2 / (batches - 1))):
        return None
    where = name or "the layer"
    return (
        f"F {ratio:.1f} between batches in {where} (random: 1, too much: {F_RATIO:g})",
        (name,),
        "sorted by class, or several views of one scene: a batch betrays its members",
    )


#: What a batch of one class does, and who may overlook it.
_SORTED = "a batch of one class loses it with its mean; was the model trained with this loader?"


def _by_class(trials: Trials) -> tuple[str, tuple[str, ...], str] | None:
    """Say that each batch is of one class, and not all are of the same."""
    batches = classes_of(trials)
    if len(batches) < 4 or min(one.total() for one in batches) < EACH:
        return None
    pure = _mean([max(one.values()) / one.total() for one in batches])
    whole = sum(batches, Counter())
    most = max(whole.values()) / whole.total()
    if pure < PURE or most > MIXED:
        return None
    summary = (
        f"{100 * pure:.0f} % of a batch are of one class ({100 * PURE:g} matter), "
        f"of all batches {100 * most:.0f} %"
    )
    return summary, (), _SORTED


def _by_later(trials: Trials) -> tuple[str, tuple[str, ...], str] | None:
    """Say that the batches are of one class, and what comes behind them is of others."""
    whole = sum(classes_of(trials), Counter())
    if not whole or not trials.origin.ordered:
        return None
    ((usual, count),) = whole.most_common(1)
    some = f"{count} of {whole.total()}" if count < whole.total() else f"all {count}"
    share = f"{some} samples are of class {usual}"
    later = trials.origin.later
    others = sum(one != usual for one in later)
    if later and _by_chance(whole.total() - count, others, whole.total(), len(later)) < CHANCE:
        return f"{share}, but {others} of {len(later)} behind them are not", (), _SORTED
    if not later and count == whole.total() and lost(trials):
        return f"{share}, and eval -> batch {gap(trials).words}", (), _SORTED
    return None


def _by_chance(seen: int, later: int, before: int, behind: int) -> float:
    """Return how probable it is that so many of the marked samples come late, in random order."""
    ways = sum(
        math.comb(behind, late) * math.comb(before, seen + later - late)
        for late in range(later, min(behind, seen + later) + 1)
    )
    return ways / math.comb(before + behind, seen + later)


def classes_of(trials: Trials) -> list[Counter[int]]:
    """Return how many samples of each batch are of which class, where that is known."""
    score = trials.scores.get("eval")
    return score.classes if score else []


def remade(trials: Trials, size: str = "") -> str:
    """Return the line that makes a loader of random batches, where its samples can be had."""
    origin = trials.origin
    if not origin.samples:
        return ""
    return (
        f"loader = torch.utils.data.DataLoader({origin.samples}, "
        f"batch_size={size or origin.size}, shuffle=True, drop_last=True{origin.options})"
    )


def by_hand(trials: Trials) -> tuple[str, ...]:
    """Say what no line can do, where the samples cannot be had."""
    return () if trials.origin.samples else ("make the loader anew, of samples in random order",)


def several(trials: Trials) -> Iterator[Finding]:
    """Find layers that are called several times on inputs that differ."""
    for name, seen in trials.in_batch.layers.items():
        if seen.most_calls < 2 or not has_statistics(trials.layers[name]):
            continue
        distance, noise = apart(seen.calls)
        if distance > max(APART, NOISE * noise):
            remedy = "a layer of its own for each use, with one gamma and beta"
            yield Finding(
                "error" if gap(trials).matters else "warning",
                "several-distributions",
                f"{name or 'the layer'} is called {seen.most_calls} times a pass, on inputs up to "
                f"{distance:.1f} sigma apart ({APART:g} matter): one running average fits none",
                (name,),
                ("; ".join(filter(None, (remedy, gap(trials).words))),),
            )


def dropped(trials: Trials) -> Iterator[Finding]:
    """Find layers whose variance is another in training, because of what is dropped before."""
    shifts = shifted_by_dropout(trials)
    if not shifts:
        return
    worst = max(shifts, key=lambda name: abs(math.log(shifts[name])))
    # The remedy must take away those before every layer: some are between two of them.
    reached = (trials.in_training.dropped.get(name, []) for name in shifts)
    before = [*dict.fromkeys(name for names in reached for name in names)]
    what = shorten(before) if before else "something"
    cure = mended(trials)
    yield Finding(
        "error" if cure.matters else "warning",
        "dropout-in-front",
        f"{what} before {shorten(shifts)}: variance x {shifts[worst]:.2f} in train mode "
        f"({DROPPED:g} matter)",
        tuple(shifts),
        (f"with the statistics of evaluation: {cure.words}",) if cure.words else (),
        _without_dropout(before, trials.in_training.shares),
    )


def _without_dropout(names: Sequence[str], shares: Mapping[str, str]) -> str:
    """Return a line that sets each dropout's share to zero, by the name that its library gives."""
    attributes = [shares.get(name, "p") for name in names]
    if {*attributes} <= {"p"}:
        return f"for name in {names}: model.get_submodule(name).p = 0.0" if names else ""
    pairs = [*zip(names, attributes, strict=True)]
    return f"for name, share in {pairs}: setattr(model.get_submodule(name), share, 0.0)"


def minds_its_batch(trials: Trials, known: Iterable[Finding]) -> Iterator[Finding]:
    """Find predictions in evaluation mode that depend on the batch, where no setting shows it."""
    told = any(found.code == "depends-on-the-batch" for found in known)
    if not told and trials.mates is not None and trials.mates > ALIKE:
        yield Finding(
            "error",
            "depends-on-the-batch",
            f"in eval mode, outputs for half a batch differ by {100 * trials.mates:.0f} % of their "
            f"spread ({100 * ALIKE:g} matter)",
            (),
            ("a function, a layer that ignores eval(), or one in a list, takes the statistics?",),
        )


def constant(trials: Trials) -> Iterator[Finding]:
    """Find channels whose spread is less than eps, or samples whose values hardly differ."""
    few: dict[str, int] = {}
    for name, seen in trials.in_batch.layers.items():
        layer, moments = trials.layers[name], trials.reached(name)
        eps = getattr(layer, "eps", None) or 0.0
        if seen.constant >= DEAD:
            yield Finding(
                "warning",
                "dead-channels",
                f"{name or 'the layer'}: {100 * seen.constant:.0f} % of its means are over values "
                f"that differ by less than the root of eps ({eps:g})",
                (name,),
            )
        if moments is None or seen.values < 2 or trials.holds(name):  # which divides by a constant
            continue
        dead = moments.var <= eps
        count, channels = int(dead.sum()), len(dead)
        if 0 < count < DEAD * channels:
            few[name] = count
        elif count:
            typical = moments.var[dead].median().item()
            yield Finding(
                "warning",
                "dead-channels",
                f"{count} of {channels} channels of {name or 'the layer'} with variance up to eps "
                f"({typical:.1e} <= {eps:g}): eps decides",
                (name,),
                ("scale the input up, or make eps smaller",) if typical > 0 else (),
                f"model.get_submodule({name!r}).eps = {typical / 100:.0e}"
                if typical > 1e-12
                else "",
            )
    if few:
        summary = f"{sum(few.values())} channels with variance up to eps, in {shorten(few)}"
        yield Finding("note", "dead-channels", summary, tuple(few), ("eps decides their scale",))


def rounded(trials: Trials) -> Iterator[Finding]:
    """Find channels whose spread is lost in the rounding of their mean."""
    for name, seen in trials.in_batch.layers.items():
        moments = trials.reached(name)
        if moments is None or seen.dtype == torch.float64 or not seen.dtype.is_floating_point:
            continue
        # The values are rounded in their own precision, the sum over them in single precision.
        sums = torch.finfo(torch.float32).eps * math.sqrt(seen.values)
        step = moments.mean.abs() * max(torch.finfo(seen.dtype).eps, sums)
        eps = getattr(trials.layers[name], "eps", None) or 0.0
        lost = step > ROUNDED * (moments.var + eps).sqrt()
        if lost.any():
            channels = shorten(str(c) for c in lost.nonzero().flatten().tolist())
            yield Finding(
                "warning",
                "lost-digits",
                f"{int(lost.sum())} of {len(lost)} channels of {name or 'the layer'} ({channels}): "
                f"the mean, {moments.mean[lost].abs().max().item():.3g}, is rounded by more than "
                f"{ROUNDED:g} sigma",
                (name,),
                ("subtract a typical value before the layer, or compute in float32",),
            )


def idle(trials: Trials) -> Iterator[Finding]:
    """Note biases that the next layer's mean takes away."""
    if trials.idle:
        names = [name for name, _ in trials.idle]
        yield Finding(
            "note",
            "bias-without-effect",
            f"the bias of {shorten(names)}, moved by 1, changes no output: a mean takes it away",
            tuple(names),
            ("bias=False in the next model; in this one it does no harm",),
        )
