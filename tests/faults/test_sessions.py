"""A session of tests writes into no folder of the user's; one of nox ends with all it started."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


def test_tests_and_doctests_write_nothing_into_the_users_folders(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    users = ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("BN_TUTORIAL_")
    }
    # Among them the one whose example makes a cache folder.
    doctests = ["bn_tutorial/lab/evidence.py", "bn_tutorial/storage.py", "bn_tutorial/lab/pool.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, *doctests, "tests/lab/test_checks.py", f"--basetemp={tmp_path / 'own'}"],
        cwd=ROOT,
        env=environment | dict.fromkeys(users, str(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not list(home.rglob("*"))


NOXFILE = f"""
import importlib.util, nox
spec = importlib.util.spec_from_file_location("project", {str(ROOT / "noxfile.py")!r})
project = importlib.util.module_from_spec(spec)
spec.loader.exec_module(project)

@nox.session(venv_backend="none")
def build(session):
    project.build_site(session)
"""

# In the place of Sphinx: it begins as a build does, says its number, and works for a long time.
SPHINX = f"""#!{sys.executable}
import os, sys, time
from types import SimpleNamespace
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "docs/_ext")!r}]
import fresh
fresh.setup(SimpleNamespace(srcdir=".", connect=lambda *_, **__: None))
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def nox(tmp_path):
    """A function that starts a build with nox, and returns the process of each."""
    (tmp_path / "noxfile.py").write_text(NOXFILE)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (sphinx := tmp_path / "sphinx-build").write_text(SPHINX)
    sphinx.chmod(0o755)
    started = []

    def start(*before):
        nox = subprocess.Popen(
            [*before, sys.executable, "-m", "nox", "-s", "build"],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append((nox, psutil.Process(int(nox.stdout.readline()))))
        return started[-1]

    yield start
    for session, build in started:
        session.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            build.kill()
        session.communicate()


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_build_ends_with_the_nox_that_started_it(nox, number):
    session, build = nox()
    session.send_signal(getattr(signal, number))
    session.communicate(timeout=10)
    assert session.returncode != 0
    assert not build.is_running() or build.status() == psutil.STATUS_ZOMBIE


@posix
def test_build_ends_soon_after_a_nox_that_was_killed_without_a_word(nox):
    session, build = nox()
    session.kill()
    session.communicate(timeout=10)  # the build has closed its output, too
    with contextlib.suppress(psutil.NoSuchProcess):
        build.wait(timeout=10)
    assert not build.is_running() or build.status() == psutil.STATUS_ZOMBIE


@posix
def test_build_that_is_to_outlive_its_terminal_does(nox):
    session, build = nox("nohup")
    session.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        session.wait(timeout=2)
    assert build.is_running()
