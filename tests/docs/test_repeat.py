import repeat


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_files_that_differ_or_that_only_one_site_has_are_named(tmp_path):
    one = write(tmp_path / "one", {"a": "1", "b": "1", "deep/c": "1", "d": "1"})
    other = write(tmp_path / "other", {"a": "1", "b": "2", "deep/c": "", "e": "1"})
    assert repeat.different(one, other) == ["b", "d", "deep/c", "e"]
    assert repeat.different(one, one) == []


def test_copy_is_of_the_sources_without_what_is_made(tmp_path):
    made = (".nox/docs/x", "docs/_build/html/index.html", "docs/gallery/a.rst", "p/__pycache__/m")
    sources = ("docs/conf.py", "docs/a/nëw page.md", "p/m.py", "README.md")
    here = write(tmp_path / "here", dict.fromkeys((*made, *sources), "1"))
    repeat.copy(here, tmp_path / "there")
    assert repeat.files(tmp_path / "there") == {*sources}
