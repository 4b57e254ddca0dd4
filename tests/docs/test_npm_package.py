import io
import tarfile

import mirrors
import npm_package
import pytest
from npm_package import Package, files

from bn_tutorial import fetch

CONTENTS = {"dist/thing.js": b"let thing;" * 500, "dist/fonts/A.woff2": b"A", "LICENSE": b"free"}


def packed(contents):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for path, content in contents.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = packed(CONTENTS)
THING = Package("thing", "1.2", npm_package.integrity_of(ARCHIVE))


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Where the archive is kept in an empty cache folder."""
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "PATIENCE", 0.3)
    files.cache_clear()
    yield tmp_path / "thing-1.2.tgz"
    files.cache_clear()


@pytest.fixture
def registry(monkeypatch):
    """A registry on this machine; the test may change its manner."""
    with mirrors.serving({"thing/-/thing-1.2.tgz": ARCHIVE}) as source:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", source.address)
        yield source


def test_package_is_fetched_once(kept, registry):
    for _ in range(2):
        files.cache_clear()
        assert files(THING) == CONTENTS
    assert registry.asked == ["/thing/-/thing-1.2.tgz"]
    assert list(kept.parent.iterdir()) == [kept]


def test_package_that_is_there_needs_no_network(kept, monkeypatch):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1")
    kept.write_bytes(ARCHIVE)
    assert files(THING) == CONTENTS


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        ARCHIVE[:-1],
        ARCHIVE + b"x",
        ARCHIVE[:99] + bytes([ARCHIVE[99] ^ 1]) + ARCHIVE[100:],
        packed({path: CONTENTS[path] for path in CONTENTS if "fonts" not in path}),
        packed(CONTENTS | {"dist/thing.js": b"let thing;"}),
        b"<html>Please log in</html>",
    ],
    ids=["empty", "cut", "longer", "a bit", "without fonts", "a file cut", "a page"],
)
def test_damaged_copy_is_fetched_again_and_said_once(kept, registry, damaged, caplog):
    kept.write_bytes(damaged)
    for _ in range(2):
        files.cache_clear()
        assert files(THING) == CONTENTS
    assert kept.read_bytes() == ARCHIVE
    assert len(registry.asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{kept} is damaged. It is downloaded again."
    ]


@pytest.mark.parametrize("manner", [*mirrors.BROKEN, *mirrors.LYING], ids=lambda m: m.__name__)
def test_registry_that_fails_is_named_with_the_package_and_the_remedy(kept, registry, manner):
    registry.manner = manner
    with pytest.raises(OSError, match=r"thing-1\.2\.tgz is not there, and could not") as error:
        files(THING)
    assert registry.address.rstrip("/") in str(error.value)
    assert f"{kept} " in str(error.value)
    assert "npm pack thing@1.2" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(kept.parent.iterdir()) == []


def make_a_loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [(npm_package.Path.mkdir, "Is a directory"), (make_a_loop, "Too many levels")],
)
def test_copy_that_cannot_be_read_is_named(kept, make, said):
    make(kept)
    with pytest.raises(OSError, match=rf"thing-1\.2\.tgz cannot be read \({said}.*: delete it"):
        files(THING)


def test_registry_is_the_one_that_npm_would_ask(monkeypatch):
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    assert npm_package.registry().startswith("https://")
    assert not npm_package.registry().endswith("/")


def test_packages_of_the_site_are_kept_within_the_limit(katex, minisearch):
    assert max(path.stat().st_size for path in (katex, minisearch)) < npm_package.LIMIT
