"""Let the notebooks to take along read well where Sphinx is not: their text is plain Markdown.

sphinx-gallery turns a script's text into Markdown but leaves roles as they are. Here each becomes
what a reader would see: a number that was measured its value in this build, a link its words, a
reference its authors and year.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence_roles import estimate, formatted
from pybtex.database import BibliographyData, parse_file
from sphinx.application import Sphinx
from sphinx_gallery import gen_rst

from bn_tutorial.lab import evidence
from bn_tutorial.lab.effects import VERDICTS
from bn_tutorial.lab.evidence import Saved

ROLE = re.compile(r":(?P<role>[a-z:]+):`(?P<text>[^`]+)`")
TARGET = re.compile(r"(?P<words>.*?)\s*<[^<>]*>")
DIRECTIVE = re.compile(r"^\.\. [\w-]+::[^\n]*\n?", re.MULTILINE)


def plain(text: str, known: Saved | None, sources: BibliographyData) -> str:
    """Return the text of a cell without roles and directives.

    Raises
    ------
    ValueError
        If a role is none that is known here.
    LookupError
        If it names no source, or nothing of what the page has measured. (A page whose script failed
        has measured nothing, and the text keeps the names.)
    """

    def word(found: re.Match[str]) -> str:
        role, inner = found["role"], " ".join(found["text"].split())
        if (show := SHOWN.get(role)) is None:
            raise ValueError(f"a notebook cannot show :{role}:`{inner}`")
        return show(inner, known, sources)

    return DIRECTIVE.sub("", ROLE.sub(word, text))


# ---------------------------------------------------------------------------------------------
# What a reader sees instead of a role
# ---------------------------------------------------------------------------------------------


def effect(name: str, known: Saved | None, _: BibliographyData) -> str:
    """Return an estimate with its interval."""
    if known is None:
        return f"[{name}]"
    return f"**{estimate(known.effects[name])}**"


def verdict(name: str, known: Saved | None, _: BibliographyData) -> str:
    """Return the words of a verdict."""
    if known is None:
        return f"[{name}]"
    return f"*{VERDICTS[known.effects[name].verdict].words}*"


def finding(name: str, known: Saved | None, sources: BibliographyData) -> str:
    """Return an estimate and its verdict."""
    return f"{effect(name, known, sources)} ({verdict(name, known, sources)})"


def value(name: str, known: Saved | None, _: BibliographyData) -> str:
    """Return a plain value."""
    key, _, form = name.partition(":")
    if known is None:
        return f"[{key}]"
    return formatted(known.values[key], form)


def words(text: str, _known: Saved | None, _: BibliographyData) -> str:
    """Return the words of a link; of a page without any, those of its name."""
    if found := TARGET.fullmatch(text):
        return f"*{found['words']}*"
    name = re.sub(r"^plot_\d\d_", "", text.rpartition("/")[2])
    return f"*{name.replace('_', ' ')}*"


def code(text: str, known: Saved | None, sources: BibliographyData) -> str:
    """Return a name of the package, or the words of a link to it."""
    if TARGET.fullmatch(text):
        return words(text, known, sources)
    return f"`{text.removeprefix('~').rpartition('.')[2] if text.startswith('~') else text}`"


def equation(label: str, _known: Saved | None, _: BibliographyData) -> str:
    """Return what stands for an equation: the name that it has in the code."""
    return f"equation *{label.removeprefix('eq-')}*"


def source(key: str, _known: Saved | None, sources: BibliographyData) -> str:
    """Return authors and year."""
    entry = sources.entries[key]
    people = entry.persons["author"]
    names = [" ".join(person.prelast_names + person.last_names) for person in people]
    authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{authors} ({entry.fields['year']})"


SHOWN: dict[str, Callable[[str, Saved | None, BibliographyData], str]] = {
    "effect": effect,
    "verdict": verdict,
    "finding": finding,
    "value": value,
    "doc": words,
    "ref": words,
    "class": code,
    "func": code,
    "eq": equation,
    "cite:t": source,
    "cite:p": source,
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Stand between sphinx-gallery and the file: its archives hold the notebook, too."""
    save = getattr(gen_rst.save_notebook, "original", gen_rst.save_notebook)
    gallery, references = Path(app.srcdir, "gallery"), Path(app.srcdir, "references.bib")

    def save_plain(notebook: dict[str, Any], path: Any) -> None:
        if not Path(path).is_relative_to(gallery):  # of another site, built in this process
            save(notebook, path)
            return
        # sphinx-gallery writes to a name of its own first: plot_01_a.ipynb.new
        page = Path(path).relative_to(gallery).as_posix().partition(".")[0]
        known = evidence.recall(page) if evidence.path_of(page).is_file() else None
        sources = parse_file(str(references))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = [plain("".join(cell["source"]), known, sources)]
        save(notebook, path)

    save_plain.original = save  # type: ignore[attr-defined]
    gen_rst.save_notebook = save_plain
    return {"parallel_read_safe": True, "parallel_write_safe": True}
