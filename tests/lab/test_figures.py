from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bn_tutorial.lab import figures


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


def test_new_figure_changes_no_global_setting():
    before = dict(mpl.rcParams)
    figures.new_figure(alt="An empty panel, nothing more.")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("alt", ["", "  \n", "figure", "sphx_glr_plot_01_001", "a b c.png"])
def test_new_figure_refuses_what_describes_nothing(alt):
    with pytest.raises(ValueError, match="a sentence that says what it shows"):
        figures.new_figure(alt=alt)


def test_alt_text_of_a_foreign_figure_is_an_error():
    with pytest.raises(ValueError, match="new_figure"):
        figures.alt_text(plt.figure())
