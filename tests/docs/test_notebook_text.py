"""Notebooks read well without Sphinx."""

import re
from dataclasses import replace
from pathlib import Path

import notebook_text
import pytest
from notebook_text import Around
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
    return Around("gallery/01_a/plot_01_x", known, SOURCES, titles)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by :effect:`BN - none`.", "by **+2.00 (1.75 to 2.25) points**."),
        (":finding:`BN -\nnone`", "**+2.00 (1.75 to 2.25) points** (*yes*)"),
        (":verdict:`BN - none`", "*yes*"),
        (":value:`share:.1%`", "12.5\N{NO-BREAK SPACE}%"),
        ("(:doc:`why\n</derivations/forward>`)", "(*why*)"),
        (":doc:`plot_02_y`", "*Do the next*"),
        (":doc:`/derivations/forward`", "*What it computes*"),
        (":func:`that of pairs <bn_tutorial.x>`", "*that of pairs*"),
        (":class:`~bn_tutorial.lab.effects.Effect`", "`Effect`"),
        (":class:`torch.nn.Linear`", "`torch.nn.Linear`"),
        (":eq:`eq-dgamma`", "equation *dgamma*"),
        (":cite:t:`pair`", "Ioffe and Szegedy (2015)"),
        (":cite:p:`many`", "De et al. (2020)"),
        (":cite:t:`one`", "van Laarhoven (2017)"),
        ("Above.\n\n.. lead-figure::\n\nBelow.", f"Above.\n\n{notebook_text.LEAD}\nBelow."),
        ("``a:b:`` and $x$", "``a:b:`` and $x$"),
    ],
)
def test_reader_sees_what_the_page_shows(around, text, expected):
    assert notebook_text.plain(text, around) == expected


def test_pages_are_linked_where_the_site_has_an_address(around):
    published = replace(around, site="https://example.org/")
    assert notebook_text.plain(
        ":doc:`next <plot_02_y>`, :doc:`/derivations/forward`", published
    ) == (
        "[next](https://example.org/gallery/01_a/plot_02_y.html), "
        "[What it computes](https://example.org/derivations/forward.html)"
    )


def test_names_stand_where_a_failed_script_has_measured_nothing(around):
    text = ":effect:`a - b`, :finding:`a - b`, :value:`share:.1%`"
    unknown = replace(around, known=None)
    assert notebook_text.plain(text, unknown) == "[a - b], [a - b] ([a - b]), [share]"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (":effect:`other`", LookupError),
        (":cite:t:`nobody`", LookupError),
        (":doc:`nowhere`", LookupError),
        (":numref:`there`", ValueError),
        (".. figure:: there.png\n", ValueError),
    ],
)
def test_what_cannot_be_shown_is_refused(around, text, error):
    with pytest.raises(error):
        notebook_text.plain(text, around)


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


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_notebook_is_clean(name):
    _, blocks = split_code_and_text_blocks(str(SCRIPTS[name]))
    notebook = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, str(SCRIPTS[name].parent))
    titles = dict.fromkeys(PAGES, "A title")
    sources = parse_file(str(ROOT / "docs/references.bib"))
    notebook_text.make_plain(notebook, Around(f"gallery/{name}", None, sources, titles))
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
