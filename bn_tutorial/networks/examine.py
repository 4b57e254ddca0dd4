"""Examine a model with normalization layers: what is wrong with it, shown on the model itself.

``examine(model, loader)`` looks at the settings, at what reaches the layers, and at how well the
model does with its running statistics, with those of the batch, and with new ones.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from bn_tutorial.networks import checks_with_data as data_checks
from bn_tutorial.networks import checks_without_data as own_checks
from bn_tutorial.networks.batches import Batches, Forward, Loss
from bn_tutorial.networks.gather import norm_layers, pools_batch
from bn_tutorial.networks.proofs import passes, prove
from bn_tutorial.networks.report import Finding, Report, Row, shorten, verdict
from bn_tutorial.networks.settings import whole
from bn_tutorial.networks.trials import Trials, measure
from bn_tutorial.networks.untouched import untouched

__all__ = ["examine", "examine_state"]

_STATES = ("state_dict", "model_state_dict", "model", "module", "net", "network")
_BROKEN = ("nan-statistics", "huge-statistics", "never-gathered")


def examine(
    model: nn.Module,
    loader: Iterable[Any],
    loss: Loss | None = None,
    forward: Forward | None = None,
    batches: int = 20,
) -> Report:
    """Find out what is wrong with the normalization of a model.

    Parameters
    ----------
    model : Module
        As it is trained or evaluated. In train mode it also shows which layers are frozen. Of a
        compiled or wrapped model (``DistributedDataParallel``) the model itself is examined, by
        this process alone.
    loader : iterable
        Of training data, in batches as in training: tensors, (inputs, targets) or dictionaries, on
        any device. An iterator is read, one batch further, and its batches kept. Where all batches
        are of one class, ten labels behind them are looked up, in a list or in a data set.
    loss : callable, optional
        ``loss(output, target)``, a number. By default cross-entropy for classes, squared error for
        numbers, and what the model returns as ``loss``. Without a target, outputs are compared.
    forward : callable, optional
        ``forward(model, batch)`` returns the output, or (output, target), for batches of another
        kind, autocast, and the like.
    batches : int
        How many batches are looked at. Each is run at most six times.

    Returns
    -------
    Report
        To be printed; in a test, ``assert not examine(model, loader).errors``.

    Raises
    ------
    TypeError, ValueError
        If the model is no Module that can be examined (scripted, lazy, without values), or has no
        normalization layer; if the loader yields nothing, or what is not known. An error of the
        model in evaluation mode comes through as it is, except for those of the layers examined,
        which are findings; one in a trial stands in the report.

    Notes
    -----
    New statistics, and remedies that only change settings, are tried on a copy; of a remedy that
    needs another training or another loader the report says that it was not tried.

    The model is left as it was, with its mode, buffers, gradients and hooks, and so are the random
    generators of Python, NumPy and PyTorch, and the loader's: also after an error or an interrupt.
    Only what a forward pass writes into *parameters* would remain. Nothing is kept but a few
    numbers a channel.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8))
    >>> report = examine(model, [5 * torch.ones(32, 3) + torch.rand(32, 3) for _ in range(4)])
    >>> report.errors[0].code
    'never-gathered'
    >>> print(report.errors[0].remedy)
    torch.optim.swa_utils.update_bn(loader, model, next(model.parameters()).device)
    """
    model = _inner(model)
    count = whole(batches, "batches")
    if count < 1:
        raise ValueError(f"batches is {batches}, expected at least 1")
    layers = norm_layers(model)
    if not layers:
        raise ValueError(
            f"the {type(model).__name__} has no normalization layer: expected one of PyTorch's, "
            "or one with running_mean and running_var"
        )
    kept = own_checks.kept_by(layers)
    modes = [*own_checks.at_odds(model, layers)]
    kept_batches = Batches(loader, count)

    def for_remedies(seen: Trials) -> int:
        settings = own_checks.contradictory(layers, seen.frozen)
        return passes([*modes, *settings, *data_checks.dropped(seen), *data_checks.constant(seen)])

    with untouched(model, *_owners(loader)) as rewind:
        trials = measure(model, kept_batches, loss, forward, rewind, for_remedies)
    findings = [
        *data_checks.refused(trials),
        *data_checks.not_finite(model, trials),
        *_of_statistics(kept, trials),
        *own_checks.contradictory(layers, trials.frozen),
        *modes,
    ]
    findings += data_checks.minds_its_batch(trials, findings)
    findings += _of_batches(model, trials, findings, _last_batch(loader))
    findings = [data_checks.with_sound_line(found, trials) for found in findings]
    with untouched(model, *_owners(loader)):
        findings = prove(model, findings, trials, kept_batches, loss, forward)
    return _report(model, trials, findings, forward)


def examine_state(state: Mapping[str, Any]) -> Report:
    """Find out what a state dictionary alone shows.

    Parameters
    ----------
    state : mapping
        As ``model.state_dict()``, or a checkpoint that holds one under usual names.

    Raises
    ------
    ValueError
        If it holds no running statistics.

    Examples
    --------
    >>> print(examine_state(nn.BatchNorm1d(2).state_dict()).errors[0].summary)
    running_var is 1 in every channel of all layers
    """
    for _ in _STATES:  # one may hold another, as a checkpoint does a wrapper's
        inner = (part for name in _STATES if isinstance(part := state.get(name), Mapping))
        state = next(inner, state)
    kept = own_checks.kept_in(state)
    if not kept:
        raise ValueError("the state holds no running_mean with a running_var: nothing to examine")
    findings = [
        *own_checks.broken(kept),
        *own_checks.never_gathered(kept),
        *own_checks.collapsed(kept),
        *own_checks.unevenly_counted(kept),
    ]
    if own_checks.averaged(state):
        summary = "n_averaged is there: were the statistics gathered with the averaged weights?"
        findings.append(Finding("warning", "averaged-weights", summary, (), (), own_checks.UPDATE))
    young = [one for one in kept if one.counted and own_checks.left(0.1, one.counted) > 0.05]
    if young:
        counted = min(one.counted or 0 for one in young)
        summary = (
            f"{counted} batches counted in {shorten(one.name for one in young)}: at momentum 0.1 "
            f"the initial 0 and 1 weigh {100 * own_checks.left(0.1, counted):.0f} %"
        )
        layers, hint = tuple(one.name for one in young), "nothing, if update_bn counted them"
        findings.append(Finding("warning", "stale-statistics", summary, layers, (hint,)))
    unchecked = ["whether the statistics fit the activations, settings, modes, batches: examine()"]
    seen = f"{len(kept)} layers with running statistics"
    sound = _sound(_STATE_CHECKS, findings)
    return Report("state", verdict(findings), seen, findings, [], sound, unchecked)


# ---------------------------------------------------------------------------------------------
# All checks
# ---------------------------------------------------------------------------------------------


def _of_statistics(kept: list[own_checks.Kept], trials: Trials) -> Iterator[Finding]:
    """Check the statistics of layers that use them; of those that hold them, only if broken."""
    known: set[str] = set()
    for found in own_checks.broken(kept):
        if found.code != "huge-statistics" or not data_checks.as_huge(trials, found.layers):
            known |= {*found.layers}
            held = {*found.layers} <= trials.constant
            hint = (own_checks.CONSTANTS,)
            yield dataclasses.replace(found, details=hint, remedy="") if held else found
    yield from data_checks.huge(trials, known)
    reached = [one for one in kept if one.name in trials.in_eval.layers]
    yield from own_checks.never_gathered([one for one in reached if not trials.holds(one.name)])
    yield from own_checks.never_loaded([one for one in reached if one.name in trials.constant])
    yield from own_checks.collapsed(kept)
    yield from own_checks.unevenly_counted(kept)


def _of_batches(
    model: nn.Module, trials: Trials, known: list[Finding], last: int | None
) -> list[Finding]:
    rounded = [*data_checks.rounded(trials)]
    broken = {name for found in known if found.code in _BROKEN for name in found.layers}
    broken |= {name for found in rounded for name in found.layers}  # off by rounding alone
    findings = [
        *data_checks.stale(model, trials, broken),
        *data_checks.few_values(trials, last),
        *data_checks.not_random(trials),
        *data_checks.several(trials),
        *data_checks.dropped(trials),
        *data_checks.constant(trials),
        *rounded,
        *data_checks.idle(trials),
    ]
    findings += data_checks.worse_in_batch(trials, findings)
    return [*findings, *data_checks.worse_in_eval(trials, [*known, *findings])]


_STATE_CHECKS = {
    "finite": ("nan-statistics", "huge-statistics"),
    "gathered": ("never-gathered",),
    "gamma": ("gamma-zero",),
    "counters": ("uneven-counters", "stale-statistics"),
}
_CHECKS = {
    "statistics": (*_BROKEN, "stale-statistics", "averaged-weights", "eval-worse", "lost-digits"),
    "momentum": ("swapped-momentum", "track-running-stats"),
    "flags": ("track-running-stats", "depends-on-the-batch", "eps-underflow"),
    "modes": ("frozen-but-moving", "half-frozen"),
    "values per mean": (
        "one-value",
        "small-batches",
        "batch-of-one",
        "last-batch",
        "layer-refuses",
    ),
    "random batches": ("batches-not-random",),
    "shared layers": ("several-distributions",),
    "dropout": ("dropout-in-front",),
    "channels": ("dead-channels", "lost-digits", "nan-activations"),
    "gamma": ("gamma-zero",),
}


_TRIALS = {
    "half": "half a batch",
    "batch": "the statistics of the batch",
    "biases": "biases moved by 1",
    "training": "training mode",
    "regathered": "statistics gathered anew",
    "alone": "the statistics of one layer at a time",
    "remedy": "a remedy",
}


def _sound(checks: Mapping[str, tuple[str, ...]], findings: list[Finding]) -> list[str]:
    found = {one.code for one in findings}
    return [name for name, codes in checks.items() if not found & set(codes)]


# ---------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------


def _report(
    model: nn.Module, trials: Trials, findings: list[Finding], forward: Forward | None
) -> Report:
    kinds = Counter(type(layer).__name__ for layer in trials.layers.values())
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    seen += f"; {trials.batches} batches of {trials.samples}, {trials.forwards} passes"
    sound, ratio = _sound(_CHECKS, findings), data_checks.random_ratio(trials)
    values = [s.values for n, s in trials.in_batch.layers.items() if pools_batch(trials.layers[n])]
    said = {
        "values per mean": f"{min(values)} or more values a mean" if values else "",
        "random batches": f"batches random (F {ratio[0]:.1f})"
        if ratio and ratio[1] >= 4 and not trials.origin.ordered
        else "",
        "statistics": f"statistics at most {_largest(trials):.2f} sigma off"
        if trials.offsets
        else "",
    }
    untried = _untried(trials)
    sound = [line for name in sound if name not in untried and (line := said.get(name, name))]
    name = type(model).__name__
    shifts = {layer: found.off for layer, found in trials.offsets.items()}
    head = verdict(findings, _cure(trials, findings))
    failed = [f"{_TRIALS[trial]}: {error}" for trial, error in trials.failed.items()]
    costs = dict(sorted(trials.alone.items(), key=lambda item: -item[1]))
    return Report(
        *(name, head, seen, findings, _rows(trials), sound),
        *(_unchecked(trials, findings), failed, shifts),
        costs=costs,
        forward=forward,
    )


def _largest(trials: Trials) -> float:
    return max(found.off for found in trials.offsets.values())


def _rows(trials: Trials) -> list[Row]:
    names = {
        "eval": "eval mode",
        "batch": "batch statistics",
        "regathered": "statistics gathered anew",
    }
    scores = {kind: score for kind, score in trials.scores.items() if score.counts}
    rows = [Row(names[kind], score.accuracy, score.loss) for kind, score in scores.items()]
    known = any(row.accuracy is not None or row.loss is not None for row in rows)
    return rows if known and len(rows) > 1 else []


def _cure(trials: Trials, findings: list[Finding]) -> str:
    """Return what new statistics mend, if they mend a fault that was found."""
    cure = data_checks.mended(trials)
    errors = {found.code for found in findings if found.level == "error"}
    statistics = {*_BROKEN, "stale-statistics", "averaged-weights", "dropout-in-front"}
    if not (errors & statistics and cure.matters):
        return ""
    return f"the weights are fine, the running statistics are not: new ones, {cure.words}"


def _untried(trials: Trials) -> list[str]:
    """Return the checks for which there was no pass."""
    batch = ["statistics", "values per mean", "shared layers", "channels"]
    if trials.refused:
        return [*batch, "dropout", "random batches"]
    missing = batch if "batch" in trials.failed else []
    return [*missing, "dropout"] if "training" in trials.failed else missing


def _unchecked(trials: Trials, findings: list[Finding]) -> list[str]:
    missing = (
        ["all that a pass through the layers would show"] if trials.refused else _untried(trials)
    )
    reached = {*trials.in_eval.layers, *trials.in_batch.layers, *trials.in_training.layers}
    lost = [name for name in trials.layers if name not in reached]
    if lost and not trials.refused:
        missing.append(f"layers that no batch reached: {shorten(lost)}")
    if not trials.trains:
        missing.append("which layers are frozen (the model is in eval mode)")
    if not trials.scores or trials.scores.get("eval") is None or not _rows(trials):
        missing.append("accuracy and loss (no targets)")
    ratio = data_checks.random_ratio(trials)
    found = any(one.code == "batches-not-random" for one in findings if one.level != "note")
    if trials.batches < 4 or ratio is None:
        missing += [] if found else ["whether batches are random (too few, or of one sample)"]
    elif trials.origin.ordered and not found:
        one = len(sum(data_checks.classes_of(trials), Counter[int]())) == 1
        what = f"F {ratio[0]:.1f}{', all of one class' if one else ''}"
        missing.append(f"whether batches are random after the first {trials.batches} ({what})")
    untold = [name for name in trials.offsets if name not in trials.alone]
    if untold and _rows(trials) and trials.scores["eval"].losses and "alone" not in trials.failed:
        missing.append(f"what these layers alone cost: {shorten(untold)}")
    return [*missing, "padding", "passes of the training loop: watch_norms"]


# ---------------------------------------------------------------------------------------------
# Models and loaders
# ---------------------------------------------------------------------------------------------


def _inner(model: nn.Module) -> nn.Module:
    """Return the model that is compiled or wrapped; refuse what cannot be looked into."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, expected a torch.nn.Module")
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    while isinstance(model, wrappers) or hasattr(model, "_orig_mod"):
        inner: Any = model.module if isinstance(model, wrappers) else model._orig_mod
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("the model is scripted, and cannot be looked into: give the Python model")
    tensors = [*model.parameters(), *model.buffers()]
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
        raise ValueError("the model has lazy layers without a shape: run it on a batch before")
    if any(tensor.is_meta for tensor in tensors):
        raise ValueError("the model is on the device 'meta', without values: nothing to examine")
    return model


def _owners(loader: Any) -> list[object]:
    """Return what of a loader can hold a random generator."""
    batched = getattr(loader, "batch_sampler", None)
    parts = [getattr(loader, name, None) for name in ("sampler", "dataset")]
    return [loader, batched, getattr(batched, "sampler", None), *parts]


def _last_batch(loader: Any) -> int | None:
    """Return the size of the last batch of an epoch, where the loader tells."""
    try:
        size, whole_size = loader.batch_size, len(loader.dataset)
        return None if loader.drop_last or not size else whole_size % size or size
    except (AttributeError, TypeError):
        return None
