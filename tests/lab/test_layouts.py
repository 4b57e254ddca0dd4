from itertools import combinations, pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from bn_tutorial.lab import figures, layouts
from bn_tutorial.lab.effects import VERDICTS, compare


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context(figures.STYLE):
        yield
    plt.close("all")


def grid(rows, cols, **subplots):
    """A figure whose panels are named by row and column."""
    figure, axes = figures.new_figure(
        rows, cols, alt="Some panels of lines.", width=7.2, squeeze=False, **subplots
    )
    for (row, col), ax in np.ndenumerate(axes):
        ax.plot([0, 1], [0, 1], label="line")
        ax.set_title(f"{row}{col}")
    return figure, axes


def places(axes):
    """The titles of the panels, row by row from the top, after a drawing."""
    axes.flat[0].figure.draw_without_rendering()
    boxes = {ax.get_title("left"): ax.get_position() for ax in axes.flat}
    tops = sorted({round(box.y1, 2) for box in boxes.values()}, reverse=True)
    rows = [[name for name, box in boxes.items() if round(box.y1, 2) == top] for top in tops]
    return [sorted(row, key=lambda name: boxes[name].x0) for row in rows]


def overhang(figure):
    """The inches by which something sticks out of a figure, at the side where it is most."""
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


def texts_of(ax):
    return [text.get_text() for text in ax.get_yticklabels() if text.get_visible()]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1), [["00"]]),
        ((1, 3), [["00"], ["01"], ["02"]]),
        ((2, 1), [["00"], ["10"]]),
        ((2, 2), [["00"], ["10"], ["01"], ["11"]]),
        ((1, 4), [["00", "01"], ["02", "03"]]),
        ((2, 4), [["00", "10"], ["01", "11"], ["02", "12"], ["03", "13"]]),
    ],
)
def test_panels_stand_below_each_other_column_by_column_and_those_of_a_series_in_twos(
    shape, expected
):
    figure, axes = grid(*shape)
    layouts.narrow(figure)
    assert places(axes) == expected
    assert figure.get_size_inches()[0] == layouts.WIDTH
    assert overhang(figure) < 0.02


@pytest.mark.parametrize(
    ("shape", "height", "ratios", "expected"),
    [
        ((1, 1), 2.0, [1], 2.0),
        ((1, 1), 6.0, [1], layouts.HEIGHT),
        ((1, 3), 2.0, [1], 6.0),
        ((2, 1), 4.0, [1, 3], 1.0 + layouts.HEIGHT),
        ((1, 4), 2.0, [1], 2 * 2.0 / 2**0.5),  # of half the width
        ((2, 4), 4.0, [1, 3], 4 * layouts.HEIGHT / 2**0.5),  # the higher of two decides
    ],
)
def test_figure_is_as_high_as_its_panels_were_up_to_a_bound(shape, height, ratios, expected):
    figure, _ = grid(*shape, height=height, height_ratios=ratios)
    layouts.narrow(figure)
    assert figure.get_size_inches().tolist() == pytest.approx([layouts.WIDTH, expected])


def test_panels_keep_the_ratio_of_their_heights():
    figure, axes = grid(2, 1, height=3.0, height_ratios=[1, 2])
    layouts.narrow(figure)
    figure.draw_without_rendering()
    upper, lower = (ax.get_position().height for ax in axes.flat)
    assert lower / upper == pytest.approx(2, rel=0.05)


def test_letters_of_a_narrow_figure_are_legible_on_a_telephone():
    figure, ax = figures.new_figure(alt="Rows of effects, nothing more.")
    figures.draw_effects(ax, [compare("a - b", [1, 2], [0, 0], unit="points", smallest=1)])
    layouts.narrow(figure)
    shown = 343 / layouts.WIDTH / 72  # pixels to a point, on a screen of 375 and its margins
    texts = [*ax.texts, *ax.get_xticklabels(), ax.xaxis.label]
    assert min(text.get_fontsize() * shown for text in texts) >= 11


@pytest.mark.parametrize("columns", [2, 4])
def test_labels_that_panels_shared_are_repeated_where_no_neighbour_has_them(columns):
    figure, axes = grid(1, columns, sharex=True, sharey=True)
    axes[0, 0].set_ylabel("error")
    layouts.narrow(figure)
    figure.draw_without_rendering()
    first = axes[0, :: columns // 2]
    others = [ax for ax in axes.flat if ax not in first]
    assert [ax.get_ylabel() for ax in first] == ["error", "error"]
    for ax in first:
        assert all(label.get_visible() for label in ax.get_yticklabels())
    for ax in others:
        assert not any(label.get_visible() for label in ax.get_yticklabels())
    *upper, lowest = first
    assert all(label.get_visible() for label in lowest.get_xticklabels())
    assert not any(label.get_visible() for ax in upper for label in ax.get_xticklabels())


def test_labels_of_another_row_are_none_of_a_panels_own():
    figure, axes = grid(2, 4, sharey=True)
    for ax, name in zip(axes[:, 0], ("upper", "lower"), strict=True):
        ax.set_ylabel(name)
    layouts.narrow(figure)
    assert [[ax.get_ylabel() for ax in row] for row in axes] == [["upper"] * 4, ["lower"] * 4]


def test_long_texts_are_broken_and_none_sticks_out():
    figure, axes = grid(1, 2)
    words = "percentage points of test accuracy, of which too few to matter are grey"
    for ax in axes.flat:
        ax.set(title=words, xlabel=words, ylabel="time in moves of one array")
    layouts.narrow(figure)
    assert overhang(figure) < 0.02
    assert axes[0, 0].get_title("left").replace("\n", " ") == words


@pytest.mark.parametrize(
    "name",
    [
        "a name that would take half of the width",
        "BN - GN, standardized weights, deep",
        "normalization - MMMM MMMM, gamma",
    ],
)
@pytest.mark.parametrize("treated", [[3.0, 4.0], [-1.1, -1.3, -0.8, -1.2, -0.9]])
def test_effects_are_named_above_their_rows_and_their_verdicts_stand_there_too(name, treated):
    names = [name, "one - two"]
    effects = [
        compare(name, treated, [0] * len(treated), unit="points", smallest=1) for name in names
    ]
    figure, ax = figures.new_figure(alt="Rows of effects, nothing more.")
    figures.draw_effects(ax, effects)
    layouts.narrow(figure)
    figure.draw_without_rendering()
    assert overhang(figure) < 0.02
    above = {text.get_text().replace("\n", " "): text for text in ax.texts}
    words = VERDICTS[effects[0].verdict].words
    drawn = {name.replace(" - ", " \N{MINUS SIGN} ") for name in names}
    assert {one.strip() for one in above} == {*drawn, words}  # no word is broken
    for text in ax.texts:
        assert text.get_window_extent().y0 > ax.transData.transform((0, text.xy[1]))[1]
    assert not any(label.get_visible() for label in ax.get_yticklabels())
    assert ax.get_window_extent().width > 0.9 * figure.bbox.width  # the bars have all of it
    full = [text for text in ax.texts if not text.get_text().endswith("\n")]
    boxes = [text.get_window_extent() for text in full]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_verdict_stands_in_the_line_of_a_name_that_leaves_room_for_it():
    effects = [compare("gathered - running, share 0.1", [3, 4], [0, 0], unit="points", smallest=1)]
    figure, ax = figures.new_figure(alt="A row of an effect, nothing more.")
    figures.draw_effects(ax, effects)
    layouts.narrow(figure)
    assert "\n" not in ax.texts[0].get_text()


def test_names_of_shared_rows_stand_in_each_panel_in_their_colours():
    figure, axes = grid(1, 2, sharey=True)
    axes[0, 0].set_yticks([0, 1], ["a long name of the first row", "second"])
    for label, color in zip(axes[0, 0].get_yticklabels(), ("blue", "orange"), strict=True):
        label.set_color(figures.COLORS[color])
    layouts.narrow(figure)
    for ax in axes.flat:
        assert [(text.get_text(), text.get_color()) for text in ax.texts] == [
            ("a long name of the first row", figures.COLORS["blue"]),
            ("second", figures.COLORS["orange"]),
        ]


@pytest.mark.parametrize(
    ("letters", "lines"), [(16, 0), (17, 1), (32, 1), (33, 2), (58, 2), (70, 3)]
)
def test_rows_are_as_high_as_the_longest_name_that_stands_above_one(letters, lines):
    figure, axes = grid(1, 1, height=2.0)
    ax = axes[0, 0]
    words = ("four " * 20)[: letters - 1] + "."
    ax.set_yticks([0, 1, 2], [words.replace(" ", "-" if letters <= 32 else " "), "two", "three"])
    ax.set_ylim(-0.5, 2.5)
    layouts.narrow(figure)
    named = 3 * (layouts.ROW + layouts.LINE * (lines - 1)) + 0.6
    assert figure.get_size_inches()[1] == pytest.approx(named if lines else 2.0)
    assert len(ax.texts) == (3 if lines else 0)
    assert ax.get_ylim() == pytest.approx((-0.5, 2.7 if lines else 2.5))  # for the first name
    if lines:
        assert ax.texts[0].get_text().count("\n") == lines - 1
        assert [text.xy for text in ax.texts] == [(0, 0), (0, 1), (0, 2)]


def test_numbers_stay_beside_their_axis():
    figure, axes = grid(1, 1)
    axes[0, 0].set(yscale="log", ylim=(1e-9, 1))
    layouts.narrow(figure)
    assert not axes[0, 0].texts


@pytest.mark.parametrize(
    ("names", "turned"),
    [
        (("clean", "brightness", "contrast", "noise", "blur", "shift", "inversion"), 40),
        (("a", "b", "c"), 0),
    ],
)
def test_names_below_a_panel_are_turned_where_they_run_into_each_other(names, turned):
    figure, ax = figures.new_figure(alt="Points above names.", width=7.2)
    ax.plot(range(len(names)), range(len(names)), "o")
    ax.set_xticks(range(len(names)), names)
    layouts.narrow(figure)
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {turned}
    assert overhang(figure) <= 0


@pytest.mark.parametrize("loc", ["outside upper left", "outside right center"])
@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a label of many words"] * 3])
def test_legend_stands_above_the_panels_within_the_figure(loc, labels):
    figure, axes = grid(1, 2)
    legend = figure.legend([axes[0, 0].lines[0]] * 3, labels, loc=loc, ncols=3)
    layouts.narrow(figure)
    assert legend not in figure.legends
    (legend,) = figure.legends
    figure.draw_without_rendering()
    assert [text.get_text() for text in legend.get_texts()] == labels
    box = legend.get_window_extent()
    assert box.width <= 0.95 * figure.bbox.width
    rows = 1 if labels[0] == "a" else 3
    size = legend.get_texts()[0].get_window_extent().height
    assert rows * size < box.height < (1.5 * rows + 1) * size
    panels = 2 * min(3.6, layouts.HEIGHT)
    assert figure.get_size_inches()[1] == pytest.approx(panels + box.height / figure.dpi, abs=0.05)
    assert legend.get_window_extent().y0 >= axes[0, 0].get_window_extent().y1
    assert overhang(figure) < 0.02


def test_labels_of_lines_are_apart_in_a_panel_that_is_less_high():
    figure, ax = figures.new_figure(alt="Lines that end together.", height=6)
    for number in range(4):
        ax.plot([0, 1], [number, 1], label=f"line {number}")
    figures.label_lines(ax, gap=0.01)
    layouts.narrow(figure)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without the strokes
    boxes.sort(key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))


def boxes(axes):
    """The positions of the panels, row by row from the top, after a drawing."""
    axes.flat[0].figure.draw_without_rendering()
    found = [ax.get_position() for ax in axes.flat]
    tops = sorted({round(box.y1, 2) for box in found}, reverse=True)
    return [[box for box in found if round(box.y1, 2) == top] for top in tops]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2)])
def test_stamp_is_the_first_panel(shape):
    figure, axes = grid(*shape)
    layouts.stamp(figure)
    assert figure.axes == [axes[0, 0]]


def test_stamp_of_a_series_shows_all_of_it():
    figure, axes = grid(2, 4)
    layouts.stamp(figure)
    assert figure.axes == [*axes.flat]
    assert [len(row) for row in boxes(axes)] == [4, 4]
    figure, axes = grid(1, 4)
    layouts.stamp(figure)
    assert [len(row) for row in boxes(axes)] == [2, 2]
    assert len({round(ax.get_position().x0, 2) for ax in axes.flat}) == 2  # a square of panels


def test_stamp_has_no_words_and_the_size_that_the_gallery_shows():
    figure, axes = grid(1, 2, sharex=True)
    ax = axes[0, 0]
    ax.set(xlabel="step", ylabel="error")
    ax.set_title("in the middle", loc="center")
    ax.set_title("right", loc="right")
    ax.text(0, 0, "note")
    ax.legend()
    ax.lines[0].set_markersize(5)
    figures.label_lines(ax)
    figure.supxlabel("below all")
    figure.legend(loc="outside upper left")
    layouts.stamp(figure)
    figure.draw_without_rendering()
    assert (figure.get_size_inches() * 192).tolist() == pytest.approx([400, 280])
    seen = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    labels = {label.get_text() for label in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    assert not {*seen} - labels - {""}
    assert not any(label.get_visible() for label in (*ax.get_xticklabels(), *ax.get_yticklabels()))
    assert not figure.legends
    assert ax.lines[0].get_linewidth() == 1.4 * figures.STYLE["lines.linewidth"]
    assert ax.lines[0].get_markersize() == 1.2 * 5
    assert ax.get_legend() is None
    assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
