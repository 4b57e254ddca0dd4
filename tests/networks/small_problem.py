"""Four classes in eight dimensions, learnt in no time, for the tests of what looks at models."""

import torch
from torch.utils.data import DataLoader, TensorDataset


def blobs(count=640):
    """Four clouds of points, far from the origin, and the number of each point's cloud."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (count,), generator=generator)
    centres = 3 * torch.randn(4, 8, generator=generator)
    return centres[y] + torch.randn(count, 8, generator=generator) + 5, y


X, Y = blobs()


def loader(batch=32, x=X, y=Y, **options):
    return DataLoader(TensorDataset(x, y), batch_size=batch, **{"shuffle": True, **options})
