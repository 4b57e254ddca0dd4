"""What the site's own script and templates do for a reader."""

from itertools import pairwise

import pytest

# Nobody reaches what is folded away, whatever it has.
BOXES = """() => [...document.querySelectorAll(".math > .equation")]
  .filter(box => !box.closest("details:not([open])"))
  .map(box => [box.scrollWidth > box.clientWidth, box.hasAttribute("tabindex"),
               Boolean(box.querySelector("[data-s]"))])"""


GALLERY_PAGE = "gallery/02_inside_a_network/plot_02_follow_the_signal.html"


@pytest.mark.parametrize("width", [960, 1100, 1239, 1240, 1280])
def test_what_people_come_for_stands_in_one_row_at_the_top(width, open_page):
    header = open_page("findings.html", width=width).locator(".bd-header")
    entries = [link.inner_text() for link in header.locator(".nav-item > .nav-link:visible").all()]
    assert {"Why does it work?", "What should I use?", "Find the fault"} <= set(entries)
    boxes = [
        box.bounding_box()
        for part in ("a.navbar-brand", ".nav-item > :visible", ".search-button__button:visible")
        for box in header.locator(part).all()
    ]
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert max(middles) - min(middles) < 5
    edges = sorted((box["x"], box["x"] + box["width"]) for box in boxes)
    assert all(end <= start for (_, end), (start, _) in pairwise(edges))
    assert edges[-1][1] <= width


@pytest.mark.parametrize("path", ["derivations/depth.html", "derivations/inference.html"])
@pytest.mark.parametrize("width", [375, 1280])
def test_equation_that_scrolls_or_answers_is_a_tab_stop_and_no_other(path, width, open_page):
    page = open_page(path, width=width)
    page.wait_for_timeout(200)
    boxes = page.evaluate(BOXES)
    assert boxes
    assert all((scrolls or answers) == stop for scrolls, stop, answers in boxes)
    assert any(scrolls for scrolls, *_ in boxes) == (width == 375)


def test_code_stands_beside_its_equation_and_on_a_telephone_below_it(open_page):
    for width, beside in ((1280, True), (375, False)):
        rows = open_page("derivations/forward.html", width=width).locator(".equation-row")
        assert rows.count() > 6
        for row in rows.all():
            equation = row.locator("> .math").bounding_box()
            code = row.locator("> .equation-code").bounding_box()
            assert (code["y"] < equation["y"] + equation["height"] - 1) == beside
            assert (code["x"] >= equation["x"] + equation["width"]) == beside


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "layout"), [(375, "narrow"), (1280, "wide")])
def test_page_shows_and_loads_only_the_figures_that_are_drawn_for_it(
    scheme, width, layout, open_page
):
    page = open_page(GALLERY_PAGE, scheme=scheme, width=width)
    for image in page.locator(".bd-article img:visible").all():
        image.scroll_into_view_if_needed()
        assert image.bounding_box()["width"] >= 0.9 * int(image.get_attribute("width"))  # legible
    page.wait_for_timeout(200)
    loaded = "performance.getEntriesByType('resource').map(entry => entry.name)"
    figures = [url for url in page.evaluate(loaded) if "_images" in url]
    assert len(figures) == 2
    assert all(url.endswith(f"_{layout}_{scheme}.svg") for url in figures)


def test_dark_page_is_printed_light(open_page):
    page = open_page("index.html", scheme="dark")
    theme = "document.documentElement.dataset.theme"
    shown = [page.evaluate(theme)]
    for event in ("beforeprint", "afterprint"):
        page.evaluate(f"dispatchEvent(new Event('{event}'))")
        shown.append(page.evaluate(theme))
    assert shown == ["dark", "light", "dark"]


def test_what_is_folded_is_not_printed_but_what_is_open_and_what_was_to_be_predicted(open_page):
    page = open_page("derivations/meaning.html")
    boxes = page.locator(".bd-article details:not(.bn-answer)")
    boxes.first.evaluate("box => box.open = true")
    page.emulate_media(media="print")
    assert boxes.first.is_visible()
    assert not any(box.is_visible() for box in boxes.all()[1:])
    assert page.locator(".bn-answer .measured").first.is_visible()


@pytest.mark.parametrize("path", ["derivations/backward.html", GALLERY_PAGE])
def test_foot_of_an_executed_page_says_what_it_was_made_with(path, open_page):
    foot = open_page(path).locator(".data-source").inner_text()
    for words in ("NumPy", "PyTorch", "Licence", "Built on"):
        assert words in foot


@pytest.mark.parametrize("path", ["gallery/index.html", GALLERY_PAGE])
def test_page_describes_itself_with_a_title_and_a_sentence(path, open_page):
    page = open_page(path)
    for name in ("og:title", "og:description"):
        assert page.locator(f'meta[property="{name}"]').get_attribute("content")


def test_term_shows_its_meaning(open_page):
    page = open_page("glossary.html")
    assert page.locator('a[href="#term-sigmoid"]').first.get_attribute("title").endswith(".")
