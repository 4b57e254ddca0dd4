from __future__ import annotations

import hashlib
import logging

import pytest
import torch

from bn_tutorial.data import digits, mnist
from bn_tutorial.data.loading import load, resolve
from bn_tutorial.data.mnist import FetchError

pytestmark = pytest.mark.usefixtures("tiny_files")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache folder, where nothing was decided or loaded yet, and no settings."""
    for variable in ("BN_TUTORIAL_DATA", "BN_TUTORIAL_DATASET"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    return folder


@pytest.fixture
def here(monkeypatch, given):
    """MNIST in the folder that BN_TUTORIAL_DATA names."""
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(given))
    return given


@pytest.mark.usefixtures("here")
def test_mnist_is_loaded_from_the_given_folder():
    dataset = load()
    assert (dataset.name, dataset.title) == ("mnist", "MNIST")
    assert dataset.train.images.shape == (20, 28, 28)
    assert dataset.test.images.shape == (10, 28, 28)
    assert len(bytes.fromhex(dataset.digest)) == 32


@pytest.mark.usefixtures("here")
def test_the_given_folder_suffices_and_no_cache_folder_is_made(cache):
    assert resolve() == "mnist"
    load()
    assert not cache.exists()


def test_mnist_in_the_cache_folder_is_found_without_network(cache, write_mnist):
    write_mnist(cache / "mnist")
    assert resolve() == "mnist"


@pytest.mark.usefixtures("here")
def test_choosing_loads_no_images(monkeypatch):
    monkeypatch.setattr(mnist, "read", lambda _: pytest.fail("images were loaded"))
    assert resolve() == "mnist"


@pytest.mark.usefixtures("here")
def test_a_process_loads_a_data_set_once():
    assert load() is load("mnist")


def test_a_process_verifies_the_files_once(here):
    assert resolve() == "mnist"
    labels = here / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] ^= 1
    labels.write_bytes(content)  # which would be noticed
    load()


def test_a_change_of_the_environment_is_noticed(here, monkeypatch, tmp_path):
    first = load()
    other = tmp_path / "other"
    here.rename(other)
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(other))
    assert load() is not first


def test_a_relative_folder_is_taken_from_the_working_directory(here, monkeypatch):
    monkeypatch.chdir(here.parent)
    monkeypatch.setenv("BN_TUTORIAL_DATA", here.name)
    assert load().name == "mnist"


@pytest.mark.parametrize("ask", [resolve, load])
def test_a_damaged_file_is_an_error_and_no_reason_to_take_the_digits(here, ask):
    path = here / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="bytes, expected") as error:
        ask()
    assert str(path) in str(error.value)
    assert "unset BN_TUTORIAL_DATA" in str(error.value)


@pytest.mark.usefixtures("here")
def test_the_licence_and_the_authors_of_mnist_travel_with_it():
    dataset = load()
    assert dataset.licence == "CC BY-SA 3.0"
    assert "LeCun" in dataset.source
    assert "Cortes" in dataset.source


@pytest.mark.parametrize("variable", ["BN_TUTORIAL_DATA", "BN_TUTORIAL_CACHE"])
@pytest.mark.parametrize("ask", [resolve, load])
def test_home_folder_of_nobody_is_an_error_that_names_the_variable(monkeypatch, variable, ask):
    monkeypatch.setenv(variable, "~nosuchuser/data")
    with pytest.raises(ValueError, match=rf"{variable} is '~nosuchuser/data'"):
        ask()


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_cache_folder_that_is_a_file_is_an_error_that_names_the_variable(cache, name):
    cache.write_text("")
    with pytest.raises(OSError, match=r"cache\S* is a file.*set BN_TUTORIAL_CACHE to"):
        load(name)


def test_without_network_the_digits_are_chosen_and_the_log_says_how_to_get_mnist(caplog):
    assert resolve() == "digits"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "bn_tutorial.data.loading"
    assert "EMBEDDED DIGITS" in record.getMessage()
    assert "no network in tests" in record.getMessage()
    assert "BN_TUTORIAL_DATA=" in record.getMessage()


def test_a_process_without_network_looks_for_it_once(caplog):
    assert [resolve(), resolve()] == ["digits", "digits"]
    assert len(caplog.records) == 1


def test_mnist_chosen_explicitly_fails_rather_than_falling_back(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "mnist")
    for ask in (resolve, load):
        with pytest.raises(FetchError, match="BN_TUTORIAL_DATASET=digits"):
            ask()
    with pytest.raises(FetchError):
        load("mnist")


@pytest.mark.parametrize("name", ["", "mnist"])
def test_a_given_folder_without_mnist_is_an_error_and_no_reason_to_take_the_digits(
    monkeypatch, tmp_path, name
):
    monkeypatch.setenv("BN_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.setenv("BN_TUTORIAL_DATASET", name)
    for ask in (resolve, load):
        with pytest.raises(ValueError, match=r"BN_TUTORIAL_DATA is .* holds none of MNIST's"):
            ask()


def test_a_damaged_copy_in_the_cache_is_named_where_the_digits_take_its_place(
    cache, write_mnist, warnings_of
):
    (write_mnist(cache / "mnist") / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert resolve() == "digits"
    assert "t10k-labels-idx1-ubyte is damaged" in warnings_of()
    assert "EMBEDDED DIGITS" in warnings_of()


@pytest.mark.usefixtures("here")
def test_digits_chosen_explicitly_win_over_mnist_that_is_there(monkeypatch, caplog):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "digits")
    assert resolve() == "digits"
    assert not caplog.records


@pytest.mark.usefixtures("here")
def test_another_choice_is_a_value_error_that_names_the_choices(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "MNIST")
    for ask in (resolve, load):
        with pytest.raises(ValueError, match=r"'MNIST', expected one of \('mnist', 'digits'\)"):
            ask()
    with pytest.raises(ValueError, match=r"'cifar', expected one of \('mnist', 'digits'\)"):
        load("cifar")


def test_the_licence_and_the_authors_of_the_digits_travel_with_them(monkeypatch):
    parts = [
        (torch.full((count, 28, 28), count, dtype=torch.uint8), torch.arange(count) % 10)
        for count in (30, 20)
    ]
    monkeypatch.setattr(digits, "draw", lambda *_: parts)
    dataset = load("digits")
    assert (dataset.name, dataset.title) == ("digits", "embedded digits")
    assert dataset.licence == "CC BY 4.0"
    assert "E. Alpaydin and C. Kaynak" in dataset.source
    content = b"".join(tensor.numpy().tobytes() for part in parts for tensor in part)
    assert dataset.digest == hashlib.sha256(content).hexdigest()
    assert torch.equal(dataset.train.images, parts[0][0])
    assert torch.equal(dataset.test.labels, parts[1][1])
