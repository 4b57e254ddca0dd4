"""What the search reads of a small site: a page of each kind."""

import json
import re

import pytest
import search_index
from bs4 import BeautifulSoup
from docutils import nodes
from search_index import Section, as_script, code_in, in_a_line, synonyms_in
from sphinx.search.en import SearchEnglish
from sphinx.testing.util import SphinxTestApp

INDEX = r"""
Home
====

The mean :math:`\mu` of ``x``, and *its* root.

.. math:: \hat x = 1

.. toctree::

   questions
   design_log
   api/module

Deeper
------

.. note:: Mind this.

.. code-block:: python

   import numpy as np
   y = np.sqrt(x)

.. raw:: html

   <details class="folded-code"><summary>draw it</summary>

.. code-block:: python

   draw(y)

.. raw:: html

   </details>

Deepest
~~~~~~~

The end.

.. glossary::

   batch
     What is processed together.
"""
MODULE = """
module
======

.. py:function:: fold(weight, *, eps=1e-5)

   Fold a layer.

   >>> fold(weight)
   2 [1.5 2.5]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a built site, and what its index holds."""
    docs = tmp_path_factory.mktemp("docs")
    (docs / "api").mkdir()
    (docs / "conf.py").write_text("extensions = ['search_index']\n")
    (docs / "index.rst").write_text(INDEX)
    table = ".. rst-class:: comparisons\n\n====  ===\nlost  was\n====  ===\n"
    (docs / "questions.rst").write_text(f"Faults\n======\n\nNaN.\n\n{table}")
    (docs / "api/module.rst").write_text(MODULE)
    (docs / "design_log.rst").write_text("Log\n===\n\nLong.\n\nA study\n-------\n\nArms.\n")
    app = SphinxTestApp("html", srcdir=docs)
    app.build()
    app.cleanup()
    assert not app.warning.getvalue()
    return app.outdir, loaded((app.outdir / "sections.js").read_text(encoding="utf-8"))


def loaded(script):
    (contents,) = re.fullmatch("const SITE = (.*);\n", script).groups()
    return json.loads(contents)


def sections(site, page):
    _, index = site
    (number,) = (i for i, (name, *_) in enumerate(index["pages"]) if name == page)
    return [Section(*rest) for of, *rest in index["sections"] if of == number]


def test_section_holds_what_it_says_itself_with_code_apart(site):
    assert sections(site, "index") == [
        Section("", "Home", "The mean μ of x, and its root."),
        Section("deeper", "Deeper", "Mind this.", "y = np.sqrt(x)"),
        Section("deepest", "Deepest", "The end."),
        Section("term-batch", "batch", "What is processed together."),
    ]


def test_function_is_a_section_of_its_own(site):
    _, function = sections(site, "api/module")
    assert (function.anchor, function.heading, function.text) == ("fold", "fold", "Fold a layer.")
    assert function.code.startswith("fold(weight, *, eps=1e-5)")
    assert function.code.endswith("\n>>> fold(weight)")  # rows of numbers are left out


def test_what_other_pages_say_too_is_not_searched(site):
    assert sections(site, "questions") == [Section("", "Faults", "NaN.")]


def test_log_of_designs_is_found_by_its_headings(site):
    assert sections(site, "design_log") == [
        Section("", "Log", ""),
        Section("a-study", "A study", ""),
    ]


def test_every_section_has_an_address(site):
    folder, index = site
    for number, anchor, *_ in index["sections"]:
        page = (folder / f"{index['pages'][number][0]}.html").read_text(encoding="utf-8")
        assert not anchor or BeautifulSoup(page, "html.parser").find(id=anchor)


def test_remedies_count_more_than_lists_of_functions(site):
    weights = {name: (title, weight) for name, title, weight in site[1]["pages"]}
    assert [weights[name][0] for name in ("index", "questions")] == ["Home", "Faults"]
    assert weights["questions"][1] > weights["index"][1] == 1 > weights["api/module"][1] > 0


def test_index_of_sphinx_is_not_made(site):
    folder, _ = site
    assert not (folder / "searchindex.js").exists()


def test_page_of_a_gallery_is_its_text_and_its_code(real_site):
    script = (real_site.folder / "sections.js").read_text(encoding="utf-8")
    pages = [section for section in loaded(script)["sections"] if section[2] == "Title"]
    assert len(pages) == 2
    for _, _, _, text, code in pages:
        assert text == "Text."
        assert code.startswith("new_figure(alt=")  # the imports are left out
    assert "Go to the end" in real_site.html("gallery/01_a/plot_01_x")


def test_of_code_in_a_gallery_only_what_calls_something_is_found():
    lines = "rate = 0.1\nmodel = train(\n    rate=rate,\n)\n"
    shown = nodes.Element("", nodes.Text(lines), lang="python")
    assert code_in(shown) == "model = train(\n"
    assert code_in(nodes.literal_block(lines, lines)) == lines


def test_same_pages_give_the_same_bytes_in_any_order():
    pages = {name: [Section("", name, "ä")] for name in ("b", "a/c", "a")}
    reversed_pages = dict(reversed(pages.items()))
    assert as_script(pages, []) == as_script(reversed_pages, [])
    assert "ä" in as_script(pages, [])


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\delta r", "δ r"),
        (r"\sigma^2 + \epsilon", "σ² + ε"),
        (r"\hat x_i", "x̂_i"),
        (r"\d x = \frac{\d y}{m}\, \Delta", "dx = dy/m Δ"),
        (r"\frac12 \sqrt{\bar\mu}", "1/2 √μ̄"),
        (r"\hat x^{\!\top} \d y", "x̂ᵀ dy"),
        (r"\operatorname{Var} \varphi", "Var φ"),
        (r"x_1 + x_2 + x_3 + x_4 + x_5 + x_6 + x_7 + x_8", "…"),
    ],
)
def test_formula_is_written_in_a_line(tex, text):
    assert in_a_line(tex) == text


def test_line_of_synonyms_holds_phrases_and_no_comments():
    assert synonyms_in("# why\n\nbatch norm, bn  # what\n") == [["batch norm", "bn"]]


def test_no_phrase_stands_twice_among_the_synonyms():
    stem = SearchEnglish({}).stem
    lines = synonyms_in(search_index.SYNONYMS.read_text(encoding="utf-8"))
    seen = [
        {" ".join(stem(word) for word in re.findall(r"\w+", phrase)) for phrase in line}
        for line in lines
    ]
    assert len(set().union(*seen)) == sum(map(len, lines))


def test_code_that_a_cell_hides_is_left_out_and_what_it_prints_is_not():
    code = nodes.container("", nodes.literal_block("", "draw(it)"), classes=["above-input"])
    printed = nodes.container("", nodes.literal_block("", "largest residual"))
    for mode, seen in (("input", "largest residual"), ("all", "draw(it) largest residual")):
        cell = nodes.container("", code.deepcopy(), printed.deepcopy(), hide_mode=mode)
        page = nodes.section("", nodes.title("", "Title"), cell, ids=["title"])
        (section,) = search_index.sections_of(nodes.container("", page))
        assert section.code.split() == seen.split()
