"""What a reader takes along begins with what it needs, and comes with it."""

import ast
import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import take_along
from IPython.core.inputtransformer2 import TransformerManager
from matplotlib import pyplot as plt
from plain_text import Around
from pybtex.database import BibliographyData

from bn_tutorial import __version__
from bn_tutorial.lab.evidence import Evidence

PAGE = "gallery/01_a/plot_01_x"
WHEEL = f"bn_tutorial-{__version__}-py3-none-any.whl"
OURS = '"""Title"""\nimport bn_tutorial\n'
PLAIN = '"""Title"""\nimport torch\n'


@pytest.fixture
def equipped(tmp_path):
    """A function that equips a script, and returns its files by their suffixes."""

    def equip(script, address=""):
        wheel = tmp_path / "whole" / WHEEL
        files = {name: tmp_path / name[1:] / f"x{name}" for name in (".ipynb", ".py", ".zip")}
        for path in (wheel, *files.values()):
            path.parent.mkdir()
        wheel.write_text("the wheel")
        files[".py"].write_text(script)
        cell = {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}
        files[".ipynb"].write_text(json.dumps({"cells": [cell], "nbformat": 4}))
        around = Around(PAGE, None, BibliographyData(), {})
        take_along.equip(files, around, wheel, address)
        return files

    return equip


def first_cell(files):
    cells = json.loads(files[".ipynb"].read_text())["cells"]
    assert "".join(cells[1]["source"]) == "# Title"
    return "".join(cells[0]["source"])


def installed(cell, monkeypatch, there=()):
    """What Jupyter would install where some packages are there."""
    asked = []
    shell = SimpleNamespace(run_line_magic=lambda magic, line: asked.append(f"{magic} {line}"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in there)
    exec(TransformerManager().transform_cell(cell), {"get_ipython": lambda: shell})
    return asked


@pytest.mark.parametrize("names", ["fused", "(\n    functional,\n    fused,\n)"])
def test_what_the_package_does_not_bring_along_is_installed_where_it_is_used(
    equipped, monkeypatch, tmp_path, names
):
    files = equipped(f'"""Title"""\nfrom bn_tutorial.scratch import {names}\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / WHEEL).touch()
    wanted = [f"pip install --quiet {WHEEL} numba"]
    for there in ({}, {"bn_tutorial"}, {"numba"}):
        assert installed(first_cell(files), monkeypatch, there=there) == wanted
    assert installed(first_cell(files), monkeypatch, there={"bn_tutorial", "numba"}) == []
    assert files[".py"].read_text().startswith(f"# This needs: pip install {WHEEL} numba (")


def members(files):
    with zipfile.ZipFile(files[".zip"]) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_where_the_site_has_no_address_the_package_lies_beside_the_notebook(
    equipped, monkeypatch, tmp_path
):
    files = equipped(OURS)
    cell = first_cell(files)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(files[".zip"]) as packed:
        packed.extractall()
    assert installed(cell, monkeypatch) == [f"pip install --quiet {WHEEL}"]
    assert members(files) == {
        "x.ipynb": files[".ipynb"].read_bytes(),
        "x.py": files[".py"].read_bytes(),
        WHEEL: b"the wheel",
    }


def test_notebook_without_its_archive_says_where_the_package_is(equipped, monkeypatch, tmp_path):
    cell = first_cell(equipped(OURS))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{WHEEL} is not in this folder.*archive"):
        installed(cell, monkeypatch)
    assert installed(cell, monkeypatch, there={"bn_tutorial"}) == []


def test_where_it_has_one_the_package_is_installed_from_there(equipped, monkeypatch):
    files = equipped(OURS, "https://example.org/_downloads/")
    wanted = f"pip install --quiet https://example.org/_downloads/{WHEEL}"
    assert installed(first_cell(files), monkeypatch) == [wanted]
    assert members(files).keys() == {"x.ipynb", "x.py"}


def test_package_that_is_there_is_left_alone(equipped, monkeypatch):
    assert installed(first_cell(equipped(OURS)), monkeypatch, there={"bn_tutorial"}) == []


def test_script_without_the_package_asks_for_pytorch_alone(equipped, monkeypatch):
    files = equipped(PLAIN)
    wanted = "pip install --quiet torch torchvision"
    assert installed(first_cell(files), monkeypatch) == [wanted]
    assert members(files).keys() == {"x.ipynb", "x.py"}
    assert files[".py"].read_text().startswith("# This needs: pip install torch torchvision\n")


def test_script_says_what_it_needs_in_its_first_line(equipped):
    text = equipped(OURS)[".py"].read_text()
    assert text.startswith(f"# This needs: pip install {WHEEL} (")
    assert text.partition("\n")[2] == OURS
    assert ast.get_docstring(ast.parse(text)) == "Title"


def test_script_opens_its_figures_at_its_end(equipped, monkeypatch):
    drawn = (
        OURS
        + "from bn_tutorial.lab.figures import new_figure\n\nnew_figure(alt='An empty panel.')\n"
    )
    shown = []
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: shown.append(plt.get_fignums()))
    exec(equipped(drawn)[".py"].read_text())
    plt.close("all")
    assert [len(figures) for figures in shown] == [1]


@pytest.mark.parametrize(
    ("baseurl", "colab", "address"),
    [
        ("", "", ""),
        ("https://example.org/bn", "", "https://example.org/bn/"),
        ("https://example.org/bn/", "owner/name/blob/pages", "https://example.org/bn/"),
        ("", "owner/name/blob/pages", "https://github.com/owner/name/raw/pages/"),
    ],
)
def test_address_is_that_of_the_site_or_of_its_repository(baseurl, colab, address):
    config = SimpleNamespace(html_baseurl=baseurl, colab_site=colab)
    assert take_along.address_of(config) == address


def test_wheel_is_the_package_with_its_requirements(tmp_path):
    wheel = take_along.build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        (about,) = (packed.read(name).decode() for name in names if name.endswith("METADATA"))
    modules = take_along.ROOT.glob("bn_tutorial/**/*.py")
    ours = {path.relative_to(take_along.ROOT).as_posix() for path in modules}
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert "Requires-Dist: torch>=" in about


def test_wheel_is_the_same_wherever_it_is_built(tmp_path, monkeypatch):
    here = take_along.build_wheel(tmp_path / "here")
    there = tmp_path / "a second, längst"
    there.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(take_along.ROOT / name, there)
    shutil.copytree(take_along.ROOT / "bn_tutorial", there / "bn_tutorial")
    for path in there.rglob("*.py"):
        path.chmod(0o600)
        path.touch()
    monkeypatch.setattr(take_along, "ROOT", there)
    assert take_along.build_wheel(there / "made").read_bytes() == here.read_bytes()


@pytest.mark.parametrize(
    ("only", "is_told"), [("", True), ("01_a/plot_01_x.py", True), ("02_b", False)]
)
def test_where_one_page_is_built_alone_others_tell_no_numbers(only, is_told, tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", only)
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    Evidence("01_a/plot_01_x").save()
    (tmp_path / "references.bib").touch()
    told = []
    monkeypatch.setattr(take_along, "build_wheel", lambda _: tmp_path / WHEEL)
    monkeypatch.setattr(take_along, "equip", lambda _, around, *_rest: told.append(around.known))
    standard = SimpleNamespace(labels={})
    env = SimpleNamespace(
        titles={},
        domains=SimpleNamespace(standard_domain=standard),
        dlfiles={Path(f"{PAGE}{end}"): ({PAGE}, f"x{end}") for end in (".ipynb", ".py", ".zip")},
    )
    take_along.finish(
        SimpleNamespace(
            builder=SimpleNamespace(format="html"),
            outdir=tmp_path,
            srcdir=tmp_path,
            env=env,
            config=SimpleNamespace(html_baseurl="", colab_site=""),
        ),
        None,
    )
    assert [known is not None for known in told] == [is_told]


def test_site_offers_all_of_it(real_site):
    links = [link["href"] for link in real_site.read(PAGE).select(".sphx-glr-footer a[download]")]
    found = {Path(link).suffix: (real_site.folder / PAGE).parent / link for link in links}
    cell = "".join(json.loads(found[".ipynb"].read_text())["cells"][0]["source"])
    address = "https://github.com/owner/name/raw/branch/_downloads/"  # as in conftest.py
    assert f"{address}{WHEEL}" in cell
    assert (real_site.folder / "_downloads" / WHEEL).is_file()
    assert f"{address}{WHEEL}" in found[".py"].read_text().splitlines()[0]
    assert members(found).keys() == {"plot_01_x.ipynb", "plot_01_x.py"}
