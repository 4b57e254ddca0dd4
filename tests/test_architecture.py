"""Imports between the homes and wings run one way only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bn_tutorial"

# What each wing may import of the package, besides itself.
GROUND = {"storage", "fetch", "fingerprint"}
ALLOWED = {
    "storage": set(),
    "fetch": set(),
    "fingerprint": {"storage"},
    "scratch": GROUND,
    "data": GROUND,
    "networks": GROUND | {"scratch", "data"},
    "lab": GROUND | {"networks", "data"},
    "__main__": {"networks"},
}
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def wing(name):
    return Path(name).parts[0].removesuffix(".py")


def imports(text):
    """Yield the dotted names that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_arrows(name, text):
    """Return the imports of a module of the package that its wing may not have."""
    ours = (found.split(".") for found in imports(text) if found.split(".")[0] == "bn_tutorial")
    return {".".join(parts) for parts in ours if parts[1] not in ALLOWED[wing(name)] | {wing(name)}}


def test_there_are_four_wings_on_the_ground_and_one_command():
    assert {wing(name) for name in MODULES} == {"__init__", *ALLOWED}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__.py"])
def test_imports_run_one_way(name):
    assert not wrong_arrows(name, MODULES[name].read_text())


def test_import_that_runs_back_is_found():
    back = "def f():\n    from bn_tutorial.lab import study\n"
    assert wrong_arrows("networks/norms.py", back) == {"bn_tutorial.lab.study"}
    assert not wrong_arrows("lab/spec.py", back)
    assert wrong_arrows("scratch/layers.py", "import bn_tutorial.data.mnist") != set()


@pytest.mark.parametrize("name", MODULES)
def test_package_knows_nothing_of_the_site(name):
    others = {found.split(".")[0] for found in imports(MODULES[name].read_text())}
    assert not others & {"sphinx", "docutils", "myst_nb", "sphinx_gallery", "tests"}


# What is tested through what it is a part of.
PARTS = {
    "scratch/arguments.py": "layers",
    "scratch/kernels.py": "fused",
    "scratch/layer.py": "layers",
    "scratch/running_statistics.py": "layers",
    "scratch/normalize.py": "functional",
    "lab/spec.py": "store",
    "lab/workers.py": "pool",
}
WHOLES = {  # tests of a whole wing, and of all that modules say
    *("pytorch_samples", "onnx_nodes"),
    *("words_of_a_report", "words_with_data", "words_without_data"),
}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__init__.py")])
def test_tests_mirror_the_package(name):
    path = Path(name)
    subject = PARTS.get(name, path.stem)
    assert (ROOT / "tests" / path.parent / f"test_{subject}.py").is_file()
    assert (name in PARTS) != (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()


def test_tests_of_a_wing_belong_to_a_module():
    for folder in ("scratch", "networks", "data", "lab"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            subject = path.stem.removeprefix("test_")
            assert subject in WHOLES or f"{folder}/{subject}.py" in MODULES, path


def test_top_of_the_package_needs_numpy_alone():
    import subprocess
    import sys

    program = (
        "import sys, bn_tutorial\n"
        "assert bn_tutorial.BatchNorm1D and bn_tutorial.__version__\n"
        "assert not {'torch', 'scipy', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
