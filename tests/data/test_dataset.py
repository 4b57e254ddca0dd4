from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from bn_tutorial.data.dataset import Dataset, Split

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
    parts = [part(count) for part in (whole.hold_out, whole.first) for count in (5, 6)]
    derived = (whole, whole.binary(), *parts)
    assert len({dataset.digest for dataset in derived}) == len(derived)


@pytest.mark.parametrize("count", [0, -1, 50])
def test_part_that_is_none_or_all_is_a_value_error(count):
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    for method in (whole.hold_out, whole.first):
        with pytest.raises(ValueError, match=f"count is {count}, expected a number from 1 to 49"):
            method(count)


@pytest.mark.parametrize("count", [5.0, True, np.True_, "5", None, np.float64(5)])
def test_count_that_is_no_integer_is_a_type_error(count):
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    for method in (whole.hold_out, whole.first):
        with pytest.raises(TypeError, match=r"count is .*, expected an integer"):
            method(count)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_integer_of_numpy_or_torch_gives_the_same_data_set_as_one_of_python(kind):
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    for method in (whole.hold_out, whole.first):
        ours, theirs = method(5), method(kind(5))
        assert theirs.digest == ours.digest
        assert torch.equal(theirs.train.images, ours.train.images)


def test_smallest_and_greatest_parts_are_taken():
    whole = random_dataset(random_split(50), random_split(5, seed=1))
    for count in (1, 49):
        assert len(whole.first(count).train) == count
        assert len(whole.hold_out(count).validation) == count


def test_data_sets_and_their_splits_cannot_be_changed_in_place():
    dataset = random_dataset(random_split(5), random_split(5, seed=1))
    with pytest.raises(FrozenInstanceError):
        dataset.digest = "another"
    with pytest.raises(FrozenInstanceError):
        dataset.train.labels = dataset.test.labels


def test_data_sets_and_their_splits_are_equal_only_to_themselves():
    split = random_split(5)  # equal tensors answer number by number, which is no answer
    first, second = (random_dataset(split, split) for _ in range(2))
    assert first == first
    assert first != second
    assert split == split
    assert split != Split(split.images, split.labels)
    assert len({split, first, second}) == 3


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
