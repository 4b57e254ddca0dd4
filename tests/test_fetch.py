import threading
import time
import urllib.request

import mirrors
import pytest

from bn_tutorial import fetch
from bn_tutorial.fetch import DownloadError, download

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def impatience(monkeypatch):
    monkeypatch.setattr(fetch, "PATIENCE", 0.3)


def wait_for(condition):
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize(
    "manner", [mirrors.sound, mirrors.without_length, mirrors.redirecting], ids=lambda m: m.__name__
)
def test_file_arrives_and_its_progress_is_shown(manner, capsys):
    with mirrors.serving({"file.gz": CONTENT}, manner) as source:
        assert download(source.address + "file.gz", limit=len(CONTENT)) == CONTENT
    shown = capsys.readouterr().err
    assert "file.gz" in shown
    assert "2.05k" in shown
    assert ("100%" in shown) == (manner is not mirrors.without_length)


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("manner", mirrors.BROKEN, ids=lambda manner: manner.__name__)
def test_broken_source_is_given_up_in_time_with_a_sentence_that_names_it(manner):
    before = time.monotonic()
    with mirrors.serving({"file.gz": CONTENT}, manner) as source:
        address = source.address + "file.gz"
        with pytest.raises(DownloadError) as error:
            download(address, limit=len(CONTENT))
        assert time.monotonic() - before < 2
        assert str(error.value).startswith(f"{address}: ")
        assert len(str(error.value)) > len(address) + 10
        # Nobody goes on receiving what nobody waits for.
        if manner is not mirrors.dripping_headers:
            wait_for(lambda: address not in {thread.name for thread in threading.enumerate()})


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize(
    ("manner", "said"),
    [
        (mirrors.silent, r"given up, as only 0 bytes came in 0\.\d s"),
        (mirrors.stalling, r"given up, as only 1,024 bytes came in 0\.\d s"),
        (mirrors.cut, "1 bytes early|1 more expected"),
        (mirrors.flooding, "longer than the 2,048 bytes"),
        (mirrors.announcing_too_much, "longer than the 2,048 bytes"),
        (mirrors.redirecting_for_ever, "302"),
        (mirrors.lacking, "404"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_reason_is_told(manner, said):
    with (
        mirrors.serving({"file": CONTENT}, manner) as source,
        pytest.raises(DownloadError, match=said),
    ):
        download(source.address + "file", limit=len(CONTENT))


def test_connection_lasts_longer_than_the_patience_of_whoever_can_say_how_much_came(monkeypatch):
    waits = []

    def refused(_request, timeout):
        waits.append(timeout)
        raise ConnectionError("refused")

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    with pytest.raises(DownloadError, match="refused"):
        download("http://127.0.0.1/file", limit=1)
    assert waits[0] > fetch.PATIENCE


def test_file_may_not_be_a_byte_longer_than_expected():
    with (
        mirrors.serving({"file": CONTENT}) as source,
        pytest.raises(DownloadError, match="longer than the 2,047 bytes"),
    ):
        download(source.address + "file", limit=len(CONTENT) - 1)


@pytest.mark.usefixtures("impatience")
def test_source_that_keeps_the_pace_is_waited_for(monkeypatch):
    monkeypatch.setattr(fetch, "PACE", 1)
    with mirrors.serving({"file": CONTENT[:40]}, mirrors.dripping) as source:
        assert download(source.address + "file", limit=40) == CONTENT[:40]


@pytest.mark.usefixtures("impatience")
def test_source_that_was_fast_and_drips_then_is_given_up(monkeypatch):
    monkeypatch.setattr(fetch, "PACE", 500)
    monkeypatch.setattr(fetch, "DEADLINE", 3.0)
    with (
        mirrors.serving({"file": CONTENT}, mirrors.dripping_at_last) as source,
        pytest.raises(DownloadError, match=r"only 1,0\d\d bytes came in 0\.\d s"),
    ):
        download(source.address + "file", limit=len(CONTENT))


@pytest.mark.usefixtures("impatience")
def test_source_that_keeps_the_pace_for_ever_is_given_up_at_the_deadline(monkeypatch):
    monkeypatch.setattr(fetch, "PACE", 1)
    monkeypatch.setattr(fetch, "DEADLINE", 0.45)
    with (
        mirrors.serving({"file": CONTENT}, mirrors.dripping) as source,
        pytest.raises(DownloadError, match=r"bytes came in 0\.[4-9] s"),
    ):
        download(source.address + "file", limit=len(CONTENT))


@pytest.mark.usefixtures("impatience")
def test_name_resolution_that_hangs_is_given_up(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: over.wait(30))
    with pytest.raises(DownloadError, match="only 0 bytes"):
        download("http://nowhere/file", limit=1)
    over.set()


def test_largest_archive_of_mnist_comes_at_the_pace_within_the_deadline():
    assert fetch.DEADLINE / fetch.PATIENCE * fetch.PACE > 9_912_422
    assert fetch.PATIENCE <= 15
