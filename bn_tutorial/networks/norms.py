"""The normalizations that a network can be given, by name.

Those of PyTorch, our own, and two variants of batch normalization that serve as controls.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, instance_norm


class GhostBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization over parts of the batch: "ghost batches".

    In training mode each part of ``size`` consecutive samples has its own mean and variance, as if
    it were a batch. Evaluation mode is that of batch normalization.

    Parameters
    ----------
    num_features : int
        Number of units C.
    size : int
        Samples in a part, at least two.

    Raises
    ------
    ValueError
        If ``size`` is less than two.

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

    def __init__(self, num_features: int, size: int) -> None:
        super().__init__(num_features)
        if size < 2:
            raise ValueError(f"size is {size}, expected at least 2: one sample has no spread")
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each part with its own statistics; in evaluation mode, all alike.

        Parameters
        ----------
        x : Tensor, shape (N, C)
            The batch.

        Returns
        -------
        Tensor, shape (N, C)
            The normalized, scaled and shifted batch.

        Raises
        ------
        ValueError
            In training mode, if N is not a multiple of ``size``.
        """
        if not self.training:
            return super().forward(x)
        if len(x) % self.size:
            raise ValueError(f"got {len(x)} samples, expected a multiple of size={self.size}")
        assert self.momentum is not None
        # A part is to instance normalization what an image is: it pools over the last axis.
        parts = x.reshape(-1, self.size, self.num_features).transpose(1, 2)
        y = instance_norm(
            parts,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            use_input_stats=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y.transpose(1, 2).flatten(0, 1)


class ActNorm1d(nn.BatchNorm1d):
    """Batch normalization whose statistics are constants: those of the first training batch.

    The first batch in training mode sets mean and (biased) variance; from then on they stay as they
    are, in both modes. So the network starts as a batch-normalized one does, but no sample's output
    depends on the others of its batch, and no gradient flows through the statistics. A control:
    what it shares with batch normalization is not due to the statistics of the batch.

    Parameters
    ----------
    num_features : int
        Number of units C.

    Notes
    -----
    The data-dependent initialization of Kingma and Dhariwal 2018, "Glow".

    Examples
    --------
    >>> layer = ActNorm1d(1)
    >>> layer(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).ravel().tolist()
    [-1.0, 1.0]
    >>> layer(torch.tensor([[5.0]])).detach().round(decimals=3).ravel().tolist()
    [3.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize with the constants.

        Parameters
        ----------
        x : Tensor, shape (N, C)
            The batch.

        Returns
        -------
        Tensor, shape (N, C)
            The normalized, scaled and shifted batch.
        """
        mean, var, tracked = self.running_mean, self.running_var, self.num_batches_tracked
        assert mean is not None
        assert var is not None
        assert tracked is not None
        if self.training and tracked == 0:
            with torch.no_grad():
                mean.copy_(x.mean(0))
                var.copy_(x.var(0, unbiased=False))
                tracked.add_(1)
        return batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)


def _scratch(units: int) -> nn.Module:
    # Not above, so that an edit of the equations makes only those runs obsolete that use them.
    from bn_tutorial.networks.bridge import NumpyBatchNorm1d

    return NumpyBatchNorm1d(units)


NORMS: dict[str | None, Callable[[int], nn.Module | None]] = {
    None: lambda _: None,
    "batch": nn.BatchNorm1d,
    "numpy": _scratch,
    "actnorm": ActNorm1d,
    "layer": nn.LayerNorm,
}

# Those with a number in their name.
_NUMBERED: dict[str, Callable[[int, int], nn.Module]] = {
    "ghost": lambda units, number: GhostBatchNorm1d(units, size=number),
    "group": lambda units, number: nn.GroupNorm(number, units),
}


def norm_maker(norm: str | None) -> Callable[[int], nn.Module | None]:
    """Return what makes a normalization for a number of units.

    Parameters
    ----------
    norm : None or str
        None: none. ``"batch"``: :class:`torch.nn.BatchNorm1d`. ``"numpy"``: our own
        :class:`bn_tutorial.networks.bridge.NumpyBatchNorm1d`. ``"ghost:16"``: :class:`GhostBatchNorm1d`
        with parts of 16 samples. ``"actnorm"``: :class:`ActNorm1d`. ``"layer"``:
        :class:`torch.nn.LayerNorm`. ``"group:16"``: :class:`torch.nn.GroupNorm` with 16 groups. The
        two numbers may be others.

    Returns
    -------
    callable
        Takes the number of units, returns a Module or None.

    Raises
    ------
    ValueError
        If ``norm`` is not one of the above.

    Examples
    --------
    >>> norm_maker("group:2")(8).num_groups
    2
    """
    kind, _, number = (norm or "").partition(":")
    if kind in _NUMBERED and number.isdecimal():
        return lambda units: _NUMBERED[kind](units, int(number))
    if norm not in NORMS:
        known = [*NORMS, *(f"{name}:<number>" for name in _NUMBERED)]
        raise ValueError(f"norm is {norm!r}, expected one of {known}")
    return NORMS[norm]
