"""What was measured, how sure it is, and where it came from.

A gallery script measures a number and records it; the findings page recalls it. So no measured
number is ever typed into a text.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import platform
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from bn_tutorial.storage import cache_folder, replace_when_complete

if TYPE_CHECKING:  # a page that recalls numbers need not wait for PyTorch
    from bn_tutorial.data import Dataset

Value = float | int | str | bool
Setting = TypeVar("Setting", bound=Hashable)
Array = npt.NDArray[np.float64]

_RECORDING_BYTES = 60_000  # a page holds it whole

# ---------------------------------------------------------------------------------------------
# Intervals
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean difference.

    Attributes
    ----------
    mean, low, high : float
        The mean of the differences and the ends of the interval, in the unit of the differences.
    confidence : float
        Between 0 and 1.
    count : int
        Number of pairs.
    """

    mean: float
    low: float
    high: float
    confidence: float
    count: int


def paired_interval(
    treated: Sequence[float], control: Sequence[float], confidence: float = 0.95
) -> Interval:
    r"""Give the confidence interval of a mean difference between paired runs.

    With the n differences :math:`d_i` of mean :math:`\bar d` and unbiased variance :math:`s^2`, the
    interval is

    .. math:: \bar d \pm t_{n-1} \, s / \sqrt n

    where :math:`t_{n-1}` is the quantile of Student's distribution with n - 1 degrees of freedom.

    Parameters
    ----------
    treated, control : sequence of float, equally long
        One number per seed; numbers at the same place belong to the same seed.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Interval
        Of ``treated - control``.

    Raises
    ------
    ValueError
        If the lengths differ, if there are fewer than two pairs, if a number is nan or infinite, or
        if ``confidence`` is not between 0 and 1.

    Notes
    -----
    The differences are taken to be independent and about normally distributed. A run that diverged
    has no number to compare: say how many did, rather than to leave them out.

    Examples
    --------
    >>> interval = paired_interval([0.91, 0.93, 0.92], [0.90, 0.91, 0.89])
    >>> f"{interval.mean:.3f}, from {interval.low:.3f} to {interval.high:.3f}"
    '0.020, from -0.005 to 0.045'
    """
    pairs = np.asarray(treated, dtype=np.float64), np.asarray(control, dtype=np.float64)
    shapes = [values.shape for values in pairs]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ValueError(f"expected two sequences of equal length, got shapes {shapes}")
    count = len(pairs[0])
    if count < 2:
        raise ValueError(f"got {count} pairs, expected at least 2: one has no spread")
    for name, values in zip(("treated", "control"), pairs, strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is {values.tolist()}, expected finite numbers (diverged?)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
    differences = pairs[0] - pairs[1]
    mean = float(differences.mean())
    # Not t.interval: it gives nan where all differences are equal, and there the width is zero.
    quantile = float(stats.t.ppf((1 + confidence) / 2, df=count - 1))
    half = quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, confidence, count)


def verdict(interval: Interval, smallest: float) -> str:
    """Say whether a difference is shown to be at least as large as one that matters.

    The rule: *supported* if the whole interval lies above ``smallest``; *not supported* if the
    whole interval lies below ``smallest``; *undecided* otherwise.

    Parameters
    ----------
    interval : Interval
        Of the difference, so signed that the claim makes it positive.
    smallest : float
        The smallest difference that matters, at least zero; chosen before the measurement, in the
        unit of the interval.

    Returns
    -------
    {"supported", "not supported", "undecided"}
        The verdict.

    Raises
    ------
    ValueError
        If ``smallest`` is negative or nan.

    Examples
    --------
    >>> verdict(Interval(0.03, 0.02, 0.04, confidence=0.95, count=5), smallest=0.01)
    'supported'
    """
    if not smallest >= 0:
        raise ValueError(f"smallest is {smallest}, expected a number of at least zero")
    if interval.low > smallest:
        return "supported"
    if interval.high < smallest:
        return "not supported"
    return "undecided"


# ---------------------------------------------------------------------------------------------
# Choices and speeds
# ---------------------------------------------------------------------------------------------


def best(scores: Mapping[Setting, Sequence[float]]) -> Setting:
    """Choose the setting with the highest mean score over the seeds.

    Parameters
    ----------
    scores : mapping to sequence of float
        For each setting, such as a learning rate, one score per seed: the higher the better, taken
        on data that nothing is reported on. nan where a run diverged.

    Returns
    -------
    Setting
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
        As :func:`bn_tutorial.runs.curves` returns them.
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


# ---------------------------------------------------------------------------------------------
# Recorded values
# ---------------------------------------------------------------------------------------------


def record(
    page: str,
    values: Mapping[str, Any],
    *,
    data: Dataset | None = None,
    recording: Mapping[str, Any] | None = None,
) -> None:
    """Keep what a page has measured, for :func:`recall`.

    Parameters
    ----------
    page : str
        The script's path below ``tutorial_src``, without its suffix, e.g.
        ``"03_in_training/plot_01_compare_training"``. What was recorded for it before is replaced.
    values : mapping of str to float, int, str or bool
        The measured values by name. NumPy scalars, and arrays and tensors without axes, are
        converted.
    data : Dataset, optional
        What they were measured on.
    recording : mapping, optional
        Lists of numbers, to be replayed on a page of the site; at most 60 kB as JSON.

    Raises
    ------
    TypeError
        If a name is not a string, or a value is of another type.
    ValueError
        If ``page`` is not such a path, a value is nan or infinite, or the recording is too large.

    Notes
    -----
    Written as JSON, complete or not at all, into the folder ``BN_TUTORIAL_EVIDENCE``, else
    ``evidence`` in :func:`bn_tutorial.storage.cache_folder`; with the data set's name, title and
    digest and the versions of what measured.
    """
    path = _path(page)
    origin = data and {"name": data.name, "title": data.title, "digest": data.digest}
    content: dict[str, Any] = {
        "page": page,
        "data": origin,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("bn-tutorial", "numpy", "scipy", "torch")},
        },
        "values": {_checked_name(name): _plain(name, value) for name, value in values.items()},
    }
    if recording is not None:
        size = len(json.dumps(recording, allow_nan=False))
        if size > _RECORDING_BYTES:
            raise ValueError(f"the recording has {size} bytes, expected at most {_RECORDING_BYTES}")
        content["recording"] = recording
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_complete(path) as partial:
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


def recall(page: str) -> dict[str, Value]:
    """Return what a page has recorded.

    Parameters
    ----------
    page : str
        As for :func:`record`.

    Returns
    -------
    dict of str to float, int, str or bool
        The recorded values by name.

    Raises
    ------
    LookupError
        If the page has recorded nothing, or its record is damaged; the message names the script
        that must run.
    ValueError
        If ``page`` is not such a path.
    """
    path = _path(page)
    remedy = f"run tutorial_src/{page}.py"
    try:
        values: dict[str, Value] = json.loads(path.read_text(encoding="utf-8"))["values"]
    except FileNotFoundError:
        raise LookupError(f"nothing is recorded for {page!r}: {remedy} first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise LookupError(f"{path} is damaged ({error}): {remedy} again") from error
    return values


def _path(page: str) -> Path:
    """Return the file of a page, which cannot lie outside the folder."""
    if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", page, re.ASCII):
        raise ValueError(
            f"page is {page!r}, expected a script's path below tutorial_src without its suffix, "
            "such as '03_in_training/plot_01_compare_training'"
        )
    chosen = os.environ.get("BN_TUTORIAL_EVIDENCE")
    folder = Path(chosen).expanduser().absolute() if chosen else cache_folder() / "evidence"
    return folder / f"{page}.json"


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a value is {name!r}, expected a string")
    return name


def _plain(name: str, value: Any) -> Value:
    """Turn a value into one that JSON knows."""
    if getattr(value, "shape", None) == ():  # a NumPy scalar; an array or tensor without axes
        value = value.item()
    if isinstance(value, bool | str):
        return value
    if not isinstance(value, numbers.Real):
        kind = type(value).__name__
        raise TypeError(f"{name} is a {kind}, expected a number, a string or a bool")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
    return int(value) if isinstance(value, numbers.Integral) else float(value)
