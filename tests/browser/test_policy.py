"""The policy of a page at work: what does not come from the site does nothing."""

import pytest
import visits

# What an injected text could try; each sets `window.ran` or asks another host.
TRIES = {
    "a script in the page": """() => document.body.append(Object.assign(
      document.createElement("script"), {textContent: "window.ran = 1"}))""",
    "a handler": """() => { document.body.insertAdjacentHTML("beforeend",
      '<button id="try" onclick="window.ran = 1">try</button>');
      document.getElementById("try").click(); }""",
    "a script of another host": """() => document.body.append(Object.assign(
      document.createElement("script"), {src: "https://example.org/a.js"}))""",
    "an image of another host": """() => { new Image().src = "https://example.org/a.png"; }""",
    "a request to another host": """() => { fetch("https://example.org/").catch(() => {}); }""",
    "a form for another host": """() => { document.body.insertAdjacentHTML("beforeend",
      '<form action="https://example.org/" id="try"></form>');
      document.getElementById("try").submit(); }""",
    "a style sheet in the page": """() => document.head.append(Object.assign(
      document.createElement("style"), {textContent: "body { opacity: 0 }"}))""",
}


@pytest.mark.parametrize("what", TRIES)
@pytest.mark.parametrize("name", ["index.html", "derivations/backward.html", "404.html"])
def test_page_refuses(name, what, in_context, address):
    with visits.watched(in_context(purpose="policy"), address) as (page, seen):
        page.goto(f"{address}/{name}")
        assert seen.errors == []
        page.evaluate(TRIES[what])
        for _ in range(50):  # a busy machine takes its time
            page.wait_for_timeout(100)
            if refused := any(visits.refusals(message) for message in seen.errors):
                break
        assert refused
        assert page.evaluate("[window.ran, getComputedStyle(document.body).opacity]") == [None, "1"]


def test_menus_search_and_colours_of_the_theme_work_under_it(open_page, address):
    page = open_page("derivations/backward.html")
    page.get_by_role("button", name="More").first.click()
    assert page.locator(".dropdown-menu.show a").first.is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+K")
    page.locator("#pst-search-dialog input").fill("momentum")
    page.keyboard.press("Enter")
    visits.await_results(page)
    assert page.url.startswith(f"{address}/search.html?q=momentum")
    shown = "document.documentElement.dataset.theme"
    before = page.evaluate(shown)
    page.locator(".theme-switch-container button").first.click()
    page.locator(".theme-change-button").filter(has_text="Dark").first.click()
    assert (before, page.evaluate(shown)) == ("light", "dark")
    page.reload()
    assert page.evaluate(shown) == "dark"
    page.evaluate("localStorage.clear()")


def test_page_of_search_is_there_to_type_into(open_page):
    page = open_page("search.html")
    assert page.evaluate("document.activeElement.name") == "q"
