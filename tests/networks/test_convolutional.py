import math

import pytest
import torch

from bn_tutorial.networks.convolutional import ConvNet, RandomShift

IMAGES = torch.randn(6, 784, generator=torch.Generator().manual_seed(99))


def weights(model):
    return [p for name, p in model.named_parameters() if "linear" in name or "output" in name]


def test_arms_share_their_initial_weights():
    plain = weights(ConvNet(seed=3))
    for other in (ConvNet("batch", seed=3), ConvNet("group:4", seed=3, shift=2)):
        assert all(map(torch.equal, plain, weights(other)))
    assert not torch.equal(plain[0], weights(ConvNet(seed=4))[0])


def test_construction_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    ConvNet("batch", shift=1, weights="scaled")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initial_weights_are_he_times_the_scale():
    linear = ConvNet(channels=(64, 64), strides=(1, 1), init_scale=0.1).block_2.linear
    assert linear.weight.std().item() == pytest.approx(0.1 * math.sqrt(2 / (64 * 9)), rel=0.02)
    assert not linear.bias.any()


def test_rows_of_pixels_are_read_as_images():
    model = ConvNet(channels=(2,), strides=(1,))
    assert torch.equal(model.images(IMAGES)[0, 0, 3], IMAGES[0, 3 * 28 : 4 * 28])


@pytest.mark.parametrize("kind", ["standardized", "scaled"])
def test_convolutions_may_be_standardized(kind):
    model = ConvNet("group:4", weights=kind)
    assert hasattr(model.block_1.linear, "parametrizations")
    assert model(IMAGES).shape == (6, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (8,), "strides": (1, 1)}, "channels is .8,. and strides"),
        ({"channels": (), "strides": ()}, "expected positive"),
        ({"channels": (0,), "strides": (1,)}, "expected positive"),
        ({"init_scale": 0.0}, "init_scale is 0"),
        ({"shift": -1}, "shift is -1"),
        ({"norm": "bacth"}, "norm is 'bacth'"),
        ({"weights": "heavy"}, "weights is 'heavy'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(**settings)


class TestRandomShift:
    def test_network_begins_with_one_of_its_own_seed(self):
        x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        assert torch.equal(ConvNet(shift=2, seed=5).shift(x), RandomShift(2, seed=5)(x))

    def test_each_image_is_moved_and_background_comes_in(self):
        x = torch.full((200, 1, 7, 7), -0.4)
        x[:, 0, 3, 3] = 2.0
        moved = RandomShift(2, seed=1)(x)
        assert torch.equal(moved.flatten(1).sum(1), x.flatten(1).sum(1))
        places = moved[:, 0].flatten(1).argmax(1)
        assert {(p.item() // 7 - 3, p.item() % 7 - 3) for p in places} == {
            (down, right) for down in range(-2, 3) for right in range(-2, 3)
        }

    def test_same_seed_moves_alike(self):
        x = torch.randn(5, 1, 9, 9)
        assert torch.equal(RandomShift(2, seed=1)(x), RandomShift(2, seed=1)(x))
        assert not torch.equal(RandomShift(2, seed=1)(x), RandomShift(2, seed=2)(x))

    def test_nothing_is_moved_in_evaluation_mode(self):
        x = torch.randn(5, 1, 9, 9)
        assert torch.equal(RandomShift(2, seed=1).eval()(x), x)
