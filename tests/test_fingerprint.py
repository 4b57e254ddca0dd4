import ast
import math
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from bn_tutorial import fingerprint
from bn_tutorial.fingerprint import PACKAGE, Sources
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.store import code_of

SCRIPTS = sorted((PACKAGE.parent / "tutorial_src").glob("*/*.py"))

FILES = {
    "__init__.py": "from toy.a import double\n",
    "a.py": """
'''A module.'''
import math
from toy import b
from toy.b import Kind, half as divided

LEVEL = 3.0
OTHER = 4.0

def double(x: float, kind: Kind) -> float:
    '''Twice.'''
    return LEVEL * x * b.scale()

def late(x):
    from toy.c import lazy
    return lazy(x) + math.sqrt(x)

def halved(x):
    return divided(x)

TABLE = {"one": double, "two": halved, None: None}

def of_table(name):
    return TABLE[name]
""",
    "b.py": """
FACTOR = 2
REGISTER = []

class Kind:
    '''A kind.'''
    rate: float = 0.5

    def method(self):
        return deep()

def deep():
    return 7

def scale():
    return FACTOR

def half(x):
    return x / 2

for number in range(3):
    REGISTER.append(number)
""",
    "c.py": "def lazy(x):\n    return x\n",
}


@pytest.fixture
def toy(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def changes(toy, name, old, new, *roots, **options):
    """Whether an edit of a file changes the fingerprint of some roots."""
    before = Sources(toy).of_code(*roots, **options)
    path = toy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return Sources(toy).of_code(*roots, **options) != before


class TestReach:
    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("a.py", "return LEVEL", "return 2 * LEVEL"),  # its own body
            ("a.py", "LEVEL = 3.0", "LEVEL = 3.5"),  # a constant that it names
            ("b.py", "FACTOR = 2", "FACTOR = 3"),  # through a module
            ("b.py", "return 7", "return 8"),  # through a method of an argument's class
            ("b.py", "rate: float = 0.5", "rate: float = 0.6"),
            ("b.py", "range(3)", "range(4)"),  # what a module does when it is imported
        ],
    )
    def test_what_a_function_reaches_counts(self, toy, name, old, new):
        assert changes(toy, name, old, new, "toy.a.double")

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("a.py", "OTHER = 4.0", "OTHER = 5.0"),
            ("a.py", "return LEVEL", "# More.\n    return LEVEL"),
            ("a.py", "'''Twice.'''", "'''Two times.'''"),
            ("a.py", "'''A module.'''", "'''Some functions.'''"),
            ("a.py", "x: float, kind: Kind", "x: int, kind: Kind"),
            ("a.py", "-> float", "-> int"),
            ("b.py", "rate: float = 0.5", "rate: int = 0.5"),
            ("b.py", "'''A kind.'''", "'''Of a kind.'''"),
            ("b.py", "return x / 2", "return x / 3"),
            ("c.py", "return x", "return -x"),
        ],
    )
    def test_explanations_and_what_it_does_not_reach_do_not_count(self, toy, name, old, new):
        assert not changes(toy, name, old, new, "toy.a.double")

    def test_import_inside_a_function_counts(self, toy):
        assert changes(toy, "c.py", "return x", "return -x", "toy.a.late")

    def test_import_under_another_name_counts(self, toy):
        assert changes(toy, "b.py", "return x / 2", "return x / 3", "toy.a.halved")

    def test_other_function_of_a_library_counts(self, toy):
        assert changes(toy, "a.py", "import math", "import cmath as math", "toy.a.late")

    def test_name_that_a_package_hands_on_is_followed(self, toy):
        assert changes(toy, "b.py", "FACTOR = 2", "FACTOR = 3", "toy.double")

    def test_module_is_all_that_it_defines(self, toy):
        assert changes(toy, "a.py", "OTHER = 4.0", "OTHER = 5.0", "toy.a")

    def test_only_chosen_entries_of_a_dictionary_count(self, toy):
        chosen = {"toy.a.TABLE": ["two"]}
        assert not changes(
            toy, "a.py", "return LEVEL", "return 2 * LEVEL", "toy.a.of_table", chosen=chosen
        )
        assert changes(toy, "b.py", "x / 2", "x / 3", "toy.a.of_table", chosen=chosen)
        assert changes(toy, "a.py", "2 * LEVEL", "LEVEL", "toy.a.of_table")

    def test_entry_or_definition_that_is_not_there_is_refused_by_name(self, toy):
        with pytest.raises(LookupError, match="three"):
            Sources(toy).of_code("toy.a.of_table", chosen={"toy.a.TABLE": ["three"]})
        with pytest.raises(LookupError, match=r"the package defines no toy\.a\.missing"):
            Sources(toy).of_code("toy.a.missing")

    def test_name_that_is_not_there_is_for_who_executes_it_to_report(self, toy):
        script = "from toy.a import missing\nmissing()\n"
        before = Sources(toy).of_script(script)
        (toy / "a.py").write_text(FILES["a.py"] + "\ndef missing():\n    return 1\n")
        assert Sources(toy).of_script(script) != before

    def test_sources_stay_as_they_were_read(self, toy):
        sources = Sources(toy)
        (toy / "b.py").write_text("FACTOR = 3\n")
        assert sources.of_code("toy.b") != Sources(toy).of_code("toy.b")

    def test_script_counts_what_it_imports_and_not_its_own_text(self, toy):
        script = "from toy.a import halved\nprint(halved(1))\n"
        before = Sources(toy).of_script(script)
        assert Sources(toy).of_script(script + "print(2)\n") == before
        (toy / "a.py").write_text(FILES["a.py"].replace("OTHER = 4.0", "OTHER = 5.0"))
        assert Sources(toy).of_script(script) == before
        (toy / "b.py").write_text(FILES["b.py"].replace("x / 2", "x / 3"))
        assert Sources(toy).of_script(script) != before


class TestVersionsAndDevice:
    def test_version_of_a_library_is_the_installed_one(self):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert fingerprint.versions("numpy") == {"python": python, "numpy": np.__version__}

    def test_device_is_the_processor_where_none_is_named(self, monkeypatch):
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "")
        assert fingerprint.device() == "cpu"
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "cuda:0")
        assert fingerprint.device() == "cuda"

    def test_every_part_counts(self):
        marks = {fingerprint.of("a", 1), fingerprint.of("a", 2), fingerprint.of("a", "1")}
        assert len(marks) == 3
        assert fingerprint.of({"a": 1, "b": 2}) == fingerprint.of({"b": 2, "a": 1})
        assert fingerprint.of(np.float64(0.5), np.int64(3)) == fingerprint.of(0.5, 3)
        with pytest.raises(ValueError, match="JSON compliant"):
            fingerprint.of(float("nan"))


class TestSigned:
    @pytest.mark.parametrize("content", [[1, 2], {"a": {"b": None}}, "größer", 0.1])
    def test_what_was_written_is_read(self, tmp_path, content):
        fingerprint.write_signed(tmp_path / "it.json", content)
        assert fingerprint.read_signed(tmp_path / "it.json") == content

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text.replace("2", "3", 1),
            lambda text: text[:-1],
            lambda text: text.replace("sha256", "sha"),
            lambda text: text.replace("content", "contents"),
            lambda _: "[]",
            lambda _: "[" * 100_000,
        ],
    )
    def test_what_was_altered_is_not_believed(self, tmp_path, damage):
        path = tmp_path / "it.json"
        fingerprint.write_signed(path, [1, 2])
        path.write_text(damage(path.read_text()))
        assert fingerprint.read_signed(path) is None

    def test_what_is_not_there_or_no_number_is_neither_read_nor_written(self, tmp_path):
        assert fingerprint.read_signed(tmp_path / "it.json") is None
        with pytest.raises(ValueError, match="JSON compliant"):
            fingerprint.write_signed(tmp_path / "it.json", math.nan)
        assert not [*tmp_path.iterdir()]


def runs():
    """Runs that differ in the code that they use."""
    norms = [None, "batch", "layer", "actnorm", "ghost:8", "group:2", "numpy"]
    named = {str(norm): RunSpec(norm) for norm in norms}
    return named | {m: RunSpec(measure=m) for m in ("slopes", "percentiles", "weight norms")}


def marks_of(package):
    sources = Sources(package)
    return {
        **{name: code_of(run, sources) for name, run in runs().items()},
        **{path.stem: sources.of_script(path.read_text()) for path in SCRIPTS},
    }


class TestThisPackage:
    @pytest.fixture
    def copy(self, tmp_path):
        folder = tmp_path / "bn_tutorial"
        shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder

    @staticmethod
    def explained_otherwise(text):
        """Add a comment, and replace every docstring."""
        lines = text.splitlines()
        strings = [
            node.body[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ]
        for string in sorted(strings, key=lambda node: -node.lineno):
            indent = " " * string.col_offset
            lines[string.lineno - 1 : string.end_lineno] = [f'{indent}"""Said otherwise."""']
        return "\n".join([*lines, "# One more comment.\n"])

    def test_edited_comments_and_docstrings_make_nothing_again(self, copy):
        before = marks_of(copy)
        for path in copy.rglob("*.py"):
            path.write_text(self.explained_otherwise(path.read_text()))
        assert marks_of(copy) == before

    def changed(self, copy, name, old, new):
        """Return whose fingerprint an edit changes."""
        before = marks_of(copy)
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new))
        return {name for name, mark in marks_of(copy).items() if mark != before[name]}

    def test_constant_of_a_measure_makes_again_only_the_runs_that_take_it(self, copy):
        changed = self.changed(copy, "networks/probes.py", "[0.15, 0.5, 0.85]", "[0.1, 0.5, 0.9]")
        assert changed & runs().keys() == {"percentiles"}

    def test_constant_of_the_equations_makes_again_only_the_runs_on_our_layer(self, copy):
        changed = self.changed(copy, "scratch/moments.py", "count - 1", "count - 2")
        assert changed & runs().keys() == {"numpy"}
        assert "plot_03_train_with_our_layer" in changed

    def test_constant_of_one_normalization_makes_again_only_its_runs(self, copy):
        changed = self.changed(copy, "networks/norms.py", "unbiased=False", "unbiased=True")
        assert changed & runs().keys() == {"actnorm"}

    def test_constant_of_the_training_makes_every_run_again(self, copy):
        changed = self.changed(
            copy, "lab/training.py", "EVALUATION_BATCH = 500", "EVALUATION_BATCH = 1_000"
        )
        assert runs().keys() <= changed

    def test_constant_of_the_figures_trains_nothing(self, copy):
        changed = self.changed(copy, "lab/figures.py", '"font.size": 12.0', '"font.size": 13.0')
        assert not changed & runs().keys()
        story = "plot_01_watch_a_network_fail"  # it uses nothing of the package
        assert changed == {path.stem for path in SCRIPTS} - {story}

    def test_new_file_counts_for_nobody(self, copy):
        before = marks_of(copy)
        (copy / "networks" / "new.py").write_text("x = 1\n")
        assert marks_of(copy) == before

    def test_a_thousand_runs_are_looked_up_at_the_price_of_one(self, monkeypatch):
        parsed = []
        parse = ast.parse
        monkeypatch.setattr(ast, "parse", lambda *a, **k: parsed.append(1) or parse(*a, **k))
        sources = Sources()
        many = [RunSpec("batch", model_seed=seed) for seed in range(1000)]
        assert len({code_of(run, sources) for run in many}) == 1
        assert len(parsed) <= len(list(PACKAGE.rglob("*.py")))


def test_importing_it_does_without_torch():
    import subprocess

    program = "import sys, bn_tutorial.fingerprint; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(os.sep))
