from sphinx.testing.util import SphinxTestApp

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
