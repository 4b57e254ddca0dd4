"""Each check on a fault that it must find, and on its harmless neighbour."""

import copy

import pytest
import torch
from small_problem import X, Y, loader
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.ops import FrozenBatchNorm2d

from bn_tutorial.networks.batches import Score
from bn_tutorial.networks.checks_with_data import gain
from bn_tutorial.networks.examine import examine


def net(*first):
    return nn.Sequential(
        *first, nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)
    )


def train(model, batches=None, rate=0.02, epochs=6):
    model.train()
    batches = loader(64, drop_last=True) if batches is None else batches
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, epochs * len(batches))
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
    return model


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return train(net())


@pytest.fixture
def model(trained):
    return copy.deepcopy(trained)


def alarms(model, data=None, **options):
    report = examine(model, loader() if data is None else data, **options)
    return {found.code: found for found in report.alarms}


def mend(found, model, data=None):
    """Run the remedy as it is printed; return the loader that there is then."""
    names = {"model": model, "loader": data, "nn": nn, "torch": torch}
    exec(found.remedy, names)
    return names["loader"]


def test_gain_must_be_large_and_certain():
    sure = Score([1.0] * 4, [10] * 4, [20] * 4), Score([0.5] * 4, [15] * 4, [20] * 4)
    assert gain(*sure).matters
    assert gain(*sure).words == "accuracy 50.0 % -> 75.0 %, loss 1 -> 0.5"
    assert not gain(*reversed(sure)).matters
    small = Score([0.98] * 4, [10] * 4, [20] * 4)
    assert not gain(sure[0], small).matters
    by_chance = Score([0.1, 1.5, 0.1, 1.5], [19, 6, 19, 6], [20] * 4)
    assert not gain(sure[0], by_chance).matters
    assert gain(Score([torch.nan], [0], [9]), Score([2.0], [0], [9])).matters
    tiny = Score([0.01] * 4, [20] * 4, [20] * 4), Score([0.001] * 4, [20] * 4, [20] * 4)
    assert not gain(*tiny).matters  # a tenth of nothing


def test_averaged_weights_are_known(model):
    average = torch.optim.swa_utils.AveragedModel(copy.deepcopy(model))
    average.module[1].running_mean += 5
    for mean, own in zip(average.parameters(), model.parameters(), strict=True):
        mean.data.copy_(own)
    found = alarms(average)["averaged-weights"]
    assert found.level == "error"
    torch.optim.swa_utils.update_bn(loader(), average)
    assert not alarms(average)


def test_counter_tells_whether_there_were_too_few_batches(model):
    model[1].running_mean.mul_(0.1)
    for count, words in (
        (9, "still weigh 39 %, unless update_bn counted; 44 would do"),
        (500, "so not too few"),
    ):
        model[1].num_batches_tracked.fill_(count)
        assert words in " ".join(alarms(model)["stale-statistics"].details)


def test_one_broken_channel_does_not_make_the_others_stale(model):
    model[1].running_mean[0] = torch.nan
    assert [*alarms(model)] == ["nan-statistics"]


def test_batches_sorted_by_class_are_found():
    order = Y.argsort()
    torch.manual_seed(0)
    sorted_batches = loader(32, X[order], Y[order], shuffle=False)
    model = train(net(), sorted_batches)
    found = alarms(model, sorted_batches)["batches-not-random"]
    assert (found.level, found.layers) == ("warning", ("1",))  # the model learnt all the same
    assert found.summary.startswith("F ")
    assert found.summary.endswith(" between batches in 1 (random: 1, too much: 3)")
    assert "batches-not-random" not in alarms(model, mend(found, model, sorted_batches))


ORDER = Y.argsort()
LISTED = [*zip(X[ORDER].split(16), Y[ORDER].split(16), strict=True)]
LOADED = loader(16, X[ORDER], Y[ORDER], shuffle=False)


@pytest.mark.parametrize("sorted_batches", [LISTED, LOADED])
def test_one_class_is_no_random_batch_where_others_come_later(model, sorted_batches):
    assert (Y == 0).sum() > 6 * 16
    report = examine(model, sorted_batches, batches=6)
    (found,) = report.alarms
    assert (found.level, found.code, found.layers) == ("warning", "batches-not-random", ())
    assert found.summary == "all 96 samples are of class 0, but 9 of 10 behind them are not"
    assert report.verdict == "SUSPECT (1 warning): batches that are no random samples"
    assert "batches random" not in str(report)
    assert "batches are random" not in str(report)
    torch.manual_seed(0)
    assert "batches-not-random" in alarms(train(net(), sorted_batches), sorted_batches, batches=6)
    mended = mend(found, model, sorted_batches)
    assert (mended.batch_size, len(mended)) == (16, 40)
    report = examine(model, mended, batches=6)
    assert not report.alarms
    assert any(line.startswith("batches random (F ") for line in report.sound)


def test_one_class_is_no_random_batch_where_it_is_lost_and_nothing_can_be_looked_up(model):
    found = alarms(model, iter(LISTED), batches=6)["batches-not-random"]
    assert found.summary.startswith("all 96 samples are of class 0, and eval -> batch accuracy")
    assert (found.level, found.remedy) == ("warning", "")
    assert found.details[-1] == "make the loader anew, of samples in random order"


def test_data_of_one_class_are_no_fault_and_what_they_cost_is_noted(model):
    one = [(x, y) for x, y in LISTED if not y.any()]
    for batches in (5, 20):
        report = examine(model, one, batches=batches)
        assert not report.alarms
        note = next(found for found in report.findings if found.code == "batches-not-random")
        assert note.summary.startswith("eval mode -> batch statistics: accuracy")
        assert ("all of one class" in str(report)) == (batches == 5)


def test_sound_model_is_healthy_with_a_loader_that_is_not_shuffled_but_no_order_is_vouched_for(
    model,
):
    for data in (loader(shuffle=False), [*zip(X.split(32), Y.split(32), strict=True)]):
        report = examine(model, data, batches=10)
        assert not report.alarms
        assert "batches random" not in str(report)
        assert "whether batches are random after the first 10 (F " in " ".join(report.unchecked)
        whole = examine(model, data)
        assert any(line.startswith("batches random (F ") for line in whole.sound)


@pytest.mark.parametrize(
    "data", [LISTED, [x for x, _ in LISTED], DataLoader(TensorDataset(X, Y), 2, shuffle=True)]
)
def test_lines_for_other_loaders_can_be_copied(model, data):
    small = [x[:8] for x in data] if data is not LISTED and isinstance(data, list) else data
    small = [(x[:8], y[:8]) for x, y in data] if data is LISTED else small
    found = alarms(model, small)["small-batches"]
    mended = mend(found, model, small)
    assert mended.batch_size == 32
    assert "small-batches" not in alarms(model, mended)


def test_small_last_batch_does_not_make_batches_look_sorted(model):
    assert len(X[:601]) % 40 == 1
    assert not alarms(model, loader(40, X[:601], Y[:601], drop_last=True))
    batches = loader(40, X[:601], Y[:601])
    found = alarms(model, batches, batches=15)  # without the last one
    assert [*found] == ["last-batch"]
    assert (found["last-batch"].level, found["last-batch"].layers) == ("warning", ("1",))
    mended = mend(found["last-batch"], model, batches)
    assert (mended.batch_size, len(mended)) == (40, 15)
    assert not alarms(model, mended)


@pytest.mark.parametrize(
    ("count", "code", "level"),
    [(602, "last-batch", "warning"), (610, "last-batch", "note"), (601, "one-value", "error")],
)
def test_short_last_batch_that_is_read_does_not_make_all_of_them_small(model, count, code, level):
    batches = loader(40, X[:count], Y[:count], shuffle=False)
    findings = {found.code: found for found in examine(model, batches).findings}
    assert not {"small-batches", "batch-of-one"} & findings.keys()
    assert findings[code].level == level
    mended = mend(findings[code], model, batches)
    assert (mended.batch_size, len(mended)) == (40, 15)
    assert not alarms(model, mended)


@pytest.mark.parametrize(("size", "level"), [(2, "error"), (8, "warning"), (16, None)])
def test_means_of_few_values_are_found(model, size, level):
    found = alarms(model, loader(size)).get("small-batches")
    assert (found.level if found else None) == level
    if found:
        assert found.summary.startswith(f"{size} values share a mean in 1 (few: under 16), 1 such")
        assert found.layers == ("1",)
        assert bool(found.details) == (size == 2)
        assert not alarms(model, mend(found, model, loader(size)))


def test_samples_one_by_one_are_refused_in_training_and_batches_mend_that(model):
    found = alarms(model.train(), loader(1))["one-value"]
    assert (found.level, found.layers) == ("error", ("1",))
    assert found.summary.startswith("1 (BatchNorm1d) raises in train mode: Expected more than 1")
    assert len(found.details) == 1
    assert not alarms(model, mend(found, model, loader(1)))


def test_images_one_by_one_are_instance_normalization():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.BatchNorm2d(3))
    images = [torch.randn(1, 3, 8, 8) * s + s for s in torch.rand(60) * 4]
    for image in images:
        layer(image)
    (found,) = alarms(layer, images).values()
    assert (found.code, found.layers) == ("batch-of-one", ("0",))
    assert found.summary.startswith("one sample a batch in 0")
    assert "nn.InstanceNorm2d(C, affine=True)" in found.details[0]
    assert not alarms(nn.Sequential(nn.InstanceNorm2d(3)), images)


def test_layer_for_two_distributions_is_found_and_for_one_is_not():
    class Twice(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.norm, self.factor, self.out = nn.BatchNorm1d(8), factor, nn.Linear(8, 4)

        def forward(self, x):
            return self.out(self.norm(x) + self.norm(self.factor * x))

    torch.manual_seed(0)
    assert not alarms(train(Twice(1.0)))
    found = alarms(train(Twice(-1.0)))["several-distributions"]
    assert "norm is called 2 times a pass" in found.summary
    assert (found.level, found.layers) == ("warning", ("norm",))
    assert found.details[0].startswith("a layer of its own for each use")


def test_dropout_before_the_layer_is_found_and_behind_it_is_not():
    torch.manual_seed(0)
    model = train(net(nn.Dropout(0.5)))
    (found,) = alarms(model).values()
    assert (found.code, found.layers) == ("dropout-in-front", ("2",))
    assert "0 before 2: variance x" in found.summary
    assert found.details[0].startswith("with the statistics of evaluation: ")
    mend(found, model)
    assert model[0].p == 0
    behind = net()
    behind.insert(3, nn.Dropout(0.5))
    assert not alarms(train(behind))


def test_remedy_takes_away_the_drops_of_other_libraries():
    class DropPath(nn.Module):
        """As timm has it: the share that it drops is not called p."""

        def __init__(self, drop_prob):
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x):
            kept = 1 - self.drop_prob * self.training
            return x * torch.empty(len(x), 1).bernoulli_(kept) / kept

    torch.manual_seed(0)
    model = train(net(nn.Sequential(DropPath(0.4), nn.Dropout(0.3))))
    (found,) = alarms(model).values()
    assert "0.0, 0.1 before 2: variance x" in found.summary
    mend(found, model)
    assert (model[0][0].drop_prob, model[0][1].p) == (0, 0)
    assert not hasattr(model[0][0], "p")


def test_dropout_that_has_no_module_of_its_own_is_found():
    class Hidden(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, 0.5, self.training)

    torch.manual_seed(0)
    assert "something before 2" in alarms(train(net(Hidden())))["dropout-in-front"].summary


def test_channels_that_eps_decides_are_found_and_a_few_dead_ones_noted(model):
    small = nn.Sequential(nn.BatchNorm1d(8))
    tiny = [(1e-4 * x,) for x, _ in loader()]
    for (x,) in tiny:
        small(x)
    torch.optim.swa_utils.update_bn(tiny, small)
    found = alarms(small, tiny)["dead-channels"]
    assert (found.level, found.layers) == ("warning", ("0",))
    assert found.summary.startswith("8 of 8 channels of 0 with variance up to eps")
    assert found.details
    mend(found, small)
    torch.optim.swa_utils.update_bn(tiny, small)
    assert not alarms(small, tiny)
    model[0].weight.data[3] = 0
    model[1].running_var[3], model[1].running_mean[3] = 0, 0
    report = examine(model, loader())
    (found,) = report.findings
    assert (found.level, found.code, found.layers) == ("note", "dead-channels", ("1",))
    assert found.summary == "1 channels with variance up to eps, in 1"


def test_channel_of_which_rounding_decides_is_found():
    x = X.clone()
    x[:, 2] = 1e5
    layer = nn.Sequential(nn.BatchNorm1d(8))
    torch.optim.swa_utils.update_bn(loader(x=x), layer)
    found = alarms(layer, [x for x, _ in loader(x=x)])["lost-digits"]
    assert "1 of 8 channels of 0 (2): the mean, 1e+05, is rounded" in found.summary
    assert (found.level, found.layers, len(found.details)) == ("warning", ("0",), 1)
    layer.double()
    assert "lost-digits" not in alarms(layer, [x for x, _ in loader(x=x)])


def test_samples_that_hardly_differ_are_found_by_eps():
    layer = nn.Sequential(nn.LayerNorm(8))
    (found,) = alarms(layer, [1e-4 * torch.randn(8, 8)]).values()
    assert (found.level, found.code, found.layers) == ("warning", "dead-channels", ("0",))
    assert found.summary.startswith("0: 100 % of its means are over values")
    assert not alarms(layer, [torch.randn(8, 8)])


def test_nan_is_traced_to_the_weights_or_to_the_first_layer(model):
    bad = X.clone()
    bad[5, 0] = torch.nan
    found = alarms(model, loader(x=bad, shuffle=False))["nan-activations"]
    assert (found.level, found.layers) == ("error", ("1",))
    assert found.summary.startswith("1 is the first layer whose input is NaN")
    model[0].weight.data[0, 0] = torch.inf
    found = alarms(model)["nan-activations"]
    assert (found.level, found.layers) == ("error", ("0.weight",))
    assert found.summary == "parameters are NaN or infinite: 0.weight"


def test_gap_that_nothing_explains_is_found(model):
    class Leaky(nn.Module):
        """Computes something else in eval mode."""

        def __init__(self):
            super().__init__()
            self.body, self.norm = model, nn.BatchNorm1d(8, affine=False)

        def forward(self, x):
            return self.body(x) * (1 if self.norm.training else -1) + 0 * self.norm(x).sum()

    leaky = Leaky()
    torch.optim.swa_utils.update_bn(loader(), leaky)
    (found,) = alarms(leaky).values()
    assert (found.level, found.code, found.layers) == ("error", "eval-worse", ())
    assert found.summary.startswith("eval mode -> batch statistics: accuracy")
    assert len(found.details) == 1


@pytest.mark.parametrize("size", [1e12, 1e18])
def test_batch_that_exploded_once_is_found_in_all_channels(model, size):
    x = X[:32].clone()
    x[0] = size
    model.train()
    with torch.no_grad():
        model(x)
        for _ in range(3):
            for x, _ in loader():
                model(x)
    model[1].running_var.clamp_(min=1e14)
    model[1].running_mean.zero_()
    found = alarms(model)["huge-statistics"]
    assert (found.level, found.layers) == ("error", ("1",))
    assert "a batch exploded" in found.details[0]
    assert found.tried
    torch.optim.swa_utils.update_bn(loader(), model)
    assert not alarms(model)


def test_variances_of_other_units_are_stale_not_huge(model):
    report = examine(model, loader(x=X / 2**16))
    assert "huge-statistics" not in report.codes


def images(count=6):
    return [torch.randn(16, 3, 8, 8) + 2 for _ in range(count)]


def test_constants_that_were_never_loaded_are_found_and_those_that_were_are_not():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), FrozenBatchNorm2d(8), nn.ReLU())
    with torch.no_grad():
        model[0].weight *= 1e-3  # so that eps would decide, if the layer normalized
    (found,) = alarms(model, images()).values()
    assert (found.level, found.code, found.layers) == ("warning", "never-gathered", ("1",))
    assert "nothing is normalized: 1" in found.summary
    assert found.details[0].startswith("update_bn does not move constants: load sound ones")
    assert not found.remedy
    torch.optim.swa_utils.update_bn(images(), model)
    assert alarms(model, images())  # it does not, indeed
    model[1].running_var.fill_(1e-4)
    model[1].running_mean.fill_(0.1)
    assert not alarms(model, images())
    model[1].running_mean[2] = torch.nan
    (found,) = alarms(model, images()).values()
    assert (found.code, found.layers, found.remedy) == ("nan-statistics", ("1",), "")
    assert found.details[0].startswith("update_bn does not move constants")


def test_momentum_of_zero_is_why_nothing_was_gathered():
    torch.manual_seed(0)
    model = net()
    model[1].momentum = 0.0
    report = examine(train(model), loader())
    assert report.codes[:2] == ["never-gathered", "track-running-stats"]
    assert report.errors[0].details == ("momentum is 0: no batch moves them",)
    assert not {"momentum", "flags"} & {*report.sound}
    names = {"model": model, "loader": loader(), "report": report, "torch": torch}
    for found in report.alarms:
        exec(found.remedy, names)
    assert model[1].momentum == 0.1
    assert not alarms(model)


def test_huge_statistics_are_right_where_the_inputs_are_huge():
    layer = nn.Sequential(nn.BatchNorm1d(4))
    stamps = [1.7e9 + 60 * torch.randn(32, 4) for _ in range(20)]
    for x in stamps:
        layer(x)
    torch.optim.swa_utils.update_bn(stamps, layer)
    assert [*alarms(layer, stamps)] == ["lost-digits"]
    assert "huge-statistics" in alarms(layer, [x - 1.7e9 for x in stamps])
