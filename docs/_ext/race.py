"""What the race trains in the reader's page, and the same networks in PyTorch to compare with.

The digits are those that come with scikit-learn, enlarged as the package does it and reduced to
14x14 pixels of 16 greys. They are a script of the site, which the page asks for when a reader
begins: a page that is read from a disk can load scripts and nothing else.
"""

from __future__ import annotations

import base64
import functools
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dukpy
import numpy as np
from PIL import Image

if TYPE_CHECKING:  # an unchanged build need not wait for PyTorch
    from torch import Tensor

    from bn_tutorial.networks.perceptron import DeepNet

SCRIPTS = Path(__file__).parents[1] / "_static" / "race"
TRAIN, TEST = 1000, 200
STEPS = 400
SETTINGS = ("rival", "activation", "rate", "scale", "depth", "batch")

# What each network of the race is normalized with in PyTorch; "weights" are good initial weights.
NORMS = {"none": None, "batch": "batch", "layer": "layer", "weights": None}

# Each with what to look for, which parts of the figure are framed for that (their names are those
# in race.js), and, when the race is over, why it ended so.
PRESETS: list[dict[str, Any]] = [
    {
        "name": "usual weights",
        **dict(zip(SETTINGS, ("batch", "sigmoid", 0.1, 1, 4, 64), strict=True)),
        "look": "In the dashed frame: how much of the difference between images reaches the last "
        "of four layers of sigmoids, the network of the notebook that this site began with.",
        "frames": ["last signal"],
        "why": "Each layer without it passes on about a seventh of what differs. "
        "Where all images look alike, there is nothing to learn from.",
    },
    {
        "name": "good weights",
        **dict(zip(SETTINGS, ("batch", "sigmoid", 1, 7, 4, 64), strict=True)),
        "look": "In the frame: who is ahead at first, and who is in the end, when both begin with "
        "weights seven times as large and learn at a rate of 1.",
        "frames": ["accuracy"],
        "why": "With larger weights the difference arrives without any normalization: here a good "
        "beginning does most of what batch normalization does, only later.",
    },
    {
        "name": "too large a rate",
        **dict(zip(SETTINGS, ("batch", "relu", 3, 2, 4, 64), strict=True)),
        "look": "In the frame: the loss in the first steps, with ReLU, good first weights and a "
        "learning rate of 3.",
        "frames": ["first loss"],
        "why": "The first steps are so large that units without it give zero for every image, or "
        "no number at all, and nothing brings them back. Batch normalization does, at each step.",
    },
    {
        "name": "a batch of two",
        **dict(zip(SETTINGS, ("batch", "tanh", 0.03, 2, 4, 2), strict=True)),
        "look": "In the frame: the gradient of the first of four layers of tanh, where mean and "
        "variance are those of two images.",
        "frames": ["first gradient"],
        "why": "Of two images, a normalized unit says only which one gives the larger number. "
        "That hardly changes when a weight does, so next to no gradient is left.",
    },
    {
        "name": "deep",
        **dict(zip(SETTINGS, ("batch", "relu", 0.1, 1, 10, 64), strict=True)),
        "look": "In the frames: what reaches the last of ten layers of ReLU, and which layer has "
        "the largest gradient.",
        "frames": ["last signal", "gradient"],
        "why": "Without it, the difference is gone before the last layer. With it, it stays, "
        "though the gradient grows on its way back to the first layer.",
    },
]


# ---------------------------------------------------------------------------------------------
# Digits
# ---------------------------------------------------------------------------------------------


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 16 greys, uint8, shape (1200, 196), and labels: first the images to train on.

    The first ten test images are 0 to 9, each the one most like the mean of its digit.
    """
    from bn_tutorial.data.digits import draw

    train, test = draw(TRAIN, TEST)
    images = np.concatenate([part[0].numpy() for part in (train, test)])
    labels = np.concatenate([part[1].numpy() for part in (train, test)])
    pooled = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    greys = np.rint(pooled / 17).astype(np.uint8).reshape(len(images), -1)
    means = [greys[:TRAIN][labels[:TRAIN] == digit].mean(axis=0) for digit in range(10)]
    unlike = np.square(greys - np.array(means)[labels]).sum(axis=1)
    unlike[:TRAIN] = np.inf
    first = [int(np.argmin(np.where(labels == digit, unlike, np.inf))) for digit in range(10)]
    rest = [row for row in range(TRAIN, TRAIN + TEST) if row not in first]
    order = [*range(TRAIN), *first, *rest]
    return greys[order], labels[order]


def script() -> str:
    """Return the digits as the script of the site that ``train.js`` reads: two pixels a byte."""
    greys, labels = digits()
    pixels = base64.b64encode(greys[:, ::2] << 4 | greys[:, 1::2]).decode()
    content = {"train": TRAIN, "labels": "".join(map(str, labels)), "pixels": pixels}
    return (
        "/* Made from: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI,\n"
        "   CC BY 4.0; enlarged and distorted, 14x14 pixels of 16 greys. */\n"
        f"var bnDigits = {json.dumps(content)};\n"
    )


def strip() -> str:
    """Return a picture of the first ten test images, dark on white, as an address."""
    images = digits()[0][TRAIN:][:10].reshape(10, 14, 14)
    picture = np.hstack([np.pad(image, 1) for image in images])
    file = io.BytesIO()
    Image.fromarray(255 - 17 * picture).save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# ---------------------------------------------------------------------------------------------
# The same in PyTorch
# ---------------------------------------------------------------------------------------------


@functools.cache
def engine() -> dukpy.JSInterpreter:
    """Return a JavaScript engine that trains as a page does, only slower."""
    engine = dukpy.JSInterpreter()
    engine.evaljs((SCRIPTS / "train.js").read_text(encoding="utf-8") + "; 0")
    return engine


def beginning(settings: dict[str, Any], norm: str, steps: int) -> tuple[Any, list[list[int]]]:
    """Return what the page begins with: weights and biases by layer, and the rows of batches."""
    return engine().evaljs(
        """(() => {
          const {norm, settings, inputs, count, steps} = dukpy;
          const net = bnRace.network(norm, settings, inputs, 1);
          const next = bnRace.sampler(count, settings.batch, settings.seed);
          return [net.map(({W, b}) => [Array.from(W), Array.from(b)]),
                  Array.from({length: steps}, next)];
        })()""",
        norm=norm,
        settings=settings,
        steps=steps,
        inputs=digits()[0].shape[1],
        count=TRAIN,
    )


def network(settings: dict[str, Any], norm: str) -> DeepNet:
    """Return the network in PyTorch, in double precision, with the weights that the page draws."""
    import torch

    from bn_tutorial.networks.perceptron import DeepNet

    weights, _ = beginning(settings, norm, 0)
    widths = [digits()[0].shape[1], *(len(b) for _, b in weights)]
    net = DeepNet(NORMS[norm], widths=widths, activation=settings["activation"]).double()
    linears = [part for part in net.modules() if isinstance(part, torch.nn.Linear)]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, weights, strict=True):
            linear.weight.copy_(torch.tensor(weight, dtype=torch.float64).view_as(linear.weight))
            linear.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return net


def inputs() -> tuple[Tensor, Tensor]:
    """Return images as the networks take them, with mean 0 and deviation 1, and labels."""
    import torch

    greys, labels = (torch.from_numpy(array) for array in digits())
    known = greys[:TRAIN].double()
    return (greys.double() - known.mean()) / known.std(correction=0), labels


def frames(settings: dict[str, Any], norm: str, steps: int) -> list[dict[str, Any]]:
    """Train one network in PyTorch; return what the page shows of it before each step.

    And the logits of the first test image, to compare: answers hide small differences.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from bn_tutorial.networks import perceptron, probes

    net, (images, labels) = network(settings, norm), inputs()
    activation = type(perceptron.ACTIVATIONS[settings["activation"]]())
    optimizer = torch.optim.SGD(net.parameters(), settings["rate"])
    seen = []
    for batch in beginning(settings, norm, steps + 1)[1]:
        optimizer.zero_grad()
        with probes.watch(net, activation) as signals:
            loss = cross_entropy(net(images[batch]), labels[batch])
            loss.backward()
        hidden = [part for name, part in net.named_modules() if name.endswith(".linear")]
        with torch.no_grad():
            logits = net.eval()(images[TRAIN:])
        net.train()
        answers = logits.argmax(dim=1)
        right = answers == labels[TRAIN:]
        seen.append(
            {
                "loss": loss.item(),
                "signal": [probes.signal(output) for output in signals.outputs.values()],
                "gradient": [part.weight.grad.norm().item() for part in hidden],
                "accuracy": right.double().mean().item(),
                "answers": answers[:10].tolist(),
                "logits": logits[0].tolist(),
            }
        )
        optimizer.step()
    return seen


def settings_of(preset: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Return what the page gives to the training of a preset."""
    return {**{name: preset[name] for name in SETTINGS}, "seed": seed}


def first_frame(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what is seen of both networks before the first step."""
    arms = [frames(settings, norm, 0)[0] for norm in ("none", settings["rival"])]
    shown = ("loss", "signal", "gradient", "accuracy", "answers")
    return {"step": 0, **{name: [rounded(arm[name]) for arm in arms] for name in shown}}


def rounded(value: Any) -> Any:
    """Return numbers to six digits: the last ones depend on how many threads add them up."""
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
