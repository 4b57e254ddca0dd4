"""Studies: arms times paired seeds, and what is asked of their histories."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import CURVES, History

Key = TypeVar("Key", bound=Hashable)
Array = npt.NDArray[np.float64]


def study(
    arms: Mapping[Key, RunSpec], data: Dataset, seeds: Iterable[int], **options: Any
) -> dict[Key, list[History]]:
    """Train every arm with every seed: a grid of settings, in paired runs.

    Runs with the same seed share the order of the images, and the initial weights as far as their
    settings allow. So the difference of two arms at one seed is due to their settings alone.

    Parameters
    ----------
    arms : mapping to RunSpec
        The settings, by any name. The seeds that they carry are replaced.
    data : Dataset
        What to train and to test on.
    seeds : iterable of int
        At least five for a comparison.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    dict to list of History
        For each arm one history per seed, in the order of ``seeds``.

    Examples
    --------
    >>> import torch
    >>> from bn_tutorial.data.dataset import Dataset, Split
    >>> from bn_tutorial.lab.training import Config
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> short = Config(steps=4, evaluate_every=2, batch_size=2)
    >>> arms = {norm: RunSpec(norm, widths=(784, 8, 2), config=short) for norm in (None, "batch")}
    >>> results = study(arms, data, seeds=range(3), workers=1)
    >>> curves(results["batch"], "test_accuracy").shape
    (3, 2)
    """
    seeds = list(seeds)
    runs = [
        replace(arm, model_seed=seed, config=replace(arm.config, seed=seed))
        for arm in arms.values()
        for seed in seeds
    ]
    histories = iter(run_all(runs, data, **options))
    return {name: list(islice(histories, len(seeds))) for name in arms}


def curves(histories: Iterable[History], quantity: str) -> Array:
    """Put a quantity of several histories into one array.

    Parameters
    ----------
    histories : iterable of History
        Of one arm.
    quantity : str
        A curve of :class:`~bn_tutorial.lab.training.History` such as ``"test_accuracy"``, or a
        name in its ``measured``.

    Returns
    -------
    ndarray, float64, shape (histories, evaluations) or (histories, steps)
        Of what was measured besides, shape (histories, evaluations + 1, ...). nan where a run had
        diverged.

    Raises
    ------
    KeyError
        If it was not measured.
    """
    return np.array(
        [
            getattr(history, quantity) if quantity in CURVES else history.measured[quantity]
            for history in histories
        ],
        dtype=np.float64,
    )


def best(scores: Mapping[Key, Sequence[float]]) -> Key:
    """Choose the setting with the highest mean score over the seeds.

    Parameters
    ----------
    scores : mapping to sequence of float
        For each setting, such as a learning rate, one score per seed: the higher the better, taken
        on data that nothing is reported on. nan where a run diverged.

    Returns
    -------
    Key
        The best of those that diverged with no seed; the first of equals.

    Raises
    ------
    ValueError
        If each setting diverged with some seed, or there is none.

    Examples
    --------
    >>> best({0.1: [0.8, 0.9], 1.0: [0.95, 0.96], 10.0: [0.99, float("nan")]})
    1.0
    """
    means = {setting: float(np.mean(values)) for setting, values in scores.items()}
    finite = {setting: mean for setting, mean in means.items() if math.isfinite(mean)}
    if not finite:
        raise ValueError(f"no setting to choose: the mean scores are {means}")
    return max(finite, key=lambda setting: finite[setting])


def steps_to(level: float, accuracies: Array, evaluate_every: int) -> Array:
    """Return the number of steps after which an accuracy was first reached at an evaluation.

    Parameters
    ----------
    level : float
        The accuracy.
    accuracies : ndarray, shape (seeds, evaluations)
        As :func:`curves` returns them.
    evaluate_every : int
        Steps between two evaluations; the answer is known no more precisely.

    Returns
    -------
    ndarray, float64, shape (seeds,)
        Infinity where it never was.

    Examples
    --------
    >>> steps_to(0.9, np.array([[0.5, 0.91, 0.89], [0.5, 0.6, 0.7]]), evaluate_every=100).tolist()
    [200.0, inf]
    """
    reached = accuracies >= level
    first = evaluate_every * (1.0 + reached.argmax(axis=1))
    return np.where(reached.any(axis=1), first, np.inf)
