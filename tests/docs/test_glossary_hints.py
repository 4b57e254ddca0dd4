import re

import pytest
from docutils import nodes
from docutils.utils import new_document
from glossary_hints import CURLY, prose
from sphinx.testing.util import SphinxTestApp
from widget import widget

CONF = "extensions = ['glossary_hints']"
PAGE = """
Words
=====

:term:`batch`, :term:`eval mode`, :term:`no words`, `a link <https://example.org/#term-batch>`_.

.. toctree::

   glossary
"""
GLOSSARY = """
Glossary
========

.. glossary::

   batch
   mini-batch
      What is processed together, e.g. a < b. Of any number.

   eval mode
   no words
      A phrase without an end, about a :term:`batch`
"""

WITHOUT_A_LINK = """
Batch
=====

In ``batch``, in `a batch <https://example.org>`_, in a mini-batch, at this point.

.. list-table::
   :header-rows: 1

   * - head
     - batch
   * - batch
     - it
"""
WORDS = """
Glossary
========

.. glossary::

   batch
   eval mode
   point
   ReLU
   ReLU unit
   He's unit
   seed
      A word of this text: seed.
"""


@pytest.fixture
def links(tmp_path):
    """Build a page with its glossary, and name the links that lead from the one to the other."""

    def build(uses):
        pages = {
            "index": uses + "\n.. toctree::\n\n   glossary\n   api/seed\n",
            "glossary": WORDS,
            "api/seed": "Reference\n=========\n\nA batch of seeds.\n",
        }
        (tmp_path / "api").mkdir(exist_ok=True)
        (tmp_path / "conf.py").write_text(CONF)
        for name, text in pages.items():
            (tmp_path / f"{name}.rst").write_text(text)
        app = SphinxTestApp("html", srcdir=tmp_path)
        try:
            app.build()
            assert not app.warning.getvalue()
            html = (app.outdir / "index.html").read_text()
            for without in ("glossary", "api/seed"):
                assert "first-use" not in (app.outdir / f"{without}.html").read_text()
        finally:
            app.cleanup()
        found = re.findall(r'<a class="first-use[^>]*#term-([\w-]+)"[^>]*>([^<]*)</a>', html)
        assert html.count("first-use") == len(found)
        return {" ".join(text.split()): term for term, text in found}

    return build


def test_the_first_use_of_a_term_is_a_link_whatever_its_case_and_number(links):
    found = links("Title\n=====\n\nBatches, a batch, an eval\nmode, and Eval modes.\n")
    assert found == {"Batches": "batch", "eval mode": "eval-mode"}
    assert links("Title\n=====\n\nHe's units in eval-mode.\n") == {
        f"He{CURLY}s units": "He-s-unit",
        "eval-mode": "eval-mode",
    }


def test_a_term_within_a_longer_one_is_not_used(links):
    assert links("Title\n=====\n\nBatch normalization of ReLU units.\n") == {
        "ReLU units": "ReLU-unit"
    }


def test_headings_code_and_other_links_are_no_uses(links):
    assert links(WITHOUT_A_LINK) == {}
    assert links(f"{WITHOUT_A_LINK}\nA batch.\n") == {"batch": "batch"}


def test_what_is_shown_without_scripts_only_is_no_use():
    seen, hidden = (nodes.paragraph("", "a batch") for _ in range(2))
    page = new_document("a page")
    page += [widget("", hidden), seen]
    assert [text.parent for text, _ in prose(page)] == [seen]


def test_a_term_that_the_page_explains_or_links_needs_no_other_link(links):
    assert links("Title\n=====\n\nA *batch*; a :term:`seed`.\n\nA batch, a seed.\n") == {}
    assert links("Title\n=====\n\nA *large batch*.\n\nA batch.\n") == {"batch": "batch"}


def test_links_to_terms_carry_the_first_sentence_of_their_definition(tmp_path):
    for name, text in (("conf.py", CONF), ("index.rst", PAGE), ("glossary.rst", GLOSSARY)):
        (tmp_path / name).write_text(text)
    app = SphinxTestApp("html", srcdir=tmp_path)
    try:
        app.build()
        assert not app.warning.getvalue()
        html = (app.outdir / "index.html").read_text()
        within = (app.outdir / "glossary.html").read_text()
    finally:
        app.cleanup()
    meaning = 'title="What is processed together, e.g. a &lt; b."'
    assert f'href="glossary.html#term-batch" {meaning}' in html
    assert html.count('title="A phrase without an end, about a batch"') == 2
    assert html.count(meaning) == 1  # another site's link has none
    assert f'href="#term-batch" {meaning}' in within
