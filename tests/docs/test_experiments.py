"""The whole sequence, on a site of two scripts: what runs, and when."""

import contextlib
import os
import sys
from types import ModuleType, SimpleNamespace

import experiments
import joblib
import pytest
from joblib.externals.loky import get_reusable_executor
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.errors import ConfigError, SphinxError
from sphinx.testing.util import SphinxTestApp

CONF = """
extensions = ["fresh", "experiments", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build"]
html_context = {}
html_copy_source = False
sphinx_gallery_conf = {
    "examples_dirs": "../tutorial_src", "gallery_dirs": "gallery", "image_scrapers": (),
    "download_all_examples": False, "write_computation_times": False,
    "reset_modules": ("gallery_state.finish",), "reset_modules_order": "after",
}
"""
SCRIPT = '''"""
Title
=====

Text.
"""
import os, pathlib


def unused():
    from bn_tutorial.{part} import LEVEL

    return LEVEL


with pathlib.Path({log!r}).open("a") as log:
    print("{name}", os.environ["BN_TUTORIAL_DATASET"], file=log)
'''


CORES = joblib.cpu_count()

WHERE_IT_RUNS = """
cores = os.environ.get("LOKY_MAX_CPU_COUNT")
pathlib.Path({!r}).write_text(f"{{os.getppid()}} {{cores}}")
"""


STUDY = """
from importlib import import_module  # of the real package, not of this site's

from small_runs import make_run

store = import_module("bn_tutorial.lab.store").Store(
    "digest", import_module("bn_tutorial.fingerprint").Sources()
)
runs = [make_run(seed=seed) for seed in range({count})]
for run in runs:
    store.path(run).write_text("")
assert not store.find(runs)
"""


class Site:
    def __init__(self, root, monkeypatch):
        self.root = root
        self.log = root / "log"
        self.monkeypatch = monkeypatch
        self.write("bn_tutorial/__init__.py", "")
        self.write("bn_tutorial/a.py", "LEVEL = 1\n")
        self.write("bn_tutorial/b.py", "LEVEL = 1\n")
        self.write("docs/conf.py", CONF)
        self.write("docs/index.rst", "Home\n====\n\n.. toctree::\n\n   gallery/index\n")
        self.write("tutorial_src/GALLERY_HEADER.rst", "Gallery\n=======\n")
        for section, name in (("01_a", "plot_01_x"), ("02_b", "plot_01_y")):
            self.write(f"tutorial_src/{section}/GALLERY_HEADER.rst", f"{section}\n----\n")
            self.script(section, name)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def script(self, section, name, more=""):
        text = SCRIPT.format(name=name, log=str(self.log), part=section[3:]) + more
        self.write(f"tutorial_src/{section}/{name}.py", text)

    def build(self, *, fails=False, dataset="", only=""):
        """Build as a new process would, with the user's environment; return what ran."""
        self.log.write_text("")
        self.monkeypatch.setenv("BN_TUTORIAL_DATASET", dataset)
        self.monkeypatch.setenv("BN_TUTORIAL_ONLY", only)
        self.monkeypatch.delenv("BN_TUTORIAL_CHECKS", raising=False)  # the last build's
        with pytest.raises(SphinxError) if fails else contextlib.nullcontext():
            app = SphinxTestApp("html", srcdir=self.root / "docs")
            try:
                app.build()
                self.said = app.status.getvalue()
                assert not app.warning.getvalue()
            finally:
                app.cleanup()
        return self.log.read_text().split("\n")[:-1]


@pytest.fixture
def site(tmp_path, monkeypatch):
    # The real one imports torch, and would look for MNIST.
    data = ModuleType("data")
    data.resolve = lambda: os.environ["BN_TUTORIAL_DATASET"] or "mnist"
    data.load = lambda name: SimpleNamespace(
        name=name, title=name, licence="L", source="S", digest=name
    )
    monkeypatch.setitem(sys.modules, "bn_tutorial.data.loading", data)
    for name in (f"BN_TUTORIAL_{what}" for what in ("DATA", "CACHE", "EVIDENCE", "CHECKS")):
        monkeypatch.setenv(name, "")  # so that what a build sets is taken back
    return Site(tmp_path, monkeypatch)


def test_scripts_run_when_their_code_or_the_data_changed_and_else_not(site):
    assert site.build() == ["plot_01_x mnist", "plot_01_y mnist"]
    assert site.build() == []
    site.write("bn_tutorial/a.py", "LEVEL = 2\n")
    assert site.build() == ["plot_01_x mnist"]
    assert site.build() == []
    assert site.build(dataset="digits") == ["plot_01_x digits", "plot_01_y digits"]
    assert site.build(dataset="digits") == []


def test_build_of_the_same_takes_the_marks_of_the_last_one(site, monkeypatch):
    site.build()
    asked = []
    find = experiments.state.mark_of
    monkeypatch.setattr(experiments.state, "mark_of", lambda *of: asked.append(of) or find(*of))
    assert site.build() == []
    assert not asked
    site.write("bn_tutorial/a.py", "LEVEL = 2\n")
    assert site.build() == ["plot_01_x mnist"]
    assert len(asked) == 3  # two scripts, and the pages


def test_edited_comments_and_docstrings_run_nothing(site):
    site.build()
    site.write("bn_tutorial/a.py", '"""Some text."""\n\nLEVEL = 1  # and more\n')
    assert site.build() == []


def test_another_device_makes_every_script_run(site, monkeypatch):
    site.build()
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", "meta")
    assert len(site.build()) == 2
    assert site.build() == []


def test_failed_script_runs_again_and_the_others_do_not(site):
    site.script("01_a", "plot_01_x", "1 / 0\n")
    assert len(site.build(fails=True)) == 2
    assert site.build(fails=True) == ["plot_01_x mnist"]
    site.script("01_a", "plot_01_x")
    assert site.build() == ["plot_01_x mnist"]


def test_one_page_runs_alone_and_a_full_build_runs_the_others(site):
    assert site.build(only="02_b/plot_01") == ["plot_01_y mnist"]
    assert "plot_01_x mnist" in site.build()
    site.write("bn_tutorial/a.py", "LEVEL = 2\n")
    site.write("bn_tutorial/b.py", "LEVEL = 2\n")
    assert site.build(only="02_b/plot_01_y.py") == ["plot_01_y mnist"]
    assert site.build() == ["plot_01_x mnist"]


def test_one_page_that_does_not_exist_is_an_error(site):
    assert site.build(fails=True, only="03_c") == []


def test_one_page_alone_keeps_what_the_others_showed(site):
    site.script("01_a", "plot_01_x", "print('shown')\n")
    site.build()
    site.write("bn_tutorial/b.py", "LEVEL = 2\n")
    site.build(only="02_b/plot_01")
    assert "shown" in (site.root / "docs/_build/html/gallery/01_a/plot_01_x.html").read_text()


def test_renamed_script_leaves_no_page_and_no_evidence(site):
    site.build()
    site.write("docs/gallery/evidence/01_a/plot_01_x.json", "{}")
    folder = site.root / "tutorial_src/01_a"
    (folder / "plot_01_x.py").rename(folder / "plot_02_z.py")
    assert site.build() == ["plot_01_x mnist"]  # its text has not changed
    assert (site.root / "docs/_build/html/gallery/01_a/plot_02_z.html").is_file()
    assert not [path for path in site.root.glob("docs/**/*plot_01_x*") if path.is_file()]


def test_script_of_which_a_file_is_missing_runs_again_and_no_other(site):
    site.build()
    (site.root / "docs/gallery/01_a/images/thumb/sphx_glr_plot_01_x_thumb.png").unlink()
    assert site.build() == ["plot_01_x mnist"]
    assert site.build() == []


def test_all_scripts_run_again_where_it_is_unknown_what_they_ran_with(site):
    site.build()
    site.write("docs/gallery/built-with.json", "{")
    assert len(site.build()) == 2
    assert site.build() == []


def test_script_whose_text_was_another_in_between_runs_again(site):
    """A build of another page writes its page without running it."""
    site.build()
    site.script("01_a", "plot_01_x", "print('more')\n")
    site.build(only="02_b")
    site.script("01_a", "plot_01_x")
    assert site.build() == ["plot_01_x mnist"]


def test_a_file_of_the_system_among_the_caches_is_left_alone(site):
    site.build()
    site.write("docs/_build/executed-pages/.DS_Store", "")
    site.write("docs/page.md", "```{code-cell} python\nfrom bn_tutorial.b import LEVEL\n```\n")
    site.build()  # with another cache: the old one is removed
    assert (site.root / "docs/_build/executed-pages/.DS_Store").is_file()


@pytest.mark.parametrize("kind", [OSError, ValueError])
def test_data_that_are_not_to_be_had_end_the_build_with_their_sentence_alone(
    site, monkeypatch, kind
):
    def fail():
        raise kind("MNIST is not here: do this")

    monkeypatch.setattr(sys.modules["bn_tutorial.data.loading"], "resolve", fail)
    with pytest.raises(ConfigError) as error:
        site.build()
    assert str(error.value) == "MNIST is not here: do this"


@pytest.mark.parametrize("variable", ["BN_TUTORIAL_DATA", "BN_TUTORIAL_CACHE"])
def test_home_folder_of_nobody_ends_the_build_with_a_sentence(site, monkeypatch, variable):
    monkeypatch.setenv(variable, "~nosuchuser/data")
    with pytest.raises(ConfigError, match=f"^{variable} is '~nosuchuser/data', but there is no"):
        site.build()


@pytest.mark.usefixtures("no_workers_left")
def test_many_scripts_run_two_at_a_time_with_half_of_the_cores_or_two(site, monkeypatch):
    monkeypatch.setattr(experiments.joblib, "cpu_count", lambda: 2)
    checked, take_checksum = [], StandaloneHTMLBuilder.create_build_info  # it is published

    def remember(builder):
        checked.append(builder.config.sphinx_gallery_conf["parallel"])
        return take_checksum(builder)

    monkeypatch.setattr(StandaloneHTMLBuilder, "create_build_info", remember)
    conf = CONF.replace('("gallery_state', '("experiments.take_a_share", "gallery_state')
    site.write("docs/conf.py", conf.replace('"after"', '"both"'))
    names = ("plot_01_x", "plot_02_x", "plot_03_x")
    for name, alone in zip(names, ("", "", "# sphinx_gallery_parallel = False\n"), strict=True):
        site.script("01_a", name, alone + WHERE_IT_RUNS.format(str(site.root / name)))
    site.build()
    assert "(with parallel=2)" in site.said
    build, cores = zip(*((site.root / name).read_text().split() for name in names), strict=True)
    assert build == (str(os.getpid()), str(os.getpid()), str(os.getppid()))  # the last one in it
    assert cores == (*[str(max(2, CORES // 2))] * 2, "None")
    site.script("01_a", "plot_01_x", "# another")
    assert site.build() == ["plot_01_x mnist"]
    assert "parallel" not in site.said  # it has all cores
    assert checked == [False, False]


@pytest.fixture
def no_workers_left():
    yield
    get_reusable_executor().shutdown(wait=True)


def test_every_script_computes_on_one_thread_whatever_the_last_one_set():
    import torch  # not above: the small sites do without

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        experiments.compute_on_one_thread({}, "plot_01_x.py")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_damaged_runs_of_all_studies_are_said_once(site, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
    site.script("01_a", "plot_01_x", STUDY.format(count=3))
    site.script("02_b", "plot_01_y", STUDY.format(count=2))
    site.build()
    assert site.said.count(" are damaged ") == 1
    assert f"5 remembered runs in {tmp_path / 'cache/runs'} are damaged and are" in site.said
    assert "damaged" not in capfd.readouterr().err
    site.build()
    assert " are damaged " not in site.said
