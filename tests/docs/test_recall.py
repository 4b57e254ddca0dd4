import pytest
import recall
from sphinx.testing.util import SphinxTestApp

from bn_tutorial.lab.evidence import Evidence

VALUES = {"gap": 0.1234, "steps": 4690, "low": -0.5, "verdict": "-ish"}


@pytest.fixture
def evidence(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    monkeypatch.delenv("BN_TUTORIAL_ONLY", raising=False)
    evidence = Evidence("03_x/plot_01")
    evidence.note(**VALUES)
    evidence.save()
    return evidence


def build(tmp_path, text):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "conf.py").write_text("extensions = ['recall', 'myst_parser']\n")
    if not (source / "index.md").exists():
        (source / "index.md").write_text(f"# Page\n\n{text}\n\n```{{toctree}}\nother\n```\n")
        (source / "other.rst").write_text("Other\n=====\n\n:recall:`03_x/plot_01 steps`\n")
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        pages = [(app.outdir / name).read_text() for name in ("index.html", "other.html")]
        return *pages, app.warning.getvalue()
    finally:
        app.cleanup()


@pytest.mark.parametrize(
    ("key", "form", "text"),
    [
        ("gap", "", "0.1234"),
        ("gap", ".1%", "12.3%"),
        ("steps", ",", "4,690"),
        ("low", ".2f", "\N{MINUS SIGN}0.50"),
        ("verdict", "", "-ish"),
    ],
)
@pytest.mark.usefixtures("evidence")
def test_value_is_formatted_as_in_an_f_string(key, form, text):
    assert recall.recalled("03_x/plot_01", key, form) == text


@pytest.mark.usefixtures("evidence")
def test_role_works_in_myst_its_tables_and_restructuredtext(tmp_path):
    table = "| a |\n|---|\n| {recall}`03_x/plot_01 steps:,` |"
    index, other, warnings = build(tmp_path, "{recall}`03_x/plot_01 gap:.1%`\n\n" + table)
    assert not warnings
    assert '<span class="recalled">12.3%</span>' in index
    assert '<span class="recalled">4,690</span>' in index
    assert '<span class="recalled">4690</span>' in other


def test_page_is_read_again_when_the_evidence_changes(tmp_path, evidence):
    assert "12.3%" in build(tmp_path, "{recall}`03_x/plot_01 gap:.1%`")[0]
    evidence.note(gap=0.5)
    evidence.save()
    assert "50.0%" in build(tmp_path, "")[0]


@pytest.mark.usefixtures("evidence")
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("03_x/plot_02 gap", "run tutorial_src/03_x/plot_02.py first"),
        ("03_x/plot_01 gab", r"no 'gab'; it has gap, low, steps, verdict"),
        ("03_x/plot_01 gap:.1q", r"'gap' is 0.1234"),
        ("03_x/plot_01.py gap", "page is '03_x/plot_01.py', expected a script's path"),
        ("../../secret gap", "page is '../../secret'"),
    ],
)
def test_missing_number_is_a_warning_that_says_where_and_what(tmp_path, asked, message):
    index, _, warnings = build(tmp_path, f"{{recall}}`{asked}`")
    assert "index.md:3" in warnings
    assert message in warnings
    assert "not-measured" in index


@pytest.mark.usefixtures("evidence")
def test_missing_number_leaves_a_gap_while_one_page_is_built(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", "03_x/plot_01")
    index, _, warnings = build(tmp_path, "{recall}`03_x/plot_02 gap`")
    assert not warnings
    assert "[not measured: gap]" in index
    monkeypatch.delenv("BN_TUTORIAL_ONLY")
    assert "recall: " in build(tmp_path, "")[2]  # a full build looks again
