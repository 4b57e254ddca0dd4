"""Notebooks and scripts read well without Sphinx."""

import re
from dataclasses import replace
from pathlib import Path

import plain_text
import pytest
from plain_text import Around
from pybtex.database import parse_file, parse_string
from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Saved

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    path.relative_to(ROOT / "tutorial_src").with_suffix("").as_posix(): path
    for path in sorted((ROOT / "tutorial_src").glob("*/*.py"))
}
PAGES = [
    *(f"gallery/{name}" for name in SCRIPTS),
    *(
        path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        for path in (*ROOT.glob("docs/*.md"), *ROOT.glob("docs/derivations/*.md"))
    ),
]
SOURCES = parse_string(
    """@article{pair, author = {Ioffe, S. and Szegedy, C.}, title = {B}, year = {2015}}
    @article{many, author = {De, S. and Smith, S. and Third, T.}, title = {B}, year = {2020}}
    @article{one, author = {van Laarhoven, T.}, title = {B}, year = {2017}}""",
    "bibtex",
)


@pytest.fixture
def around():
    effect = compare("BN - none", [3.0, 4.0, 5.0], [1.0, 1.9, 3.1], unit="points", smallest=1.0)
    known = Saved(
        page="p", data=None, device="cpu", versions={}, seeds=(), values={"share": 0.125},
        effects={"BN - none": effect}, claims={}, recording=None,
    )  # fmt: skip
    titles = {"gallery/01_a/plot_02_y": "Do the next", "derivations/forward": "What it computes"}
    labels = {"fault-nan": ("faults/numbers", "fault-nan", "The loss is NaN")}
    return Around("gallery/01_a/plot_01_x", known, SOURCES, titles, labels=labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by :effect:`BN - none`.", "by **+2.00 (1.75 to 2.25) points**."),
        (":finding:`BN -\nnone`", "**+2.00 (1.75 to 2.25) points** (*yes*)"),
        (":verdict:`BN - none`", "*yes*"),
        (":value:`share:.1%`", "12.5\N{NO-BREAK SPACE}%"),
        (":doc:`why\n</derivations/forward>`.", "why (*What it computes*)."),
        (":doc:`do the next <plot_02_y>`", "*Do the next*"),
        (":doc:`plot_02_y`", "*Do the next*"),
        (":doc:`/derivations/forward`", "*What it computes*"),
        (":ref:`the loss\nis gone <fault-nan>`.", "the loss is gone (*The loss is NaN*)."),
        (":ref:`fault-nan`", "*The loss is NaN*"),
        (":mod:`the reference <bn_tutorial.x>`", "*the reference*"),
        (":func:`that of pairs <bn_tutorial.x>`", "*that of pairs*"),
        (":class:`~bn_tutorial.lab.effects.Effect`", "`Effect`"),
        (":class:`torch.nn.Linear`", "`torch.nn.Linear`"),
        (":eq:`eq-dgamma`", "equation *dgamma*"),
        (":math:`1/n`", "$1/n$"),
        (":cite:t:`pair`", "Ioffe and Szegedy (2015)"),
        (":cite:p:`many`", "De et al. (2020)"),
        (":cite:t:`one`", "van Laarhoven (2017)"),
        ("Above.\n\n.. lead-figure::\n\nBelow.", f"Above.\n\n{plain_text.LEAD}\nBelow."),
        ("``a:b:`` and $x$", "``a:b:`` and $x$"),
    ],
)
def test_reader_sees_what_the_page_shows(around, text, expected):
    assert plain_text.plain(text, around) == expected


def test_pages_are_linked_where_the_site_has_an_address(around):
    published = replace(around, site="https://example.org/")
    text = ":doc:`next <plot_02_y>`, :doc:`/derivations/forward`, :ref:`fault-nan`"
    assert plain_text.plain(text, published) == (
        "[next](https://example.org/gallery/01_a/plot_02_y.html), "
        "[What it computes](https://example.org/derivations/forward.html), "
        "[The loss is NaN](https://example.org/faults/numbers.html#fault-nan)"
    )


PREDICTION = """Above.

.. predict:: BN - none
   :yes: the first
   :opposite: the second

   It is :doc:`so </derivations/forward>`. Which?

   none
      There is none.

   yes
      By :effect:`BN - none`, over
      two lines.

Below.
"""


def test_question_to_predict_is_asked_and_then_answered(around):
    asked = (
        "Above.\n\n**Predict, before you read on.**\nIt is so (*What it computes*). Which?\n\n"
        "(Choose one: the first; no difference that matters; the second; these runs cannot tell.)"
    )
    told = (
        "\n\n**What came out.** The first. BN minus none: "
        "**+2.00 (1.75 to 2.25) points** (*yes*).\n\n"
        "By **+2.00 (1.75 to 2.25) points**, over\ntwo lines."
    )
    assert plain_text.plain(PREDICTION, around) == f"{asked}{told}\n\nBelow.\n"
    unknown = replace(around, known=None)
    assert plain_text.plain(PREDICTION, unknown) == f"{asked}\n\nBelow.\n"


def test_question_of_a_script_fills_its_lines(around):
    script = plain_text.script(f'"""\nTitle\n=====\n\n{PREDICTION}"""\n', around)
    assert "It is so (*What it computes*)" in script
    assert "By **+2.00 (1.75 to 2.25) points**, over two lines." in script
    assert max(map(len, script.splitlines())) <= plain_text.COLUMNS


def test_names_stand_where_a_failed_script_has_measured_nothing(around):
    text = ":effect:`a - b`, :finding:`a - b`, :value:`share:.1%`"
    unknown = replace(around, known=None)
    assert plain_text.plain(text, unknown) == "[a - b], [a - b] ([a - b]), [share]"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (":effect:`other`", LookupError),
        (":cite:t:`nobody`", LookupError),
        (":doc:`nowhere`", LookupError),
        (":ref:`nowhere`", LookupError),
        (":numref:`there`", ValueError),
        (".. figure:: there.png\n", ValueError),
    ],
)
def test_what_cannot_be_shown_is_refused(around, text, error):
    with pytest.raises(error):
        plain_text.plain(text, around)


# What is left of reStructuredText, of what sphinx-gallery makes of it, and of marks for the site.
LEFTOVERS = {
    "a role": r":[a-z:]+:`",
    "a directive": r"^\s*\.\. ",
    "the target of a link": r"`[^`\n]*<[^`]*>`",
    "a link": r"`_\b|`__\b|\w_\s",
    "HTML": r"</?[a-z]+[^>]*>",
    "a figure": r"!\[",
    "a link that leads nowhere": r"\]\((?!https://)",
}


def left(text):
    """What is left in a text, outside of code and formulas."""
    plain = re.sub(r"``.*?``|\$.*?\$", "", text, flags=re.DOTALL)
    return [what for what, pattern in LEFTOVERS.items() if re.search(pattern, plain, re.MULTILINE)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("see :ref:`there`", "a role"),
        ("a\n.. note:: b", "a directive"),
        ("`words <there>`", "the target of a link"),
        ("`there`_", "a link"),
        ("<div>", "HTML"),
        ("![a](https://example.org/b.png)", "a figure"),
        ("[a](there.html)", "a link that leads nowhere"),
    ],
)
def test_leftovers_are_found(text, what):
    assert what in left(text)
    assert left("``:ref:`x` <b>`` and $a_ <b$ in *words*, [linked](https://example.org/)") == []


SCRIPT = """\
\"\"\"
Title
=====
The mean is :value:`share:.1%` of what it would have been without it, of all values.

.. lead-figure::
\"\"\"

# fold: divide
half = 1 / 2

# %%
# Heading
# -------
# :math:`1/n`
#
# .. math:: \\frac{1}{n}
#
# A short line
# that stands.
#
# - By how much, if all of the images are counted that there are, and all of the seeds:
#   :effect:`BN - none`
# - Not at all.
half += 1
"""
PLAIN_SCRIPT = """\
\"\"\"
Title
=====
The mean is 12.5NBSP% of what it would have been without it, of all values.

LEAD
\"\"\"

# divide
half = 1 / 2

# %%
# Heading
# -------
# $1/n$
#
# $$\\frac{1}{n}$$
#
# A short line
# that stands.
#
# - By how much, if all of the images are counted that there are, and all of the seeds: **+2.00
#   (1.75 to 2.25) points**
# - Not at all.
half += 1
"""


def test_script_reads_like_its_page_and_its_code_stands(around):
    expected = PLAIN_SCRIPT.replace("NBSP", "\N{NO-BREAK SPACE}")
    expected = expected.replace("LEAD\n", plain_text.LEAD)
    assert plain_text.script(SCRIPT, around) == expected


@pytest.fixture(scope="module")
def surroundings():
    """A function that returns what the text of any of our scripts may refer to."""
    sources = parse_file(str(ROOT / "docs/references.bib"))
    titles = dict.fromkeys(PAGES, "A title")
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    labels = {name: ("a/page", name, "A title") for name in re.findall(r"^\((.+)\)=$", text, re.M)}
    return lambda name: Around(f"gallery/{name}", None, sources, titles, labels=labels)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_clean_and_computes_the_same(name, surroundings, tmp_path):
    source = SCRIPTS[name].read_text(encoding="utf-8")
    changed = plain_text.script(source, surroundings(name))
    (tmp_path / "x.py").write_text(changed, encoding="utf-8")
    (_, before), (_, after) = map(split_code_and_text_blocks, (SCRIPTS[name], tmp_path / "x.py"))
    for old, new in zip(before, after, strict=True):
        assert new.type == old.type
        if new.type == "text":
            assert left(new.content) == []
            assert max(map(len, new.content.splitlines())) <= 100
        else:
            assert new.content == old.content.replace("# fold: ", "# ")
            assert ":`" not in new.content


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_notebook_is_clean(name, surroundings):
    _, blocks = split_code_and_text_blocks(str(SCRIPTS[name]))
    notebook = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, str(SCRIPTS[name].parent))
    plain_text.notebook(notebook["cells"], surroundings(name))
    cells = {
        kind: ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]
        for kind in ("markdown", "code")
    }
    assert cells["markdown"][0].strip().startswith("# ")
    for text in cells["markdown"]:
        assert left(text) == [], text
    for code in cells["code"]:
        assert "# fold:" not in code
        compile(code, name, "exec")
