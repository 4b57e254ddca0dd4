"""The same layer under other names: conventions of four frameworks, and how to convert.

All four normalize a training batch with its biased variance. They differ in what ``momentum``
weighs, in which variance the running average takes, in the default eps, and in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bn_tutorial.scratch.arguments import as_momentum, as_size


@dataclass(frozen=True)
class Framework:
    """What a framework's batch normalization means by its arguments and its state.

    Attributes
    ----------
    momentum_weighs : "new" or "old"
        Whether momentum is the weight of the batch's statistic or of the average so far.
    momentum, eps : float
        The defaults.
    running_var : "biased" or "unbiased"
        Which variance of the batch enters the running average.
    names : tuple of str
        Of scale, shift, running mean and running variance.
    counter : str or None
        Of the count of batches, where there is one.
    """

    title: str
    momentum_weighs: str
    momentum: float
    eps: float
    running_var: str
    names: tuple[str, str, str, str]
    counter: str | None = None


FRAMEWORKS = {
    "pytorch": Framework(
        *("PyTorch, BatchNorm1d and 2d", "new", 0.1, 1e-5, "unbiased"),
        ("weight", "bias", "running_mean", "running_var"),
        counter="num_batches_tracked",
    ),
    "keras": Framework(
        *("Keras 3, BatchNormalization", "old", 0.99, 1e-3, "biased"),
        ("gamma", "beta", "moving_mean", "moving_variance"),
    ),
    "flax": Framework(
        *("Flax Linen, BatchNorm", "old", 0.99, 1e-5, "biased"),
        ("scale", "bias", "mean", "var"),
    ),
    "onnx": Framework(
        *("ONNX, BatchNormalization-15", "old", 0.9, 1e-5, "biased"),
        ("scale", "B", "input_mean", "input_var"),
    ),
}


def convert_momentum(momentum: float, source: str, target: str) -> float:
    """Give the momentum that means in the target what a value in [0, 1] means in the source.

    Raises
    ------
    ValueError
        If momentum is out of its range, or a framework is none of ``FRAMEWORKS``.

    Examples
    --------
    >>> convert_momentum(0.25, "pytorch", "keras")
    0.75
    """
    if momentum is None:
        raise ValueError("None, the plain average, has no counterpart: expected momentum in [0, 1]")
    momentum = as_momentum(momentum)
    same = known(source).momentum_weighs == known(target).momentum_weighs
    return momentum if same else 1 - momentum


def convert_state(
    state: Mapping[str, npt.ArrayLike],
    source: str,
    target: str,
    *,
    rescale_for_count: int | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Rename a layer's state for another framework; what it computes in evaluation stays.

    Parameters
    ----------
    state : mapping of str to array_like, shape (C,)
        Of one layer, under the source's names; scale and shift may be missing.
    source, target : {"pytorch", "keras", "flax", "onnx"}
        The framework that it is from, and the one that it is for.
    rescale_for_count : int, optional
        m, how many values per channel each training batch pooled: N, or N H W for images. With it
        the running variance becomes what the target would have gathered, and outputs *change*.

    Returns
    -------
    dict of str to ndarray
        Copies, under the target's names; the count of batches only if the target keeps one too.

    Raises
    ------
    TypeError, ValueError
        If a framework is unknown, a key unknown or missing, a shape not (C,), or the count no int
        of at least two.

    Notes
    -----
    A state holds neither eps nor momentum: build the target's layer with the *source's* eps, or the
    outputs differ after all, and for further training :func:`convert_momentum`. Rescaling takes
    what is left of the initial variance of one for gathered too.

    Examples
    --------
    >>> state = {"running_mean": np.array([1.0]), "running_var": np.array([2.0])}
    >>> convert_state(state, "pytorch", "keras")
    {'moving_mean': array([1.]), 'moving_variance': array([2.])}
    """
    old, new = known(source), known(target)
    arrays = _arrays(state, old)
    if rescale_for_count is not None:
        var = old.names[3]
        arrays[var] = arrays[var] * _factor(rescale_for_count, old.running_var, new.running_var)
    renamed = zip((*old.names, old.counter), (*new.names, new.counter), strict=True)
    return {theirs: arrays[ours] for ours, theirs in renamed if theirs and ours in arrays}


def _arrays(state: Mapping[str, npt.ArrayLike], framework: Framework) -> dict[str, Any]:
    """Copy a state, after checking that it is one of this framework, for one layer."""
    names = [*framework.names, *([framework.counter] if framework.counter else [])]
    if unknown := [name for name in state if name not in names]:
        raise ValueError(
            f"unknown {unknown} in a state of {framework.title}, expected {names}: "
            "pass one layer's state, without the prefix that it has in a model"
        )
    mean, var = framework.names[2:]
    if missing := [name for name in (mean, var) if name not in state]:
        raise ValueError(f"the state lacks {missing}; it has {sorted(state)}")
    arrays = {name: np.asarray(value).copy() for name, value in state.items()}
    shape = arrays[mean].shape
    if len(shape) != 1:
        raise ValueError(f"{mean} has shape {shape}, expected (C,): one value for each channel")
    for name in framework.names:
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(
                f"{name} has shape {arrays[name].shape}, expected {shape}, that of {mean}"
            )
    return arrays


def _factor(count: int, old: str, new: str) -> float:
    """Give the factor from a biased or unbiased variance of ``count`` values to the other kind."""
    count = as_size(count, "rescale_for_count")
    if count < 2:
        raise ValueError(f"expected at least 2 values per channel in a batch, got {count}")
    bessel = count / (count - 1)
    return {("biased", "unbiased"): bessel, ("unbiased", "biased"): 1 / bessel}.get((old, new), 1.0)


def known(name: str) -> Framework:
    """Return a framework by its name; a ValueError lists the names that there are."""
    if name not in FRAMEWORKS:
        raise ValueError(f"unknown framework {name!r}, expected one of {', '.join(FRAMEWORKS)}")
    return FRAMEWORKS[name]
