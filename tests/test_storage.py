from __future__ import annotations

from pathlib import Path

import pytest

from bn_tutorial.storage import cache_folder, replace_when_complete


def test_the_cache_folder_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_a_relative_cache_folder_is_taken_from_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BN_TUTORIAL_CACHE", "cache")
    assert cache_folder() == tmp_path / "cache"


def test_a_tilde_in_the_cache_folder_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("BN_TUTORIAL_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_setting_the_cache_folder_is_the_users(monkeypatch, tmp_path, unset):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_: tmp_path / name)
    if unset is None:
        monkeypatch.delenv("BN_TUTORIAL_CACHE", raising=False)
    else:
        monkeypatch.setenv("BN_TUTORIAL_CACHE", unset)
    assert cache_folder() == tmp_path / "bn-tutorial"


def test_the_cache_folder_is_not_created_on_request(monkeypatch, tmp_path):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
    assert cache_folder(create=False) == tmp_path / "cache"
    assert not (tmp_path / "cache").exists()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_complete_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text("old")
    with replace_when_complete(path) as partial:
        assert partial.parent == tmp_path  # a renaming is one step within one file system only
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["numbers.json"]


@pytest.mark.parametrize("blow", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_no_partial_one(tmp_path, blow):
    path = tmp_path / "numbers.json"
    path.write_text("old")

    def write_half() -> None:
        with replace_when_complete(path) as partial:
            partial.write_text("ne")
            raise blow

    with pytest.raises(blow):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["numbers.json"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replace_when_complete(path):
        pass
    assert path.read_text() == "old"


def test_two_writers_of_one_file_do_not_share_a_partial_file(tmp_path):
    path = tmp_path / "numbers.json"
    with replace_when_complete(path) as first, replace_when_complete(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last
    assert names(tmp_path) == ["numbers.json"]


def test_a_partial_file_does_not_match_the_pattern_of_complete_ones(tmp_path):
    with replace_when_complete(tmp_path / "numbers.json") as partial:
        partial.write_text("{}")
        assert list(tmp_path.glob("*.json")) == []


def test_a_written_file_may_be_read_by_whoever_may_read_the_folders_other_files(tmp_path):
    plain, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain.write_text("")
    with replace_when_complete(replaced) as partial:
        partial.write_text("")
    assert replaced.stat().st_mode == plain.stat().st_mode
