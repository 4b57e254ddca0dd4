"""What was measured, and where it came from: effects and plain values, from the run to the text.

A gallery script compares arms and saves its evidence; the pages recall it. So no measured number is
ever typed into a text, and no interval is taken apart on its way there. The effects of a whole
build make a *record*, which is kept with the sources: what one data set says is recalled from there
where the site is built on another, and each build is compared with it.
"""

from __future__ import annotations

import json
import math
import numbers
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bn_tutorial import fingerprint
from bn_tutorial.lab import effects
from bn_tutorial.lab.effects import Effect, Outcome
from bn_tutorial.storage import cache_folder, named_folder, replace_when_complete

if TYPE_CHECKING:  # a page that recalls numbers need not wait for PyTorch
    from bn_tutorial.data.dataset import Dataset

Value = float | int | str | bool

FORMAT = 2  # of the files
_RECORDING_BYTES = 60_000  # a page holds it whole

# ---------------------------------------------------------------------------------------------
# One page
# ---------------------------------------------------------------------------------------------


class Evidence:
    """What one page measures.

    Parameters
    ----------
    page : str
        The script's path below ``tutorial_src``, without its suffix, e.g.
        ``"03_in_training/plot_01_compare_training"``.
    data : Dataset, optional
        What is measured on.
    seeds : iterable of int
        The seeds of the comparisons.
    horizon : str
        How long was trained, in words and numbers, such as ``"300 steps (0.7 epochs)"``.
    claims : mapping of str to str, optional
        By the names of the page's headline comparisons: in about five words, what a positive effect
        shows. They are the rows of a picture, in this order.

    Raises
    ------
    ValueError
        If ``page`` is not such a path.

    Examples
    --------
    >>> evidence = Evidence("01_by_hand/plot_01_normalize_a_batch", seeds=range(3))
    >>> effect = evidence.compare("a - b", [3.0, 4.0, 5.0], [1.0, 1.9, 3.1], unit="points",
    ...                           smallest=1.0)
    >>> print(evidence.table())
    a - b  +2.00 (1.75 to 2.25) points  yes
    """

    def __init__(
        self,
        page: str,
        *,
        data: Dataset | None = None,
        seeds: Iterable[int] = (),
        horizon: str = "",
        claims: Mapping[str, str] | None = None,
    ) -> None:
        self.page = page
        self.path = path_of(page)
        self.seeds = tuple(int(seed) for seed in seeds)
        self.horizon = horizon
        self.claims = dict(claims or {})
        self.effects: dict[str, Effect] = {}
        self.values: dict[str, Value] = {}
        self._data = data and {"name": data.name, "title": data.title, "digest": data.digest}

    def compare(
        self,
        name: str,
        treated: Outcome | Sequence[float],
        control: Outcome | Sequence[float],
        *,
        unit: str,
        smallest: float,
        seeds: Iterable[int] | None = None,
        horizon: str | None = None,
        **options: Any,
    ) -> Effect:
        """Compare two arms seed by seed, and keep the effect.

        Parameters
        ----------
        name : str
            What is compared, unique on the page: treated, a minus sign, control, and where.
        treated, control, unit, smallest, **options
            As for :func:`bn_tutorial.lab.effects.compare`.
        seeds, horizon
            Where they are other ones than the page's.

        Returns
        -------
        Effect
            Of treated minus control.

        Raises
        ------
        ValueError
            If the name is taken, or as :func:`bn_tutorial.lab.effects.compare`.
        """
        if name in self.effects:
            raise ValueError(f"{self.page} has compared {name!r} before")
        if not re.fullmatch(r"[^:@`<>]*\w", name.strip()) or name != " ".join(name.split()):
            raise ValueError(f"{name!r} is no name of an effect: : @ ` < > have meanings in texts")
        effect = effects.compare(
            name,
            treated,
            control,
            unit=unit,
            smallest=smallest,
            seeds=self.seeds if seeds is None else seeds,
            data=self._data["name"] if self._data else "",
            horizon=self.horizon if horizon is None else horizon,
            **options,
        )
        self.effects[name] = effect
        return effect

    def note(self, **values: Any) -> None:
        """Keep plain values by name: numbers, strings, truth values, and NumPy's of these.

        Raises
        ------
        TypeError
            If a value is of another type.
        ValueError
            If a value is nan or infinite.
        """
        self.values |= {name: _plain(name, value) for name, value in values.items()}

    def table(self, *names: str) -> str:
        """Lay out effects under each other: name, estimate, unit, verdict.

        Parameters
        ----------
        *names : str
            Which ones; by default all.
        """
        shown = [self.effects[name] for name in names] if names else list(self.effects.values())
        first = max(len(effect.name) for effect in shown)
        cells = [f"{effect.estimate()} {effect.unit}".strip() for effect in shown]
        second = max(map(len, cells))
        return "\n".join(
            f"{effect.name:<{first}}  {cell:<{second}}  {effects.VERDICTS[effect.verdict].words}"
            for effect, cell in zip(shown, cells, strict=True)
        )

    def save(self, *, recording: Mapping[str, Any] | None = None) -> None:
        """Write the evidence, for the texts to recall. What the page had saved before is replaced.

        Parameters
        ----------
        recording : mapping, optional
            Lists of numbers, to be replayed on a page of the site; at most 60 kB as JSON.

        Raises
        ------
        ValueError
            If the recording is too large, or not finite; if a claim is about no comparison.

        Notes
        -----
        JSON, complete or not at all, in the folder ``BN_TUTORIAL_EVIDENCE``, else ``evidence`` in
        :func:`bn_tutorial.storage.cache_folder`; with data, device and versions.
        """
        if unknown := sorted(self.claims.keys() - self.effects.keys()):
            raise ValueError(f"{self.page} has claims about {unknown}, but no such comparisons")
        content: dict[str, Any] = {
            "format": FORMAT,
            "page": self.page,
            "data": self._data,
            "device": fingerprint.device(),
            "versions": _versions(),
            "seeds": list(self.seeds),
            "values": self.values,
            "effects": [effect.to_json() for effect in self.effects.values()],
            "claims": self.claims,
        }
        if recording is not None:
            size = len(json.dumps(recording, allow_nan=False))
            if size > _RECORDING_BYTES:
                raise ValueError(
                    f"the recording has {size} bytes, expected at most {_RECORDING_BYTES}"
                )
            content["recording"] = recording
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _write(self.path, content)


@dataclass(frozen=True)
class Saved:
    """What a page has saved.

    Attributes
    ----------
    page : str
        The page.
    data : dict or None
        ``name``, ``title`` and ``digest`` of the data set.
    device : str
        Where networks were trained.
    versions : dict of str to str
        Of what measured, and the widest instructions of the processor.
    seeds : tuple of int
        Of the comparisons.
    values : dict
        Plain values by name.
    effects : dict of str to Effect
        By name.
    claims : dict of str to str
        What the headline comparisons show, by their names.
    recording : dict or None
        What can be replayed.
    """

    page: str
    data: dict[str, str] | None
    device: str
    versions: dict[str, str]
    seeds: tuple[int, ...]
    values: dict[str, Value]
    effects: dict[str, Effect]
    claims: dict[str, str]
    recording: dict[str, Any] | None


def recall(page: str) -> Saved:
    """Return what a page has saved.

    Parameters
    ----------
    page : str
        As for :class:`Evidence`.

    Raises
    ------
    LookupError
        If the page has saved nothing, or its file is damaged; the message names the script that
        must run.
    ValueError
        If ``page`` is not such a path.
    """
    path = path_of(page)
    remedy = f"run tutorial_src/{page}.py"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        found = [Effect.from_json(effect) for effect in content.pop("effects")]
        known = {"claims": {}, "recording": None, **content, "seeds": tuple(content["seeds"])}
        return Saved(**known, effects={effect.name: effect for effect in found})
    except FileNotFoundError:
        raise LookupError(f"nothing is saved for {page!r}: {remedy} first") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LookupError(f"{path} is damaged ({error}): {remedy} again") from error


def path_of(page: str) -> Path:
    """Return the file of a page, which cannot lie outside the folder.

    Raises
    ------
    ValueError
        If ``page`` is not a script's path without its suffix.
    """
    if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", page, re.ASCII):
        raise ValueError(
            f"page is {page!r}, expected a script's path below tutorial_src without its suffix, "
            "such as '03_in_training/plot_01_compare_training'"
        )
    folder = named_folder("BN_TUTORIAL_EVIDENCE") or cache_folder() / "evidence"
    return folder / f"{page}.json"


# ---------------------------------------------------------------------------------------------
# The record of a whole build
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """The effects of a whole build on one data set.

    Attributes
    ----------
    data : dict
        ``name``, ``title`` and ``digest`` of the data set.
    date : str
        When it was written, ISO 8601.
    device : str
        Where networks were trained.
    versions : dict of str to str
        Of what measured, and the widest instructions of the processor.
    effects : dict of str to dict of str to Effect
        By page, then by name.
    """

    data: dict[str, str]
    date: str
    device: str
    versions: dict[str, str]
    effects: dict[str, dict[str, Effect]]


def make_record(pages: Iterable[str], date: str) -> Record:
    """Gather what pages have saved in this build.

    Parameters
    ----------
    pages : iterable of str
        As for :class:`Evidence`. Pages without effects are left out.
    date : str
        ISO 8601.

    Raises
    ------
    LookupError
        If a page has saved nothing.
    ValueError
        If the pages are of several data sets, or none has effects.
    """
    saved = [found for page in pages if (found := recall(page)).effects]
    names = {found.data["name"] for found in saved if found.data}
    if len(names) != 1:
        raise ValueError(f"expected pages of one data set with effects, got {sorted(names)}")
    first = next(found for found in saved if found.data)
    assert first.data is not None
    data = {"name": first.data["name"], "title": first.data["title"]}
    return Record(
        data, date, first.device, _versions(), {found.page: found.effects for found in saved}
    )


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, complete or not at all."""
    kept = {
        page: [effect.to_json() for effect in found.values()]
        for page, found in record.effects.items()
    }
    _write(path, {"format": FORMAT, **vars(record), "effects": kept})


def read_record(path: Path) -> Record:
    """Read what :func:`write_record` wrote.

    Raises
    ------
    LookupError
        If it is not there, or damaged; the message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        pages = {
            page: {one["name"]: Effect.from_json(one) for one in found}
            for page, found in content.pop("effects").items()
        }
        return Record(**content, effects=pages)
    except FileNotFoundError:
        raise LookupError(f"there is no record {path}: nox -s record writes it") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LookupError(f"{path} is damaged ({error}): nox -s record writes it anew") from error


@dataclass(frozen=True)
class Agreement:
    """One verdict of a build beside the record's.

    Attributes
    ----------
    page, name : str
        Which effect.
    then, now : Effect or None
        In the record and in this build; None where it is missing.
    """

    page: str
    name: str
    then: Effect | None
    now: Effect | None

    @property
    def same(self) -> bool:
        """Whether both give the same verdict."""
        return bool(self.then and self.now and self.then.verdict == self.now.verdict)


def agreements(record: Record, now: Record) -> list[Agreement]:
    """Compare every verdict of two records."""
    found = []
    for page in sorted(record.effects.keys() | now.effects.keys()):
        then, here = record.effects.get(page, {}), now.effects.get(page, {})
        for name in [*here, *(name for name in then if name not in here)]:
            found.append(Agreement(page, name, then.get(name), here.get(name)))
    return found


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("bn-tutorial", "numpy", "scipy", "torch")}
    return {"python": platform.python_version(), **libraries, "instructions": _instructions()}


def _instructions() -> str:
    """Return the widest instructions of this processor: other ones end a sum in other digits."""
    known: Any = np.show_config("dicts")
    sets = known["SIMD Extensions"]
    return str([*sets["baseline"], *sets["found"]][-1])


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replace_when_complete(path) as partial:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


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
