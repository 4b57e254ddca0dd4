"""What the injections share: the processes that they start hear every signal."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """A signal that is ignored here, as under nohup or in the background, is so in each child.

    One that is handled is not: a new program begins with the default.
    """
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
