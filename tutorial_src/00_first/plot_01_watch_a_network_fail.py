"""
Watch a network fail, and cure it
=================================

**The question.** Why can a network not learn to read digits, although every line of it is right?
And which seven lines change that?

This page is plain PyTorch. It needs ``torch`` and ``torchvision`` and nothing else, and runs as it
stands on a laptop or in a hosted notebook, in about three minutes. Where it says **Predict**, write
your answer down before you read on.

**You get** the reason for batch normalization, before any of its equations, and what it costs.
"""

import os

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import MNIST

torch.manual_seed(0)
folder = os.environ.get("MNIST_FOLDER", "data")  # where it is, or will be


def read(train):
    """Return images as rows of 784 numbers, of mean 0 and deviation 1."""
    known = MNIST(
        folder, train=train, download="MNIST_FOLDER" not in os.environ
    )
    images = known.data.reshape(-1, 784).float()
    return (images - images.mean()) / images.std(), known.targets


x_train, y_train = read(train=True)
x_test, y_test = read(train=False)

# %%
# A network
# ---------
# Four layers of 256 sigmoids, then ten outputs, one for each digit. Behind each linear map there is
# an empty place, for later.


def network(norm=nn.Identity, scale=1.0):
    """Return the network; its initial weights are PyTorch's, times a scale."""
    layers, inputs = [], 784
    for _ in range(4):
        linear = nn.Linear(inputs, 256)
        linear.weight.data *= scale
        layers += [linear, norm(256), nn.Sigmoid()]
        inputs = 256
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def train(net, epochs=2, lr=0.1):
    """Show the network every image, `epochs` times, in batches of 128."""
    optimizer = torch.optim.SGD(net.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(x_train)).split(128):
            optimizer.zero_grad()
            cross_entropy(net(x_train[rows]), y_train[rows]).backward()
            optimizer.step()


@torch.no_grad()
def answers(net, images, batch=1000):
    """Return the digit that the network sees in each image."""
    return torch.cat([net(part).argmax(dim=1) for part in images.split(batch)])


def accuracy(net, batch=1000):
    """Return how many of the test images are read correctly, in percent."""
    right = answers(net, x_test, batch) == y_test
    return 100 * right.float().mean().item()


# %%
# **Predict.** After two passes through 60,000 images: about 10, 50 or 95 % of the test images?

plain = network()
train(plain)
print(f"read correctly: {accuracy(plain):.1f} %")
print("digits that it ever answers:", answers(plain, x_test).unique().tolist())

# %%
# It gives one answer to all images, so it is right as often as that digit occurs. There is no error
# in the code. The network would learn if we waited for long enough; but something in it is in its
# way.
#
# Look into it
# ------------
# A network tells images apart by what *differs* between them. So take 1,000 images, and ask each of
# the 256 units of a layer how much its output differs from image to image: its standard deviation.
# We print the mean of these over the units, and draw it: each ``#`` more is a factor of 1.5.
#
# **Predict.** From the first layer to the fourth: does it grow, stay, or shrink?


@torch.no_grad()
def look(net):
    """Print how much the outputs of each layer differ from image to image."""
    x, layer = x_test[:1000], 0
    for part in net[:-1]:
        x = part(x)
        if isinstance(part, nn.Sigmoid):
            layer += 1
            spread = x.std(dim=0).mean()
            bar = "#" * round((spread / 1e-4).log().item() / 0.405)
            print(f"layer {layer}  {spread:.4f}  {bar}")
    return spread.item()


lost = look(network())

# %%
# Each layer passes on about a seventh of the differences that it gets. There are two reasons. A
# sigmoid is flat: where it is steepest, its slope is 1/4. And PyTorch's initial weights are small.
# What reaches the last layer is almost the same for all images: it does not see which image it is
# looking at. On the way back the gradient is divided in the same manner, so that the first layer
# hardly learns, and does not mend it.
#
# The cure
# --------
# **Predict.** What would you do? Larger weights? A larger learning rate? Something else?
#
# One idea: if what differs becomes too small, make it large again. After each linear map, for each
# unit, subtract its mean over the batch and divide by its standard deviation over the batch. Then
# outputs differ by about 1, whatever the weights are. The network may want another spread and
# another mean, so let it learn two numbers for each unit: ``gamma``, by which we multiply, and
# ``beta``, which we add. That is *batch normalization*, in seven lines:


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
# The signal reaches the last layer. PyTorch works out the gradient of these lines by itself. On its
# way back it goes through the same divisions, and they keep it alive, too.
#
# **Predict.** The same two passes, the same learning rate: how many are read correctly now?

cured = network(BatchNorm)
train(cured)
print(f"read correctly: {accuracy(cured):.1f} %")

# %%
# What does the cure cost?
# ------------------------
# The mean and the variance are those of the *batch*. So what the network says of an image depends
# on the images beside it. We tested it in batches of 1,000.
#
# **Predict.** The same network, the same test images, in batches of 8? of 2? of 1?

for batch in (1000, 8, 2, 1):
    print(f"in batches of {batch:4}: {accuracy(cured, batch):.1f} %")

# %%
# With a batch of one, every number *is* the mean of its column: nothing is left but ``beta``, and
# all images get the same answer. This is why a layer of batch normalization has two modes. In
# training it uses the batch, as ours does. For use afterwards it keeps running averages of the mean
# and the variance, and takes those (``net.eval()`` in PyTorch). Ours lacks that part.
#
# Nor must the images of a batch be all of one kind. Here they are sorted by digit.

in_order = y_test.argsort()
right = answers(cured, x_test[in_order], batch=100) == y_test[in_order]
print(f"sorted by digit, in batches of 100: {100 * right.float().mean():.1f} %")

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
# That is one number, chosen once, and it must be chosen anew for another activation or depth. Batch
# normalization finds it by itself, in each unit and at each step. How much it is worth against a
# rival that is set up so well is a question for measurements with several seeds and learning rates:
# :doc:`these </findings>` are what this site is for.

# fold: check what the words claim
assert len(answers(plain, x_test).unique()) == 1
assert accuracy(plain) < 15
assert lost < 0.001 < 0.1 < kept
assert accuracy(cured) > 85
assert accuracy(cured, 1) < 15
assert 100 * right.float().mean() < accuracy(cured) - 30
assert accuracy(rescaled) > 60

# %%
# **Try it.** Replace ``nn.Sigmoid`` by ``nn.ReLU`` in ``network`` (and in ``look``): is there
# anything to cure? Or put more layers in: ``range(8)``.
#
# Next: :doc:`the forward pass </derivations/forward>`, the same seven lines as equations, one at a
# time.
