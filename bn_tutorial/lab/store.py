"""Where finished runs are kept: one file for each, under a key of all that decides its outcome.

An unchanged run is not trained twice; a changed one has another key, so that it is never taken from
the store. What a file says is believed only where it is what was written, and of the run that is
asked for; anything else is trained again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import CURVES, History
from bn_tutorial.networks.norms import parse_norm
from bn_tutorial.storage import cache_folder, replace_when_complete

_log = logging.getLogger(__name__)


class Store:
    """The finished runs on one data set, made by the code, versions and device of this moment.

    Parameters
    ----------
    digest : str
        Of the data set.
    sources : Sources
        The code.

    Notes
    -----
    The files are JSON, in the folder ``runs`` of :func:`bn_tutorial.storage.cache_folder`; each is
    complete or not there. A damaged one is named in a warning.
    """

    def __init__(self, digest: str, sources: Sources) -> None:
        self.digest = digest
        self.sources = sources
        self.folder = cache_folder() / "runs"
        self.folder.mkdir(exist_ok=True)
        self._made_with = [digest, fingerprint.versions("numpy", "torch"), fingerprint.device()]

    def path(self, run: RunSpec) -> Path:
        """Return the file of a run, whether it is there or not.

        Raises
        ------
        ValueError
            If the run's normalization is not known.
        """
        code = code_of(run, self.sources)
        return self.folder / f"{fingerprint.of(asdict(run), code, *self._made_with)}.json"

    def keep(self, run: RunSpec, history: History) -> None:
        """Write a finished run."""
        content = {"run": asdict(run), "data": self.digest, "history": _to_json(history)}
        with replace_when_complete(self.path(run)) as partial:
            partial.write_text(
                _json({**content, "sha256": fingerprint.of(content)}), encoding="utf-8"
            )

    def find(self, run: RunSpec) -> History | None:
        """Read a finished run; None if there is none, or none that can be believed."""
        path = self.path(run)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("sha256") != fingerprint.of(content):
                raise ValueError("it is not what was written")
            if [content["run"], content["data"]] != json.loads(_json([asdict(run), self.digest])):
                raise ValueError("it is another run's, or of other data")
            history = _from_json(content["history"])
            _check_lengths(history, run)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _log.warning("%s is damaged (%s): the run is trained anew", path, error)
            return None
        return history


def code_of(run: RunSpec, sources: Sources) -> str:
    """Return the fingerprint of the code that a run executes.

    Of the normalizations and measures, only the run's own count.

    Raises
    ------
    ValueError
        If the run's normalization is not known.
    """
    kind, _ = parse_norm(run.norm)
    return sources.of_code(
        "bn_tutorial.lab.spec.RunSpec",
        chosen={
            "bn_tutorial.networks.norms.NORMS": [kind],
            "bn_tutorial.networks.probes.MEASURES": [run.measure] if run.measure else [],
        },
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
    return np.unpackbits(bits, count=packed["count"]).astype(np.bool_)


def _array(values: Any) -> npt.NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _check_lengths(history: History, run: RunSpec) -> None:
    """Refuse curves that this run cannot have."""
    count, steps = run.config.evaluations, run.config.steps
    expected = {name: {count} for name in CURVES}
    for name in ("validation_loss", "validation_accuracy"):
        expected[name] = {0, count}  # as the data are; the digest of the file decides
    expected["step_loss"] = {steps}
    for name, allowed in expected.items():
        if (length := len(getattr(history, name))) not in allowed:
            raise ValueError(f"its {name} has {length} values, expected {max(allowed)}")
    for name, values in history.measured.items():
        if len(values) != count + 1:
            raise ValueError(f"its {name} has {len(values)} rows, expected {count + 1}")
