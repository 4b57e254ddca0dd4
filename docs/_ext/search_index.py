"""Write what the search reads: the sections of the site, as a script.

MiniSearch makes its index of them in the browser (see ``search_engine.py``). They are a script,
because a page that is read from the disk may load no data; only the page of the search loads it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

INDEX = "sections.js"  # beside the pages: its words are no classes (see first_paint.py)
SYNONYMS = Path(__file__).parents[1] / "synonyms.txt"
# What a page counts, by the beginning of its name: remedies first, explanations before lists.
WEIGHTS = {"questions": 1.4, "faults/": 1.4, "exercises": 0.7, "references": 0.5, "api/": 0.3}
WEIGHTS |= {"comparisons": 0.3, "design_log": 0.2, "": 1.0}
BY_HEADINGS = {"design_log"}  # long, and what it says of a study its own page says, too
# Of a question, these say nothing either.
STOPWORDS = SearchEnglish.stopwords | {"many", "much", "get", "got", "go", "give", "gives", "vs"}
SILENT = (
    *(nodes.comment, nodes.raw, nodes.math_block, nodes.substitution_definition),
    *(addnodes.index, addnodes.toctree),
)
CODE = (nodes.literal_block, nodes.doctest_block, addnodes.desc_signature)
APART = {"sphx-glr-download-link-note", "sphx-glr-footer", "sphx-glr-signature"}  # of a gallery
APART |= {"comparisons"}  # tables of what the pages of the experiments say, too
WORDS, NUMBERS = re.compile(r"[A-Za-z]{2,}"), re.compile(r"\d[\d.,e+-]*")

ACCENT = re.compile(r"\\(hat|bar|tilde|overline) *(\\[A-Za-z]+|\w)")
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "overline": "\u0304"}
FRACTION = re.compile(r"\\t?frac *(\w|{[^{}]*}) *(\w|{[^{}]*})")
COMMAND = re.compile(r"\\(?:(d\b) *|([A-Za-z]+)|.)")
SIGNS = {"sqrt": "√", "sum": "Σ", "partial": "∂", "varphi": "φ", "infty": "∞", "top": "ᵀ"}
SIGNS |= {"cdot": "·", "pm": "±", "to": "→", "dots": "…", "le": "≤", "ge": "≥", "approx": "≈"}
NAMES = {"d", "max", "min", "cos", "sin", "ln"}
LONG = 40  # characters of a formula that a quotation is better without


@dataclass
class Section:
    """What is read of a section, of an entry of the glossary, or of a function."""

    anchor: str  # "" for the top of a page
    heading: str
    text: str = ""
    code: str = ""


# ---------------------------------------------------------------------------------------------
# What a page says
# ---------------------------------------------------------------------------------------------


def sections_of(page: nodes.Element) -> list[Section]:
    """Return the sections of a page in their order; the first is the page's own, with its title."""
    found = [*read(page, Section("", ""))]  # what a gallery puts above the title is dropped
    for section in found:
        section.text = " ".join(section.text.split())
        section.code = section.code.strip()
    if found:
        found[0].anchor = ""
    return found


def read(node: nodes.Element, section: Section) -> Iterator[Section]:
    """Add what stands in a node to its section, and yield those that begin in it."""
    for child in node.children:
        if not isinstance(child, nodes.Element) or is_silent(child):
            continue
        if begun := beginning(child):
            yield begun
            yield from read(child, begun)
        elif code := code_in(child):
            section.code += told_by(code)
        elif isinstance(child, nodes.TextElement):
            section.text += f" {plain(child)}"
        else:
            yield from read(child, section)


def is_silent(node: nodes.Element) -> bool:
    """Tell whether a node has nothing more to find: no page shows it, or it is a heading."""
    is_heading = isinstance(node, nodes.title) and isinstance(node.parent, nodes.section)
    is_entry = isinstance(node, nodes.term) and node["ids"]
    before = node.previous_sibling()  # what fold.py folds draws, or keeps books
    is_folded = isinstance(before, nodes.raw) and "folded-code" in before.astext()
    cell = node.parent  # MyST-NB gives what holds a whole hidden cell none
    is_hidden = bool(cell) and cell.get("hide_mode") == "input" and "above-input" in node["classes"]
    is_apart = APART & {*node["classes"]}
    parts = (is_heading, is_entry, is_folded, is_hidden, is_apart, isinstance(node, SILENT))
    return any(parts)


def beginning(node: nodes.Element) -> Section | None:
    """Return the section that begins with a node, if one does that has an address."""
    first = next(iter(node.children), None)
    if isinstance(node, nodes.section):
        (title,) = (child for child in node.children if isinstance(child, nodes.title))
        return Section(node["ids"][0], plain(title))
    if isinstance(first, addnodes.desc_signature) and first["ids"]:
        return Section(first["ids"][0], first["fullname"])
    if isinstance(first, nodes.term) and first["ids"]:
        return Section(first["ids"][0], plain(first))
    return None


def plain(node: nodes.Node) -> str:
    """Return a text as it is read, with its formulas in one line."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.math):
        return in_a_line(node.astext())
    return "" if isinstance(node, SILENT) else "".join(map(plain, node.children))


def code_in(node: nodes.Element) -> str:
    """Return the code of a node that is code.

    In a gallery it has links and numbers of lines, and is long: what calls nothing is left out.
    """
    if "lang" in node:
        texts = node.findall(nodes.Text)
        code = "".join(text for text in texts if "linenos" not in text.parent["classes"])
        return "".join(line for line in code.splitlines(keepends=True) if "(" in line)
    return node.astext() if isinstance(node, CODE) else ""


def told_by(code: str) -> str:
    """Return the lines of a code that one might look for: no imports, and no rows of numbers."""
    lines = (line for line in code.splitlines() if not line.startswith(("import ", "from ")))
    return "".join(
        f"{line}\n" for line in lines if len(WORDS.findall(line)) > len(NUMBERS.findall(line))
    )


def in_a_line(tex: str) -> str:
    """Write a formula with the signs that any text may have; a long one is left out."""
    tex = ACCENT.sub(lambda found: f"{found[2]}{ACCENTS[found[1]]}", tex)
    tex = COMMAND.sub(lambda found: sign(found[1] or found[2] or ""), FRACTION.sub(r"\1/\2", tex))
    tex = " ".join(re.sub("[{}]", "", tex).replace("^2", "²").replace("^ᵀ", "ᵀ").split())
    return unicodedata.normalize("NFC", tex) if len(tex) <= LONG else "…"


def sign(command: str) -> str:
    """Return the sign that a command of TeX stands for, if there is one."""
    if command in NAMES:
        return command
    if command in SIGNS:
        return SIGNS[command]
    case = "CAPITAL" if command.istitle() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {command}")
    except KeyError:
        return ""


# ---------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------


def synonyms_in(text: str) -> list[list[str]]:
    """Return the lines of a list of synonyms, each with its phrases."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return [[phrase.strip() for phrase in line.split(",")] for line in lines if line.strip()]


def as_script(pages: dict[str, list[Section]], synonyms: list[list[str]]) -> str:
    """Return the script: the same pages give the same bytes, in whatever order they were read."""
    named = sorted((name, sections) for name, sections in pages.items() if sections)
    contents = {
        "pages": [
            [name, sections[0].heading, next(w for p, w in WEIGHTS.items() if name.startswith(p))]
            for name, sections in named
        ],
        "sections": [
            [number, *astuple(section)]
            for number, (_, sections) in enumerate(named)
            for section in sections
        ],
        "synonyms": synonyms,
        "stopwords": sorted(STOPWORDS),
    }
    return f"const SITE = {json.dumps(contents, ensure_ascii=False, separators=(',', ':'))};\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it in place of Sphinx's own index."""
    pages: dict[str, list[Section]] = {}

    def begin(app: Sphinx) -> None:
        app.builder.search = False  # type: ignore[attr-defined]

    def note(_app: Sphinx, doctree: nodes.document, page: str) -> None:
        found = sections_of(doctree)
        pages[page] = (
            [Section(s.anchor, s.heading) for s in found] if page in BY_HEADINGS else found
        )

    def name_it(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: Any) -> None:
        context["search_index"] = INDEX

    def write(app: Sphinx, exception: Exception | None) -> None:
        if not exception and app.builder.format == "html":
            synonyms = synonyms_in(SYNONYMS.read_text(encoding="utf-8"))
            Path(app.outdir, INDEX).write_text(as_script(pages, synonyms), encoding="utf-8")

    app.connect("builder-inited", begin)
    app.connect("doctree-resolved", note, priority=900)  # when all that it shows stands in it
    app.connect("html-page-context", name_it)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
