"""Conversion between the conventions of the frameworks."""

import numpy as np
import pytest
import torch

from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum, convert_state
from bn_tutorial.scratch.moments import running_average, unbiased

M = 8  # samples in each batch


def gather(name, momentum, batches):
    """Gather statistics as a framework's documentation says, from mean zero and variance one."""
    framework = FRAMEWORKS[name]
    weight = momentum if framework.momentum_weighs == "new" else 1 - momentum
    mean, var = np.zeros(3), np.ones(3)
    for x in batches:
        mean = running_average(mean, x.mean(axis=0), weight)
        batch_var = x.var(axis=0)
        if framework.running_var == "unbiased":
            batch_var = unbiased(batch_var, M)
        var = running_average(var, batch_var, weight)
    return dict(zip(framework.names[2:], (mean, var), strict=True))


BATCHES = np.random.default_rng(0).normal(3.0, 5.0, (200, M, 3))


def trained(eps=1e-3):
    """PyTorch's layer after a few batches, with a scale and a shift that are not one and zero."""
    torch.manual_seed(0)
    layer = torch.nn.BatchNorm1d(3, eps=eps, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    for x in BATCHES[:20]:
        layer(torch.from_numpy(x))
    return layer.eval()


def predict(state, name, x, eps=1e-3):
    """Evaluate, as all four frameworks document it, under the names of one."""
    scale, shift, mean, var = (state[key] for key in FRAMEWORKS[name].names)
    return scale * (x - mean) / np.sqrt(var + eps) + shift


X = np.random.default_rng(1).normal(3.0, 5.0, (6, 3))


@pytest.mark.parametrize("way", [["keras"], ["onnx"], ["flax"], ["keras", "onnx", "flax"]])
def test_predictions_are_unchanged_on_the_way_and_back(way):
    layer = trained()
    expected = layer(torch.from_numpy(X)).detach().numpy()
    state, source = layer.state_dict(), "pytorch"
    for target in way:
        state = convert_state(state, source, target)
        np.testing.assert_allclose(predict(state, target, X), expected, rtol=1e-12)
        source = target
    back = convert_state(state, source, "pytorch")
    again = torch.nn.BatchNorm1d(3, eps=1e-3, dtype=torch.float64).eval()
    again.load_state_dict({key: torch.from_numpy(value) for key, value in back.items()})
    np.testing.assert_array_equal(again(torch.from_numpy(X)).detach().numpy(), expected)


def test_predictions_change_with_another_eps_which_no_state_holds():
    layer = trained(eps=1.0)
    expected = layer(torch.from_numpy(X)).detach().numpy()
    state = convert_state(layer.state_dict(), "pytorch", "keras")
    np.testing.assert_allclose(predict(state, "keras", X, eps=1.0), expected)
    of_default = predict(state, "keras", X, eps=FRAMEWORKS["keras"].eps)
    assert np.abs(of_default - expected).max() > 1e-3


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_rescaled_statistics_are_those_that_the_target_would_have_gathered(source, target):
    momentum = 0.1 if FRAMEWORKS[source].momentum_weighs == "new" else 0.9
    gathered = gather(source, momentum, BATCHES)
    converted = convert_state(gathered, source, target, rescale_for_count=M)
    expected = gather(target, convert_momentum(momentum, source, target), BATCHES)
    assert converted.keys() == expected.keys()
    for key, value in expected.items():
        # What is left of the initial one after 200 batches is far below this.
        np.testing.assert_allclose(converted[key], value, rtol=1e-8)


def test_rescaling_for_a_count_of_two_changes_predictions_by_the_root_of_two():
    state = {"running_mean": np.zeros(1), "running_var": np.ones(1)}
    state |= {"weight": np.ones(1), "bias": np.zeros(1)}
    kept = convert_state(state, "pytorch", "keras")
    rescaled = convert_state(state, "pytorch", "keras", rescale_for_count=2)
    x = np.ones((1, 1))
    before, after = predict(kept, "keras", x, eps=0.0), predict(rescaled, "keras", x, eps=0.0)
    np.testing.assert_allclose(after / before, np.sqrt(2))


def test_pytorchs_own_statistics_are_described_rightly():
    layer = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    framework = FRAMEWORKS["pytorch"]
    assert (layer.momentum, layer.eps) == (framework.momentum, framework.eps)
    for x in BATCHES:
        layer(torch.from_numpy(x))
    for key, value in gather("pytorch", layer.momentum, BATCHES).items():
        np.testing.assert_allclose(layer.state_dict()[key].numpy(), value)
    assert {*framework.names, framework.counter} == set(layer.state_dict())


# As the frameworks' own documentation has them: weight of which value, momentum, eps, variance.
DOCUMENTED = {
    "pytorch": ("new", 0.1, 1e-5, "unbiased"),
    "keras": ("old", 0.99, 1e-3, "biased"),
    "flax": ("old", 0.99, 1e-5, "biased"),
    "onnx": ("old", 0.9, 1e-5, "biased"),
}


def test_conventions_are_those_of_the_documentation():
    assert {
        name: (f.momentum_weighs, f.momentum, f.eps, f.running_var)
        for name, f in FRAMEWORKS.items()
    } == DOCUMENTED


@pytest.mark.parametrize("count", [None, M])
@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_conversion_there_and_back_changes_nothing(source, target, count):
    state = dict(zip(FRAMEWORKS[source].names, np.arange(1.0, 13.0).reshape(4, 3), strict=True))
    there = convert_state(state, source, target, rescale_for_count=count)
    back = convert_state(there, target, source, rescale_for_count=count)
    assert list(there) == list(FRAMEWORKS[target].names)
    for key, value in state.items():
        np.testing.assert_allclose(back[key], value)
    momentum = convert_momentum(0.3, source, target)
    assert convert_momentum(momentum, target, source) == pytest.approx(0.3)


def test_converted_state_is_a_copy_of_the_same_dtype():
    state = {"running_mean": np.ones(3, np.float32), "running_var": np.full(3, 2.0, np.float32)}
    for count in (None, np.int64(4)):
        converted = convert_state(state, "pytorch", "flax", rescale_for_count=count)
        assert list(converted) == ["mean", "var"]
        assert [value.dtype for value in converted.values()] == [np.float32] * 2
        for value in converted.values():
            value += 1
        np.testing.assert_array_equal(state["running_mean"], 1.0)
        np.testing.assert_array_equal(state["running_var"], 2.0)


def test_counter_of_batches_stays_as_it_is_where_the_target_has_one():
    state = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    state["num_batches_tracked"] = np.array(7)
    kept = convert_state(state, "pytorch", "pytorch", rescale_for_count=2)["num_batches_tracked"]
    assert (kept, kept.dtype, kept.shape) == (7, state["num_batches_tracked"].dtype, ())
    assert "num_batches_tracked" not in convert_state(state, "pytorch", "keras")


def test_variance_of_integers_is_rescaled_as_a_number():
    state = {"running_mean": np.array([1]), "running_var": np.array([3])}
    converted = convert_state(state, "pytorch", "keras", rescale_for_count=2)
    assert converted["moving_variance"].tolist() == [1.5]


@pytest.mark.parametrize("count", [1, 0, -3, np.int64(1)])
def test_count_of_fewer_than_two_is_refused(count):
    state = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    with pytest.raises(ValueError, match=f"expected .*, got {count}"):
        convert_state(state, "pytorch", "keras", rescale_for_count=count)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), 64.0, "64", True, np.array([8, 8])])
def test_count_that_is_no_whole_number_is_refused(count):
    state = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    with pytest.raises(TypeError, match="expected an int for rescale_for_count"):
        convert_state(state, "pytorch", "keras", rescale_for_count=count)


def test_unknown_keys_are_named():
    state = {"running_mean": np.ones(3), "running_var": np.ones(3), "bn.weight": np.ones(3)}
    with pytest.raises(ValueError, match=r"^unknown \['bn.weight'\].*'bias'.* has in a model$"):
        convert_state(state, "pytorch", "keras")
    names = r"\['gamma', 'beta', 'moving_mean', 'moving_variance'\]"
    with pytest.raises(ValueError, match=rf"'running_var'\] in .*Keras.*, expected {names}:"):
        convert_state({"running_mean": np.ones(3), "running_var": np.ones(3)}, "keras", "pytorch")


def test_arrays_of_different_or_no_length_are_named():
    state = {"running_mean": np.ones(3), "running_var": np.ones(2)}
    with pytest.raises(ValueError, match=r"running_var has shape \(2,\), expected \(3,\)"):
        convert_state(state, "pytorch", "keras")
    state = {"weight": np.ones((1, 3, 1, 1)), "running_mean": np.ones(3), "running_var": np.ones(3)}
    with pytest.raises(ValueError, match=r"weight has shape \(1, 3, 1, 1\), expected \(3,\)"):
        convert_state(state, "pytorch", "keras")
    state = {"running_mean": np.array(1.0), "running_var": np.array(1.0)}
    with pytest.raises(ValueError, match=r"running_mean has shape \(\), expected \(C,\)"):
        convert_state(state, "pytorch", "keras")


def test_unknown_frameworks_and_missing_statistics_are_refused():
    state = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    with pytest.raises(ValueError, match=r"'caffe', expected one of pytorch, keras, flax, onnx$"):
        convert_state(state, "pytorch", "caffe")
    with pytest.raises(ValueError, match=r"lacks \['running_var'\]"):
        convert_state({"running_mean": np.ones(3)}, "pytorch", "keras")


def test_momentum_out_of_range_or_none_is_refused():
    for momentum in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"momentum in \[0, 1\], got {momentum}"):
            convert_momentum(momentum, "pytorch", "keras")
    with pytest.raises(ValueError, match=r"^None, the plain average, .* in \[0, 1\]$"):
        convert_momentum(None, "pytorch", "keras")
