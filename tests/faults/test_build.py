"""Builds that are killed, and what they made damaged: the next build is as good as a first."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import killed_build
import pytest

ROOT = Path(__file__).parents[2]
CONF = f"""
import sys

sys.path.insert(0, {str(ROOT / "docs" / "_ext")!r})
extensions = ["fresh", "experiments", "check_log", "take_along"]
extensions += ["myst_nb", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "gallery/**/*.ipynb"]
html_context = {{}}
html_copy_source = False
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
suppress_warnings = ["sphinx_gallery.space_in_filename"]
sphinx_gallery_conf = {{
    "examples_dirs": "../tutorial_src", "gallery_dirs": "gallery",
    "image_scrapers": ("gallery_figures.scrape",),
    "reset_modules": ("matplotlib", "gallery_figures.use_site_style", "gallery_state.finish"),
    "reset_modules_order": "both", "min_reported_time": float("inf"),
    "download_all_examples": False, "write_computation_times": False, "show_signature": False,
}}
"""
SCRIPT = '''"""
Title of {name}
==================

Text.
"""
from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import COLORS, new_figure

figure, ax = new_figure(alt="A line that rises from zero to the level.")
ax.plot([0, {level}], color=COLORS["{color}"])
evidence = Evidence("01_a/{name}", seeds=range(5))
evidence.note(level={level})
evidence.save()
print("level", {level})
'''
PAGE = """---
file_format: mystnb
kernelspec: {{name: python3}}
---
# A proof

```{{index}} proof {level}
```

```{{code-cell}} python
from bn_tutorial.lab.checks import Checks

checks = Checks("proof")
```

```{{code-cell}} python
print(checks.holds("zero is zero", 0.0, broken={{"one is": {level}.0}}))
```
"""
INDEX = """# Home

```{check-log}
```

```{toctree}
proof
gallery/index
```
"""
SCRIPTS = {"plot_01_x": "blue", "plot_02_y": "orange"}


def write(root, level):
    """Write a state of the sources: one proof, and two scripts with a figure each."""
    files = {
        "bn_tutorial/__init__.py": "",
        "docs/conf.py": CONF,
        "docs/index.md": INDEX,
        "docs/references.bib": "",
        "docs/proof.md": PAGE.format(level=level),
        "tutorial_src/GALLERY_HEADER.rst": "Gallery\n=======\n",
        "tutorial_src/01_a/GALLERY_HEADER.rst": "Section\n-------\n",
    } | {
        f"tutorial_src/01_a/{name}.py": SCRIPT.format(name=name, color=color, level=level)
        for name, color in SCRIPTS.items()
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def variables(root):
    """Return what a build is told, nothing of which is the user's."""
    return {
        **{name: "" for name in os.environ if name.startswith("BN_TUTORIAL_")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "IPYTHONDIR": str(root / "ipython"),
        "BN_TUTORIAL_CACHE": str(root / "cache"),
        "SOURCE_DATE_EPOCH": "1700000000",
    }


def build(root, *stop):
    """Build in a process of its own, to the end or until it is stopped; return its status."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_build"])
    arguments = (str(root / "docs"), *stop)
    process = context.Process(target=killed_build.main, args=arguments, kwargs=variables(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for what is imported before
        process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail("the build hangs")
    return process.exitcode


def contents(root):
    """Return every file of the site and what was measured, to compare."""
    folders = (root / "docs/_build/html", root / "docs/gallery/evidence")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def different(one, other):
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A site that was built once, in its first state. No test may change it."""
    root = tmp_path_factory.mktemp("first")
    write(root, level=1)
    assert build(root) == 0
    return root


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """What the second state gives where nothing was built before."""
    root = tmp_path_factory.mktemp("right")
    write(root, level=2)
    assert build(root) == 0
    found = contents(root)
    assert len([name for name in found if name.endswith(("_light.svg", "_dark.svg"))]) == 8
    assert b"proof 2" in found["docs/_build/html/searchindex.js"]
    return found


@pytest.fixture
def site(first, tmp_path):
    return shutil.copytree(first, tmp_path / "site")


HTML = "sphinx.builders.html:StandaloneHTMLBuilder."
STOPS = [  # at which call of what, and how
    ("sphinx_gallery.gen_rst:save_rst_example", 2, "SIGKILL"),  # it ran to the end: its page is old
    ("jupyter_cache.cache.main:nbf.writes", 2, "SIGKILL"),  # known as executed, and not there
    (HTML + "write_doc", 3, "SIGKILL"),
    (HTML + "copy_image_files", 1, "SIGKILL"),  # the published fault: old figures beside new text
    (HTML + "copy_image_files", 1, "SIGINT"),
    (HTML + "copy_download_files", 1, "SIGTERM"),
    (HTML + "dump_search_index", 1, "SIGKILL"),
]


@pytest.mark.parametrize(("call", "number", "name"), STOPS)
def test_build_after_one_that_was_stopped_is_right(site, right, call, number, name):
    write(site, level=2)
    assert build(site, call, number, name) != 0
    assert build(site) == 0
    assert different(contents(site), right) == []


def test_first_build_that_was_killed_does_no_harm(tmp_path, right):
    write(tmp_path, level=2)
    assert build(tmp_path, HTML + "dump_search_index") == -9
    assert build(tmp_path) == 0
    assert different(contents(tmp_path), right) == []


def test_scripts_that_ran_to_the_end_before_a_kill_do_not_run_again(site):
    write(site, level=2)
    assert build(site, "sphinx_gallery.gen_rst:save_rst_example", 2) == -9
    before = (site / "docs/gallery/evidence/01_a/plot_01_x.json").stat().st_mtime_ns
    assert build(site) == 0
    assert (site / "docs/gallery/evidence/01_a/plot_01_x.json").stat().st_mtime_ns == before


DAMAGED = [
    "_build/html/index.html",
    "_build/html/searchindex.js",
    "_build/html/_images/*_light.svg",
    "_build/doctrees/environment.pickle",
    "_build/executed-pages/*/global.db",
    "_build/executed-pages/*/executed/*/base.ipynb",
    "_build/executed-pages/*/checks/*/proof.json",
    "_build/executed-pages/*/sealed.json",
    "gallery/built-with.json",
    "gallery/*.sealed.json",
    "gallery/index.rst",
    "gallery/evidence/*/*_x.json",
    "gallery/01_a/*_x.rst",
    "gallery/01_a/images/*_x_001_wide_dark.svg",
    "gallery/01_a/images/thumb/*_x_thumb.png",
]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_what_is_damaged_is_made_again(site, first, damage):
    for pattern in DAMAGED:
        found = list((site / "docs").glob(pattern))
        assert found
        for path in found:
            if damage == "missing":
                path.unlink()
            else:
                os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    assert build(site) == 0
    assert different(contents(site), contents(first)) == []


def test_counts_are_those_of_the_page_as_it_is(site, first):
    """A state of the page that counted more, before it failed, leaves no trace."""
    page = site / "docs/proof.md"
    text = page.read_text()
    more = '\n```{code-cell} python\nchecks.holds("again", 0.0, broken={"one": 1.0})\n1 / 0\n```\n'
    page.write_text(text + more)
    assert build(site) != 0
    page.write_text(text)
    assert build(site) == 0
    assert different(contents(site), contents(first)) == []


def test_site_is_the_same_wherever_and_however_it_is_built_and_nothing_warns(first, tmp_path):
    root = tmp_path / "längst, with spaces" / "_build"
    write(root, level=1)
    known = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7"}
    built = subprocess.run(
        [sys.executable, killed_build.__file__, str(root / "docs")],
        env={**os.environ, **variables(root), **known},
        umask=0o077,
        timeout=120,
        capture_output=True,
        text=True,
        check=True,
    )
    assert built.stderr == ""
    assert different(contents(root), contents(first)) == []
