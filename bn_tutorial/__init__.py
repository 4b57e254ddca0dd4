"""Batch normalization from scratch, and the experiments that show what it does.

The package has four wings; imports run from the later to the earlier, never back.
`scratch` holds the equations and the layers made of them, in NumPy alone: begin with `reading`, the
layer in twenty lines. `data` gives the experiments their images. `networks` holds what PyTorch
trains, our layer inside it, and what looks into it. `lab` trains, repeats and compares, and draws
what was found. `storage` and `fingerprint` serve all of them: files that are there whole or not at
all, and whether a result is still current.

The layers can be imported from here.
"""

from bn_tutorial.scratch.layers import (
    BatchNorm1D,
    BatchNorm2D,
    BatchNorm3D,
    GroupNorm,
    InstanceNorm1D,
    InstanceNorm2D,
    InstanceNorm3D,
    LayerNorm,
    RMSNorm,
)

__version__ = "0.1.0"

__all__ = [
    "BatchNorm1D",
    "BatchNorm2D",
    "BatchNorm3D",
    "GroupNorm",
    "InstanceNorm1D",
    "InstanceNorm2D",
    "InstanceNorm3D",
    "LayerNorm",
    "RMSNorm",
    "__version__",
]
