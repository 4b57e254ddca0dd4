import gallery_state
import pytest
from sphinx_gallery.utils import get_md5sum


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
    folder = tmp_path / "gallery"
    for script in ("01_a/plot_01_x", "02_b/plot_01_y"):
        section, name = script.split("/")
        write(folder / f"{script}.py.md5", get_md5sum(source / f"{script}.py", mode="t"))
        for suffix in ("py", "rst", "ipynb", "zip", "codeobj.json"):
            write(folder / f"{script}.{suffix}")
        for image in ("001.png", "001_light.svg", "001_dark.svg"):
            write(folder / section / "images" / f"sphx_glr_{name}_{image}")
        write(folder / section / "images/thumb" / f"sphx_glr_{name}_thumb.png")
        write(folder / "evidence" / f"{script}.json")
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_scripts_are_named_by_section_and_in_order(source):
    assert gallery_state.scripts_in(source) == ["01_a/plot_01_x", "02_b/plot_01_y"]


def test_fingerprint_changes_with_a_source_its_name_and_the_data(tmp_path):
    a, b = write(tmp_path / "a.py", "1"), write(tmp_path / "b.py", "2")
    marks = [
        gallery_state.fingerprint([a, b], "mnist"),
        gallery_state.fingerprint([a, b], "digits"),
    ]
    assert gallery_state.fingerprint([b, a], "mnist") == marks[0]
    write(a, "2"), write(b, "1")
    marks.append(gallery_state.fingerprint([a, b], "mnist"))
    marks.append(gallery_state.fingerprint([a], "mnist"))
    assert len(set(marks)) == 4


def test_fingerprint_changes_with_a_version(monkeypatch):
    before = gallery_state.fingerprint([], "mnist")
    monkeypatch.setattr(gallery_state.importlib.metadata, "version", lambda _: "0")
    assert gallery_state.fingerprint([], "mnist") != before


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


def test_deleted_script_leaves_nothing_and_takes_nothing_along(gallery):
    write(gallery / "01_a/plot_01_x_more.py")
    write(gallery / "01_a/images/sphx_glr_plot_01_x_more_001.png")
    before = files(gallery)
    scripts = ["01_a/plot_01_x_more", "02_b/plot_01_y"]
    gallery_state.remove_leftovers(scripts, gallery)
    removed = before - files(gallery)
    assert len(removed) == 11
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
