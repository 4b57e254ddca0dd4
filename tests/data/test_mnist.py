from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import socket
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torchvision

from bn_tutorial.data import mnist
from bn_tutorial.data.mnist import FetchError, ensure, read

FILES = mnist.FILES  # before the stand-in takes their place
NAMES = tuple(FILES)
URLOPEN = urllib.request.urlopen  # before the fixtures take it away


pytestmark = pytest.mark.usefixtures("tiny_files")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


# ---------------------------------------------------------------------------------------------
# MNIST that is there
# ---------------------------------------------------------------------------------------------


def test_mnist_is_read_with_its_shapes_and_labels(given, cache, tiny_files):
    train, test, _ = read(ensure(given, cache))
    images = np.frombuffer(tiny_files["train-images-idx3-ubyte"], dtype=np.uint8, offset=16)
    labels = np.frombuffer(tiny_files["t10k-labels-idx1-ubyte"], dtype=np.uint8, offset=8)
    assert train[0].shape == (20, 28, 28)
    assert test[0].shape == (10, 28, 28)
    assert train[0].flatten().tolist() == images.tolist()
    assert test[1].tolist() == labels.tolist()


def test_the_files_have_a_header_a_byte_for_each_pixel_and_one_for_each_label():
    sizes = [size for size, _ in FILES.values()]
    assert sizes == [16 + 60_000 * 28**2, 8 + 60_000, 16 + 10_000 * 28**2, 8 + 10_000]


def test_the_digest_tells_one_content_from_another(given, monkeypatch):
    *_, first = read(given)
    assert len(bytes.fromhex(first)) == 32
    labels = given / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    alter(labels)
    md5 = hashlib.md5(labels.read_bytes()).hexdigest()
    monkeypatch.setitem(mnist.FILES, labels.name, (labels.stat().st_size, md5))
    *_, second = read(given)
    assert second != first


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def leave_compressed(path: Path) -> None:
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


DAMAGES = pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "bytes, expected"),
        (alter, "its MD5 is"),
        (Path.unlink, "is missing"),
        (leave_compressed, "decompress that"),
        (make_a_folder, "cannot be read"),
    ],
)


@pytest.mark.usefixtures("downloads")
@DAMAGES
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_in_the_given_folder_is_an_error_that_names_it(
    given, cache, name, damage, said
):
    path = given / "MNIST" / "raw" / name
    damage(path)
    with pytest.raises(ValueError, match=said) as error:
        ensure(given, cache)
    assert str(path) in str(error.value)
    assert "unset BN_TUTORIAL_DATA" in str(error.value)


@pytest.mark.usefixtures("downloads")
@DAMAGES
def test_a_damaged_file_in_the_cache_folder_is_an_error_that_says_what_to_delete(
    cache, write_mnist, damage, said
):
    path = write_mnist(cache / "mnist") / "t10k-images-idx3-ubyte"
    damage(path)
    with pytest.raises(ValueError, match=said) as error:
        ensure(None, cache)
    assert str(path) in str(error.value)
    assert f"Delete the folder {cache / 'mnist'}" in str(error.value)


def test_a_given_folder_without_mnist_is_named_in_a_warning_and_passed_over(
    cache, write_mnist, tmp_path, warnings_of
):
    write_mnist(cache / "mnist")
    assert ensure(tmp_path / "nothing", cache) == cache / "mnist"
    assert str(tmp_path / "nothing") in warnings_of()


# ---------------------------------------------------------------------------------------------
# MNIST that must be fetched
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def torchvision_does(monkeypatch, tiny_files):  # noqa: ARG001  (which takes the network away)
    """A function that has torchvision download by another function of its data set's object."""
    # So much do mirrors that answer say when they are asked.
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(b"\x1f\x8b"))
    return functools.partial(monkeypatch.setattr, torchvision.datasets.MNIST, "download")


@pytest.fixture
def downloads(torchvision_does, write_mnist):
    """A download that needs no network; the list counts how often it happened."""
    calls = []

    def download(fetcher):
        calls.append(fetcher)
        raw = write_mnist(Path(fetcher.root))
        (raw / "train-images-idx3-ubyte.gz").write_bytes(b"what torchvision leaves beside it")

    torchvision_does(download)
    return calls


def test_mnist_is_fetched_once_and_then_found(cache, downloads, tiny_files):
    assert ensure(None, cache) == cache / "mnist"
    ensure.cache_clear()
    assert ensure(None, cache) == cache / "mnist"
    assert len(downloads) == 1
    raw = cache / "mnist" / "MNIST" / "raw"
    assert {path.name for path in raw.iterdir()} == set(tiny_files)  # the archives are gone
    assert not (cache / "mnist.partial").exists()


@pytest.mark.usefixtures("downloads")
def test_a_download_is_announced_with_its_place(cache, caplog):
    with caplog.at_level("INFO", logger="bn_tutorial.data.mnist"):
        ensure(None, cache)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("downloading MNIST")
    assert str(cache / "mnist") in said


def test_a_killed_download_leaves_nothing(cache, torchvision_does, write_mnist, tiny_files):
    def killed(fetcher):
        (write_mnist(Path(fetcher.root)) / "t10k-labels-idx1-ubyte").unlink()
        raise KeyboardInterrupt

    torchvision_does(killed)
    with pytest.raises(KeyboardInterrupt):
        ensure(None, cache)
    assert not (cache / "mnist").exists()
    assert not (cache / "mnist.partial").exists()
    torchvision_does(lambda fetcher: write_mnist(Path(fetcher.root)))
    assert ensure(None, cache) == cache / "mnist"
    assert {path.name for path in (cache / "mnist").rglob("*ubyte")} == set(tiny_files)


def test_what_a_power_cut_left_is_not_taken_for_data(cache, downloads, write_mnist):
    (write_mnist(cache / "mnist.partial") / "t10k-labels-idx1-ubyte").unlink()
    assert ensure(None, cache) == cache / "mnist"
    assert len(downloads) == 1


def test_a_kill_just_before_the_files_are_in_place_does_not_stop_the_next_download(
    cache, downloads
):
    (cache / "mnist" / "MNIST").mkdir(parents=True)
    assert ensure(None, cache) == cache / "mnist"
    assert len(downloads) == 1


def test_a_download_that_never_begins_says_why(cache, torchvision_does):
    def full(_fetcher):
        raise OSError("no space left on device")

    torchvision_does(full)
    with pytest.raises(FetchError, match=r"could not be downloaded: no space left.*FOLDER"):
        ensure(None, cache)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_download_is_not_kept(cache, torchvision_does, write_mnist, damage):
    torchvision_does(
        lambda fetcher: damage(write_mnist(Path(fetcher.root)) / "t10k-labels-idx1-ubyte")
    )
    with pytest.raises(FetchError, match=r"t10k-labels-idx1-ubyte|Dataset not found"):
        ensure(None, cache)
    assert not (cache / "mnist").exists()


def test_two_builds_at_once_fetch_once(cache, downloads, torchvision_does):
    quick = torchvision.datasets.MNIST.download

    def slow(fetcher):
        quick(fetcher)
        time.sleep(0.3)

    torchvision_does(slow)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ensure(None, cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache / "mnist"] * 2
    assert len(downloads) == 1


def test_the_mirror_that_answers_is_tried_first_and_the_others_after_it(
    cache, downloads, monkeypatch
):
    def answer(request, **_):
        if request.full_url.startswith("http://silent/"):
            raise OSError("no answer")
        return io.BytesIO(b"\x1f\x8b")

    monkeypatch.setattr(mnist, "MIRRORS", ("http://silent/", "http://answering/"))
    monkeypatch.setattr("urllib.request.urlopen", answer)
    ensure(None, cache)
    assert downloads[0].mirrors == ["http://answering/", "http://silent/"]


def test_a_download_that_stands_still_is_given_up_and_other_connections_wait_as_before(
    cache, write_mnist, torchvision_does
):
    before, bounds = socket.getdefaulttimeout(), []

    def download(fetcher):
        bounds.append(socket.getdefaulttimeout())
        write_mnist(Path(fetcher.root))

    torchvision_does(download)
    ensure(None, cache)
    assert bounds == [mnist.STALL]
    assert socket.getdefaulttimeout() == before


@pytest.fixture
def mirror(monkeypatch, tmp_path, tiny_files):
    """A mirror on this very machine, and torchvision told of it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, content in tiny_files.items():
        archive = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(archive)
        resources.append((f"{name}.gz", hashlib.md5(archive).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:1/", address))
        monkeypatch.setattr("urllib.request.urlopen", URLOPEN)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("mirror")
def test_torchvision_downloads_from_the_mirror_that_answers_and_shows_its_progress(cache, capsys):
    (images, _), *_ = read(ensure(None, cache))
    assert images.shape == (20, 28, 28)
    assert "100%" in capsys.readouterr().err


def test_an_altered_archive_on_the_mirror_is_refused(cache, mirror):
    alter(mirror / "train-images-idx3-ubyte.gz")
    with pytest.raises(FetchError, match="could not be downloaded"):
        ensure(None, cache)
    assert not (cache / "mnist").exists()
    assert not (cache / "mnist.partial").exists()


def test_a_login_page_is_not_taken_for_a_mirror(cache, mirror):
    (mirror / "t10k-labels-idx1-ubyte.gz").write_text("<html>Please log in</html>")
    with pytest.raises(FetchError, match="the answer is no gzip file"):
        ensure(None, cache)


def test_the_mirrors_are_those_of_torchvision():
    assert list(mnist.MIRRORS) == torchvision.datasets.MNIST.mirrors


def test_a_name_resolution_that_hangs_is_given_up_within_the_bound(cache, monkeypatch):
    hanging = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_kwargs: hanging.wait(30))
    monkeypatch.setattr(mnist, "PATIENCE", 0.2)
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"no answer within 0\.2 s"):
        ensure(None, cache)
    assert time.monotonic() - start < 5
    hanging.set()
