import json
from types import SimpleNamespace

import pytest
from executed_pages import checks_of
from sphinx.testing.util import SphinxTestApp


class Site:
    """Three pages and the table of what they have checked."""

    def __init__(self, root):
        self.source = root / "docs"
        toctree = "```{toctree}\nb\nc\na\n```\n"
        self.write("conf.py", "extensions = ['fresh', 'check_log', 'myst_parser']\n")
        self.write("index.md", "# Home\n\n```{toctree}\nderivations/index\n```\n")
        self.write("derivations/index.md", f"# Derivations\n\n```{{check-log}}\n```\n\n{toctree}")
        for name in "ab":
            code = f'```python\nchecks = Checks("{name}")\n```\n'
            self.write(f"derivations/{name}.md", f"# Page {name}\n\n{code}")
        self.write("derivations/c.md", '# Page c, and no `Checks("c")`\n')

    def write(self, name, text):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def file(self, page):
        text = (self.source / f"derivations/{page}.md").read_text()
        app = SimpleNamespace(config=None, srcdir=self.source)
        return checks_of(text, app)

    def count(self, page, numeric, symbolic, caught, largest):
        counts = {"numeric": numeric, "symbolic": symbolic, "statistical": 7, "caught": caught}
        self.file(page).parent.mkdir(parents=True, exist_ok=True)
        self.file(page).write_text(json.dumps({"page": page, "largest": largest, **counts}))

    def build(self):
        """Return the cells of the table, the log and the warnings."""
        app = SphinxTestApp("html", srcdir=self.source)
        try:
            app.build()
            html = (app.outdir / "derivations" / "index.html").read_text()
            return cells(html), app.status.getvalue(), app.warning.getvalue()
        finally:
            app.cleanup()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CHECKS", "")  # so that what a build sets is taken back
    return Site(tmp_path)


def cells(html):
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    text = [cell.split("</p>")[0] for cell in body.split("<p>")[1:]]
    return [text[i : i + 6] for i in range(0, len(text), 6)]


def test_table_has_the_pages_in_reading_order_and_the_sums(site):
    site.count("a", 1, 0, 2, 1e-13)
    site.count("b", 3, 2, 5, 2e-15)
    table, log, warnings = site.build()
    assert not warnings
    assert table == [
        ["Page b", "3", "2.0e-15", "2", "7", "5"],
        ["Page a", "1", "1.0e-13", "0", "7", "2"],
        ["all", "4", "1.0e-13", "2", "14", "7"],
    ]
    assert "4 identities checked with numbers (largest residual 1.0e-13), 2 by algebra" in log
    assert "7 broken variants caught" in log


def test_table_is_made_anew_although_its_page_has_not_changed(site):
    site.count("a", 1, 0, 2, 1e-13)
    site.count("b", 3, 2, 5, 2e-15)
    site.build()
    site.count("a", 2, 0, 3, 1e-13)
    assert site.build()[0][-1] == ["all", "5", "1.0e-13", "2", "14", "8"]


@pytest.mark.parametrize("damage", ["", '{"page": "a", "numeric"', '{"page": "a"}', "null"])
def test_counts_that_are_missing_or_damaged_are_a_warning(site, damage):
    site.count("b", 3, 2, 5, 2e-15)
    if damage:
        site.count("a", 1, 0, 1, 0.0)
        site.file("a").write_text(damage)
    _, _, warnings = site.build()
    assert "derivations/a.md" in warnings.replace("\\", "/")
    assert "its counts are not in" in warnings
    assert "b.md" not in warnings


def test_page_that_no_longer_checks_is_not_counted(site):
    for page in "ab":
        site.count(page, 1, 0, 1, 0.0)
    site.write("derivations/c.md", '# Page c\n\n```\nchecks = Checks("c")\n```\n')
    site.count("c", 1, 0, 1, 0.0)
    assert len(site.build()[0]) == 4
    site.write("derivations/c.md", "# Page c\n")
    assert [row[0] for row in site.build()[0]] == ["Page b", "Page a", "all"]
