"""The page of findings can be read where it stands: short claims, and more text than markup."""

import re
from pathlib import Path

import pytest

SOURCE = (Path(__file__).parents[2] / "docs/findings.md").read_text(encoding="utf-8")
CLAIMS = [part for part in SOURCE.split("\n\n") if part.startswith('**"')]
MEASURED = re.compile(r"\{(?:effect|finding|value|verdict)\}`[^`]*`")
MOST_WORDS = 60
MOST_MARKUP = 0.25

# What a text has for Sphinx and no reader sees. Of what was measured the name counts as text: it
# stands for what is seen there, the estimate and its chip, and says the same to who writes.
MARKUP = [
    r"```\{forest\}\n(?:(?!# ).*\n)*?(?=# |```)",  # its options, and pages without a heading
    r"(?<=\n)[\w, ]+\n(?=```|# )",  # its pages
    r"(?<=\n)```\n",
    r"\{(?:effect|finding|value|verdict)\}`(?:\w+: )?",  # the role, and the page
    r"(?<=\w):[.+]\w*%?`",  # a format
    r"\{[\w:]+\}`",  # another role,
    r" <[^<>`]+>(?=`)",  # its target,
    r"`",  # and its end
    r"\]\([^()]*\)|\[",  # a link, without its words
    r"(?m)^\([\w-]+\)=$",  # an anchor
    r"(?m)^(?:#+|-) |\*",  # headings, items, emphasis
]


def words(text):
    """The words of a text as they are read, without what was measured and without numbers."""
    text = MEASURED.sub("", text)
    text = re.sub(r"\{\w+(?::\w+)?\}`([^`<]*?)(?: *<[^`]*>)?`", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.findall(r"[^\W\d_][\w'-]*", text)


def without_markup(text):
    """What is left of a source when its markup is taken away."""
    for pattern in MARKUP:
        text = re.sub(pattern, "", text)
    return text


def test_there_are_claims():
    assert len(CLAIMS) > 30


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.split("**")[1])
def test_claim_has_at_most_sixty_words(claim):
    assert len(words(claim)) <= MOST_WORDS


def test_words_are_those_that_are_read():
    text = '**"It helps."** By {finding}`a: b - c` in [two small](x/y_z) {term}`arms <arm>`, 95 %.'
    assert words(text) == ["It", "helps", "By", "in", "two", "small", "arms"]


def test_at_most_a_quarter_of_the_page_is_markup():
    seen = sum(map(len, without_markup(SOURCE).split()))
    assert 1 - seen / sum(map(len, SOURCE.split())) <= MOST_MARKUP


def test_markup_is_what_no_reader_sees():
    text = (
        "(why)=\n## Why it works\n\n```{forest}\n:unit: points\n# With noise\none, other\n```\n\n"
        '**"Noise helps."** By {finding}`one: BN - none` and {value}`one: rate:.2f`; '
        "see [the page](one/page) and {term}`arms <arm>`.\n"
    )
    assert " ".join(without_markup(text).split()) == (
        'Why it works With noise "Noise helps." By BN - none and rate; see the page and arms.'
    )
