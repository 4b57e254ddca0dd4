"""The page that a server shows for an address that is none."""

import pytest


@pytest.fixture(scope="module")
def published_below(site, serve, tmp_path_factory):
    """The address of a server on which the site has a folder of its own."""
    root = tmp_path_factory.mktemp("host")
    (root / "bn").symlink_to(site)
    return f"{serve(root)}/bn"


@pytest.mark.parametrize("path", ["nowhere.html", "deep/er/nowhere.html", "derivations/gone"])
@pytest.mark.parametrize("depth", ["root", "folder"])
def test_lost_reader_finds_the_start_from_any_depth(
    path, depth, address, published_below, in_context
):
    root = address if depth == "root" else published_below
    page = in_context().new_page()
    try:
        assert page.goto(f"{root}/{path}").status == 404
        assert page.title().startswith("No such page")
        page.wait_for_selector("base", state="attached")
        page.get_by_role("link", name="Start").click()
        page.wait_for_url(f"{root}/index.html")
        page.goto(f"{root}/{path}")
        page.wait_for_selector("base", state="attached")
        page.get_by_label("Search").fill("momentum")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{root}/search.html?q=momentum")
    finally:
        page.close()
