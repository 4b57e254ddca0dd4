"""The role ``recall``: put a measured number into a sentence, so that nobody types it.

``{recall}`03_in_training/plot_01_compare_training gap``` (MyST) or
``:recall:`03_in_training/plot_01_compare_training gap``` (reStructuredText) shows the value that
the script recorded under that key. A format follows a colon, as in an f-string: ``gap:.1%``,
``steps:,``, ``low:+.3f``. A number that nobody has recorded fails the build; only while a single
page is built (``BN_TUTORIAL_ONLY``) it leaves a loud gap instead.
"""

from __future__ import annotations

import os

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from bn_tutorial.lab import evidence

logger = logging.getLogger(__name__)


def recalled(page: str, key: str, form: str) -> str:
    """Return a recorded value as text."""
    values = evidence.recall(page).values
    if key not in values:
        raise LookupError(f"{page!r} has recorded no {key!r}; it has {', '.join(sorted(values))}")
    try:
        text = format(values[key], form)
    except ValueError as error:
        raise LookupError(f"{key!r} is {values[key]!r}: {error}") from error
    is_number = not isinstance(values[key], str)
    return f"\N{MINUS SIGN}{text[1:]}" if is_number and text.startswith("-") else text


class Recall(SphinxRole):
    """``page key`` or ``page key:format``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the value; the page is read again whenever the evidence changes."""
        page, _, rest = self.text.strip().partition(" ")
        key, _, form = rest.strip().partition(":")
        try:
            self.env.note_dependency(str(evidence.path_of(page)))
            text = recalled(page, key.strip(), form.strip())
        except (LookupError, ValueError) as error:
            # While one page is built, the others may be missing; what is no page at all may not.
            if isinstance(error, ValueError) or not os.environ.get("BN_TUTORIAL_ONLY"):
                logger.warning("recall: %s", error, location=self.get_location())
            self.env.note_reread()  # the next build must not take the gap for an answer
            gap = nodes.strong("", f"[not measured: {key.strip()}]")
            gap["classes"].append("not-measured")
            return [gap], []
        return [nodes.inline("", text, classes=["recalled"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role."""
    app.add_role("recall", Recall())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
