"""Small runs on made-up images, for the tests of what trains, keeps and compares them."""

import dataclasses

import torch

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.training import Config

CONFIG = Config(4, 2, 32)


def make_data(count=64, digest=None):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (count,), generator=generator))
    return Dataset("noise", "noise", "none", "made here", digest or f"of {count}", split, split)


def make_run(norm=None, seed=0, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    return RunSpec(norm, widths=(784, 8, 8, 10), model_seed=seed, config=config)


def stamps(folder):
    """The finished runs in a folder, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
