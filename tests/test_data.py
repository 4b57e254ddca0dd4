from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import logging
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision

from bn_tutorial import data
from bn_tutorial.data import Dataset, FetchError, Split, choose, load

TRAIN_COUNT, TEST_COUNT = 20, 10  # images in the stand-in for MNIST


# ---------------------------------------------------------------------------------------------
# A stand-in for MNIST: four tiny idx files, whose sizes and MD5 sums the module is told to expect
# ---------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def tiny_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    counts = {"train": TRAIN_COUNT, "t10k": TEST_COUNT}
    files = {}
    for part, count in counts.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx(labels)
    return files


FILES = tiny_files()


def write_files(root: Path) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / name).write_bytes(content)
    return raw


def forget() -> None:
    for decided in (data._load, data._mnist_root, data._mnist_else_digits):
        decided.cache_clear()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache folder, no network, no settings, and nothing decided yet."""
    sums = {name: (len(file), hashlib.md5(file).hexdigest()) for name, file in FILES.items()}
    monkeypatch.setattr(data, "_MNIST_FILES", sums)
    for variable in ("BN_TUTORIAL_DATA", "BN_TUTORIAL_DATASET"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    forget()
    yield folder
    forget()


def no_network(*_args, **_kwargs):
    raise OSError("no network in tests")


@pytest.fixture
def given(monkeypatch, tmp_path):
    """A folder with the stand-in, and BN_TUTORIAL_DATA set to it."""
    root = tmp_path / "given"
    write_files(root)
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(root))
    return root


@pytest.fixture
def downloads(monkeypatch):
    """A downloader that needs no network; the list counts its calls."""
    calls = []

    def download(root, mirrors):
        calls.append(mirrors)
        raw = write_files(root)
        (raw / "train-images-idx3-ubyte.gz").write_bytes(b"what torchvision leaves beside it")

    monkeypatch.setattr(data, "_answering_mirrors", lambda: ["mirror"])
    monkeypatch.setattr(data, "_download", download)
    return calls


def warnings_of(caplog) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)


# ---------------------------------------------------------------------------------------------
# Split and Dataset
# ---------------------------------------------------------------------------------------------


def random_split(count: int, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % 10)


def random_dataset(train: Split, test: Split) -> Dataset:
    return Dataset("random", "random", "none", "none", "0", train, test)


def test_a_split_of_float_images_is_a_type_error():
    with pytest.raises(TypeError, match=r"torch\.float32, expected torch\.uint8"):
        Split(torch.zeros(2, 28, 28), torch.tensor([3, 1]))


def test_a_split_of_int32_labels_is_a_type_error():
    labels = torch.zeros(2, dtype=torch.int32)
    with pytest.raises(TypeError, match=r"torch\.int32, expected torch\.int64"):
        Split(torch.zeros(2, 28, 28, dtype=torch.uint8), labels)


@pytest.mark.parametrize("shape", [(2, 784), (2, 1, 28, 28), (2, 8, 8)])
def test_a_split_of_another_image_shape_is_a_value_error(shape):
    with pytest.raises(ValueError, match=r"expected \(N, 28, 28\)"):
        Split(torch.zeros(shape, dtype=torch.uint8), torch.tensor([3, 1]))


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()])
def test_a_split_with_another_number_of_labels_is_a_value_error(shape):
    with pytest.raises(ValueError, match="one label for each image"):
        Split(torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(shape, dtype=torch.int64))


def test_standardized_training_images_have_mean_zero_and_variance_one():
    dataset = random_dataset(random_split(50), random_split(5, seed=1))
    standardized = dataset.standardize(dataset.train.images)
    assert standardized.shape == (50, 784)
    assert standardized.dtype == torch.float32
    assert standardized.double().mean().item() == pytest.approx(0, abs=1e-6)
    assert standardized.double().var(unbiased=False).item() == pytest.approx(1, abs=1e-6)


def test_test_images_are_standardized_with_the_moments_of_the_training_set():
    train, test = random_split(50), random_split(5, seed=1)
    test = Split(test.images // 4, test.labels)
    dataset = random_dataset(train, test)
    reference = train.images.double() / 255
    expected = (test.images.double() / 255 - reference.mean()) / reference.std(unbiased=False)
    actual = dataset.standardize(test.images).double()
    torch.testing.assert_close(actual, expected.view(5, 784), atol=1e-6, rtol=1e-6)
    assert dataset.mean == pytest.approx(reference.mean().item(), abs=1e-12)
    assert dataset.std == pytest.approx(reference.std(unbiased=False).item(), abs=1e-12)


def test_standardizing_leaves_the_images_as_they_were():
    dataset = random_dataset(random_split(10), random_split(5, seed=1))
    before = dataset.train.images.clone()
    dataset.standardize(dataset.train.images)
    assert torch.equal(dataset.train.images, before)


def test_no_images_standardize_to_no_rows():
    dataset = random_dataset(random_split(10), random_split(5))
    assert dataset.standardize(dataset.train.images[:0]).shape == (0, 784)


def test_standardizing_float_images_is_a_type_error():
    dataset = random_dataset(random_split(10), random_split(5))
    with pytest.raises(TypeError, match=r"expected torch\.uint8"):
        dataset.standardize(dataset.train.images.float())


def test_standardizing_by_a_constant_training_set_is_a_value_error():
    constant = Split(torch.full((3, 28, 28), 7, dtype=torch.uint8), torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"standard deviation 0\.0"):
        random_dataset(constant, constant).standardize(constant.images)


# ---------------------------------------------------------------------------------------------
# MNIST that is there
# ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("given")
def test_mnist_is_read_from_the_given_folder_with_its_shapes_and_labels():
    dataset = load()
    assert (dataset.name, dataset.title) == ("mnist", "MNIST")
    assert dataset.train.images.shape == (TRAIN_COUNT, 28, 28)
    assert dataset.test.images.shape == (TEST_COUNT, 28, 28)
    images = np.frombuffer(FILES["train-images-idx3-ubyte"], dtype=np.uint8, offset=16)
    labels = np.frombuffer(FILES["t10k-labels-idx1-ubyte"], dtype=np.uint8, offset=8)
    assert dataset.train.images.flatten().tolist() == images.tolist()
    assert dataset.test.labels.tolist() == labels.tolist()


@pytest.mark.usefixtures("given")
def test_the_given_folder_suffices_and_no_cache_folder_is_made(cache):
    assert choose() == "mnist"
    load()
    assert not cache.exists()


@pytest.mark.usefixtures("given")
def test_choosing_loads_no_images(monkeypatch):
    monkeypatch.setattr(data, "_load_mnist", lambda _: pytest.fail("images were loaded"))
    assert choose() == "mnist"


@pytest.mark.usefixtures("given")
def test_a_process_loads_a_data_set_once():
    assert load() is load("mnist")


@pytest.mark.usefixtures("given")
def test_a_process_verifies_the_files_once(monkeypatch):
    assert choose() == "mnist"
    monkeypatch.setattr(data, "_damage", lambda _: pytest.fail("verified again"))
    load()


def test_a_change_of_the_environment_is_noticed(given, monkeypatch, tmp_path):
    first = load()
    other = tmp_path / "other"
    given.rename(other)
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(other))
    assert load() is not first


def test_a_relative_folder_is_taken_from_the_working_directory(given, monkeypatch):
    monkeypatch.chdir(given.parent)
    monkeypatch.setenv("BN_TUTORIAL_DATA", given.name)
    assert load().name == "mnist"


def test_mnist_in_the_cache_folder_is_found_without_network(cache):
    write_files(cache / "mnist")
    assert choose() == "mnist"


def test_the_digest_tells_one_content_from_another(given, monkeypatch):
    first = load().digest
    assert len(bytes.fromhex(first)) == 32
    labels = given / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(FILES[labels.name][:-1] + b"\xff")
    md5 = hashlib.md5(labels.read_bytes()).hexdigest()
    sums = data._MNIST_FILES | {labels.name: (len(FILES[labels.name]), md5)}
    monkeypatch.setattr(data, "_MNIST_FILES", sums)
    forget()
    assert load().digest != first


@pytest.mark.usefixtures("given")
def test_the_licence_and_the_authors_of_mnist_travel_with_it():
    dataset = load()
    assert dataset.licence == "CC BY-SA 3.0"
    assert "LeCun" in dataset.source
    assert "Cortes" in dataset.source


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


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
    ],
)


@pytest.mark.usefixtures("downloads")
@DAMAGES
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ask", [choose, load])
def test_a_damaged_file_in_the_given_folder_is_an_error_that_names_it(
    given, name, damage, said, ask
):
    path = given / "MNIST" / "raw" / name
    damage(path)
    with pytest.raises(ValueError, match=said) as error:
        ask()
    assert str(path) in str(error.value)
    assert "unset BN_TUTORIAL_DATA" in str(error.value)


@pytest.mark.usefixtures("downloads")
@DAMAGES
def test_a_damaged_file_in_the_cache_folder_is_an_error_that_says_what_to_delete(
    cache, damage, said
):
    path = write_files(cache / "mnist") / "t10k-images-idx3-ubyte"
    damage(path)
    with pytest.raises(ValueError, match=said) as error:
        choose()
    assert str(path) in str(error.value)
    assert f"Delete the folder {cache / 'mnist'}" in str(error.value)


def test_a_given_folder_without_mnist_is_named_in_a_warning_and_passed_over(
    cache, monkeypatch, tmp_path, caplog
):
    write_files(cache / "mnist")
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(tmp_path / "nothing"))
    assert choose() == "mnist"
    assert str(tmp_path / "nothing") in warnings_of(caplog)


# ---------------------------------------------------------------------------------------------
# MNIST that must be fetched
# ---------------------------------------------------------------------------------------------


def test_mnist_is_fetched_once_and_then_found(cache, downloads):
    assert choose() == "mnist"
    forget()
    assert load().train.images.shape == (TRAIN_COUNT, 28, 28)
    assert downloads == [["mirror"]]
    raw = cache / "mnist" / "MNIST" / "raw"
    assert {path.name for path in raw.iterdir()} == set(FILES)  # the archives are gone
    assert not (cache / "mnist.partial").exists()


def test_a_killed_download_leaves_nothing(cache, downloads, monkeypatch):
    def killed(root, _mirrors):
        (write_files(root) / "t10k-labels-idx1-ubyte").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data, "_download", killed)
        with pytest.raises(KeyboardInterrupt):
            choose()
    assert not (cache / "mnist").exists()
    assert not (cache / "mnist.partial").exists()
    assert choose() == "mnist"
    assert len(downloads) == 1


def test_what_a_power_cut_left_is_not_taken_for_data(cache, downloads):
    (write_files(cache / "mnist.partial") / "t10k-labels-idx1-ubyte").unlink()
    assert choose() == "mnist"
    assert len(downloads) == 1


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_download_is_not_kept(cache, downloads, monkeypatch, damage):
    def half(root, _mirrors):
        damage(write_files(root) / "t10k-labels-idx1-ubyte")

    monkeypatch.setattr(data, "_download", half)
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "mnist")
    with pytest.raises(FetchError, match="t10k-labels-idx1-ubyte"):
        choose()
    assert not (cache / "mnist").exists()
    assert not downloads


def test_two_builds_at_once_fetch_once(downloads, monkeypatch):
    quick = data._download

    def slow(root, mirrors):
        quick(root, mirrors)
        time.sleep(0.3)

    monkeypatch.setattr(data, "_download", slow)
    chosen: list[str] = []
    threads = [threading.Thread(target=lambda: chosen.append(choose())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chosen == ["mnist", "mnist"]
    assert len(downloads) == 1


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A mirror on this very machine, and torchvision told of it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, content in FILES.items():
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
        monkeypatch.setattr(data, "_MIRRORS", ("http://127.0.0.1:1/", address))
        monkeypatch.setattr("urllib.request.urlopen", URLOPEN)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


URLOPEN = data.urllib.request.urlopen


@pytest.mark.usefixtures("mirror")
def test_torchvision_downloads_from_the_mirror_that_answers_and_shows_its_progress(capsys):
    assert load().train.images.shape == (TRAIN_COUNT, 28, 28)
    assert "100%" in capsys.readouterr().err


@pytest.mark.usefixtures("mirror")
def test_the_mirror_that_answers_is_tried_first_and_the_others_after_it():
    silent, answering = data._MIRRORS
    assert data._answering_mirrors() == [answering, silent]


def test_an_altered_archive_on_the_mirror_is_refused(cache, mirror, caplog):
    alter(mirror / "train-images-idx3-ubyte.gz")
    assert choose() == "digits"
    assert "could not be downloaded" in warnings_of(caplog)
    assert not (cache / "mnist").exists()
    assert not (cache / "mnist.partial").exists()


def test_a_login_page_is_not_taken_for_a_mirror(mirror, caplog):
    (mirror / "t10k-labels-idx1-ubyte.gz").write_text("<html>Please log in</html>")
    assert choose() == "digits"
    assert "the answer is no gzip file" in warnings_of(caplog)


def test_the_mirrors_are_those_of_torchvision():
    assert list(data._MIRRORS) == torchvision.datasets.MNIST.mirrors


# ---------------------------------------------------------------------------------------------
# MNIST that cannot be had
# ---------------------------------------------------------------------------------------------


def test_without_network_the_digits_are_chosen_and_the_log_says_how_to_get_mnist(caplog):
    assert choose() == "digits"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "bn_tutorial.data"
    assert "EMBEDDED DIGITS" in record.getMessage()
    assert "no network in tests" in record.getMessage()
    assert "BN_TUTORIAL_DATA=" in record.getMessage()


def test_a_name_resolution_that_hangs_is_given_up_within_the_bound(monkeypatch):
    hanging = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_kwargs: hanging.wait(30))
    monkeypatch.setattr(data, "_PATIENCE", 0.2)
    start = time.monotonic()
    assert choose() == "digits"
    assert time.monotonic() - start < 5
    hanging.set()


def test_a_process_without_network_looks_for_it_once(caplog):
    assert [choose(), choose()] == ["digits", "digits"]
    assert len(caplog.records) == 1


def test_mnist_chosen_explicitly_fails_rather_than_falling_back(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "mnist")
    for ask in (choose, load):
        with pytest.raises(FetchError, match="BN_TUTORIAL_DATASET=digits"):
            ask()
    with pytest.raises(FetchError):
        load("mnist")


@pytest.mark.usefixtures("given")
def test_digits_chosen_explicitly_win_over_mnist_that_is_there(monkeypatch, caplog):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "digits")
    assert choose() == "digits"
    assert not caplog.records


@pytest.mark.usefixtures("given")
def test_another_choice_is_a_value_error_that_names_the_choices(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "MNIST")
    for ask in (choose, load):
        with pytest.raises(ValueError, match=r"'MNIST', expected one of \('mnist', 'digits'\)"):
            ask()
    with pytest.raises(ValueError, match=r"'cifar', expected one of \('mnist', 'digits'\)"):
        load("cifar")


# ---------------------------------------------------------------------------------------------
# The embedded digits
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """All 70,000 images, drawn once for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BN_TUTORIAL_CACHE", str(tmp_path_factory.mktemp("digits")))
        return load("digits")


def test_the_digits_have_the_shapes_and_types_of_mnist(digits):
    for split, count in ((digits.train, 60_000), (digits.test, 10_000)):
        assert split.images.shape == (count, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (count,)
        assert split.labels.dtype == torch.int64


def test_every_digit_is_about_a_tenth_of_the_digits(digits):
    for split in (digits.train, digits.test):
        shares = torch.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.min() > 0.09
        assert shares.max() < 0.11


def test_the_digits_are_white_on_black_like_mnist(digits):
    assert (digits.mean, digits.std) == pytest.approx((0.1307, 0.3081), abs=0.03)
    images = digits.train.images[:2000]
    assert (images[:, [0, -1]] == 0).float().mean() > 0.99  # a black frame
    assert (images.flatten(1).amax(dim=1) == 255).all()  # full white in every one


def test_the_whole_standardized_training_set_has_mean_zero_and_variance_one(digits):
    standardized = digits.standardize(digits.train.images)
    variance, mean = torch.var_mean(standardized, correction=0)
    assert mean.item() == pytest.approx(0, abs=1e-4)
    assert variance.item() == pytest.approx(1, abs=1e-4)


def test_the_licence_and_the_authors_of_the_digits_travel_with_them(digits):
    assert (digits.name, digits.title) == ("digits", "embedded digits")
    assert digits.licence == "CC BY 4.0"
    assert "E. Alpaydin and C. Kaynak" in digits.source


def test_training_and_test_images_are_drawn_from_different_originals(monkeypatch):
    labels = sklearn.datasets.load_digits().target
    numbered = np.repeat(np.arange(len(labels), dtype=np.float64)[:, None], 64, axis=1)
    drawn_from = []

    def remember(originals, its_labels, _count, _generator):
        numbers = (originals[:, 0, 0] * 16).round().long().numpy()
        assert its_labels.tolist() == labels[numbers].tolist()
        drawn_from.append(numbers)

    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: (numbered, labels))
    monkeypatch.setattr(data, "_enlarge", remember)
    data._draw_digits(10, 10)
    train, test = drawn_from
    assert (len(train), len(test)) == (1437, 360)
    assert np.union1d(train, test).tolist() == list(range(1797))
    for digit in range(10):  # in the same proportions
        assert (labels[test] == digit).mean() == pytest.approx((labels == digit).mean(), abs=0.002)


def test_no_test_image_stems_from_a_training_original(monkeypatch):
    separated = []
    enlarge = data._enlarge

    def blacken_the_training_originals(originals, *rest):
        separated.append(originals)
        return enlarge(originals * (len(separated) > 1), *rest)

    _, expected = data._draw_digits(300, 200)
    monkeypatch.setattr(data, "_enlarge", blacken_the_training_originals)
    train, test = data._draw_digits(300, 200)
    assert not train.images.any()
    assert torch.equal(test.images, expected.images)
    # Nor is there an original twice in what scikit-learn ships.
    assert len(torch.cat(separated).unique(dim=0)) == 1797


def test_every_original_is_drawn_equally_often():
    originals = (torch.arange(7) / 8)[:, None, None].expand(7, 8, 8)
    split = data._enlarge(originals, torch.arange(7), 700, torch.Generator().manual_seed(0))
    assert torch.bincount(split.labels).tolist() == [100] * 7


def test_an_image_is_distorted_within_its_bounds():
    maps = data._random_maps(10_000, torch.Generator().manual_seed(0))
    linear = maps[:, :, :2] / (28 / 20)  # rotation times shear over scale
    # A shear has the determinant one and leaves the first column to the rotation.
    scale = 1 / torch.linalg.det(linear).sqrt()
    assert scale.min() == pytest.approx(0.9, abs=0.001)
    assert scale.max() == pytest.approx(1.1, abs=0.001)
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0])).abs()
    assert angle.max() == pytest.approx(15, abs=0.01)
    shift = torch.linalg.solve(maps[:, :, :2], -maps[:, :, 2]).abs() * 14
    assert shift.max() == pytest.approx(2, abs=0.01)


def test_an_undistorted_original_keeps_its_place_and_orientation(monkeypatch):
    identity = torch.tensor([[1.4, 0.0, 0.0], [0.0, 1.4, 0.0]])
    monkeypatch.setattr(data, "_random_maps", lambda count, _: identity.expand(count, 2, 3))
    original = torch.zeros(1, 8, 8)
    original[0, 1, 5:7] = 1  # upper right
    (image,) = data._enlarge(original, torch.tensor([1]), 1, torch.Generator()).images
    rows, columns = (image > 127).nonzero(as_tuple=True)
    assert rows.double().mean() == pytest.approx(4 + 1.5 * 2.5 - 0.5, abs=0.3)
    assert columns.double().mean() == pytest.approx(4 + 6 * 2.5 - 0.5, abs=0.3)


def test_drawing_again_gives_the_same_images_and_leaves_the_global_generators_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (data._draw_digits(300, 200) for _ in range(2))
    assert data._digest(*first) == data._digest(*second)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002


# ---------------------------------------------------------------------------------------------
# The digits, remembered
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def draws(monkeypatch):
    """Make drawing instantaneous; the list counts how often it happened."""
    calls = []

    def draw(*counts):
        calls.append(counts)
        return random_split(30), random_split(20, seed=1)

    monkeypatch.setattr(data, "_draw_digits", draw)
    return calls


def test_digits_are_drawn_once_and_then_read(cache, draws):
    first, second = data._load_digits(), data._load_digits()
    assert draws == [(60_000, 10_000)]
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.labels, second.test.labels)
    assert first.digest == second.digest == data._digest(second.train, second.test)
    assert [path.name for path in cache.glob("digits*") if path.suffix != ".lock"] == ["digits.npz"]


def test_every_tensor_of_the_digits_counts_in_their_digest():
    splits = [random_split(3), random_split(2, seed=1)]
    tensors = [tensor for split in splits for tensor in (split.images, split.labels)]
    digests = {data._digest(*splits)}
    for tensor in tensors:
        tensor.view(-1)[-1] += 1
        digests.add(data._digest(*splits))
    assert len(digests) == 1 + len(tensors)


def flip_a_bit_of_an_image(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchange_an_array(path: Path) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["labels"] = arrays["labels"][::-1]
    np.savez(path, **arrays)


def drop_an_array(path: Path) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    del arrays["labels"]
    np.savez(path, **arrays)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def store_a_lone_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit_of_an_image,
        exchange_an_array,
        drop_an_array,
        halve,
        empty,
        store_a_lone_array,
    ],
)
def test_a_damaged_file_of_digits_is_said_to_be_so_and_drawn_anew(cache, draws, damage, caplog):
    first = data._load_digits()
    damage(cache / "digits.npz")
    second = data._load_digits()
    assert len(draws) == 2
    assert second.digest == first.digest
    assert "digits.npz is damaged" in warnings_of(caplog)
    caplog.clear()
    data._load_digits()
    assert len(draws) == 2
    assert not caplog.records


def test_digits_of_another_recipe_are_drawn_anew(draws, monkeypatch):
    data._load_digits()
    monkeypatch.setattr(data, "_recipe", lambda *_: "another version of scikit-learn")
    data._load_digits()
    assert len(draws) == 2


def test_the_recipe_depends_on_the_counts():
    assert data._recipe(3, 2) != data._recipe(2, 3)


def test_a_killed_writing_leaves_no_file_of_digits(cache, draws, monkeypatch):
    def killed(file, **_arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", killed)
        with pytest.raises(KeyboardInterrupt):
            data._load_digits()
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    data._load_digits()
    assert len(draws) == 2


def test_two_builds_at_once_draw_the_digits_once(draws, monkeypatch):
    quick = data._draw_digits

    def slow(*counts):
        time.sleep(0.3)
        return quick(*counts)

    monkeypatch.setattr(data, "_draw_digits", slow)
    loaded: list[Dataset] = []
    threads = [
        threading.Thread(target=lambda: loaded.append(data._load_digits())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(draws) == 1
    assert loaded[0].digest == loaded[1].digest
