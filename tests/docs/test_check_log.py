import json

import pytest
from sphinx.testing.util import SphinxTestApp


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build three pages, of which two have checked something; return text and log."""
    folder = tmp_path / "checks"
    monkeypatch.setenv("BN_TUTORIAL_CHECKS", str(folder))
    source = tmp_path / "source" / "derivations"
    source.mkdir(parents=True)
    (source.parent / "conf.py").write_text("extensions = ['check_log', 'myst_parser']\n")
    toctree = "```{toctree}\nb\nc\na\n```\n"
    (source.parent / "index.md").write_text("# Home\n\n```{toctree}\nderivations/index\n```\n")
    (source / "index.md").write_text(f"# Derivations\n\n```{{check-log}}\n```\n\n{toctree}")
    for name in "abc":
        (source / f"{name}.md").write_text(f"# Page {name}\n")
    folder.mkdir()

    def run(**checks):
        for page, (numeric, symbolic, caught, largest) in checks.items():
            counts = {"numeric": numeric, "symbolic": symbolic, "statistical": 7}
            counts["caught"] = caught
            (folder / f"{page}.json").write_text(
                json.dumps({"page": page, "largest": largest, **counts})
            )
        app = SphinxTestApp("html", srcdir=source.parent)
        try:
            app.build()
            assert not app.warning.getvalue()
            html = (app.outdir / "derivations" / "index.html").read_text()
            return html, app.status.getvalue()
        finally:
            app.cleanup()

    return run


def cells(html):
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    text = [cell.split("</p>")[0] for cell in body.split("<p>")[1:]]
    return [text[i : i + 6] for i in range(0, len(text), 6)]


def test_table_has_the_pages_in_reading_order_and_the_sums(build):
    html, log = build(a=(1, 0, 2, 1e-13), b=(3, 2, 5, 2e-15))
    assert cells(html) == [
        ["Page b", "3", "2.0e-15", "2", "7", "5"],
        ["Page a", "1", "1.0e-13", "0", "7", "2"],
        ["all", "4", "1.0e-13", "2", "14", "7"],
    ]
    assert "4 identities checked with numbers (largest residual 1.0e-13), 2 by algebra" in log
    assert "7 broken variants caught" in log


def test_table_is_made_anew_although_its_page_has_not_changed(build):
    build(a=(1, 0, 2, 1e-13))
    html, _ = build(a=(2, 0, 3, 1e-13))
    assert cells(html)[-1] == ["all", "2", "1.0e-13", "0", "7", "3"]
