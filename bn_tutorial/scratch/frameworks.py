"""The same layer under other names: conventions of four frameworks, and how to convert.

All four normalize a training batch with its biased variance. They differ in what ``momentum``
weighs, in which variance the running average takes, in the default eps, and in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bn_tutorial.scratch.arrays import Array


@dataclass(frozen=True)
class Framework:
    """What a framework's batch normalization means by its arguments and its state.

    Attributes
    ----------
    title : str
        Its name, and that of the layer.
    momentum_weighs : "new" or "old"
        Whether momentum is the weight of the batch's statistic or of the average so far.
    momentum, eps : float
        The defaults.
    running_var : "biased" or "unbiased"
        Which variance of the batch enters the running average.
    names : tuple of str
        Of scale, shift, running mean and running variance.
    """

    title: str
    momentum_weighs: str
    momentum: float
    eps: float
    running_var: str
    names: tuple[str, str, str, str]


FRAMEWORKS = {
    "pytorch": Framework(
        *("PyTorch, BatchNorm1d and 2d", "new", 0.1, 1e-5, "unbiased"),
        ("weight", "bias", "running_mean", "running_var"),
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
    """Give the momentum that means in one framework what a value means in another.

    Parameters
    ----------
    momentum : float
        In [0, 1].
    source, target : {"pytorch", "keras", "flax", "onnx"}
        The framework that the value is from, and the one that it is for.

    Returns
    -------
    float
        ``momentum`` itself, or one minus it.

    Raises
    ------
    ValueError
        If momentum is out of its range, or a framework is not known.

    Examples
    --------
    >>> convert_momentum(0.25, "pytorch", "keras")
    0.75
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"expected momentum in [0, 1], got {momentum}")
    same = known(source).momentum_weighs == known(target).momentum_weighs
    return momentum if same else 1 - momentum


def convert_state(
    state: Mapping[str, Array], source: str, target: str, *, count: float
) -> dict[str, Array]:
    """Rename a layer's state for another framework, and make its running variance of that kind.

    Parameters
    ----------
    state : mapping of str to ndarray, shape (C,)
        Under the source's names; scale and shift may be missing, other keys are left out.
    source, target : {"pytorch", "keras", "flax", "onnx"}
        The framework that the state is from, and the one that it is for.
    count : int or inf
        m, how many values per channel each training batch pooled: N, or N H W for images.

    Returns
    -------
    dict of str to ndarray
        Under the target's names.

    Raises
    ------
    ValueError
        If a framework is not known, statistics are missing, or count is less than two.

    Notes
    -----
    In evaluation the target then computes what it would, had it gathered the statistics itself, but
    for what is left of the initial variance of one, which has been rescaled too. To have the
    *outputs* of the source instead, rename without rescaling: ``count=math.inf`` does that. Either
    way set eps and, for further training, the momentum as well.

    Examples
    --------
    >>> state = {"running_mean": np.array([1.0]), "running_var": np.array([2.0])}
    >>> convert_state(state, "pytorch", "keras", count=2)
    {'moving_mean': array([1.]), 'moving_variance': array([1.])}
    """
    if count < 2:
        raise ValueError(f"expected batches of at least 2 values per channel, got {count}")
    old, new = known(source), known(target)
    if missing := [name for name in old.names[2:] if name not in state]:
        raise ValueError(f"the state lacks {missing}; it has {sorted(state)}")
    converted = {
        theirs: np.array(state[ours])
        for ours, theirs in zip(old.names, new.names, strict=True)
        if ours in state
    }
    bessel = 1 if np.isinf(count) else count / (count - 1)
    factor = {("biased", "unbiased"): bessel, ("unbiased", "biased"): 1 / bessel}
    converted[new.names[3]] *= factor.get((old.running_var, new.running_var), 1)
    return converted


def known(name: str) -> Framework:
    """Return a framework by its name.

    Raises
    ------
    ValueError
        If it is none of ``FRAMEWORKS``.
    """
    if name not in FRAMEWORKS:
        raise ValueError(f"unknown framework {name!r}, expected one of {', '.join(FRAMEWORKS)}")
    return FRAMEWORKS[name]
