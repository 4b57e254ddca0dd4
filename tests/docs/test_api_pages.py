import re
from collections import deque
from functools import reduce
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import NamedTuple

import api_pages
import pytest

from bn_tutorial.scratch.functional import Gradients, batch_norm_forward

ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    first: int

    def total(self):
        """Return something."""


def write_pages(root):
    api_pages.write_pages(SimpleNamespace(srcdir=root / "docs"))
    return {path.stem: path for path in (root / "docs/api/generated").iterdir()}


def test_each_public_module_of_each_wing_has_a_page_and_no_other(tmp_path):
    package = tmp_path / "bn_tutorial"
    for wing in ("scratch", "lab"):
        (package / wing).mkdir(parents=True)
        (package / wing / "__init__.py").touch()
    for name in ("__init__", "storage", "scratch/layers", "scratch/_private", "lab/layers"):
        (package / f"{name}.py").touch()
    pages = write_pages(tmp_path)
    in_lab, others = "bn_tutorial.lab.layers", {"bn_tutorial.storage", "bn_tutorial.scratch.layers"}
    assert set(pages) == others | {in_lab}
    assert f".. automodule:: {in_lab}\n" in pages[in_lab].read_text()
    written = pages["bn_tutorial.storage"].stat().st_mtime_ns
    (package / "lab" / "layers.py").unlink()
    pages = write_pages(tmp_path)
    assert set(pages) == others
    assert pages["bn_tutorial.storage"].stat().st_mtime_ns == written


def test_fields_of_named_tuples_are_left_out():
    assert api_pages.skip(None, "class", "first", Pair.first, False, None) is True
    assert api_pages.skip(None, "class", "total", Pair.total, False, None) is None


@pytest.mark.parametrize("member", [deque, reduce, Path, Random().random])
def test_what_a_module_imports_from_outside_is_left_out(member):
    """Of `reduce`, and of `deque`, autodoc cannot read the signature in every Python."""
    assert api_pages.skip(None, "module", "name", member, False, None) is True


@pytest.mark.parametrize("member", [Gradients, batch_norm_forward, 1.0])
def test_what_the_package_defines_is_left_to_autodoc(member):
    assert api_pages.skip(None, "module", "name", member, False, None) is None


def test_reference_lists_every_module_of_the_package_once():
    index = (ROOT / "docs/api/index.md").read_text()
    listed = re.findall(r"^ +(bn_tutorial\.[\w.]+)$", index, re.MULTILINE)
    modules = set(api_pages.modules_in(ROOT / "bn_tutorial"))
    assert (modules - set(listed), set(listed) - modules) == (set(), set())
    assert len(listed) == len(modules)
