import dataclasses
import io
import json
import math
import pickle
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.lab.pool import one_thread
from bn_tutorial.lab.training import CURVES, Config, History, device, train

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
        loss = cross_entropy(logits, labels).item()
        assert history.test_loss[-1] == pytest.approx(loss, rel=1e-5)
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
        held = dataclasses.replace(data, validation=data.test)
        history = train(net("batch"), held, Config(8, 4, 32))
        assert history.validation_loss == history.test_loss
        assert history.validation_accuracy == history.test_accuracy
        without = train(net("batch"), data, Config(8, 4, 32))
        assert without.step_loss == history.step_loss

    def test_measure_sees_the_network_before_the_first_step_and_at_each_evaluation(self, data):
        model, seen = net(), []

        def measure(measured, images):
            seen.append(pickle.dumps(measured.state_dict()))
            assert images.shape == (40, 784)
            return {"norm": measured.output.weight.norm().item(), "nan": math.nan}

        initial = pickle.dumps(model.state_dict())
        history = train(model, data, Config(8, 4, 32), measure=measure)
        assert [len(curve) for curve in history.measured.values()] == [3, 3]
        assert seen[0] == initial
        assert seen[-1] == pickle.dumps(model.state_dict())
        assert history.measured["norm"][-1] == model.output.weight.norm().item()
        assert not model.training

    def test_device_is_that_of_the_environment(self, data, monkeypatch):
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
        assert device() == torch.device("meta")
        with pytest.raises(NotImplementedError):  # this device computes nothing
            train(net(), data, Config(1, 1))
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "abacus")
        with pytest.raises(RuntimeError, match="abacus"):
            device()

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

    def test_data_are_not_changed(self, data):
        before = pickle.dumps([data.train, data.test])
        train(net("batch"), data, Config(4, 4, 32))
        assert pickle.dumps([data.train, data.test]) == before

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

    @pytest.mark.parametrize("lr", [math.nan, math.inf, -0.1])
    def test_learning_rate_must_be_a_positive_number(self, lr):
        with pytest.raises(ValueError, match="lr is"):
            Config(lr=lr)


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
        history = train(
            Bomb(5, math.nan, training=True), data, self.config, measure=lambda *_: {"one": 1.0}
        )
        assert history.measured["one"][:2] == (1.0, 1.0)
        assert all(map(math.isnan, history.measured["one"][2:]))
        assert len(history.measured["one"]) == 5

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


class TestHistory:
    loss, accuracy = (1.0, math.nan), (0.5, math.nan)
    history = History(
        loss, accuracy, loss, accuracy, loss, accuracy, (1.0,), {"slope": (0.1, math.nan)}, 3.0
    )

    def test_histories_with_nan_can_be_equal_also_after_pickling(self):
        copy = pickle.loads(pickle.dumps(self.history))
        assert copy == self.history
        assert hash(copy) == hash(self.history)

    def test_duration_does_not_count(self):
        assert dataclasses.replace(self.history, seconds=9.0) == self.history

    @pytest.mark.parametrize(
        "name",
        [
            *("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
            *("test_loss", "test_accuracy", "step_loss"),
        ],
    )
    def test_every_curve_counts(self, name):
        assert dataclasses.replace(self.history, **{name: (0.25,)}) != self.history

    @pytest.mark.parametrize("measured", [{}, {"slope": (0.1, 0.2)}, {"other": (0.1, math.nan)}])
    def test_all_that_was_measured_counts(self, measured):
        assert dataclasses.replace(self.history, measured=measured) != self.history

    def test_divergence_counts(self):
        assert dataclasses.replace(self.history, diverged_at=3) != self.history

    def test_history_equals_nothing_else(self):
        assert self.history != dataclasses.asdict(self.history)

    def test_numbers_are_plain_and_json_takes_them(self, data):
        history = train(net(), data, Config(1, 1))
        assert {type(value) for curve in numbers(history) for value in curve} == {float}
        json.dumps(dataclasses.asdict(history), allow_nan=False)


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
