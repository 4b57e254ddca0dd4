"""A build that would give the finished site again leaves it as it is; any other is made."""

import shutil
from types import SimpleNamespace

import pytest
import unchanged

DATA = {"name": "digits", "digest": "d"}


class Build:
    """A build of a checkout without scripts: what Sphinx gives to an extension."""

    def __init__(self, checkout, name="unfinished"):
        self.srcdir, self.outdir = checkout / "docs", checkout / "docs/_build" / name
        self.outdir.mkdir(parents=True, exist_ok=True)
        cache = checkout / "docs/_build/executed-pages/1"
        self.config = SimpleNamespace(
            html_context={"data": dict(DATA)}, nb_execution_cache_path=str(cache)
        )
        self.ends, self._warncount = [], 0

    def connect(self, _event, end, **_priority):
        self.ends.append(end)

    def decide(self):
        """Return whether it ends before it begins."""
        try:
            unchanged.decide(self, self.config)
        except SystemExit as end:
            return end.code is None  # no error
        return False

    def write(self, exception=None):
        (self.outdir / "index.html").write_text("home")
        for end in self.ends:
            end(self, exception)
        if self.outdir.name == "unfinished":
            site = self.outdir.with_name("html")
            shutil.rmtree(site, ignore_errors=True)
            self.outdir.rename(site)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    files = ("docs/index.md", "bn_tutorial/a.py", "tutorial_src/.hidden", "pyproject.toml")
    for name in (*files, "docs/_build/executed-pages/1/cache"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    return tmp_path


@pytest.fixture
def built(checkout):
    build = Build(checkout)
    assert not build.decide()
    build.write()
    return checkout


def test_unchanged_build_ends_at_once_and_leaves_nothing_unfinished(built):
    build = Build(built)
    assert build.decide()
    assert not build.outdir.exists()
    assert (built / "docs/_build/html/index.html").read_text() == "home"


@pytest.mark.parametrize(
    "name",
    ["docs/index.md", "bn_tutorial/a.py", "pyproject.toml", "docs/_build/html/index.html"],
)
@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_changed_file_is_built_again(built, name, damage):
    path = built / name
    path.write_text("another") if damage == "alter" else path.unlink()
    assert not Build(built).decide()


@pytest.mark.parametrize(
    "name", ["docs/new.md", "bn_tutorial/b/c.py", "docs/_build/html/left-over.html"]
)
def test_new_file_is_built_again(built, name):
    (built / name).parent.mkdir(exist_ok=True)
    (built / name).write_text("new")
    assert not Build(built).decide()


@pytest.mark.parametrize(
    "name",
    ["tutorial_src/.hidden", "docs/_build/x", "docs/gallery/y", "bn_tutorial/__pycache__/a.pyc"],
)
def test_file_that_no_build_reads_does_not_count(built, name):
    (built / name).parent.mkdir(exist_ok=True)
    (built / name).write_text("another")
    assert Build(built).decide()


def test_other_settings_are_built_again(built, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_DEVICE", "cuda")
    assert not Build(built).decide()


def test_number_of_the_process_that_starts_a_build_is_no_setting(built, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_NOX", "123")
    assert Build(built).decide()


def test_other_data_are_built_again(built):
    build = Build(built)
    build.config.html_context["data"]["digest"] = "e"
    assert not build.decide()


def test_other_libraries_are_built_again(built, monkeypatch, tmp_path):
    (tmp_path / "numpy-99.dist-info").mkdir()
    monkeypatch.setattr("sysconfig.get_path", lambda _: tmp_path)
    assert not Build(built).decide()


def test_executed_pages_that_are_gone_are_made_again(built):
    shutil.rmtree(built / "docs/_build/executed-pages")
    assert not Build(built).decide()


def test_script_that_has_not_run_to_the_end_runs(checkout):
    script = checkout / "tutorial_src/01_a/plot_01_x.py"
    script.parent.mkdir()
    script.write_text("print(1)")
    build = Build(checkout)
    build.decide()
    build.write()
    assert not Build(checkout).decide()


@pytest.mark.parametrize("fault", ["warning", "exception"])
def test_build_with_a_fault_is_made_again(built, fault):
    (built / "docs/index.md").write_text("another")
    build = Build(built)
    build.decide()
    build._warncount = int(fault == "warning")
    build.write(ValueError() if fault == "exception" else None)
    assert not Build(built).decide()


def test_build_into_another_folder_is_always_made(built):
    for _ in range(2):
        build = Build(built, "repeated")
        assert not build.decide()
        build.write()
    assert Build(built).decide()
