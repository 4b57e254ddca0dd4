"""The sections of *Find the fault*, and the one table of what was met in public and where.

A case names two pieces of its section's code: what makes the fault and what mends it, each with
what stands there without it. Either taken out, the section must no longer pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "faults").glob("*.md")}
LABEL = re.compile(r"^\((fault-[\w-]+)\)=$", re.MULTILINE)
OPTIONS = r"(?:---\n.*?^---\n|(?::[^\n]*\n)+)?"
CODE = re.compile(rf"^```\{{code-cell\}} python\n{OPTIONS}(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
    """The page and the text of each section, from its heading on, by each of its labels."""
    found = {}
    for name, text in PAGES.items():
        for labels, section in re.findall(
            r"((?:^\(fault-[\w-]+\)=\n)+)(## .*?)(?=^\(fault-|\Z)", text, re.MULTILINE | re.DOTALL
        ):
            for label in LABEL.findall(labels):
                assert label not in found, label
                found[label] = name, section
    return found


SECTIONS = sections()


def code_of(label):
    """The code of a section: the cells that all of its page share, and its own."""
    page, section = SECTIONS[label]
    shared = PAGES[page][: LABEL.search(PAGES[page]).start()]
    return "\n".join(CODE.findall(shared)), "\n".join(CODE.findall(section))


def plain(text):
    """A message without its numbers, which are those of one case."""
    return re.sub(r"[\d*]+(, [\d*]+)*", "#", text)


@dataclass(frozen=True)
class Case:
    """What was met, the section that answers it, and what to take out of its code."""

    met: str
    section: str
    fault: tuple[str, str]  # the code, and what stands there where nothing is wrong
    remedy: tuple[str, str]  # the code, and what stands there where nothing is done
    field: int | None = None  # its number among the reports, as in field_cases.py


CASES = (
    # A worse evaluation
    Case(
        "loss 0.03 in training, huge in validation, on the same images",
        "fault-eval-worse",
        fault=("momentum=0.001", "momentum=0.1"),
        remedy=("torch.optim.swa_utils.update_bn(loader, model)", "pass"),
        field=1,
    ),
    Case(
        "a few epochs of fine-tuning, and evaluation is bad",
        "fault-stale-statistics",
        fault=("range(30)", "range(1000)"),
        remedy=("(0.01, 0.1, None)", "(0.01, 0.1, 0.01)"),
    ),
    Case(
        "statistics are 0 and 1: buffers were not copied",
        "fault-never-gathered",
        fault=("copied = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))", "copied = trained"),
        remedy=("    trained.state_dict()\n", "    copied.state_dict()\n"),
    ),
    Case(
        "momentum of another framework",
        "fault-swapped-momentum",
        fault=("momentum=momentum)", "momentum=0.01)"),
        remedy=('convert_momentum(0.99, "keras", "pytorch") ==', "0.99 =="),
    ),
    Case(
        "momentum=0, yet the batch normalizes",
        "fault-swapped-momentum",
        fault=("nn.BatchNorm1d(1, momentum=0.0)", "nn.BatchNorm1d(1, momentum=0.0).eval()"),
        remedy=("nn.BatchNorm1d(1, momentum=0.0)", "nn.BatchNorm1d(1)"),
    ),
    Case(
        "batches sorted by class",
        "fault-batches-not-random",
        fault=("    if shuffled:", "    if True:"),
        remedy=("label[torch.randperm(len(label))]", "label"),
    ),
    Case(
        "dropout in front",
        "fault-dropout-in-front",
        fault=(
            "    layer(drop(torch.randn(256, 1).relu()))",
            "    layer(torch.randn(256, 1).relu())",
        ),
        remedy=(
            "drop.eval()(torch.randn(256, 1).relu())",
            "drop.train()(torch.randn(256, 1).relu())",
        ),
    ),
    Case(
        "a prediction, or a discriminator's score, changes with the batch",
        "fault-depends-on-the-batch",
        fault=("layer = nn.BatchNorm1d(1)\n", "layer = nn.BatchNorm1d(1).eval()\n"),
        remedy=("layer.eval()\n", "layer.train()\n"),
    ),
    Case(
        "pix2pix good in train mode, blurred in eval mode",
        "fault-batch-of-one",
        fault=("layer = nn.BatchNorm2d(3)", "layer = nn.InstanceNorm2d(3, affine=True)"),
        remedy=("same = nn.InstanceNorm2d(3, affine=True)", "same = nn.BatchNorm2d(3)"),
        field=2,
    ),
    Case(
        "track_running_stats set to False later",
        "fault-track-running-stats",
        fault=("layer.track_running_stats = later", "pass"),
        remedy=(
            "tracked = nn.BatchNorm1d(1)",
            "tracked = nn.BatchNorm1d(1, track_running_stats=False)",
        ),
    ),
    Case(
        "the running variance is not np.var",
        "fault-running-variance",
        fault=("[6.0]]", "[6.0]] * 100"),
        remedy=("ddof=1))\nassert np", "ddof=0))\nassert np"),
    ),
    # Small batches and shapes
    Case(
        "one value per channel behind a pooling",
        "fault-one-value",
        fault=("    branch(torch.randn(1,", "    branch(torch.randn(2,"),
        remedy=("branch[2] = nn.GroupNorm(1, 4)", "pass"),
        field=9,
    ),
    Case(
        "noisy training with two images a batch",
        "fault-small-batches",
        fault=("images.split(2)", "images.split(8)"),
        remedy=("nn.GroupNorm(32, 64)", "nn.BatchNorm2d(64)"),
    ),
    Case(
        "a layer swapped after the optimizer was made",
        "fault-swapped-after-optimizer",
        fault=("model[1] = nn.LayerNorm(8)", "pass"),
        remedy=(
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\nstep(model",
            "step(model",
        ),
    ),
    Case(
        "gradient accumulation is not the large batch",
        "fault-accumulation",
        fault=("gradient(model, 2)", "gradient(model, 1)"),
        remedy=("** (1 / k)", "** 1"),
    ),
    Case(
        "instance norm on one pixel, in eval mode too",
        "fault-one-spatial-element",
        fault=("nn.InstanceNorm2d(8)", "nn.GroupNorm(1, 8)"),
        remedy=("nn.GroupNorm(1, 8)(x)", "nn.InstanceNorm2d(8)(x)"),
        field=11,
    ),
    Case(
        "layer norm of channels refuses an image",
        "fault-layernorm-nchw",
        fault=("nn.LayerNorm(6)(x)\n", "nn.LayerNorm(4)(x)\n"),
        remedy=(
            "nn.LayerNorm(6)(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)",
            "nn.GroupNorm(1, 6)(x)",
        ),
        field=13,
    ),
    Case(
        "running_mean should contain other than the channels",
        "fault-channels",
        fault=("(nn.BatchNorm2d(16), (2, 10, 4, 4))", "(nn.BatchNorm2d(10), (2, 10, 4, 4))"),
        remedy=("nn.BatchNorm1d(16)(x.transpose(1, 2)).transpose(1, 2)", "nn.BatchNorm1d(7)(x)"),
    ),
    Case(
        "a last batch of two",
        "fault-last-batch",
        fault=("torch.randn(66, 1)", "torch.randn(128, 1)"),
        remedy=("drop_last=drop)", "drop_last=False)"),
    ),
    # Trains badly
    Case(
        "no gradient before batch norm",
        "fault-gamma-zero",
        fault=("nn.init.zeros_(norm.weight)", "pass"),
        remedy=("torch.optim.SGD(norm.parameters(), lr=0.1).step()", "pass"),
    ),
    Case(
        "a dead channel",
        "fault-dead-channels",
        fault=("    dead[0].bias[0] = -100", "    pass"),
        remedy=(
            "nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()",
            "nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3)",
        ),
    ),
    Case(
        "a bias without a gradient, taken out of a trained model",
        "fault-bias-without-effect",
        fault=(
            "\nmodel = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))",
            "\nmodel = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))",
        ),
        remedy=("loaded[1].running_mean -= bias", "pass"),
    ),
    Case(
        "weight decay on gamma and beta",
        "fault-weight-decay",
        fault=("nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16)", "nn.Linear(8, 16, bias=False)"),
        remedy=('"weight_decay": 0.0', '"weight_decay": 1.0'),
    ),
    Case(
        "gradient penalty with batch norm in the critic",
        "fault-gradient-penalty",
        fault=('"batch norm": nn.BatchNorm1d(16)', '"batch norm": nn.LayerNorm(16)'),
        remedy=('"layer norm": nn.LayerNorm(16)', '"layer norm": nn.BatchNorm1d(16)'),
        field=24,
    ),
    Case(
        "batch norm behind the last layer of a regression",
        "fault-norm-behind-the-last",
        fault=(
            "nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1))",
            "nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 1))",
        ),
        remedy=(
            "nn.Sequential(nn.Linear(4, 1))",
            "nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1))",
        ),
    ),
    # NaN and half precision
    Case(
        "one NaN, and every evaluation is NaN",
        "fault-nan-statistics",
        fault=("x[0, 0] = torch.nan", "pass"),
        remedy=("        module.reset_running_stats()", "        pass"),
    ),
    Case(
        "a running variance of 1e22 after one exploded batch",
        "fault-huge-statistics",
        fault=("        x[0] *= 1e18", "        pass"),
        remedy=(
            "update_bn(\n    [torch.randn(64, 2) for _ in range(50)], layer\n)",
            "update_bn",
        ),
    ),
    Case(
        "inf in float16 before the layer",
        "fault-half-overflow",
        fault=("    linear.weight.mul_(1e5)", "    linear.weight.mul_(1)"),
        remedy=("(linear.weight / 100)", "linear.weight"),
    ),
    Case(
        "eps 1e-12 is NaN in half precision",
        "fault-eps-underflow",
        fault=("x.var() + np.float16(eps)", "x.var() + np.float32(eps)"),
        remedy=("and F.normalize(rows, eps=1e-5)", "and F.normalize(rows)"),
        field=15,
    ),
    Case(
        "half and float mixed",
        "fault-mixed-dtype",
        fault=(
            '"float16 layer, float32 input": (\n        nn.BatchNorm1d(4).half()',
            '"float16 layer, float32 input": (\n        nn.BatchNorm1d(4)',
        ),
        remedy=("        layer.float()", "        pass"),
    ),
    Case(
        "running statistics in bfloat16 stand still",
        "fault-half-buffers",
        fault=("nn.BatchNorm1d(1, momentum=0.001)", "nn.BatchNorm1d(1, momentum=0.1)"),
        remedy=("layer.float()", "pass"),
    ),
    Case(
        "the step was skipped, the model changed",
        "fault-skipped-step",
        fault=("x[0] = torch.inf", "x[0] = 0"),
        remedy=("        b.copy_(sound[name])", "        pass"),
    ),
    Case(
        "a variance is negative",
        "fault-negative-variance",
        fault=("torch.randn(1000, 64) + 10_000", "torch.randn(1000, 64)"),
        remedy=("(x - x.mean(0)).square().mean(0)", "(x * x).mean(0) - x.mean(0) ** 2"),
    ),
    Case(
        "RMSNorm's default eps, type and order of casts",
        "fault-rmsnorm",
        fault=("torch.finfo(torch.bfloat16).eps", "torch.finfo(torch.float32).eps"),
        remedy=("(torch.rand(512) + 0.5).bfloat16()", "torch.rand(512) + 0.5"),
        field=19,
    ),
    # Frozen layers
    Case(
        "frozen, and thawed by model.train()",
        "fault-freeze",
        fault=("\nmodel.train()\nprint", "\nprint"),
        remedy=("        freeze(self.model)", "        pass"),
    ),
    Case(
        "frozen, but the statistics move",
        "fault-frozen-but-moving",
        fault=(".train(training)", ".eval()"),
        remedy=(".train(training)", ".train()"),
    ),
    Case(
        "FrozenBatchNorm2d without a trained state",
        "fault-frozen-batch-norm-2d",
        fault=("    model = made(norm)", "    model = made(nn.BatchNorm2d)"),
        remedy=("frozen.load_state_dict(state)", "pass"),
    ),
    Case(
        "teacher under no_grad still drifts",
        "fault-no-grad-is-not-eval",
        fault=('.train(mode == "train")', ".eval()"),
        remedy=("    .eval()\n    .requires_grad_(False)", "    .requires_grad_(False)"),
        field=5,
    ),
    Case(
        "half frozen, and thawed after a validation",
        "fault-contradicting-flags",
        fault=("model[0].eval()", "model[0].train()"),
        remedy=("    layer.training = mode", "    layer.train()"),
    ),
    Case(
        "a layer in a list is not set by eval()",
        "fault-contradicting-flags",
        fault=("= [nn.BatchNorm1d(2)]", "= nn.ModuleList([nn.BatchNorm1d(2)])"),
        remedy=("nn.ModuleList(hidden.norms)", "hidden.norms"),
    ),
    Case(
        "MC dropout by model.train()",
        "fault-mc-dropout",
        fault=('"model.train()": nn.Module.train', '"model.train()": drop_alone'),
        remedy=('"dropout alone": drop_alone', '"dropout alone": nn.Module.train'),
    ),
    Case(
        "the loss jumps at unfreezing",
        "fault-unfreezing",
        fault=("3 * torch.randn(64, 8) + 2", "torch.randn(64, 8)"),
        remedy=("torch.optim.swa_utils.update_bn(new.split(16), backbone)", "pass"),
    ),
    Case(
        "activation checkpointing counts twice",
        "fault-checkpointing",
        fault=("else checkpoint(layer, x, use_reentrant=False)", "else layer(x)"),
        remedy=("1 - 0.9**0.5", "0.1"),
    ),
    Case(
        "two forwards a step at different weights, SAM or L-BFGS",
        "fault-two-passes-a-step",
        fault=(
            "        else:\n            y = layer(x @ uphill.T)",
            "        else:\n            y = layer(x @ w.T)",
        ),
        remedy=("        layer.track_running_stats = False", "        pass"),
    ),
    # Several kinds of data
    Case(
        "one head for all pyramid levels",
        "fault-several-distributions",
        fault=('"small": 0.2', '"small": 1.0'),
        remedy=("self.norms[kind](x)", 'self.norms["small"](x)'),
    ),
    Case(
        "source and target domain, one batch or two",
        "fault-domain",
        fault=("torch.randn(64, 1) + 5", "torch.randn(64, 1)"),
        remedy=("        adapted(part)", "        pass"),
        field=38,
    ),
    Case(
        "test images of another size",
        "fault-domain",
        fault=("model.eval()(images(64))", "model.eval()(images(gathered))"),
        remedy=("for gathered in (16, 64)", "for gathered in (16, 16)"),
    ),
    Case(
        "MixMatch without interleaving",
        "fault-domain",
        fault=(
            "torch.randn(64, 1) + 2, 2 * torch.randn(128, 1)",
            "torch.randn(192, 1).split([64, 128])",
        ),
        remedy=("whole[torch.randperm(192)].split(64)", "whole.split(64)"),
    ),
    Case(
        "real and fake in separate batches",
        "fault-real-and-fake",
        fault=("layer = nn.BatchNorm1d(1)", "layer = nn.Identity()"),
        remedy=("norm = nn.LayerNorm(8)", "norm = nn.BatchNorm1d(8)"),
    ),
    Case(
        "attack in train mode",
        "fault-adversarial",
        fault=("attack(training=True)", "attack(training=False)"),
        remedy=("attack(training=False)", "attack(training=True)"),
    ),
    Case(
        "contrastive loss suspiciously low",
        "fault-contrastive",
        fault=("nn.BatchNorm1d(512)", "nn.LayerNorm(512)"),
        remedy=("found(shuffled=True)", "found(shuffled=False)"),
        field=35,
    ),
    Case(
        "a PPO ratio that is not one before the first step",
        "fault-ppo-ratio",
        fault=('policy.train(learns == "train")', "policy.eval()"),
        remedy=('ratios(policy, "eval", "eval")', 'ratios(policy, "eval", "train")'),
    ),
    # Several devices and forwards
    Case(
        "two forwards in DDP",
        "fault-two-forwards",
        fault=('if copied == "copied":', "if False:"),
        remedy=('if copied == "copied":', "if True:"),
    ),
    Case(
        "gradient of an eval-mode output wrong after a batch in train mode",
        "fault-eval-gradient",
        fault=("    layer.train()(", "    nn.BatchNorm1d(1).double()("),
        remedy=('if cure == "clone both":', "if False:"),
        field=4,
    ),
    Case(
        "eval-mode gradient with the formula of train mode",
        "fault-eval-gradient",
        fault=('.train(mode == "train")', ".eval()"),
        remedy=('.train(mode == "train")', ".train()"),
    ),
    Case(
        "statistics differ from rank to rank",
        "fault-ranks-differ",
        fault=("+ 4 * rank", ""),
        remedy=("dist.all_reduce(buffer)", "pass"),
    ),
    Case(
        "SyncBatchNorm counts wrongly",
        "fault-sync-counts",
        fault=("300 if rank == 0 else 20", "160"),
        remedy=("merge(*parts)", "parts[0]"),
    ),
    Case(
        "SyncBatchNorm waits for ever",
        "fault-sync-counts",
        fault=("torch.tensor(3 - rank)", "torch.tensor(2)"),
        remedy=("dist.all_reduce(batches, op=dist.ReduceOp.MIN)", "pass"),
    ),
    Case(
        "SyncBatchNorm on a CPU",
        "fault-sync-cpu",
        fault=("nn.SyncBatchNorm(3)(torch", "nn.BatchNorm1d(3)(torch"),
        remedy=("        return new.train(module.training)", "        return module"),
        field=22,
    ),
    # Sequences
    Case(
        "BatchNorm1d on (batch, time, features)",
        "fault-sequence-axis",
        fault=("    nn.BatchNorm1d(16)(x)\n", "    nn.BatchNorm1d(10)(x)\n"),
        remedy=("nn.BatchNorm1d(16)(x.transpose(1, 2)).transpose(1, 2)", "nn.BatchNorm1d(10)(x)"),
    ),
    Case(
        "padding changes the output",
        "fault-padding",
        fault=("torch.zeros(1, 1, padding)", "torch.zeros(1, 1, 0)"),
        remedy=("y[mask] = self.norm(frames[mask])", "y = self.norm(x).transpose(1, 2)"),
        field=32,
    ),
    Case(
        "a PackedSequence has no attribute dim",
        "fault-padding",
        fault=("    norm(packed)\n", "    norm(packed.data)\n"),
        remedy=("packed._replace(data=norm(packed.data))", "packed"),
    ),
    Case(
        "batch norm in a recurrent cell",
        "fault-recurrent",
        fault=("    0.05, 2, 20\n", "    1, 1, 20\n"),
        remedy=("self.norms[min(step, len(self.norms) - 1)](x)", "self.norms[0](x)"),
        field=36,
    ),
    Case(
        "sequences of unequal length in a transformer",
        "fault-variable-length",
        fault=("torch.zeros(1, 20, 16)", "torch.zeros(1, 0, 16)"),
        remedy=(
            "nn.LayerNorm(16),",
            "lambda x: nn.GroupNorm(1, 16)(x.transpose(1, 2)).transpose(1, 2),",
        ),
    ),
    # Loading and averaging
    Case(
        "keys of instance norm",
        "fault-missing-keys",
        fault=(
            "    nn.InstanceNorm2d(2).load",
            "    nn.InstanceNorm2d(2, track_running_stats=True).load",
        ),
        remedy=("tracked.load_state_dict(old.state_dict())", "pass"),
        field=30,
    ),
    Case(
        "keys of the counter",
        "fault-missing-keys",
        fault=('del state["num_batches_tracked"]', "pass"),
        remedy=('{**state, "num_batches_tracked": torch.tensor(0)}', "state"),
    ),
    Case(
        "strict=False, and nonsense",
        "fault-strict-false",
        fault=('    if "running" not in name\n', ""),
        remedy=(
            "loaded.load_state_dict(stripped)",
            "loaded.load_state_dict(prefixed, strict=False)",
        ),
    ),
    Case(
        "buffers after to_empty()",
        "fault-to-empty",
        fault=("dict(trained.named_parameters())", "trained.state_dict()"),
        remedy=("torch.optim.swa_utils.update_bn(batches, model)", "pass"),
    ),
    Case(
        "averaging states: Float to Long",
        "fault-averaged-weights",
        fault=("b.state_dict().values()", "b.parameters()"),
        remedy=("range(100)], average", "range(0)], average"),
        field=29,
    ),
    Case(
        "federated clients of unlike data",
        "fault-averaged-weights",
        fault=("rng.normal(size=500) + 4", "rng.normal(size=500)"),
        remedy=("merge(first, second)", "first"),
    ),
    Case(
        "target network without statistics",
        "fault-target-network",
        fault=("buffers=buffers)", "buffers=True)"),
        remedy=("buffers=buffers)", "buffers=False)"),
    ),
    Case(
        "a target copied under inference_mode",
        "fault-target-network",
        fault=("with torch.inference_mode():", "with torch.no_grad():"),
        remedy=("new.load_state_dict(inside.state_dict())", "pass"),
    ),
    Case(
        "all keys match, eps does not",
        "fault-other-eps",
        fault=("nn.BatchNorm1d(3, eps=eps)", "nn.BatchNorm1d(3, eps=1e-3)"),
        remedy=("nn.BatchNorm1d(3, eps=eps)", "nn.BatchNorm1d(3, eps=1e-5)"),
    ),
    # Folding and exporting
    Case(
        "folded layer differs",
        "fault-fold-differs",
        fault=("(norm.train()(conv(x))", "(norm.eval()(conv(x))"),
        remedy=("(norm(conv(x))", "(norm.train()(conv(x))"),
    ),
    Case(
        "norm before a convolution, folded: wrong at the border",
        "fault-fold-differs",
        fault=("before.running_mean.fill_(1.0)", "before.running_mean.fill_(0.0)"),
        remedy=("value=1.0)", "value=0.0)"),
    ),
    Case(
        "folding into a transposed or grouped convolution",
        "fault-fold-transposed",
        fault=("transpose=transpose)", "transpose=True)"),
        remedy=("eps=norm.eps, transpose=True, groups=groups", "eps=norm.eps"),
    ),
    Case(
        "accuracy lost after folding and quantizing",
        "fault-fold-quantize",
        fault=("factor * weight", "weight"),
        remedy=("error(w, True)", "error(w, False)"),
        field=26,
    ),
    Case(
        "inf in float16 after folding",
        "fault-fold-quantize",
        fault=("norm.running_var.zero_()", "pass"),
        remedy=("nn.init.zeros_(norm.weight)", "pass"),
    ),
    Case(
        "pruned channels of gamma zero",
        "fault-pruned-gamma",
        fault=("model[1].bias[:4] = 1.0", "model[1].bias[:4] = -1.0"),
        remedy=("        if constant:", "        if False:"),
    ),
    Case(
        "ONNX momentum 1.0, training_mode",
        "fault-onnx-momentum",
        fault=('{"track_running_stats": False}', "{}"),
        remedy=("    nn.BatchNorm1d(3)\n", "    nn.BatchNorm1d(3, track_running_stats=False)\n"),
        field=27,
    ),
    Case(
        "exported in train mode",
        "fault-export-training",
        fault=("exported(model.train(), x)", "exported(model.eval(), x)"),
        remedy=("exported(model.eval(), x)", "exported(model.train(), x)"),
    ),
    Case(
        "exported for one batch size",
        "fault-export-training",
        fault=("x[:2], dynamic_shapes", "x, dynamic_shapes"),
        remedy=("(None, free)", "(None, None)"),
    ),
    Case(
        "traced in train mode",
        "fault-traced-in-train-mode",
        fault=("traced(layer.train())", "traced(layer.eval())"),
        remedy=("traced(again.eval())", "traced(again.train())"),
    ),
    Case(
        "torch.export in train mode",
        "fault-traced-in-train-mode",
        fault=("torch.export.export(layer.train(),", "torch.export.export(layer.eval(),"),
        remedy=("torch.export.export(again.eval(),", "torch.export.export(again.train(),"),
    ),
    # Other frameworks
    Case(
        "Keras trainable=False",
        "fault-keras-trainable",
        fault=("    layer.trainable = trainable", "    pass"),
        remedy=("before = ask(False)", "before = ask(True)"),
        field=7,
    ),
    Case(
        "Keras without training=True in one's own loop",
        "fault-keras-own-loop",
        fault=('{"layer(x)": {}', '{"layer(x)": {"training": True}'),
        remedy=('{"training": True}}', "{}}"),
    ),
    Case(
        "Keras's axis=-1 on channels-first images",
        "fault-keras-own-loop",
        fault=("for axis in (-1, 1)", "for axis in (1, 1)"),
        remedy=("BatchNormalization(axis=axis)", "BatchNormalization()"),
    ),
    Case(
        "weights moved from Keras",
        "fault-keras-convert",
        fault=("        eps=eps,", "        eps=source.epsilon,"),
        remedy=("        eps=eps,", "        eps=1e-5,"),
    ),
    Case(
        "moving variance off by m/(m-1)",
        "fault-bessel",
        fault=("[6.0]]", "[6.0]] * 25"),
        remedy=(", rescale_for_count=4", ""),
    ),
    Case(
        "Flax batch_stats immutable, or dropped",
        "fault-flax",
        fault=("updates if kept else stats", "updates"),
        remedy=("updates if kept else stats", "stats"),
        field=39,
    ),
    Case(
        "MXNet's fix_gamma",
        "fault-mxnet-caffe",
        fault=("torch.tensor([0.4, 0.1])", "torch.ones(2)"),
        remedy=("    converted.weight.fill_(1.0)", "    pass"),
    ),
    Case(
        "Caffe's third blob",
        "fault-mxnet-caffe",
        fault=("factor = 999.98", "factor = 1"),
        remedy=("mean_blob / factor", "mean_blob"),
    ),
    # Numbers that differ
    Case(
        "seventh digit changes with the batch size",
        "fault-seventh-digit",
        fault=("model.train()(x[:8].double())", "model.eval()(x[:8].double())"),
        remedy=("- model(x.double())[:1])", "- model(x.double()).float()[:1])"),
        field=40,
    ),
    Case(
        "constant channel gives plus or minus one",
        "fault-constant-channel",
        fault=("(1.1, 100.1, 1000.1)", "(1.0, 64.0, 1024.0)"),
        remedy=("normalized(last - 1000.0)", "normalized(last)"),
        field=23,
    ),
    Case(
        "small inputs are not brought to variance one",
        "fault-eps",
        fault=("torch.randn(10_000, 1) * 0.01", "torch.randn(10_000, 1)"),
        remedy=("100 * x", "x"),
        field=16,
    ),
    Case(
        "eps of zero refused",
        "fault-eps-refused",
        fault=("eps=0.0", "eps=1e-5"),
        remedy=("new.running_var += old.eps - new.eps", "pass"),
        field=17,
    ),
    Case(
        "own layer off by 2 %",
        "fault-own-layer",
        fault=("(x.var(0) + 1e-5)", "(x.var(0, correction=0) + 1e-5)"),
        remedy=('"right": centred / (x.var(0, correction=0)', '"right": centred / (x.var(0)'),
    ),
    Case(
        "darknet's eps outside the root",
        "fault-own-layer",
        fault=("(x.std(0, correction=0) + 1e-5)", "(x.var(0, correction=0) + 1e-5).sqrt()"),
        remedy=(
            '"right": centred / (x.var(0, correction=0) + 1e-5).sqrt()',
            '"right": centred / (x.var(0, correction=0).sqrt() + 1e-5)',
        ),
    ),
    Case(
        "compile fails with momentum=None",
        "fault-compile",
        fault=("momentum=momentum)", "momentum=0.1)"),
        remedy=("momentum=momentum)", "momentum=None)"),
    ),
    Case(
        "one image, pooled to nothing but rounding",
        "fault-constant-channel",
        fault=("torch.randn(1, 8, 16, 16)", "torch.randn(2, 8, 16, 16)"),
        remedy=("normalized(last - 1000.0)", "normalized(last)"),
    ),
    Case(
        "vmap and batched statistics",
        "fault-vmap",
        fault=("    vmap(model)(parts)", "    vmap(model.eval())(parts)"),
        remedy=("vmap(model.eval())(parts).shape", "vmap(model)(parts).shape"),
    ),
)
