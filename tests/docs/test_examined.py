import json

import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

RECORD = {
    "date": "2026-01-02",
    "versions": {"torch": "9.8"},
    "faults": [
        {"fault": "a mean moved", "found": ["stale-statistics"], "besides": []},
        {"fault": "a switch lost", "found": [], "besides": ["dead-channels"]},
    ],
    "no faults": {"a large eps": [], "an odd layer": ["gamma-zero"]},
    "healthy": {"ResNet": [4, 1], "VGG": [1, 0]},
}


@pytest.fixture
def build(tmp_path):
    def build(record):
        docs = tmp_path / "docs"
        (docs / "record").mkdir(parents=True)
        (docs / "record/examined.json").write_text(record)
        (docs / "conf.py").write_text("extensions = ['examined', 'myst_parser']\n")
        (docs / "index.md").write_text("# Home\n\n```{examined}\n```\n")
        app = SphinxTestApp("html", srcdir=docs)
        try:
            app.build()
            page = BeautifulSoup((app.outdir / "index.html").read_text(), "html.parser")
            return page, app.warning.getvalue()
        finally:
            app.cleanup()

    return build


def test_faults_found_and_false_alarms_are_counted_and_every_fault_is_shown(build):
    page, warnings = build(json.dumps(RECORD))
    assert not warnings
    text = page.get_text()
    assert "Of 2 planted faults, 1 are found." in text
    assert "Of 5 healthy models, of 2 families, 1 are called sick, and 1 of 2" in text
    assert "2026-01-02 (PyTorch 9.8)" in text
    rows = [[cell.get_text() for cell in row.select("td")] for row in page.select("tbody tr")]
    assert rows == [
        ["a mean moved", "stale-statistics", ""],
        ["a switch lost", "not found", "dead-channels"],
    ]


def test_damaged_record_is_an_error(build):
    _, warnings = build("{")
    assert "examined:" in warnings
