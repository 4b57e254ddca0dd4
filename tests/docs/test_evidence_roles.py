"""What was measured, in sentences: see measured_pages.py."""

import os
import re
from pathlib import Path

import evidence_roles
import pytest
from measured_pages import KEEP, RATE, SIZE

from bn_tutorial.lab import evidence as lab
from bn_tutorial.lab import figures
from bn_tutorial.lab.effects import VERDICTS, Outcome, compare

STYLE = Path(__file__).parents[2] / "docs/_static/site.css"
RECORD = Path(__file__).parents[2] / "docs/record"
MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
FACTS = (
    "The 95 % interval allows for other seeds (3 were compared). "
    "A difference matters from 1 point on. Compared after 9 steps. The images are MNIST."
)


@pytest.fixture
def effects(measured):
    """Three pages; two have names that end alike, two have an effect of one name."""
    measured.measure(RATE, large=[3.0, 3.1, 3.2], turned=[-3.0, -3.1, -3.2])
    measured.measure(KEEP, large=[0.2, 0.3, 0.1])
    evidence = measured.evidence(SIZE)
    evidence.note(gap=0.1234, steps=4690, low=-0.5, n=3, title="the <a-b>")
    evidence.save()
    return measured


def shown(site, text, page="index"):
    """Build the home page with a text; return what of it was measured, and the warnings."""
    site.page(text)
    warnings = site.build()
    return site.read(page).select(".measured, .recalled, .not-measured"), warnings


def text_of(part):
    """What is seen at first sight."""
    return part.find(string=True, recursive=False)


# ---------------------------------------------------------------------------------------------
# Effects and verdicts
# ---------------------------------------------------------------------------------------------


def test_effect_is_its_estimate_with_unit_and_leads_to_its_page(effects):
    (effect,), warnings = shown(effects, "By {effect}`change_the_rate: large`.")
    assert not warnings
    assert text_of(effect) == "+3.1 (2.7 to 3.5) points"
    assert effect.name == "a"
    assert effect["href"] == f"gallery/{RATE}.html"


def test_verdict_is_a_chip_that_says_what_it_means(effects):
    (chip,), warnings = shown(effects, "{verdict}`change the rate: turned`")
    assert not warnings
    assert text_of(chip) == "the opposite"
    assert chip["class"] == ["measured", "verdict", "verdict-opposite"]
    meaning = VERDICTS["opposite"].meaning
    estimate = f"{MINUS}3.10 ({MINUS}3.35 to {MINUS}2.85) points"
    assert chip.span.get_text().strip() == f"{meaning} {estimate}. {FACTS}"


def test_finding_is_its_estimate_and_its_chip_in_one_link(effects):
    (finding,), warnings = shown(effects, "By {finding}`change_the_rate: large`.")
    assert not warnings
    assert (finding.name, finding["href"]) == ("a", f"gallery/{RATE}.html")
    effect, chip, facts = finding.find_all("span", recursive=False)
    assert (effect.get_text(), effect["class"]) == ("+3.1 (2.7 to 3.5) points", ["effect"])
    assert (chip.get_text(), chip["class"]) == ("yes", ["verdict", "verdict-yes"])
    assert effect.next_sibling == " "
    assert facts.get_text() == f" {VERDICTS['yes'].meaning} {FACTS}"


def test_facts_are_a_part_of_the_link_and_stand_there_once(effects):
    (effect,), _ = shown(effects, "{effect}`change_the_rate: large`")
    (facts,) = effect.select(".measured-facts")
    assert facts.get_text() == f" {FACTS}"
    assert FACTS not in str(effect).replace(str(facts), "")  # else it would be heard twice


def test_on_its_own_page_it_needs_no_name_and_is_a_tab_stop_without_a_link(effects):
    effects.write(
        f"docs/gallery/{RATE}.rst",
        "Page\n====\n\n:effect:`large`, :verdict:`large`, :finding:`large`\n",
    )
    parts, warnings = shown(effects, "Text.", f"gallery/{RATE}")
    assert not warnings
    assert [text_of(part) for part in parts[:2]] == ["+3.1 (2.7 to 3.5) points", "yes"]
    assert [(part.name, part["tabindex"], part.get("href")) for part in parts] == [
        ("span", "0", None)
    ] * 3


def test_link_is_relative_to_the_page_that_it_stands_on(effects):
    effects.write(f"docs/gallery/{SIZE}.rst", "Page\n====\n\n:effect:`change_the_rate: large`\n")
    (effect,), warnings = shown(effects, "Text.", f"gallery/{SIZE}")
    assert not warnings
    assert effect["href"] == f"../{RATE}.html"


def test_whole_name_of_a_page_and_a_break_of_the_line_are_understood(effects):
    (effect,), warnings = shown(effects, f"{{effect}}`{KEEP}:\nlarge`")
    assert not warnings
    assert effect["href"] == f"gallery/{KEEP}.html"


def test_what_is_shown_is_escaped(measured):
    evidence = measured.evidence(RATE, horizon='2 < 3 & "4"')
    evidence.compare("a", [1.0, 2.0], [1.0, 1.0], unit="<b>", smallest=1, seeds=range(2))
    evidence.save()
    (effect,), warnings = shown(measured, "{effect}`change_the_rate: a`")
    assert not warnings
    assert text_of(effect).endswith(" <b>")
    assert ' after 2 < 3 & "4". ' in effect.span.get_text()


def test_facts_say_all_that_an_effect_rests_on():
    arms = [
        Outcome([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], choice=0.1, choice_freedom=2.0),
        Outcome([1.0, 1.0], [[1.0, 1.0], [0.0, 1.0]]),
    ]
    arms = [Outcome(*map(figures.np.asarray, vars(arm).values())) for arm in arms]
    effect = compare(
        "a", *arms, unit="", smallest=0.25, resolution=0.5, confidence=0.995, data="mnist"
    )
    assert evidence_roles.facts(effect) == (
        "The 99.5 % interval allows for other seeds (2 were compared), other test images "
        "(2 were used) and another choice of the setting. A difference matters from 0.25 on. "
        "Both sides were measured in steps of 0.5. The images are MNIST."
    )
    effect = compare(
        "a", [1.0, 2.0], [1.0, 1.0], unit="points", smallest=0, horizon="before training"
    )
    assert evidence_roles.facts(effect) == (
        "The 95 % interval allows for other seeds (2 were compared). Any difference matters. "
        "Compared before training."
    )


@pytest.mark.parametrize(
    ("number", "unit", "told"),
    [(1, "points", "1 point"), (0.125, "decades", "0.125 decades"), (1, "nat", "1 nat")],
)
def test_one_of_a_unit_is_not_many(number, unit, told):
    assert evidence_roles.amount(number, unit) == told


@pytest.mark.parametrize("name", evidence_roles.TITLES)
def test_data_are_called_what_the_foot_of_a_page_calls_them(name):
    record = lab.read_record(RECORD / f"{name}.json")
    assert evidence_roles.TITLES[name].removeprefix("the ") == record.data["title"]


# ---------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------


def test_value_is_formatted_as_in_an_f_string(effects):
    expected = {
        "size: gap": "0.1234",
        "size: gap:.1%": f"12.3{SPACE}%",
        "size: steps:,": "4,690",
        "size: low:+.2f": f"{MINUS}0.50",
        "size: low:.0e": f"{MINUS}5e{MINUS}01",
        "size: n": "3",  # one letter is no format
        "size: title": "the <a-b>",
        f"{SIZE}: gap:.0%": f"12{SPACE}%",
    }
    values, warnings = shown(effects, "\n".join(f"{{value}}`{asked}`" for asked in expected))
    assert not warnings
    assert [value.get_text() for value in values] == list(expected.values())


def test_value_of_its_own_page_needs_no_name(effects):
    text = "Page\n====\n\n:value:`gap:.1f`, :value:`n`, :value:`steps:\n,`\n"
    effects.write(f"docs/gallery/{SIZE}.rst", text.replace("\n,", ","))
    parts, warnings = shown(effects, "Text.", f"gallery/{SIZE}")
    assert not warnings
    assert [part.get_text() for part in parts] == ["0.1", "3", "4,690"]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(-0.001, ".1f", "0.0"), (-0.0, "", "0.0"), (-0.04, ".1%", f"{MINUS}4.0{SPACE}%")],
)
def test_what_is_rounded_to_zero_has_no_sign(value, form, text):
    assert evidence_roles.formatted(value, form) == text


def test_value_stands_in_a_table(effects):
    (value,), warnings = shown(effects, "| a |\n|---|\n| {value}`size: steps:,` |")
    assert not warnings
    assert value.find_parent("td")


# ---------------------------------------------------------------------------------------------
# What is not there
# ---------------------------------------------------------------------------------------------

UNKNOWN = [
    ("effect", "the_rat: large", "'the_rat' names no page of the gallery, of: 01_a/plot_01"),
    ("effect", "rate: large", f"'rate' names {RATE} and {KEEP}"),
    ("effect", "large", "index is no page of the gallery"),
    ("effect", "vary_size: large", f"{SIZE} has no effect 'large'; it has: none"),
    ("verdict", "keep_the_rate: tiny", f"{KEEP} has no effect 'tiny'; it has: large"),
    ("finding", "keep_the_rate: tiny", f"{KEEP} has no effect 'tiny'; it has: large"),
    ("verdict", "size: a: b", "does not read as: page and then name and then data"),
    ("value", "keep_the_rate: gap", f"{KEEP} has no value 'gap'"),
    ("value", "size: gab", "has no value 'gab'; it has: gap, low, n, steps, title"),
    ("value", "gap:.1f", "index is no page of the gallery"),
    ("effect", "keep_the_rate: large@digits", "there is no record"),
]


def test_unknown_or_ambiguous_name_is_a_warning_with_its_place(effects):
    text = "\n\n".join(f"{{{role}}}`{asked}`" for role, asked, _ in UNKNOWN)
    parts, warnings = shown(effects, text)
    found = warnings.splitlines()
    assert len(found) == len(UNKNOWN)
    for place, (role, asked, message) in enumerate(UNKNOWN):
        assert f"{os.sep}index.md:{3 + 2 * place}" in found[place]
        assert f"{role}: " in found[place]
        assert message in found[place]
        assert parts[place].get_text() == f"[not measured: {asked}]"


def test_page_that_has_saved_nothing_is_a_warning(measured):
    _, warnings = shown(measured, "{value}`size: gap`")
    assert f"run tutorial_src/{SIZE}.py first" in warnings


def test_gap_is_left_while_one_page_is_built_and_found_by_the_next_build(effects, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", RATE)
    (part,), warnings = shown(effects, "{effect}`keep_the_rate: tiny`")
    assert not warnings
    assert part.get_text() == "[not measured: keep_the_rate: tiny]"
    monkeypatch.delenv("BN_TUTORIAL_ONLY")
    assert "has no effect 'tiny'" in effects.build()


@pytest.mark.parametrize("only", ["", RATE])
def test_wrong_format_is_a_warning_always(effects, only, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", only)
    _, warnings = shown(effects, "{value}`size: gap:.1q`")
    assert "value: 0.1234 with the format '.1q': " in warnings


# ---------------------------------------------------------------------------------------------
# The other data
# ---------------------------------------------------------------------------------------------


def write_record(site, data, **arms):
    """Put a build on other data on record, and forget it."""
    path = site.docs / "record" / f"{data}.json"
    path.parent.mkdir(exist_ok=True)
    before = lab.path_of(RATE).read_text()
    site.measure(RATE, data=data, **arms)
    lab.write_record(lab.make_record([RATE], "2026-01-02"), path)
    lab.path_of(RATE).write_text(before)


def test_effect_on_the_other_data_is_from_the_record_and_on_these_from_this_build(effects):
    write_record(effects, "digits", large=[7.0, 7.1, 7.2])
    write_record(effects, "mnist", large=[9.0, 9.1, 9.2])
    text = "{effect}`change_the_rate: large@digits` {effect}`change_the_rate: large @ mnist`"
    (digits, mnist), warnings = shown(effects, text)
    assert not warnings
    assert text_of(digits).startswith("+7.1")
    assert digits.span.get_text().endswith("The images are the embedded digits.")
    assert text_of(mnist).startswith("+3.1")


def test_effect_that_is_not_on_record_is_a_warning_that_names_the_record(effects):
    write_record(effects, "digits", large=[7.0, 7.1, 7.2])
    _, warnings = shown(effects, "{effect}`change_the_rate: turned@digits`")
    assert f"{RATE} on record of digits has no effect 'turned'; it has: large" in warnings


# ---------------------------------------------------------------------------------------------
# The style sheet
# ---------------------------------------------------------------------------------------------


def rules():
    """The selectors of the style sheet with their declarations."""
    style = re.sub(r"/\*.*?\*/", "", STYLE.read_text(), flags=re.DOTALL)
    return [(a.strip(), b) for a, b in re.findall(r"([^{}]+)\{([^{}]*)\}", style)]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("verdict", VERDICTS)
def test_chip_of_every_verdict_has_a_legible_colour_and_a_shape(verdict):
    name = f".verdict-{verdict.replace(' ', '-')}"
    mine = [
        (selector, found)
        for selector, found in rules()
        if re.search(rf"{re.escape(name)}(?![\w-])", selector)
    ]
    colours = {
        "dark" in selector: luminance(found.split("--verdict: ")[1][:7])
        for selector, found in mine
        if "--verdict" in found
    }
    assert (1 + 0.05) / (colours[False] + 0.05) > 4.5
    assert (colours[True] + 0.05) / (luminance(figures.DARK_PAGE) + 0.05) > 4.5
    (shape,) = [found for selector, found in mine if selector.endswith("::before")]
    assert shape.strip().endswith('/ "";')  # which no screen reader reads


def test_facts_are_seen_on_hover_and_by_keyboard():
    seen = [selector for selector, found in rules() if "clip-path: none" in found]
    assert seen == [".measured:is(:hover, :focus-visible) > .measured-facts"]
