"""How much two arms of a study differ, how sure that is, and whether it matters.

An :class:`Effect` stays whole from the runs to the sentence: it is compared once, and knows its
interval, its unit, the smallest size that matters, its pairs and its verdict.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


class Verdict(NamedTuple):
    """What an interval says of a claim.

    Attributes
    ----------
    words : str
        For a chip.
    meaning : str
        A sentence.
    """

    words: str
    meaning: str


#: Every verdict, by a name. The claim makes the effect positive.
VERDICTS = {
    "yes": Verdict("yes", "There is such an effect, and all of its interval matters."),
    "size open": Verdict(
        "yes, size open", "There is such an effect; whether it is large enough to matter is open."
    ),
    "small": Verdict("yes, but small", "There is such an effect, too small to matter."),
    "none": Verdict("no difference", "No difference that matters, in either direction."),
    "opposite small": Verdict(
        "the opposite, but small", "The effect is the opposite, too small to matter."
    ),
    "opposite size open": Verdict(
        "the opposite, size open",
        "The effect is the opposite; whether it is large enough to matter is open.",
    ),
    "opposite": Verdict("the opposite", "The effect is the opposite, and it matters."),
    "undecided": Verdict("undecided", "The interval leaves open whether there is an effect."),
}


@dataclass(frozen=True)
class Outcome:
    """What the runs of one arm ended at, seed by seed, and where chance entered.

    Parameters
    ----------
    values : ndarray, shape (seeds,)
        One number for each seed, in the unit of the comparison.
    right : ndarray, shape (seeds, images), optional
        Where the number is a mean over test images, the image's part: 100 for an image that was
        classified correctly and 0 for another, if the unit is percent.
    choice : float
        Variance of the mean over the seeds that comes from having chosen a setting of this arm, in
        the squared unit.
    choice_freedom : float
        Degrees of freedom of that variance.
    """

    values: Array
    right: npt.NDArray[np.floating[Any]] | None = None
    choice: float = 0.0
    choice_freedom: float = math.inf

    @property
    def mean(self) -> float:
        """The mean over the seeds; nan if a run diverged."""
        return float(np.mean(self.values))


def average(outcomes: Collection[Outcome]) -> Outcome:
    """Return the mean of several outcomes over the same seeds and images.

    Examples
    --------
    >>> average([Outcome(np.array([1.0, 2.0])), Outcome(np.array([3.0, 4.0]))]).values.tolist()
    [2.0, 3.0]
    """
    count = len(outcomes)
    known = [outcome.right for outcome in outcomes if outcome.right is not None]
    return Outcome(
        np.mean([outcome.values for outcome in outcomes], axis=0),
        np.mean(known, axis=0) if len(known) == count else None,
        sum(outcome.choice for outcome in outcomes) / count**2,
        min(outcome.choice_freedom for outcome in outcomes),
    )


@dataclass(frozen=True)
class Effect:
    """A difference between two arms, whole: estimate, interval, pairs, and what would matter.

    Attributes
    ----------
    name : str
        What is compared, such as ``"batch - none, 128"``.
    unit : str
        Of all numbers here: ``"points"`` (percentage points), ``"decades"``, ``"nat"``, ...
    smallest : float
        The smallest effect that matters, at least zero, fixed before the runs.
    mean, low, high : float
        The mean difference, treated minus control, and the ends of its confidence interval.
    confidence : float
        Between 0 and 1.
    error : float
        The standard error of the mean, over seeds, test images and choices.
    freedom : float
        Its degrees of freedom (Welch and Satterthwaite).
    resolution : float
        How finely the numbers were measured: the interval is wider by this at both ends.
    seeds : tuple of int
        The seeds of the pairs.
    pairs : tuple of (float, float)
        Treated and control, seed by seed.
    images : int
        How many test images the interval covers; 0 where the numbers are no means over images.
    chosen : bool
        Whether a setting was chosen for an arm, and the interval covers that choice.
    data : str
        The data set's name.
    horizon : str
        How long was trained, such as ``"300 steps, 0.7 epochs"``.
    """

    name: str
    unit: str
    smallest: float
    mean: float
    low: float
    high: float
    confidence: float
    error: float
    freedom: float
    resolution: float
    seeds: tuple[int, ...]
    pairs: tuple[tuple[float, float], ...]
    images: int = 0
    chosen: bool = False
    data: str = ""
    horizon: str = ""

    @property
    def verdict(self) -> str:
        """The verdict, a name in ``VERDICTS``."""
        return judge(self.low, self.high, self.smallest)

    @property
    def p(self) -> float:
        """The level at which the verdict would tip over, as a p-value; 1 if it is undecided.

        At a confidence above 1 - p the interval would no longer bear the verdict.
        """
        above = {"yes": self.smallest, "size open": 0.0, "small": 0.0, "none": -self.smallest}
        above |= {"opposite small": -self.smallest}
        below = {"small": self.smallest, "none": self.smallest, "opposite small": 0.0}
        below |= {"opposite size open": 0.0, "opposite": -self.smallest}
        room = []
        if self.verdict in above:
            room.append(self.mean - self.resolution - above[self.verdict])
        if self.verdict in below:
            room.append(below[self.verdict] - self.mean - self.resolution)
        if not room:
            return 1.0
        if not self.error:
            return 0.0
        return float(2 * stats.t.sf(min(room) / self.error, self.freedom))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold, exactly."""
        return {**asdict(self), "freedom": self.freedom if math.isfinite(self.freedom) else None}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the effect that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If fields are missing or unknown.
        """
        if (found := content.keys()) != (wanted := {field.name for field in fields(cls)}):
            raise ValueError(f"fields {sorted(found ^ wanted)} are missing or unknown")
        freedom = math.inf if content["freedom"] is None else content["freedom"]
        lists = {"seeds": tuple(content["seeds"]), "pairs": tuple(map(tuple, content["pairs"]))}
        return cls(**{**content, **lists, "freedom": freedom})

    def __str__(self) -> str:
        """Say it in one line.

        Examples
        --------
        >>> print(compare("a - b", [3.0, 4.0, 5.0], [1.0, 1.9, 3.1], unit="points", smallest=1.0))
        a - b: +2.00 (1.75 to 2.25) points: yes
        """
        verdict = VERDICTS[self.verdict].words
        return f"{self.name}: {self.estimate()} {self.unit}: {verdict}"

    def estimate(self) -> str:
        """Return the mean and its interval, to the digits that interval and verdict warrant."""
        places = decimals(self.low, self.high)
        while places < 6 and self.verdict != judge(
            round(self.low, places), round(self.high, places), self.smallest
        ):
            places += 1  # what is shown must bear the verdict
        mean = f"{self.mean:+.{places}f}"
        mean = mean[1:] if float(mean) == 0 else mean
        ends = " to ".join(_number(end, places) for end in (self.low, self.high))
        return f"{mean} ({ends})".replace("-", "\N{MINUS SIGN}")


def _number(value: float, places: int) -> str:
    text = f"{value:.{places}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def decimals(low: float, high: float) -> int:
    """Return how many decimal places an interval warrants: about a third of half its width.

    Examples
    --------
    >>> decimals(1.0, 1.6), decimals(0.041, 0.057), decimals(13, 48), decimals(2.0, 2.0)
    (1, 3, 0, 2)
    """
    third = (high - low) / 6
    return min(6, max(0, math.ceil(-math.log10(third) - 1e-9))) if third > 1e-9 else 2


def compare(
    name: str,
    treated: Outcome | Sequence[float] | Array,
    control: Outcome | Sequence[float] | Array,
    *,
    unit: str,
    smallest: float,
    seeds: Iterable[int] | None = None,
    resolution: float = 0.0,
    confidence: float = 0.95,
    data: str = "",
    horizon: str = "",
) -> Effect:
    r"""Compare two arms seed by seed.

    With the differences :math:`d_s` of S seeds, and the differences :math:`D_i`, averaged over the
    seeds, of the n test images, the squared standard error is

    .. math:: \frac{\operatorname{var}_s(d_s)}{S} + \frac{\operatorname{var}_i(D_i)}{n} + c

    with what the choices of settings add, c. The interval is the mean, give or take Student's
    quantile times the standard error, with the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    name : str
        What is compared.
    treated, control : Outcome, or sequence of float
        Numbers at the same place belong to the same seed.
    unit : str
        Of the numbers.
    smallest : float
        The smallest effect that matters, at least zero, in that unit.
    seeds : iterable of int, optional
        The seeds; by default 0, 1, ...
    resolution : float
        The step of the grid on which the numbers were measured, in their unit.
    confidence : float
        Between 0 and 1.
    data, horizon : str
        As in :class:`Effect`.

    Returns
    -------
    Effect
        Of treated minus control.

    Raises
    ------
    ValueError
        If the lengths differ, there are fewer than two pairs, a number is nan (its run diverged) or
        infinite (it never reached a level), or an argument is out of its range.

    Notes
    -----
    Seeds and images are crossed: every seed is tested on the same images. Both terms hold a share
    of what is left of chance when seed and image are known, so the interval errs on the wide side.
    It is exact for no finite number of seeds; a test counts how often it covers the truth.

    Examples
    --------
    >>> effect = compare("a - b", [0.91, 0.93, 0.92], [0.90, 0.91, 0.89], unit="", smallest=0.0)
    >>> f"{effect.mean:.3f}, from {effect.low:.3f} to {effect.high:.3f}: {effect.verdict}"
    '0.020, from -0.005 to 0.045: undecided'
    """
    arms = [arm if isinstance(arm, Outcome) else Outcome(_row(arm)) for arm in (treated, control)]
    values = [arm.values for arm in arms]
    _check_pairs(values)
    for argument, number in (("smallest", smallest), ("resolution", resolution)):
        if not 0 <= number < math.inf:
            raise ValueError(f"{argument} is {number}, expected a number of at least zero")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
    count = len(values[0])
    seeds = tuple(int(seed) for seed in (range(count) if seeds is None else seeds))
    if len(seeds) != count:
        raise ValueError(f"got {len(seeds)} seeds for {count} pairs")

    differences = values[0] - values[1]
    parts = [(differences.var(ddof=1) / count, count - 1.0)]
    images = 0
    if arms[0].right is not None and arms[1].right is not None:
        by_image = (arms[0].right.mean(axis=0) - arms[1].right.mean(axis=0)).astype(np.float64)
        images = len(by_image)
        parts.append((by_image.var(ddof=1) / images, images - 1.0))
    parts += [(arm.choice, arm.choice_freedom) for arm in arms]
    variance = float(sum(part for part, _ in parts))
    uncertain = sum(part**2 / freedom for part, freedom in parts)
    freedom = float(variance**2 / uncertain) if uncertain else math.inf
    mean, error = float(differences.mean()), math.sqrt(variance)
    quantile = stats.norm.ppf if math.isinf(freedom) else stats.t(freedom).ppf
    half = float(quantile((1 + confidence) / 2)) * error + resolution
    return Effect(
        name=name,
        unit=unit,
        smallest=float(smallest),
        mean=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        error=error,
        freedom=freedom,
        resolution=float(resolution),
        seeds=seeds,
        pairs=tuple(zip(*(row.tolist() for row in values), strict=True)),
        images=images,
        chosen=any(math.isfinite(arm.choice_freedom) for arm in arms),
        data=data,
        horizon=horizon,
    )


def _row(values: Sequence[float] | Array) -> Array:
    return np.asarray(values, dtype=np.float64)


def _check_pairs(values: list[Array]) -> None:
    shapes = [row.shape for row in values]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ValueError(f"expected two sequences of equal length, got shapes {shapes}")
    if len(values[0]) < 2:
        raise ValueError(f"got {len(values[0])} pairs, expected at least 2: one has no spread")
    for name, row in zip(("treated", "control"), values, strict=True):
        if not np.isfinite(row).all():
            why = "diverged" if np.isnan(row).any() else "never reached what was counted"
            raise ValueError(
                f"{name} is {row.tolist()}, expected finite numbers: a run that {why} has none"
            )


def judge(low: float, high: float, smallest: float) -> str:
    """Say what an interval means for a claim that makes the effect positive.

    Parameters
    ----------
    low, high : float
        The ends of the interval.
    smallest : float
        The smallest effect that matters, at least zero.

    Returns
    -------
    str
        A name in ``VERDICTS``: exactly one for each interval.

    Raises
    ------
    ValueError
        If an argument is nan, the ends are exchanged, or ``smallest`` is negative.

    Examples
    --------
    >>> [judge(*ends, smallest=1.0) for ends in ((1.1, 2.0), (0.2, 0.8), (-0.5, 0.5), (-0.5, 1.5))]
    ['yes', 'small', 'none', 'undecided']
    """
    if not smallest >= 0:
        raise ValueError(f"smallest is {smallest}, expected a number of at least zero")
    if not low <= high:
        raise ValueError(f"expected an interval, got {low} to {high}")
    if low > smallest:
        return "yes"
    if high < -smallest:
        return "opposite"
    within = -smallest <= low and high <= smallest
    if low > 0:
        return "small" if within else "size open"
    if high < 0:
        return "opposite small" if within else "opposite size open"
    return "none" if within else "undecided"


def holm(effects: Sequence[Effect]) -> list[float]:
    """Return the p-value of each verdict, adjusted for all that are given, after Holm.

    If the adjusted values below 0.05 are called decided, the chance that any of them is wrong is at
    most 0.05, however many there are.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics, 1979.

    Examples
    --------
    >>> one = compare("", [3.0, 3.1, 2.9], [0.0, 0.0, 0.0], unit="", smallest=0.0)
    >>> adjusted = holm([one, one])
    >>> adjusted[0] == 2 * one.p
    True
    """
    count, adjusted, highest = len(effects), [0.0] * len(effects), 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: effects[i].p)):
        highest = max(highest, min(1.0, (count - rank) * effects[index].p))
        adjusted[index] = highest
    return adjusted
