"""
Watch a network fail, and cure it
=================================

**The question.** Why can a network not learn to read digits, although every line of it is right?
And what must one add to change that?

This page is plain PyTorch. It needs ``torch`` and ``torchvision`` and nothing else, and runs as it
stands on a laptop or in a hosted notebook such as Colab, in a minute or two. The first time, it
downloads MNIST (11 MB) into the folder ``data``; where there is no network, put MNIST's four files
into ``data/MNIST/raw`` beforehand. (On the site, the output is that of the data named at the foot
of the page; yours will differ a little.) Where it says **Predict**, write your answer down before
you read on.

The network is an extreme case. Today one would begin with ReLU, with which the same trouble needs
more layers to show; with sigmoids four layers are enough.

**You get** the reason for batch normalization, before any of its equations, and what it costs.
"""

import os

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import MNIST

torch.manual_seed(0)
torch.set_num_threads(1)  # for a network so small, more cost time
folder = os.environ.get("MNIST_FOLDER", "data")  # where MNIST is, or will be


def read(train):
    """Return images as rows of 784 numbers, of mean 0 and deviation 1."""
    there = "MNIST_FOLDER" in os.environ
    known = MNIST(folder, train=train, download=not there)
    images = known.data.reshape(-1, 784).float()
    return (images - images.mean()) / images.std(), known.targets


x_train, y_train = read(train=True)
x_test, y_test = read(train=False)

# %%
# A network
# ---------
# Four layers of 256 sigmoids, then ten outputs, one for each digit. Behind each linear map there is
# an empty place, for later: ``nn.Identity`` passes on what it gets.


def network(norm=nn.Identity, scale=1.0):
    """Return the network, with PyTorch's initial weights times a scale."""
    layers, inputs = [], 784
    for _ in range(4):
        linear = nn.Linear(inputs, 256)
        linear.weight.data *= scale
        layers += [linear, norm(256), nn.Sigmoid()]
        inputs = 256
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def train(net, epochs=2, lr=0.1):
    """Show it every image, as often as there are epochs, in batches of 128."""
    optimizer = torch.optim.SGD(net.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(x_train)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(x_train[rows]), y_train[rows]).backward()
            optimizer.step()


@torch.no_grad()
def answers(net, images, batch=1000):
    """Return the digit that the network sees in each image."""
    parts = images.split(batch)
    return torch.cat([net(part).argmax(dim=1) for part in parts])


def accuracy(net, batch=1000):
    """Return how many of the test images are read correctly, in percent."""
    right = answers(net, x_test, batch) == y_test
    return 100 * right.float().mean().item()


# %%
# **Predict.** After two passes through 60,000 images: about 10, 50 or 95 % of the test images?

plain = network()
train(plain)
print(f"read correctly: {accuracy(plain):.1f} %")
print("its answers:", answers(plain, x_test).unique().tolist())

# %%
# It gives one answer to all images, so it is right as often as that digit occurs. There is no error
# in the code; something keeps the network from learning.
#
# Look into it
# ------------
# A network tells images apart by what *differs* between them. So take a new network, before any
# training, and 1,000 images, and ask each of the 256 units of a layer how much its output differs
# from image to image: its standard deviation. We print the mean of these over the units, and beside
# it the length of the gradient that reaches the weights of the layer.
#
# **Predict.** From the first layer to the fourth: does what differs grow, stay, or shrink?


def look(net):
    """Print how much the outputs of each layer differ, and its gradient."""
    outputs, x = [], x_test[:1000]
    for part in net:
        x = part(x)
        if isinstance(part, nn.Sigmoid):
            outputs.append(x)
    cross_entropy(x, y_test[:1000]).backward()
    print("layer  differs by  gradient")
    for number, output in enumerate(outputs):
        spread = output.std(dim=0).mean().item()
        slope = net[3 * number].weight.grad.norm().item()
        print(f"{number + 1:5}  {spread:10.4f}  {slope:8.4f}")
    return spread


lost = look(network())

# %%
# From the second layer on, each passes on about a seventh of the differences that it gets. The
# sigmoids are not saturated, quite the opposite: they sit where they are steepest. But even there
# the slope of a sigmoid is 1/4, and PyTorch's initial weights pass on 1/√3 of what differs, which
# makes 0.14. What reaches the last layer is almost the same for all images; it does not see which
# image it is looking at. The gradient shrinks in the same way from the last layer to the first (at
# the last step by less, for the first layer's weights are multiplied by pixels, which differ more),
# so that the first layers hardly move, and nothing repairs it.
#
# The cure
# --------
# **Predict.** What would you do? Larger weights? A larger learning rate? Something else?
#
# One idea: if what differs becomes too small, make it large again. After each linear map, for each
# unit, subtract its mean over the batch and divide by its standard deviation over the batch. Then
# the inputs of each sigmoid differ by 1, for weights of any size. The network may want another
# spread and another mean, so let it learn two numbers for each unit: ``gamma``, by which we
# multiply, and ``beta``, which we add. That is *batch normalization*. Apart from what every class
# in PyTorch begins with, it takes seven lines. (``correction=0``: the variance is divided by the
# size of the batch, not by one less.)


class BatchNorm(nn.Module):
    """Batch normalization, as it works while a network trains."""

    def __init__(self, units):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(units))
        self.beta = nn.Parameter(torch.zeros(units))

    def forward(self, x):
        """Normalize each column of x, shape (batch, units)."""
        mean, variance = x.mean(dim=0), x.var(dim=0, correction=0)
        x_hat = (x - mean) / (variance + 1e-5).sqrt()  # never divides by 0
        return self.gamma * x_hat + self.beta


kept = look(network(BatchNorm))

# %%
# The signal reaches the last layer. (A sigmoid turns inputs that differ by 1 into outputs that
# differ by about 0.2.) And a gradient reaches the first one: PyTorch works out the gradient of our
# lines by itself, and where the way forward divides by a small number, so does the way back.
#
# **Predict.** The same two passes, the same learning rate: how many are read correctly now?

cured = network(BatchNorm)
train(cured)
print(f"read correctly: {accuracy(cured):.1f} %")

# %%
# What does the cure cost?
# ------------------------
# The mean and the variance are those of the *batch*. So what the network answers for an image
# depends on the images beside it. We tested it in batches of 1,000.
#
# **Predict.** The same network, the same test images, in batches of 8? of 2? of 1?

for batch in (1000, 8, 2, 1):
    print(f"in batches of {batch:4}: {accuracy(cured, batch):.1f} %")

# %%
# Of two images, each unit only says in which of the two its input is greater. Of one image it says
# nothing: every number *is* the mean of its column, only ``beta`` is left, and all images get the
# same answer. (PyTorch's own layer refuses a batch of one.) This is why a layer of batch
# normalization has two modes. In training it uses the batch, as ours does. For use afterwards it
# keeps running averages of the mean and the variance, and takes those (``net.eval()`` in PyTorch).
# Ours lacks that part.
#
# A batch of images of one kind is bad, too. Here the test images are sorted by digit.

in_order = y_test.argsort()
right = answers(cured, x_test[in_order], batch=100) == y_test[in_order]
print(f"sorted, in batches of 100: {100 * right.float().mean():.1f} %")

# %%
# The mean that is subtracted is then what the hundred images have in common: the digit itself.
#
# Is it the only cure?
# --------------------
# No. The signal shrinks to a seventh per layer, so let us make the initial weights seven times as
# large, without any normalization.

rescaled = network(scale=7.0)
look(rescaled)
train(rescaled)
print(f"read correctly: {accuracy(rescaled):.1f} %")

# %%
# It learns. Some signal is still lost, because with larger inputs the sigmoids leave their steepest
# part: the right factor is not quite seven, and it is another one for another activation or depth.
# Batch normalization finds it by itself, in each unit and at each step. Whether it is better than a
# network whose initial weights are chosen so well, and by how much, must be measured, with several
# seeds and learning rates: see :doc:`the findings </findings>`.

# fold: check what the words claim
assert len(answers(plain, x_test).unique()) == 1
assert accuracy(plain) < 15
assert lost < 0.001 < 0.1 < kept
assert accuracy(cured) > 80
assert accuracy(cured, 1) < 15
assert 100 * right.float().mean() < accuracy(cured) - 30
assert accuracy(rescaled) > 50

# %%
# **Try it.** Replace ``nn.Sigmoid`` by ``nn.ReLU`` in ``network`` and in ``look``: by which factor
# does the signal shrink now, and how many layers (``range(4)``) does it take until training fails?
# Or give the failing network a learning rate of 1, and ten epochs.
#
# Smaller networks that you can change so without writing code train here, in your browser. Say in
# each of five settings which of the two will learn:
#
# .. widget:: race
#
#    With JavaScript you say which of two networks will learn, and both train here. The dots show
#    what they begin with: without normalization, what differs between images is all but gone in the
#    last layer. That network learns nothing, as you have seen above; the one with batch
#    normalization does.
#
# Next: :doc:`the same comparison </gallery/03_in_training/plot_01_compare_training>`, for longer
# and with several seeds.
