import itertools

import pytest
import torch

from bn_tutorial.networks.residual import PLACEMENTS, SCALINGS, ResidualNet

IMAGES = torch.randn(500, 784, generator=torch.Generator().manual_seed(99))


@torch.no_grad()
def stream(model, blocks):
    """The mean square of the stream behind the stem and each block."""
    x = model.stem(IMAGES)
    squares = [x.square().mean().item()]
    for number in range(1, blocks + 1):
        x = model.get_submodule(f"block_{number}")(x)
        squares.append(x.square().mean().item())
    return squares


def built(**settings):
    return ResidualNet(**{"blocks": 6, "width": 256, **settings})


class TestStream:
    def test_without_normalization_each_block_doubles_it(self):
        squares = stream(built(), 6)
        ratios = [after / before for before, after in itertools.pairwise(squares)]
        assert ratios == pytest.approx([2.0] * 6, rel=0.15)

    @pytest.mark.parametrize("norm", ["batch", "layer"])
    def test_with_a_norm_before_each_branch_each_block_adds_one(self, norm):
        squares = stream(built(norm=norm), 6)
        assert squares == pytest.approx([1 + block for block in range(7)], rel=0.15)

    def test_with_a_norm_on_the_stream_it_stays_one(self):
        squares = stream(built(norm="batch", placement="post"), 6)
        assert squares == pytest.approx([1.0] * 7, rel=0.05)

    def test_with_peri_each_block_adds_one_whatever_the_branch_does(self):
        model = built(norm="layer", placement="peri")
        with torch.no_grad():
            for number in range(1, 7):
                model.get_submodule(f"block_{number}.branch.linear_2").weight.mul_(10)
        assert stream(model, 6) == pytest.approx([1 + block for block in range(7)], rel=0.15)

    @pytest.mark.parametrize(
        "settings",
        [
            {"scaling": "skipinit"},
            {"scaling": "fixup"},
            {"norm": "batch", "placement": "peri", "scaling": "zero gamma"},
        ],
    )
    def test_blocks_that_start_at_zero_leave_it_alone(self, settings):
        squares = stream(built(**settings), 6)
        assert squares == [squares[0]] * 7

    def test_scaled_branches_raise_it_to_two_in_all(self):
        squares = stream(built(scaling="scaled", weights="scaled"), 6)
        assert squares == pytest.approx([1 + block / 6 for block in range(7)], rel=0.1)


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_combination_gives_logits_or_says_why_not(convolutional, placement, scaling):
    settings = {"placement": placement, "scaling": scaling, "convolutional": convolutional}
    if scaling == "zero gamma" and placement != "peri":
        with pytest.raises(ValueError, match='"peri"'):
            ResidualNet("batch", blocks=2, width=4, **settings)
        return
    model = ResidualNet("batch", blocks=2, width=4, **settings)
    assert model(IMAGES[:5]).shape == (5, 10)


def test_arms_share_their_initial_weights():
    def weights(model):
        return [model.get_submodule(f"block_{n}.branch.linear_1").weight for n in (1, 2)] + [
            model.stem.weight,
            model.output.weight,
        ]

    plain = weights(ResidualNet(blocks=2, width=4, seed=3))
    for other in (
        ResidualNet("batch", blocks=2, width=4, seed=3),
        ResidualNet("layer", placement="post", blocks=2, width=4, seed=3),
        ResidualNet(scaling="skipinit", blocks=2, width=4, seed=3),
    ):
        assert all(map(torch.equal, plain, weights(other)))
    assert not torch.equal(plain[0], weights(ResidualNet(blocks=2, width=4, seed=4))[0])


def test_construction_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    ResidualNet("batch", blocks=1, convolutional=True)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fixup_has_the_recipe_of_its_authors():
    model = ResidualNet(scaling="fixup", blocks=4, width=200)
    plain = ResidualNet(blocks=4, width=200)
    first, second = (model.get_submodule(f"block_3.branch.linear_{n}") for n in (1, 2))
    torch.testing.assert_close(first.weight, plain.block_3.branch.linear_1.weight / 4**0.5)
    assert not second.weight.any()
    assert not model.output.weight.any()
    assert first.bias is None
    assert second.bias is None
    scalars = {n: p.item() for n, p in model.block_3.branch.named_parameters() if not p.ndim}
    assert scalars == {
        **{f"offset_{number}.value": 0.0 for number in (1, 2, 3, 4)},
        "multiplier.value": 1.0,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"placement": "before"}, "placement is 'before'"),
        ({"scaling": "none"}, "scaling is 'none'"),
        ({"blocks": 0}, "got 0 blocks"),
        ({"scaling": "zero gamma", "placement": "peri"}, "a norm"),
        ({"scaling": "fixup", "weights": "scaled"}, "fixup"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ResidualNet(**settings)
