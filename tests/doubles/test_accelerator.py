"""The stand-in for a graphics processor refuses and permits what CUDA does."""

import copy

import numpy as np
import pytest
import torch
from accelerator import accelerator
from torch import nn
from torch.nn.functional import cross_entropy


@pytest.fixture(autouse=True)
def device():
    with accelerator() as device:
        yield device


@pytest.fixture
def there():
    return torch.ones(2, 3).to("cuda")


HERE = torch.ones(2, 3)
INDEX = torch.tensor([0])

REFUSED = {
    "numpy": (TypeError, lambda there: there.numpy()),
    "asarray": (TypeError, lambda there: np.asarray(there)),
    "array of numbers": (TypeError, lambda there: np.array([there.sum(), there.mean()])),
    "array times tensor": (TypeError, lambda there: np.ones(3) * there),
    "tensor times array": (RuntimeError, lambda there: there * torch.from_numpy(np.ones(3))),
    "sum": (RuntimeError, lambda there: there + HERE),
    "sum of one number there": (RuntimeError, lambda there: there.sum() + HERE),
    "product": (RuntimeError, lambda there: there @ HERE.T),
    "stack": (RuntimeError, lambda there: torch.stack([there.sum(), HERE.sum()])),
    "in place": (RuntimeError, lambda there: HERE.add_(there)),
    "number in place": (RuntimeError, lambda there: HERE.sum().add_(there.sum())),
    "comparison": (RuntimeError, lambda there: torch.equal(there, HERE)),
    "index_select": (RuntimeError, lambda there: there.index_select(0, INDEX)),
    "index there": (RuntimeError, lambda there: HERE[INDEX.to(there.device)]),
    "values": (RuntimeError, lambda there: there.index_put_((INDEX,), HERE[:1])),
    "labels": (RuntimeError, lambda there: cross_entropy(there, torch.tensor([0, 1]))),
    "layer": (RuntimeError, lambda there: nn.Linear(3, 1)(there)),
    "layer there": (RuntimeError, lambda there: nn.Linear(3, 1).to(there.device)(HERE)),
    "generator": (
        RuntimeError,
        lambda there: torch.randperm(3, generator=torch.Generator(), device=there.device),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(name, there):
    error, operation = REFUSED[name]
    with pytest.raises(error, match=r"cuda|indices should be either on cpu|unsupported operand"):
        operation(there)


PERMITTED = {
    "number from here": lambda x, _: x * HERE.sum(),
    "to a number from here": lambda x, _: HERE.sum() - x,
    "index from here": lambda x, _: x[INDEX],
    "mask from here": lambda x, _: x[torch.tensor([True, False])],
    "mask": lambda x, _: x[x > 1],
    "rows": lambda x, moved: x.index_select(0, moved(INDEX)),
    "zeros": lambda x, _: torch.zeros_like(x),
    "zeros on its device": lambda x, _: torch.zeros(2, device=x.device),
    "tensor on its device": lambda x, _: torch.tensor([1.0, 2.0], device=x.device),
    "new tensor": lambda x, _: x.new_tensor([1.0, 2.0]),
    "product": lambda x, moved: x @ moved(HERE).T,
    "quantile": lambda x, _: torch.quantile(x, 0.5, dim=0),
    "histogram": lambda x, _: torch.histc(x, bins=4, min=0, max=4),
    "permutation": lambda _, moved: moved(
        torch.randperm(5, generator=torch.Generator().manual_seed(0))
    ),
    "double": lambda x, _: x.double(),
    "detach": lambda x, _: x.detach(),
    "views": lambda x, _: x.T.reshape(-1)[2:],
    "parts": lambda x, _: x.split(1)[1],
    "views in place": lambda x, _: x.clone().unsqueeze_(0).transpose_(1, 2).squeeze_(),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", PERMITTED)
def test_what_cuda_permits_gives_the_processors_numbers_there(name, device, inference):
    x = torch.arange(6.0).view(2, 3)
    there = x.to("cuda")
    operation = PERMITTED[name]
    with torch.inference_mode(inference):
        found, expected = operation(there, lambda t: t.to("cuda")), operation(x, torch.clone)
    assert found.device == device == torch.device("cuda:0")
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert torch.equal(found.cpu(), expected)


def test_numbers_come_back(there):
    back = there.cpu()
    assert (type(back), back.device.type) == (torch.Tensor, "cpu")
    assert np.asarray(back).tolist() == there.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert (there.sum().item(), float(there.sum()), int(there.sum())) == (6, 6, 6)
    assert (f"{there.mean():.2f}", bool(there.all())) == ("1.00", True)
    assert str(there[0]) == "tensor([1., 1., 1.], device='cuda:0')"


def test_moving_what_is_there_gives_it_back(there, device):
    assert there.to("cuda") is there.to(device) is there.to("cuda:0") is there.cuda() is there
    assert HERE.to(there).device == device
    assert HERE.cuda().device == device
    assert HERE.to("cpu") is HERE


def test_assignment_and_changes_in_place_are_seen_through_views(there):
    row = there[0]
    there[:, 0] = 5
    there[INDEX, 1] = 6.0
    row.mul_(2)
    there[1] = HERE[1]  # a copy, which crosses devices
    assert there.tolist() == [[10, 12, 2], [1, 1, 1]]
    HERE.clone().copy_(there)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sigmoid(), nn.Linear(4, 2))


def test_network_moves_in_place_and_learns_with_the_processors_bits(device):
    x, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 2
    here, there = network(), network()
    parameters = list(there.parameters())
    assert there.to(device) is there
    assert all(a is b for a, b in zip(there.parameters(), parameters, strict=True))
    for _ in range(3):
        for model, place in ((here, "cpu"), (there, device)):
            model.zero_grad()
            cross_entropy(model(x.to(place)), labels.to(place)).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
        there.to(device)  # a second time, as the training loop does
    for name, value in there.state_dict().items():
        assert value.device == device
        assert torch.equal(value.cpu(), here.state_dict()[name])
    assert {parameter.grad.device for parameter in parameters} == {device}
    twin = copy.deepcopy(there).double()
    assert (twin[0].weight.device, twin[0].weight.dtype) == (device, torch.float64)
    assert not torch.equal(twin[0].weight, there[0].weight.double().zero_())
    assert type(there.cpu()[0].weight) is nn.Parameter


class Forgetful(torch.autograd.Function):
    """Returns its gradient in the processor's memory, whatever it was given."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, dy):
        return dy.cpu()


def losses(x):
    return {
        "leaf": Forgetful.apply(x).sum(),
        "between": Forgetful.apply(x * 1).sum(),
    }


@pytest.mark.parametrize("name", ["leaf", "between"])
def test_gradient_on_another_device_than_its_tensor_is_refused(name, device):
    x = torch.ones(3, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"ForgetfulBackward .* invalid gradient"):
        losses(x)[name].backward()
    with pytest.raises(RuntimeError, match=r"ForgetfulBackward .* invalid gradient"):
        torch.autograd.grad(losses(x)[name], x)
    assert x.grad is None
    with pytest.raises(RuntimeError, match=r"MulBackward0 .* invalid gradient"):
        torch.autograd.backward([x * 2], [torch.ones(3)])


def test_gradient_crosses_devices_where_its_tensor_did(device):
    x = torch.ones(3, requires_grad=True)
    (x.to(device) * 2).sum().backward()
    assert x.grad.device.type == "cpu"
    assert x.grad.tolist() == [2, 2, 2]


def test_mps_has_no_double_precision():
    with accelerator("mps") as mps:
        there = HERE.to(mps)
        for operation in (there.double, lambda: HERE.double().to(mps)):
            with pytest.raises(TypeError, match="float64"):
                operation()
        assert there.cpu().double().dtype == torch.float64


def test_nothing_is_left_behind():
    with accelerator() as other:
        left = torch.ones(3, device=other)
    assert torch.ones(3).device.type == "cpu"
    assert left.device == other
