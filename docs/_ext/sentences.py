"""The first sentence of a text: what a list, a hint or a preview shows of it."""

from __future__ import annotations

import re

ABBREVIATION = re.compile(r"\b(e\.g|i\.e|cf|vs|et al|eqs?|figs?)\.$", re.IGNORECASE)


def first_sentence(text: str, ends: str = ".?!") -> str:
    """Return it in one line, up to one of these ends; nothing where none stands."""
    text = " ".join(text.split())
    for end in re.finditer(rf"[{ends}](?= |$)", text):
        sentence = text[: end.end()]
        if not ABBREVIATION.search(sentence):
            return sentence
    return ""
