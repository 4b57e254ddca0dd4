"""The archive of the site, unpacked and read from the disk."""

import zipfile

import pytest
import site_archive
import visits


@pytest.fixture(scope="module")
def unpacked(site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    archive = folder / "site.zip"
    site_archive.write(site, archive)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return (folder / "site").as_uri()


@pytest.mark.parametrize("path", ["index.html", "derivations/backward.html", "findings.html"])
def test_unpacked_page_is_complete(path, unpacked, in_context):
    seen = visits.look(in_context(purpose="disk"), unpacked, path)
    assert (seen.errors, seen.foreign, seen.unseen) == ([], [], [])


def test_search_works_without_a_server(unpacked, in_context):
    with visits.watched(in_context(purpose="disk"), unpacked) as (page, seen):
        ((found, _),) = visits.search(page, unpacked, ["momentum"])
        assert "faults/eval_mode.html#fault-swapped-momentum" in found[:3]
        page.locator("#search-results a").first.click()
        page.wait_for_url(f"{unpacked}/*highlight=momentum*")
        assert page.evaluate("CSS.highlights.get('searched').size") > 0
    assert seen.errors == []
