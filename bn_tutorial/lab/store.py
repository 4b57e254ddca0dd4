"""Where finished runs are kept: one file for each, under a key of all that decides its outcome.

An unchanged run is not trained twice; a changed one has another key, so that it is never taken from
the store. What a file says is believed only where it is what was written, and of the run that is
asked for; anything else is trained again.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.real_networks import Spec
from bn_tutorial.lab.side_by_side import train_side_by_side
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import CURVES, History
from bn_tutorial.networks.norms import parse_norm
from bn_tutorial.networks.rivals import parse_rival
from bn_tutorial.storage import cache_folder, prepare_folder, replace_when_complete

_log = logging.getLogger(__name__)

# What a file that is not as it was written can lead to.
DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    RecursionError,
)


class Store:
    """The finished runs on one data set, made by the code and versions of this moment.

    Parameters
    ----------
    digest : str
        Of the data set.
    sources : Sources
        The code.
    device : str, optional
        The kind of device that trains; by default that of this moment.

    Raises
    ------
    OSError
        If the folder cannot be written to.

    Notes
    -----
    The files are JSON, in the folder ``runs`` of :func:`bn_tutorial.storage.cache_folder`; each is
    complete or not there.
    """

    def __init__(self, digest: str, sources: Sources, device: str | None = None) -> None:
        self.digest = digest
        self.sources = sources
        self.folder = prepare_folder(cache_folder() / "runs")
        versions = fingerprint.versions("numpy", "torch")
        self._made_with = [digest, versions, device or fingerprint.device()]

    def path(self, run: Spec) -> Path:
        """Return the file of a run, whether it is there or not.

        Raises
        ------
        ValueError
            If the run's normalization is not known.
        """
        code = code_of(run, self.sources)
        return self.folder / f"{fingerprint.of(asdict(run), code, *self._made_with)}.json"

    def keep(self, run: Spec, history: History) -> None:
        """Write a finished run."""
        path, content = self.path(run), self._content(run, history)
        if path.is_dir():  # which no file can replace
            shutil.rmtree(path)
        with replace_when_complete(path) as partial:
            partial.write_text(
                _json({**content, "sha256": fingerprint.of(content)}), encoding="utf-8"
            )

    def find(self, runs: Iterable[Spec]) -> dict[Spec, History]:
        """Read those of some runs that are finished, and whose files can be believed.

        One warning counts the files that cannot.
        """
        found, damaged = dict[Spec, History](), list[str]()
        for run in runs:
            path = self.path(run)
            try:
                found[run] = self.read(run)
            except FileNotFoundError:
                continue
            except DAMAGE as error:
                damaged.append(f"{path.name}: {error}")
        if damaged:
            _log.warning(
                "%d remembered runs in %s are damaged and are trained anew, such as %s",
                *(len(damaged), self.folder, damaged[0]),
            )
        return found

    def read(self, run: Spec) -> History:
        """Read a finished run.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        Exception
            One of `DAMAGE`, if its file is not as it was written, or is none that this run can
            have left.
        """
        content = json.loads(self.path(run).read_text(encoding="utf-8"))
        history = _from_json(content["history"])
        # Of what was understood: it is what was written, however the file looks.
        if content["sha256"] != fingerprint.of(self._content(run, history)):
            raise ValueError("it is not what was written, or of another run or other data")
        _check(history, run)
        return history

    def _content(self, run: Spec, history: History) -> dict[str, Any]:
        return {"run": asdict(run), "data": self.digest, "history": _to_json(history)}


def code_of(run: Spec, sources: Sources) -> str:
    """Return the fingerprint of the code that a run executes.

    Of the normalizations and measures, only the run's own count.

    Raises
    ------
    ValueError
        If the run's normalization is not known.
    """
    if isinstance(run, RunSpec):
        norms = {"bn_tutorial.networks.norms.NORMS": parse_norm(run.norm)[:1]}
    else:
        norms = {"bn_tutorial.networks.rivals.RIVALS": parse_rival(run.norm)[:1]}
    measures = [run.measure] if run.measure else []
    together = [train_side_by_side] if run.alike() else []
    return sources.of_code(
        type(run), *together, chosen={**norms, "bn_tutorial.networks.probes.MEASURES": measures}
    )


def _json(content: object) -> str:
    # The default serves settings that are NumPy scalars.
    return json.dumps(content, allow_nan=False, sort_keys=True, default=methodcaller("item"))


def _to_json(history: History) -> dict[str, Any]:
    return {
        **{name: _numbers(getattr(history, name)) for name in CURVES},
        "measured": {name: _numbers(values) for name, values in history.measured.items()},
        "validation_right": _packed(history.validation_right),
        "test_right": _packed(history.test_right),
        "seconds": history.seconds,
        "diverged_at": history.diverged_at,
    }


def _from_json(values: dict[str, Any]) -> History:
    curves = {name: tuple(_array(values[name]).tolist()) for name in CURVES}
    measured = {name: _array(known) for name, known in values["measured"].items()}
    return History(
        **curves,
        measured=measured,
        validation_right=_unpacked(values["validation_right"]),
        test_right=_unpacked(values["test_right"]),
        seconds=float(values["seconds"]),
        diverged_at=values["diverged_at"],
    )


def _numbers(values: Any) -> Any:
    """Turn numbers into lists of numbers that JSON knows, bit by bit."""
    array = np.asarray(values, dtype=np.float64)
    plain = array.astype(object)
    plain[~np.isfinite(array)] = [str(value) for value in array[~np.isfinite(array)]]
    return plain.tolist()  # "nan" and "inf" are no numbers in JSON


def _packed(right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {"count": len(right), "bits": np.packbits(right).tobytes().hex()}


def _unpacked(packed: dict[str, Any]) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(bytes.fromhex(packed["bits"]), dtype=np.uint8)
    if not 0 <= packed["count"] <= 8 * len(bits):
        raise ValueError(f"it has {8 * len(bits)} bits, expected {packed['count']}")
    return np.unpackbits(bits, count=packed["count"]).astype(np.bool_)


def _array(values: Any) -> npt.NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _check(history: History, run: Spec) -> None:
    """Refuse what this run cannot have left: lengths, ranges, numbers from after it diverged."""
    steps, evaluations = run.config.steps, run.config.evaluations
    end = steps if history.diverged_at is None else history.diverged_at
    if type(end) is not int or not 0 <= end <= steps - (history.diverged_at is not None):
        raise ValueError(f"its diverged_at is {end!r}, expected one of {steps} steps")
    sound = end // run.config.evaluate_every  # evaluations before it diverged
    for name in CURVES:
        values = np.array(getattr(history, name))
        length, finite = (steps, end) if name == "step_loss" else (evaluations, sound)
        if name.startswith("validation") and not history.validation_right.size:
            length, finite = 0, 0
        known, highest = values[:finite], 1 if name.endswith("accuracy") else math.inf
        if len(values) != length:
            raise ValueError(f"its {name} has {len(values)} values, expected {length}")
        if not (np.isfinite(known) & (known >= 0) & (known <= highest)).all():
            raise ValueError(f"its {name} is out of range")
        if not np.isnan(values[finite:]).all():
            raise ValueError(f"its {name} goes on after it diverged")
    if bool(history.measured) != (run.measure is not None):
        raise ValueError(f"it measured {sorted(history.measured)}, expected {run.measure}")
    for name, rows in history.measured.items():
        if len(rows) != evaluations + 1 or not np.isnan(rows[sound + 1 :]).all():
            raise ValueError(f"its {name} has other rows than {sound + 1} of {evaluations + 1}")
    for name in ("validation", "test"):
        right, accuracy = getattr(history, f"{name}_right"), getattr(history, f"{name}_accuracy")
        # Where it diverged, none was right.
        if accuracy and not (right.size and right.mean() == np.nan_to_num(accuracy[-1])):
            raise ValueError(f"its {name}_right does not fit its {name}_accuracy")
    if not 0 <= history.seconds < math.inf:
        raise ValueError(f"it took {history.seconds} seconds")
