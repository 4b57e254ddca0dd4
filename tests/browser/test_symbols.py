"""A symbol of a derivation lights up wherever it stands, and says what it is."""

import gzip
import re
from pathlib import Path

import built_site
import pytest
import visits
from npm_package import files

PAGES = ["derivations/backward.html", "derivations/forward.html", "derivations/weights.html"]
BACKWARD, FORWARD, WEIGHTS = PAGES
SOURCES = Path(__file__).parents[2] / "docs" / "derivations"
DERIVATIONS = [f"derivations/{path.stem}.html" for path in sorted(SOURCES.glob("*.md"))]
MAX_COST = 3_000  # bytes a page, compressed
MAX_DELAY = 100  # milliseconds from a tap to what it shows, on a processor four times as slow

LIT = """() => [...document.querySelectorAll(".lit")].map(part => part.dataset.s)"""


def lit(part):
    """The keys of what is lit within a page or a part of it, and its text."""
    getattr(part, "page", part).wait_for_timeout(150)
    return [
        (mark.get_attribute("data-s"), mark.text_content()) for mark in part.locator(".lit").all()
    ]


def said(page):
    """What the hint says to the ear, in one line."""
    hint = page.locator(".symbol-hint")
    hint.locator(":scope:not(:empty)").wait_for()
    return " ".join(hint.inner_text().split())


def row(page, label):
    return page.locator(f".equation-row:has(#equation-{label})")


@pytest.fixture
def phone(browser):
    """A function that opens a page in a telephone's browser, which is closed at the end."""
    contexts = []

    def go(url, **options):
        size = {"width": 375, "height": 700}
        contexts.append(browser.new_context(viewport=size, has_touch=True, **options))
        page = contexts[-1].new_page()
        page.goto(url)
        return page

    yield go
    for context in contexts:
        context.close()


def test_pointer_on_a_symbol_lights_equation_code_and_printed_result(open_page):
    page = open_page(BACKWARD)
    equation = row(page, "eq-dgamma")
    equation.locator('.equation [data-s="dgamma"]').hover()
    gradient = ("dgamma", "d\N{GREEK SMALL LETTER GAMMA}")
    assert lit(equation.locator(".equation")) == [gradient]
    assert ("dgamma", "dgamma") in lit(equation.locator(".equation-code"))
    assert ("dgamma", "dgamma") in lit(page.locator(".cell_output"))
    assert {key for key, _ in lit(page)} == {"dgamma"}
    assert "gradient of the loss with respect to" in said(page)
    page.mouse.move(1, 1)
    assert lit(page) == []
    assert page.locator(".symbol-hint").inner_text() == ""


def test_pointer_on_code_or_on_a_printed_number_lights_the_equation(open_page):
    page = open_page(FORWARD)
    row(page, "eq-xhat").locator(".equation-code > div [data-s='x-mu']").hover()
    assert ("x-mu", "xi\u200b\N{MINUS SIGN}μ") in lit(row(page, "eq-center").locator(".equation"))
    assert "xmu centered input" in said(page)
    printed = page.locator(".cell_output [data-s='hatx']", has_text="[0.0, 0.0, 0.0]").first
    printed.hover()
    assert ("hatx", "xhat [0.0, 0.0, 0.0]") in lit(page.locator(".cell_output"))
    assert {key for key, _ in lit(row(page, "eq-xhat").locator(".equation"))} == {"hatx"}


@pytest.mark.parametrize("block", ["start", "center", "end"])
def test_note_covers_neither_the_row_nor_the_line_that_one_reads(block, open_page):
    page = open_page(FORWARD)
    inline = page.locator("p [data-s]:visible").nth(5)
    code = row(page, "eq-xhat").locator(".equation-code > div [data-s='x-mu']")
    for mark, box in ((inline, inline), (code, row(page, "eq-xhat"))):
        mark.evaluate("(mark, block) => mark.scrollIntoView({block, behavior: 'instant'})", block)
        page.mouse.move(1, 1)
        page.wait_for_timeout(200)
        mark.hover()
        assert said(page)
        note, read = page.locator(".symbol-hint").bounding_box(), box.bounding_box()
        assert note["y"] >= read["y"] + read["height"] or note["y"] + note["height"] <= read["y"]
        assert 0 <= note["y"] < note["y"] + note["height"] <= 800


def test_gradient_of_a_number_lights_up_as_a_whole(open_page):
    page = open_page(WEIGHTS)
    page.locator('#equation-id-no-bias [data-s="db_"]').first.hover()
    assert ("db_", "db") in lit(page.locator("#equation-id-no-bias"))
    assert "gradient of the loss with respect to" in said(page)


def test_page_of_weights_says_that_its_symbols_answer(open_page):
    assert "Its symbols answer" in open_page(WEIGHTS).locator("article").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_lit_has_an_outline_and_nothing_moves(scheme, open_page):
    page = open_page(FORWARD, scheme=scheme)
    page.emulate_media(reduced_motion="reduce")
    equation = row(page, "eq-r")
    equation.scroll_into_view_if_needed()
    before = equation.bounding_box()
    equation.locator('.equation [data-s="sigma2"]').hover()
    page.wait_for_timeout(150)
    look = """part => { const style = getComputedStyle(part);
      return [style.outlineStyle, style.outlineWidth, style.animationName]; }"""
    assert page.locator(".lit").first.evaluate(look) == ["solid", "1px", "none"]
    assert equation.bounding_box() == before


def test_arrow_keys_lead_to_each_symbol_of_an_equation_once(open_page):
    page = open_page(FORWARD)
    equation = row(page, "eq-variance").locator(".equation")
    equation.focus()
    assert lit(page) == []
    walked = []
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        walked.append(page.locator(".lit:not(.around)").first.get_attribute("data-s"))
    assert walked == ["sigma2", "m", "x-mu", "x", "mu", "sigma2"]
    page.keyboard.press("ArrowLeft")
    assert "mean over the batch" in said(page)
    page.keyboard.press("Escape")
    assert lit(page) == []
    page.keyboard.press("ArrowLeft")
    assert {"mu", "x-mu"} == {key for key, _ in lit(page)}  # the last, and what it is a part of
    page.keyboard.press("Tab")
    assert lit(page) == []


def test_keys_of_the_browser_stay_the_browsers(open_page):
    page = open_page(FORWARD)
    row(page, "eq-variance").locator(".equation").focus()
    page.evaluate(
        "addEventListener('keydown', event => { window.taken = event.defaultPrevented; })"
    )
    for key, taken in (("ArrowRight", True), ("Alt+ArrowRight", False), ("ArrowDown", False)):
        page.keyboard.press(key)
        assert page.evaluate("window.taken") == taken


def test_symbols_are_no_tab_stops(open_page):
    page = open_page(WEIGHTS)
    assert page.locator("[data-s]").count() > 200
    assert page.locator("[data-s][tabindex], [data-s] [tabindex]").count() == 0


def test_arrow_key_brings_a_symbol_of_a_wide_equation_into_sight(open_page):
    page = open_page("derivations/depth.html", width=375)
    boxes = page.locator(".equation:visible").filter(has=page.locator("[data-s]")).all()
    wide = next(
        box for box in boxes if box.evaluate("box => box.scrollWidth - box.clientWidth > 9")
    )
    wide.focus()
    page.keyboard.press("ArrowLeft")  # the last
    page.wait_for_timeout(150)
    mark, box = wide.locator(".lit").first.bounding_box(), wide.bounding_box()
    assert box["x"] - 1 <= mark["x"] <= box["x"] + box["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_tap_on_a_telephone_lights_and_explains_also_from_the_disk(path, scheme, phone, site):
    page = phone((site / path).as_uri(), color_scheme=scheme)
    symbol = page.locator(".equation:visible [data-s]").first
    symbol.scroll_into_view_if_needed()
    symbol.tap()
    assert symbol.get_attribute("data-s") in {key for key, _ in lit(page)}
    assert said(page)
    box = page.locator(".symbol-hint").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 375
    assert box["y"] + box["height"] <= 700
    assert page.evaluate(visits.OVERFLOW) == 0
    page.locator(".bd-article h1").first.evaluate("title => title.click()")
    assert lit(page) == []


@pytest.mark.parametrize("block", ["start", "end"])
def test_note_on_a_telephone_leaves_the_header_free_and_is_closed_by_its_button(
    block, phone, address
):
    page = phone(f"{address}/{FORWARD}")
    symbol = page.locator("p [data-s]:visible").nth(5)
    symbol.evaluate("(part, block) => part.scrollIntoView({block, behavior: 'instant'})", block)
    symbol.tap()
    assert said(page)
    header, note = (page.locator(box).bounding_box() for box in (".bd-header", ".symbol-hint"))
    assert note["y"] >= header["y"] + header["height"]
    page.get_by_role("button", name="Close").tap()
    assert lit(page) == []
    assert page.locator(".symbol-hint").inner_text() == ""
    assert not page.get_by_role("button", name="Close").is_visible()


def test_link_is_followed_and_a_box_opens_whatever_symbol_stands_in_it(open_page):
    page = open_page(WEIGHTS)
    box = page.locator("details:has(summary [data-s])").first
    box.locator("summary [data-s]").first.click()
    assert box.get_attribute("open") is not None
    page.mouse.move(1, 1)
    assert lit(page) == []


def test_who_points_at_nothing_loads_no_hints(open_page):
    page = open_page(FORWARD)
    loaded = (
        "performance.getEntriesByType('resource').filter(e => /symbol-hints/.test(e.name)).length"
    )
    assert page.evaluate(loaded) == 0
    for key in ("r", "hatx"):
        page.locator(f'.equation [data-s="{key}"]').first.hover()
        assert said(page)
    assert page.evaluate(loaded) == 1


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_violation_while_symbols_are_lit(path, width, open_page):
    page = open_page(path, width=width)
    page.evaluate(visits.AT_ONCE)
    page.evaluate(files(visits.AXE)["axe.min.js"].decode())
    page.wait_for_timeout(350)
    # By a click without a pointer, which would also show the link of the equation.
    page.locator(".equation:visible [data-s]").first.evaluate("mark => mark.click()")
    assert said(page)
    assert lit(page)
    page.evaluate(visits.SIMPLIFY)
    for scheme, rules in (("light", []), ("dark", visits.OF_COLOUR)):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(visits.SETTLED)
        assert page.evaluate(visits.RUN_AXE, [[] if rules else visits.ALSO, rules]) == []


@pytest.mark.timed
def test_tap_is_answered_at_once_on_a_slow_processor(phone, address):
    page = phone(f"{address}/derivations/depth.html")
    page.wait_for_timeout(500)
    session = page.context.new_cdp_session(page)
    # Of the page's thread alone: other programs may be at work.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def work(key):
        page.evaluate("document.body.click()")
        page.evaluate(visits.SETTLED)
        before = worked()
        page.evaluate("key => document.querySelector(`p [data-s='${key}']`).click()", key)
        page.evaluate(visits.SETTLED)
        assert set(page.evaluate(LIT)) == {key}
        return worked() - before

    for key in ("z", "m", "varphi"):
        assert 0 < 4 * min(work(key) for _ in range(5)) <= MAX_DELAY


@pytest.mark.parametrize("name", DERIVATIONS)
def test_marks_cost_little_and_leave_the_mathml_alone(name, site):
    def compressed(text):
        return len(gzip.compress(text.encode(), 6))

    html = (site / name).read_text(encoding="utf-8")
    plain = re.sub(r'<span data-s="[^"]*">| data-s="[^"]*"', "", html)
    formulas = re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert formulas
    assert [formula for formula in formulas if "data-s" in formula] == []
    # The ends of the marks are still there: a sequence of ends costs next to nothing.
    script = built_site.compressed_size(site / "_static/symbols.js")
    assert 0 < compressed(html) - compressed(plain) + script < MAX_COST
