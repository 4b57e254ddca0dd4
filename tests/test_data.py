from __future__ import annotations

import logging

import pytest
import torch

from bn_tutorial import data, digits, mnist
from bn_tutorial.data import Dataset, Split, choose, load
from bn_tutorial.mnist import FetchError

pytestmark = pytest.mark.usefixtures("tiny_files")


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


def test_held_out_images_are_the_last_of_the_training_set_and_no_longer_in_it():
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    dataset = whole.hold_out(20)
    assert torch.equal(dataset.train.images, whole.train.images[:30])
    assert torch.equal(dataset.validation.images, whole.train.images[30:])
    assert torch.equal(dataset.validation.labels, whole.train.labels[30:])
    assert dataset.test is whole.test
    reference = dataset.train.images.double() / 255
    assert dataset.mean == pytest.approx(reference.mean().item(), abs=1e-12)
    with pytest.raises(ValueError, match="has a validation set already"):
        dataset.hold_out(10)


def test_first_images_are_kept():
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    dataset = whole.first(20)
    assert torch.equal(dataset.train.images, whole.train.images[:20])
    assert torch.equal(dataset.train.labels, whole.train.labels[:20])
    assert len(dataset.train) == 20


def test_binary_images_become_zeros_and_ones_from_half_of_full_ink_on():
    whole = random_dataset(random_split(50), random_split(5, seed=1)).hold_out(10)
    dataset = whole.binary()
    for split, grey in zip(
        (dataset.train, dataset.validation, dataset.test),
        (whole.train, whole.validation, whole.test),
        strict=True,
    ):
        expected = (grey.images.flatten(1) / 255 > 0.5).float()
        assert torch.equal(dataset.standardize(split.images), expected)
        assert torch.equal(split.labels, grey.labels)


def test_derived_data_sets_have_digests_of_their_own():
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    derived = (whole, whole.hold_out(5), whole.hold_out(6), whole.first(5), whole.binary())
    assert len({dataset.digest for dataset in derived}) == len(derived)


@pytest.mark.parametrize("count", [0, -1, 50])
def test_part_that_is_none_or_all_is_a_value_error(count):
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    for method in (whole.hold_out, whole.first):
        with pytest.raises(ValueError, match=f"count is {count}, expected a number from 1 to 49"):
            method(count)


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
# Which data set
# ---------------------------------------------------------------------------------------------


def forget():
    data._load.cache_clear()
    data._mnist_else_digits.cache_clear()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache folder, no settings, and nothing decided yet."""
    for variable in ("BN_TUTORIAL_DATA", "BN_TUTORIAL_DATASET"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    forget()
    yield folder
    forget()


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
    assert choose() == "mnist"
    load()
    assert not cache.exists()


def test_mnist_in_the_cache_folder_is_found_without_network(cache, write_mnist):
    write_mnist(cache / "mnist")
    assert choose() == "mnist"


@pytest.mark.usefixtures("here")
def test_choosing_loads_no_images(monkeypatch):
    monkeypatch.setattr(mnist, "read", lambda _: pytest.fail("images were loaded"))
    assert choose() == "mnist"


@pytest.mark.usefixtures("here")
def test_a_process_loads_a_data_set_once():
    assert load() is load("mnist")


@pytest.mark.usefixtures("here")
def test_a_process_verifies_the_files_once(monkeypatch):
    assert choose() == "mnist"
    monkeypatch.setattr(mnist, "_damage", lambda _: pytest.fail("verified again"))
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


@pytest.mark.parametrize("ask", [choose, load])
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


def test_without_network_the_digits_are_chosen_and_the_log_says_how_to_get_mnist(caplog):
    assert choose() == "digits"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "bn_tutorial.data"
    assert "EMBEDDED DIGITS" in record.getMessage()
    assert "no network in tests" in record.getMessage()
    assert "BN_TUTORIAL_DATA=" in record.getMessage()


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


@pytest.mark.usefixtures("here")
def test_digits_chosen_explicitly_win_over_mnist_that_is_there(monkeypatch, caplog):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "digits")
    assert choose() == "digits"
    assert not caplog.records


@pytest.mark.usefixtures("here")
def test_another_choice_is_a_value_error_that_names_the_choices(monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DATASET", "MNIST")
    for ask in (choose, load):
        with pytest.raises(ValueError, match=r"'MNIST', expected one of \('mnist', 'digits'\)"):
            ask()
    with pytest.raises(ValueError, match=r"'cifar', expected one of \('mnist', 'digits'\)"):
        load("cifar")


def test_the_licence_and_the_authors_of_the_digits_travel_with_them(monkeypatch):
    parts = [(split.images, split.labels) for split in (random_split(30), random_split(20))]
    monkeypatch.setattr(digits, "draw", lambda *_: parts)
    dataset = load("digits")
    assert (dataset.name, dataset.title) == ("digits", "embedded digits")
    assert dataset.licence == "CC BY 4.0"
    assert "E. Alpaydin and C. Kaynak" in dataset.source
    assert dataset.digest == digits._digest(*parts)
    assert torch.equal(dataset.train.images, parts[0][0])
    assert torch.equal(dataset.test.labels, parts[1][1])
