"""The directive ``course``: some pages and folders in reading order, and what each page answers.

The order is that of the site's tables of contents, so that *previous* and *next* at the foot of a
page follow it. What a page answers is what it says itself, after **You get** or **The question.**
Each page of the course gets ``course_step`` for its template: its number, and how many there are.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from docutils import nodes
from sentences import first_sentence
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

WORDS = 200  # a minute
MARKS = ("You get", "The question.")


class course(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the list."""


class Course(SphinxDirective):
    """``{course} derivations gallery exercises``: folders, and pages that stand alone."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Leave a place for the list, and have this page written anew in every build."""
        self.env.course_page = self.env.docname
        self.env.course_parts = tuple(self.arguments)
        return [course()]


def steps(env: BuildEnvironment) -> dict[str, str]:
    """Return the pages of the course in order, those that answer something, with their answers."""

    def below(page: str) -> list[str]:
        return [p for child in env.toctree_includes.get(page, []) for p in (child, *below(child))]

    parts = getattr(env, "course_parts", ())
    pages = [page for page in below(env.config.root_doc) if page.split("/")[0] in parts]
    answers = {page: answer(env.get_doctree(page)) for page in pages}
    return {page: text for page, text in answers.items() if text}


def answer(doctree: nodes.document) -> str:
    """Return the sentence in which a page says what it answers, or nothing."""
    for strong in doctree.findall(nodes.strong):
        if (mark := strong.astext()) in MARKS:
            text = strong.parent.astext().split(mark, 1)[1]
            sentence = first_sentence(text) or " ".join(text.split())
            if not sentence:
                logger.warning("nothing stands behind %r", mark, location=strong.parent)
            return sentence[:1].upper() + sentence[1:]
    return ""


def minutes(doctree: nodes.document) -> int:
    """Estimate the time to read: words, and half a minute for each equation and figure."""
    words = sum(len(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    figures = [node for node in doctree.findall(nodes.image) if "only-dark" not in node["classes"]]
    pauses = len(list(doctree.findall(nodes.math_block))) + len(figures)
    return max(1, math.ceil(words / WORDS + pauses / 2))


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the list in its place."""
    for place in doctree.findall(course):
        parts, count, answers = [], 0, app.env.course_steps  # type: ignore[attr-defined]
        for folder, pages in groupby(answers, key=lambda page: page.rpartition("/")[0]):
            items = nodes.enumerated_list(enumtype="arabic", classes=["course"], start=count + 1)
            total = 0
            for page in pages:
                target = app.builder.get_relative_uri(docname, page)
                known = app.env.get_doctree(page)
                name = app.env.titles[page].astext()
                title = nodes.reference("", name, refuri=target, internal=True)
                spent = minutes(known)
                time = nodes.inline("", f" {spent} min", classes=["minutes"])
                text = nodes.paragraph("", answers[page])
                items += nodes.list_item("", nodes.paragraph("", "", title, time), text)
                total += spent
            if folder:  # a page that stands alone is no part
                name = app.env.titles[f"{folder}/index"].astext()
                parts.append(nodes.rubric("", f"{name}: {total} min"))
            parts.append(items)
            count += len(items)
        place.replace_self(parts)


def number(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doc: object) -> None:
    """Tell the template where the page is in the course."""
    pages = list(app.env.course_steps)  # type: ignore[attr-defined]
    if page in pages:
        context["course_step"] = (pages.index(page) + 1, len(pages))
        context["course_page"] = app.env.course_page  # type: ignore[attr-defined]


def order(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Find the order once; name the page that holds the list."""
    env.course_steps = steps(env)  # type: ignore[attr-defined]
    return [page] if (page := getattr(env, "course_page", "")) else []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.add_node(course)
    app.add_directive("course", Course)
    app.connect("env-updated", order)
    app.connect("doctree-resolved", fill)
    app.connect("html-page-context", number)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
