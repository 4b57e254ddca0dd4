"""Four classes in eight dimensions, learnt in no time, for the tests of what looks at models."""

import torch
from torch.nn.functional import cross_entropy
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


def in_order(steps=60, batch=64):
    """Batches of the points in their order, again from the first after the last."""
    rows = (torch.arange(step * batch, (step + 1) * batch) % len(X) for step in range(steps))
    return [(X[some], Y[some]) for some in rows]


def train(model, batches=None):
    """Train with Adam, a step for each batch, at a rate that falls to zero; return the model."""
    batches = in_order() if batches is None else batches
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    for x, y in batches:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return model
