"""What a script computes itself is kept, as finished runs are: so nothing is computed twice.

Most scripts train through :mod:`~bn_tutorial.lab.study`, whose runs are kept one by one. Where a
script needs more than a run leaves, such as the trained network itself, its own function does the
work; decorated with :func:`remembered`, it is called once for each set of arguments.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from bn_tutorial import fingerprint
from bn_tutorial.data import loading
from bn_tutorial.fingerprint import Sources
from bn_tutorial.storage import cache_folder, prepare_folder, replace_when_complete

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)
_loaded = Sources()  # the code that this process runs, whatever becomes of the files


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function of a script return what it returned before, on the same data.

    It is called again when something changes that the result depends on: its arguments, a statement
    of the script (not its words), the code of the package that the script reaches, a version, the
    data or the device.

    Parameters
    ----------
    function : function
        A script's, whose result its arguments decide, and can be pickled; they are what JSON knows.
        One that is in no file, such as a notebook's, is called each time.

    Returns
    -------
    function
        The same, with a memory.
    """
    made_with = functools.cache(functools.partial(_made_with, function))

    @functools.wraps(function)
    def recall(*arguments: P.args, **options: P.kwargs) -> T:
        call = functools.partial(function, *arguments, **options)
        if made_with() is None:
            return call()
        return _recalled(call, made_with(), loading.load().digest, arguments, options)

    return recall


def measured_once(measure: Callable[[], T]) -> T:
    """Return the times that were measured on this machine before, or else measure them now.

    No two measurements give the same, so a build repeats those of the last one, until something
    that the times depend on changes: as for :func:`remembered`, or the machine.

    Parameters
    ----------
    measure : function
        A script's. One that is in no file, such as a notebook's, measures each time.

    Returns
    -------
    object
        What it returns.
    """
    machine = [platform.node(), platform.machine(), os.cpu_count()]
    made_with = _made_with(measure)
    return _recalled(measure, made_with, machine) if made_with else measure()


def _made_with(function: Callable[..., object]) -> str | None:
    """Return the fingerprint of what a script's function is made with; none if it is in no file."""
    script = Path(function.__code__.co_filename)
    if not script.is_file():
        return None
    text = script.read_text(encoding="utf-8")
    return fingerprint.of(
        function.__qualname__,
        fingerprint.of_text(text),
        _loaded.of_script(text),
        fingerprint.versions("numpy", "torch"),
        fingerprint.device(),
    )


def _recalled(call: Callable[[], T], *depends: object) -> T:
    """Return what a call gave when all that it depends on was the same, or else make it."""
    key = fingerprint.of(*depends)
    path = prepare_folder(cache_folder() / "results") / f"{key}.pickle"
    if known := _read(path):
        (result,) = known
        return cast(T, result)
    result = call()
    body = pickle.dumps(result)
    with replace_when_complete(path) as partial:
        partial.write_bytes(_signature(body) + b"\n" + body)
    return result


def _read(path: Path) -> list[Any]:
    """Return what was written, in a list; nothing where it is not there, or was altered."""
    try:
        signature, body = path.read_bytes().split(b"\n", 1)
    except FileNotFoundError:
        return []
    except ValueError:
        signature = body = b""
    if signature != _signature(body):
        _log.warning("%s is damaged: what it kept is computed anew", path)
        return []
    path.touch()  # what nobody asks for any more can be told by its age
    return [pickle.loads(body)]


def _signature(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
