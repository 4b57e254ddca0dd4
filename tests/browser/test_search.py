"""What readers type, and the sections that answer them: see queries.txt."""

import statistics
from pathlib import Path

import built_site
import pytest
import visits

TABLE = Path(__file__).with_name("queries.txt")
FIRST = 3  # results that everybody sees
MISSED = 0.1  # of the queries, at most
MAX_WAIT = 150  # milliseconds from a key to the results
MAX_INDEX = 320_000  # bytes, compressed
HEADER = ".bd-header .navbar-header-items a"


def rows():
    """The queries, each with the addresses of the sections that answer it."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    parts = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return {query: [address_of(place) for place in places.split()] for query, places in parts}


def address_of(place):
    page, separator, anchor = place.partition("#")
    return f"{page}.html{separator}{anchor}"


@pytest.fixture(scope="module")
def answers(in_context, address):
    """What the search names for each query, and how long it takes."""
    page = in_context(purpose="search").new_page()
    yield dict(zip(rows(), visits.search(page, address, [*rows()]), strict=True))
    page.close()


def test_table_is_long_and_names_sections_that_are_there(site):
    assert len(rows()) >= 80
    places = {place for places in rows().values() for place in places}
    assert [place for place in places if not built_site.exists(site, "index.html", place)] == []


def test_search_names_the_answer_among_the_first(answers):
    missed = [
        f"{query}: {found[:FIRST]}"
        for query, (found, _) in answers.items()
        if not set(rows()[query]) & set(found[:FIRST])
    ]
    assert len(missed) <= MISSED * len(answers), "\n".join(missed)


def test_every_result_leads_to_a_section(answers, site):
    found = {place for places, _ in answers.values() for place in places}
    assert len(found) > 100
    assert [place for place in found if not built_site.exists(site, "index.html", place)] == []


def test_search_answers_while_one_types(answers):
    assert statistics.median(took for _, took in answers.values()) < MAX_WAIT


def test_index_is_light(site):
    assert built_site.compressed_size(site / "sections.js") < MAX_INDEX


def test_result_is_opened_by_keyboard_and_marks_what_was_found_in_its_section(open_page):
    page = open_page("search.html")
    page.keyboard.type("jacobain")
    visits.await_results(page)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent").endswith("The Jacobian")
    page.keyboard.press("Enter")
    page.wait_for_url("**/derivations/meaning.html?highlight=*#the-jacobian")
    inside = """[...CSS.highlights.get("searched")].map(range => [String(range).toLowerCase(),
      document.getElementById("the-jacobian").contains(range.startContainer)])"""
    marked = page.evaluate(inside)
    assert ["jacobian", True] in marked
    assert all(within for _, within in marked)


def test_one_comes_back_to_what_was_found(open_page):
    page = open_page("search.html")
    page.keyboard.type("jacobian")
    visits.await_results(page)
    page.locator("#search-results a").first.click()
    page.wait_for_url("**/derivations/**")
    page.go_back()
    visits.await_results(page)
    assert page.locator(".bd-search-container input").input_value() == "jacobian"


def test_entry_of_the_glossary_is_marked_alone(open_page):
    page = open_page("glossary.html?highlight=normalization#term-group-normalization")
    ranges = '[...CSS.highlights.get("searched")].map(range => range.startContainer.parentElement)'
    entries = f"new Set({ranges}.map(found => found.closest('dt, dd').textContent)).size"
    assert page.evaluate(entries) == 2  # the term, and its definition


@pytest.mark.parametrize("words", ["", "%20", "(", "[^", "a%5C", "*"])
def test_odd_words_in_an_address_do_no_harm(open_page, words):
    page = open_page(f"glossary.html?highlight={words}#term-batch")
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.reload()
    page.wait_for_timeout(50)
    assert errors == []


def test_results_are_announced_and_quote_what_was_found(open_page):
    page = open_page("search.html?q=jacobian")
    status = page.get_by_role("status")
    assert "sections" in status.inner_text()
    assert page.locator("#search-results li").count() == page.locator("#search-results p").count()
    assert "Jacobian" in page.locator("#search-results p mark").all_inner_texts()


def test_code_is_quoted_where_only_code_was_found(open_page):
    first = open_page("search.html?q=set_num_threads").locator("#search-results p").first
    assert first.locator("code mark").all_inner_texts() == ["set_num_threads"]


def test_nothing_found_leads_to_the_nearest_sections_and_to_the_faults(open_page):
    page = open_page("search.html?q=jxcxbxan")
    assert page.get_by_role("status").inner_text().startswith("No section has these words")
    assert page.locator("#search-results li").count() > 0
    assert page.locator(".bd-search-container").get_by_role("link", name="Find the fault").count()


def test_page_of_the_search_says_that_it_needs_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/search.html")
    said = page.locator(".bd-search-container noscript .admonition")
    assert said.is_visible()
    assert "needs JavaScript" in said.inner_text()
    context.close()


@pytest.mark.parametrize("query", ["eval mode", "set_num_threads", "jxcxbxan"])
def test_results_are_accessible_and_fit_a_telephone(query, in_context, address):
    context = in_context(purpose="examine")
    seen = visits.examine(context, address, f"search.html?q={visits.quote(query)}")
    assert (seen.errors, seen.overflow) == ([], 0)
    assert seen.violations == {"375 px": [], "light": [], "dark": []}


def test_faults_are_named_in_the_header(open_page):
    page = open_page("index.html")
    assert page.locator(HEADER, has_text="Find the fault").first.is_visible()
