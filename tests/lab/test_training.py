import dataclasses
import io
import math
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.training import CURVES, Config, device, train
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import MEASURES

aten = torch.ops.aten
WIDTHS = (784, 16, 16, 10)


@pytest.fixture(autouse=True)
def in_one_thread():
    with one_thread():
        yield


def noise(count, seed):
    """Images of noise, each with a bright row where its label says."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,), generator=generator)
    images[torch.arange(count), labels] = 255
    return Split(images, labels)


@pytest.fixture(scope="module")
def data():
    return Dataset("rows", "rows", "none", "made here", "0", noise(100, seed=1), noise(40, seed=2))


def net(norm=None, **settings):
    return DeepNet(norm, widths=WIDTHS, **settings)


def numbers(history):
    return [getattr(history, name) for name in CURVES]


class TestTrain:
    def test_there_is_one_number_per_epoch_and_one_per_step(self, data):
        history = train(net(), data, Config(12, 4, 32))
        assert [len(curve) for curve in numbers(history)] == [3, 3, 0, 0, 3, 3, 12]
        assert history.diverged_at is None
        assert history.seconds > 0

    def test_default_configuration_is_that_of_the_notebook(self):
        assert Config() == Config(10 * 469, evaluate_every=469, batch_size=128, lr=0.1, seed=0)
        assert math.ceil(60_000 / 128) == 469

    @pytest.mark.parametrize("norm", [None, "batch"])
    def test_losses_are_those_of_a_loop_written_out(self, data, norm):
        config = Config(8, 4, 32, lr=0.3, seed=5)
        history = train(net(norm), data, config)

        model, steps, correct = net(norm), [], []
        x, y = data.standardize(data.train.images), data.train.labels
        generator = torch.Generator().manual_seed(5)
        for _ in range(2):
            order = torch.randperm(100, generator=generator)
            correct.append(0)
            for k in range(0, 100, 32):
                batch = order[k : k + 32]
                logits = model(x[batch])
                loss = cross_entropy(logits, y[batch])
                gradients = torch.autograd.grad(loss, list(model.parameters()))
                with torch.no_grad():
                    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                        parameter -= 0.3 * gradient
                steps.append(loss.item())
                correct[-1] += (logits.argmax(1) == y[batch]).sum().item()

        assert history.step_loss == pytest.approx(steps, rel=1e-5)
        expected = [sum(steps[:4]) / 4, sum(steps[4:]) / 4]
        assert history.train_loss == pytest.approx(expected, rel=1e-5)
        assert history.train_accuracy == tuple(count / 100 for count in correct)

    def test_test_numbers_are_taken_in_evaluation_mode_after_the_epoch(self, data):
        model = net("batch")
        history = train(model, data, Config(8, 4, 32))
        assert not model.training
        with torch.no_grad():
            logits = model(data.standardize(data.test.images))
        labels = data.test.labels
        loss = cross_entropy(logits.double(), labels).item()
        assert history.test_loss[-1] == pytest.approx(loss, rel=1e-12)
        assert history.test_accuracy[-1] == (logits.argmax(1) == labels).double().mean().item()
        with torch.no_grad():
            in_training_mode = model.train()(data.standardize(data.test.images))
        assert cross_entropy(in_training_mode, labels).item() != pytest.approx(loss, rel=1e-3)

    def test_evaluations_cut_a_training_without_changing_it(self, data):
        whole, parts = (train(net("batch"), data, Config(12, k, 32)) for k in (12, 3))
        assert whole.step_loss == parts.step_loss
        assert whole.test_loss[-1] == parts.test_loss[-1]
        assert len(parts.test_loss) == 4
        assert sum(parts.train_loss) / 4 == pytest.approx(whole.train_loss[0])

    def test_validation_set_is_scored_like_a_test_set_and_not_trained_on(self, data):
        held = dataclasses.replace(data, validation=noise(30, seed=4))
        history = train(net("batch"), held, Config(8, 4, 32))
        swapped = dataclasses.replace(held, validation=held.test, test=held.validation)
        other = train(net("batch"), swapped, Config(8, 4, 32))
        assert history.validation_loss == other.test_loss
        assert history.validation_accuracy == other.test_accuracy
        assert history.test_loss == other.validation_loss
        without = train(net("batch"), data, Config(8, 4, 32))
        assert without.step_loss == history.step_loss

    def test_measure_sees_the_network_before_the_first_step_and_at_each_evaluation(self, data):
        model, seen = net(), []

        def measure(measured, images):
            seen.append(pickle.dumps(measured.state_dict()))
            assert images.shape == (40, 784)
            weight = measured.output.weight.detach()
            return {"norm": weight.norm().item(), "weight": weight.numpy(), "nan": math.nan}

        initial = pickle.dumps(model.state_dict())
        history = train(model, data, Config(8, 4, 32), measure=measure)
        shapes = {name: values.shape for name, values in history.measured.items()}
        assert shapes == {"norm": (3,), "weight": (3, 10, 16), "nan": (3,)}
        assert {values.dtype for values in history.measured.values()} == {np.dtype("float64")}
        assert seen[0] == initial
        assert seen[-1] == pickle.dumps(model.state_dict())
        assert history.measured["norm"][-1] == model.output.weight.norm().item()
        assert np.array_equal(history.measured["weight"][-1], model.output.weight.detach())
        # They are copies: the weights went on after the first look.
        assert not np.array_equal(*history.measured["weight"][:2])

    def test_mode_in_which_a_measure_leaves_the_network_does_not_matter(self, data):
        model = net("batch")
        history = train(model, data, Config(8, 4, 32), measure=lambda m, _: m.train() and {})
        assert not model.training
        assert history == train(net("batch"), data, Config(8, 4, 32))

    @pytest.mark.parametrize("second", [{"a": [0.0, 1.0, 2.0]}, {"a": 0.0}, {"b": [0.0, 1.0]}, {}])
    def test_measure_whose_shapes_change_is_refused_at_once(self, data, second):
        looks = iter([{"a": [0.0, 1.0]}, second])
        with pytest.raises(ValueError, match=r"measured .*, expected \{'a': \(2,\)\} as at first"):
            train(net(), data, Config(8, 1, 32), measure=lambda *_: next(looks))

    def test_network_learns(self, data):
        history = train(net("batch"), data, Config(75, 5, 20, lr=0.5))
        assert history.train_loss[-1] < 0.5 * history.train_loss[0]
        assert history.test_accuracy[-1] > 0.8

    @pytest.mark.parametrize("norm", [None, "batch", "layer", "numpy"])
    def test_same_seeds_give_the_same_numbers_bit_by_bit(self, data, norm):
        config = Config(8, 4, 32)
        assert train(net(norm), data, config) == train(net(norm), data, config)

    def test_seed_decides_the_order_of_the_images(self, data):
        first, other = (train(net(), data, Config(4, 4, 32, seed=seed)) for seed in (0, 1))
        assert first.step_loss != other.step_loss

    def test_every_epoch_has_its_own_order_and_all_images(self, data):
        seen = []

        class Recorder(nn.Module):
            def __init__(self):
                super().__init__()
                self.bias = nn.Parameter(torch.zeros(10))

            def forward(self, x):
                if self.training:
                    seen.append(x[:, 700:].sum(1))
                return self.bias.expand(len(x), 10)

        train(Recorder(), data, Config(8, 4, 32))
        first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
        assert not torch.equal(first, second)
        assert torch.equal(first.sort().values, second.sort().values)

    def test_global_random_state_is_neither_used_nor_changed(self, data):
        config = Config(4, 4, 32)
        expected = train(net(), data, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(999)
            before = torch.random.get_rng_state()
            assert train(net(), data, config) == expected
            assert torch.equal(torch.random.get_rng_state(), before)

    def test_numbers_of_the_curves_are_plain(self, data):
        history = train(net(), data, Config(1, 1))
        assert {type(value) for curve in numbers(history) for value in curve} == {float}

    def test_data_are_not_changed(self, data):
        before = pickle.dumps([data.train, data.test])
        train(net("batch"), data, Config(4, 4, 32))
        assert pickle.dumps([data.train, data.test]) == before

    def test_images_that_were_right_at_the_end_are_those_that_the_accuracy_counts(self, data):
        held = data.hold_out(20)
        history = train(net("batch"), held, Config(4, 2, 32))
        assert history.test_right.dtype == history.validation_right.dtype == bool
        assert history.test_right.shape == (len(data.test),)
        assert history.test_right.mean() == pytest.approx(history.test_accuracy[-1])
        assert history.validation_right.mean() == pytest.approx(history.validation_accuracy[-1])
        assert train(net(), data, Config(2, 2)).validation_right.shape == (0,)

    def test_diverged_run_was_right_nowhere(self, data):
        history = train(net("batch"), data, Config(4, 2, 32, lr=1e38))
        assert history.diverged_at is not None
        assert history.test_right.shape == (len(data.test),)
        assert not history.test_right.any()

    def test_weight_decay_adds_the_weights_to_their_gradient_and_spares_the_rest(self, data):
        ours, plain = net("batch"), net("batch")
        before = {name: value.clone() for name, value in ours.named_parameters()}
        train(ours, data, Config(1, 1, 32, lr=0.5, weight_decay=0.1))
        train(plain, data, Config(1, 1, 32, lr=0.5))
        others = dict(plain.named_parameters())
        for name, value in ours.named_parameters():
            decay = 0.5 * 0.1 * before[name] if value.ndim > 1 else 0.0
            torch.testing.assert_close(value, others[name] - decay)

    @pytest.mark.parametrize("decay", [-0.1, math.nan, math.inf])
    def test_weight_decay_must_not_be_negative(self, decay):
        with pytest.raises(ValueError, match="weight_decay is"):
            Config(weight_decay=decay)

    def test_two_data_sets_in_turn_are_not_mixed_up(self, data):
        other = dataclasses.replace(data, train=noise(100, seed=3))
        config = Config(4, 4, 32)
        first = train(net(), data, config)
        assert train(net(), other, config) != first
        assert train(net(), data, config) == first

    def test_parameters_that_require_no_gradient_stay_as_they_are(self, data):
        model = net("batch")
        model.hidden_1.linear.requires_grad_(False)
        before = pickle.dumps(model.hidden_1.linear.state_dict())
        history = train(model, data, Config(2, 1))
        assert pickle.dumps(model.hidden_1.linear.state_dict()) == before
        assert history.train_loss[1] < history.train_loss[0]

    def test_single_image_in_the_last_batch_is_an_error_for_batch_normalization(self, data):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            train(net("batch"), data, Config(4, 4, 33))

    @pytest.mark.parametrize(
        "setting", [{"steps": 0}, {"evaluate_every": 0}, {"batch_size": 0}, {"lr": 0.0}]
    )
    def test_settings_that_train_nothing_are_refused(self, setting):
        ((name, value),) = setting.items()
        with pytest.raises(ValueError, match=f"{name} is {value}, expected"):
            Config(**setting)

    def test_evaluations_must_divide_the_steps(self):
        with pytest.raises(ValueError, match="evaluate_every is 3, expected a divisor of 10 steps"):
            Config(10, 3)

    @pytest.mark.parametrize("lr", [math.nan, math.inf, -0.1, np.float32(math.nan)])
    def test_learning_rate_must_be_a_positive_number(self, lr):
        with pytest.raises(ValueError, match=r"lr is .*, expected a positive number"):
            Config(lr=lr)

    @pytest.mark.parametrize("name", ["steps", "evaluate_every", "batch_size", "seed"])
    @pytest.mark.parametrize("value", [4690.0, math.nan, True, "1", None, np.float64(1)])
    def test_what_is_no_integer_is_refused_by_name(self, name, value):
        with pytest.raises(TypeError, match=f"{name} is .*, expected an integer"):
            Config(**{name: value})

    @pytest.mark.parametrize("lr", [True, "0.1", None])
    def test_learning_rate_that_is_no_number_is_refused(self, lr):
        with pytest.raises(TypeError, match=f"lr is {lr!r}, expected a number"):
            Config(lr=lr)

    def test_numbers_of_numpy_are_kept_as_plain_ones(self):
        config = Config(np.int64(8), np.int32(4), np.uint8(32), np.float32(0.5), np.int64(1))
        assert config == Config(8, 4, 32, 0.5, 1)
        assert [type(value) for value in dataclasses.astuple(config)] == [int] * 3 + [
            float,
            int,
            float,
        ]
        assert repr(config) == repr(Config(8, 4, 32, 0.5, 1))

    def test_configuration_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Config().lr = 1.0

    def test_images_are_standardized_once_for_all_runs_but_those_of_a_batch(
        self, data, monkeypatch
    ):
        done, standardize = [], Dataset.standardize

        def counted(self, images):
            done.append(len(images))
            return standardize(self, images)

        monkeypatch.setattr(Dataset, "standardize", counted)
        again = dataclasses.replace(data)
        for _ in range(2):
            train(net(), again, Config(1, 1, 32))
        assert done == [len(data.test), 32, 32]

    def test_large_test_set_is_scored_as_a_whole(self, data):
        many = dataclasses.replace(data, test=noise(4_100, seed=3))
        model = net("batch")
        history = train(model, many, Config(4, 4, 32))
        with torch.no_grad():
            logits = model(many.standardize(many.test.images))
        loss = cross_entropy(logits.double(), many.test.labels).item()
        assert history.test_loss[-1] == pytest.approx(loss, rel=1e-6)
        assert history.test_accuracy[-1] == (logits.argmax(1) == many.test.labels).sum() / 4_100


class Accelerator(TorchDispatchMode):
    """Makes of "meta" a stand-in for an accelerator: one that computes only zeros.

    Like the real ones it refuses tensors of the processor among its own, and, as some do, float64.
    """

    def __torch_dispatch__(self, function, _types, given=(), options=None):
        options = options or {}
        tensors = [
            part
            for argument in given
            for part in (argument if isinstance(argument, (list, tuple)) else [argument])
            if isinstance(part, torch.Tensor)
        ]
        moves = function.overloadpacket in (aten.to, aten._to_copy, aten.copy_)
        if not moves and len({tensor.device for tensor in tensors if tensor.ndim}) > 1:
            raise RuntimeError(f"{function}: expected all tensors on the same device")
        if function.overloadpacket == aten._local_scalar_dense and tensors[0].is_meta:
            return torch.zeros((), dtype=tensors[0].dtype).item()
        if moves and tensors[0].is_meta and str(options.get("device")) == "cpu":
            return torch.zeros(tensors[0].shape, dtype=options.get("dtype") or tensors[0].dtype)
        result = function(*given, **options)
        if isinstance(result, torch.Tensor) and result.is_meta and result.dtype == torch.float64:
            raise TypeError("this device does not know float64")
        return result


class TestDevice:
    def test_device_is_the_processor_unless_the_environment_names_another(self, monkeypatch):
        monkeypatch.delenv("BN_TUTORIAL_DEVICE", raising=False)
        assert device() == torch.device("cpu")
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "")
        assert device() == torch.device("cpu")
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
        with Accelerator():
            assert device() == torch.device("meta")

    @pytest.mark.parametrize("name", ["abacus", "meta", "cuda:77", "cpu:x"])
    def test_device_that_computes_nothing_here_is_refused_in_one_sentence(self, monkeypatch, name):
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", name)
        message = f"^BN_TUTORIAL_DEVICE is '{name}', expected a device that .*[^\n]*$"
        with pytest.raises(ValueError, match=message):
            device()

    @pytest.mark.parametrize("measure", MEASURES)
    @pytest.mark.parametrize("norm", [None, "batch", "layer", "actnorm", "ghost:4", "group:2"])
    def test_training_and_evaluation_take_place_on_another_device(
        self, data, monkeypatch, norm, measure
    ):
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
        model, held = net(norm), dataclasses.replace(data, validation=data.test)
        with Accelerator():
            history = train(model, held, Config(8, 4, 32), measure=MEASURES[measure])
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        assert [len(curve) for curve in numbers(history)] == [2] * 6 + [8]
        (values,) = history.measured.values()
        assert len(values) == 3


class Bomb(nn.Module):
    """Returns zeros, but something else from a given call in its mode on."""

    def __init__(self, at, value, training):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))
        self.at, self.value, self.when, self.calls = at, value, training, 0

    def forward(self, x):
        if self.training == self.when:
            self.calls += 1
            if self.calls > self.at:
                return self.bias + torch.full((len(x), 10), self.value)
        return self.bias.expand(len(x), 10)


def test_measure_sees_the_first_two_thousand_test_images(data):
    many = dataclasses.replace(data, test=noise(2_100, seed=3))
    seen = []
    config = Config(1, 1, 32)
    train(net(), many, config, measure=lambda _, images: seen.append(images) or {})
    expected = many.standardize(many.test.images[:2_000])
    assert all(torch.equal(images, expected) for images in seen)
    assert len(seen) == 2


class TestDivergence:
    config = Config(16, 4, 32)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_first_step_without_a_finite_loss_is_named(self, data, value):
        history = train(Bomb(5, value, training=True), data, self.config)
        assert history.diverged_at == 5
        assert all(map(math.isfinite, history.step_loss[:5]))
        assert all(map(math.isnan, history.step_loss[5:]))

    def test_its_epoch_and_the_remaining_ones_are_nan_at_full_length(self, data):
        history = train(Bomb(5, math.nan, training=True), data, self.config)
        assert [len(curve) for curve in numbers(history)] == [4, 4, 0, 0, 4, 4, 16]
        for curve in (history.train_loss, history.test_loss, history.test_accuracy):
            assert math.isfinite(curve[0])
            assert all(map(math.isnan, curve[1:]))

    def test_training_stops_at_the_end_of_that_epoch(self, data):
        model = Bomb(5, math.nan, training=True)
        train(model, data, self.config)
        assert model.calls == 8

    def test_a_long_epoch_is_not_trained_to_its_end(self, data):
        model = Bomb(5, math.nan, training=True)
        history = train(model, data, Config(100, 100, 32))
        assert model.calls == 20
        assert history.diverged_at == 5
        assert len(history.step_loss) == 100

    def test_test_loss_that_is_not_finite_counts_as_the_last_step_of_its_epoch(self, data):
        history = train(Bomb(1, math.nan, training=False), data, self.config)
        assert history.diverged_at == 7
        assert math.isnan(history.test_accuracy[1])

    def test_what_was_measured_ends_there_too(self, data):
        looks = iter([{"a": [0.0, 1.0]}, {"a": [2.0, 3.0]}, {"a": [4.0, 5.0]}])
        model = Bomb(5, math.nan, training=True)
        history = train(model, data, self.config, measure=lambda *_: next(looks))
        nothing = [[math.nan, math.nan]] * 3
        np.testing.assert_array_equal(history.measured["a"], [[0.0, 1.0], [2.0, 3.0], *nothing])

    def test_validation_loss_that_is_not_finite_counts(self, data):
        held = dataclasses.replace(data, validation=data.test)
        history = train(Bomb(2, math.nan, training=False), held, self.config)
        assert history.diverged_at == 7
        assert [len(curve) for curve in numbers(history)] == [4, 4, 4, 4, 4, 4, 16]

    def test_immediate_divergence_leaves_only_nan(self, data):
        history = train(Bomb(0, math.nan, training=True), data, self.config)
        assert history.diverged_at == 0
        assert all(math.isnan(value) for curve in numbers(history) for value in curve)

    def test_learning_rate_that_is_far_too_large_diverges_without_a_crash(self, data):
        config = Config(30, 10, 10, lr=1e30)
        history = train(net(activation="relu", init="he"), data, config)
        assert history.diverged_at is not None
        assert math.isnan(history.test_accuracy[-1])


class TestProgress:
    @pytest.mark.parametrize(
        ("progress", "terminal", "shown"),
        [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
    )
    def test_bar_is_shown_where_a_person_watches_or_as_told(
        self, data, monkeypatch, progress, terminal, shown
    ):
        stderr = io.StringIO()
        monkeypatch.setattr(stderr, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr(sys, "stderr", stderr)
        train(net(), data, Config(1, 1), progress=progress)
        assert ("evaluation" in stderr.getvalue()) is shown

    def test_bar_counts_the_evaluations_says_how_good_it_is_and_goes_away(self, data, monkeypatch):
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        history = train(net(), data, Config(6, 2, 32), progress=True)
        *_, last, cleared, end = stderr.getvalue().split("\r")
        assert "3/3" in last
        assert f"test_accuracy={history.test_accuracy[-1]:.1%}" in last
        assert not cleared.strip()
        assert not end
