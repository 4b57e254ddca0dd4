"""Lead from the first use of a term on a page to the glossary, and show there what it means.

The first use in the text of a page becomes a link, unless the page links the term before, or writes
it in italics: then it says itself what it means. When the mouse rests on a link to a term, it shows
the first sentence of the definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from docutils import nodes
from sentences import first_sentence
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from widget import widget

# Words that mean another thing more often: they are linked by hand where they do not.
COMMON = {"gain", "momentum", "point", "stream"}
OTHERS = ("batch norm", "batch normalization")  # they hold a term, but are none
WITHOUT = "api/"  # the reference has links of its own
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"  # which Sphinx makes of a straight one


def meanings(env: BuildEnvironment) -> dict[str, str]:
    """Return the first sentence of each definition, by the id of its term."""
    documents = {document for document, _ in places(env).values()}
    found = {}
    for document in documents:
        for item in env.get_doctree(document).findall(nodes.definition_list_item):
            if isinstance(item.parent.parent, addnodes.glossary):
                text = item.children[-1].astext()
                meaning = first_sentence(text) or " ".join(text.split())
                for term in item.findall(nodes.term):
                    found |= dict.fromkeys(term["ids"], meaning)
    return found


def places(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Return the page and the id of each term."""
    objects = env.domains.standard_domain.objects
    return {name: place for (kind, name), place in objects.items() if kind == "term"}


# ---------------------------------------------------------------------------------------------
# First uses
# ---------------------------------------------------------------------------------------------


def pattern(terms: Iterable[str]) -> re.Pattern[str]:
    """Return what finds terms in a text: the longest first, in singular and plural."""
    longest = sorted(terms, key=len, reverse=True)
    spelled = (
        "|".join(map(re.escape, longest)).replace(r"\ ", r"[-\s]+").replace("'", f"['{CURLY}]")
    )
    return re.compile(rf"(?<![\w-])({spelled})(?:e?s)?(?![\w-])", re.IGNORECASE)


def plain(term: str) -> str:
    """Return a term as it is compared: how its words are joined, or quoted, is no matter."""
    return re.sub(r"[-\s]+", " ", term.lower().replace(CURLY, "'"))


def prose(doctree: nodes.document) -> Iterator[tuple[nodes.Text, str]]:
    """Yield what a page says itself, in its order, and the term to which it is a link, if it is.

    That is the text of paragraphs: no code, no other links, no headings, also of columns and rows.
    """
    for text in list(doctree.findall(nodes.Text)):
        around = text.parent
        while isinstance(around, nodes.emphasis | nodes.strong):
            around = around.parent
        if isinstance(around, nodes.paragraph) and not is_apart(around):
            yield text, ""
        while isinstance(around, nodes.inline):
            around = around.parent
        if isinstance(around, nodes.reference) and (term := term_behind(around)):
            yield text, term


def is_apart(node: nodes.Node) -> bool:
    """Tell whether a node is in the heading of a column or row, or shown without scripts only."""
    while node.parent is not None:
        is_first = isinstance(node, nodes.entry) and node.parent.index(node) == 0
        if is_first or isinstance(node, nodes.thead | widget):
            return True
        node = node.parent
    return False


def term_behind(link: nodes.reference) -> str:
    """Return the id of the term to which a link leads, or nothing."""
    address = link.get("refid") or urlsplit(link.get("refuri", "")).fragment
    return address if link.get("internal") and address.startswith("term-") else ""


def link_first_uses(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link the first use of each term on a page."""
    known = {plain(name): place for name, place in places(app.env).items() if name not in COMMON}
    glossaries = {document for document, _ in known.values()}
    if not known or page.startswith(WITHOUT) or page in glossaries:
        return
    terms = pattern([*known, *OTHERS])
    met = set()
    for text, term in prose(doctree):
        if term:
            met.add(term)
            continue
        written, end = text.astext(), 0
        pieces: list[nodes.Node] = []
        for use in terms.finditer(written):
            document, term = known.get(plain(use[1]), ("", ""))
            if not term or term in met:
                continue
            met.add(term)
            if use[0] == written and isinstance(text.parent, nodes.emphasis):
                continue
            address = f"{app.builder.get_relative_uri(page, document)}#{term}"
            link = nodes.reference("", use[0], internal=True, refuri=address, classes=["first-use"])
            pieces += [nodes.Text(written[end : use.start()]), link]
            end = use.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(written[end:])])


def add_hints(app: Sphinx, doctree: nodes.document, _document: str) -> None:
    """Give each link to a term its meaning as a title."""
    links = [(node, term_behind(node)) for node in doctree.findall(nodes.reference)]
    known = meanings(app.env) if any(term for _, term in links) else {}
    for node, term in links:
        if term in known:
            node["reftitle"] = known[term]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both, in this order."""
    app.connect("doctree-resolved", link_first_uses)
    app.connect("doctree-resolved", add_hints)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
