"""Each page of the small site says what it may load: see conftest.py."""

import base64
import hashlib
import re

import pytest
from policy import BEFORE_PAINT, POLICY, policy

PAGES = ("index", "executed", "gallery/01_a/plot_01_x", "search", "genindex", "404")


def directives(page):
    """The policy of a page, as a dictionary of its directives."""
    (tag,) = page.select('meta[http-equiv="Content-Security-Policy"]')
    return dict(part.split(" ", 1) for part in tag["content"].split("; "))


def executed(page):
    """The scripts that stand in a page itself; JSON is data."""
    return [s for s in page.select("script:not([src])") if s.get("type") != "application/json"]


@pytest.mark.parametrize("name", PAGES)
def test_policy_stands_before_all_that_it_holds_for(real_site, name):
    page = real_site.read(name)
    (tag,) = page.select('meta[http-equiv="Content-Security-Policy"]')
    assert tag.find_all_previous(["script", "link", "style"]) == []
    assert tag.parent is page.head


@pytest.mark.parametrize("name", PAGES)
def test_page_may_run_what_it_holds_and_nothing_else(real_site, name):
    page = real_site.read(name)
    handlers = [key for tag in page.select("*") for key in tag.attrs if key.startswith("on")]
    assert handlers == []
    allowed = {key: " ".join(sources) for key, sources in POLICY.items()}
    for kind, tags in (("script", executed(page)), ("style", page.select("style"))):
        (text,) = (element.string for element in tags)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed[f"{kind}-src"] += f" 'sha256-{digest}'"
    assert directives(page) == allowed


def test_all_pages_but_that_of_no_address_run_one_script_that_they_hold(real_site):
    assert {executed(real_site.read(name))[0].string for name in PAGES[:-1]} == {BEFORE_PAINT}


def test_a_page_cannot_be_told_to_run_anything():
    tag = policy("alert(1)")
    (scripts,) = re.findall(r"script-src ([^;]*);", tag)
    assert "unsafe" not in scripts
    assert "'unsafe-inline'" not in POLICY["style-src"]
    assert POLICY["object-src"] == ["'none'"]
