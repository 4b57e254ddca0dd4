import equation_code
import pytest
from sphinx.testing.util import SphinxTestApp


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module, within a wing, whose text the test writes."""
    folder = tmp_path / "package"
    (folder / "wing").mkdir(parents=True)
    monkeypatch.setattr(equation_code, "PACKAGE", folder)
    return folder


def build(tmp_path, directive):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "conf.py").write_text("extensions = ['equation_code', 'myst_parser']\n")
    if directive:
        (source / "index.md").write_text(f"# Page\n\n```{{equation-code}} {directive}\n```\n")
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        return (app.outdir / "index.html").read_text(), app.warning.getvalue()
    finally:
        app.cleanup()


def test_line_is_shown_with_its_number_its_module_and_its_shape(tmp_path, package):
    module = package / "wing" / "m.py"
    module.write_text("\n\n# [eq-a]\nx = 1\n")
    html, warnings = build(tmp_path, "eq-a\n:shape: (N, C)")
    assert not warnings
    assert '<span class="linenos">4</span>' in html
    assert '<span class="pre">package/wing/m.py</span>' in html
    assert "shape (N, C)" in html
    module.write_text("# [eq-a]\nx = 1\n")
    html, _ = build(tmp_path, "")  # the page has not changed
    assert '<span class="linenos">2</span>' in html


def test_marker_that_has_gone_is_an_error_with_its_place(tmp_path, package):
    (package / "wing" / "m.py").touch()
    _, warnings = build(tmp_path, "eq-a")
    assert "index.md:3" in warnings
    assert "no line of the package is marked # [eq-a]" in warnings


def test_whole_statements_are_shown_up_to_a_gap_without_their_indentation(package):
    code = "def f():\n    # [eq-a]\n    x = g(\n        1,\n    )\n    x += 1\n{}\n    y = 2\n"
    for end in ("", "    # A comment.", "    return x"):
        (package / "wing" / "m.py").write_text(code.format(end))
        module, first, shown = equation_code.marked_lines("eq-a", package)
        assert (module.name, first, shown) == ("m.py", 3, "x = g(\n    1,\n)\nx += 1")
