"""Sources of files on this very machine: sound ones, and all that networks do to a download."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

DRIP = 0.02  # seconds between two bytes


class Source(ThreadingHTTPServer):
    """Serve files by their paths, in a manner."""

    def __init__(self, files: dict[str, bytes], manner: Manner) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.files, self.manner = files, manner
        self.asked: list[str] = []
        self.over = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_):
        """Say nothing: whoever gives up a source breaks the connection."""


class Request(BaseHTTPRequestHandler):
    server: Source

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.manner(self, self.server.files.get(self.path.removeprefix("/"), b""))

    def log_message(self, *_):
        pass

    def begin(self, length=None, status=200, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def wait(self, seconds=30.0):
        return self.server.over.wait(seconds)


Manner = Callable[[Request, bytes], None]


def sound(request, content):
    request.begin(len(content))
    request.wfile.write(content)


def without_length(request, content):
    request.begin()
    request.wfile.write(content)


def redirecting(request, _):
    if request.path.startswith("/moved/"):
        sound(request, request.server.files[request.path.removeprefix("/moved/")])
    else:
        request.begin(0, 302, Location="/moved" + request.path)


def silent(request, _):
    request.wait()


def stalling(request, content):
    request.begin(len(content))
    request.wfile.write(content[: len(content) // 2])
    request.wait()


def dripping(request, content):
    request.begin(len(content))
    for byte in content:
        request.wfile.write(bytes([byte]))
        if request.wait(DRIP):
            return


def dripping_at_last(request, content):
    request.begin(len(content))
    request.wfile.write(content[:1_000])
    for byte in content[1_000:]:
        request.wfile.write(bytes([byte]))
        if request.wait(DRIP):
            return


def dripping_headers(request, _):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not request.wait(DRIP):
        request.wfile.write(b"x")


def resetting(request, content):
    request.begin(len(content))
    request.wfile.write(content[: len(content) // 2])
    request.wait(0.05)  # so that these arrive
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def cut(request, content):
    request.begin(len(content))
    request.wfile.write(content[:-1])


def redirecting_for_ever(request, _):
    request.begin(0, 302, Location=f"{request.path}x")


def flooding(request, _):
    request.begin()
    while not request.server.over.is_set():
        request.wfile.write(bytes(65_536))


def announcing_too_much(request, _):
    request.begin(10**12)
    request.wait()


def lacking(request, _):
    request.begin(0, 404)


def hanging_up(request, _):
    request.connection.shutdown(socket.SHUT_RDWR)


def logging_in(request, _):
    """Answer as the network of a hotel does."""
    sound(request, b"<html>Please log in</html>")


def altering(request, content):
    sound(request, content[:-1] + bytes([content[-1] ^ 1]))


def shortening(request, content):
    sound(request, content[:-9])


BROKEN = (
    *(silent, stalling, dripping, dripping_headers, resetting, cut, redirecting_for_ever),
    *(flooding, announcing_too_much, lacking, hanging_up),
)
LYING = (logging_in, altering, shortening)


@contextlib.contextmanager
def serving(files: dict[str, bytes], manner: Manner = sound) -> Iterator[Source]:
    """Serve files until the block ends."""
    with Source(files, manner) as source, pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(
            target=source.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield source
        finally:
            source.over.set()
            source.shutdown()
            thread.join()
