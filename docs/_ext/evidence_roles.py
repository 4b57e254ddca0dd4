"""The roles ``effect``, ``verdict`` and ``value``: what was measured, put into a sentence.

``{effect}`few_images: BN - none, batches of 8` `` (MyST) or the same with colons (reStructuredText)
shows the estimate with its interval and unit, linked to the experiment; seeds, test images,
confidence, what matters and how long was trained show on hover and by keyboard. ``verdict`` shows
a chip. ``{value}`few_images: rate:.2g` `` shows a plain value, with a format as in an f-string.

A page of the gallery is named by the end of its script's name, words joined by underscores; on the
page itself no name is needed. ``@mnist`` or ``@digits`` at the end takes the effect from the record
of a build on these data, where this build is on others. A name that is unknown or ambiguous fails
the build; only while a single page is built (``BN_TUTORIAL_ONLY``) it leaves a loud gap.
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import Any

import gallery_state
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from bn_tutorial.lab import evidence
from bn_tutorial.lab.effects import VERDICTS, Effect
from bn_tutorial.lab.evidence import Value

logger = logging.getLogger(__name__)


class measured(nodes.Inline, nodes.TextElement):  # noqa: N801  (docutils' way to name nodes)
    """A measured thing: its text, the page that it is from, and facts for who wants to know."""


def page_named(name: str, docs: Path, here: str) -> str:
    """Return the page that a short name stands for; without a name, the page it is used on.

    Raises
    ------
    LookupError
        If it is none, or several.
    """
    pages = gallery_state.scripts_in(docs.parent / "tutorial_src")
    if not name:
        found = [page for page in pages if f"gallery/{page}" == here]
    else:
        words = re.sub(r"\W+", "_", name.strip())
        ends = {page: re.sub(r"^.*/plot_\d\d", "", page) for page in pages}
        found = [page for page, end in ends.items() if end.endswith(f"_{words}") or page == name]
    if len(found) != 1:
        known = " and ".join(found) or f"no page of the gallery, of: {', '.join(pages)}"
        raise LookupError(f"{name!r} names {known}")
    return found[0]


def effect_named(text: str, env: BuildEnvironment) -> tuple[str, Effect]:
    """Return the page and the effect that a text names, and note what it depends on.

    Raises
    ------
    LookupError
        If there is none of this name, or its page has saved nothing.
    """
    text, _, data = text.partition("@")
    page, name = _split(text, env)
    path = evidence.path_of(page)
    env.note_dependency(str(path))
    effects = evidence.recall(page).effects
    built_on = next((effect.data for effect in effects.values()), "")
    if data.strip() not in ("", built_on):
        path = record_of(data.strip(), env)
        env.note_dependency(str(path))
        effects = evidence.read_record(path).effects.get(page, {})
    if name not in effects:
        raise LookupError(f"{page} has no effect {name!r}; it has: {'; '.join(effects) or 'none'}")
    return page, effects[name]


def record_of(data: str, env: BuildEnvironment) -> Path:
    """Return where the record of a data set is kept."""
    return Path(env.srcdir, "record", f"{data}.json")


def _split(text: str, env: BuildEnvironment) -> tuple[str, str]:
    before, colon, after = text.partition(":")
    name = after if colon else before
    page = page_named(before.strip() if colon else "", Path(env.srcdir), env.docname)
    return page, name.strip()


def facts(effect: Effect) -> str:
    """Say in words what an effect rests on."""
    places = 3 if effect.smallest and effect.smallest < 0.1 else 1
    covered = [f"{len(effect.seeds)} seeds"]
    if effect.images:
        covered.append(f"{effect.images:,} test images")
    if effect.chosen:
        covered.append("the choice of the setting")
    words = [
        f"{effect.confidence:.0%} interval over {', '.join(covered)}".replace("%", " %"),
        f"matters from {effect.smallest:.{places}f} {effect.unit}".strip()
        if effect.smallest
        else "any difference matters",
    ]
    if effect.resolution:
        words.append(f"known to {effect.resolution:g} {effect.unit}")
    return "; ".join([*words, *([effect.horizon] if effect.horizon else []), effect.data])


class Measured(SphinxRole):
    """What the three roles share: a place for errors, and a gap while one page is built."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the thing; its page is read again whenever the evidence changes."""
        try:
            return [self.found()], []
        except (LookupError, ValueError) as error:
            if not os.environ.get("BN_TUTORIAL_ONLY"):
                logger.warning("%s: %s", self.name, error, location=self.get_location())
            self.env.note_reread()  # the next build must not take the gap for an answer
            return [nodes.strong("", f"[not measured: {self.text}]", classes=["not-measured"])], []

    def found(self) -> nodes.Node:
        """Return what the text names."""
        raise NotImplementedError


class EffectRole(Measured):
    """An estimate with its interval and unit."""

    def found(self) -> nodes.Node:
        """Return the estimate, linked."""
        page, effect = effect_named(self.text, self.env)
        text = f"{effect.estimate()} {effect.unit}".strip()
        return measured("", text, page=page, facts=facts(effect), look="effect")


class VerdictRole(Measured):
    """A chip with the verdict."""

    def found(self) -> nodes.Node:
        """Return the chip, linked."""
        page, effect = effect_named(self.text, self.env)
        verdict = VERDICTS[effect.verdict]
        look = f"verdict verdict-{effect.verdict.replace(' ', '-')}"
        told = f"{verdict.meaning} {effect.estimate()} {effect.unit}; {facts(effect)}"
        return measured("", verdict.words, page=page, facts=told, look=look)


class ValueRole(Measured):
    """A plain value."""

    def found(self) -> nodes.Node:
        """Return the value as text."""
        parts = self.text.split(":")
        named = len(parts) > 1 and not _is_format(":".join(parts[1:]))
        page = page_named(
            parts.pop(0).strip() if named else "", Path(self.env.srcdir), self.env.docname
        )
        key, form = parts[0].strip(), ":".join(parts[1:])
        self.env.note_dependency(str(evidence.path_of(page)))
        values = evidence.recall(page).values
        if key not in values:
            raise LookupError(f"{page} has no value {key!r}; it has: {', '.join(sorted(values))}")
        return nodes.inline("", formatted(values[key], form), classes=["recalled"])


def _is_format(text: str) -> bool:
    """Whether a text is a format such as ``+.1f``, rather than the name of a value."""
    return re.fullmatch(r"[+,]?[+,]?\d*,?(\.\d+)?[a-z%]?", text.strip()) is not None


def formatted(value: Value, form: str) -> str:
    """Return a value as text, with a real minus sign and a space before the percent sign."""
    text = format(value, form.strip())
    if isinstance(value, str):
        return text
    return re.sub(r"^-", "\N{MINUS SIGN}", text).replace("%", " %")


def visit(self: Any, node: measured) -> None:
    """Open a link, or where it would lead to its own page, a part that can be focused."""
    page = f"gallery/{node['page']}"
    here = self.builder.current_docname
    title = f'data-facts="{escape(node["facts"])}" class="measured {node["look"]}"'
    if page == here:
        self.body.append(f'<span tabindex="0" {title}>')
    else:
        self.body.append(f'<a href="{self.builder.get_relative_uri(here, page)}" {title}>')


def depart(self: Any, node: measured) -> None:
    """Close it; a screen reader hears the facts after it."""
    self.body.append(f'<span class="measured-facts"> ({escape(node["facts"])})</span>')
    self.body.append(
        "</span>" if f"gallery/{node['page']}" == self.builder.current_docname else "</a>"
    )


def saved_pages(docs: Path) -> dict[str, evidence.Saved]:
    """Return what the pages of the gallery have saved, those that have."""
    found = {}
    for page in gallery_state.scripts_in(docs.parent / "tutorial_src"):
        if evidence.path_of(page).is_file():
            found[page] = evidence.recall(page)
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the roles."""
    app.add_node(measured, html=(visit, depart))
    for name, role in (
        ("effect", EffectRole()),
        ("verdict", VerdictRole()),
        ("value", ValueRole()),
    ):
        app.add_role(name, role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
