from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from scipy.spatial import ConvexHull

from bn_tutorial.lab import figures
from bn_tutorial.lab.effects import VERDICTS, compare


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def luminance(colour):
    """Relative luminance as WCAG defines it."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", figures.COLORS)
def test_colour_stands_out_on_a_light_page_and_its_partner_on_a_dark_one(name):
    colour = figures.COLORS[name]
    assert contrast(colour, figures.LIGHT_PAGE) >= 3
    assert contrast(figures.DARK[colour], figures.DARK_PAGE) >= 3


@pytest.mark.parametrize("colour", [figures.INK, figures.AXIS, "#000000"])
def test_text_is_legible_in_light_and_dark(colour):
    assert contrast(colour, figures.LIGHT_PAGE) >= 4.5
    assert contrast(figures.DARK[colour], figures.DARK_PAGE) >= 4.5


@pytest.mark.parametrize("partner", [lambda colour: colour, figures.DARK.get])
def test_no_two_colours_look_alike_in_greyscale(partner):
    values = sorted(luminance(partner(colour)) for colour in figures.COLORS.values())
    steps = [(b + 0.05) / (a + 0.05) for a, b in pairwise(values)]
    assert min(steps) > 1.15, steps


def test_every_colour_has_a_line_style_and_a_marker_of_its_own():
    for cues in (figures.LINE_STYLES, figures.MARKERS):
        assert list(cues) == list(figures.COLORS)
        assert len(set(cues.values())) == len(cues)


def test_every_colour_of_the_style_has_a_dark_partner():
    colours = {value for value in figures.STYLE.values() if str(value).startswith("#")}
    assert colours <= set(figures.DARK)


def test_default_cycle_changes_the_line_style_with_the_colour():
    _, axes = figures.new_figure(alt="Two rising lines.")
    first, second = axes.plot([0, 1], np.eye(2))
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_new_figure_keeps_its_description_on_one_line():
    figure, _ = figures.new_figure(alt="A line that rises,\n    and then falls.")
    assert figures.alt_text(figure) == "A line that rises, and then falls."


def test_new_figure_has_constrained_layout_and_is_known_to_pyplot():
    figure, axes = figures.new_figure(2, 3, alt="Six empty panels.", sharex=True)
    assert axes.shape == (2, 3)
    assert figure.get_layout_engine().__class__.__name__ == "ConstrainedLayoutEngine"
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize(
    ("grid", "given", "expected"),
    [
        ((1, 1), {}, (6.4, 3.6)),
        ((1, 2), {}, (6.4, 3.2)),
        ((1, 3), {"width": 7.2}, (7.2, 2.4)),
        ((2, 3), {"width": 7.2}, (7.2, 4.8)),
        ((3, 1), {}, (6.4, 10.8)),
        ((2, 2), {"width": 7.0, "height": 2.0}, (7.0, 2.0)),
    ],
)
def test_axes_are_as_high_as_wide_up_to_a_bound_unless_a_height_is_given(grid, given, expected):
    figure, _ = figures.new_figure(*grid, alt="Some empty panels.", **given)
    assert figure.get_size_inches().tolist() == pytest.approx(expected)


def test_three_words_and_what_only_looks_like_a_file_describe_a_figure():
    for alt in ("A rising line", "The file plot.py draws a line."):
        assert figures.alt_text(figures.new_figure(alt=alt)[0]) == alt


def test_text_of_a_figure_is_as_large_as_the_text_beside_it_and_no_part_much_smaller():
    figure, ax = figures.new_figure(alt="A line with all its texts.")
    with mpl.rc_context(figures.STYLE):
        ax.plot([0, 1], [0, 1], label="line")
        title, label, legend = ax.set_title("title"), ax.set_xlabel("label"), ax.legend()
        overall, note = figure.suptitle("overall"), ax.text(0, 0, "note")
    points = note.get_fontsize()
    assert points * figure.dpi / 72 == 16  # pixels
    assert title.get_fontsize() == label.get_fontsize() == points
    for text in (*ax.get_xticklabels(), *ax.get_yticklabels(), *legend.get_texts()):
        assert points - 1 <= text.get_fontsize() < points
    assert points < overall.get_fontsize() <= points + 1


def test_nothing_frames_the_axes_and_the_grid_lies_below_the_data():
    figure, ax = figures.new_figure(alt="A line over a grid.")
    with mpl.rc_context(figures.STYLE):
        (line,) = ax.plot([0, 1], [0, 1], label="line")
        legend = ax.legend()
    figure.canvas.draw()
    visible = {side for side, spine in ax.spines.items() if spine.get_visible()}
    assert visible == {"left", "bottom"}
    assert not legend.get_frame_on()
    assert all(grid.get_visible() for grid in ax.get_xgridlines() + ax.get_ygridlines())
    assert ax.xaxis.get_zorder() < line.get_zorder()
    assert to_hex(figure.get_facecolor()) == figures.LIGHT_PAGE


def test_new_figure_changes_no_global_setting():
    before = dict(mpl.rcParams)
    figures.new_figure(alt="An empty panel, nothing more.")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "alt",
    ["", "  \n", "figure", "two words", "sphx_glr_plot_01_001"]
    + [f"a b c.{ending}" for ending in ("png", "PNG", "svg", "jpg", "jpeg", "gif", "pdf", "py")],
)
def test_new_figure_refuses_what_describes_nothing(alt):
    with pytest.raises(ValueError, match="a sentence that says what it shows"):
        figures.new_figure(alt=alt)


def test_alt_text_of_a_foreign_figure_is_an_error():
    with pytest.raises(ValueError, match="new_figure"):
        figures.alt_text(plt.figure())


# ---------------------------------------------------------------------------------------------
# What is drawn
# ---------------------------------------------------------------------------------------------


def test_points_of_a_spread_are_marked_unless_it_is_said_otherwise():
    _, ax = figures.new_figure(alt="A curve with its spread.")
    figures.draw_spread(ax, [1, 2], np.eye(2), color="blue", label="runs")
    assert ax.lines[0].get_marker() == figures.MARKERS["blue"]


@pytest.mark.parametrize("marker", [True, False])
def test_spread_is_the_mean_as_a_line_and_the_range_as_a_band(marker):
    _, ax = figures.new_figure(alt="A curve with its spread.")
    runs = [[1.0, 5.0, 2.0], [3.0, 4.0, 8.0], [5.0, 0.0, 2.0]]
    figures.draw_spread(ax, [10, 20, 30], runs, color="pink", label="runs", marker=marker)
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_xydata().tolist() == [[10, 3], [20, 3], [30, 4]]
    edge = {tuple(point) for point in band.get_paths()[0].vertices}
    assert edge == {(10, 1), (10, 5), (20, 0), (20, 5), (30, 2), (30, 8)}
    assert line.get_color() == figures.COLORS["pink"]
    assert line.get_linestyle() == ":"
    assert line.get_marker() == (figures.MARKERS["pink"] if marker else "None")
    assert to_hex(band.get_facecolor()[0]) == figures.COLORS["pink"]
    assert 0.1 < band.get_alpha() < 0.4  # two bands over each other are still told apart
    assert ax.get_legend_handles_labels()[1] == ["runs"]


SHAPE = (3, 4, 5)  # samples, channels, pixels
SAMPLE, CHANNEL, PIXEL = np.indices(SHAPE)


def block(pooled):
    """Draw a block; return the corners of its faces, shape (faces, 4, 2), and which are marked."""
    _, ax = figures.new_figure(alt="A block of numbers.")
    figures.draw_pooled(ax, pooled)
    marked = np.array([face.get_hatch() is not None for face in ax.patches])
    orange = [to_hex(face.get_facecolor()) == figures.COLORS["orange"] for face in ax.patches]
    assert marked.tolist() == orange  # the hatch says it to who sees no colours
    return np.array([face.get_xy()[:4] for face in ax.patches]), marked


def area(faces):
    x, y = np.moveaxis(faces, -1, 0)
    following = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
    return np.abs((x * following[1] - following[0] * y).sum(axis=-1)) / 2


def test_faces_of_a_block_fill_its_outline_without_a_gap():
    n, c, s = SHAPE
    faces, marked = block(np.zeros(SHAPE, dtype=bool))
    assert len(faces) == n * c + n * s + c * s
    assert not marked.any()
    outline = ConvexHull(faces.reshape(-1, 2))
    assert len(outline.vertices) == 6  # of a box that is seen from above and from the right
    assert area(faces).sum() == pytest.approx(outline.volume)  # in two dimensions, the area
    # Faces that overlapped, and so left a gap elsewhere, would have a corner inside another.
    assert len(np.unique(faces.mean(axis=1).round(6), axis=0)) == len(faces)
    assert (area(faces)[-c * s :] == 1).all()  # the front is not distorted


@pytest.mark.parametrize(
    ("pooled", "count"),
    [
        (SAMPLE == 0, 4 * 5 + 4 + 5),  # the front, and its edges on the other sides
        (CHANNEL == 3, 3 * 5 + 3 + 5),  # the right side
        (PIXEL == 4, 3 * 4 + 3 + 4),  # the top
        ((SAMPLE > 0) & (CHANNEL < 3) & (PIXEL < 4), 0),  # all that is inside
    ],
)
def test_numbers_that_share_a_mean_are_marked_on_every_side_that_shows_them(pooled, count):
    _, marked = block(pooled)
    assert marked.sum() == count


@pytest.mark.parametrize(
    ("number", "count", "corner"),
    [
        ((0, 0, 0), 1, (0, 0)),
        ((0, 3, 0), 2, (4, 0)),
        ((0, 0, 4), 2, (0, 5)),
        ((0, 3, 4), 3, (4, 5)),  # where the three sides meet
        ((2, 3, 4), 2, None),  # the farthest, at the upper right
    ],
)
def test_samples_go_into_the_depth_channels_to_the_right_and_pixels_upwards(number, count, corner):
    pooled = np.zeros(SHAPE, dtype=bool)
    pooled[number] = True
    faces, marked = block(pooled)
    touching = np.isclose(faces, corner or faces.max(axis=(0, 1))).all(axis=2).any(axis=1)
    assert marked.sum() == count
    assert touching[marked].all()


def test_each_direction_of_a_block_is_named_beside_it_in_legible_letters():
    _, ax = figures.new_figure(alt="A block of numbers.")
    figures.draw_pooled(ax, np.zeros(SHAPE, dtype=bool))
    named = {text.get_text(): text for text in ax.texts}
    assert set(named) == {"samples", "channels", "pixels"}
    (size,) = {text.get_fontsize() for text in ax.texts}
    assert 10 <= size <= 12
    corners = np.concatenate([face.get_xy() for face in ax.patches])
    (left, bottom), right = corners.min(axis=0), corners[:, 0].max()
    x, y = named["channels"].get_position()
    assert (x, y < bottom) == (SHAPE[1] / 2, True)
    x, y = named["pixels"].get_position()
    assert (x < left, y) == (True, SHAPE[2] / 2)
    x, y = named["samples"].get_position()
    assert SHAPE[1] < x < right + 0.3
    assert bottom - 0.3 < y < bottom + 1
    assert not ax.axison


def labels_of(ax):
    """The labels of lines, by what they say."""
    return {text.get_text(): text for text in ax.texts}


def test_label_of_a_line_stands_beside_its_end_and_a_stroke_in_its_colour_leads_there():
    _, ax = figures.new_figure(alt="Two rising lines.")
    ax.plot([0, 1, 2], [0, 1, 4], label="long")
    ax.plot([0, 1, np.nan], [0, 1, 2], label="short", color=figures.COLORS["pink"])
    ax.plot([0, 1], [1, 1])  # without a label
    ax.set(xlim=(0, 2), ylim=(0, 4))
    figures.label_lines(ax)
    found = labels_of(ax)
    assert set(found) == {"long", "short"}
    assert found["long"].xy == pytest.approx((1, 1))
    assert found["short"].xy == pytest.approx((0.5, 0.25))
    for text, height in ((found["long"], 1), (found["short"], 0.25)):
        assert text.get_position()[0] > 1
        assert text.get_position()[1] == pytest.approx(height)
        assert to_hex(text.get_color()) == to_hex(plt.rcParams["text.color"])  # legible
    assert to_hex(found["short"].arrow_patch.get_edgecolor()) == figures.COLORS["pink"]


@pytest.mark.parametrize("ends", [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.49], [0.1, 0.95, 0.99]])
def test_labels_are_apart_in_the_order_of_their_lines_and_within_the_axes(ends):
    _, ax = figures.new_figure(alt="Three flat lines.")
    for number, end in enumerate(ends):
        ax.plot([0, 1], [end, end], label=f"line {number}")
    ax.set_ylim(0, 1)
    figures.label_lines(ax, gap=0.1)
    found = labels_of(ax)
    heights = [found[f"line {number}"].get_position()[1] for number in range(3)]
    by_height = sorted(heights)
    assert np.diff(by_height).min() >= 0.1 - 1e-9
    assert by_height[0] >= 0
    assert by_height[-1] <= 1 + 1e-9
    assert [ends[i] for i in np.argsort(heights)] == sorted(ends)


def test_line_that_leaves_the_axes_or_was_never_there_is_labelled_at_their_edge():
    _, ax = figures.new_figure(alt="Lines that leave the axes.")
    ax.set(yscale="log", ylim=(1e-3, 1), xlim=(0, 1))
    ax.plot([0, 1], [1, 1e-9], label="falls")
    ax.plot([0, 1], [1, 0], label="is zero in the end")
    ax.plot([0, 1], [np.nan, np.inf], label="diverged")
    ax.axhline(0.1, label="level")
    figures.label_lines(ax)
    found = labels_of(ax)
    heights = {name: text.get_position()[1] for name, text in found.items()}
    assert heights.pop("level") == pytest.approx(2 / 3)
    assert found["level"].xy[0] == pytest.approx(1)
    assert sorted(heights.values()) == pytest.approx([0, 0.06, 0.12])


def test_labels_count_with_limits_that_matplotlib_has_put_off():
    _, ax = figures.new_figure(alt="One rising line.")
    ax.plot([0, 10], [0, 50], label="line")
    figures.label_lines(ax)
    (text,) = ax.texts
    assert text.xy == pytest.approx((21 / 22, 21 / 22))  # a margin of 5 % at each end


# ---------------------------------------------------------------------------------------------
# Effects
# ---------------------------------------------------------------------------------------------


def effect(middle, spread, *, smallest=1.0, unit="points", name="a - b"):
    treated = [middle - spread, middle + spread]
    return compare(name, treated, [0.0, 0.0], unit=unit, smallest=smallest)


def test_effects_are_rows_from_top_to_bottom_of_interval_and_estimate():
    effects = [effect(3, 0.1, name="first"), effect(0, 0.01), effect(-3, 1, smallest=0.5)]
    _, ax = figures.new_figure(alt="Three rows of effects.")
    figures.draw_effects(ax, effects)
    bars, points, (zero,) = ax.lines[0:6:2], ax.lines[1:6:2], ax.lines[6:]
    for row, (one, bar, point) in enumerate(zip(effects, bars, points, strict=True)):
        assert bar.get_xydata().tolist() == [[one.low, row], [one.high, row]]
        assert point.get_xydata().tolist() == [[one.mean, row]]
        color, marker = figures.LOOKS[one.verdict]
        assert bar.get_color() == point.get_color() == figures.COLORS[color]
        assert point.get_marker() == marker
    assert set(zero.get_xdata()) == {0}
    bands = [(band.get_x(), band.get_y(), band.get_width()) for band in ax.patches]
    assert bands == [(-1, -0.5, 2), (-1, 0.5, 2), (-0.5, 1.5, 1)]
    assert ax.get_ylim() == (2.5, -0.5)
    minus = "a \N{MINUS SIGN} b"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", minus, minus]
    words = [(text.get_text(), text.xy[1]) for text in ax.texts]
    assert words == [(VERDICTS[one.verdict].words, row) for row, one in enumerate(effects)]
    assert ax.get_xlabel() == "points"
    low, high = ax.get_xlim()
    assert low < min(one.low for one in effects)
    assert high > max(one.high for one in effects)


def test_rows_and_axis_may_be_named_otherwise():
    _, ax = figures.new_figure(alt="A row of an effect.")
    figures.draw_effects(ax, [effect(1, 1)], labels=["other"], unit="test accuracy (points)")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["other"]
    assert ax.get_xlabel() == "test accuracy (points)"


@pytest.mark.parametrize("units", [("points", "nat"), ()])
def test_effects_of_several_units_or_none_are_refused(units):
    _, ax = figures.new_figure(alt="No row of an effect.")
    with pytest.raises(ValueError, match="effects of one unit"):
        figures.draw_effects(ax, [effect(1, 1, unit=unit) for unit in units])


def test_every_verdict_has_a_look_that_no_other_has_and_marks_of_the_palette():
    assert set(figures.LOOKS) == set(VERDICTS)
    assert len(set(figures.LOOKS.values())) == len(VERDICTS)
    assert {color for color, _ in figures.LOOKS.values()} <= set(figures.COLORS)


@pytest.mark.parametrize("lead", [True, False])
def test_figure_knows_whether_its_page_opens_with_it(lead):
    figure, _ = figures.new_figure(alt="An empty panel, nothing more.", lead=lead)
    assert figures.is_lead(figure) == lead
    assert not figures.is_lead(plt.figure())
