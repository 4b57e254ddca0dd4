"""Let notebooks and scripts to take along read well where Sphinx is not.

sphinx-gallery offers the script as it is, and turns its text into Markdown for the notebook, but
leaves roles as they are. Here each becomes what a reader of the page sees: a number that was
measured its value in this build, a link its words, a reference its authors and year.
"""

from __future__ import annotations

import posixpath
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fold
import predict
from evidence_roles import estimate, formatted
from pybtex.database import BibliographyData

from bn_tutorial.lab.effects import VERDICTS
from bn_tutorial.lab.evidence import Saved

ROLE = re.compile(r":(?P<role>[a-z:]+):`(?P<text>[^`]+)`")
TARGET = re.compile(r"(?P<words>.*?)\s*<(?P<target>[^<>]*)>")
DIRECTIVE = re.compile(r"^\.\. (?P<name>[\w-]+):: ?(?P<after>[^\n]*)\n?", re.MULTILINE)
PREDICTION, WIDGET = (  # with all that is indented below it
    re.compile(rf"^\.\. {name}:: .+\n(?:(?: {{3}}.*)?\n)+", re.MULTILINE)
    for name in ("predict", "widget")
)
STRIPPED = re.compile(r"(?<![:`])`(?=[^`<>]+\s<[\w-]+>`)")  # of a link whose role was taken away
LEAD = "*(The main figure, which shows it, is drawn further down.)*\n"
TOUCH = "*(On the page of the site, a figure to take part in stands here.)*"
# What is text in a script: its docstring, and the comment that begins a cell.
TEXT = re.compile(
    r'\A(?P<open>"""\n)(?P<docstring>.*?)(?=""")|^(?P<mark># %%\n)(?P<comment>(?:#[^\n]*\n)+)',
    re.DOTALL | re.MULTILINE,
)
# A line under a title; a paragraph or an item of a list, which end before the next of these.
PIECE = re.compile(r"^[-=]{3,}$|^.+(?:\n(?!- |[-=]{3,}$).+)*", re.MULTILINE)
COLUMNS = 100  # of a line of text, as in the sources


@dataclass(frozen=True)
class Around:
    """What the text of a page refers to.

    Attributes
    ----------
    page : str
        Its name, such as ``"gallery/01_by_hand/plot_01_normalize_a_batch"``.
    known : Saved or None
        What it has measured; None where its script has failed: the text then keeps the names.
    sources : BibliographyData
        The references.
    titles : mapping of str to str
        The titles of all pages, by their names.
    site : str
        The address of the site with a slash at its end, for links; empty where it has none.
    labels : mapping of str to tuple of str
        Where the sections with a label are: the page, the place on it, and their titles.
    """

    page: str
    known: Saved | None
    sources: BibliographyData
    titles: Mapping[str, str]
    site: str = ""
    labels: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


def notebook(cells: list[dict[str, Any]], around: Around) -> None:
    """Rid the text of cells of roles and directives, and their code of marks for folding."""
    for cell in cells:
        is_text, source = cell["cell_type"] == "markdown", "".join(cell["source"])
        if is_text:  # sphinx-gallery takes the role from links to sections, and leaves the rest
            cell["source"] = [plain(STRIPPED.sub(":ref:`", source), around)]
        else:
            cell["source"] = [unmarked(source)]


def script(source: str, around: Around) -> str:
    """Return a script whose text is without roles and directives, and its code without marks."""

    def anew(found: re.Match[str]) -> str:
        if found["open"]:
            return f"{found['open']}{filled(found['docstring'], COLUMNS, around)}"
        text = re.sub("^# ?", "", found["comment"], flags=re.MULTILINE)
        lines = filled(text, COLUMNS - len("# "), around).splitlines()
        return "".join([found["mark"], *(f"# {line}".rstrip() + "\n" for line in lines)])

    return unmarked(TEXT.sub(anew, source))


def unmarked(code: str) -> str:
    """Return code whose marks for folding are plain comments."""
    return fold.MARK.sub(r"# \1\n", code)


def filled(text: str, columns: int, around: Around) -> str:
    """Return a text in which whatever becomes plain fills its lines anew, and the rest stands."""

    def anew(found: re.Match[str]) -> str:
        if (new := plain(found[0], around)) == found[0]:
            return new
        words = re.sub(" *\n *", " ", new.strip("\n"))
        indent = "  " if words.startswith("- ") else ""
        lines = textwrap.TextWrapper(
            columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        return lines.fill(words)

    return PIECE.sub(anew, questions(text, around))


def plain(text: str, around: Around) -> str:
    """Return a text without roles and directives.

    Raises
    ------
    ValueError
        If a role or a directive is none that is known here.
    LookupError
        If it names no source, no page, or nothing of what the page has measured.
    """

    def word(found: re.Match[str]) -> str:
        role, inner = found["role"], " ".join(found["text"].split())
        if (show := SHOWN.get(role)) is None:
            raise ValueError(f"plain text cannot show :{role}:`{inner}`")
        return show(inner, around)

    def block(found: re.Match[str]) -> str:
        if found["name"] == "math":  # one of a line; sphinx-gallery knows it in notebooks
            return f"$${found['after']}$$\n"
        if found["name"] != "lead-figure":
            raise ValueError(f"plain text cannot show .. {found['name']}::")
        return LEAD

    return DIRECTIVE.sub(block, ROLE.sub(word, questions(text, around)))


def questions(text: str, around: Around) -> str:
    """Return a text whose questions to predict are paragraphs, with their answers.

    Of a figure to take part in, only that there is one.
    """
    text = WIDGET.sub(f"{TOUCH}\n\n", text)
    effects = around.known and around.known.effects
    return PREDICTION.sub(lambda found: f"{predict.in_words(found[0], effects)}\n\n", text)


# ---------------------------------------------------------------------------------------------
# What a reader sees instead of a role
# ---------------------------------------------------------------------------------------------


def effect(name: str, around: Around) -> str:
    """Return an estimate with its interval."""
    if around.known is None:
        return f"[{name}]"
    return f"**{estimate(around.known.effects[name])}**"


def verdict(name: str, around: Around) -> str:
    """Return the words of a verdict."""
    if around.known is None:
        return f"[{name}]"
    return f"*{VERDICTS[around.known.effects[name].verdict].words}*"


def finding(name: str, around: Around) -> str:
    """Return an estimate and its verdict."""
    return f"{effect(name, around)} ({verdict(name, around)})"


def value(name: str, around: Around) -> str:
    """Return a plain value."""
    key, _, form = name.partition(":")
    if around.known is None:
        return f"[{key}]"
    return formatted(around.known.values[key], form)


def page(text: str, around: Around) -> str:
    """Return a link to a page; where the site has no address, its words and the page's title."""
    found = TARGET.fullmatch(text)
    target = found["target"] if found else text
    name = posixpath.normpath(posixpath.join("/", posixpath.dirname(around.page), target))[1:]
    title = around.titles[name]
    words = found["words"] if found else title
    return linked(words, title, f"{name}.html", around)


def section(text: str, around: Around) -> str:
    """Return a link to a section; where the site has no address, its words and its title."""
    found = TARGET.fullmatch(text)
    name, place, title = around.labels[found["target"] if found else text]
    return linked(found["words"] if found else title, title, f"{name}.html#{place}", around)


def linked(words: str, title: str, address: str, around: Around) -> str:
    """Return words that lead to an address of the site, or say what they mean."""
    if around.site:
        return f"[{words}]({around.site}{address})"
    return f"*{title}*" if words.lower() == title.lower() else f"{words} (*{title}*)"


def code(text: str, _: Around) -> str:
    """Return a name of the package, or the words of a link to it."""
    if found := TARGET.fullmatch(text):
        return f"*{found['words']}*"
    return f"`{text.removeprefix('~').rpartition('.')[2] if text.startswith('~') else text}`"


def equation(label: str, _: Around) -> str:
    """Return what stands for an equation: the name that it has in the code."""
    return f"equation *{label.removeprefix('eq-')}*"


def formula(tex: str, _: Around) -> str:
    """Return a formula as Markdown has it."""
    return f"${tex}$"


def source(key: str, around: Around) -> str:
    """Return authors and year."""
    entry = around.sources.entries[key]
    people = entry.persons["author"]
    names = [" ".join(person.prelast_names + person.last_names) for person in people]
    authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{authors} ({entry.fields['year']})"


SHOWN: dict[str, Callable[[str, Around], str]] = {
    "effect": effect,
    "verdict": verdict,
    "finding": finding,
    "value": value,
    "doc": page,
    "ref": section,
    "mod": code,
    "class": code,
    "func": code,
    "eq": equation,
    "math": formula,
    "cite:t": source,
    "cite:p": source,
}
