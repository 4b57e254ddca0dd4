"""What is left out is what no page has: the small site of conftest.py is made like the real one."""

import re
import zlib

import pytest
from first_paint import ALL, lean, order_of, read, relinked

CSS = """
.on-page { color: red }
.by-script, .nowhere { color: blue }
.elsewhere, .nowhere { color: black }
.on-page .nowhere { color: green; margin: var(--unread) }
article:not(.nowhere) { color: pink }
:root { --read: 1px; --unread: 2px; --by-script: 3px }
i { margin: var(--read) }
"""
PAGE = '<p class="a on-page">class elsewhere</p>'
SCRIPT = 'list.add("by-script"); style["--by-script"]'


def test_rule_stays_if_something_may_use_it():
    assert lean(CSS, [PAGE], [SCRIPT]) == (
        ".on-page{color:red}.by-script,.nowhere{color:#00f}article:not(.nowhere){color:pink}"
        ":root{--read:1px;--by-script:3px}i{margin:var(--read)}"
    )


def test_addresses_and_imports_are_those_of_the_folder_of_all_sheets(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "base.css").write_text("p { src: url(b.woff2) }")
    (tmp_path / "a/a.css").write_text(
        '@import "../base.css"; q { src: url("../f/c.woff2"), url(d.png), url(#y) }'
    )
    assert read("a/a.css", tmp_path) == (
        'p { src: url("b.woff2") } q { src: url("f/c.woff2"), url("a/d.png"), url(#y) }'
    )


def links(*names, root="../_static/"):
    return "".join(f'<link rel="stylesheet" href="{root}{name}?v=1" />\n' for name in names)


def test_sheets_keep_the_order_of_the_page_that_has_the_most():
    pages = [links("a.css", "z.css"), links("a.css", "k/k.css", "z.css"), links("b.css")]
    assert list(order_of(pages)) == ["a.css", "k/k.css", "z.css", "b.css"]


def test_page_has_one_link_in_the_place_of_the_first():
    noscript = '<noscript><link rel="stylesheet" href="../_static/w.css"></noscript>'
    page = f"<head>{noscript}{links('a.css')}<meta>{links('b/b.css')}</head>"
    once = relinked(page, "all.css?v=2")
    link = '<link rel="stylesheet" href="../_static/all.css?v=2">'
    assert once == f"<head>{noscript}{link}\n<meta></head>"
    assert relinked(once, "all.css?v=3") == once.replace("v=2", "v=3")


@pytest.mark.parametrize("name", ["index", "gallery/01_a/plot_01_x", "search", "genindex"])
def test_one_script_alone_holds_up_the_page(real_site, name):
    scripts = real_site.read(name).select("script[src]")
    assert len(scripts) > 3
    (waited_for,) = (s for s in scripts if not s.has_attr("defer") and not s.has_attr("async"))
    assert waited_for["src"].endswith("_static/before-paint.js")


def test_index_of_the_search_is_loaded_where_it_is_searched(real_site):
    loaded = {name: real_site.html(name).count("searchindex.js") for name in ("index", "search")}
    assert loaded == {"index": 0, "search": 1}


def test_what_is_for_who_develops_the_theme_is_not_published(real_site):
    static = real_site.folder / "_static"
    assert [*static.rglob("*.map"), *static.rglob("webpack*")] == []
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js")]
    assert scripts
    assert not any("sourceMappingURL" in script for script in scripts)


def test_page_names_the_content_of_the_one_style_sheet(real_site):
    content = (real_site.folder / "_static" / ALL).read_bytes()
    assert b".bd-article-container" in content
    assert len(content) < 150_000  # of 600,000
    for name, root in (("executed", ""), ("gallery/01_a/plot_01_x", "../../"), ("search", "")):
        (sheet,) = real_site.read(name).select('head > link[rel="stylesheet"]')
        assert sheet["href"] == f"{root}_static/{ALL}?v={zlib.crc32(content):08x}"


def test_what_the_style_sheet_shows_is_there(real_site):
    css = (real_site.folder / "_static" / ALL).read_text(encoding="utf-8")
    addresses = {url for url in re.findall(r'url\("?([^")]+)', css) if ":" not in url[:8]}
    assert any("fa-solid" in address for address in addresses)
    missing = {url for url in addresses if not (real_site.folder / "_static" / url).is_file()}
    assert {url for url in missing if not url.startswith("#")} == set()
