"""The checkers of the built site, tried on tiny pages that are broken."""

import built_site
import pytest


@pytest.fixture
def broken(tmp_path):
    """A function that writes page.html around a body, and returns the site."""

    def write(body, page="page.html"):
        (tmp_path / "other.html").write_text('<h1 id="here">Other</h1>')
        (tmp_path / "a b.svg").write_text("<svg/>")
        path = tmp_path / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<!doctype html><title>T</title>{body}")
        built_site.read.cache_clear()
        return tmp_path

    return write


@pytest.mark.parametrize(
    "address",
    [
        "missing.html",
        "other.html#there",
        "#nowhere",
        "../page.html",  # above the root
        "file:///tmp/other.html",
    ],
)
def test_broken_link_is_found(broken, address):
    site = broken(f'<a href="{address}">text</a>')
    assert built_site.broken_addresses(site, "page.html") == [address]


@pytest.mark.parametrize(
    "address",
    [
        "other.html",
        "other.html?q=1#here",
        "#",
        "#top",
        "#self",
        "a%20b.svg",
        "https://example.org/x",
        "mailto:a@example.org",
        "data:image/gif;base64,AA",
    ],
)
def test_sound_link_is_left_alone(broken, address):
    site = broken(f'<p id="self"><a href="{address}">text</a>')
    assert built_site.broken_addresses(site, "page.html") == []


def test_links_are_relative_to_their_page(broken):
    site = broken('<a href="other.html">no</a><a href="../other.html">yes</a>', "deep/page.html")
    assert built_site.broken_addresses(site, "deep/page.html") == ["other.html"]


@pytest.mark.parametrize(
    "tag",
    ['<img src="gone.png">', '<script src="gone.png"></script>', '<link href="gone.png">'],
)
def test_missing_file_is_found(broken, tag):
    assert built_site.broken_addresses(broken(tag), "page.html") == ["gone.png"]


def test_resource_of_another_host_is_found_but_a_link_to_it_is_not(broken):
    site = broken('<script src="//cdn.example/x.js"></script><a href="https://example.org/">x</a>')
    assert built_site.foreign_resources(site, "page.html") == ["//cdn.example/x.js"]


@pytest.mark.parametrize(
    "alt",
    [
        "",
        ' alt="figure_001.svg"',
        ' alt="sphx_glr_plot_02_001"',
        ' alt="sphx glr plot 02"',
        ' alt="plot 02"',
    ],
)
def test_image_whose_alt_text_is_missing_or_a_file_name_is_found(broken, alt):
    site = broken(f'<img src="_images/sphx_glr_plot_02_001.png"{alt}>')
    assert len(built_site.unspoken_images(site, "page.html")) == 1


@pytest.mark.parametrize("alt", ["", "-", "Two curves: loss against steps."])
def test_decoration_and_description_are_alt_texts(broken, alt):
    site = broken(f'<img src="_images/plot.png" alt="{alt}">')
    assert built_site.unspoken_images(site, "page.html") == []


def test_pages_are_those_of_the_site_and_not_the_templates_of_the_theme(broken):
    site = broken("", "_static/webpack-macros.html")
    assert built_site.page_names(site) == ["other.html"]


def test_weight_counts_what_is_loaded_compressed_and_no_figure(broken):
    site = broken("<p>" + "x" * 10_000)
    (site / "f.woff2").write_bytes(b"x" * 500)
    figures = {"a b.svg", "gone.css"}
    assert 500 < built_site.weight(site, {"page.html", "f.woff2"} | figures) < 700


def test_own_scripts_are_those_of_this_project_and_those_within_the_page(broken, tmp_path):
    site = broken('<script>12345</script><script src="_static/a.js"></script>')
    sources = tmp_path / "sources"
    for path in (site / "_static/a.js", site / "_static/theme.js", sources / "a.js"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("12")
    loaded = {"_static/a.js", "_static/theme.js"}
    assert built_site.own_script_bytes(site, "page.html", loaded, sources) == 7
