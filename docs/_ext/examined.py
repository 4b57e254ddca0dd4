"""What ``examine`` finds of the faults that its tests plant: ``{examined}`` shows the record.

It is ``docs/record/examined.json``, written by ``nox -s examine -- --record``, and the same session
fails when what is found is no longer nearly what is on record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comparisons import as_table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def sentence(record: dict[str, Any]) -> str:
    """Count what was found, and the false alarms."""
    faults, fine = record["faults"], record["no faults"]
    found = sum(bool(one["found"]) for one in faults)
    models, false = map(sum, zip(*record["healthy"].values(), strict=True))
    alarms = sum(bool(codes) for codes in fine.values())
    return (
        f"Of {len(faults)} planted faults, {found} are found. Of {models} healthy models, of "
        f"{len(record['healthy'])} families, {false} are called sick, and {alarms} of {len(fine)} "
        "that are unusual and have no fault. These are the counts of a run on "
        f"{record['date']} (PyTorch {record['versions']['torch']}), with which every later one has "
        "to agree in all but two faults and one healthy model."
    )


class Examined(SphinxDirective):
    """Show the counts, and every fault with what it was found as."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence and the table."""
        path = Path(self.env.srcdir, "record", "examined.json")
        self.env.note_dependency(str(path))
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.error(f"examined: {error}") from error
        rows: list[list[nodes.Node]] = [
            [
                nodes.Text(one["fault"]),
                nodes.Text(", ".join(one["found"]) or "not found"),
                nodes.Text(", ".join(one["besides"])),
            ]
            for one in record["faults"]
        ]
        columns = ("planted", "found as", "and besides")
        return [nodes.paragraph("", sentence(record)), as_table(columns, rows)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("examined", Examined)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
