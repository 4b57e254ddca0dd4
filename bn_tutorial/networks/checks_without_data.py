"""What the layers of a model say of themselves: their statistics, their settings, their modes.

Each check is a generator of findings. The thresholds stand before them, each with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bn_tutorial.networks.gather import has_statistics, pools_batch
from bn_tutorial.networks.report import Finding, shorten

#: The weight of the new value from which on a momentum is taken for that of the old one: with a
#: half the last batch outweighs all others. The largest default of a library is 0.1.
SWAPPED = 0.5
#: Gammas up to this size pass nothing on that the next layer could tell from rounding in half
#: precision.
NOTHING = 1e-3
#: How many times the typical variance of the layer, or that which reaches it, is no variance of
#: activations: single precision resolves the half of these digits. Other units do less: from whole
#: numbers of 16 bits to those between 0 and 1 it is 4e9.
HUGE = 1e10
#: The typical variance of a layer is taken to lie between these: of one that exploded in all its
#: channels it is none. With ``HUGE``, activations then spread by more than 1e8.
TYPICAL = 1e-3, 1e6
#: An eps below this is zero in half precision, whose smallest number is 6e-8.
SMALLEST_HALF = 3e-8
#: How much of the initial mean 0 and variance 1 may be left.
LEFT = 0.05


@dataclass
class Kept:
    """What a layer keeps: running statistics, gamma, the batches it has counted, its momentum."""

    name: str
    mean: Tensor
    var: Tensor
    counted: int | None = None
    weight: Tensor | None = None
    momentum: float | None = None


def kept_by(layers: Mapping[str, nn.Module]) -> list[Kept]:
    """Return what the layers with running statistics keep."""
    found = []
    for name, layer in layers.items():
        if has_statistics(layer):
            counter, weight = (getattr(layer, n, None) for n in ("num_batches_tracked", "weight"))
            counted = int(counter) if isinstance(counter, Tensor) else None
            mean, var = (getattr(layer, n).detach() for n in ("running_mean", "running_var"))
            gamma = weight.detach() if isinstance(weight, Tensor) else None
            momentum = getattr(layer, "momentum", None)
            found.append(Kept(name, mean, var, counted, gamma, momentum))
    return found


def kept_in(state: Mapping[str, Any]) -> list[Kept]:
    """Return what a state dictionary holds of layers with running statistics."""
    found = []
    for key in state:
        prefix = key.removesuffix("running_mean")
        if prefix != key and isinstance(state.get(f"{prefix}running_var"), Tensor):
            counter, weight = (
                state.get(f"{prefix}num_batches_tracked"),
                state.get(f"{prefix}weight"),
            )
            counted = None if counter is None else int(counter)
            mean, var = state[key], state[f"{prefix}running_var"]
            found.append(Kept(prefix.rstrip("."), mean, var, counted, weight))
    return found


# ---------------------------------------------------------------------------------------------
# Statistics
# ---------------------------------------------------------------------------------------------

CONSTANTS = "update_bn does not move constants: load sound ones, or take another norm_layer"
EXPLODED = "a batch exploded, which the averages do not forget: mend that, then gather anew"
UPDATE = "torch.optim.swa_utils.update_bn(loader, model, next(model.parameters()).device)"
#: Where that line would not run, or would do something else than what was tried.
GATHER = "report.gather_anew(model, loader)"


def broken(kept: list[Kept]) -> Iterator[Finding]:
    """Find statistics that are not finite, negative variances, and huge ones."""
    wrong, sizes, constant = {}, {}, True
    for one in kept:
        mean, var = one.mean.cpu().double(), one.var.cpu().double()
        bad = ~(mean.isfinite() & var.isfinite() & (var >= 0))
        if bad.any():
            wrong[one.name] = bad
            constant &= bool((mean[bad].isfinite() & (var[bad] > 0)).all())  # so var is infinite
            continue
        least, most = TYPICAL
        typical = var.median().clamp_min(least)
        far = (var > HUGE * typical.clamp_max(most)) | (mean.square() > HUGE * typical)
        if far.any():
            sizes[one.name] = torch.maximum(var, mean.square()).max().item()
    if wrong:
        name, bad = next(iter(wrong.items()))
        channels = shorten(str(c) for c in bad.nonzero().flatten().tolist())
        others = f" and of {len(wrong) - 1} more layers" if len(wrong) > 1 else ""
        harm = "beta for every input there" if constant else "NaN from there on"
        yield Finding(
            "error",
            "nan-statistics",
            f"{int(bad.sum())} of {len(bad)} channels of {name or 'the layer'} ({channels})"
            f"{others}: eval mode is {harm}",
            tuple(wrong),
            ("training cannot show it: find what overflowed, then gather the statistics anew",),
            UPDATE,
        )
    if sizes:
        largest = max(sizes.values())
        yield Finding(
            "error",
            "huge-statistics",
            f"{shorten(sizes)}: up to {largest:.0e}, over {HUGE:.0e} times a layer's variance",
            tuple(sizes),
            (EXPLODED,),
            UPDATE,
        )


def never_gathered(kept: list[Kept]) -> Iterator[Finding]:
    """Find statistics that are those of a new layer."""
    found = [one for one in kept if (one.var == 1).all() and (one.counted or len(one.var) > 1)]
    found += [
        one for one in kept if one not in found and (one.var == 1).all() and (one.mean == 0).all()
    ]
    if found:
        counted = [one.counted for one in found if one.counted]
        which = "all layers" if len(found) == len(kept) else shorten(one.name for one in found)
        if all(one.momentum == 0 for one in found):
            why = "momentum is 0: no batch moves them"
        elif counted:
            why = f"{max(counted)} batches were counted, though: the buffers were lost afterwards"
        else:
            why = "never in train mode, or loaded or averaged without its buffers"
        hints = ("or constants (FrozenBatchNorm), as no counter: these update_bn does not move",)
        yield Finding(
            "error",
            "never-gathered",
            f"running_var is 1 in every channel of {which}",
            tuple(one.name for one in found),
            (why, *(hints if all(one.counted is None for one in found) else ())),
            UPDATE,
        )


def never_loaded(kept: list[Kept]) -> Iterator[Finding]:
    """Find layers of constants, which no training moves, that are those of a new layer."""
    found = [one.name for one in kept if (one.var == 1).all() and (one.mean == 0).all()]
    if found:
        yield Finding(
            "warning",
            "never-gathered",
            f"constants still 0 and 1, never loaded, so nothing is normalized: {shorten(found)}",
            tuple(found),
            (CONSTANTS,),
        )


def collapsed(kept: list[Kept]) -> Iterator[Finding]:
    """Find layers of which gamma lets nothing pass."""
    for one in kept:
        if one.weight is None or one.weight.ndim != 1 or one.counted == 0:
            continue
        none = one.weight.abs() <= NOTHING
        count, channels = int(none.sum()), len(none)
        if count == channels:
            yield Finding(
                "warning",
                "gamma-zero",
                f"all {channels} gammas of {one.name} are at most {NOTHING:g}: beta alone passes",
                (one.name,),
                ("no gradient reaches what comes before; was gamma decayed?",),
                'for name in report.layers("gamma-zero"): '
                "nn.init.ones_(model.get_submodule(name).weight)",
            )
        elif count >= channels / 2:
            summary = f"{count} of {channels} gammas of {one.name} are at most {NOTHING:g}"
            yield Finding("note", "gamma-zero", summary, (one.name,))


def unevenly_counted(kept: list[Kept]) -> Iterator[Finding]:
    """Note layers that have counted other numbers of batches than most."""
    counts = Counter(one.counted for one in kept if one.counted)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    odd = {one.name: one.counted for one in kept if one.counted and one.counted != usual}
    low, high = min(odd.values()), max(odd.values())
    yield Finding(
        "note",
        "uneven-counters",
        f"{shorten(odd)} counted {low if low == high else f'{low} to {high}'} batches, "
        f"most layers {usual}",
        tuple(odd),
        ("a multiple: called several times, or recomputed by checkpointing; less: frozen or new",),
    )


def averaged(state: Mapping[str, Any] | nn.Module) -> bool:
    """Whether these are weights that PyTorch averaged without averaging the buffers."""
    if isinstance(state, nn.Module):
        return isinstance(state, torch.optim.swa_utils.AveragedModel) and not state.use_buffers
    return "n_averaged" in state


def left(momentum: float | None, counted: int | None) -> float:
    """Return what the initial statistics still weigh, as far as the counter tells."""
    if momentum is None or not counted or not 0 < momentum <= 1:
        return 0.0
    return (1 - momentum) ** counted


def window(momentum: float) -> int:
    """Return the number of batches after which a hundredth of the initial values is left."""
    return math.ceil(math.log(0.01) / math.log(1 - momentum)) if 0 < momentum < 1 else 1


# ---------------------------------------------------------------------------------------------
# Settings and modes
# ---------------------------------------------------------------------------------------------


def contradictory(layers: Mapping[str, nn.Module], frozen: set[str]) -> Iterator[Finding]:
    """Find settings that contradict each other, or cannot be meant."""
    ours = {name: layer for name, layer in layers.items() if isinstance(layer, _NormBase)}
    momenta = {name: layer.momentum for name, layer in ours.items() if has_statistics(layer)}
    swapped = [name for name, momentum in momenta.items() if (momentum or 0) > SWAPPED]
    if swapped:
        momentum = momenta[swapped[0]] or 0.0
        if momentum < 1:
            meant = f"{1 - momentum:.3g}"
            why = f"{momentum:g} elsewhere is {meant} here"
        else:  # of no library; a layer like that forgets all but the last batch
            meant, why = "0.1", "the usual is 0.1"
        yield Finding(
            "warning",
            "swapped-momentum",
            f"{momentum:g} in {shorten(swapped)} (over {SWAPPED:g}): the last batch alone counts",
            tuple(swapped),
            (f"PyTorch's weighs the new value: {why}",),
            'for name in report.layers("swapped-momentum"): '
            f"model.get_submodule(name).momentum = {meant}",
        )
    still = [n for n, momentum in momenta.items() if momentum == 0 and n not in frozen]
    if still:
        yield Finding(
            "warning",
            "track-running-stats",
            f"momentum 0 in {shorten(still)}: statistics are tracked and never move",
            tuple(still),
            ("in train mode the batch normalizes all the same",),
            'for name in report.layers("track-running-stats"): '
            "model.get_submodule(name).momentum = 0.1",
        )
    off = [n for n, layer in ours.items() if not layer.track_running_stats and n in momenta]
    if off:
        yield Finding(
            "warning",
            "track-running-stats",
            f"track_running_stats is False in {shorten(off)}, which has statistics: eval mode "
            "uses old ones",
            tuple(off),
            remedy='for name in report.layers("track-running-stats"): '
            "model.get_submodule(name).track_running_stats = True",
        )
    without = [n for n, layer in ours.items() if pools_batch(layer) and n not in momenta]
    if without:
        yield Finding(
            "warning",
            "depends-on-the-batch",
            f"{shorten(without)} without running statistics: the batch normalizes in eval mode",
            tuple(without),
            ("made with track_running_stats=False? Make the layer with True and gather them",),
        )
    tiny: dict[str, Any] = {
        name: layer.eps
        for name, layer in layers.items()
        if isinstance(eps := getattr(layer, "eps", None), float | int)
        and (eps <= 0 or (eps < SMALLEST_HALF and _is_half(layer)))
    }
    if tiny:
        pooled = any(isinstance(layers[name], _NormBase) for name in tiny)
        zero = pooled or min(tiny.values()) <= 0
        harm = "a constant channel is 0/0" if zero else "of constants, the gradient overflows"
        yield Finding(
            "warning",
            "eps-underflow",
            f"eps {next(iter(tiny.values()))} in {shorten(tiny)} is zero in its precision: {harm}",
            tuple(tiny),
            remedy='for name in report.layers("eps-underflow"): '
            "model.get_submodule(name).eps = 1e-5",
        )


def _is_half(layer: nn.Module) -> bool:
    # Not bfloat16, which has the exponents of float32.
    return any(p.dtype == torch.float16 for p in layer.parameters(recurse=False))


def at_odds(model: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[Finding]:
    """Find layers whose modes contradict the model's, or what is to learn."""
    tracked: dict[str, Any] = {n: layer for n, layer in layers.items() if has_statistics(layer)}
    if not model.training:
        on = [name for name, layer in layers.items() if layer.training and pools_batch(layer)]
        if on:
            yield Finding(
                "error",
                "depends-on-the-batch",
                f"{shorten(on)} in train mode, the model in eval mode: predictions depend on the "
                "batch, and move the statistics",
                tuple(on),
                remedy="model.eval()",
            )
        return
    learns = {name: [p.requires_grad for p in tracked[name].parameters()] for name in tracked}
    moving = [
        n for n, layer in tracked.items() if layer.training and learns[n] and not any(learns[n])
    ]
    if moving:
        yield Finding(
            "warning",
            "frozen-but-moving",
            f"{shorten(moving)}: requires_grad is False, but train mode moves the statistics",
            tuple(moving),
            ("and the batch normalizes; model.train() undoes eval(), so repeat it after each",),
            'for name in report.layers("frozen-but-moving"): model.get_submodule(name).eval()',
        )
    half = [n for n, layer in tracked.items() if not layer.training and any(learns[n])]
    if half:
        yield Finding(
            "warning",
            "half-frozen",
            f"{shorten(half)}: in eval mode, but gamma and beta learn",
            tuple(half),
            remedy='for name in report.layers("half-frozen"): '
            "model.get_submodule(name).requires_grad_(False)",
        )
