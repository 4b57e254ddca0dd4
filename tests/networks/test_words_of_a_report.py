"""Whole reports of examinations, line by line, of models whose numbers are made up."""

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from bn_tutorial.networks.examine import examine, examine_state

INPUTS = [torch.arange(64.0).reshape(32, 2) + number for number in range(5)]
WHATEVER = "the statistics fit the activations, settings, modes, batches: examine()"
STALE_PAGE = "faults/eval_mode.html#fault-stale-statistics"
UPDATE = "torch.optim.swa_utils.update_bn(loader, model, next(model.parameters()).device)"


@pytest.fixture
def model():
    """Three layers that have counted 60 batches."""
    layers = nn.Sequential(*(nn.BatchNorm1d(2) for _ in range(3)))
    for layer in layers:
        for name, value in (("mean", 0.5), ("var", 2.0)):
            getattr(layer, f"running_{name}").fill_(value)
        layer.num_batches_tracked.fill_(60)
    return layers


def lines(report):
    return str(report).splitlines()


class TestState:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: state,
            lambda state: {"epoch": 3, "state_dict": state},
            lambda state: {"model_state_dict": state},
            lambda state: {"model": {"module": state}},
            lambda state: {"net": {"module": state}, "model": 3},
            lambda state: {"state_dict": {"model": {"module": state}}},
            lambda state: {"net": state},
            lambda state: {"network": state, "optimizer": {}},
        ],
    )
    def test_sound_one(self, model, wrap):
        assert lines(examine_state(wrap(model.state_dict()))) == [
            "HEALTHY: nothing to mend in its normalization",
            "state: 3 layers with running statistics",
            "OK   finite, gathered, gamma, counters",
            f"NOT CHECKED  whether {WHATEVER}",
        ]

    def test_averaged_one_that_has_counted_few_batches(self, model):
        model[0].num_batches_tracked.fill_(9)
        model[1].num_batches_tracked.fill_(28)  # after 28 at momentum 0.1, 5.2 % are left
        state = {**model.state_dict(), "n_averaged": torch.tensor(3)}
        report = examine_state(state)
        assert lines(report) == [
            "SUSPECT (2 warnings): weights that were averaged, with statistics of before",
            "state: 3 layers with running statistics",
            "WARN  averaged-weights: n_averaged is there: were the statistics gathered with the "
            "averaged weights?",
            "WARN  stale-statistics: 9 batches counted in 0, 1: at momentum 0.1 the initial 0 and "
            "1 weigh 39 %",
            "      nothing, if update_bn counted them",
            "NOTE  uneven-counters: 1, 2 counted 28 to 60 batches, most layers 9",
            "      a multiple: called several times, or recomputed by checkpointing; less: frozen "
            "or new",
            f"fix  {UPDATE}  # averaged-weights (not tried)",
            "OK   finite, gathered, gamma",
            f"NOT CHECKED  whether {WHATEVER}",
            f"see  faults/loading.html#fault-averaged-weights, {STALE_PAGE},",
            "     faults/freezing.html#fault-uneven-counters",
        ]
        assert report.layers("stale-statistics") == ["0", "1"]
        model[1].num_batches_tracked.fill_(29)
        assert examine_state(model.state_dict()).layers("stale-statistics") == ["0"]

    def test_broken_one(self, model):
        model[0].running_mean[0] = torch.nan
        nn.init.zeros_(model[1].weight)
        model[2].running_var.fill_(1)
        assert lines(examine_state(model.state_dict())) == [
            "SICK (2 errors, 1 warning): running statistics that are NaN, infinite or negative",
            "state: 3 layers with running statistics",
            "ERROR nan-statistics: 1 of 2 channels of 0 (0): eval mode is NaN from there on",
            "      training cannot show it: find what overflowed, then gather the statistics anew",
            "ERROR never-gathered: running_var is 1 in every channel of 2",
            "      60 batches were counted, though: the buffers were lost afterwards",
            "WARN  gamma-zero: all 2 gammas of 1 are at most 0.001: beta alone passes",
            "      no gradient reaches what comes before; was gamma decayed?",
            f"fix  {UPDATE}  # nan-statistics, never-gathered (not tried)",
            'fix  for name in report.layers("gamma-zero"): '
            "nn.init.ones_(model.get_submodule(name).weight)  # gamma-zero (not tried)",
            "OK   counters",
            f"NOT CHECKED  whether {WHATEVER}",
            "see  faults/half_precision.html#fault-nan-statistics, "
            "faults/eval_mode.html#fault-never-gathered,",
            "     faults/training.html#fault-gamma-zero",
        ]


class TestModel:
    STALE = (
        "      60 batches counted, 44 would do, so not too few: rate not decayed, weights "
        "averaged, other data?",
        "      2: mean off 0.49 sigma, var x 1.9",
        "      1: mean off 0.49 sigma, var x 1.9",
        f"fix  {UPDATE}  # stale-statistics",
    )

    def test_in_training_without_targets(self, model):
        change = "they change the outputs by 1300 % of their spread"
        assert lines(examine(model, INPUTS)) == [
            "SICK (1 error): the weights are fine, the running statistics are not: new ones, "
            f"{change}",
            "Sequential: 3 BatchNorm1d; 5 batches of 32, 26 passes",
            f"ERROR stale-statistics: 3 of 3 over 0.05 sigma; new ones: {change}",
            "      0: mean off 1.76 sigma, var x 0.0057",
            *self.STALE,
            f"     tried on a copy: {change}",
            "OK   momentum, flags, modes, 32 or more values a mean, batches random (F 0.2), shared "
            "layers, dropout,",
            "     channels, gamma",
            "NOT CHECKED  accuracy and loss (no targets); padding; passes of the training loop: "
            "watch_norms",
            f"see  {STALE_PAGE}",
        ]

    def test_in_evaluation_on_few_batches(self, model):
        found = lines(examine(model.eval(), INPUTS[:3]))
        assert found[1] == "Sequential: 3 BatchNorm1d; 3 batches of 32, 16 passes"
        assert found[3:] == [
            "      0: mean off 1.71 sigma, var x 0.0057",
            *self.STALE,
            "     tried on a copy: they change the outputs by 1267 % of their spread",
            "OK   momentum, flags, modes, 32 or more values a mean, shared layers, dropout, "
            "channels, gamma",
            "NOT CHECKED  which layers are frozen (the model is in eval mode); accuracy and loss "
            "(no targets); whether",
            "     batches are random (too few, or of one sample); padding; passes of the training "
            "loop: watch_norms",
            f"see  {STALE_PAGE}",
        ]

    def test_with_more_batches_than_were_looked_at(self, model):
        assert lines(examine(model, INPUTS, batches=4))[-4:-1] == [
            "OK   momentum, flags, modes, 32 or more values a mean, shared layers, dropout, "
            "channels, gamma",
            "NOT CHECKED  accuracy and loss (no targets); whether batches are random after the "
            "first 4 (F 0.2); padding;",
            "     passes of the training loop: watch_norms",
        ]

    def test_with_targets(self):
        generator = torch.Generator().manual_seed(0)
        data = TensorDataset(torch.randn(40, 2, generator=generator), torch.arange(40) % 2)
        net = nn.Sequential(nn.BatchNorm1d(2), nn.LayerNorm(2))
        report = examine(net, DataLoader(data, batch_size=8))
        assert report.seen == "1 BatchNorm1d, 1 LayerNorm; 5 batches of 8, 25 passes"
        assert report.unchecked == ["padding", "passes of the training loop: watch_norms"]
        assert [(row.name, row.remark) for row in report.rows] == [
            ("eval mode", ""),
            ("batch statistics", ""),
            ("statistics gathered anew", ""),
        ]
        with torch.no_grad():
            right = (net.eval()(data.tensors[0]).argmax(1) == data.tensors[1]).float().mean()
        assert report.rows[0].accuracy == pytest.approx(right.item())
        assert [*report.shifts] == ["0"]
        assert report.codes == ["never-gathered", "small-batches"]

    @pytest.mark.parametrize(
        ("count", "options", "found"),
        [
            (41, {"batch_size": 20}, True),
            (40, {"batch_size": 20}, False),
            (42, {"batch_size": 20}, False),
            (41, {"batch_size": 20, "drop_last": True}, False),
            (41, {"batch_sampler": BatchSampler(SequentialSampler(range(41)), 20, False)}, False),
        ],
    )
    def test_last_batch_of_one_sample_is_foretold_where_the_loader_tells(
        self, count, options, found
    ):
        loader = DataLoader(TensorDataset(torch.randn(count, 2)), **options)
        report = examine(nn.Sequential(nn.BatchNorm1d(2)), loader, batches=2)
        assert ("last-batch" in report.codes) == found
