"""Pages can be built on a graphics processor: ``nox -s docs -- --device cuda``.

A stand-in takes its place, which refuses to mix devices. What is trained or probed in single
precision must be on the device. (Double precision, which not every device knows, is for the
processor.) Studies train through the lab, so they are left out where scripts run, and with them
what follows from their results.
"""

import ast
import functools
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from accelerator import accelerator
from torch import nn

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.training import Config, device, train
from bn_tutorial.networks.curvature import Surface, own_lengths
from bn_tutorial.networks.perceptron import DeepNet
from bn_tutorial.networks.probes import MEASURES
from bn_tutorial.networks.standardized import Standardized

ROOT = Path(__file__).parents[2]


class Small(Dataset):
    """Noise, of which a few images are as many as are asked for."""

    def hold_out(self, count):
        return super().hold_out(min(count, len(self.train) // 8))

    def first(self, count):
        return super().first(min(count, len(self.train) - 1))


def noise(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return Split(
        torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8),
        torch.randint(0, 10, (count,), generator=generator),
    )


@pytest.fixture(scope="module")
def data():
    return Small("noise", "noise", "none", "made here", "0", noise(720, 1), noise(100, 2))


@pytest.fixture(params=["cuda", "mps"])
def there(request, monkeypatch):
    """The stand-in, named by the environment."""
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", request.param)
    with accelerator(request.param) as there:
        yield there


# It refuses what cuda does, and double precision.
on_mps = pytest.mark.parametrize("there", ["mps"], indirect=True)


class TestTraining:
    @pytest.mark.parametrize("norm", [None, "batch", "numpy", "layer", "ghost:4", "actnorm"])
    @pytest.mark.parametrize("measure", [None, *MEASURES.values()])
    def test_a_network_is_trained_there_with_the_processors_bits(self, data, norm, measure, there):
        def trained():
            model = DeepNet(norm, widths=(784, 8, 8, 10))
            config = Config(4, 2, 16, lr=0.5)
            history = train(model, data.hold_out(20), config, measure=measure, progress=False)
            return history, {parameter.device for parameter in model.parameters()}

        found, devices = trained()
        assert devices == {there}
        with pytest.MonkeyPatch.context() as here:
            here.setenv("BN_TUTORIAL_DEVICE", "cpu")
            assert trained() == (found, {torch.device("cpu")})

    def test_device_is_that_of_the_environment(self, there):
        assert torch.zeros(1, device=device()).device == there


class TestSurface:
    @on_mps
    def test_a_surface_is_walked_and_bent_there_as_on_the_processor(self, there):
        def looks(place):
            model = DeepNet("batch", widths=(784, 4, 3), init="he").to(place).train()
            images = torch.randn(9, 784, generator=torch.Generator().manual_seed(0)).to(place)
            units = own_lengths(model)
            surface = Surface(lambda: model(images).square().mean(), [*model.parameters()], units)
            return surface.walk([0.1]).loss[1], surface.sharpness()

        assert looks(there) == pytest.approx(looks("cpu"), rel=1e-4)


# ---------------------------------------------------------------------------------------------
# What pages run
# ---------------------------------------------------------------------------------------------

# Settings that are made small wherever a page assigns one of this name.
SMALL = dict.fromkeys(("steps", "STEPS", "TESTED"), 4)
SMALL |= dict.fromkeys(("every", "EVERY", "GATHERED", "LAST"), 2)
SMALL |= dict.fromkeys(("batch_size", "BATCH"), 8)
SMALL |= {name: range(2) for name in ("seeds", "JUDGING")}

# What these look into has been trained by a study, of which there is none here; the examination of
# a model is tried with its own tests.
LEFT_OUT = {
    "tutorial_src/05_when_it_fails/plot_01_examine_a_sick_model.py",
    "tutorial_src/05_when_it_fails/plot_02_change_the_test_images.py",
    "tutorial_src/06_why_it_works/plot_01_ask_whose_rate_it_is.py",
    "tutorial_src/06_why_it_works/plot_03_shift_the_distributions.py",
    "tutorial_src/06_why_it_works/plot_06_train_only_gamma_and_beta.py",
    # Each curvature takes dozens of passes: there is a test of one below.
    "tutorial_src/06_why_it_works/plot_04_measure_the_smoothness.py",
    "tutorial_src/06_why_it_works/plot_05_walk_to_the_edge.py",
}


class LeftOutError(Exception):
    """In place of a study's results."""


def of_scripts():
    """The sources of all scripts, by name."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(ROOT.glob("tutorial_src/*/*.py"))
    }


def of_pages():
    """The code of each documentation page, by name."""
    options = r"(?:(?::.*\n)+|---\n(?:.*\n)+?---\n)?"
    cell = re.compile(rf"^```\{{code-cell\}}.*\n{options}((?:.*\n)*?)```", re.MULTILINE)
    return {
        path.relative_to(ROOT).as_posix(): "\n".join(cell.findall(path.read_text(encoding="utf-8")))
        for folder in ("docs", "docs/derivations")
        for path in sorted((ROOT / folder).glob("*.md"))
    }


def has_networks(source):
    """Whether a page builds a network of the package itself."""
    return re.search(r"\b[A-Z]\w*Net\(|\.model\(\)", source) is not None


PAGES = {
    name: code
    for name, code in (of_scripts() | of_pages()).items()
    if has_networks(code) and name not in LEFT_OUT
}


def probes(node):
    """Whether a statement, as parsed, sends something through a model."""
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return "model" in names and bool(names & {"watch", "cross_entropy", "torch"})


def run(source):
    """Run the statements of a page; return the names of functions that probe but never returned.

    What probes must not fail, and nothing may be refused by the device. Other statements that fail
    are passed over: a claim may be false of noise, and a study has no results here.
    """
    namespace, waiting = {"__name__": "page"}, set()

    def noted(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            waiting.discard(function.__name__)
            return result

        return call

    for node in ast.parse(source).body:
        defines = isinstance(node, ast.FunctionDef)
        try:
            exec(compile(ast.Module([node], []), "page", "exec"), namespace)
        except Exception as error:
            refused = re.search(r"\b(cuda|mps|MPS|either on cpu)\b", str(error))
            if refused or (probes(node) and not defines):
                raise
        if defines and probes(node):
            waiting.add(node.name)
            namespace[node.name] = noted(namespace[node.name])
        namespace.update({name: SMALL[name] for name in SMALL if name in namespace})
    return waiting


class PlainSGD:
    """PyTorch's own is no concern of ours here, and to import it takes seconds."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr = list(parameters), lr

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self):
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=self.lr)


@pytest.fixture
def small_world(monkeypatch, tmp_path, data):
    """Little data, no studies, and nothing written where it would stay."""

    def left_out(*_args, **_kwargs):
        raise LeftOutError("a study")

    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    monkeypatch.setattr("bn_tutorial.data.loading.load", lambda *_: data)
    monkeypatch.setattr(torch.optim, "SGD", PlainSGD)
    for module in ("pool", "study"):
        monkeypatch.setattr(f"bn_tutorial.lab.{module}.run_all", left_out)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as a build does
        yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    plt.close("all")


@pytest.fixture
def forwards():
    """Where, and in which precision, networks of the package were called."""
    seen = set()

    def note(module, inputs):
        # What standardizes weights is called once when a network is made, before it is moved.
        of_weights = isinstance(module, Standardized)
        if type(module).__module__.startswith("bn_tutorial.networks") and not of_weights:
            seen.add((inputs[0].device.type, inputs[0].dtype))

    hook = nn.modules.module.register_module_forward_pre_hook(note)
    yield seen
    hook.remove()


@pytest.mark.parametrize("name", PAGES)
@on_mps
@pytest.mark.usefixtures("small_world", "there")
def test_page_probes_its_networks_on_the_device(name, forwards):
    assert run(PAGES[name]) == set()
    assert forwards
    assert {place for place, dtype in forwards if dtype == torch.float32} <= {"mps"}


def test_there_are_pages_in_each_part_that_probe_networks():
    parts = {name.split("/")[1] for name in PAGES}
    assert {"02_inside_a_network", "03_in_training", "exercises.md"} <= parts


FAULTS = {
    "a model left on the processor": ("model(moved(x))", "same device"),
    "images left on the processor": ("model.to(device())(x)", "same device"),
    "labels left on the processor": (
        "torch.nn.functional.cross_entropy(model.to(device())(moved(x)), labels)",
        "same device",
    ),
    "what is drawn left on the device": (
        "model.to(device())(moved(x)).detach().numpy()",
        "can't convert mps",
    ),
    "a choice by indices from the device": (
        "labels[model.to(device())(moved(x)).argmax(1)]",
        "either on cpu",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@on_mps
@pytest.mark.usefixtures("small_world", "there")
def test_fault_of_a_page_is_noticed(fault):
    statement, message = FAULTS[fault]
    source = f"""
import torch
from bn_tutorial.data.loading import load
from bn_tutorial.lab.training import device
from bn_tutorial.networks.perceptron import DeepNet

data = load()
x, labels = data.standardize(data.test.images), data.test.labels
model = DeepNet("batch")


def moved(tensor):
    return tensor.to(device())


{statement}
"""
    with pytest.raises((RuntimeError, TypeError), match=message):
        run(source)


@pytest.mark.usefixtures("small_world")
def test_network_that_nobody_moved_and_function_that_fails_are_noticed(forwards):
    source = """
import torch
from bn_tutorial.networks.perceptron import DeepNet


def probe(seed):
    model = DeepNet("batch", seed=seed)
    model(torch.ones(2, 784))
    assert seed == 1


probe(0)
"""
    assert run(source) == {"probe"}
    assert run(source.replace("probe(0)", "probe(1)")) == set()
    assert forwards == {("cpu", torch.float32)}
