"""Cells that sphinx-gallery really ran, folded: code only, as if it had never been marked."""

import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

CONF = """
extensions = ["fold", "sphinx_copybutton", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build"]
html_theme = "basic"
sphinx_gallery_conf = {
    "examples_dirs": "../tutorial_src", "gallery_dirs": "gallery", "line_numbers": True,
    "download_all_examples": False, "write_computation_times": False, "image_scrapers": (),
}
"""
HOME = """
Home
====

.. code-block:: Python

   # fold: elsewhere
   1

.. toctree::

   gallery/index
"""
SCRIPT = '''"""
Title
=====

Text.
"""
teaches = 1

# %%

# fold: keep <the> numbers
for number in range(2):
    print("# fold: no code\\n", number)

# %%
# Text.

open = "# fold: not at the beginning"
# fold: not at the beginning
print(open)
'''


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The built page."""
    root = tmp_path_factory.mktemp("fold")
    for name, text in {
        "docs/conf.py": CONF,
        "docs/index.rst": HOME,
        "tutorial_src/GALLERY_HEADER.rst": "Gallery\n=======\n",
        "tutorial_src/plot_01_x.py": SCRIPT,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    app = SphinxTestApp("html", srcdir=root / "docs")
    try:
        app.build()
        assert not app.warning.getvalue()
        assert "<details" not in (app.outdir / "index.html").read_text()
        return BeautifulSoup((app.outdir / "gallery/plot_01_x.html").read_text(), "html.parser")
    finally:
        app.cleanup()


def test_marked_cell_alone_is_folded_under_its_words(page):
    (folded,) = page.select("details.folded-code")
    assert not folded.has_attr("open")
    assert folded.summary.get_text() == "keep <the> numbers"
    code = folded.select_one(".highlight pre")
    assert code.get_text().strip().endswith('print("# fold: no code\\n", number)')
    assert "keep" not in code.get_text()


def test_output_stays_in_sight(page):
    outputs = page.select(".sphx-glr-script-out")
    assert [output.find_parent("details") for output in outputs] == [None, None]
    assert outputs[0].get_text().startswith("# fold: no code\n")


def test_folded_code_is_coloured_and_can_be_copied_like_the_rest(page):
    folded = page.select_one("details.folded-code")
    assert folded.select_one(".highlight-Python.notranslate > .highlight > pre")  # what copies
    assert folded.select_one(".k").get_text() == "for"
    links = page.select("details .highlight, .highlight-Python .highlight")
    assert len(links) == 3


def test_folded_line_keeps_the_number_that_it_has_in_the_script(page):
    numbers = page.select_one("details.folded-code").select(".linenos")
    first = SCRIPT.splitlines().index("for number in range(2):") + 1
    assert [int(number.get_text()) for number in numbers] == [first, first + 1]
