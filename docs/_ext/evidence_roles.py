"""The roles ``effect``, ``verdict``, ``finding`` and ``value``: what was measured, in a sentence.

``{effect}`few_images: BN - none, batches of 8` `` (MyST) or the same with colons (reStructuredText)
shows the estimate with its interval and unit, linked to the experiment; seeds, test images,
confidence, what matters and how long was trained show on hover and by keyboard. ``verdict`` shows
a chip, ``finding`` both. ``{value}`few_images: rate:.2g` `` shows a plain value, with a format as
in an f-string.

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

EFFECT = re.compile(r"(?:(?P<page>[^:]*):)?(?P<name>[^:@]+)(?:@(?P<data>[^:@]+))?")
TITLES = {"mnist": "MNIST", "digits": "the embedded digits"}  # in a sentence
ONE = {"points": "point", "decades": "decade", "steps": "step"}
VALUE = re.compile(r"(?:(?P<page>[^:]*):\s+)?(?P<key>[^:]+?)(?::(?P<form>\S+))?")


class measured(nodes.Inline, nodes.TextElement):  # noqa: N801  (docutils' way to name nodes)
    """A measured thing: its text, what it is and where from, and facts for who wants to know."""


# ---------------------------------------------------------------------------------------------
# What a text names
# ---------------------------------------------------------------------------------------------


def page_named(name: str, docs: Path, here: str) -> str:
    """Return the page that a short name stands for; without a name, the page it is used on.

    Raises
    ------
    LookupError
        If it is none, or several.
    """
    pages = gallery_state.scripts_in(docs.parent / "tutorial_src")
    if not name:
        if (page := here.removeprefix("gallery/")) not in pages:
            raise LookupError(f"{here} is no page of the gallery: name one, and then a colon")
        return page
    words = "_" + re.sub(r"\W+", "_", name)
    found = [
        page for page in pages if page == name or re.sub(r"^.*/plot_\d\d", "", page).endswith(words)
    ]
    if len(found) != 1:
        known = " and ".join(found) or f"no page of the gallery, of: {', '.join(pages)}"
        raise LookupError(f"{name!r} names {known}")
    return found[0]


def parts(text: str, form: re.Pattern[str], env: BuildEnvironment) -> tuple[str, str, str]:
    """Take a text apart: the page, what is named there, and what may follow.

    Raises
    ------
    LookupError
        If it has no such parts, or names no page.
    """
    if not (found := form.fullmatch(text.strip())):
        raise LookupError(f"{text!r} does not read as: {' and then '.join(form.groupindex)}")
    page, name, more = ((part or "").strip() for part in found.groups())
    return page_named(page, Path(env.srcdir), env.docname), " ".join(name.split()), more


def effect_named(text: str, env: BuildEnvironment) -> tuple[str, Effect]:
    """Return the page and the effect that a text names.

    Raises
    ------
    LookupError
        If there is none of this name, or its page has saved nothing.
    """
    page, name, data = parts(text, EFFECT, env)
    place, effects = page, evidence.recall(page).effects
    built_on = next((effect.data for effect in effects.values()), "")
    if data and data != built_on:
        path, place = Path(env.srcdir, "record", f"{data}.json"), f"{page} on record of {data}"
        effects = evidence.read_record(path).effects.get(page, {})
    if name not in effects:
        raise LookupError(f"{place} has no effect {name!r}; it has: {'; '.join(effects) or 'none'}")
    return page, effects[name]


def headlines(name: str, env: BuildEnvironment) -> tuple[str, list[tuple[str, Effect]]]:
    """Return a page by its short name, and its claims in words, each with its effect.

    Raises
    ------
    LookupError
        If there is no such page, or it has saved nothing.
    """
    page = page_named(name, Path(env.srcdir), env.docname)
    saved = evidence.recall(page)
    return page, [(words, saved.effects[name]) for name, words in saved.claims.items()]


def value_named(text: str, env: BuildEnvironment) -> str:
    """Return the plain value that a text names, formatted.

    Raises
    ------
    LookupError
        If there is none of this name, or its page has saved nothing.
    ValueError
        If it cannot be formatted so.
    """
    page, key, form = parts(text, VALUE, env)
    values = evidence.recall(page).values
    if key not in values:
        raise LookupError(f"{page} has no value {key!r}; it has: {', '.join(sorted(values))}")
    return formatted(values[key], form)


# ---------------------------------------------------------------------------------------------
# How it is shown
# ---------------------------------------------------------------------------------------------


def formatted(value: Value, form: str) -> str:
    """Return a value as text; a number with real minus signs, and a space before a percent sign.

    Raises
    ------
    ValueError
        If it cannot be formatted so.
    """
    try:
        text = format(value, form)
    except ValueError as error:
        raise ValueError(f"{value!r} with the format {form!r}: {error}") from error
    if isinstance(value, str):
        return text
    if not re.search("[1-9]", text):  # what was rounded to zero has no sign
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")


def facts(effect: Effect) -> str:
    """Say in sentences what an effect rests on."""
    others = [f"other seeds ({len(effect.seeds)} were compared)"]
    if effect.images:
        others.append(f"other test images ({effect.images:,} were used)")
    if effect.chosen:
        others.append("another choice of the setting")
    matters = f"A difference matters from {amount(effect.smallest, effect.unit)} on."
    steps = f"Both sides were measured in steps of {amount(effect.resolution, effect.unit)}."
    when = f"after {effect.horizon}" if effect.horizon[:1].isdigit() else effect.horizon
    told = [
        f"The {100 * effect.confidence:g} % interval allows for {listed(others)}.",
        matters if effect.smallest else "Any difference matters.",
        steps if effect.resolution else "",
        f"Compared {when}." if when else "",
        f"The images are {TITLES.get(effect.data, effect.data)}." if effect.data else "",
    ]
    return " ".join(filter(None, told))


def amount(number: float, unit: str) -> str:
    """Return a number with its unit; one point is no points."""
    return f"{number:g} {ONE.get(unit, unit) if number == 1 else unit}".strip()


def listed(words: list[str]) -> str:
    """Join words as in a sentence."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def estimate(effect: Effect) -> str:
    """Return the estimate, its interval and its unit."""
    return f"{effect.estimate()} {effect.unit}".strip()


def look(verdict: str) -> str:
    """Return the class of a verdict in the style sheet."""
    return f"verdict-{verdict.replace(' ', '-')}"


def show_effect(page: str, effect: Effect, text: str = "") -> measured:
    """Show an effect, by its estimate or by another text."""
    text = text or estimate(effect)
    return measured("", text, page=page, facts=facts(effect), classes=["effect"])


def show_verdict(page: str, effect: Effect) -> measured:
    """Show a verdict as a chip."""
    words, meaning = VERDICTS[effect.verdict]
    told = f"{meaning} {estimate(effect)}. {facts(effect)}"
    classes = ["verdict", look(effect.verdict)]
    return measured(
        "", words, page=page, judged=(effect.name, effect.data), facts=told, classes=classes
    )


def show_finding(page: str, effect: Effect) -> measured:
    """Show an effect and its chip, as one link."""
    words, meaning = VERDICTS[effect.verdict]
    return measured(
        "",
        "",
        nodes.inline("", estimate(effect), classes=["effect"]),
        nodes.Text(" "),
        nodes.inline("", words, classes=["verdict", look(effect.verdict)]),
        page=page,
        judged=(effect.name, effect.data),
        facts=f"{meaning} {facts(effect)}",
        classes=["finding"],
    )


def gap(text: str) -> nodes.Node:
    """Show that something was not measured."""
    return nodes.strong("", f"[not measured: {text}]", classes=["not-measured"])


def only_one_page() -> bool:
    """Whether a single page is built, so that what others measure may be missing."""
    return bool(os.environ.get("BN_TUTORIAL_ONLY"))


def link(builder: Any, page: str) -> str:
    """Return the attribute that leads to a page; there itself, a stop for the keyboard instead."""
    here, there = builder.current_docname, f"gallery/{page}"
    if here == there:
        return 'tabindex="0"'
    return f'href="{escape(builder.get_relative_uri(here, there))}"'


def visit(self: Any, node: measured) -> None:
    """Open a link, or where it would lead to its own page, a part that can be focused."""
    where = link(self.builder, node["page"])
    node["tag"] = "a" if where.startswith("href") else "span"
    classes = " ".join(["measured", *node["classes"]])
    self.body.append(f'<{node["tag"]} {where} class="{classes}">')


def depart(self: Any, node: measured) -> None:
    """Close it, after the facts: heard once as a part of it, seen while it has the attention."""
    told = f'<span class="measured-facts"> {escape(node["facts"])}</span>'
    self.body.append(f"{told}</{node['tag']}>")


# ---------------------------------------------------------------------------------------------
# The roles
# ---------------------------------------------------------------------------------------------


class Measured(SphinxRole):
    """What the roles share: a place for errors, and a gap while one page is built."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the thing, or a gap."""
        try:
            return [self.found()], []
        except (LookupError, ValueError) as error:
            # A value of another page may be missing now; a wrong format is wrong at all times.
            if isinstance(error, ValueError) or not only_one_page():
                logger.warning("%s: %s", self.name, error, location=self.get_location())
            return [gap(self.text)], []

    def found(self) -> nodes.Node:
        """Return what the text names."""
        raise NotImplementedError


class EffectRole(Measured):
    """An estimate with its interval and unit."""

    def found(self) -> nodes.Node:
        """Return the estimate, linked."""
        return show_effect(*effect_named(self.text, self.env))


class VerdictRole(Measured):
    """A chip with the verdict."""

    def found(self) -> nodes.Node:
        """Return the chip, linked."""
        return show_verdict(*effect_named(self.text, self.env))


class FindingRole(Measured):
    """An estimate and its verdict."""

    def found(self) -> nodes.Node:
        """Return both, in one link."""
        return show_finding(*effect_named(self.text, self.env))


class ValueRole(Measured):
    """A plain value."""

    def found(self) -> nodes.Node:
        """Return the value as text."""
        return nodes.inline("", value_named(self.text, self.env), classes=["recalled"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the roles."""
    app.add_node(measured, html=(visit, depart))
    app.add_role("effect", EffectRole())
    app.add_role("verdict", VerdictRole())
    app.add_role("finding", FindingRole())
    app.add_role("value", ValueRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
