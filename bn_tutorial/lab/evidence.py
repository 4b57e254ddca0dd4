"""What was measured, and where it came from.

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
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn_tutorial import fingerprint
from bn_tutorial.storage import cache_folder, replace_when_complete

if TYPE_CHECKING:  # a page that recalls numbers need not wait for PyTorch
    from bn_tutorial.data.dataset import Dataset

Value = float | int | str | bool

_RECORDING_BYTES = 60_000  # a page holds it whole


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
    digest, the device, and the versions of what measured.
    """
    path = _path(page)
    origin = data and {"name": data.name, "title": data.title, "digest": data.digest}
    content: dict[str, Any] = {
        "page": page,
        "data": origin,
        "device": fingerprint.device(),
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
