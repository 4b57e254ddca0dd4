import pickle

import numpy as np
import pytest
import torch
from torch import nn

from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import (
    MEASURES,
    batch_statistics,
    percentiles,
    slope,
    slopes,
    watch,
    weight_norms,
)


@pytest.fixture
def model():
    return DeepNet("batch", widths=(6, 5, 4, 3))


@pytest.fixture
def batch():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


def test_outputs_are_those_of_the_modules_in_the_order_of_the_network(model, batch):
    with watch(model, nn.Sigmoid) as signals:
        model(batch)
    model.train()
    first = model.hidden_1(batch)
    assert list(signals.outputs) == ["hidden_1.activation", "hidden_2.activation"]
    assert torch.equal(signals.outputs["hidden_1.activation"], first)
    assert torch.equal(signals.outputs["hidden_2.activation"], model.hidden_2(first))


def test_gradients_are_those_that_autograd_gives(model, batch):
    with watch(model, nn.BatchNorm1d, nn.Sigmoid) as signals:
        model(batch).square().mean().backward()
    hidden = model.hidden_1(batch)
    (expected,) = torch.autograd.grad(model.output(model.hidden_2(hidden)).square().mean(), hidden)
    torch.testing.assert_close(signals.gradients["hidden_1.activation"], expected)
    assert signals.gradients.keys() == signals.outputs.keys()
    for name, gradient in signals.gradients.items():
        assert gradient.shape == signals.outputs[name].shape


def test_each_forward_pass_replaces_the_record_and_discards_old_gradients(model, batch):
    with watch(model, nn.Linear) as signals:
        model(batch).sum().backward()
        assert signals.gradients
        model(batch[:4])
        assert signals.outputs["output"].shape == (4, 3)
        assert not signals.gradients


def test_watching_without_gradients_records_outputs_only(model, batch):
    with torch.no_grad(), watch(model, nn.Sigmoid) as signals:
        model(batch)
    assert len(signals.outputs) == 2
    assert not signals.gradients


def test_record_holds_no_graph(model, batch):
    with watch(model, nn.Linear) as signals:
        model(batch).sum().backward()
    recorded = [*signals.outputs.values(), *signals.gradients.values()]
    assert not any(tensor.requires_grad for tensor in recorded)


def test_network_computes_the_same_while_it_is_watched(model, batch):
    model.eval()
    alone = model(batch)
    with watch(model, nn.Linear, nn.Sigmoid):
        assert torch.equal(model(batch), alone)


@pytest.mark.parametrize("fails", [True, False])
def test_no_hook_is_left_behind_even_after_an_error(model, batch, fails):
    with pytest.raises(ZeroDivisionError) if fails else torch.no_grad():  # noqa: SIM117
        with watch(model, nn.Linear, nn.Sigmoid) as signals:
            if fails:
                raise ZeroDivisionError
    assert not any(module._forward_hooks for module in model.modules())
    model(batch)
    assert not signals.outputs


def test_nothing_to_watch_is_refused(model):
    with pytest.raises(ValueError, match="at least one type"), watch(model):
        pass
    with pytest.raises(ValueError, match="DeepNet has no module of type Tanh"):  # noqa: SIM117
        with watch(model, nn.Tanh):
            pass


def test_module_that_returns_no_tensor_is_refused():
    model = nn.Sequential(nn.RNN(2, 3))
    with pytest.raises(TypeError, match="'0': RNN returned tuple"), watch(model, nn.RNN):
        model(torch.zeros(4, 2))


def test_batch_statistics_are_used_and_leave_no_trace(model, batch):
    model.hidden_1.eval()
    state, modes = pickle.dumps(model.state_dict()), [m.training for m in model.modules()]
    with batch_statistics(model):
        inside = model(batch)
    assert pickle.dumps(model.state_dict()) == state
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(inside, model.train()(batch))
    assert not torch.equal(inside, model.eval()(batch))


def test_batch_statistics_draw_nothing_for_dropout(batch):
    dropping = DeepNet("batch", widths=(6, 5, 4, 3), dropout=0.5)
    plain = DeepNet("batch", widths=(6, 5, 4, 3))
    with batch_statistics(dropping), batch_statistics(plain):
        assert torch.equal(dropping(batch), plain(batch))
    again = DeepNet("batch", widths=(6, 5, 4, 3), dropout=0.5)
    assert torch.equal(dropping.train()(batch), again(batch))


def test_slope_is_the_mean_derivative_of_the_sigmoids_that_gave_the_outputs(batch):
    (derivative,) = torch.autograd.grad(batch.requires_grad_().sigmoid().sum(), batch)
    assert slope(batch.detach().sigmoid()) == pytest.approx(derivative.mean().item())


def test_slopes_are_those_of_the_layers_with_batch_statistics(model, batch):
    measured = slopes(model, batch)
    with watch(model, nn.Sigmoid) as signals:
        model.train()(batch)
    expected = [slope(output) for output in signals.outputs.values()]
    assert measured["slope"].tolist() == expected
    assert len(expected) == 2


def test_percentiles_are_those_of_the_inputs_of_the_last_sigmoids_in_evaluation_mode():
    model = DeepNet("batch", widths=(6, 5, 5, 4, 3))
    images = torch.randn(101, 6, generator=torch.Generator().manual_seed(0))
    measured = percentiles(model, images)["percentiles"]
    with watch(model, nn.BatchNorm1d) as signals:
        model.eval()(images)
    inputs = signals.outputs["hidden_3.norm"].sort(dim=0).values
    # Of 101 values, 15 of 100 do not exceed the one at place 15: nothing is interpolated.
    np.testing.assert_allclose(measured, inputs[[15, 50, 85]].T, rtol=0, atol=1e-5)
    assert (inputs[15] - inputs[14] > 1e-4).all()  # so that another level would show


def test_norms_are_those_of_the_hidden_weights(model, batch):
    layers = model.hidden_1.linear, model.hidden_2.linear
    expected = [layer.weight.norm().item() for layer in layers]
    assert weight_norms(model, batch)["norm"].tolist() == expected


SHAPES = {"slopes": (2,), "percentiles": (4, 3), "weight norms": (2,)}


@pytest.mark.parametrize("name", MEASURES)
def test_measure_is_an_array_of_one_shape_and_leaves_the_model_alone(name, model, batch):
    state = pickle.dumps(model.state_dict())
    for images in (batch, batch[:4]):
        (values,) = MEASURES[name](model, images).values()
        assert (values.dtype, values.shape) == (np.float64, SHAPES[name])
    assert pickle.dumps(model.state_dict()) == state
