"""Times, measured once on each machine: no two measurements give the same."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import Sources
from bn_tutorial.storage import cache_folder, prepare_folder

Times = list[list[float]]


def measured_once(measure: Callable[[], Times]) -> Times:
    """Return the times that were measured on this machine before, or else measure them now.

    So a build says the same as the last one, until something that the times depend on changes: the
    script, the code that it reaches, a version, the device or the machine.

    Parameters
    ----------
    measure : function
        A script's. One that is in no file, such as a notebook's, measures each time.

    Returns
    -------
    list of list of float
        What it returns.
    """
    script = Path(measure.__code__.co_filename)
    if not script.is_file():
        return measure()
    text = script.read_text(encoding="utf-8")
    key = fingerprint.of(
        text,
        Sources().of_script(text),
        fingerprint.versions("numpy", "torch"),
        fingerprint.device(),
        [platform.node(), platform.machine(), os.cpu_count()],
    )
    path = prepare_folder(cache_folder() / "timings") / f"{key}.json"
    times: Times | None = fingerprint.read_signed(path)
    if times is None:
        times = measure()
        fingerprint.write_signed(path, times)
    return times
