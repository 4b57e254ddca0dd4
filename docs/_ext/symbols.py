"""Let each symbol of the derivations light up wherever it stands, and say what it is.

The notation table (``notation.md``) is the one source. While a page is written, its symbols get
the attribute ``data-s``:

- in formulas, what is spelled as in the table (:mod:`tex_symbols`);
- in the code beside an equation, each name of the table; in the code of cells only names of two
  letters or more, because there a loop may call anything ``a``;
- in what a cell prints, each name of the table that is a word of its own, except for the article
  ``a``; and its value, where that stands directly behind it, as in ``m = 8`` or ``xhat [0. 0.]``.

A row that names pages holds on these alone, and there it comes before a row that holds everywhere.
The gradient of the loss with respect to each symbol is one as well; in code, where the symbol has a
shape: what is but a number there may have any name.

What the table says is in a script of its own, for which ``_static/symbols.js`` asks when the first
symbol lights up: who never points at one does not load it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from tex_symbols import Parts, gradient_of, mark, parts_of

TABLE = "notation"
MARKED = "derivations/"

LISTING = re.compile(
    r'<div class="(?P<box>equation-code|cell_input|output)\b[^>]*>|<pre>(?P<text>.*?)</pre>',
    re.DOTALL,
)
NAME = re.compile(r'<span class="n">(\w+)</span>')
# A word of what is printed, neither a part of a path or a quotient nor an 's, and its value.
PRINTED = re.compile(
    r"<[^>]*>|&[#\w]+;s?|(?<![\w./'])(?P<name>[A-Za-z]\w*)(?!\w)"
    r"(?P<value>(?: =)? [\[(][-+.,\s\w]*[\])]| = -?\d[\d.]*(?:e[-+]?\d+)?(?![\w.]))?"
)
OPERATOR = re.compile(r"[-+*/.=] *$")


@dataclass(frozen=True)
class Symbol:
    """A row of the table.

    Attributes
    ----------
    key : str
        What the attribute says.
    spellings : tuple of str
        The TeX; the first is the one to show.
    names : tuple of str
        The names in code.
    shape, meaning : list of docutils.nodes.Node
        The text of these cells.
    pages : tuple of str
        Where it holds; everywhere, if there are none.
    """

    key: str
    spellings: tuple[str, ...]
    names: tuple[str, ...]
    shape: list[nodes.Node]
    meaning: list[nodes.Node]
    pages: tuple[str, ...]

    def gradient(self) -> Symbol:
        """Return the gradient of the loss with respect to this."""
        spelled = self.spellings[0]
        meaning = [
            nodes.Text("gradient of the loss with respect to "),
            nodes.math(spelled, spelled),
            nodes.Text(" ("),
            *self.meaning,
            nodes.Text(")"),
        ]
        return Symbol(
            f"d{self.key}",
            tuple(map(gradient_of, self.spellings)),
            tuple(f"d{name}" for name in self.names if self.shape),
            self.shape,
            meaning,
            self.pages,
        )


class Vocabulary:
    """What formulas and code may hold on one page.

    Attributes
    ----------
    spellings : dict of Parts to str
        The symbols' keys by what they look like in TeX.
    names : dict of str to str
        The same by their names in code.
    """

    def __init__(self, symbols: list[Symbol], page: str) -> None:
        ordered = sorted(symbols, key=lambda symbol: not symbol.pages)  # its own come first
        self.spellings: dict[Parts, str] = {}
        self.names: dict[str, str] = {}
        for symbol in ordered:
            if not symbol.pages or page in symbol.pages:
                for spelling in symbol.spellings:
                    self.spellings.setdefault(parts_of(spelling), symbol.key)
                for name in symbol.names:
                    self.names.setdefault(name, symbol.key)

    def tex(self, tex: str) -> str:
        """Return a formula with its symbols marked."""
        return mark(tex, self.spellings, lambda key, text: rf"\htmlData{{s={key}}}{{{text}}}")

    def html(self, body: str) -> str:
        """Return a page on which names are marked in listings and in what was printed."""
        box = ""

        def anew(found: re.Match[str]) -> str:
            nonlocal box
            box = found["box"] or box
            if found["text"] is None:
                return found[0]
            if box == "output":
                return PRINTED.sub(self._printed, found[0])
            shortest = 1 if box == "equation-code" else 2
            return NAME.sub(lambda name: self._named(name, shortest), found[0])

        return LISTING.sub(anew, body)

    def _named(self, found: re.Match[str], shortest: int) -> str:
        key = self.names.get(found[1]) if len(found[1]) >= shortest else None
        return f'<span class="n" data-s="{key}">{found[1]}</span>' if key else found[0]

    def _printed(self, found: re.Match[str]) -> str:
        key = self.names.get(found["name"]) if found["name"] != "a" else None
        if key is None:
            return found[0]
        line = found.string[: found.start()].rpartition("\n")[2]
        value = found["value"] or ""
        inside, behind = ("", value) if OPERATOR.search(line) else (value, "")
        return f'<span data-s="{key}">{found["name"]}{inside}</span>{behind}'


def rows(document: nodes.document) -> Iterator[Symbol]:
    """Read the tables of symbols."""
    used = set()
    for table in document.findall(nodes.tgroup):
        for row in next(iter(table.findall(nodes.tbody))):
            symbol, name, shape, meaning, *on = row.children
            spellings = tuple(math.astext() for math in symbol.findall(nodes.math))
            key = re.sub(r"[^\w*-]", "", spellings[0])
            while key in used:
                key += "_"
            used.add(key)
            links = (link for cell in on for link in cell.findall(addnodes.pending_xref))
            yield Symbol(
                key,
                spellings,
                tuple(literal.astext() for literal in name.findall(nodes.literal)),
                [child for paragraph in shape for child in paragraph],
                [child for paragraph in meaning for child in paragraph],
                tuple(link["reftarget"] for link in links),
            )


def symbols(app: Sphinx) -> list[Symbol]:
    """Return the symbols of the table, and the gradients that have no rows of their own."""
    if TABLE not in app.env.all_docs:
        return []
    found = list(rows(app.env.get_doctree(TABLE)))
    gradients = [symbol.gradient() for symbol in found]
    keys = {symbol.key for symbol in found}
    return found + [gradient for gradient in gradients if gradient.key not in keys]


def vocabulary(app: Sphinx, page: str) -> Vocabulary | None:
    """Return what is marked on a page, or None."""
    return Vocabulary(symbols(app), page) if page.startswith(MARKED) else None


def mark_formulas(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Keep with each formula how it is written with marks (for katex.py)."""
    if known := vocabulary(app, page):
        for kind in (nodes.math, nodes.math_block):
            for formula in doctree.findall(kind):
                formula["marked"] = known.tex(formula.astext())


def mark_names(app: Sphinx, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Mark the names of a page, and load the script that lights them."""
    if (known := vocabulary(app, page)) and known.names and "body" in context:
        context["body"] = known.html(context["body"])
        app.add_js_file("symbols.js", loading_method="defer")


def hint(app: Sphinx, symbol: Symbol) -> str:
    """Return what the table says of a symbol."""
    spelled = symbol.spellings[0]
    text = nodes.inline("", "", nodes.math(spelled, spelled))
    for name in symbol.names[:1]:
        if name != spelled:
            text += [nodes.Text(" "), nodes.literal(name, name)]
    text += [nodes.Text(" "), *(part.deepcopy() for part in symbol.meaning)]
    if symbol.shape:
        text += [nodes.Text("; shape "), *(part.deepcopy() for part in symbol.shape)]
    return str(app.builder.render_partial(text)["fragment"])  # type: ignore[attr-defined]


def write_hints(app: Sphinx, exception: Exception | None) -> None:
    """Write what the script asks for."""
    if exception or app.builder.format != "html":
        return
    hints = {symbol.key: hint(app, symbol) for symbol in symbols(app)}
    if hints:
        text = f"symbolHints({json.dumps(hints, ensure_ascii=False, sort_keys=True)});\n"
        Path(app.outdir, "_static", "symbol-hints.js").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all."""
    app.connect("doctree-resolved", mark_formulas)
    app.connect("html-page-context", mark_names)
    app.connect("build-finished", write_hints)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
