"""The normalizations that a network can be given, by name.

Those of PyTorch, our own, and two variants of batch normalization that serve as controls.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, instance_norm

from bn_tutorial.networks.settings import whole


class GhostBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization over parts of the batch: "ghost batches".

    In training mode, and without running statistics in both modes, each part of ``size``
    consecutive samples (at least two) has its own mean and variance, as if it were a batch. The
    rest, and the ``options``, are those of :class:`torch.nn.BatchNorm1d`.

    Raises
    ------
    TypeError, ValueError
        If ``size`` is no such number; from ``forward``, if the input is not of shape (N, C) or
        (N, C, L), or N not a multiple of ``size`` where it is parted.

    Notes
    -----
    After Hoffer, Hubara and Soudry 2017, "Train longer, generalize better". There each part moves
    the running averages, one after the other; here the mean over the parts does, once in a step, so
    that they remember as many steps as those of batch normalization.

    Examples
    --------
    >>> layer = GhostBatchNorm1d(1, size=2)
    >>> x = torch.tensor([[1.0], [3.0], [100.0], [300.0]])
    >>> layer(x).detach().round(decimals=3).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(self, num_features: int, size: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.size = whole(size, "size")
        if self.size < 2:
            raise ValueError(f"size is {size}, expected at least 2: one sample has no spread")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C) or (N, C, L); in training mode, each part by itself."""
        _check_shape(x, self.num_features)
        if not self.training and self.running_mean is not None:
            return super().forward(x)
        if not len(x) or len(x) % self.size:
            raise ValueError(f"got {len(x)} samples, expected a multiple of size={self.size}")
        tracks = self.training and self.track_running_stats
        # A part is to instance normalization what an image is: it pools over all that follows the
        # channels, here the samples of the part and the length, if there is one.
        parts = x.reshape(len(x) // self.size, self.size, *x.shape[1:]).transpose(1, 2)
        y = instance_norm(
            parts,
            self.running_mean if tracks else None,
            self.running_var if tracks else None,
            self.weight,
            self.bias,
            use_input_stats=True,
            momentum=self._count_batch() if tracks else 0.0,
            eps=self.eps,
        )
        return y.transpose(1, 2).flatten(0, 1)

    def _count_batch(self) -> float:
        """Return the weight of this batch in the running averages, as PyTorch's layer has it."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain mean of all batches so far
                return 1 / float(self.num_batches_tracked)
        return self.momentum or 0.0


class ActNorm1d(nn.BatchNorm1d):
    """Batch normalization whose statistics are constants: those of the first training batch.

    The first batch in training mode sets mean and (biased) variance; from then on they stay as they
    are, in both modes. So the network starts as a batch-normalized one does, but no sample's output
    depends on the others of its batch, and no gradient flows through the statistics. A control:
    what it shares with batch normalization is not due to the statistics of the batch.

    Arguments and buffers are those of :class:`torch.nn.BatchNorm1d`. ``num_batches_tracked`` is one
    once the constants are set; while ``track_running_stats`` is set to False, no batch sets them.

    Raises
    ------
    ValueError
        If there are to be no running statistics; from ``forward``, if the input is not of shape
        (N, C) or (N, C, L), or the first batch has less than two values per unit.

    Notes
    -----
    The data-dependent initialization of Kingma and Dhariwal 2018, "Glow". A unit that is constant
    in the first batch is divided by the root of ``eps`` ever after.

    Examples
    --------
    >>> layer = ActNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).ravel().tolist()
    [-1.0, 1.0]
    >>> layer(torch.tensor([[5.0]])).detach().round(decimals=3).ravel().tolist()
    [3.0]
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        if not self.track_running_stats:
            raise ValueError("track_running_stats is False, expected True: they are the constants")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C) or (N, C, L), with the constants."""
        _check_shape(x, self.num_features)
        if self.training and self.track_running_stats and self.num_batches_tracked == 0:
            self._set_constants(x)
        mean, var = self.running_mean, self.running_var
        return batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)

    @torch.no_grad()
    def _set_constants(self, x: Tensor) -> None:
        if (count := x[:, 0].numel()) < 2:
            raise ValueError(f"got {count} values per unit in the first batch, expected at least 2")
        axes = (0, *range(2, x.ndim))
        self.running_mean.copy_(x.mean(axes))
        self.running_var.copy_(x.var(axes, unbiased=False))
        self.num_batches_tracked.add_(1)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *options: Any) -> None:
        # Without a counter, as old states are, PyTorch takes it to be zero: the first batch would
        # set constants that were loaded once more.
        if f"{prefix}running_mean" in state:
            state.setdefault(f"{prefix}num_batches_tracked", torch.tensor(1))
        super()._load_from_state_dict(state, prefix, *options)


def _check_shape(x: Tensor, units: int) -> None:
    if x.ndim not in (2, 3) or x.shape[1] != units:
        expected = f"(N, {units}) or (N, {units}, L)"
        raise ValueError(f"expected shape {expected}, got {tuple(x.shape)}")


def _numpy(units: int) -> nn.Module:
    # Not above, because only this norm needs the NumPy layer.
    from bn_tutorial.networks.bridge import NumpyBatchNorm1d

    return NumpyBatchNorm1d(units)


# One entry a kind, which names all that the kind needs: what a run depends on is looked up here.
# A second argument is the number in the name, as in "ghost:16".
NORMS: dict[str | None, Callable[..., nn.Module | None]] = {
    None: lambda _: None,
    "batch": lambda units: nn.BatchNorm1d(units),
    "numpy": lambda units: _numpy(units),
    "actnorm": lambda units: ActNorm1d(units),
    "layer": lambda units: nn.LayerNorm(units),
    "ghost": lambda units, number: GhostBatchNorm1d(units, size=number),
    "group": lambda units, number: nn.GroupNorm(number, units),
}


def parse_norm(norm: str | None) -> tuple[str | None, int | None]:
    """Take a name that :func:`norm_maker` knows apart: a key of ``NORMS``, and the number or None.

    Examples
    --------
    >>> parse_norm("ghost:16"), parse_norm("batch"), parse_norm(None)
    (('ghost', 16), ('batch', None), (None, None))
    """
    numbered = {kind: len(inspect.signature(make).parameters) == 2 for kind, make in NORMS.items()}
    name = re.fullmatch("([^:]+)(:[1-9][0-9]*)?", norm) if isinstance(norm, str) else None
    kind, number = name.groups() if name else (None, None)
    if (norm is None or name) and numbered.get(kind) == (number is not None):
        return kind, int(number[1:]) if number else None
    known = [f"{kind}:<number>" if numbered[kind] else kind for kind in NORMS]
    raise ValueError(f"norm is {norm!r}, expected one of {known}")


def norm_maker(norm: str | None) -> Callable[[int], nn.Module | None]:
    """Return what makes a normalization (Module or None) for a number of units.

    Parameters
    ----------
    norm : None or str
        None, ``"batch"`` (:class:`torch.nn.BatchNorm1d`), ``"numpy"`` (our own
        :class:`bn_tutorial.networks.bridge.NumpyBatchNorm1d`), ``"ghost:16"``
        (:class:`GhostBatchNorm1d`, 16 samples a part), ``"actnorm"`` (:class:`ActNorm1d`),
        ``"layer"`` (:class:`torch.nn.LayerNorm`) or ``"group:16"`` (:class:`torch.nn.GroupNorm`,
        16 groups). The two numbers may be others, from one on.

    Raises
    ------
    ValueError
        If ``norm`` is not one of the above; from the callable, if it does not go with the units.

    Examples
    --------
    >>> norm_maker("group:2")(8).num_groups
    2
    """
    kind, number = parse_norm(norm)

    def make(units: int) -> nn.Module | None:
        try:
            return NORMS[kind](units) if number is None else NORMS[kind](units, number)
        except ValueError as error:
            message = f"norm {norm!r} cannot be given {units} units: {error}"
            raise ValueError(message) from error

    return make
