"""Studies: arms times paired seeds, settings that are chosen, and what the runs ended at."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.lab.effects import Outcome
from bn_tutorial.lab.pool import run_all
from bn_tutorial.lab.real_networks import Spec
from bn_tutorial.lab.training import CURVES, History

Key = TypeVar("Key", bound=Hashable)
Setting = TypeVar("Setting", bound=Hashable)
Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

_FAR = {"accuracy": 20.0, "loss": 0.4}  # points or nat behind the best: broken, not unlucky
_RESAMPLES = 400  # of seeds and images, to see which choices chance could have made
_WIDENED, _MOVED = 2, 0.5  # times that an end of a bracket is moved, and by how many decades
_PLAUSIBLE = 0.1  # a setting chosen in so many resamples is one that could have been chosen
_OTHERS = 3  # seeds with which settings are judged that were not chosen, but could have been
_LONGER = 3  # how often a ladder of learning rates grows by a rung


@dataclass(frozen=True)
class Study(Generic[Key]):
    """The finished runs of several arms over the same seeds.

    Attributes
    ----------
    histories : mapping to list of History
        For each arm one history per seed, in the order of ``seeds``.
    seeds : tuple of int
        The seeds.
    """

    histories: Mapping[Key, list[History]]
    seeds: tuple[int, ...]

    def curve(self, arm: Key, quantity: str) -> Array:
        """Return a quantity of all runs of an arm, as :func:`curves` does."""
        return curves(self.histories[arm], quantity)

    def last(self, arm: Key, quantity: str = "test_accuracy") -> Outcome:
        """Return what the runs of an arm ended at.

        Parameters
        ----------
        arm : Key
            The arm.
        quantity : str
            A curve of the histories. Accuracies are given in percent, with the images that were
            classified correctly; losses in nat.

        Returns
        -------
        Outcome
            nan where a run had diverged.
        """
        values = self.curve(arm, quantity)[:, -1]
        part, _, kind = quantity.partition("_")
        if kind != "accuracy":
            return Outcome(values)
        if part == "train":
            return Outcome(100 * values)
        right = [history.test_right for history in self.histories[arm]]
        return Outcome(100 * values, 100 * np.array(right, dtype=np.float32))

    def diverged(self, arm: Key) -> int:
        """Return how many of an arm's runs diverged."""
        return sum(history.diverged_at is not None for history in self.histories[arm])


def study(
    arms: Mapping[Key, Spec], data: Dataset, seeds: Iterable[int], **options: Any
) -> Study[Key]:
    """Train every arm with every seed: a grid of settings, in paired runs.

    Runs with the same seed share the order of the images, and the initial weights as far as their
    settings allow. So the difference of two arms at one seed is due to their settings alone.

    Parameters
    ----------
    arms : mapping to RunSpec, ConvSpec or ResidualSpec
        The settings, by any name. The seeds that they carry are replaced.
    data : Dataset
        What to train and to test on; a validation set is left alone.
    seeds : iterable of int
        At least five for a comparison.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    Study
        The histories, by the names of the arms.

    Examples
    --------
    >>> import torch
    >>> from bn_tutorial.data.dataset import Dataset, Split
    >>> from bn_tutorial.lab.spec import RunSpec
    >>> from bn_tutorial.lab.training import Config
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> short = Config(steps=4, evaluate_every=2, batch_size=2)
    >>> arms = {norm: RunSpec(norm, widths=(784, 8, 2), config=short) for norm in (None, "batch")}
    >>> results = study(arms, data, seeds=range(3), workers=1)
    >>> results.curve("batch", "test_accuracy").shape
    (3, 2)
    """
    seeds = tuple(seeds)
    runs = [_seeded(arm, seed) for arm in arms.values() for seed in seeds]
    histories = iter(run_all(runs, _tested_only(data), **options))
    return Study({name: list(islice(histories, len(seeds))) for name in arms}, seeds)


def _seeded(arm: Spec, seed: int) -> Spec:
    return replace(arm, model_seed=seed, config=replace(arm.config, seed=seed))


def _tested_only(data: Dataset) -> Dataset:
    """Return the data without a validation set, of which a comparison makes no use."""
    if data.validation is None:
        return data
    return replace(data, validation=None, digest=f"{data.digest}, left alone")


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


# ---------------------------------------------------------------------------------------------
# Settings that are chosen
# ---------------------------------------------------------------------------------------------

Ladders = Mapping[Key, Mapping[Setting, Spec]]


@dataclass(frozen=True)
class Tuning(Generic[Key, Setting]):
    """Settings that were tried on seeds of their own, and the one chosen for each arm.

    Attributes
    ----------
    ladders : mapping of arms to mappings of settings to RunSpec
        What was tried; the settings in increasing order.
    scores : mapping of arms to mappings of settings to ndarray, shape (seeds,) or (1,)
        On the validation images: accuracy in percent, or minus the loss in nat. nan where a run
        diverged. Of a setting that was given up there is the first seed's alone.
    shares : mapping of arms to mappings of settings to float
        In which share of resamples, of seeds and images, a setting would have been chosen.
    seeds : tuple of int
        The seeds of the tuning.
    """

    ladders: Ladders[Key, Setting]
    scores: Mapping[Key, Mapping[Setting, Array]]
    shares: Mapping[Key, Mapping[Setting, float]]
    seeds: tuple[int, ...]

    def chosen(self, arm: Key) -> Setting:
        """Return the setting that was chosen for an arm."""
        return list(self.scores[arm])[choose(_filled(self.scores[arm]))]

    def remarks(self, arm: Key, *names: str) -> list[str]:
        """Say what a reader must know of a choice: ends of the ladder, diverged settings.

        Parameters
        ----------
        arm : Key
            The arm.
        *names : str
            If a setting is a tuple, what each of its numbers is called. Each is looked at along the
            settings that differ from the chosen one in it alone.
        """
        chosen, scores = self.chosen(arm), self.scores[arm]
        if not names:
            return _ends(chosen, scores, "")
        found = []
        for axis, name in enumerate(names):
            line = {s: score for s, score in scores.items() if _differ(s, chosen) <= {axis}}
            found += _ends(chosen, line, f"{name} ")
        return found

    def alternatives(self, arm: Key) -> list[Setting]:
        """Return the settings that chance could have chosen for an arm, but did not."""
        shares, chosen = self.shares[arm], self.chosen(arm)
        return [s for s in shares if shares[s] >= _PLAUSIBLE and s != chosen]


def _differ(setting: Any, chosen: Any) -> set[int]:
    """Return in which of their numbers two tuples differ."""
    return {axis for axis, pair in enumerate(zip(setting, chosen, strict=True)) if len({*pair}) > 1}


def _ends(chosen: Setting, line: Mapping[Setting, Array], name: str) -> list[str]:
    """Say whether a choice lies at an end of a line of settings, or before one that diverges."""
    settings, found = list(line), list[str]()
    if len(settings) == 1:
        return found
    position = settings.index(chosen)
    if position == 0:
        found.append(f"the smallest {name}that was tried")
    if position == len(settings) - 1:
        found.append(f"the largest {name}that was tried")
    elif not np.isfinite(line[settings[position + 1]]).all():
        found.append(f"the next {name or 'one '}diverges")
    return found


def cross(first: Sequence[Setting], second: Sequence[Setting]) -> list[tuple[Setting, Setting]]:
    """Return the pairs that differ from the middle pair in one of two settings, in their order.

    A grid of all pairs costs more and says little more, where a wider search is known.

    Parameters
    ----------
    first, second : sequence
        Settings in increasing order, with a middle.

    Examples
    --------
    >>> cross((0.1, 1, 10), (2, 3, 4))
    [(0.1, 3), (1, 2), (1, 3), (1, 4), (10, 3)]
    """
    middle = first[len(first) // 2], second[len(second) // 2]
    pairs = [(one, other) for one in first for other in second]
    return [pair for pair in pairs if len(_differ(pair, middle)) < 2]


def tune(
    ladders: Ladders[Key, Setting],
    data: Dataset,
    seeds: Iterable[int],
    quantity: str = "accuracy",
    *,
    run: Callable[[Key, Setting], Spec] | None = None,
    race: bool = True,
    **options: Any,
) -> Tuning[Key, Setting]:
    """Try settings on the validation images, with seeds that nothing is reported on.

    The rule of one standard error: the smallest setting whose mean score is at most one standard
    error of the best mean below it. Settings that diverge with some seed are not chosen.

    A ladder of learning rates grows while the best of them is the first or the last, by up to three
    rungs as far apart as those before: what lies beyond might be better still.

    Parameters
    ----------
    ladders : mapping of arms to mappings of settings to RunSpec
        For each arm what to try, in increasing order. A setting is a learning rate if it is that of
        its run, or a tuple that ends with it. If there is one alone, it is fixed.
    data : Dataset
        With a validation set.
    seeds : iterable of int
        At least two, other ones than those of the comparison.
    quantity : {"accuracy", "loss"}
        By what to choose.
    run : callable, optional
        From an arm and a setting to the RunSpec: with it a ladder grows in every number of its
        settings, such as a strength of weight decay, not in the rate alone.
    race : bool
        Whether a setting that is more than 20 points or 0.4 nat behind the best of its arm with the
        first seed is given up: the other seeds are spent where they can decide something. False
        where the scores serve for more than the choice.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    Tuning
        The scores and choices.

    Raises
    ------
    ValueError
        If the data have no validation set, or if every setting of an arm diverged with some seed.
    """
    seeds, shares = tuple(seeds), {}
    for grown in range(_LONGER + 1):
        tried = _try(ladders, data, seeds, quantity, race=race, **options)
        scores = {
            arm: {setting: _score(tried, (arm, setting), quantity) for setting in ladder}
            for arm, ladder in ladders.items()
        }
        longer = {
            arm: _longer(ladder, scores[arm], run and partial(run, arm))
            for arm, ladder in ladders.items()
        }
        if grown == _LONGER or longer == ladders:
            break
        ladders = longer
    for arm, ladder in ladders.items():
        table, right = _filled(scores[arm]), None
        if not bool(np.any(np.isfinite(table).all(axis=1))):
            raise ValueError(f"every setting of {arm} diverged: {list(ladder)}")
        if quantity == "accuracy":
            right = [tried.last((arm, setting)).right for setting in ladder]
        shares[arm] = dict(zip(ladder, _resampled(table, right).tolist(), strict=True))
    return Tuning(ladders, scores, shares, tried.seeds)


def _longer(
    ladder: Mapping[Setting, Spec],
    scores: Mapping[Setting, Array],
    run: Callable[[Setting], Spec] | None,
) -> Mapping[Setting, Spec]:
    """Return a ladder with one more rung, where the best one is at an end."""
    means = _filled(scores).mean(axis=1)
    if np.isnan(means).all():
        return ladder
    best = list(ladder)[int(np.nanargmax(means))]
    numbers = _numbers(best)
    for axis in reversed(range(len(numbers))):
        rate = axis == len(numbers) - 1 and all(
            _numbers(setting)[-1] == spec.config.lr for setting, spec in ladder.items()
        )
        line = [_numbers(s)[axis] for s in ladder if _differ(_numbers(s), numbers) <= {axis}]
        if len(line) == 1 or not (rate or run):
            continue
        for end, inner in (line[:2], line[:-3:-1]):
            if numbers[axis] == end > 0 < inner:
                beyond = _rounded(end * end / inner)
                changed = (*numbers[:axis], beyond, *numbers[axis + 1 :])
                added: Any = changed if isinstance(best, tuple) else beyond
                near = ladder[best]
                spec = run(added) if run else replace(near, config=replace(near.config, lr=beyond))
                return dict(sorted([*ladder.items(), (added, spec)], key=lambda rung: rung[0]))
    return ladder


def _numbers(setting: Any) -> tuple[Any, ...]:
    """Return the numbers of a setting, which may be one."""
    return setting if isinstance(setting, tuple) else (setting,)


def _rounded(rate: float) -> float:
    """Return the nearest of 1, 2, 3 and 5 times a power of ten."""
    decade = 10.0 ** math.floor(math.log10(rate))
    near = min((1, 2, 3, 5, 10), key=lambda digit: abs(math.log(rate / (digit * decade))))
    return float(f"{near * decade:.0e}")


def _try(
    ladders: Ladders[Key, Setting],
    data: Dataset,
    seeds: tuple[int, ...],
    quantity: str,
    *,
    race: bool,
    **options: Any,
) -> Study[tuple[Key, Setting]]:
    """Train every setting with every seed; in a race only the first, where it is far behind.

    The validation images stand in the place of the test images, which no such run sees.
    """
    if data.validation is None:
        raise ValueError(f"{data.title} has no validation set to choose settings by")
    data = replace(data, test=data.validation, digest=f"{data.digest}, validated")
    grid = {(arm, setting): run for arm in ladders for setting, run in ladders[arm].items()}
    if not race:
        return study(grid, data, seeds, **options)
    first = study(grid, data, seeds[:1], **options)
    near = dict[tuple[Key, Setting], Spec]()
    for arm, ladder in ladders.items():
        ends = {setting: _score(first, (arm, setting), quantity)[0] for setting in ladder}
        least = np.nanmax([-math.inf, *ends.values()]) - _FAR[quantity]
        near |= {(arm, s): run for s, run in ladder.items() if ends[s] >= least}  # nan is not
    others = study(near, data, seeds[1:], **options)
    histories = {key: first.histories[key] + others.histories.get(key, []) for key in grid}
    return Study(histories, seeds)


def _score(tried: Study[Key], key: Key, quantity: str) -> Array:
    """Return how well a setting does with each seed: the higher the better."""
    sign = 1 if quantity == "accuracy" else -1
    return sign * tried.last(key, f"test_{quantity}").values


def _filled(scores: Mapping[Setting, Array]) -> Array:
    """Return the scores of all settings, shape (settings, seeds); nan of seeds that were spared."""
    filled = np.full((len(scores), max(map(len, scores.values()))), np.nan)
    for row, known in zip(filled, scores.values(), strict=True):
        row[: len(known)] = known
    return filled


def choose(scores: Array) -> int:
    """Return which setting to take: the first within one standard error of the best.

    Parameters
    ----------
    scores : ndarray, shape (settings, seeds)
        The higher the better; nan where a run diverged or was spared, which excludes its setting.

    Returns
    -------
    int
        Its place.

    Examples
    --------
    >>> choose(np.array([[80.0, 84.0], [95.0, 96.0], [95.0, 98.0], [99.0, np.nan]]))
    1
    """
    means, count = scores.mean(axis=1), scores.shape[1]
    best = int(np.nanargmax(means))
    error = scores[best].std(ddof=1) / math.sqrt(count) if count > 1 else 0.0
    return int(np.argmax(means >= means[best] - error))  # nan is not


def _resampled(scores: Array, right: Sequence[npt.NDArray[Any] | None] | None) -> Array:
    """Return how often each setting would have been chosen from other seeds and images."""
    rng = np.random.default_rng(0)
    settings, count = scores.shape
    sound = np.flatnonzero(np.isfinite(scores).all(axis=1))
    by_image = (
        None
        if right is None
        else np.array([right[row] for row in sound.tolist()], dtype=np.float32)
    )
    votes = np.zeros(settings)
    for _ in range(_RESAMPLES):
        drawn = rng.integers(count, size=count)
        table = scores[np.ix_(sound, drawn)]
        if by_image is not None:
            images = by_image.shape[2]
            weights = rng.multinomial(images, np.full(images, 1 / images)) / images
            table = (by_image[:, drawn] @ weights.astype(np.float32)).astype(np.float64)
        votes[sound[choose(table)]] += 1
    return votes / _RESAMPLES


@dataclass(frozen=True)
class Judged(Generic[Key, Setting]):
    """Arms at their chosen settings, on new seeds.

    Attributes
    ----------
    tuning : Tuning
        The choices.
    runs : Study
        The runs of each arm at its chosen setting.
    others : Study
        By (arm, setting) those at every other setting that chance could have chosen, with the first
        few of the seeds: they widen an interval, and are not reported.
    """

    tuning: Tuning[Key, Setting]
    runs: Study[Key]
    others: Study[tuple[Key, Setting]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the comparison."""
        return self.runs.seeds

    def curve(self, arm: Key, quantity: str) -> Array:
        """Return a quantity of an arm's runs at its chosen setting, as :func:`curves` does."""
        return self.runs.curve(arm, quantity)

    def last(self, arm: Key, quantity: str = "test_accuracy") -> Outcome:
        """Return what the runs of an arm ended at, and how much the choice adds to chance.

        Parameters
        ----------
        arm : Key
            The arm.
        quantity : str
            As for :meth:`Study.last`.

        Returns
        -------
        Outcome
            At the chosen setting. Its ``choice`` is the variance of the mean over the settings that
            could have been chosen, each with its share. A seed that diverges at one of two settings
            says nothing of their difference, and a setting with which all seeds diverge has none.
        """
        at_chosen = self.runs.last(arm, quantity)
        shares, squares = [self.tuning.shares[arm][self.tuning.chosen(arm)]], [0.0]
        for setting in self.tuning.alternatives(arm):
            other = self.others.last((arm, setting), quantity).values
            apart = other - at_chosen.values[: len(other)]
            if np.isfinite(apart).any():
                shares.append(self.tuning.shares[arm][setting])
                squares.append(float(np.nanmean(apart)) ** 2)
        spread = np.dot(shares, squares) / sum(shares) if sum(shares) else 0.0
        return replace(at_chosen, choice=float(spread), choice_freedom=len(self.tuning.seeds) - 1.0)

    def table(self, words: Callable[[Key], str] = str) -> str:
        """Lay out each arm's rate, what it ended at, and what must be known of the choice.

        Parameters
        ----------
        words : callable
            From an arm to what it is called.

        Returns
        -------
        str
            As :func:`table` does.
        """
        tuning = self.tuning
        rows = {
            words(arm): [tuning.chosen(arm), self.last(arm).mean, "; ".join(tuning.remarks(arm))]
            for arm in tuning.ladders
        }
        return table(rows, ["rate", "test (%)", "remark"])


def judge(
    tuning: Tuning[Key, Setting], data: Dataset, seeds: Iterable[int], **options: Any
) -> Judged[Key, Setting]:
    """Train every arm at its chosen setting, with new seeds.

    Parameters
    ----------
    tuning : Tuning
        The choices.
    data : Dataset
        What to train and to test on.
    seeds : iterable of int
        None of them a seed of the tuning.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    Judged
        The runs.

    Raises
    ------
    ValueError
        If a seed was used for tuning.
    """
    seeds = tuple(seeds)
    if shared := set(seeds) & set(tuning.seeds):
        raise ValueError(f"seeds {sorted(shared)} were used for tuning, expected other ones")
    chosen = {arm: ladder[tuning.chosen(arm)] for arm, ladder in tuning.ladders.items()}
    others = {
        (arm, setting): tuning.ladders[arm][setting]
        for arm in tuning.ladders
        for setting in tuning.alternatives(arm)
    }
    runs = study(chosen, data, seeds, **options)
    return Judged(tuning, runs, study(others, data, seeds[:_OTHERS], **options))


def without_diverged(
    judged: Judged[Key, Setting], arms: Iterable[Key], data: Dataset, **options: Any
) -> Judged[Key, Setting]:
    """Judge some arms once more, by the seeds with which all of them train.

    A rate at which all tuning seeds train may diverge with another seed, and then there is no
    accuracy. Leaving that seed out spares the arm that diverged: a page that does so says how often
    (:meth:`Study.diverged`).

    Parameters
    ----------
    judged : Judged
        What :func:`judge` returned.
    arms : iterable of Key
        Those that are compared.
    data : Dataset
        As for :func:`judge`.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    Judged
        The runs; nearly all of them are remembered.
    """
    arms = tuple(arms)
    ends = np.array([judged.last(arm).values for arm in arms])
    seeds = np.array(judged.seeds)[np.isfinite(ends).all(axis=0)].tolist()
    ladders = {arm: judged.tuning.ladders[arm] for arm in arms}
    return judge(replace(judged.tuning, ladders=ladders), data, seeds, **options)


# ---------------------------------------------------------------------------------------------
# Limits
# ---------------------------------------------------------------------------------------------


class BracketError(ValueError):
    """A limit is not where it was looked for."""


def largest_usable(
    run: Callable[[float], Spec],
    data: Dataset,
    seeds: Sequence[int],
    *,
    level: float,
    between: tuple[float, float],
    resolution: float = 1 / 16,
    **options: Any,
) -> Array:
    """Find, for each seed, the largest setting at which a network still trains, by bisection.

    Parameters
    ----------
    run : callable
        From a setting, such as a learning rate, to a RunSpec.
    data : Dataset
        What to train and to test on.
    seeds : sequence of int
        The seeds.
    level : float
        Test accuracy, in percent, from which on a setting counts as usable.
    between : tuple of two floats
        Decimal logarithms: the network trains at the first with every seed, at the second with
        none. For seeds of which that is not so the end is moved outwards, up to a decade. An end
        is tried only where the bisection comes to it.
    resolution : float
        In decades: how wide the bracket may be at the end.
    **options
        As for :func:`bn_tutorial.lab.pool.run_all`.

    Returns
    -------
    ndarray, float64, shape (seeds,)
        The decimal logarithm of the middle of each seed's last bracket.

    Raises
    ------
    BracketError
        If with some seed the network does not train a decade below the first end, or still does a
        decade above the second.

    Notes
    -----
    Between usable and not there may be more than one border. The bisection finds one of them.
    """
    ends = np.repeat(np.array([between], dtype=np.float64).T, len(seeds), axis=1)
    known = np.full(ends.shape, False)  # whether a run has shown what is said of an end

    def usable(decades: Array, places: Places) -> npt.NDArray[np.bool_]:
        tried = zip(decades, places, strict=True)
        runs = [_seeded(run(float(10**decade)), seeds[place]) for decade, place in tried]
        histories = run_all(runs, _tested_only(data), **options)
        return 100 * np.array([h.test_accuracy[-1] for h in histories]) >= level  # nan is not

    for widened in range(_WIDENED + 1):
        while (wide := np.flatnonzero(ends[1] - ends[0] > resolution * (1 + 1e-9))).size:
            middle = ends[:, wide].mean(axis=0)
            moved = np.where(usable(middle, wide), 0, 1)
            ends[moved, wide], known[moved, wide] = middle, True
        # A seed may differ from those that the bracket was found with: then the border is outside.
        for side, state in enumerate(("not usable", "still usable")):
            places = np.flatnonzero(~known[side])
            wrong = places[usable(ends[side, places], places) == bool(side)]
            if wrong.size and widened == _WIDENED:
                which, end = [seeds[place] for place in wrong], ends[side, wrong[0]]
                raise BracketError(f"seeds {which} are {state} at 10 to the {end:g}")
            known[side, places] = True
            ends[1 - side, wrong], known[1 - side, wrong] = ends[side, wrong], True
            ends[side, wrong] += _MOVED if side else -_MOVED
            known[side, wrong] = False
    return np.asarray(ends.mean(axis=0), dtype=np.float64)


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


def table(rows: Mapping[str, Sequence[object]], columns: Sequence[str]) -> str:
    """Lay out words and numbers under each other.

    Parameters
    ----------
    rows : mapping of str to sequence
        Cells, by the words that name their row. Floats get three significant digits.
    columns : sequence of str
        A heading for each cell of a row.

    Returns
    -------
    str
        The lines, to be printed.

    Examples
    --------
    >>> print(table({"without BN": [0.1, 94.2], "with BN": [1.0, 96.25]}, ["rate", "accuracy (%)"]))
                rate  accuracy (%)
    without BN   0.1          94.2
    with BN        1          96.2
    """
    cells = [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows.values()]
    widths = [
        max(len(heading), *(len(row[place]) for row in cells))
        for place, heading in enumerate(columns)
    ]
    first = max(map(len, rows))

    def line(name: str, row: Iterator[str]) -> str:
        return f"{name:<{first}}  " + "  ".join(
            c.rjust(w) for c, w in zip(row, widths, strict=True)
        )

    return "\n".join(
        [line("", iter(columns)), *(line(n, iter(r)) for n, r in zip(rows, cells, strict=True))]
    )
