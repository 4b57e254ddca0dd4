"""A stand-in for a graphics processor, to find code that assumes the processor where there is none.

Within ``with accelerator():`` PyTorch believes in a device, by default ``cuda``. What is put there
is kept and computed on the processor, so that its bits are those of the processor. But it refuses
what CUDA refuses:

- to become a NumPy array (``.numpy()``, ``np.asarray``), where ``.cpu()``, ``.item()`` and
  ``.tolist()`` are ways back;
- to meet a tensor of the processor in one operation. As for CUDA, elementwise operations take a
  number in a tensor without axes, and indexing takes indices, from there;
- a generator of the processor's random numbers.

``accelerator("mps")`` refuses double precision besides, as that device does.

How: a tensor that was put there is a :class:`There`, which PyTorch takes for one of its device
``meta`` (known everywhere, computing nothing) and which holds the tensor of the processor. One mode
renames the device in requests such as ``torch.zeros(3, device="cuda")``, another carries out every
operation. Modes belong to a thread, so what runs in other processes or threads knows nothing of
the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

META = torch.device("meta")
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


class There(torch.Tensor):
    """A tensor on the device; ``host`` is the same in the processor's memory."""

    @staticmethod
    def __new__(cls, host, device):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=META,
        )

    def __init__(self, host, device):
        self.host, self.place = host, device

    __torch_function__ = torch._C._disabled_torch_function_impl  # else .cpu() would be There too

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} outside of the block that pretends there is an accelerator")

    # Module.to changes parameters that can be taken apart in place, as it does for CUDA.
    def __tensor_flatten__(self):
        return ["host"], self.place

    @staticmethod
    def __tensor_unflatten__(parts, place, _size, _stride):
        return There(parts["host"], place)

    # What PyTorch would answer for meta.
    device = property(lambda self: self.place)
    is_meta = property(lambda _: False)
    is_cpu = property(lambda _: False)
    is_cuda = property(lambda self: self.place.type == "cuda")

    def numpy(self, **_):
        raise TypeError(
            f"can't convert {self.place} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )

    def tolist(self):
        return self.cpu().tolist()

    def __format__(self, spec):
        return format(self.item() if self.ndim == 0 else str(self), spec)

    def __repr__(self, **_):
        return f"{repr(self.host)[:-1]}, device='{self.place}')"


class _Requests(TorchFunctionMode):
    """Read the name of the device as meta."""

    def __init__(self, device):
        super().__init__()
        self.names = {device, torch.device(device.type), str(device), device.type}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:  # a name is no request
            return func(*args, **kwargs or {})

        def renamed(value):
            known = isinstance(value, str | torch.device) and value in self.names
            return META if known else value

        args, kwargs = tree_map(renamed, (args, kwargs or {}))
        # PyTorch forgets the numbers of a tensor that is made on meta.
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            return func(*args, **kwargs | {"device": "cpu"}).to(META)
        if func is torch.Tensor.new_tensor and isinstance(args[0], There):
            kwargs = {"dtype": args[0].dtype} | kwargs
            return torch.tensor(*args[1:], **kwargs | {"device": "cpu"}).to(META)
        if func is torch.Tensor.cuda:
            return args[0].to(META)
        return func(*args, **kwargs)


@contextmanager
def _gradients_checked(roots):
    """Refuse a gradient that is not on its tensor's device, which PyTorch overlooks for There."""

    def check(node, gradients, places):
        for gradient, place in zip(gradients, places, strict=True):
            if gradient is None or place is None or gradient.ndim == 0:
                continue
            if isinstance(gradient, There) != (place.device == META):
                raise RuntimeError(
                    f"{node.name()} got or returned an invalid gradient at {gradient.device}, "
                    "its tensor is on another device"
                )

    def check_returned(gradients, _, node):
        parents = node.next_functions
        check(node, gradients, [parent and parent._input_metadata[i] for parent, i in parents])

    pending = [root.grad_fn for root in roots if root.grad_fn]
    hooks = [
        node.register_prehook(lambda given, node=node: check(node, given, node._input_metadata))
        for node in pending
    ]
    seen = set()
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            hooks.append(node.register_hook(partial(check_returned, node=node)))
            pending += [parent for parent, _ in node.next_functions if parent]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Operations(TorchDispatchMode):
    """Carry out operations on the processor, and refuse what CUDA refuses."""

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # else PyTorch imports its compiler, only to skip it, which takes seconds

    def __init__(self, device):
        super().__init__()
        self.place = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = tree_flatten((args, kwargs))[0]
        there = [value for value in given if isinstance(value, There)]
        target = kwargs.get("device")
        if not there and target != META:
            return func(*args, **kwargs)
        # In inference mode operations come as they were called, not yet taken apart.
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE):
            with self:
                return func._op_dk(COMPOSITE, *args, **kwargs)
        self.refuse(func, args, given)

        given_as = {}  # what was given, by the identity of what stands for it on the processor

        def host(value):
            inner = value.host if isinstance(value, There) else value
            if isinstance(inner, torch.Tensor):
                given_as[id(inner)] = value
            return torch.device("cpu") if inner == META else inner

        def back(value):
            if not isinstance(value, torch.Tensor):
                return value
            if id(value) in given_as:  # an operation in place returns its argument
                return given_as[id(value)]
            if target not in (None, META):
                return value
            if value.dtype == torch.float64 and self.place.type == "mps":
                raise TypeError(
                    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework "
                    "doesn't support float64. Please use float32 instead."
                )
            with torch.inference_mode(False):  # in that mode, too, a view is what it is a view of
                return There(value, self.place)

        if torch.Tag.inplace_view in func.tags:  # such as squeeze_: the shape of both changes
            with no_dispatch():
                func(*args, **kwargs)
        hosted, named = tree_map(host, (args, kwargs))
        return tree_map(back, func(*hosted, **named))

    def refuse(self, func, args, given):
        name = func.overloadpacket.__name__.rstrip("_")
        there = [value for value in given if isinstance(value, There)]
        here = [v for v in given if isinstance(v, torch.Tensor) and not isinstance(v, There)]
        for value in given:
            if isinstance(value, torch.Generator):
                raise RuntimeError(
                    f"Expected a {self.place.type!r} device type for generator but found 'cpu'"
                )
        if not there or not here or name in ("copy", "_to_copy"):
            return
        if name in ("index", "index_put", "_index_put_impl"):
            if not isinstance(args[0], There):
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor "
                    "(cpu)"
                )
            here = [value for value in args[2:3] if value.ndim and not isinstance(value, There)]
        elif torch.Tag.pointwise in func.tags or name in ("masked_fill", "fill"):
            changed = args[:1] if func._schema.is_mutable else ()
            here = [value for value in here if value.ndim or any(value is v for v in changed)]
        if here:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{self.place} and cpu! (when checking {func})"
            )


@contextmanager
def accelerator(name: str = "cuda") -> Iterator[torch.device]:
    """Pretend, while a block runs, that there is a device of this type, and yield it."""
    device = torch.device(name, 0)
    run_backward = torch.autograd._engine_run_backward

    def run_backward_there(roots, *args, **kwargs):
        # PyTorch leaves the mode when it calls this, but backward passes may make requests too.
        with _Requests(device), _gradients_checked(roots):
            return run_backward(roots, *args, **kwargs)

    with (
        mock.patch.object(torch.autograd, "_engine_run_backward", run_backward_there),
        _Requests(device),
        _Operations(device),
    ):
        yield device
