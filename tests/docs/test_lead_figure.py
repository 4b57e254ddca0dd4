"""A page of the gallery opens with the figure that it draws below; the scripts really run."""

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

CONF = """
extensions = ["lead_figure", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build"]
html_theme = "basic"
html_scaled_image_link = False
sphinx_gallery_conf = {
    "examples_dirs": "../tutorial_src", "gallery_dirs": "gallery",
    "image_scrapers": ("gallery_figures.scrape",), "reset_modules": (),
    "download_all_examples": False, "write_computation_times": False,
}
"""
SCRIPT = '''"""
Title
=====

Before.
{directives}
After.
"""
from bn_tutorial.lab.figures import new_figure

for number, lead in enumerate({leads}):
    new_figure(lead=lead, alt=f"An empty panel, number {{number}}.")
'''
DIRECTIVE = "\n.. lead-figure::\n"
SCRIPTS = {
    "plot_01_sound": (DIRECTIVE, (False, True)),
    "plot_02_without": ("", (False,)),
    "plot_03_not_drawn": (DIRECTIVE, (False,)),
    "plot_04_two_drawn": (DIRECTIVE, (True, True)),
    "plot_05_no_place": ("", (True,)),
    "plot_06_two_places": (2 * DIRECTIVE, (True,)),
}


class Site:
    def __init__(self, root):
        self.docs, self.source = root / "docs", root / "tutorial_src"
        self.docs.mkdir()
        self.source.mkdir()
        (self.docs / "conf.py").write_text(CONF)
        (self.docs / "index.rst").write_text("Home\n====\n\n.. toctree::\n\n   gallery/index\n")
        (self.source / "GALLERY_HEADER.rst").write_text("Gallery\n=======\n")

    def script(self, name, directives, leads):
        (self.source / f"{name}.py").write_text(SCRIPT.format(directives=directives, leads=leads))

    def build(self):
        """Build, and return the warnings by page."""
        with plt.rc_context():
            app = SphinxTestApp("html", srcdir=self.docs, freshenv=True)  # as fresh.py has it
            try:
                app.build()
                found = app.warning.getvalue().splitlines()
                return {name: [line for line in found if name in line] for name in SCRIPTS}
            finally:
                app.cleanup()

    def page(self, name):
        path = self.docs / "_build/html/gallery" / f"{name}.html"
        return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory):
    """A site of all scripts, and its warnings."""
    site = Site(tmp_path_factory.mktemp("lead"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BN_TUTORIAL_ONLY", raising=False)
        for name, (directives, leads) in SCRIPTS.items():
            site.script(name, directives, leads)
        return site, site.build()


def test_figure_stands_where_the_directive_is_and_nowhere_else(all_cases):
    site, warnings = all_cases
    assert not warnings["plot_01_sound"]
    page = site.page("plot_01_sound")
    (box,) = page.select(".lead-figure")
    assert [image["alt"] for image in box.select("img")] == 4 * ["An empty panel, number 1."]
    themes = [name for image in box.select("img") for name in image["class"] if "only" in name]
    assert themes == 2 * ["only-light", "only-dark"]
    assert len(page.select("img.sphx-glr-single-img")) == 8
    assert box.find_previous("p").get_text() == "Before."
    assert box.find_next("p").get_text() == "After."


def test_page_may_do_without(all_cases):
    site, warnings = all_cases
    assert not warnings["plot_02_without"]
    assert not site.page("plot_02_without").select(".lead-figure")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("plot_03_not_drawn", "1 and 0"),
        ("plot_04_two_drawn", "1 and 2"),
        ("plot_05_no_place", "0 and 1"),
        ("plot_06_two_places", "2 and 1"),
    ],
)
def test_figure_and_place_that_are_not_one_of_each_are_a_warning(all_cases, name, found):
    _, warnings = all_cases
    (warning,) = warnings[name]
    assert warning.split("gallery/")[-1].startswith(f"{name}.rst")
    assert f"expected one directive and one figure with lead=True, got {found}" in warning


def test_script_that_runs_again_with_another_figure_leaves_none_of_the_old_behind(tmp_path):
    site = Site(tmp_path)
    for leads, shown in (((True, False), 0), ((False, True), 1), ((True, False), 0)):
        site.script("plot_01_sound", DIRECTIVE, leads)
        assert not site.build()["plot_01_sound"]
        images = site.page("plot_01_sound").select(".lead-figure img")
        assert [image["alt"] for image in images] == 4 * [f"An empty panel, number {shown}."]


def test_figure_that_was_not_drawn_yet_is_a_gap_while_one_page_is_built(tmp_path, monkeypatch):
    site = Site(tmp_path)
    site.script("plot_01_sound", DIRECTIVE, ())
    monkeypatch.setenv("BN_TUTORIAL_ONLY", "01_a/plot_01_other")
    assert not site.build()["plot_01_sound"]
    assert site.page("plot_01_sound").select_one(".not-measured")
    monkeypatch.delenv("BN_TUTORIAL_ONLY")
    assert "got 1 and 0" in site.build()["plot_01_sound"][0]
