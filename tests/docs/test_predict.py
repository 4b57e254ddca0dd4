"""Questions before their answers: see measured_pages.py for the pages that have measured them."""

import json
import re
from pathlib import Path

import evidence_roles
import predict
import pytest
import widget
from measured_pages import RATE, SIZE

from bn_tutorial.lab import evidence as lab
from bn_tutorial.lab.effects import VERDICTS, compare

ROOT = Path(__file__).parents[2]
CONF = """
extensions = ["predict", "evidence_roles", "myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
"""
CHOICE = """```{predict} change_the_rate: turned
:yes: the first
:opposite: the second

It is so. Which one is better?

yes
: Because it is first.

opposite or undecided
: Because it is second, by {effect}`change_the_rate: turned`.
```"""
CURVE = """Page
====

.. predict:: at {1, 2, 3}
   :scale: -4 4 0.5
   :axis: a minus b
   :row: rate

   How much?

   1: yes, 3: yes
      It stays.

   1: yes, 3: opposite
      It turns.
"""
EXERCISE = """```{predict} n + 1
:solved:
:scale: 0 40 1
:axis: seeds

How many?
```

```{code-block} python
```

```{code-cell} python
---
mystnb:
  code_prompt_show: Solution, executed
tags: [hide-cell]
---
n = 12
print(n)
```
"""


@pytest.fixture
def site(measured):
    measured.write("docs/conf.py", CONF)
    measured.measure(RATE, turned=[-3.0, -3.1, -3.2])
    points = {"at 1": [3.0, 3.1, 3.2], "at 2": [0.2, 0.1, 0.3], "at 3": [-3.0, -3.1, -3.2]}
    evidence = measured.evidence(SIZE)
    for name, treated in points.items():
        evidence.compare(name, treated, [0.0, 0.1, -0.1], unit="points", smallest=1.0)
    evidence.save()
    return measured


def shown(site, text):
    """Build the home page with a text; return its questions, and the warnings."""
    site.page(text)
    warnings = site.build()
    return site.read().select(".bn-predict"), warnings


def data_of(box):
    return json.loads(box.script.get_text())


def js(expression, **values):
    return predict.interpreter().evaljs(f"bnWidgets.{expression}", **values)


# ---------------------------------------------------------------------------------------------
# What came out
# ---------------------------------------------------------------------------------------------


def test_question_offers_four_verdicts_and_only_what_came_out_is_explained(site):
    (box,), warnings = shown(site, CHOICE)
    assert not warnings
    assert box.p.get_text() == "Predict, before you read on. It is so. Which one is better?"
    answer = box.details.get_text()
    estimate = "\N{MINUS SIGN}3.10 (\N{MINUS SIGN}3.35 to \N{MINUS SIGN}2.85) points"
    assert f"The second. Turned: {estimate}" in answer  # also without the question
    assert "Because it is second, by \N{MINUS SIGN}3.10" in answer
    assert "Because it is first" not in answer
    assert box.details.select_one(f'a[href="gallery/{RATE}.html"] .verdict-opposite')
    assert "open" not in box.details.attrs
    labels = [" ".join(label.get_text().split()) for label in box.select("form label")]
    assert labels == [
        "the first",
        "no difference that matters",
        "the second",
        "these runs cannot tell",
    ]
    data = data_of(box)
    assert (data["right"], data["came"]) == (["opposite"], "the second")


@pytest.mark.parametrize(
    ("treated", "came"),
    [
        ([3.0, 3.1, 3.2], "A"),
        ([1.0, 1.3, 0.8], "A, and whether that matters is open"),
        ([-0.3, -0.3, -0.4], "B, but too little to matter"),
        ([0.0, 0.0, 0.1], "no difference that matters"),
        ([5.0, -5.0, 0.0], "these runs cannot tell"),
    ],
)
def test_what_came_out_is_said_in_the_words_of_the_choices(treated, came):
    one = compare("a", treated, [0.0, 0.1, -0.1], unit="points", smallest=1.0)
    told = predict.options_of(one, predict.WORDS | {"yes": "A", "opposite": "B"})
    assert told["came"] == came


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_predicted_by_one_choice_and_a_small_effect_by_two(verdict):
    right = [name for name, verdicts in predict.OUTCOMES.items() if verdict in verdicts]
    assert len(right) == (2 if "small" in verdict else 1)


def test_outcome_that_nothing_is_said_for_is_shown_without_a_reason(site):
    site.measure(RATE, turned=[0.2, 0.1, 0.3])
    (box,), warnings = shown(site, CHOICE)
    assert not warnings
    assert box.select_one(".bn-answer").get_text().rstrip().endswith(predict.OTHER)


def test_curve_is_of_the_effects_of_its_own_page_and_the_first_term_that_holds_is_said(site):
    site.write(f"docs/gallery/{SIZE}.rst", CURVE)
    _, warnings = shown(site, "Text.")
    assert not warnings
    (box,) = site.read(f"gallery/{SIZE}").select(".bn-predict")
    assert box.details.p.get_text() == "A minus b:"
    assert [row.get_text()[:8] for row in box.select("details li")] == [
        "rate 1: ",
        "rate 2: ",
        "rate 3: ",
    ]
    assert "It turns." in box.details.get_text()
    assert "It stays." not in box.details.get_text()
    data, effects = data_of(box), lab.recall(SIZE).effects
    assert [(p["label"], p["mean"], p["low"], p["high"]) for p in data["points"]] == [
        (f"rate {i}", e.mean, e.low, e.high)
        for i, e in ((i, effects[f"at {i}"]) for i in (1, 2, 3))
    ]
    assert (data["low"], data["high"], data["step"], data["tolerance"]) == (-4, 4, 0.5, 0.8)
    rows = [item.get_text().split(":")[0] for item in box.select("details li")]
    assert rows == ["rate 1", "rate 2", "rate 3"]
    assert [i["aria-valuetext"] for i in box.select("input")] == ["0.0 points"] * 3


@pytest.mark.parametrize(
    ("term", "holds"),
    [
        ("yes", False),
        ("yes or none", True),
        ("small", True),
        (" opposite  or small", True),
        ("opposite or undecided", False),
    ],
)
def test_term_holds_for_each_of_its_verdicts(term, holds):
    verdict = {"": "small"}
    assert predict.holds(term, {"": "opposite small"} if term == "yes" else verdict) == holds


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("4: yes", "'4: yes' is about none of: 2, 8"),
        ("yes", "'yes' is about none of"),
        ("2: yes, 8: larger", "'larger' in '2: yes, 8: larger' is no verdict, expected one of yes"),
    ],
)
def test_term_that_means_nothing_is_refused(term, message):
    with pytest.raises(ValueError, match=message):
        predict.chosen(["2: yes", term], {"2": "yes", "8": "none"})


@pytest.mark.parametrize("argument", ["0 8", "8 0 1", "0 8 0", "0 8 3", "a b c"])
def test_scale_that_cannot_be_drawn_is_refused(argument):
    with pytest.raises(ValueError, match=r"expected two|whole number|could not convert"):
        predict.scale(argument)


def test_question_that_cannot_be_asked_is_a_warning(site):
    site.measure(RATE, turned=[-3.0, -3.1, -3.2], large=[3.0, 3.1, 3.2])
    wrong = {
        "a curve needs a scale": ("rate: turned", "rate: {turned, large}"),
        "the option 'yes' is missing, or a scale": (":yes: the first\n", ""),
        "the option 'axis' is missing": (":yes: the first", ":scale: 0 8 1"),
        "has no effect 'straight'": ("rate: turned", "rate: straight"),
        "expected a question, and then a list": (CHOICE.split("?")[1], "\n```"),
    }
    _, warnings = shown(site, "\n\n".join(CHOICE.replace(*change, 1) for change in wrong.values()))
    assert [message for message in wrong if message not in warnings] == []


def test_missing_effect_is_a_gap_while_one_page_is_built(site, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", SIZE)
    boxes, warnings = shown(site, CHOICE.replace("turned", "straight"))
    assert not boxes
    assert not warnings
    assert "change_the_rate: straight" in site.read().select_one(".not-measured").get_text()


# ---------------------------------------------------------------------------------------------
# Exercises
# ---------------------------------------------------------------------------------------------


def test_answer_of_an_exercise_is_what_its_solution_computes(site):
    (box,), warnings = shown(site, EXERCISE)
    assert warnings.count("WARNING") == warnings.count("type: 'code-cell'")  # MyST-NB's
    data = data_of(box)
    assert data["points"][0]["mean"] == 13
    assert box.details is None
    right = [
        value
        for value in range(41)
        if js("numbersOf('predict', {guess: [dukpy.v]}, dukpy.d)", v=value, d=data)["right"]
    ]
    assert right == [13]


def test_exercise_without_a_solution_below_it_is_refused():
    with pytest.raises(ValueError, match=r"no executed solution follows 'n \+ 1'"):
        predict.solved("n + 1", EXERCISE.split("```{code-cell}")[0])


# ---------------------------------------------------------------------------------------------
# What the script makes of it
# ---------------------------------------------------------------------------------------------


def effect(mean, half):
    return compare("a", [mean - half, mean, mean + half], [0.0] * 3, unit="points", smallest=1.0)


def test_point_is_right_in_the_interval_or_within_a_tenth_of_the_scale():
    narrow, wide = effect(10, 0.01), effect(30, 8)
    data = predict.points_of({"a": narrow, "b": wide}, predict.scale("0 80 1"), "points")
    assert wide.low < 30 - 2 * data["tolerance"]
    for i, one in enumerate((narrow, wide)):
        for value in range(81):
            guess = [10, 30]
            guess[i] = value
            found = js("numbersOf('predict', {guess: dukpy.g}, dukpy.d)", g=guess, d=data)
            right = one.low <= value <= one.high or abs(value - one.mean) <= 8
            assert found["near"][i] == right
            assert found["right"] == right


@pytest.mark.parametrize("sign", [1, -1])
def test_point_of_the_other_sign_is_wrong_however_near_it_is(sign):
    data = predict.points_of({"": effect(3 * sign, 1)}, predict.scale("-40 40 1"), "points")
    for value in range(-5, 6):
        found = js("numbersOf('predict', {guess: [dukpy.v]}, dukpy.d)", v=sign * value, d=data)
        assert found["right"] == (value >= 0)
        said = js("saidOf('predict', {guess: [dukpy.v], told: true}, dukpy.d)", v=value, d=data)
        assert ("with the other sign" in said) == (value * sign < 0)
        assert ("on the spot" in said) == (value == 3 * sign)


def test_form_holds_no_answer_before_it_is_given_and_no_code():
    data = predict.points_of({"": effect(31, 0.1)}, predict.scale("0 80 1"), "a < b")
    html = predict.first_view(data)
    assert "31" not in html
    assert "a &lt; b" in html
    assert not re.search(r"NaN|undefined|null|Infinity|\[object|\son\w+=|style=|<script", html)


def test_script_needs_no_network_and_names_one_place_to_keep_things():
    source = (widget.SCRIPTS / "predict.js").read_text()
    assert set(re.findall(r"localStorage\.\w+\((\w+)", source)) == {"KEPT"}
    assert "cookie" not in source


# ---------------------------------------------------------------------------------------------
# The list
# ---------------------------------------------------------------------------------------------


def test_list_leads_to_each_question_and_leaves_out_exercises(site):
    site.write(f"docs/gallery/{SIZE}.rst", CURVE)
    _, warnings = shown(site, f"{CHOICE}\n\n```{{predictions}}\n:list:\n```")
    assert not warnings
    page = site.read()
    links = page.select(".bn-progress li a")
    asked = [item.get_text().strip() for item in page.select(".bn-progress li")]
    assert asked == ["Page: How much?", "Home: Which one is better?"]
    for link in links:
        name, _, anchor = link["href"].rpartition("#")
        assert site.read(name.removesuffix(".html") or "index").find(id=anchor)
    keys = json.loads(page.select_one(".bn-progress")["data-questions"])
    assert [mark["data-key"] for mark in page.select("[data-key]")] == keys
    assert data_of(page.select_one(".bn-predict"))["key"] == keys[1]
    assert "2 questions" in page.select_one(".bn-progress p").get_text()


def test_count_leads_to_the_list_where_it_stands_alone(site):
    site.write(f"docs/gallery/{SIZE}.rst", "Page\n====\n\n.. predictions::\n")
    shown(site, f"{CHOICE}\n\n```{{predictions}}\n:list:\n```")
    link = site.read(f"gallery/{SIZE}").select_one(".bn-progress p a")
    assert link.get_text() == "1 questions"
    page, _, anchor = link["href"].partition("#")
    assert page.endswith("index.html")
    assert site.read().select_one(".bn-progress")["id"] == anchor


def test_what_gives_the_answer_behind_a_question_is_marked_and_nothing_else(site):
    after = "**In short.** So it is.\n\n:::{container} lead-figure\nA figure\n:::\n\nMore."
    (_,), warnings = shown(site, f"Before.\n\n{CHOICE}\n\n{after}")
    assert not warnings
    marked = [part.get_text().strip() for part in site.read().select(".bn-settles")]
    assert marked == ["In short. So it is.", "A figure"]
    shown(site, f"{CHOICE}\n\nNothing in short.")
    assert site.read().select(".bn-settles") == []


def test_pages_with_a_question_or_the_count_load_the_scripts_and_no_other(site):
    site.write(f"docs/gallery/{SIZE}.rst", "Page\n====\n\n.. predictions::\n")
    shown(site, CHOICE)
    for page, loads in (("index", True), (f"gallery/{SIZE}", True), (f"gallery/{RATE}", False)):
        names = [
            Path(script["src"].split("?")[0]).stem
            for script in site.read(page).select("script[src]")
        ]
        assert (names[-2:] == ["core", "predict"]) == loads, page


# ---------------------------------------------------------------------------------------------
# The questions of this site
# ---------------------------------------------------------------------------------------------

IN_SCRIPTS = re.compile(r"^\.\. predict:: .+\n(?:(?: {3}.*)?\n)+", re.MULTILINE)
IN_PAGES = re.compile(r"^```\{predict\} (.+)\n(?!:solved:)((?:.*\n)*?)```$", re.MULTILINE)


def questions():
    """The sources of all questions that effects answer: (page of the effect, directive)."""
    for path in sorted((ROOT / "tutorial_src").glob("*/*.py")):
        page = path.relative_to(ROOT / "tutorial_src").with_suffix("").as_posix()
        for found in IN_SCRIPTS.findall(path.read_text(encoding="utf-8")):
            yield page, found
    for path in sorted((ROOT / "docs").glob("**/*.md")):
        if "_build" in path.parts:
            continue
        for name, body in IN_PAGES.findall(path.read_text(encoding="utf-8")):
            short, _, own = name.partition(": ")
            page = evidence_roles.page_named(short, ROOT / "docs", "")
            text = re.sub(r"^: ", "   ", body, flags=re.MULTILINE)
            yield page, f".. predict:: {own}\n" + re.sub("^(?=.)", "   ", text, flags=re.MULTILINE)


QUESTIONS = list(questions())


@pytest.mark.parametrize("data", ["mnist", "digits"])
@pytest.mark.parametrize(
    "question", QUESTIONS, ids=lambda question: question[1][12:60].split("\n")[0]
)
def test_something_is_said_for_what_came_out_on_either_data_set(question, data):
    page, source = question
    record = lab.read_record(ROOT / "docs" / "record" / f"{data}.json")
    told = predict.in_words(source, record.effects[page])
    assert predict.OTHER not in told
    assert "tempting" in told or "If steadiness" in told


def test_who_takes_a_question_along_is_told_where_nothing_is_said_for_what_came_out():
    effects = {
        "a - b": compare("a - b", [9.0, 9.1, 9.2], [0.0, 0.1, 0.1], unit="points", smallest=1)
    }
    head = ".. predict:: a - b\n   :yes: a\n   :opposite: b\n\n"
    source = f"{head}   Which?\n\n   opposite\n      Because."
    told = predict.in_words(source, effects)
    assert told.endswith(predict.OTHER)
    assert "Because" not in told


def test_there_are_twelve_of_three_kinds():
    kinds = ["curve" if "{" in q.splitlines()[0] else ":scale:" in q for _, q in QUESTIONS]
    assert len(kinds) == 12
    assert min(map(kinds.count, ("curve", True, False))) >= 3
