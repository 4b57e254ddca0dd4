import pytest
import torch
from torch import nn

from bn_tutorial.networks.checks_without_data import (
    at_odds,
    averaged,
    broken,
    collapsed,
    contradictory,
    kept_by,
    kept_in,
    left,
    never_gathered,
    unevenly_counted,
    window,
)
from bn_tutorial.networks.gather import norm_layers
from bn_tutorial.networks.report import Report


@pytest.fixture
def model():
    """Two layers that have gathered."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    for _ in range(50):
        net(torch.randn(16, 4) + 2)
    return net


def mend(found, model):
    """Run the remedy as it is printed."""
    report = Report("", "", "", [found])
    assert f"fix  {found.remedy}  # {found.code}" in str(report)
    batches = [torch.randn(16, 4) + 2 for _ in range(50)]
    exec(
        found.remedy,
        {"model": model, "loader": batches, "report": report, "nn": nn, "torch": torch},
    )


def codes(check, model):
    return [(found.level, found.code, found.layers) for found in check(kept_by(norm_layers(model)))]


STATISTICS = (broken, never_gathered, collapsed, unevenly_counted)


def test_sound_layers_give_no_findings(model):
    assert [codes(check, model) for check in STATISTICS] == [[]] * 4
    assert not [*contradictory(norm_layers(model), set())]
    assert not [*at_odds(model, norm_layers(model))]
    assert not [*at_odds(model.eval(), norm_layers(model))]


@pytest.mark.parametrize(
    ("buffer", "value"),
    [("running_mean", torch.nan), ("running_var", torch.inf), ("running_var", -1e-3)],
)
def test_statistics_that_are_none_are_found_with_their_channel(model, buffer, value):
    getattr(model[2], buffer)[3] = value
    (found,) = broken(kept_by(norm_layers(model)))
    assert (found.level, found.code, found.layers) == ("error", "nan-statistics", ("2",))
    assert "1 of 4 channels of 2 (3): eval" in found.summary
    mend(found, model)
    assert codes(broken, model) == []


def test_several_layers_with_statistics_that_are_none_are_counted(model):
    model.append(nn.BatchNorm1d(4))
    for layer, count in ((model[0], 2), (model[2], 1), (model[3], 1)):
        layer.running_mean[:count] = torch.nan
    (found,) = broken(kept_by(norm_layers(model)))
    assert "2 of 4 channels of 0 (0, 1) and of 2 more layers" in found.summary
    assert found.layers == ("0", "2", "3")


def test_huge_statistics_are_found_and_large_ones_are_not(model):
    model[0].running_mean[1], model[0].running_var[1] = 1e4, 1e8
    assert codes(broken, model) == []  # a feature in other units
    model[0].running_var[1] = 1e12
    assert codes(broken, model) == [("error", "huge-statistics", ("0",))]
    model[0].running_mean[1], model[0].running_var[1] = -1e7, 1.0
    (found,) = broken(kept_by(norm_layers(model)))
    assert found.summary.startswith("0: up to 1e+14, over 1e+10 times")
    mend(found, model)
    model[0].running_var.fill_(1e22)  # in all of its channels
    (found,) = broken(kept_by(norm_layers(model)))
    assert found.summary.startswith("0: up to 1e+22, over 1e+10 times")
    mend(found, model)
    assert codes(broken, model) == []


@pytest.mark.parametrize("count", [0, 50])
def test_new_statistics_are_found_also_where_batches_were_counted(model, count):
    model[2].reset_running_stats()
    model[2].num_batches_tracked.fill_(count)
    assert codes(never_gathered, model) == [("error", "never-gathered", ("2",))]
    model[2].running_mean += 1  # a variance alone can be lost, too
    (found,) = never_gathered(kept_by(norm_layers(model)))
    assert (found.level, found.code, found.layers) == ("error", "never-gathered", ("2",))
    assert found.summary == "running_var is 1 in every channel of 2"
    assert ("50 batches were counted" in found.details[0]) == (count > 0)
    mend(found, model)
    assert codes(never_gathered, model) == []


def test_gamma_that_lets_nothing_pass_is_found_and_a_new_one_is_not(model):
    nn.init.zeros_(model[2].weight)
    (found,) = collapsed(kept_by(norm_layers(model)))
    assert (found.level, found.code, found.layers) == ("warning", "gamma-zero", ("2",))
    mend(found, model)
    assert codes(collapsed, model) == []
    nn.init.zeros_(model[2].weight)
    model[2].weight.data[:2] = 1
    assert codes(collapsed, model) == [("note", "gamma-zero", ("2",))]
    nn.init.zeros_(model[2].weight)
    model[2].reset_running_stats()  # so are residual branches begun
    assert codes(collapsed, model) == []


def test_layer_that_counts_twice_is_noted(model):
    model.append(nn.BatchNorm1d(4)).append(model[0])
    model[3].load_state_dict(model[2].state_dict())
    model[0].num_batches_tracked *= 2
    (found,) = unevenly_counted(kept_by(norm_layers(model)))
    assert (found.level, found.code, found.layers) == ("note", "uneven-counters", ("0",))
    assert found.summary == "0 counted 100 batches, most layers 50"


def test_state_holds_what_its_layers_keep(model):
    state = {f"part.{name}": value for name, value in model.state_dict().items()}
    assert [one.name for one in kept_in(state)] == ["part.0", "part.2"]
    assert kept_in(state)[0].counted == 50
    del state["part.0.running_var"]
    assert len(kept_in(state)) == 1
    assert [one.name for one in kept_in(model[0].state_dict())] == [""]


def test_averaged_model_is_known_by_its_class_and_its_state(model):
    average = torch.optim.swa_utils.AveragedModel(model)
    assert averaged(average)
    assert averaged(average.state_dict())
    assert not averaged(torch.optim.swa_utils.AveragedModel(model, use_buffers=True))
    assert not averaged(model)


def test_initial_values_weigh_what_momentum_leaves():
    assert left(0.1, 2) == pytest.approx(0.81)
    assert (left(None, 5), left(0.1, None), left(0.1, 0)) == (0, 0, 0)
    assert (window(0.1), window(0.01), window(1.0)) == (44, 459, 1)  # 0.99^459 < 0.01


SETTINGS = [
    ({"momentum": 0.99}, "warning", "swapped-momentum"),
    ({"momentum": 1.0}, "warning", "swapped-momentum"),
    ({"momentum": 0.0}, "warning", "track-running-stats"),
    ({"track_running_stats": False}, "warning", "track-running-stats"),
    ({"running_mean": None, "running_var": None}, "warning", "depends-on-the-batch"),
    ({"eps": 0.0}, "warning", "eps-underflow"),
]


@pytest.mark.parametrize(("changed", "level", "code"), SETTINGS)
def test_settings_that_cannot_be_meant_are_found_and_mended(model, changed, level, code):
    for name, value in changed.items():
        setattr(model[2], name, value)
    (found,) = contradictory(norm_layers(model), set())
    assert (found.level, found.code, found.layers) == (level, code, ("2",))
    assert " 2 " in f" {found.summary} ".replace(",", " ").replace(":", " ")
    if code != "depends-on-the-batch":  # which takes another layer
        mend(found, model)
        assert not [*contradictory(norm_layers(model), set())]


def test_momentum_of_another_library_is_translated(model):
    model[2].momentum = 0.99
    (found,) = contradictory(norm_layers(model), set())
    mend(found, model)
    assert model[2].momentum == pytest.approx(0.01)
    model[2].momentum = 1.0  # for which there is no other
    (found,) = contradictory(norm_layers(model), set())
    mend(found, model)
    assert model[2].momentum == 0.1


@pytest.mark.parametrize("momentum", [None, 0.0003, 0.1, 0.5])
def test_momenta_in_use_are_not_found(model, momentum):
    model[2].momentum = momentum
    assert not [*contradictory(norm_layers(model), set())]


def test_frozen_layer_may_have_momentum_zero(model):
    model[2].momentum = 0.0
    assert not [*contradictory(norm_layers(model), {"2"})]


def test_eps_is_too_small_in_half_precision_alone():
    # bfloat16 has the exponents of float32, and computes with such an eps.
    for dtype, count in ((torch.float32, 0), (torch.bfloat16, 0), (torch.float16, 1)):
        layers = {"": nn.LayerNorm(3, eps=1e-12).to(dtype)}
        assert len([*contradictory(layers, set())]) == count
        constant = nn.BatchNorm1d(3, eps=1e-12).to(dtype)(torch.zeros(4, 3, dtype=dtype))
        assert bool(constant.isfinite().all()) == (count == 0)
    assert not [*contradictory({"": nn.RMSNorm(3)}, set())]  # None


def test_modes_at_odds_are_found(model):
    layers = norm_layers(model)
    model[2].requires_grad_(False)
    (found,) = at_odds(model, layers)
    assert (found.level, found.code, found.layers) == ("warning", "frozen-but-moving", ("2",))
    assert found.summary.startswith("2: requires_grad is False")
    mend(found, model)
    assert not model[2].training
    assert not [*at_odds(model, layers)]
    model[2].requires_grad_(True)
    (found,) = at_odds(model, layers)
    assert (found.level, found.code, found.layers) == ("warning", "half-frozen", ("2",))
    assert found.summary.startswith("2: in eval mode")
    mend(found, model)
    assert not [*at_odds(model, layers)]
    model.eval()
    model[2].train()
    (found,) = at_odds(model, layers)
    assert (found.level, found.code, found.layers) == ("error", "depends-on-the-batch", ("2",))
    assert found.summary.startswith("2 in train mode")
    mend(found, model)
    assert not [*at_odds(model, layers)]
