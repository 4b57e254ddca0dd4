import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import api_pages

ROOT = Path(__file__).parents[1]


class Pair(NamedTuple):
    first: int

    def total(self):
        """Return something."""


def write_pages(root):
    api_pages.write_pages(SimpleNamespace(srcdir=root / "docs"))
    return {path.name: path for path in (root / "docs/api/generated").iterdir()}


def test_each_public_module_has_a_page_and_no_other(tmp_path):
    package = tmp_path / "bn_tutorial"
    package.mkdir()
    for name in ("__init__", "_private", "moments", "layers"):
        (package / f"{name}.py").touch()
    pages = write_pages(tmp_path)
    assert set(pages) == {"bn_tutorial.scratch.moments.rst", "bn_tutorial.scratch.layers.rst"}
    written = pages["bn_tutorial.scratch.moments.rst"].stat().st_mtime_ns
    assert ".. automodule:: bn_tutorial.scratch.moments\n" in pages["bn_tutorial.scratch.moments.rst"].read_text()
    (package / "layers.py").unlink()
    pages = write_pages(tmp_path)
    assert set(pages) == {"bn_tutorial.scratch.moments.rst"}
    assert pages["bn_tutorial.scratch.moments.rst"].stat().st_mtime_ns == written


def test_fields_of_named_tuples_are_left_out():
    assert api_pages.skip(None, "class", "first", Pair.first, False, None) is True
    assert api_pages.skip(None, "class", "total", Pair.total, False, None) is None


def test_reference_lists_every_module_of_the_package():
    listed = set(
        re.findall(r"^ +bn_tutorial\.(\w+)$", (ROOT / "docs/api/index.md").read_text(), re.M)
    )
    modules = {path.stem for path in ROOT.glob("bn_tutorial/*.py")} - {"__init__"}
    assert listed == modules
