import ast
import importlib.metadata
from pathlib import Path

import gallery_state
import pytest
from sphinx_gallery.utils import get_md5sum

from bn_tutorial.fingerprint import Sources

DOCS = Path(__file__).parents[2] / "docs"


def write(path, text="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "source/01_a/plot_01_x.py", "print(1)")
    write(tmp_path / "source/02_b/plot_01_y.py", "print(2)")
    write(tmp_path / "source/02_b/helper.py")
    return tmp_path / "source"


@pytest.fixture
def gallery(tmp_path, source):
    folder = tmp_path / "docs" / "gallery"
    for script in ("01_a/plot_01_x", "02_b/plot_01_y"):
        section, name = script.split("/")
        write(folder / f"{script}.py.md5", get_md5sum(source / f"{script}.py", mode="t"))
        for suffix in ("py", "rst", "ipynb", "zip", "codeobj.json"):
            write(folder / f"{script}.{suffix}")
        for image in ("001.png", "001_light.svg", "001_dark.svg"):
            write(folder / section / "images" / f"sphx_glr_{name}_{image}")
        write(folder / section / "images/thumb" / f"sphx_glr_{name}_thumb.png")
        write(folder / "evidence" / f"{script}.json")
        gallery_state.finish({"src_dir": str(tmp_path / "docs")}, f"{name}.py", when="after")
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_scripts_are_named_by_section_and_in_order(source):
    assert gallery_state.scripts_in(source) == ["01_a/plot_01_x", "02_b/plot_01_y"]


@pytest.fixture
def sources(tmp_path):
    write(tmp_path / "bn_tutorial/__init__.py", "")
    write(tmp_path / "bn_tutorial/part.py", "LEVEL = 1\nOTHER = 2\n")
    return tmp_path / "bn_tutorial"


SCRIPT = "from bn_tutorial.part import LEVEL\nprint(LEVEL)\n"


def mark(sources, data="mnist", code=SCRIPT):
    return gallery_state.mark_of([code], Sources(sources), data)


def test_mark_changes_with_the_code_that_is_reached_the_data_and_the_device(sources, monkeypatch):
    marks = [mark(sources), mark(sources, "digits"), mark(sources, code="print(1)\n")]
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", "cuda")
    marks.append(mark(sources))
    monkeypatch.delenv("BN_TUTORIAL_DEVICE")
    write(sources / "part.py", "LEVEL = 1  # a comment\nOTHER = 3\n")
    assert mark(sources) == marks[0]
    write(sources / "part.py", "LEVEL = 2\nOTHER = 2\n")
    marks.append(mark(sources))
    assert len(set(marks)) == 5


@pytest.mark.parametrize("library", ["scipy", "sympy", "matplotlib", "torch"])
def test_mark_changes_with_a_version(sources, library, monkeypatch):
    before, version = mark(sources), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0" if name == library else version(name)
    )
    assert mark(sources) != before


def test_cells_of_a_page_are_its_code_without_options_and_text():
    page = """Text.

```{code-cell} python
:tags: [hide-input]
from bn_tutorial.part import LEVEL
x = LEVEL
```

```python
not executed
```

```{code-cell} python
---
tags: [hide-cell]
---
print(x)
```
"""
    cells = gallery_state.cells_of(page)
    assert cells == "from bn_tutorial.part import LEVEL\nx = LEVEL\n\nprint(x)\n"


def test_cells_of_every_page_are_python():
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    cells = {path.name: gallery_state.cells_of(path.read_text()) for path in pages}
    assert sum(map(bool, cells.values())) > 5
    for path in pages:
        ast.parse(cells[path.name])
        assert ("{code-cell}" in path.read_text()) == bool(cells[path.name])


def test_script_is_current_until_it_is_edited_or_forgotten(source, gallery):
    script = "01_a/plot_01_x"
    assert gallery_state.is_current(script, source, gallery)
    write(source / f"{script}.py", "print(3)")
    assert not gallery_state.is_current(script, source, gallery)
    write(source / f"{script}.py", "print(1)")
    gallery_state.forget(script, gallery)
    assert not gallery_state.is_current(script, source, gallery)
    assert not (gallery / "evidence" / f"{script}.json").exists()
    gallery_state.forget(script, gallery)  # twice is as good as once


FILES = ("plot_01_x.rst", "plot_01_x.zip", "plot_01_x.py.md5", "images/sphx_glr_plot_01_x_001.png")


@pytest.mark.parametrize("name", [*FILES, "../evidence/01_a/plot_01_x.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "altered"])
def test_script_of_which_a_file_was_damaged_is_not_current(source, gallery, name, damage):
    path = gallery / "01_a" / name
    whole = path.read_bytes()
    altered = {"empty": b"", "cut": whole[:-1], "altered": b"\xff" + whole[1:]}
    path.unlink() if damage == "missing" else path.write_bytes(altered[damage])
    assert not gallery_state.is_current("01_a/plot_01_x", source, gallery)
    assert gallery_state.is_current("02_b/plot_01_y", source, gallery)


@pytest.mark.parametrize(("file", "when"), [("plot_01_x.py", "before"), (None, "after")])
def test_script_is_not_sealed_before_it_is_done(gallery, file, when):
    gallery_state.seal_of("01_a/plot_01_x", gallery).unlink()
    gallery_state.finish({"src_dir": str(gallery.parent)}, file, when=when)
    assert not gallery_state.seal_of("01_a/plot_01_x", gallery).exists()


def test_script_that_failed_is_not_sealed(source, gallery):
    gallery_state.forget("01_a/plot_01_x", gallery)
    gallery_state.finish({"src_dir": str(gallery.parent)}, "plot_01_x.py", when="after")
    assert not gallery_state.is_current("01_a/plot_01_x", source, gallery)
    assert not gallery_state.seal_of("01_a/plot_01_x", gallery).exists()


def test_deleted_script_leaves_nothing_and_takes_nothing_along(gallery):
    write(gallery / "01_a/plot_01_x_more.py")
    write(gallery / "01_a/images/sphx_glr_plot_01_x_more_001.png")
    before = files(gallery)
    scripts = ["01_a/plot_01_x_more", "02_b/plot_01_y"]
    gallery_state.remove_leftovers(scripts, gallery)
    removed = before - files(gallery)
    assert len(removed) == 12
    assert all("plot_01_x" in name and "more" not in name for name in removed)


def test_deleted_section_goes_as_a_whole(gallery):
    gallery_state.remove_leftovers(["01_a/plot_01_x"], gallery)
    assert not (gallery / "02_b").exists()
    assert not (gallery / "evidence/02_b/plot_01_y.json").exists()
    assert (gallery / "01_a/plot_01_x.rst").exists()


def test_nothing_is_removed_when_nothing_was_deleted(gallery):
    before = files(gallery)
    gallery_state.remove_leftovers(["01_a/plot_01_x", "02_b/plot_01_y"], gallery)
    assert files(gallery) == before
