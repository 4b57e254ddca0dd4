import socket
import urllib.request

import dukpy
import npm_package
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    npm_package.fetch.cache_clear()
    yield tmp_path
    npm_package.fetch.cache_clear()


def test_package_is_fetched_once(cache, monkeypatch):
    asked = []

    def install(name, version, folder):
        asked.append((name, version))
        npm_package.Path(folder, name).mkdir()

    monkeypatch.setattr(dukpy, "install_jspackage", install)
    for _ in range(2):
        npm_package.fetch.cache_clear()
        assert npm_package.fetch("thing", "1.2") == cache / "thing-1.2"
    assert asked == [("thing", "1.2")]
    assert [path.name for path in cache.iterdir()] == ["thing-1.2"]


def test_failure_names_the_package_and_the_folder(cache, monkeypatch):
    def refuse(*_):
        raise dukpy.install.JSPackageInstallError("no network", error_code=1)

    monkeypatch.setattr(dukpy, "install_jspackage", refuse)
    with pytest.raises(OSError, match=r"thing 1\.2 .*no network"):
        npm_package.fetch("thing", "1.2")
    assert list(cache.iterdir()) == []


def test_registry_that_says_nothing_is_given_up(cache, monkeypatch):
    monkeypatch.setattr(npm_package, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(dukpy.install, "urlopen", lambda _: urllib.request.urlopen(address))
        with pytest.raises(OSError, match=r"thing 1\.2 .*timed out"):
            npm_package.fetch("thing", "1.2")
    assert socket.getdefaulttimeout() is None
    assert list(cache.iterdir()) == []
