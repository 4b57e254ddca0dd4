"""The directive ``course``: pages in the order in which to read them, by subject.

The order is written in one place, the directive's content::

    # One batch
    > What does the layer compute? Afterwards you can do it by hand.
    derivations/forward
    further: gallery/01_by_hand/plot_05_compute_a_variance

A line with ``#`` opens a part, one with ``>`` says what it is about; each other line is a page, and
those marked ``further`` may be left out. *Previous* and *next* at the foot of a page follow this
order, wherever a page has its home, and the first link after **Next:** must. A page outside leads
into the course at its beginning alone. What a page answers is what it says itself, after
**You get**, or its question, after **The question.** What it needs, after **You need**, must come
before it.
Each page of the course gets ``course_step`` for its template: its number, and how many there are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile
from typing import Any

from docutils import nodes
from sentences import first_sentence, sentences
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import docname_join, logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

WORDS, LINES = 200, 15  # a minute, of text and of code
GETS, NEEDS, NEXT = ("You get", "The question."), "You need", "Next:"
HIDDEN = re.compile("hide|remove")  # in MyST-NB's classes of a cell


class course(nodes.General, nodes.Element):  # noqa: N801  (docutils' way to name nodes)
    """The place of the list."""


@dataclass
class Part:
    """Pages on one subject."""

    title: str
    about: str
    pages: list[str]
    further: set[str]  # those that may be left out


class Course(SphinxDirective):
    """Read the order."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave a place for the list, and have this page written anew in every build."""
        self.assert_has_content()
        parts: list[Part] = []
        for line in filter(str.strip, self.content):
            kind, text = line[0], line.lstrip("#> ").strip()
            if kind == "#":
                parts.append(Part(text, "", [], set()))
            elif not parts:
                raise self.error(f"course: expected a part first, `# title`, got {line!r}")
            elif kind == ">":
                parts[-1].about = f"{parts[-1].about} {text}".strip()
            else:
                page = text.removeprefix("further: ")
                parts[-1].pages.append(page)
                if page != text:
                    parts[-1].further.add(page)
        known = [page for part in parts for page in part.pages]
        if wrong := [page for page in known if page not in self.env.found_docs]:
            raise self.error(f"course: there is no page {', '.join(wrong)}")
        if twice := {page for page in known if known.count(page) > 1}:
            raise self.error(f"course: named more than once: {', '.join(sorted(twice))}")
        self.env.course_page = self.env.docname
        self.env.course_parts = parts
        place = course()
        self.set_source_info(place)
        return [place]


# ---------------------------------------------------------------------------------------------
# What a page says of itself
# ---------------------------------------------------------------------------------------------


def said(doctree: nodes.document, mark: str) -> nodes.Element | None:
    """Return the paragraph in which a page says something after a mark in bold."""
    for strong in doctree.findall(nodes.strong):
        if strong.astext() == mark:
            return strong.parent
    return None


def answer(doctree: nodes.document) -> str:
    """Return what a page says it answers, up to its last question; or one sentence, or nothing."""
    for mark in GETS:
        if (found := said(doctree, mark)) is not None:
            text = found.astext().split(mark, 1)[1]
            # A question may lean on the setting before it.
            asked = " ".join(sentences(text, "?"))
            answered = asked or first_sentence(text) or " ".join(text.split())
            if not answered:
                logger.warning("nothing stands behind %r", mark, location=found)
            return answered[:1].upper() + answered[1:]
    return ""


def needs(doctree: nodes.document) -> list[str]:
    """Return the pages that a page links to where it says what it needs."""
    return linked_after(doctree, NEEDS)


def linked_after(doctree: nodes.document, mark: str) -> list[str]:
    """Return the pages that a page links to after a mark in bold, up to the next one."""
    if (found := said(doctree, mark)) is None:
        return []
    behind = dropwhile(lambda node: node.astext() != mark, found.children)
    sentence = takewhile(lambda node: not isinstance(node, nodes.strong), islice(behind, 1, None))
    links = [link for node in sentence for link in node.findall(addnodes.pending_xref)]
    return [
        # MyST has looked up a page with its suffix; all else is as it was written.
        link["reftarget"]
        if link["refdomain"] == "doc"
        else docname_join(link["refdoc"], link["reftarget"])
        for link in links
        if link["refdomain"] == "doc" or link["reftype"] in ("doc", "myst")
    ]


def is_folded(code: nodes.literal_block) -> bool:
    """Whether a reader sees some code only after opening it."""
    around = code.parent
    while around is not None:
        if HIDDEN.search(" ".join(around.get("classes", ()))):
            return True
        around = around.parent
    before = code.previous_sibling()
    return isinstance(before, nodes.raw) and "folded-code" in before.astext()


def minutes(doctree: nodes.document) -> int:
    """Estimate the time to read: words, open code, half a minute for each formula and figure."""
    words = sum(len(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    lines = sum(
        len(code.astext().strip().splitlines())
        for code in doctree.findall(nodes.literal_block)
        if "python" in code.get("language", "").lower() and not is_folded(code)
    )
    again = {"only-dark", "on-narrow"}  # the same figure for another page
    figures = [node for node in doctree.findall(nodes.image) if not again & {*node["classes"]}]
    pauses = len(list(doctree.findall(nodes.math_block))) + len(figures)
    return max(1, math.ceil(words / WORDS + lines / LINES + pauses / 2))


# ---------------------------------------------------------------------------------------------
# The list, and the way along it
# ---------------------------------------------------------------------------------------------


def pages(env: BuildEnvironment) -> list[str]:
    """Return the pages of the course in order."""
    return [page for part in getattr(env, "course_parts", []) for page in part.pages]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the list in its place."""
    env, known = app.env, pages(app.env)
    for place in doctree.findall(course):
        shown: list[nodes.Node] = []
        total, more = 0, 0
        for part in env.course_parts:  # type: ignore[attr-defined]
            count = known.index(part.pages[0]) + 1 if part.pages else 1
            items = nodes.enumerated_list(enumtype="arabic", classes=["course"], start=count)
            core = 0
            for page in part.pages:
                doc = env.get_doctree(page)
                name, spent = env.titles[page].astext(), minutes(doc)
                target = app.builder.get_relative_uri(docname, page)
                title = nodes.reference("", name, refuri=target, internal=True)
                time = nodes.inline("", f" {spent} min", classes=["minutes"])
                first = nodes.paragraph("", "", title, time)
                if page in part.further:
                    first += nodes.inline("", " further", classes=["further"])
                    more += spent
                else:
                    core += spent
                text = nodes.paragraph("", answer(doc))
                items += nodes.list_item("", first, text)
            total += core
            shown += [nodes.rubric("", f"{part.title}: {core} min"), items]
            if part.about:
                shown.insert(-1, nodes.paragraph("", part.about))
        told = f"In all {total} minutes, and {more} for what is further."
        place.replace_self([nodes.paragraph("", told), *shown])


def check(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Warn of a page that needs a later one or answers nothing; name the page with the list."""
    known = pages(env)
    following = [*known[1:], env.course_page] if known else []  # type: ignore[attr-defined]
    for number, (page, after) in enumerate(zip(known, following, strict=True)):
        doctree = env.get_doctree(page)
        if not answer(doctree):
            logger.warning("course: it says nothing after %s", " or ".join(GETS), location=page)
        for needed in needs(doctree):
            if needed in known[number + 1 :]:
                logger.warning("course: it needs %s, which comes later", needed, location=page)
        for told in linked_after(doctree, NEXT)[:1]:
            if told != after:
                logger.warning("course: next is %s, not %s", after, told, location=page)
    return [env.course_page] if known else []  # type: ignore[attr-defined]


def follow(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doc: object) -> None:
    """Tell the template where the page is in the course, and lead along it."""
    if not (known := pages(app.env)):
        return
    home = app.env.course_page  # type: ignore[attr-defined]
    way = [home, *known, home]

    def address(target: str) -> str:
        return str(app.builder.get_relative_uri(page, target))

    def link(target: str) -> dict[str, str]:
        return {"link": address(target), "title": app.env.titles[target].astext()}

    if page in known:
        at = way.index(page)
        context["course_step"], context["course_page"] = (at, len(known)), home
        context["prev"], context["next"] = link(way[at - 1]), link(way[at + 1])
    elif page == home:
        context["next"] = link(known[0])
    else:  # a step into the course could not be taken back
        for side, closed in (("prev", way), ("next", known)):
            if context.get(side) and context[side]["link"] in map(address, closed):
                context[side] = None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.add_node(course)
    app.add_directive("course", Course)
    app.connect("env-updated", check)
    app.connect("doctree-resolved", fill)
    app.connect("html-page-context", follow)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
