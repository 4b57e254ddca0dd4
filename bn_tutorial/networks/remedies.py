"""What can be done where a batch has too few samples for a mean and a variance.

Two layers that take their statistics from more samples than the gradient is taken from, and how a
network of another kind gets them. Both are :class:`torch.nn.BatchNorm1d` in evaluation mode.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from bn_tutorial.networks.norms import ActNorm1d
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.rivals import BatchRenorm
from bn_tutorial.networks.settings import whole


class GatheredBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization with the statistics of this batch and of the ones before it.

    In training mode mean and variance are those of the last ``batches`` batches together, or of as
    many as there have been. The weights have moved since the older ones, which are constants to the
    gradient: it flows through the part of this batch alone. The rest, and the ``options``, are
    those of :class:`torch.nn.BatchNorm1d`.

    Raises
    ------
    TypeError, ValueError
        If ``batches`` is not an integer of at least one; from ``forward``, if the input is not of
        shape (N, C).

    Notes
    -----
    The plain form that Yao et al. 2021, "Cross-Iteration Batch Normalization", begin with; they
    also correct the older statistics for the steps since then.

    Examples
    --------
    >>> layer = GatheredBatchNorm1d(1, batches=2)
    >>> for pair in torch.tensor([[[-1.0], [1.0]], [[9.0], [11.0]]]):
    ...     y = layer(pair)
    >>> [round(value, 2) for value in y.ravel().tolist()]  # the mean is 5, the variance 26
    [0.78, 1.18]
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, batches: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        if (batches := whole(batches, "batches")) < 1:
            raise ValueError(f"batches is {batches}, expected at least 1")
        self._before: deque[tuple[Tensor, Tensor]] = deque(maxlen=batches - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, shape (N, C)."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        now = x.mean(0), x.var(0, correction=0)
        means, variances = map(torch.stack, zip(now, *self._before, strict=True))
        self._before.append((now[0].detach(), now[1].detach()))
        # The variance of all is the mean of the variances and the variance of the means.
        mean, var = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        _remember(self, mean, var, len(x) * len(means))
        return self.weight * (x - mean) * torch.rsqrt(var + self.eps) + self.bias


class TwoPassBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization whose statistics are constants to the gradient.

    What a batch that is too large for the memory gives in two passes, part by part: one without a
    gradient, to find its mean and variance, and one to accumulate the gradient with them. So the
    outputs are those of :class:`torch.nn.BatchNorm1d`, and the gradient is that of each sample by
    itself.

    Raises
    ------
    ValueError
        From ``forward``, if the input is not of shape (N, C) or (N, C, L).

    Examples
    --------
    >>> x = torch.tensor([[1.0], [3.0]], requires_grad=True)
    >>> y = TwoPassBatchNorm1d(1)(x)
    >>> y[0].backward()
    >>> y.detach().round(decimals=3).ravel().tolist(), x.grad.round(decimals=3).ravel().tolist()
    ([-1.0, 1.0], [1.0, 0.0])
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        axes = (0, *range(2, x.ndim))
        mean, var = x.detach().mean(axes), x.detach().var(axes, correction=0)
        _remember(self, mean, var, x[:, 0].numel())
        return batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)


@torch.no_grad()
def _remember(
    layer: GatheredBatchNorm1d | TwoPassBatchNorm1d, mean: Tensor, var: Tensor, count: int
) -> None:
    """Move the running statistics of a layer; the variance is that of ``count`` values."""
    layer.running_mean.lerp_(mean, layer.momentum or 0.0)
    layer.running_var.lerp_(var * count / max(count - 1, 1), layer.momentum or 0.0)


#: What a perceptron can be given where batches are small, by name.
REMEDIES: dict[str, Callable[[int], nn.Module]] = {
    "renorm": lambda units: BatchRenorm(units),
    "gathered": lambda units: GatheredBatchNorm1d(units, batches=16),
    "frozen": lambda units: ActNorm1d(units),
    "two passes": lambda units: TwoPassBatchNorm1d(units),
}


def set_remedy(model: DeepNet, remedy: str) -> None:
    """Put a layer in front of each activation of a perceptron that has no normalization.

    Parameters
    ----------
    model : DeepNet
        Made with ``norm=None``.
    remedy : str
        A key of ``REMEDIES``: batch renormalization; the statistics of 16 batches
        (:class:`GatheredBatchNorm1d`); constants, which the first batch sets
        (:class:`bn_tutorial.networks.norms.ActNorm1d`); or :class:`TwoPassBatchNorm1d`.

    Raises
    ------
    ValueError
        If there is no such remedy.

    Examples
    --------
    >>> model = DeepNet(widths=(784, 8, 10))
    >>> set_remedy(model, "two passes")
    >>> [name for name, _ in model.hidden_1.named_children()]
    ['linear', 'norm', 'activation']
    """
    if remedy not in REMEDIES:
        raise ValueError(f"remedy is {remedy!r}, expected one of {list(REMEDIES)}")
    for name, block in list(model.named_children())[:-1]:
        parts = OrderedDict(block.named_children())
        linear, activation = parts["linear"], parts.pop("activation")
        assert isinstance(linear, nn.Linear)
        parts |= {"norm": REMEDIES[remedy](linear.out_features), "activation": activation}
        setattr(model, name, nn.Sequential(parts))
