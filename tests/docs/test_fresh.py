"""A second build is as good as a first, and never beside another."""

import os
import subprocess
import sys
from pathlib import Path

import fresh
import pytest
from sphinx.testing.util import SphinxTestApp

PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="1"/>'
TAKE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import fresh, pathlib
lock = fresh.take_lock(pathlib.Path(sys.argv[2]))
print("taken", flush=True)
time.sleep(60)
"""


def build(source):
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        return {
            path.relative_to(app.outdir).as_posix(): path.read_bytes()
            for path in app.outdir.rglob("*")
            if path.is_file()
        }, app.warning.getvalue()
    finally:
        app.cleanup()


def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def site(tmp_path):
    source = tmp_path / "docs"
    write(source, "conf.py", "extensions = ['fresh']\nexclude_patterns = ['_build']\n")
    for name in ("a", "b"):
        write(source, f"{name}.svg", PIXEL.format(1))
        write(source, f"{name}.txt", name)
        write(
            source,
            f"{name}.rst",
            f"{name}\n=\n\n.. index:: entry of {name}\n.. py:function:: f_{name}\n\n"
            f".. image:: {name}.svg\n   :alt: a pixel\n\n:download:`{name}.txt`\n",
        )
    write(source, "index.rst", "Home\n====\n\n.. toctree::\n   :glob:\n\n   [a-z]\n")
    return source


def test_second_build_gives_the_same_files(site):
    first, _ = build(site)
    assert b"entry of a" in first["searchindex.js"]
    assert build(site)[0] == first


def test_build_after_a_change_is_that_from_nothing(site):
    build(site)
    write(site, "b.rst", "Other\n=====\n\n.. index:: another entry\n")
    changed, _ = build(site)
    fresh.shutil.rmtree(site / "_build")
    assert changed == build(site)[0]
    assert {"searchindex.js", "objects.inv", "genindex.html"} <= changed.keys()


def test_change_that_keeps_the_date_of_a_file_is_seen(site):
    build(site)
    before = (site / "a.rst").stat()
    write(site, "a.rst", (site / "a.rst").read_text().replace("entry", "ENTRY"))
    os.utime(site / "a.rst", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert b"ENTRY of a" in build(site)[0]["genindex.html"]


@pytest.mark.parametrize(
    "name", ["index.html", "_images/a.svg", "searchindex.js", "objects.inv", "_static/basic.css"]
)
@pytest.mark.parametrize("size", [None, 0, 10])
def test_damaged_file_of_the_site_is_made_again(site, name, size):
    first, _ = build(site)
    path = site / "_build/html" / name
    path.unlink() if size is None else os.truncate(path, size)
    assert build(site) == (first, "")


@pytest.mark.parametrize("name", ["environment.pickle", "index.doctree"])
def test_damaged_memory_of_sphinx_does_no_harm(site, name):
    first, _ = build(site)
    os.truncate(site / "_build/doctrees" / name, 10)
    assert build(site) == (first, "")


def test_deleted_page_leaves_no_html_image_or_download(site):
    build(site)
    (site / "b.rst").unlink()
    names = build(site)[0]
    assert not [name for name in names if name.split("/")[-1].startswith("b.")]
    assert "_images/a.svg" in names


def test_warning_is_not_forgotten(site):
    write(site, "a.rst", "a\n=\n\n:doc:`nowhere`\n")
    for _ in range(2):
        assert "nowhere" in build(site)[1]


def test_folder_outside_of_the_checkout_keeps_what_it_holds(site, tmp_path):
    write(tmp_path, "out/precious.txt", "")
    app = SphinxTestApp("html", srcdir=site, builddir=tmp_path / "out")
    app.build()
    app.cleanup()
    assert (tmp_path / "out/precious.txt").exists()


def test_second_build_at_once_is_told_who_is_at_work(tmp_path):
    take = [sys.executable, "-c", TAKE, str(Path(fresh.__file__).parent), str(tmp_path)]
    with subprocess.Popen(take, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"taken\n"
        try:
            with pytest.raises(SystemExit, match=rf"process {other.pid}, since [-\d]+ [:\d]+ UTC"):
                fresh.take_lock(tmp_path)
        finally:
            other.kill()
    fresh.take_lock(tmp_path).release()  # a process that is dead holds nothing


def test_build_has_the_lock_until_it_is_done(site):
    app = SphinxTestApp("html", srcdir=site)
    try:
        with pytest.raises(SystemExit, match=rf"process {os.getpid()}, since"):
            fresh.take_lock(site / "_build")
        app.build()
        fresh.take_lock(site / "_build").release()
    finally:
        app.cleanup()


def test_folder_that_cannot_be_written_to_is_named(site):
    write(site, "gallery", "a file")
    with pytest.raises(SystemExit, match=r"cannot write to .*gallery: make that a folder"):
        fresh.check_folders(site)


def test_folder_that_may_not_be_written_to_is_named(site, monkeypatch):
    fresh.check_folders(site)
    monkeypatch.setattr("os.access", lambda path, _mode: path.name == "_build")
    (site / "_build").mkdir()
    with pytest.raises(SystemExit, match=r"write to .*gallery or .*generated: make"):
        fresh.check_folders(site)
