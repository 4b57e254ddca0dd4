r"""Find symbols in TeX, and put marks around them: ``\frac1m`` becomes ``\frac1{\mark{m}{m}}``.

A symbol takes along the indices and powers behind it: ``x_i^2`` is an ``x``. Where the table has
one itself, such as in ``\sigma^2`` or ``\mu_*``, it must be there; and an index ``*`` makes another
symbol of what it stands behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|[^\\\s]", re.DOTALL)
# How many arguments follow, each of which may be a single token.
ARGUMENTS = {r"\frac": 2, r"\tfrac": 2, r"\dfrac": 2, r"\sqrt": 1, r"\overline": 1, "_": 1, "^": 1}
# What their argument says is another thing (a mean, a word, an environment) than without them.
CLOSED = re.compile(r"\\(hat|bar|tilde|operatorname|text\w*|math\w+|begin|end)$")
ACCENTS = {r"\hat", r"\bar", r"\tilde"}
GRADIENT = r"\d"


@dataclass(frozen=True)
class Part:
    """A letter of a symbol with what must stand behind it, or a sign between two letters."""

    letter: str
    scripts: frozenset[tuple[str, str]] = frozenset()


Parts = tuple[Part, ...]


def tokens_of(tex: str) -> list[str]:
    """Split TeX into commands, characters and blanks."""
    return TOKEN.findall(tex)


def end_of_group(tokens: list[str], at: int) -> int:
    """Return where an argument ends that begins here: behind its brace, or behind one token."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += (tokens[place] == "{") - (tokens[place] == "}")
        if depth == 0:
            return place + 1
    return len(tokens)


def skip_blanks(tokens: list[str], at: int) -> int:
    """Return the place of the next token that is no blank."""
    while at < len(tokens) and tokens[at].isspace():
        at += 1
    return at


def scripts_behind(tokens: list[str], at: int) -> tuple[frozenset[tuple[str, str]], int]:
    """Return the indices and powers that begin here, and where they end."""
    found = set()
    while True:
        start = skip_blanks(tokens, at)
        if tokens[start : start + 1] == ["'"]:
            found.add(("'", ""))
            at = start + 1
        elif tokens[start : start + 1] in (["_"], ["^"]):
            content = skip_blanks(tokens, start + 1)
            at = end_of_group(tokens, content)
            found.add((tokens[start], "".join(tokens[content:at]).strip("{} ")))
        else:
            return frozenset(found), at


def parts_of(tex: str) -> Parts:
    """Read a symbol as the table spells it."""
    tokens, parts, at = tokens_of(tex), [], 0
    while (at := skip_blanks(tokens, at)) < len(tokens):
        scripts, end = scripts_behind(tokens, at + 1)
        parts.append(Part(tokens[at], scripts))
        at = end
    return tuple(parts)


def is_difference(parts: Parts) -> bool:
    """Tell whether a symbol is made of others, as the centered input is."""
    return any(part.letter == "-" for part in parts) and parts[0].letter != GRADIENT


def gradient_of(tex: str) -> str:
    """Return how the gradient with respect to a symbol is written."""
    return rf"{GRADIENT}({tex})" if is_difference(parts_of(tex)) else f"{GRADIENT} {tex}"


def end_of_symbol(tokens: list[str], at: int, parts: Parts) -> int | None:
    """Return where a symbol ends that begins here, or None if it does not."""
    for part in parts:
        at = skip_blanks(tokens, at)
        if tokens[at : at + 1] != [part.letter]:
            return None
        at += 1
        if part.letter.isalpha() or (part.letter[0] == "\\" and part.letter not in ACCENTS):
            scripts, at = scripts_behind(tokens, at)
            if not part.scripts <= scripts or ("_", "*") in scripts - part.scripts:
                return None
    return at


def mark(tex: str, symbols: Mapping[Parts, str], marked: Callable[[str, str], str]) -> str:
    r"""Put marks around the symbols of a formula.

    Parameters
    ----------
    tex : str
        The formula.
    symbols : mapping of tuple of Part to str
        Each spelling, as :func:`parts_of` reads it, and the symbol's name.
    marked : callable
        Returns the TeX of a mark, from a name and from what it stands around.
    """
    longest_first = sorted(symbols.items(), key=lambda item: -len(item[0]))
    simple = {parts: name for parts, name in symbols.items() if not is_difference(parts)}

    def symbol(tokens: list[str]) -> tuple[str, Parts, int] | None:
        """Return the symbol that these begin with: its name, how it is spelled, where it ends."""
        for parts, name in longest_first:
            if end := end_of_symbol(tokens, 0, parts):
                return name, parts, end
        return None

    def read(tokens: list[str]) -> str:
        written, arguments, at = [], 0, 0  # arguments: of a command before, still to come
        while at < len(tokens):
            token, stop = tokens[at], at + 1
            if token.isspace():
                written.append(token)
                at = stop
                continue
            is_argument = arguments > 0
            arguments -= is_argument
            if found := symbol(tokens[at:stop] if is_argument else tokens[at:]):
                name, parts, length = found
                stop = at + length
                text = "".join(tokens[at:stop])
                if is_difference(parts):  # what it is made of is marked too
                    text = mark(text, simple, marked)
                text = marked(name, text)
                written.append(f"{{{text}}}" if is_argument else text)
            elif CLOSED.match(token):
                stop = end_of_group(tokens, skip_blanks(tokens, stop))
                written += tokens[at:stop]
            elif token == "{":
                stop = end_of_group(tokens, at)
                written += ["{", read(tokens[at + 1 : stop - 1]), "}"]
            else:
                arguments = ARGUMENTS.get(token, arguments)
                written.append(token)
            at = stop
        return "".join(written)

    return read(tokens_of(tex))
