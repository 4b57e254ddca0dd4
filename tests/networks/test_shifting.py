import torch

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import batch_statistics
from bn_tutorial.networks.shifting import Shifting, add_shifting


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
