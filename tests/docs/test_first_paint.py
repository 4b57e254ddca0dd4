"""A page lacks no rule that it needs: the small site of conftest.py is made like the real one."""

import base64
import hashlib
import re

import pytest
from first_paint import dressed, lean, read, scripts_of
from policy import BEFORE_PAINT, policy

CSS = """
.on-page { color: red }
.by-script, .nowhere { color: blue }
.elsewhere, .nowhere { color: black }
.on-page .nowhere { color: green; margin: var(--unread) }
#by-name { color: red }
#no-name { color: red }
.toast { color: red }
article:not(.nowhere) { color: pink }
@keyframes nowhere { from { color: red } }
:root { --read: 1px; --unread: 2px; --by-script: 3px }
i { margin: var(--read) }
"""
PAGE = '<p class="a on-page" id="by-name">class elsewhere</p>'
SCRIPT = 'list.add("by-script", "toast"); style["--by-script"]'
PAGES = ("index", "executed", "gallery/01_a/plot_01_x", "search", "genindex")


def test_rule_stays_if_something_may_use_it():
    assert lean(CSS, PAGE, [SCRIPT]) == (
        ".on-page{color:red}.by-script,.nowhere{color:#00f}#by-name{color:red}"
        "article:not(.nowhere){color:pink}:root{--read:1px;--by-script:3px}i{margin:var(--read)}"
    )


def test_what_a_script_could_make_but_never_does_stays_where_a_page_has_it():
    assert ".toast{" in lean(CSS, '<p class="toast">', [SCRIPT])


def test_scripts_of_a_page_are_those_that_it_loads_and_those_they_name():
    scripts = {"a.js": "A: import './c.js'", "b/b.js": "B", "d/c.js": "C: a.js, e.js", "e.js": "E"}
    page = '<script src="../_static/b/b.js?v=1"></script><script src="../_static/a.js"></script>'
    assert scripts_of(page, scripts) == ["B", scripts["a.js"], scripts["d/c.js"], "E"]
    assert scripts_of('<script src="https://example.org/a.js"></script>', scripts) == []


def test_addresses_and_imports_are_those_of_the_folder_of_all_sheets(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "base.css").write_text("p { src: url(b.woff2) }")
    (tmp_path / "a/a.css").write_text(
        '@import "../base.css"; q { src: url("../f/c.woff2"), url(d.png), url(#y) }'
    )
    assert read("a/a.css", tmp_path) == (
        'p { src: url("b.woff2") } q { src: url("f/c.woff2"), url("a/d.png"), url(#y) }'
    )


def link(name):
    return f'<link rel="stylesheet" href="../_static/{name}?v=1" />\n'


def test_page_holds_the_rules_of_its_sheets_in_their_order_in_the_place_of_the_first(tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / "k/b.css").write_text("p { src: url(d.png) }")
    (tmp_path / "a.css").write_text("q { color: red }")
    noscript = '<noscript><link rel="stylesheet" href="../_static/w.css"></noscript>'
    page = f"{{}}{noscript}{{}}<title>T</title>{{}}<p>"
    css = 'p{src:url("../_static/k/d.png")}q{color:red}'
    whole = page.format(policy(BEFORE_PAINT), link("k/b.css"), link("a.css"))
    assert dressed(whole, tmp_path, {}) == page.format(
        policy(BEFORE_PAINT, css), f"<style>{css}</style>\n", ""
    )


def test_page_that_has_no_sheet_is_left_alone(tmp_path):
    assert dressed("<p>", tmp_path, {}) == "<p>"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_that_is_loaded_holds_up_the_page(real_site, name):
    page = real_site.read(name)
    assert len(page.select("script[src]")) > 3
    assert page.select("script[src]:not([defer], [async])") == []
    (sheet,) = page.select('link[rel="stylesheet"]')
    assert sheet.parent.name == "noscript"


@pytest.mark.parametrize("name", PAGES)
def test_page_holds_its_rules_and_its_policy_names_them(real_site, name):
    page = real_site.read(name)
    (style,) = page.select("style")
    assert ".bd-article-container" in style.string
    assert 10_000 < len(style.string) < 110_000  # of 600,000
    digest = base64.b64encode(hashlib.sha256(style.string.encode()).digest()).decode()
    assert f"style-src 'self' 'sha256-{digest}';" in page.select_one("meta[http-equiv]")["content"]


@pytest.mark.parametrize("name", PAGES)
def test_what_the_rules_show_is_there(real_site, name):
    css = real_site.read(name).select_one("style").string
    addresses = {url for url in re.findall(r'url\("?([^")]+)', css) if ":" not in url[:8]}
    assert any("fa-solid" in address for address in addresses)
    folder = (real_site.folder / name).parent
    missing = {url for url in addresses if not (folder / url).is_file()}
    assert {url for url in missing if not url.startswith("#")} == set()


def test_of_what_bootstrap_can_make_pages_ask_for_these_alone(real_site):
    asked = {
        tag["data-bs-toggle"]
        for name in PAGES
        for tag in real_site.read(name).select("[data-bs-toggle]")
    }
    assert asked <= {"dropdown", "tooltip"}  # else first_paint.NEVER_MADE leaves out too much


@pytest.mark.parametrize("script", ["minisearch.js", "sections.js", "find.js", "page.js"])
def test_search_is_loaded_where_it_is_searched(real_site, script):
    loaded = {name: real_site.html(name).count(script) for name in ("index", "search")}
    assert loaded == {"index": 0, "search": 1}


def test_search_of_sphinx_is_not_published(real_site):
    scripts = {path.name for path in real_site.folder.rglob("*.js")}
    assert "sections.js" in scripts
    assert not {"searchindex.js", "searchtools.js", "language_data.js"} & scripts
    assert "sphinx_highlight.js" not in scripts
    assert "sphinx_highlight" not in real_site.html("index")


def test_what_is_for_who_develops_the_theme_is_not_published(real_site):
    static = real_site.folder / "_static"
    assert [*static.rglob("*.map"), *static.rglob("webpack*")] == []
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js")]
    assert scripts
    assert not any("sourceMappingURL" in script for script in scripts)
