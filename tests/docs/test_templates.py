"""The templates of docs/_templates, on the pages that they made: see conftest.py."""


def test_page_for_no_address_names_the_site(real_site):
    page = real_site.read("404")
    assert page.title.string == "No such page \N{EM DASH} Norms & <layers>"
    assert "version of Norms & <layers>." in page.main.p.get_text()


def test_foot_names_the_data(real_site):
    foot = real_site.read("index").select_one(".data-source")
    text = " ".join(foot.get_text().split())
    assert "run on The title & <more>: The source & <more>. Licence: The licence & <more>." in text


def test_every_page_announces_that_the_data_are_not_the_expected_ones(real_site):
    for page in ("index", "gallery/01_a/plot_01_x", "search"):
        (bar,) = real_site.read(page).select("aside.bd-header-announcement")
        assert "embedded digits" in bar.get_text()


def test_buttons_have_the_names_that_are_seen(real_site):
    page = real_site.read("gallery/01_a/plot_01_x")
    buttons = page.select("button.search-button-field")
    assert buttons
    assert all(button.get_text().strip() == button["aria-label"] for button in buttons)
    summaries = page.select(".bd-docs-nav summary")
    assert summaries
    assert all(summary.get("aria-label") for summary in summaries)
