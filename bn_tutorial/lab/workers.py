"""How the processes that train begin and end: none outlives the one that started it.

Apart from ``pool``, because a worker must watch before it imports PyTorch, which takes seconds.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def end_with(parent: int) -> None:
    """Let this process end within a second of the one that started it, however that ends.

    A worker otherwise waits minutes for work that nobody sends, and the data stay in shared memory
    as long.

    Parameters
    ----------
    parent : int
        The number of the process that started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def deaf_to_hangup() -> Iterator[None]:
    """Let the processes that a block starts not hear when the terminal is closed.

    With the workers, joblib starts a process that removes what they shared when all others are
    gone. It ignores the other signals that all processes of a terminal get.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def no_room_explained() -> Iterator[None]:
    """Say what is behind joblib's error where it cannot write the data for the workers.

    Raises
    ------
    OSError
        In its place: it names the folder, the reason and the remedy.
    """
    try:
        yield
    except pickle.PicklingError as error:
        if not (reasons := re.findall(r"\[Errno .*", str(error.__cause__))):
            raise
        folder = os.environ.get("JOBLIB_TEMP_FOLDER") or f"/dev/shm or {tempfile.gettempdir()}"
        raise OSError(
            f"the data cannot be written for the workers to {folder} ({reasons[-1]}): "
            "make room, or set JOBLIB_TEMP_FOLDER to a folder that has some"
        ) from error
