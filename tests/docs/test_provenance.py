"""Pages that were really run say what they were made with: see conftest.py."""

from importlib.metadata import version

import pytest

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


def test_executed_page_names_the_versions_of_the_build(facts):
    assert facts("executed")["ran"]
    assert facts("executed")["numpy"] == version("numpy")
    assert facts("executed")["seeds"] is None


@pytest.mark.parametrize("page", ["index", "gallery/index", "search", "404"])
def test_page_that_ran_nothing_does_not_say_so(facts, page):
    assert not facts(page)["ran"]
    assert facts(page)["torch"] == version("torch")


def test_foot_of_a_page_says_it(real_site):
    foot = real_site.read(BEFORE).select_one(".data-source").get_text(" ", strip=True)
    assert "This page was run with 5 seeds on NumPy 0.1 and PyTorch" in foot
    foot = real_site.read("executed").select_one(".data-source").get_text(" ", strip=True)
    assert "This page was run on NumPy" in foot


def test_no_page_says_how_long_it_took(real_site):
    for page in (*PAGES, "executed"):
        assert " seconds)" not in real_site.html(page)
        assert "sphx-glr-timing" not in real_site.html(page)
