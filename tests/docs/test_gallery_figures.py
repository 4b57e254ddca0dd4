import re

import gallery_figures
import matplotlib.pyplot as plt
import numpy as np
import pytest

from bn_tutorial.lab import figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def scrape(folder):
    paths = (str(folder / f"sphx_glr_plot_{number:03}.png") for number in range(1, 10))
    return gallery_figures.scrape(
        None, {"image_path_iterator": paths}, {"src_dir": str(folder.parent)}
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def test_scraper_shows_a_light_and_a_dark_figure_of_each_width_with_its_description(folder):
    figures.new_figure(alt="An *empty* panel: \\alpha, nothing more.", width=5, height=2)
    rst = scrape(folder)
    for layout, size in {"wide": (480, 192), "narrow": (374, 192)}.items():
        for theme in ("light", "dark"):
            svg = f"sphx_glr_plot_001_{layout}_{theme}.svg"
            assert (folder / svg).is_file()
            shown = rst.split(f".. image:: /images/{svg}\n")[1].split(".. image::")[0]
            assert ":alt: An *empty* panel: \\alpha, nothing more.\n" in shown
            assert f"only-{theme} on-{layout}\n" in shown
            assert f":width: {size[0]}\n   :height: {size[1]}\n" in shown
    assert rst.count(".. image::") == 4


def test_stamp_of_the_page_is_that_of_the_figure_it_opens_with_else_of_the_first(folder):
    stamps = {}
    for lead in (False, True):
        for number in (1, 2):
            _, axes = figures.new_figure(alt="A line, and nothing more.", lead=lead and number == 2)
            axes.plot([0, number % 2])
        scrape(folder)
        stamps[lead] = [path.read_bytes() for path in sorted(folder.glob("*.png"))]
    first, second = stamps[False]
    assert first != second
    assert stamps[True] == [second, second]
    assert plt.imread(folder / "sphx_glr_plot_001.png").shape[:2] == (280, 400)


def test_stamp_of_a_series_shows_all_of_it_though_the_narrow_figure_is_another(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        gallery_figures.layouts,
        "stamp",
        lambda f: seen.append(len({ax.get_subplotspec().colspan.start for ax in f.axes})),
    )
    figures.new_figure(1, 4, alt="Four empty panels, nothing more.")
    scrape(folder)
    assert seen == [4]  # columns, as they were drawn


def test_scraper_refuses_a_figure_that_would_keep_a_reader_waiting(folder, monkeypatch):
    _, axes = figures.new_figure(alt="A line of many points, nothing more.")
    axes.plot(np.random.default_rng(0).normal(size=500))
    monkeypatch.setattr(gallery_figures, "HEAVIEST", 10_000)
    with pytest.raises(ValueError, match=r"_001_wide has 2\d,\d+ bytes as SVG, expected at most"):
        scrape(folder)


def test_figure_that_its_page_opens_with_is_marked_as_such(folder):
    for lead in (True, False):
        figures.new_figure(alt="An empty panel, nothing more.", lead=lead)
    shown = scrape(folder)
    assert shown.count(gallery_figures.LEAD) == 4
    assert all(gallery_figures.LEAD in image for image in shown.split(".. image::")[1:5])


def test_points_of_a_path_have_no_more_digits_than_a_screen_shows(folder):
    _, ax = figures.new_figure(alt="A line of many points, nothing more.")
    ax.plot(np.random.default_rng(0).normal(size=200))
    scrape(folder)
    svg = (folder / "sphx_glr_plot_001_wide_light.svg").read_text()
    paths = re.findall(r' d="([^"]*)"', svg)
    assert max(map(len, paths)) > 1_000
    assert not re.search(r"\.\d{3}", " ".join(paths))
    assert not any(re.search("L [^A-Z]+ L", path) for path in paths)  # a letter for all of them


def test_scraper_takes_every_open_figure_and_closes_it(folder):
    for number in range(3):
        figures.new_figure(alt=f"Empty panel number {number}.")
    assert scrape(folder).count(".. image::") == 12
    assert not plt.get_fignums()
    assert scrape(folder) == ""


def test_scraper_refuses_a_figure_without_description_and_closes_it(folder):
    plt.subplots()
    with pytest.raises(ValueError, match="alt"):
        scrape(folder)
    assert not plt.get_fignums()


def test_scraper_refuses_a_colour_without_a_dark_partner(folder):
    _, axes = figures.new_figure(alt="A red line, which rises.")
    axes.plot([0, 1], color="#ff0000")
    with pytest.raises(ValueError, match="#ff0000 would be drawn unchanged"):
        scrape(folder)


def test_dark_figure_has_the_dark_colours_and_no_light_one(folder):
    _, axes = figures.new_figure(alt="Lines of all colours.")
    for colour in figures.COLORS.values():
        axes.plot([0, 1], color=colour)
    axes.text(0, 0, "in black", color="black")
    scrape(folder)
    light = (folder / "sphx_glr_plot_001_wide_light.svg").read_text()
    dark = (folder / "sphx_glr_plot_001_wide_dark.svg").read_text()
    assert set(gallery_figures.COLOUR.findall(light)) <= set(figures.DARK)
    assert set(gallery_figures.COLOUR.findall(dark)) <= set(figures.DARK.values())
    assert f'<svg fill="{figures.DARK["#000000"]}" ' in dark


def test_background_is_transparent(folder):
    figures.new_figure(alt="An empty panel, nothing more.")
    scrape(folder)
    first_patch = re.search(
        r'id="patch_1".*?style="([^"]*)"',
        (folder / "sphx_glr_plot_001_wide_light.svg").read_text(),
        re.DOTALL,
    )
    assert "fill: none" in first_patch[1]


def test_raster_content_is_the_same_in_light_and_dark(folder):
    _, axes = figures.new_figure(alt="An image of noise in grey.")
    axes.imshow(np.random.default_rng(0).normal(size=(8, 8)), cmap="gray")
    scrape(folder)
    light, dark = (
        re.findall(r'"data:image/png;base64,[^"]+"', path.read_text())
        for path in sorted(folder.glob("*_wide_*.svg"))
    )
    assert light == dark
    assert len(light) == 1


def test_the_same_figure_gives_the_same_bytes(folder):
    written = []
    for _ in range(2):
        _, axes = figures.new_figure(alt="A line in a clipped panel.")
        axes.plot([0, 1, 4])
        scrape(folder)
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert len(written[0]) == 5
    assert written[0] == written[1]


def test_last_digits_of_where_a_panel_lies_change_no_byte(folder):
    written = []
    for shift in (0, 1e-13):
        _, axes = figures.new_figure(alt="A line in a clipped panel.")
        axes.figure.set_layout_engine("none")
        axes.set_position((0.2 + shift, 0.2, 0.7, 0.7))
        axes.plot([0, 1, 4])
        scrape(folder)
        written.append([path.read_bytes() for path in sorted(folder.glob("*_wide_*.svg"))])
    assert written[0] == written[1]


def test_what_a_script_adds_has_the_site_style():
    with plt.rc_context():
        gallery_figures.use_site_style({}, None)
        _, axes = figures.new_figure(alt="A line with its legend.")
        axes.plot([0, 1], label="line")
        assert axes.legend().get_texts()[0].get_color() == figures.INK
