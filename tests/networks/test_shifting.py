import pytest
import torch

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import batch_statistics
from bn_tutorial.networks.shifting import Shifting, add_shifting, watch_shift


def test_noise_is_even_around_what_it_shifts_and_as_wide_as_it_says():
    layer = Shifting(500, size=0.8, seed=3)
    outputs = torch.stack([layer(torch.tensor([[-1.0], [1.0]]).repeat(1, 500)) for _ in range(40)])
    shift, scale = (outputs[:, 1] + outputs[:, 0]) / 2, (outputs[:, 1] - outputs[:, 0]) / 2
    for found, middle, reach in ((shift, 0.0, 0.8), (scale, 1.0, 0.4)):
        assert abs(found.mean().item() - middle) < 0.02
        assert 0.98 * reach < (found - middle).abs().max().item() <= reach * (1 + 1e-5)
        assert abs(found.std().item() - reach / 3**0.5) < 0.02 * reach


def test_noise_depends_on_seed_and_step_alone():
    x = torch.ones(2, 4)
    torch.manual_seed(1)
    first = [Shifting(4, 1.0, seed=0)(x), Shifting(4, 1.0, seed=1)(x)]
    torch.manual_seed(2)
    again = Shifting(4, 1.0, seed=0)
    assert torch.equal(again(x), first[0])
    assert not torch.equal(first[0], first[1])
    with batch_statistics(again):
        looked = again(x)
    assert torch.equal(again(x), looked)  # looking has not moved it on


def test_noise_stands_behind_the_normalization_and_in_front_of_the_activation():
    model = DeepNet("batch", widths=(6, 5, 4, 3))
    expected = DeepNet("batch", widths=(6, 5, 4, 3))
    add_shifting(model, 1.0, seed=0)
    names = [name for name, _ in model.hidden_2.named_children()]
    assert names == ["linear", "norm", "shifting", "activation"]
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(model(x), expected(x))
    calm = DeepNet(None, widths=(6, 5, 4, 3))
    shifted = DeepNet(None, widths=(6, 5, 4, 3))
    add_shifting(shifted, 1.0, seed=0)
    assert torch.equal(shifted.eval()(x), calm(x))


def test_layers_and_runs_have_noise_of_their_own():
    model, other = (DeepNet(None, widths=(6, 4, 4, 3)) for _ in range(2))
    add_shifting(model, 1.0, seed=0)
    add_shifting(other, 1.0, seed=1)
    x = torch.ones(2, 4)
    shifts = [
        block.shifting(x) for each in (model, other) for block in (each.hidden_1, each.hidden_2)
    ]
    assert len({tuple(shift[0].tolist()) for shift in shifts}) == 4


def test_shift_is_that_of_the_means_in_their_deviations():
    model = DeepNet(None, widths=(6, 5, 3)).train()
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    bias = model.hidden_1.linear.bias
    with watch_shift(model, x) as shifts:
        model(x[:4])
        model(x[:7])
        z = model.hidden_1.linear(x)
        with torch.no_grad():
            bias += 2 * z.std(0, correction=0)
        model(x[:4])
        model.eval()(x)
    model.train()(x)
    assert shifts == pytest.approx([0, 2], rel=1e-4)


def test_looking_at_the_shift_changes_nothing():
    models = [DeepNet("batch", widths=(6, 5, 4, 3)).train() for _ in range(2)]
    for model in models:
        add_shifting(model, 0.5, seed=0)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    with watch_shift(models[0], x + 1) as shifts:
        outputs = [models[0](x) for _ in range(3)]
    assert all(torch.equal(out, models[1](x)) for out in outputs)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len(shifts) == 2
    assert min(shifts) > 0.05
