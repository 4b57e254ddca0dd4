"""Show what a term of the glossary means when the mouse rests on a link to it."""

from __future__ import annotations

from urllib.parse import urlsplit

from docutils import nodes
from sentences import first_sentence
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def meanings(env: BuildEnvironment) -> dict[str, str]:
    """Return the first sentence of each definition, by the id of its term."""
    documents = {
        place[0]
        for (kind, _), place in env.domains.standard_domain.objects.items()
        if kind == "term"
    }
    found = {}
    for document in documents:
        for item in env.get_doctree(document).findall(nodes.definition_list_item):
            if isinstance(item.parent.parent, addnodes.glossary):
                text = item.children[-1].astext()
                meaning = first_sentence(text) or " ".join(text.split())
                for term in item.findall(nodes.term):
                    found |= dict.fromkeys(term["ids"], meaning)
    return found


def add_hints(app: Sphinx, doctree: nodes.document, _document: str) -> None:
    """Give each link to a term its meaning as a title."""
    links = [node for node in doctree.findall(nodes.reference) if node.get("internal")]
    terms = [
        (node, node.get("refid") or urlsplit(node.get("refuri", "")).fragment) for node in links
    ]
    terms = [(node, target) for node, target in terms if target.startswith("term-")]
    known = meanings(app.env) if terms else {}
    for node, target in terms:
        if target in known:
            node["reftitle"] = known[target]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("doctree-resolved", add_hints)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
