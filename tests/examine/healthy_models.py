"""Healthy models: every family of torchvision's classifiers with a normalization, built small."""

from __future__ import annotations

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from torchvision import models
from torchvision.models import convnext, efficientnet, mobilenetv3, regnet, resnet, vgg
from torchvision.models import swin_transformer as swin

SIZE, BATCH = 32, 32


def digits():
    """The embedded digits as colour images, standardized, and their labels."""
    raw = load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32)[:, None]
    x = interpolate((x - x.mean()) / x.std(), size=(SIZE, SIZE), mode="bilinear")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x.expand(-1, 3, -1, -1).contiguous()[order], torch.tensor(raw.target)[order]


def loader(images, labels, *, batch=BATCH):
    data = torch.utils.data.TensorDataset(images, labels)
    return torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)


def group_norm(channels):
    return nn.GroupNorm(4 if channels % 4 == 0 else 1, channels)


def _resnet(block, norm=None, **options):
    """Three stages: the fourth, of most of the weights, would see images of one pixel."""
    model = models.ResNet(block, [1, 1, 1, 1], norm_layer=norm, **options)
    model.layer4, model.fc = nn.Identity(), nn.Linear(256 * block.expansion, 10)
    return model


def _vgg():
    features = vgg.make_layers([16, "M", 32, "M", 32, "M", 64, "M", 64, "M"], batch_norm=True)
    model = models.VGG(features, num_classes=10)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)
    return model


def _googlenet(heads=False):
    """Without three modules whose outputs are as wide as their inputs."""
    model = models.GoogLeNet(num_classes=10, aux_logits=heads, init_weights=False)
    model.inception4b = model.inception4c = model.inception5a = nn.Identity()
    return model


def _swin(version):
    block, merge = {
        1: (swin.SwinTransformerBlock, swin.PatchMerging),
        2: (swin.SwinTransformerBlockV2, swin.PatchMergingV2),
    }[version]
    return models.SwinTransformer(
        *([4, 4], 24, [1, 1], [2, 2], [4, 4]), num_classes=10, block=block, downsample_layer=merge
    )


def _mobilenet_v2(norm=None):
    setting = [[1, 16, 1, 1], [6, 24, 1, 2], [6, 32, 2, 2], [6, 64, 2, 2]]
    return models.MobileNetV2(10, 0.5, inverted_residual_setting=setting, norm_layer=norm)


def _mnasnet():
    model = models.MNASNet(0.25, num_classes=10)
    model.layers = nn.Sequential(*model.layers[:11])
    model.classifier[1] = nn.Linear(model.layers[10][-1].layers[-1].num_features, 10)
    return model


def _mobilenet_v3():
    row = partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    setting = [
        row(16, 3, 16, 16, True, "RE", stride=2),
        row(16, 3, 64, 24, False, "RE", stride=2),
        row(24, 5, 96, 40, True, "HS", stride=1),
    ]
    return models.MobileNetV3(setting, last_channel=128, num_classes=10)


def _efficientnet(version):
    if version == 1:
        row = partial(efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
        setting = [row(1, 3, 1, 32, 16, 1), row(6, 3, 2, 16, 24, 2), row(6, 5, 2, 24, 40, 2)]
        return models.EfficientNet(setting, dropout=0.2, num_classes=10)
    fused, row = efficientnet.FusedMBConvConfig, efficientnet.MBConvConfig
    setting = [fused(1, 3, 1, 24, 24, 1), fused(4, 3, 2, 24, 48, 2), row(4, 3, 2, 48, 64, 2)]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    return models.EfficientNet(
        setting, dropout=0.2, num_classes=10, last_channel=128, norm_layer=norm
    )


def _regnet(se):
    params = regnet.BlockParams([1, 1, 2], [16, 32, 64], [8, 8, 8], [1.0] * 3, [2] * 3, se)
    return models.RegNet(params, num_classes=10)


def _convnext():
    row = convnext.CNBlockConfig
    return models.ConvNeXt([row(16, 32, 1), row(32, 64, 1), row(64, None, 2)], 0.1, num_classes=10)


# Each as torchvision makes it, with fewer layers and channels.
FAMILIES = {
    "VGG, batch": _vgg,
    "ResNet, batch": partial(_resnet, resnet.BasicBlock),
    "ResNet, bottlenecks": partial(_resnet, resnet.Bottleneck, width_per_group=16),
    "ResNet, group": partial(_resnet, resnet.BasicBlock, group_norm),
    "ResNet, gamma from zero": partial(_resnet, resnet.BasicBlock, zero_init_residual=True),
    "ResNeXt": partial(_resnet, resnet.Bottleneck, groups=8, width_per_group=8),
    "Wide ResNet": partial(_resnet, resnet.Bottleneck, width_per_group=64),
    "DenseNet": lambda: models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10),
    "GoogLeNet": _googlenet,
    "GoogLeNet, auxiliary heads": partial(_googlenet, heads=True),
    "MobileNet 2": _mobilenet_v2,
    "MobileNet 2, group": partial(_mobilenet_v2, group_norm),
    "MobileNet 3": _mobilenet_v3,
    "MNASNet": _mnasnet,
    "ShuffleNet 2": lambda: models.ShuffleNetV2([2, 2, 2], [16, 32, 64, 64, 128], num_classes=10),
    "EfficientNet": partial(_efficientnet, 1),
    "EfficientNet 2": partial(_efficientnet, 2),
    "RegNet X": partial(_regnet, None),
    "RegNet Y": partial(_regnet, 0.25),
    "ConvNeXt": _convnext,
    "ViT": lambda: models.VisionTransformer(SIZE, 8, 2, 4, 32, 64, num_classes=10),
    "Swin": partial(_swin, 1),
    "Swin 2": partial(_swin, 2),
    "MaxViT": lambda: models.MaxVit((SIZE, SIZE), 8, 4, [16], [1], 8, 0.1, num_classes=10),
    "Inception": None,
}


def inception():
    """Inception 3, of which only the beginning is kept: it wants images of 75 pixels."""
    whole = models.Inception3(num_classes=10, aux_logits=False, init_weights=False)
    names = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "maxpool1", "Mixed_5b")
    first, second, pool = (getattr(whole, name) for name in names[:3])
    stem = nn.Sequential(first, second, pool, nn.Conv2d(32, 192, 1, bias=False), whole.Mixed_5b)
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


FAMILIES["Inception"] = inception
SLOW = ("ViT", "Swin", "Swin 2", "MaxViT")  # learners, which take more steps
QUICK = (  # to train
    *("DenseNet", "MobileNet 2", "MobileNet 2, group", "MobileNet 3", "ShuffleNet 2"),
    *("RegNet X", "RegNet Y", "ConvNeXt", "ViT"),
)


def loss_of(output, labels):
    """Return the cross-entropy, of auxiliary heads, too, which only training has."""
    heads = (output,) if isinstance(output, torch.Tensor) else output
    return sum(cross_entropy(logits, labels) for logits in heads)


def trained(make, images, labels, *, seed=0, steps=80, rate=3e-3):
    """Train a model as one does: the rate rises, and falls to zero; the averages can follow."""
    torch.manual_seed(seed)
    model = make().train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.1  # some remember thousands of batches
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, cycle_momentum=False)
    batches = iter([])
    for _ in range(steps):
        x, y = next(batches, (None, None))
        if x is None:
            batches = iter(loader(images, labels))
            x, y = next(batches)
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return model
