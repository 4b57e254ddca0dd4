import pytest
import seal


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "deep").mkdir()
    files = [tmp_path / "a.txt", tmp_path / "deep" / "b ü.txt"]
    for path in files:
        path.write_text(path.name, encoding="utf-8")
    seal.write(tmp_path / "seal", files)
    return tmp_path


def test_seal_holds_while_nothing_changes(sealed):
    assert seal.holds(sealed / "seal")
    (sealed / "other.txt").write_text("not of this seal")
    assert seal.holds(sealed / "seal", sealed / "a.txt")
    assert not seal.holds(sealed / "seal", sealed / "a.txt", sealed / "other.txt")


@pytest.mark.parametrize("name", ["a.txt", "deep/b ü.txt", "seal"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "altered", "a folder"])
def test_seal_is_broken_by_any_damage(sealed, name, damage):
    path = sealed / name
    whole = path.read_bytes()
    if damage in ("missing", "a folder"):
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-1], "altered": b"x" + whole[1:]}[damage])
    assert not seal.holds(sealed / "seal")


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"content": {}, "sha256": "0"}'])
def test_what_is_no_seal_seals_nothing(sealed, text):
    (sealed / "seal").write_text(text)
    assert not seal.holds(sealed / "seal")
