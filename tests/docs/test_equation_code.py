import marked_code
import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module, within a wing, whose text the test writes."""
    folder = tmp_path / "package"
    (folder / "wing").mkdir(parents=True)
    monkeypatch.setattr(marked_code, "PACKAGE", folder)
    return folder


def build(tmp_path, directive, before=""):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "conf.py").write_text(
        "extensions = ['equation_code', 'myst_parser', 'sphinx.ext.mathjax']\n"
        "myst_enable_extensions = ['dollarmath']\n"
    )
    text = f"# Page\n\n{before}```{{{directive}\n```\n"
    (source / "index.md").write_text(text)
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        html = (app.outdir / "index.html").read_text()
        return BeautifulSoup(html, "html.parser"), app.warning.getvalue()
    finally:
        app.cleanup()


def listings(tag):
    return [listing.get_text().strip() for listing in tag.select("pre")]


def test_line_is_shown_with_its_shape_its_module_and_its_number(tmp_path, package):
    (package / "wing" / "m.py").write_text("\n\n# [eq-a]\nx = 1\n")
    page, warnings = build(tmp_path, "equation-code} eq-a\n:shape: (N, C)")
    assert not warnings
    assert listings(page.select_one(".equation-code")) == ["x = 1"]
    assert page.select_one(".code-facts").get_text() == "shape (N, C) · wing/m.py, line 4"
    assert not page.select("details")


def test_equation_and_its_line_stand_in_one_row(tmp_path, package):
    (package / "wing" / "m.py").write_text("# [eq-a]\nx = 1\n")
    page, _ = build(tmp_path, "equation-code} eq-a", before="$$\nx = 1\n$$ (eq-a)\n\n")
    (row,) = page.select(".equation-row")
    assert "math" in row.find(recursive=False)["class"]
    assert listings(row) == ["x = 1"]


def test_plain_line_is_shown_and_the_packages_lines_are_folded(tmp_path, package):
    (package / "wing" / "m.py").write_text("# [eq-a]\nx = f()\nx += 1\n\n# [read eq-a]\nx = 2\n")
    page, _ = build(tmp_path, "equation-code} eq-a")
    shown = page.select_one(".equation-code")
    assert listings(shown) == ["x = 2", "x = f()\nx += 1"]
    (folded,) = shown.select("details:not([open])")
    assert folded.summary.get_text() == "in the package: wing/m.py, line 2"
    assert listings(folded) == ["x = f()\nx += 1"]


def test_summary_sets_equations_and_lines_below_each_other(tmp_path, package):
    (package / "wing" / "m.py").write_text("# [eq-a]\nx = 1\n\n# [eq-b]\ny = 2\n")
    equations = "$$\nx = 1\n$$ (eq-a)\n\n$$\ny = 2 = z\n$$ (eq-b)\n\n"
    page, warnings = build(tmp_path, "equation-summary} eq-a eq-b", before=equations)
    assert not warnings
    row = page.select_one(".equation-row")
    assert listings(row) == ["x = 1\ny = 2"]
    assert r"x &= 1 \\ y &= 2 = z" in row.select_one(".math").get_text()
    page, warnings = build(tmp_path, "equation-summary} eq-a eq-b", before=equations[:20])
    assert "no equation of this page is eq-b" in warnings


@pytest.mark.parametrize("directive", ["equation-code", "equation-summary"])
def test_marker_that_has_gone_is_an_error_with_its_place(tmp_path, package, directive):
    (package / "wing" / "m.py").touch()
    _, warnings = build(tmp_path, f"{directive}}} eq-a")
    assert "index.md:3" in warnings
    assert "no line of the package is marked # [eq-a]" in warnings


def test_whole_statements_are_shown_up_to_a_gap_without_their_indentation(package):
    code = "def f():\n    # [eq-a]\n    x = g(\n        1,\n    )\n    x += 1\n{}\n    y = 2\n"
    for end in ("", "    # A comment.", "    return x"):
        (package / "wing" / "m.py").write_text(code.format(end))
        module, first, shown = marked_code.marked_lines("eq-a", package)
        assert (module.name, first, shown) == ("m.py", 3, "x = g(\n    1,\n)\nx += 1")
