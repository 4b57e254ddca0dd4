from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bn_tutorial.storage import cache_folder, named_folder, prepare_folder, replace_when_complete


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
    def users(name, *, appauthor):  # whose name Windows would put before it
        return tmp_path / (appauthor or "") / name

    monkeypatch.setattr("platformdirs.user_cache_path", users)
    if unset is None:
        monkeypatch.delenv("BN_TUTORIAL_CACHE", raising=False)
    else:
        monkeypatch.setenv("BN_TUTORIAL_CACHE", unset)
    assert cache_folder() == tmp_path / "bn-tutorial"


def test_the_cache_folder_is_not_created_on_request(monkeypatch, tmp_path):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
    assert cache_folder(create=False) == tmp_path / "cache"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("value", ["~nosuchuser", "~nosuchuser/cache"])
def test_home_folder_of_nobody_is_a_value_error_that_names_the_variable(monkeypatch, value):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", value)
    expected = rf"BN_TUTORIAL_CACHE is '{value}'.*set it to a path without ~"
    with pytest.raises(ValueError, match=expected):
        cache_folder()
    with pytest.raises(ValueError, match=expected):
        named_folder("BN_TUTORIAL_CACHE")


@pytest.mark.parametrize("below", ["", "folder", "folder/of/folders"])
def test_cache_folder_that_is_a_file_or_lies_in_one_is_named_with_a_remedy(
    monkeypatch, tmp_path, below
):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / below
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    with pytest.raises(OSError, match="is a file, or lies in one") as error:
        cache_folder()
    assert f"{folder} " in str(error.value)
    assert "set BN_TUTORIAL_CACHE to a folder that you may write to" in str(error.value)


@pytest.mark.parametrize("target", ["cache", "nowhere"])
def test_cache_folder_that_is_a_link_that_leads_nowhere_is_named_as_one(
    monkeypatch, tmp_path, target
):
    (folder := tmp_path / "cache").symlink_to(tmp_path / target)
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    with pytest.raises(OSError, match=rf"{folder} is a link that leads nowhere: set BN_TUTORIAL"):
        cache_folder()


def test_cache_folder_that_cannot_be_created_is_named_with_the_reason(monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 100)
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(folder))
    with pytest.raises(OSError, match=r"cannot be created \(") as error:
        cache_folder()
    assert f"{folder} " in str(error.value)
    assert "set BN_TUTORIAL_CACHE" in str(error.value)


@pytest.mark.parametrize("missing", [os.W_OK, os.X_OK])  # in a folder, the latter is to enter it
def test_cache_folder_that_may_not_be_written_to_is_noticed_before_anything_is_computed(
    monkeypatch, tmp_path, missing
):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    # Not by taking the right away: root, as which tests may run, has it all the same.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path or not mode & missing)
    with pytest.raises(OSError, match="may not be written to") as error:
        cache_folder()
    assert f"{tmp_path} " in str(error.value)
    assert "set BN_TUTORIAL_CACHE" in str(error.value)
    assert cache_folder(create=False) == tmp_path


def test_the_variable_that_chose_a_folder_is_the_one_that_its_error_names(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="set BN_TUTORIAL_CHECKS to"):
        prepare_folder(tmp_path / "file", variable="BN_TUTORIAL_CHECKS")


def test_prepared_folder_is_there_and_may_be_prepared_again(tmp_path):
    for _ in range(2):
        assert prepare_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("unset", [None, ""])
def test_variable_that_is_not_set_or_empty_names_no_folder(monkeypatch, unset):
    monkeypatch.setenv("BN_TUTORIAL_DATA", unset or "")
    if unset is None:
        monkeypatch.delenv("BN_TUTORIAL_DATA")
    assert named_folder("BN_TUTORIAL_DATA") is None


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


def test_content_is_on_the_disk_before_its_name_stands_for_it(tmp_path, monkeypatch):
    path, flushed, flush = tmp_path / "numbers.json", [], os.fsync

    def remember(descriptor):
        flush(descriptor)
        flushed.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", remember)
    with replace_when_complete(path) as partial:
        partial.write_text("new")
    assert flushed == [(3, False)]
    assert path.read_text() == "new"


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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_without_room_is_named_with_a_remedy_and_keeps_the_old_file(
    tmp_path, monkeypatch, code
):
    def fail(_):
        raise OSError(code, os.strerror(code))

    (path := tmp_path / "numbers.json").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(OSError, match=r"numbers.json cannot be written \(.*: make room") as error,
        replace_when_complete(path) as partial,
    ):
        partial.write_text("new")
    assert error.value.errno == code
    assert str(path) in str(error.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["numbers.json"]


def test_folder_in_the_place_of_a_file_is_named_with_a_remedy(tmp_path):
    (path := tmp_path / "numbers.json").mkdir()
    with (
        pytest.raises(IsADirectoryError, match="is a folder, where a file should be: delete") as e,
        replace_when_complete(path) as partial,
    ):
        partial.write_text("new")
    assert str(path) in str(e.value)
    assert names(tmp_path) == ["numbers.json"]


def test_other_error_of_the_system_is_handed_on_as_it_is(tmp_path):
    failure = OSError(errno.EIO, "Input/output error")
    with (
        pytest.raises(OSError, match="Input/output") as error,
        replace_when_complete(tmp_path / "x"),
    ):
        raise failure
    assert error.value is failure
