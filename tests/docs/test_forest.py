"""One picture of many verdicts: on pages (see measured_pages.py), and as it is drawn."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import forest
import pytest
from bs4 import BeautifulSoup
from measured_pages import KEEP, RATE, SIZE

from bn_tutorial.lab import evidence, figures
from bn_tutorial.lab.effects import VERDICTS, compare

MINUS = "\N{MINUS SIGN}"
LAYOUTS = [forest.WIDE, forest.NARROW]
ROWS = """```{forest}
:unit: points
# First & <foremost>
change_the_rate
# Then
keep_the_rate
```"""
HELPS, NOTHING = {"large": "it <helps>"}, {"tiny": "nothing"}


@pytest.fixture
def site(measured):
    measured.measure(RATE, large=[3.0, 3.1, 3.2], other=[3.0, 3.1, 3.2], claims=HELPS)
    measured.measure(KEEP, tiny=[0.2, 0.2, 0.2], claims=NOTHING)
    measured.page(ROWS)
    return measured


def numbers(*ends, smallest=1.0, unit="points", data="mnist"):
    """An effect whose interval has about these ends."""
    low, high = ends
    middle, spread = (low + high) / 2, (high - low) / 25.412  # by Student's t of two pairs
    treated = [middle - spread, middle + spread]
    return compare("e", treated, [0.0, 0.0], unit=unit, smallest=smallest, data=data)


def row(*ends, words="words", other=None, **options):
    return forest.Row(words, RATE, numbers(*ends, **options), other)


def drawn(*rows, layout=forest.WIDE, cut=None, where=lambda page: f'href="{page}.html"'):
    """Draw rows; return the SVG, which must be sound XML."""
    svg = forest.draw(list(rows), layout, cut, where)
    ET.fromstring(svg)
    return BeautifulSoup(svg, "html.parser").svg


# ---------------------------------------------------------------------------------------------
# On the page
# ---------------------------------------------------------------------------------------------


def test_forest_is_drawn_twice_with_a_row_for_each_claim_and_its_headings(site):
    assert not site.build()
    pictures = site.read().select(".forest-box > svg")
    assert [picture["class"] for picture in pictures] == [
        ["forest", "forest-wide"],
        ["forest", "forest-narrow"],
    ]
    for picture in pictures:
        parts = [text.get_text() for text in picture.select(".heading, .words, .number")]
        first = ["First & <foremost>", "it <helps>", "+3.1 (2.7 to 3.5)"]
        assert parts == [*first, "Then", "nothing", "+0.20 (\N{MINUS SIGN}0.05 to 0.45)"]
        links = [link["href"] for link in picture.select("a")]
        assert links == [f"gallery/{RATE}.html", f"gallery/{KEEP}.html"]


def test_rows_are_in_the_order_of_the_pages_and_of_their_claims_and_of_one_unit(site):
    claims = {"other": "second", "large": "first"}
    site.measure(RATE, large=[3.0, 3.1, 3.2], other=[3.0, 3.1, 3.2], claims=claims)
    more = site.evidence(SIZE, claims={"long": "sooner", "right": "better"})
    more.compare("right", [1, 2, 3], [1, 2, 1], unit="points", smallest=1)
    more.compare("long", [1, 2, 3], [1, 2, 1], unit="steps", smallest=1)
    more.save()
    site.page("```{forest}\n:unit: points\n\nsize, change_the_rate\nkeep_the_rate\n```")
    assert not site.build()
    words = [words.get_text() for words in site.read().select(".forest-wide .words")]
    assert words == ["better", "second", "first", "nothing"]
    site.page("```{forest}\n:unit: steps\n\nsize\n```")
    assert not site.build()
    assert site.read().select_one(".forest-wide .words").get_text() == "sooner"


def test_nothing_has_a_style_of_its_own(site):
    assert not site.build()
    assert "style=" not in str(site.read().select_one(".forest-box"))


def test_link_is_relative_and_on_its_own_page_a_row_is_a_tab_stop(site):
    directive = ".. forest::\n   :unit: points\n\n   change_the_rate, keep_the_rate\n"
    site.write(f"docs/gallery/{RATE}.rst", f"Page\n====\n\n{directive}")
    assert not site.build()
    here, there = site.read(f"gallery/{RATE}").select(".forest-wide .forest-row")
    assert (here.name, here["tabindex"], here.get("href")) == ("g", "0", None)
    assert (there.name, there["href"]) == ("a", "plot_02_keep_the_rate.html")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (":unit: points\n\nkeep_the_rate, size", f"{SIZE} has no claim in points"),
        (":unit: steps\n\nkeep_the_rate", f"{KEEP} has no claim in steps"),
        ("keep_the_rate", f"{KEEP} has no claim in numbers without a unit"),
        (":unit: points\n\nrate", "'rate' names"),
        (":unit: points\n\nkeep_the_rate,", "index is no page of the gallery"),
        (":unit: points\n\n# A heading", "it names no page"),
        (":range: 3 -3\n\nkeep_the_rate", "two ascending numbers, got 3 -3"),
        (":range: 3\n\nkeep_the_rate", "two ascending numbers, got 3"),
        ("", "Content block expected"),
    ],
)
def test_mistake_is_a_warning_with_its_place(site, content, message):
    site.measure(SIZE, small=[0.2, 0.2, 0.2])  # and no claim
    site.page(f"```{{forest}}\n{content}\n```")
    warnings = site.build()
    assert message in warnings
    assert re.search(r"index\.md:[34]: ", warnings)  # an option has its own line


def test_pages_that_are_missing_leave_gaps_while_one_page_is_built(site, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_ONLY", RATE)
    evidence.path_of(KEEP).unlink()
    assert not site.build()
    page = site.read()
    assert [gap.get_text() for gap in page.select(".not-measured")] == [
        "[not measured: keep_the_rate]"
    ]
    assert len(page.select(".forest-wide a")) == 1
    evidence.path_of(RATE).unlink()
    assert not site.build()
    assert len(site.read().select(".not-measured")) == 2
    monkeypatch.delenv("BN_TUTORIAL_ONLY")
    assert f"nothing is saved for '{KEEP}'" in site.build()


def test_other_data_are_drawn_where_they_are_on_record_in_the_same_unit(site):
    (site.docs / "record").mkdir()
    record = site.docs / "record/digits.json"
    site.measure(RATE, data="digits", large=[2.0, 2.1, 2.2])
    other = site.evidence(KEEP, data="digits")
    other.compare("tiny", [1, 2, 3], [1, 2, 1], unit="steps", smallest=1)
    other.save()
    evidence.write_record(evidence.make_record([RATE, KEEP], "2026-01-02"), record)
    site.measure(RATE, large=[3.0, 3.1, 3.2], claims=HELPS)
    site.measure(KEEP, tiny=[0.2, 0.2, 0.2], claims=NOTHING)
    assert not site.build()
    rows = site.read().select(".forest-wide a")
    assert [len(row.select(".hollow")) for row in rows] == [1, 0]
    assert rows[0].title.get_text().endswith(". On the embedded digits: +2.1 (1.7 to 2.5), yes.")


# ---------------------------------------------------------------------------------------------
# As it is drawn
# ---------------------------------------------------------------------------------------------


def test_every_verdict_has_a_mark_as_in_the_figures():
    assert set(forest.MARKS) == set(figures.LOOKS) == set(VERDICTS)
    for one in VERDICTS:
        for other in VERDICTS:
            alike = forest.MARKS[one] == forest.MARKS[other]
            assert alike == (figures.LOOKS[one][1] == figures.LOOKS[other][1])
    assert len(set(figures.LOOKS.values())) == len(VERDICTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_stands_where_its_numbers_are(layout):
    picture = drawn(row(-2.0, 2.0), row(1.0, 5.0), layout=layout, cut=(-6, 6))

    def at(value):  # the axis has a margin of 0.48 at each end
        share = (value + 6.48) / 12.96
        return pytest.approx(layout.left + share * (layout.right - layout.left), abs=0.11)

    first, second = picture.select(".forest-row")
    for found, low, high in ((first, -2, 2), (second, 1, 5)):
        left, right = re.fullmatch(
            r"M([\d.]+) [\d.]+H([\d.]+)", found.select_one(".bar")["d"]
        ).groups()
        assert (float(left), float(right)) == (at(low), at(high))
        assert float(re.search(r"\(([\d.]+) ", found.select_one(".mark")["transform"])[1]) == at(
            (low + high) / 2
        )
        band = found.select_one(".band")
        assert float(band["x"]) == at(-1)
        assert float(band["width"]) == pytest.approx((layout.right - layout.left) * 2 / 12.96, 0.01)
    zero = float(re.match(r"M([\d.]+) ", picture.select_one(".zero")["d"])[1])
    assert zero == at(0)
    assert not picture.select(".arrow")


def test_axis_has_room_for_intervals_what_matters_and_the_other_data():
    axis = forest.axis_for(
        [row(2.0, 3.0), row(2.0, 4.0, other=numbers(8.0, 10.0, data="digits"))], forest.WIDE, None
    )
    assert (axis.low, axis.high) == pytest.approx((-1.4, 9.4))
    nothing = forest.axis_for([row(0.0, 0.0, smallest=0)], forest.WIDE, None)
    assert nothing.low < 0 < nothing.high


@pytest.mark.parametrize(
    ("ends", "points", "marked"),
    [
        ((-2, 2), "", True),
        ((0, 20), "right", True),
        ((-20, 2), "left", False),
        ((-30, 20), "left right", True),
        ((20, 30), "right", False),
        ((-30, -20), "left", False),
    ],
)
def test_row_that_goes_on_has_an_arrow_and_a_mark_only_where_its_estimate_is(ends, points, marked):
    (found,) = drawn(row(*ends), cut=(-6, 12)).select(".forest-row")
    arrows = [re.findall(r"[\d.]+", arrow["d"])[::2] for arrow in found.select(".arrow")]
    tips = {"left": forest.WIDE.left, "right": forest.WIDE.right}
    assert [float(x[1]) for x in arrows] == [tips[side] for side in points.split()]
    for x in arrows:
        assert min(map(float, x)) >= forest.WIDE.left
        assert max(map(float, x)) <= forest.WIDE.right
    assert bool(found.select(".mark")) == marked


def test_hollow_dot_is_the_other_data_and_is_left_out_beyond_the_cut():
    inside, outside = (numbers(x - 1, x + 1, data="digits") for x in (3, 30))
    rows = row(1, 2, other=inside), row(1, 2, other=outside), row(1, 2)
    found = drawn(*rows, cut=(-6, 6)).select(".forest-row")
    assert [len(one.select(".hollow")) for one in found] == [1, 0, 0]
    assert "On the embedded digits: +30.0 (29.0 to 31.0)" in found[1].title.get_text()


def test_row_is_told_once_in_words():
    (found,) = drawn(row(1.2, 2.2, words='a <b> & "c"')).select(".forest-row")
    assert found.title.get_text() == (
        'a <b> & "c": +1.7 (1.2 to 2.2) points, yes. '
        "The 95 % interval allows for other seeds (2 were compared). "
        "A difference matters from 1 point on. The images are MNIST."
    )
    assert not found.has_attr("aria-label")  # which would have to repeat what is seen
    assert found.find(True) == found.title  # the name of its parent, if it comes first


@pytest.mark.parametrize(
    ("count", "other", "label"),
    [
        (1, None, "1 comparison, a link with its estimate, interval and verdict."),
        (2, None, "2 comparisons, each a link with its estimate, interval and verdict."),
        (
            2,
            numbers(1, 2),
            "2 comparisons, each a link with its estimate, interval and verdict, "
            "and the estimate on the other data set.",
        ),
    ],
)
def test_picture_is_a_group_that_says_what_it_holds(count, other, label):
    picture = drawn(forest.Row("heading"), *[row(1, 2, other=other)] * count)
    assert (picture["role"], picture["aria-label"]) == ("group", label)


def test_scale_is_not_read_aloud_and_has_true_signs():
    scale = drawn(row(-3, 3, unit="a < b")).select_one(".tick").parent
    assert scale["aria-hidden"] == "true"
    ticks = [tick.get_text() for tick in scale.select(".tick")]
    assert ticks[-1] == "a < b; to the right of 0 it is as the row says"
    assert "0" in ticks
    assert f"{MINUS}2" in ticks or f"{MINUS}3" in ticks
    assert not any("-" in tick for tick in ticks)
    assert forest.tick_label(-0.0) == "0"


def test_key_says_what_the_signs_mean_that_are_used():
    def signs(*rows, **options):
        return [sign.get_text() for sign in drawn(*rows, **options).select(".sign")]

    assert signs(row(2, 3)) == ["yes", "too small to matter"]
    assert signs(row(2, 3, smallest=0)) == ["yes"]
    found = signs(row(-30, 2), row(1, 2, other=numbers(2, 3, data="digits")), cut=(-6, 6))
    assert found == [
        *("yes, size open", "undecided", "on the embedded digits", "too small to matter"),
        "goes on beyond the axis",
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_line_of_the_grid_crosses_words(layout):
    picture = drawn(row(-2, 2), forest.Row("heading"), row(1, 5), layout=layout)
    words = picture.select(".words, .heading") if layout.above else picture.select(".heading")
    heights = [float(text["y"]) for text in words]
    for line in picture.select(".grid, .zero"):
        for top, long in re.findall(r"M[\d.]+ ([\d.]+)v([\d.]+)", line["d"]):
            assert not [y for y in heights if float(top) < y < float(top) + float(long)]


def test_long_heading_goes_on_in_another_line_on_a_telephone():
    heading = forest.Row("Residual networks, and without normalization")
    lines = [len(drawn(heading, row(1, 2), layout=layout).select(".heading")) for layout in LAYOUTS]
    assert lines == [1, 2]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ticks_do_not_run_together(layout):
    picture = drawn(row(0.026, 0.12, smallest=0.01, unit="nat"), layout=layout)
    ticks = picture.select(".tick")[:-1]
    ends = [(float(t["x"]), 3.5 * len(t.get_text())) for t in ticks]  # half of it, about
    assert all(x + half < y - more for (x, half), (y, more) in pairwise(ends))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_that_is_drawn_lies_within_the_picture(layout):
    picture = drawn(forest.Row("heading"), row(-40, 2), row(1, 50), layout=layout, cut=(-6, 12))
    _, _, width, height = map(float, picture["viewbox"].split())
    assert float(picture["width"]) == width == layout.width
    for part in picture.select("text, rect, circle"):
        moved = re.match(r"translate\((\S+) (\S+)\)", part.parent.get("transform", ""))
        right, down = map(float, moved.groups()) if moved else (0, 0)
        assert 0 <= right + float(part.get("x", 0)) <= width
        assert 0 <= down + float(part.get("y", 0)) <= height
    for one in picture.select(".touch"):
        assert float(one["height"]) >= 24  # easy to hit


@pytest.mark.parametrize(
    ("ends", "kind", "words"),
    [
        ((2, 3), "yes", "yes"),
        ((0.2, 0.4), "small", "yes, but small"),
        ((-3, 3), "undecided", "undecided"),
        ((-2, -0.5), "opposite-size-open", "the opposite, size open"),
    ],
)
def test_row_has_the_class_and_the_words_of_its_verdict(ends, kind, words):
    (found,) = drawn(row(*ends)).select(".forest-row")
    assert found["class"] == ["forest-row", f"verdict-{kind}"]
    assert f"points, {words}. " in found.title.get_text()


def test_on_a_telephone_long_words_do_not_run_into_the_number():
    found = drawn(row(-1.2, 2.2, words="after sigmoids"), layout=forest.NARROW)
    words, number = found.select_one(".words"), found.select_one(".number")
    assert float(number["y"]) - float(words["y"]) >= 16
