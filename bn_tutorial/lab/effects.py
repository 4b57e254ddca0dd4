"""How much better one arm of a study is than another, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


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
        If the lengths differ, there are fewer than two pairs, a number is nan (its run diverged) or
        infinite (it never reached a level), or ``confidence`` is not between 0 and 1.

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
            why = "diverged" if np.isnan(values).any() else "never reached what was counted"
            raise ValueError(
                f"{name} is {values.tolist()}, expected finite numbers: a run that {why} has none"
            )
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
