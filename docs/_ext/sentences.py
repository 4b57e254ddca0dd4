"""The sentences of a text: what a list, a hint or a preview shows is the first of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

ABBREVIATION = re.compile(r"\b(e\.g|i\.e|cf|vs|et al|eqs?|figs?)\.$", re.IGNORECASE)


def sentences(text: str, ends: str = ".?!") -> Iterator[str]:
    """Yield each in one line, up to one of these ends; not what stands behind the last."""
    text = " ".join(text.split())
    start = 0
    for end in re.finditer(rf"[{ends}](?= |$)", text):
        sentence = text[start : end.end()]
        if not ABBREVIATION.search(sentence):
            yield sentence
            start = end.end() + 1


def first_sentence(text: str, ends: str = ".?!") -> str:
    """Return the first one, or nothing."""
    return next(sentences(text, ends), "")
