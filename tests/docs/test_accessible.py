"""What other projects write is made by them here, and mended: see conftest.py."""

from collections import Counter

GALLERY_PAGE = "gallery/01_a/plot_01_x"


def test_bibliography_is_a_list_of_items(real_site):
    (bibliography,) = real_site.read("index").select('[role="list"]')
    entries = bibliography.select(".citation")
    assert [entry.get("role") for entry in entries] == ["listitem"]


def test_no_id_stands_twice_in_a_gallery_of_two_sections(real_site):
    gallery = real_site.read("gallery/index")
    assert len(gallery.select(".sphx-glr-thumbcontainer")) == 2
    ids = Counter(element["id"] for element in gallery.select("[id]"))
    assert [name for name, count in ids.items() if count > 1] == []


def test_folded_cell_is_named_by_its_own_words(real_site):
    (summary,) = real_site.read("executed").select("details.hide > summary")
    assert summary.get_text().strip()
    assert not summary.has_attr("aria-label")


def test_page_without_scripts_is_light(real_site):
    for page in ("index", GALLERY_PAGE, "search", "genindex"):
        assert real_site.read(page).html["data-theme"] == "light"
