"""Pages that were really run say what they were made with: see conftest.py."""

from importlib.metadata import version

import provenance
import pytest
from sphinx.testing.util import SphinxTestApp
from sphinx_gallery.gen_rst import TIMING_CONTENT

HERE, BEFORE = PAGES = ("gallery/01_a/plot_01_x", "gallery/02_b/plot_01_y")


@pytest.fixture
def facts(real_site):
    """A function that returns what the template is told of a page."""
    return lambda page: real_site.contexts[page]["provenance"]


def test_gallery_page_names_what_it_recorded(facts):
    here, before = facts(HERE), facts(BEFORE)
    assert (here["numpy"], here["device"]) == (version("numpy"), "cpu")
    assert (before["numpy"], before["device"]) == ("0.1", "tpu")  # see the script
    assert before["torch"] == version("torch")
    assert here["seeds"] == before["seeds"] == 5


def test_gallery_page_says_its_time_once(facts, real_site):
    for page in PAGES:
        assert facts(page)["duration"].endswith((" s", " a second"))
        assert "Total running time" not in real_site.html(page)
        assert "sphx-glr-timing" not in real_site.html(page)


def test_executed_page_names_its_time_and_the_versions_of_the_build(facts):
    assert facts("executed")["duration"].endswith((" s", " a second"))
    assert facts("executed")["numpy"] == version("numpy")
    assert facts("executed")["seeds"] is None


@pytest.mark.parametrize("page", ["index", "gallery/index", "search", "404"])
def test_page_that_ran_nothing_has_no_time(facts, page):
    assert facts(page)["duration"] is None
    assert facts(page)["torch"] == version("torch")


def test_foot_of_a_page_says_it(facts, real_site):
    foot = real_site.read(BEFORE).select_one(".data-source").get_text(" ")
    assert f"took {facts(BEFORE)['duration']} to run" in foot
    assert "5 seeds" in foot
    assert "NumPy 0.1" in foot


def test_minutes_of_the_gallery_are_read(tmp_path, monkeypatch):
    monkeypatch.delenv("BN_TUTORIAL_EVIDENCE", raising=False)
    (tmp_path / "conf.py").write_text("extensions = ['provenance']\nhtml_theme = 'basic'\n")
    (tmp_path / "index.rst").write_text("Page\n====\n\n" + TIMING_CONTENT.format(2, 51.252))
    found = {}
    app = SphinxTestApp("html", srcdir=tmp_path)
    try:
        app.connect("html-page-context", lambda *event: found.update({event[1]: event[3]}))
        app.build()
    finally:
        app.cleanup()
    assert found["index"]["provenance"]["duration"] == "2 min 51 s"
    assert "running time" not in found["index"]["body"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "less than a second"), (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s")],
)
def test_durations_are_said_in_minutes_and_seconds(seconds, words):
    assert provenance.say_duration(seconds) == words
