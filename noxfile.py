# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2026.10.20"]
# ///
"""The commands of this project: `nox -l` lists them, `nox -s NAME` runs one."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import webbrowser
from argparse import ArgumentParser
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# uv, because it links packages from one cache: a second session downloads nothing again.
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "docs", "lint"]

# What else asks a program to end is to end a session as Ctrl-C does: nox then ends what it started.
for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
    if signal.getsignal(number) is signal.SIG_DFL:  # nohup has said that SIGHUP is to be ignored
        signal.signal(number, signal.default_int_handler)

PROJECT = nox.project.load_toml("pyproject.toml")
SITE = Path("docs/_build/html")
UNFINISHED = SITE.with_name("unfinished")
SIDE_BY_SIDE = ("-n", "logical", "--dist", "loadfile")
# A test that computes on several threads would wait for those of its neighbours.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def install(session: nox.Session, *groups: str) -> None:
    """Install the package and the named dependency groups, at the pinned versions."""
    requirements = nox.project.dependency_groups(PROJECT, *groups)
    # Many processes import torch here; without compiled files each of them takes seconds for it.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.install("-c", "constraints.txt", "-e", ".", *requirements)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the unit tests and doctests, one at a time on each core; no network, under two minutes.

    `-- -x tests/test_fetch.py` runs some of them, one after the other.
    """
    install(session, "tests")
    session.run("pytest", *session.posargs or SIDE_BY_SIDE, env=ONE_THREAD)


@nox.session
def extensions(session: nox.Session) -> None:
    """Test the extensions of the site in the same way: Sphinx builds small sites; two minutes."""
    install(session, "tests")
    session.run("pytest", "tests/docs", *session.posargs or SIDE_BY_SIDE, env=ONE_THREAD)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every experiment and build the site; `-- 03_in_training/plot_01` builds one page.

    `-- --device cuda` trains on a graphics processor.
    """
    install(session, "docs")
    build_site(session)


@nox.session
def serve(session: nox.Session) -> None:
    """Build the site, then serve it on this machine and open it in a browser."""
    install(session, "docs")
    build_site(session)
    # A moment later, when the server answers.
    threading.Timer(1.0, webbrowser.open, ["http://127.0.0.1:8000/"]).start()
    session.run("python", "-m", "http.server", "8000", "--bind", "127.0.0.1", "-d", str(SITE))


@nox.session
def site(session: nox.Session) -> None:
    """Open every page of the built site in Chromium: links, images, accessibility, weight.

    `-- -k "not axe"` leaves some of the tests out; `-- tests/browser/test_race.py` runs some alone,
    one after the other.
    """
    install(session, "site")
    side_by_side = ["tests/browser", "-m", "not timed", "-n", "logical", "--dist", "worksteal"]
    alone = any(argument.startswith("tests/") for argument in session.posargs)
    session.run("pytest", *([] if alone else side_by_side), *session.posargs)


@nox.session
def speed(session: nox.Session) -> None:
    """Measure in Chromium how soon pages are painted and answer; nothing else should run."""
    install(session, "site")
    session.run("pytest", "tests/browser", "-m", "timed", *session.posargs)


@nox.session
def archive(session: nox.Session) -> None:
    """Pack the built site into one file, which reads from the disk, and try it."""
    install(session, "site")
    packed = SITE.with_name("bn-tutorial-site.zip")
    session.run("python", "docs/_ext/site_archive.py", str(SITE), str(packed))
    session.run("pytest", "tests/browser/test_archive.py")
    session.log(f"The site is in {packed}: unpack it and open index.html")


@nox.session
def notebooks(session: nox.Session) -> None:
    """Run every notebook of the built site where only Python is, outside this checkout."""
    install(session, "docs", "notebooks")
    session.run("python", "docs/_ext/run_notebooks.py", str(SITE))


@nox.session
def faults(session: nox.Session) -> None:
    """Injure builds, runs and fetches, and see that nothing wrong is said; under ten minutes."""
    install(session, "tests")
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session
def examine(session: nox.Session) -> None:
    """Examine sick models and healthy ones, and try each remedy on the site; about seven minutes.

    `-- --record` keeps the counts.
    """
    install(session, "tests")
    session.run("pytest", "tests/examine", *session.posargs)


@nox.session
def device(session: nox.Session) -> None:
    """Run what pages probe on a stand-in for a graphics processor, and fused layers at length."""
    install(session, "tests")
    session.run("pytest", "tests/device", *session.posargs)


@nox.session
def cache(session: nox.Session) -> None:
    """Say how much room finished runs take; `-- --prune` deletes those that nothing can use."""
    install(session, "docs")
    session.run("python", "-m", "bn_tutorial.lab.prune", *session.posargs)


@nox.session
def repeat(session: nox.Session) -> None:
    """Build the site once more, in another folder, and see that not one byte differs."""
    install(session, "docs")
    session.run("python", "docs/_ext/repeat.py")


@nox.session
def record(session: nox.Session) -> None:
    """Keep the effects of the build that is there in docs/record, to compare later builds with."""
    install(session, "docs")
    session.run("python", "docs/_ext/comparisons.py", "docs")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, spelling and markup; `-- --fix` repairs what can be repaired."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *(() if "--fix" in session.posargs else ("--check",)), ".")
    session.run("mypy")
    session.run("codespell")
    made = ("docs/_build", "docs/gallery", "docs/api/generated")
    ignored = [argument for folder in made for argument in ("--ignore", folder)]
    session.run("sphinx-lint", "--enable=all", "--disable=line-too-long", *ignored, "docs")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Time our code against its peer in the same run; figures are ratios."""
    install(session, "benchmarks")
    session.run("pytest", "benchmarks", "-p", "no:cacheprovider", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the package in every small way, to see whether the tests notice; hours.

    `-- "bn_tutorial.lab.store.*"` breaks a part of it.
    """
    install(session, "mutants")
    shutil.rmtree("mutants", ignore_errors=True)  # else survivors of older tests are kept
    # Each mutant is tried in a forked process, which must not inherit torch's threads.
    session.run("mutmut", "run", *session.posargs, env={"OMP_NUM_THREADS": "1"})
    session.run("python", "tests/survivors/survivors.py")


@nox.session
def audit(session: nox.Session) -> None:
    """Ask PyPI for known vulnerabilities of the pinned versions; no answer is a failure."""
    session.install("-c", "constraints.txt", *nox.project.dependency_groups(PROJECT, "audit"))
    # pip-audit passes over pins for another Python or system, and takes each package only once.
    pins = [line.partition(" ;")[0] for line in Path("constraints.txt").read_text().splitlines()]
    asked = Path(session.create_tmp(), "pins.txt")
    while pins:
        once = {pin.partition("==")[0]: pin for pin in pins}
        asked.write_text("\n".join(once.values()))
        # Without "strict", a version of which nothing could be learnt would count as sound.
        session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", str(asked))
        pins = [pin for pin in pins if pin not in once.values()]


@nox.session(venv_backend="uv")
def lock(session: nox.Session) -> None:
    """Refresh constraints.txt: bare pins for every supported Python, no index addresses."""
    session.run(
        *("uv", "pip", "compile", "--universal", "--python-version", "3.11", "--upgrade"),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"),
        *("pyproject.toml", "--group", "dev", "--output-file", "constraints.txt"),
        external=True,
    )


def build_site(session: nox.Session) -> None:
    """Run Sphinx with warnings as errors, then say where the site is: whole, or the last one."""
    options = ArgumentParser(prog="nox -s docs --")
    options.add_argument("page", nargs="?", help="run this experiment only")
    options.add_argument("--device", help="train on this device of PyTorch's, such as cuda")
    chosen = options.parse_args(session.posargs)
    # One page alone leaves the others unexecuted, so their numbers may be missing: see conf.py.
    wishes = {
        "BN_TUTORIAL_ONLY": chosen.page,
        "BN_TUTORIAL_DEVICE": chosen.device,
        "BN_TUTORIAL_NOX": str(os.getpid()),  # with which the build ends: see docs/_ext/fresh.py
    }
    session.run(
        *("sphinx-build", "-W", "-n", "--keep-going", "-b", "html"),
        *("-d", "docs/_build/doctrees", "docs", str(UNFINISHED)),
        env={name: value for name, value in wishes.items() if value},
    )
    if UNFINISHED.is_dir():  # else nothing has changed
        shutil.rmtree(SITE, ignore_errors=True)
        UNFINISHED.rename(SITE)
    page, used = (SITE / "index.html").resolve(), os.times()
    minutes = (used.children_user + used.children_system) / 60
    session.log(f"The site is built, in {minutes:.0f} minutes of processor time.")
    session.log(f"Open {page.as_uri()}")
