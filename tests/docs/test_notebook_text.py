"""Notebooks read well without Sphinx."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import notebook_text
import pytest
from pybtex.database import parse_string
from sphinx_gallery import gen_rst

from bn_tutorial.lab.effects import compare
from bn_tutorial.lab.evidence import Saved

FOLDER = Path(__file__).parents[2] / "tutorial_src"
SOURCES = parse_string(
    """@article{pair, author = {Ioffe, S. and Szegedy, C.}, title = {B}, year = {2015}}
    @article{many, author = {De, S. and Smith, S. and Third, T.}, title = {B}, year = {2020}}
    @article{one, author = {van Laarhoven, T.}, title = {B}, year = {2017}}""",
    "bibtex",
)


@pytest.fixture
def known():
    effect = compare("BN - none", [3.0, 4.0, 5.0], [1.0, 1.9, 3.1], unit="points", smallest=1.0)
    return Saved(
        page="p", data=None, device="cpu", versions={}, seeds=(), values={"share": 0.125},
        effects={"BN - none": effect}, claims={}, recording=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by :effect:`BN - none`.", "by **+2.00 (1.75 to 2.25) points**."),
        (":finding:`BN -\nnone`", "**+2.00 (1.75 to 2.25) points** (*yes*)"),
        (":verdict:`BN - none`", "*yes*"),
        (":value:`share:.1%`", "12.5\N{NO-BREAK SPACE}%"),
        ("(:doc:`why\n</a/b>`)", "(*why*)"),
        (":doc:`plot_03_scale_the_weights`", "*scale the weights*"),
        (":doc:`/derivations/forward`", "*forward*"),
        (":ref:`Exercises <there>`", "*Exercises*"),
        (":func:`that of pairs <bn_tutorial.x>`", "*that of pairs*"),
        (":class:`~bn_tutorial.lab.effects.Effect`", "`Effect`"),
        (":eq:`eq-dgamma`", "equation *dgamma*"),
        (":cite:t:`pair`", "Ioffe and Szegedy (2015)"),
        (":cite:p:`many`", "De et al. (2020)"),
        (":cite:t:`one`", "van Laarhoven (2017)"),
        ("Above.\n\n.. lead-figure::\n\nBelow.", "Above.\n\n\nBelow."),
        ("``a:b:`` and $x$", "``a:b:`` and $x$"),
    ],
)
def test_reader_sees_what_the_page_shows(known, text, expected):
    assert notebook_text.plain(text, known, SOURCES) == expected


def test_names_stand_where_a_failed_script_has_measured_nothing():
    text = ":effect:`a - b`, :finding:`a - b`, :value:`share:.1%`"
    assert notebook_text.plain(text, None, SOURCES) == "[a - b], [a - b] ([a - b]), [share]"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (":effect:`other`", LookupError),
        (":cite:t:`nobody`", LookupError),
        (":numref:`there`", ValueError),
    ],
)
def test_what_cannot_be_shown_is_refused(known, text, error):
    with pytest.raises(error):
        notebook_text.plain(text, known, SOURCES)


def test_every_role_of_the_scripts_is_known():
    text = "\n".join(path.read_text() for path in FOLDER.glob("*/*.py"))
    roles = {match["role"] for match in notebook_text.ROLE.finditer(text)} - {"math"}
    assert roles <= notebook_text.SHOWN.keys()


def test_notebook_is_saved_without_roles(tmp_path, monkeypatch):
    monkeypatch.setattr(gen_rst, "save_notebook", gen_rst.save_notebook)
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    (tmp_path / "references.bib").write_text("")
    folder = tmp_path / "gallery" / "01_by_hand"
    folder.mkdir(parents=True)
    for _ in range(2):  # a second build in one process wraps it once
        notebook_text.setup(SimpleNamespace(srcdir=tmp_path))
    cells = [
        {"cell_type": "markdown", "source": ["Next: ", ":doc:`try it </run>`"]},
        {"cell_type": "code", "source": ["':doc:`x`'"]},
    ]
    gen_rst.save_notebook({"cells": cells}, folder / "plot_01_a.ipynb.new")
    saved = json.loads((folder / "plot_01_a.ipynb.new").read_text())["cells"]
    assert saved[0]["source"] == ["Next: *try it*"]
    assert saved[1]["source"] == ["':doc:`x`'"]
    assert not re.search(notebook_text.ROLE, "".join(saved[0]["source"]))
