from __future__ import annotations

import pytest
import torch

from bn_tutorial.data import corruptions
from bn_tutorial.data.corruptions import CORRUPTIONS, corrupt

each = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture
def images():
    """Fifty images with a bright square on black, each at another place."""
    found = torch.zeros(50, 28, 28, dtype=torch.uint8)
    for number in range(50):
        top, left = 4 + number % 5, 4 + number // 5
        found[number, top : top + 8, left : left + 8] = 200
    return found


@each
def test_a_corruption_gives_other_grey_values_of_the_same_shape(images, name):
    found = corrupt(images, name)
    assert (found.dtype, found.shape) == (torch.uint8, images.shape)
    assert (found != images).flatten(1).any(dim=1).all()


@each
def test_a_corruption_leaves_its_images_and_the_global_generator_alone(images, name):
    before, state = images.clone(), torch.random.get_rng_state()
    corrupt(images, name)
    assert torch.equal(images, before)
    assert torch.equal(torch.random.get_rng_state(), state)


@each
def test_the_same_images_are_corrupted_alike(images, name):
    assert torch.equal(corrupt(images, name), corrupt(images.clone(), name))


def test_noise_differs_from_image_to_image_and_with_the_seed(images):
    alike = images[:1].expand(2, -1, -1)
    first, second = corruptions.add_noise(alike)
    assert not torch.equal(first, second)
    assert not torch.equal(corruptions.add_noise(alike, seed=1)[0], first)


def test_noise_has_the_deviation_that_is_asked_for():
    grey = torch.full((40, 28, 28), 128, dtype=torch.uint8)
    noise = corruptions.add_noise(grey, by=0.1).float() - 128
    assert noise.mean().abs() < 0.5
    assert noise.std() == pytest.approx(25.5, rel=0.02)


def test_bright_pixels_stay_within_full_ink(images):
    assert corruptions.brighten(images).max() == 255
    assert corruptions.brighten(images).min() == 102


def test_pale_images_keep_the_share_of_their_range(images):
    found = corruptions.pale(images, by=0.5).float()
    assert found.max() - found.min() == 100


def test_blur_keeps_the_ink_of_a_digit_that_is_far_from_the_edge(images):
    before, after = (x.float().sum() for x in (images, corruptions.blur(images)))
    assert after == pytest.approx(before.item(), rel=0.01)


def test_a_moved_digit_is_the_same_digit_elsewhere(images):
    found = corruptions.move(images, by=4)
    assert torch.equal(found[:, 4:, 4:], images[:, :-4, :-4])
    assert not found[:, :4].any()
    assert not found[:, :, :4].any()


def test_inverting_twice_changes_nothing(images):
    assert torch.equal(corruptions.invert(corruptions.invert(images)), images)


def test_what_is_no_image_or_no_corruption_is_refused(images):
    with pytest.raises(ValueError, match=r"'fog', expected one of \['brightness'"):
        corrupt(images, "fog")
    with pytest.raises(TypeError, match=r"torch\.float32, expected torch\.uint8"):
        corrupt(images.float(), "blur")
    with pytest.raises(ValueError, match=r"\(28, 28\), expected \(N, height, width\)"):
        corrupt(images[0], "blur")
