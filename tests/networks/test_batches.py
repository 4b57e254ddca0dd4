from collections import Counter, namedtuple

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from bn_tutorial.networks.batches import Batches, Score, run, size, tensor_of

Output = namedtuple("Output", ["aux", "logits"])


def test_loader_comes_again_and_an_iterator_is_kept():
    for loader in ([1, 2, 3], iter([1, 2, 3])):
        batches = Batches(loader, 2)
        assert [*batches] == [*batches] == [1, 2]


@pytest.mark.parametrize("loader", [[], iter([])])
def test_empty_loader_is_refused(loader):
    with pytest.raises(ValueError, match="the loader yields no batch"):
        list(Batches(loader, 3))


def test_what_is_no_loader_is_refused():
    with pytest.raises(TypeError, match="loader is a int"):
        Batches(3, 1)
    with pytest.raises(TypeError, match=r"such as \[tensor\]"):
        Batches(torch.zeros(3, 2), 1)


@pytest.mark.parametrize(
    "batch", ["(x, y)", "[x, y]", "{'image': x, 'label': y}", "{'input': x, 'labels': y}"]
)
def test_inputs_and_targets_are_told_apart(batch):
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    model = nn.Linear(2, 2)
    output, target = run(model, eval(batch, {"x": x, "y": y}), None)
    assert torch.equal(output, model(x))
    assert torch.equal(target, y)


@pytest.mark.parametrize("batch", ["x", "(x,)", "{'input': x}"])
def test_inputs_may_come_without_target(batch):
    inputs = {"x": torch.randn(3, 2)}
    assert run(nn.Linear(2, 2), eval(batch, inputs), None)[1] is None


def test_several_inputs_go_by_name():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a - b

    output, target = run(Sum(), {"b": torch.ones(2), "a": 3 * torch.ones(2), "y": 5}, None)
    assert output.tolist() == [2, 2]
    assert target == 5


@pytest.mark.parametrize("batch", ["text", (1, 2, 3), 7])
def test_batch_of_another_kind_asks_for_forward(batch):
    with pytest.raises(TypeError, match="give forward=lambda"):
        run(nn.Linear(2, 2), batch, None)
    assert run(nn.Linear(2, 2), batch, lambda _, b: b if b == 7 else (b, 1)) in [
        (7, None),
        (batch, 1),
    ]


def test_inputs_take_the_precision_of_the_model_and_targets_stay_whole():
    output, target = run(nn.Linear(2, 2).double(), (torch.ones(3, 2), torch.ones(3).long()), None)
    assert output.dtype == torch.float64
    assert target.dtype == torch.int64


def test_predictions_are_found_in_what_models_return():
    y = torch.ones(2, 3)
    for output in (y, (y, 1), {"logits": y, "other": 0 * y}, Output(0 * y, y), {"x": y}):
        assert torch.equal(tensor_of(output), y)
    assert tensor_of(None) is None


X, Y = torch.arange(120.0)[:, None], torch.arange(120) // 60
DATA = TensorDataset(X, Y)
PAIRS = [*zip(X.split(10), Y.split(10), strict=True)]


def origin(loader, count=3, **classes):
    batches = Batches(loader, count)
    assert len([*batches]) == min(count, 12)
    return batches.origin(10, Counter(classes or {"0": 30}))


@pytest.mark.parametrize(
    ("options", "ordered"),
    [
        ({"batch_size": 10}, True),
        ({"batch_size": 10, "shuffle": True}, False),
        ({"batch_size": 10, "sampler": SubsetRandomSampler(range(120))}, False),
        ({"batch_size": 10, "sampler": WeightedRandomSampler([1.0] * 120, 120)}, False),
        ({"batch_size": 10, "sampler": DistributedSampler(DATA, 1, 0)}, False),
        ({"batch_size": 10, "sampler": DistributedSampler(DATA, 1, 0, shuffle=False)}, True),
        ({"batch_size": 10, "sampler": range(120)}, True),
        ({"batch_sampler": BatchSampler(RandomSampler(DATA), 10, False)}, False),
        ({"batch_sampler": BatchSampler(SequentialSampler(DATA), 10, False)}, True),
        ({"batch_sampler": [[*range(10)]] * 4}, True),  # of ones own, and in any order
        ({"batch_size": None, "shuffle": True}, True),  # perhaps of whole batches
    ],
)
def test_loader_has_an_order_unless_it_is_seen_to_draw_its_samples_at_random(options, ordered):
    assert origin(DataLoader(DATA, **options)).ordered is ordered


@pytest.mark.parametrize("kind", [list, iter, lambda _: DataLoader(DATA, 10)])
@pytest.mark.parametrize(("count", "ordered"), [(11, True), (12, False), (13, False)])
def test_order_is_known_once_all_batches_were_read(kind, count, ordered):
    assert origin(kind(PAIRS), count).ordered is ordered


class Named(Dataset):
    def __len__(self):
        return 120

    def __getitem__(self, index):
        return {"image": X[index], "label": int(Y[index])}


class Secret(Named):
    def __getitem__(self, index):
        if index > 100:
            raise KeyError(index)
        return X[index], Y[index].item()


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize(
    ("loader", "later"),
    [
        (PAIRS, [0] * 3 + [1] * 6),
        ([{"x": x, "labels": y} for x, y in PAIRS], [0] * 3 + [1] * 6),
        (DataLoader(DATA, 10), [0] * 3 + [1] * 7),
        (DataLoader(Named(), 10), [0] * 3 + [1] * 7),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 10, False)), None),
        (DataLoader(DATA, 10, collate_fn=lambda rows: default_collate(rows)), []),
        (DataLoader(DATA, 10, sampler=range(120)), []),
        (DataLoader(DATA, 10, shuffle=True), []),
        (DataLoader(Secret(), 10), []),
        (DataLoader(Stream(), 10), []),
        ([x for x, _ in PAIRS], []),
        ([(x, torch.cat([y[:, None]] * 2, 1)) for x, y in PAIRS], []),  # several at once
        (iter(PAIRS), []),
    ],
)
def test_classes_behind_the_batches_are_looked_up_where_they_can_be(loader, later):
    expected = [0] * 3 + [1] * 7 if later is None else later
    assert origin(loader).later == expected


def test_nothing_is_looked_up_where_the_batches_are_of_several_classes_or_none_is_known():
    assert origin(PAIRS, a=27, b=3).later
    assert not origin(PAIRS, a=26, b=4).later
    batches = Batches(PAIRS, 3)
    assert not batches.origin(10, Counter()).later


@pytest.mark.parametrize(
    ("loader", "size"),
    [
        (PAIRS, "10"),
        (tuple(PAIRS), "10"),
        ([[x] for x, _ in PAIRS], "10"),
        ([x for x, _ in PAIRS], "10"),
        (DataLoader(DATA, 10), "loader.batch_size"),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 10, False)), "10"),
        (DataLoader(DATA, 10, collate_fn=lambda rows: default_collate(rows)), "loader.batch_size"),
    ],
)
def test_samples_and_their_number_are_code_that_makes_such_a_loader(loader, size):
    told = origin(loader)
    assert told.size == size
    code = f"DataLoader({told.samples}, batch_size={told.size}{told.options})"
    again = eval(code, {"loader": loader, "DataLoader": DataLoader})
    assert getattr(again, "collate_fn", None) is getattr(loader, "collate_fn", default_collate)
    for batch, given in zip(again, loader, strict=True):
        for one, other in zip(batch, given, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "loader",
    [
        iter(PAIRS),
        DataLoader(Stream(), 10),
        DataLoader(PAIRS, None),
        [{"x": x, "labels": y} for x, y in PAIRS],
        [(x, "name", y) for x, y in PAIRS],
    ],
)
def test_samples_that_cannot_be_had_one_by_one_have_no_code(loader):
    assert origin(loader).samples == ""


def test_size_is_that_of_the_first_tensor():
    x = torch.ones(5, 2)
    assert [size(b) for b in (x, (x, 1), {"a": 3, "b": x}, "text", 7)] == [5, 5, 5, 0, 0]


def scored(output, target, loss=None):
    score = Score()
    score.add(output, target, loss)
    return score


def test_classes_are_scored_by_cross_entropy_and_accuracy():
    y, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    score = scored(y, target)
    assert score.loss == pytest.approx(cross_entropy(y, target).item())
    assert score.accuracy == (y.argmax(1) == target).double().mean().item()
    pixels = scored(torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4).long())
    assert pixels.counts == [32]


def test_numbers_and_yes_and_no_are_scored():
    y = torch.randn(6, 1)
    numbers, truth = torch.randn(6), torch.tensor([0, 1, 0, 1, 1, 1])
    assert scored(y, numbers).loss == pytest.approx(mse_loss(y[:, 0], numbers).item())
    assert scored(y, numbers).accuracy is None
    expected = binary_cross_entropy_with_logits(y[:, 0], truth.float()).item()
    assert scored(y, truth).loss == pytest.approx(expected)
    assert scored(y, truth).accuracy == ((y[:, 0] > 0) == (truth > 0)).double().mean().item()


@pytest.mark.parametrize(
    ("output", "target", "classes"),
    [
        (torch.zeros(4, 3), [0, 2, 2, 1], {0: 1, 1: 1, 2: 2}),
        (torch.zeros(4, 1), [0, 1, 1, 1], {0: 1, 1: 3}),
        (torch.zeros(4), [0.0, 1.0, 1.0, 1.0], {0: 1, 1: 3}),
        (torch.zeros(4, 1), [[0.0], [1.0], [0.0], [0.0]], {0: 3, 1: 1}),
        (torch.zeros(4), [0.0, 1.0, 0.5, 1.0], None),  # numbers
        (torch.zeros(4, 3), [0.0, 1.0, 2.0, 1.0], None),
        (torch.zeros(2, 3), [[0, 1, 1], [1, 1, 1]], None),  # several at once
        (torch.zeros(1, 3, 2), [[0, 1]], None),  # of each pixel
        (torch.zeros(()), 0, None),
        (None, [0, 1], None),
    ],
)
def test_classes_are_counted_where_each_sample_has_one(output, target, classes):
    score = scored(output, torch.tensor(target), lambda *_: torch.tensor(0.0))
    assert score.classes == ([classes] if classes else [])


def test_loss_of_ones_own_is_taken():
    score = scored(torch.randn(4, 3), torch.zeros(4).long(), lambda y, _: (y * 0).sum() + 7)
    assert score.loss == 7
    assert score.accuracy is not None


def test_nothing_is_scored_without_target():
    score = scored(torch.randn(4, 3), None)
    assert (score.loss, score.accuracy) == (None, None)


def test_losses_are_weighed_by_samples():
    score = Score([1.0, 4.0], [], [3, 1])
    assert score.loss == 1.75
