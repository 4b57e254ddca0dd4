"""Download a file: whole, in bounded time and of bounded size, or say why not.

Whoever asks for it knows its digest, and compares that: no source is trusted.
"""

# Ours rather than pooch's: that bounds the wait for each read alone, so that it never gives up a
# source that drips, or one that sends without end.

from __future__ import annotations

import queue
import threading
import time
import urllib.error
import urllib.request

from tqdm import tqdm

# A source is given up when PATIENCE seconds bring fewer than PACE bytes and no end: it cannot be
# found, stands still or drips. The largest file comes at this pace within the deadline.
PATIENCE = 15.0
PACE = 500_000
DEADLINE = 300.0  # seconds for one file


class DownloadError(OSError):
    """A file could not be downloaded from this address: which, and why."""


# A piece of the file, of which the last is empty, and how many bytes are still announced, if any
# are; or why there are no more.
_Message = tuple[bytes, int | None] | str


def download(address: str, limit: int) -> bytes:
    """Return what lies at an address, `limit` bytes at most, while a bar shows the progress.

    Raises
    ------
    DownloadError
        If it cannot be had in time, ends early or is longer. The message names the address.
    """
    # In a thread that can be left behind: no timeout covers the resolution of a name, nor headers
    # that drip.
    messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(
        target=_receive,
        args=(address, limit, messages, given_up),
        name=address,
        daemon=True,
    ).start()
    content = bytearray()
    start = time.monotonic()
    due, goal = start + PATIENCE, PACE
    try:
        with tqdm(desc=address.rpartition("/")[2], unit="B", unit_scale=True) as progress:
            while True:
                left = min(due, start + DEADLINE) - time.monotonic()
                message = messages.get(timeout=max(0.0, left))
                if isinstance(message, str):
                    raise DownloadError(f"{address}: {message}")
                piece, announced = message
                if not piece:
                    return bytes(content)
                content += piece
                progress.total = None if announced is None else len(content) + announced
                progress.update(len(piece))
                if len(content) >= goal:
                    due, goal = time.monotonic() + PATIENCE, len(content) + PACE
    except queue.Empty:
        waited = time.monotonic() - start
        raise DownloadError(
            f"{address}: given up, as only {len(content):,} bytes came in {waited:.1f} s"
        ) from None
    finally:
        given_up.set()


def _receive(
    address: str, limit: int, messages: queue.SimpleQueue[_Message], given_up: threading.Event
) -> None:
    """Put the pieces of a file into `messages`, until its end, a failure, or nobody waits."""
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "bn-tutorial"})
        # Whoever waits gives up first, and says how much came.
        with urllib.request.urlopen(request, timeout=2 * PATIENCE) as response:
            received = 0
            while not given_up.is_set():
                if received + (response.length or 0) > limit:
                    raise ValueError(f"longer than the {limit:,} bytes that are expected")
                piece = response.read1(65_536)
                received += len(piece)
                if not piece and response.length:
                    raise ConnectionError(f"ended {response.length:,} bytes early")
                messages.put((piece, response.length))
                if not piece:
                    return
    except Exception as error:  # of any kind: it is the reason to give up this source
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        messages.put(" ".join(str(error).split()) or type(error).__name__)
