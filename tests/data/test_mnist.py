from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import threading
import time
import urllib.request
from pathlib import Path

import mirrors
import numpy as np
import pytest
import torchvision

from bn_tutorial import fetch
from bn_tutorial.data import mnist
from bn_tutorial.data.mnist import FetchError, ensure, read

FILES = mnist.FILES  # before the stand-in takes their place
NAMES = tuple(FILES)
URLOPEN = urllib.request.urlopen  # before the fixtures take it away


pytestmark = pytest.mark.usefixtures("tiny_files")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def raw(cache):
    """Where the files lie in the cache folder."""
    return cache / "mnist" / "MNIST" / "raw"


@pytest.fixture
def archives(tiny_files):
    return {f"{name}.gz": gzip.compress(content) for name, content in tiny_files.items()}


@pytest.fixture
def served(archives, monkeypatch):
    """A function that lets mirrors on this machine serve the archives, each in its manner."""
    with contextlib.ExitStack() as stack:

        def serve(*manners):
            monkeypatch.setattr("urllib.request.urlopen", URLOPEN)
            sources = [stack.enter_context(mirrors.serving(archives, each)) for each in manners]
            monkeypatch.setattr(mnist, "MIRRORS", tuple(source.address for source in sources))
            return sources

        yield serve


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
    sizes = [file.size for file in FILES.values()]
    assert sizes == [16 + 60_000 * 28**2, 8 + 60_000, 16 + 10_000 * 28**2, 8 + 10_000]


def test_the_digest_by_which_finished_runs_know_mnist_stays():
    sums = "".join(file.md5 for file in FILES.values())
    assert (
        hashlib.sha256(sums.encode()).hexdigest()
        == "689ff270f6b2962d3cf79b6070b952d5d4200518f95a60bdf4f60708606f5f14"
    )


def test_the_digest_tells_one_content_from_another(given, monkeypatch):
    raw = given / "MNIST" / "raw"
    *_, first = read(raw)
    assert len(bytes.fromhex(first)) == 32
    labels = mnist.FILES["t10k-labels-idx1-ubyte"]
    monkeypatch.setitem(mnist.FILES, "t10k-labels-idx1-ubyte", labels._replace(md5="another"))
    *_, second = read(raw)
    assert second != first


@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_the_given_folder_may_be_any_of_torchvisions(given, cache, below):
    assert ensure(given / below, cache) == given / "MNIST" / "raw"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def leave_compressed(path: Path) -> None:
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


DAMAGES = pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "bytes, expected"),
        (alter, "its SHA-256 is"),
        (Path.unlink, "is missing"),
        (leave_compressed, "decompress that"),
        (make_a_folder, r"cannot be read \(Is a directory\)"),
        (make_a_loop, r"cannot be read \(Too many levels of symbolic links\)"),
    ],
)


@DAMAGES
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_in_the_given_folder_is_an_error_that_names_it(
    given, cache, served, name, damage, said
):
    (source,) = served(mirrors.sound)
    path = given / "MNIST" / "raw" / name
    damage(path)
    with pytest.raises(ValueError, match=said) as error:
        ensure(given, cache)
    assert str(path) in str(error.value)
    assert "unset BN_TUTORIAL_DATA" in str(error.value)
    assert not source.asked


def is_absent(folder: Path) -> None:
    """Leave nothing there."""


def is_a_file(folder: Path) -> None:
    folder.write_text("")


def is_a_loop(folder: Path) -> None:
    folder.symlink_to(folder)


def holds_something_else(folder: Path) -> None:
    (folder / "MNIST" / "processed").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (is_absent, "which does not exist"),
        (is_a_file, "which is no folder"),
        (is_a_loop, "which cannot be read .*Too many levels of symbolic links"),
        (Path.mkdir, "holds none of MNIST's files"),
        (holds_something_else, "holds none of MNIST's files"),
    ],
)
def test_a_given_folder_without_mnist_is_an_error_even_if_mnist_is_elsewhere(
    cache, write_mnist, served, tmp_path, make, said
):
    write_mnist(cache / "mnist")
    (source,) = served(mirrors.sound)
    make(tmp_path / "given")
    with pytest.raises(ValueError, match=said) as error:
        ensure(tmp_path / "given", cache)
    assert f"BN_TUTORIAL_DATA is {tmp_path / 'given'}, " in str(error.value)
    assert "unset it" in str(error.value)
    assert "\n" not in str(error.value)
    assert not source.asked


def test_a_given_folder_that_may_not_be_read_is_an_error_that_names_it(given, cache, monkeypatch):
    def refuse(folder):
        # Not by taking the right away: root, as which tests may run, has it all the same.
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ValueError, match=r"cannot be read \(.*Permission denied\)"):
        ensure(given, cache)


# ---------------------------------------------------------------------------------------------
# MNIST that must be fetched
# ---------------------------------------------------------------------------------------------


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_mnist_is_fetched_once_and_then_found(cache, raw, served, tiny_files):
    (source,) = served(mirrors.sound)
    for _ in range(2):
        ensure.cache_clear()
        assert ensure(None, cache) == raw
    assert len(source.asked) == len(FILES)
    assert names(raw) == set(tiny_files)
    (images, _), *_ = read(raw)
    assert images.shape == (20, 28, 28)


def test_progress_of_a_download_is_shown(cache, served, capsys):
    served(mirrors.sound)
    ensure(None, cache)
    shown = capsys.readouterr().err
    assert shown.count("100%") >= len(FILES)
    assert "train-images-idx3-ubyte.gz" in shown


@DAMAGES
def test_a_damaged_file_in_the_cache_folder_is_downloaded_again_and_said_once(
    cache, raw, write_mnist, served, warnings_of, tiny_files, damage, said
):
    write_mnist(cache / "mnist")
    (source,) = served(mirrors.sound)
    path = raw / "t10k-images-idx3-ubyte"
    damage(path)
    if damage is make_a_folder:
        with pytest.raises(OSError, match=f"{path} is a folder, where a file should be: delete it"):
            ensure(None, cache)
        return
    for _ in range(2):
        ensure.cache_clear()
        ensure(None, cache)
    assert path.read_bytes() == tiny_files[path.name]
    assert source.asked == [f"/{path.name}.gz"]
    if "missing" in said or "decompress" in said:
        assert not warnings_of()
    else:
        (warning,) = warnings_of().splitlines()
        assert re.search(rf"{path} .*{said}.*\. It is downloaded again", warning)


def test_a_damaged_file_that_cannot_be_downloaded_again_is_not_used(cache, write_mnist):
    write_mnist(cache / "mnist")
    truncate(cache / "mnist" / "MNIST" / "raw" / "t10k-images-idx3-ubyte")
    with pytest.raises(FetchError, match="no network in tests"):
        ensure(None, cache)


@pytest.mark.parametrize(
    "manner", [*mirrors.BROKEN, *mirrors.LYING], ids=lambda manner: manner.__name__
)
def test_the_intact_mirror_is_tried_when_another_fails(
    cache, raw, served, monkeypatch, manner, tiny_files
):
    monkeypatch.setattr(fetch, "PATIENCE", 1.5)  # a busy machine keeps the intact one waiting
    bad, good = served(manner, mirrors.sound)
    ensure(None, cache)
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == tiny_files
    # The one that failed is not asked again while the other serves.
    assert {path.strip("/x") for path in bad.asked} == {NAMES[0] + ".gz"}
    assert len(good.asked) == len(FILES)


@pytest.mark.parametrize(
    "manner", [*mirrors.BROKEN, *mirrors.LYING], ids=lambda manner: manner.__name__
)
def test_mirrors_that_all_fail_are_named_in_one_sentence_each(
    cache, raw, served, monkeypatch, manner
):
    monkeypatch.setattr(fetch, "PATIENCE", 0.2)
    sources = served(manner, manner)
    before = time.monotonic()
    with pytest.raises(FetchError, match="cannot be downloaded") as error:
        ensure(None, cache)
    assert time.monotonic() - before < 3
    for source in sources:
        assert str(error.value).count(source.address) == 1
    assert "BN_TUTORIAL_DATA=FOLDER" in str(error.value)
    assert "\n" not in str(error.value)
    assert not names(raw)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"<html>Please log in</html>", "is no gzip file"),
        (b"", "it has 0 bytes"),
        (gzip.compress(b"another file"), "it has 12 bytes"),
        (gzip.compress(bytes(10_000_000)), "it has 7,857 bytes, expected 7,856|longer than"),
    ],
    ids=["page", "nothing", "other", "bomb"],
)
def test_what_is_not_mnist_is_refused(cache, raw, served, archives, archive, said):
    served(mirrors.sound)
    archives["t10k-images-idx3-ubyte.gz"] = archive
    with pytest.raises(FetchError, match=said):
        ensure(None, cache)
    assert names(raw) == {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}


def test_each_file_is_taken_from_a_mirror_that_has_it(cache, served):
    def has(part):
        def manner(request, content):
            answer = mirrors.sound if request.path.startswith(f"/{part}") else mirrors.lacking
            answer(request, content)

        return manner

    served(has("t10k"), has("train"))
    read(ensure(None, cache))


def test_a_killed_download_goes_on_with_what_is_missing(cache, raw, served):
    (source,) = served(mirrors.sound)
    whole, written = mnist.replace_when_complete, []

    @contextlib.contextmanager
    def interrupted(path):
        with whole(path) as partial:
            yield partial
            written.append(path.name)
            if len(written) == 3:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "replace_when_complete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure(None, cache)
    assert names(raw) == set(NAMES[:2])
    ensure(None, cache)
    assert names(raw) == set(NAMES)
    assert len(source.asked) == 5


def test_two_builds_at_once_fetch_once(cache, raw, served):
    def slow(request, content):
        request.wait(0.1)
        mirrors.sound(request, content)

    (source,) = served(slow)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ensure(None, cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [raw] * 2
    assert len(source.asked) == len(FILES)


def test_the_mirrors_are_those_of_torchvision():
    assert list(mnist.MIRRORS) == torchvision.datasets.MNIST.mirrors
