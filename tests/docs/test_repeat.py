import subprocess

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


def test_copy_is_of_what_is_there_without_what_is_made(tmp_path):
    here = write(tmp_path / "here", {"kept": "1", "gone": "1", ".gitignore": "made/\n"})
    for command in (("init", "-q"), ("add", ".")):
        subprocess.run(["git", *command], cwd=here, check=True)
    write(here, {"kept": "2", "nëw file": "1", "made/page": "1"})
    (here / "gone").unlink()
    repeat.copy(here, tmp_path / "there")
    there = tmp_path / "there"
    assert repeat.files(there) == {"kept", "nëw file", ".gitignore"}
    assert (there / "kept").read_text() == "2"
