import pytest
from sentences import first_sentence, sentences


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One 1.5 two,\nthree.  Four.", "One 1.5 two, three."),
        ("Is it? Yes.", "Is it?"),
        (
            "Norms, e.g. ours, i.e. this (cf. Fig. 2). A.",
            "Norms, e.g. ours, i.e. this (cf. Fig. 2).",
        ),
        ("Known from Santurkar et al. and others.", "Known from Santurkar et al. and others."),
        ("As follows: this.", "As follows: this."),
        ("no end", ""),
        ("", ""),
    ],
)
def test_sentence_ends_where_its_words_do_and_not_within_an_abbreviation(text, sentence):
    assert first_sentence(text) == sentence


def test_sentences_follow_each_other_and_what_has_no_end_is_none():
    assert [*sentences("One, e.g. two. Three?  And")] == ["One, e.g. two.", "Three?"]


def test_ends_can_be_others():
    assert first_sentence("As follows: this.", ".?!:") == "As follows:"
