from sphinx.testing.util import SphinxTestApp

PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


def build(source):
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        return app.outdir, app.doctreedir
    finally:
        app.cleanup()


def site(tmp_path):
    (tmp_path / "conf.py").write_text("extensions = ['leftovers']\nhtml_copy_source = False\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.svg").write_text(PIXEL)
        (tmp_path / f"{name}.txt").write_text(name)
        (tmp_path / f"{name}.rst").write_text(
            f"{name}\n=\n\n.. image:: {name}.svg\n   :alt: a pixel\n\n:download:`{name}.txt`\n"
        )
    (tmp_path / "index.rst").write_text("Home\n====\n\n.. toctree::\n   :glob:\n\n   [ab]\n")
    return tmp_path


def test_deleted_page_leaves_no_html_image_or_download(tmp_path):
    out, _ = build(site(tmp_path))
    assert {path.name for path in out.glob("_images/*")} == {"a.svg", "b.svg"}
    (tmp_path / "b.rst").unlink()
    build(tmp_path)
    assert not list(out.rglob("b.*"))
    assert {path.name for path in out.rglob("a.*")} >= {"a.html", "a.svg", "a.txt"}


def test_build_that_warned_is_not_remembered(tmp_path):
    out, doctrees = build(site(tmp_path))
    assert (doctrees / "environment.pickle").exists()
    (tmp_path / "a.rst").write_text("a\n=\n\n:doc:`nowhere`\n")
    build(tmp_path)
    assert not (doctrees / "environment.pickle").exists()
    assert (out / "a.html").is_file()


def test_page_that_was_deleted_after_a_failure_leaves_no_html(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old.rst").write_text(":orphan:\n\nOld\n===\n")
    out, doctrees = build(site(tmp_path))
    assert (out / "folder" / "old.html").is_file()
    (doctrees / "environment.pickle").unlink()  # as a failure does
    (tmp_path / "folder" / "old.rst").rename(tmp_path / "folder" / "new.rst")
    build(tmp_path)
    assert [path.name for path in (out / "folder").iterdir()] == ["new.html"]
