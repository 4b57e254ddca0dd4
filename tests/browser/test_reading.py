"""What the site's own script and templates do for a reader."""

import pytest

# Nobody reaches what is folded away, whatever it has.
BOXES = """() => [...document.querySelectorAll(".math > .equation, .figure-box")]
  .filter(box => !box.closest("details:not([open])"))
  .map(box => [box.scrollWidth > box.clientWidth, box.hasAttribute("tabindex")])"""


GALLERY_PAGE = "gallery/02_inside_a_network/plot_02_follow_the_signal.html"


@pytest.mark.parametrize(
    "path", ["derivations/depth.html", "derivations/inference.html", GALLERY_PAGE]
)
@pytest.mark.parametrize("width", [375, 1280])
def test_what_scrolls_is_a_tab_stop_and_nothing_else(path, width, open_page):
    page = open_page(path, width=width)
    page.wait_for_timeout(200)
    boxes = page.evaluate(BOXES)
    assert boxes
    assert all(scrolls == stop for scrolls, stop in boxes)
    assert any(scrolls for scrolls, _ in boxes) == (width == 375)


def test_code_stands_beside_its_equation_and_on_a_telephone_below_it(open_page):
    for width, beside in ((1280, True), (375, False)):
        rows = open_page("derivations/forward.html", width=width).locator(".equation-row")
        assert rows.count() > 6
        for row in rows.all():
            equation = row.locator("> .math").bounding_box()
            code = row.locator("> .equation-code").bounding_box()
            assert (code["y"] < equation["y"] + equation["height"] - 1) == beside
            assert (code["x"] >= equation["x"] + equation["width"]) == beside


def test_text_in_a_figure_stays_legible_on_a_telephone(open_page):
    page = open_page(GALLERY_PAGE, width=375)
    shown = page.locator(".figure-box img:visible").first
    assert shown.bounding_box()["width"] >= 500  # of 691, at which it was drawn in twelve points


def test_dark_page_is_printed_light(open_page):
    page = open_page("index.html", scheme="dark")
    theme = "document.documentElement.dataset.theme"
    shown = [page.evaluate(theme)]
    for event in ("beforeprint", "afterprint"):
        page.evaluate(f"dispatchEvent(new Event('{event}'))")
        shown.append(page.evaluate(theme))
    assert shown == ["dark", "light", "dark"]


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
