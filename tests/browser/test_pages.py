"""Every page of the built site: its links and images, its accessibility, its weight and speed."""

import math
import re
from pathlib import Path

import built_site
import pytest
import visits

DOCS = Path(__file__).parents[2] / "docs"
OWN_FILES, CONF = DOCS / "_static", DOCS / "conf.py"

MAX_WEIGHT = 400  # kB, compressed, without figures
MAX_OWN_SCRIPT, MAX_SENT_SCRIPT = 60, 20  # kB, and compressed
MAX_PAINT = 1_000  # milliseconds to the largest paint, from this machine
MAX_SHIFT = 0.05  # the browser's cumulative layout shift while the page loads


@pytest.fixture
def visit(name, site, in_context, address, figures):
    """What a browser saw of a page, which it examines once."""
    if name not in figures:
        context = in_context(purpose="examine")
        seen = visits.examine(context, address, name)
        seen.weight = built_site.weight(site, seen.loaded) / 1000
        seen.own_script = built_site.own_script_bytes(site, name, seen.loaded, OWN_FILES) / 1000
        figures[name] = seen
    return figures[name]


def test_every_address_on_the_page_leads_somewhere(site, name):
    assert built_site.broken_addresses(site, name) == []


def test_every_image_has_words_for_alt_text(site, name):
    assert built_site.unspoken_images(site, name) == []


def test_page_names_no_resource_of_another_host(site, name):
    assert built_site.foreign_resources(site, name) == []


def test_page_loads_without_a_complaint_of_the_browser(visit):
    assert visit.errors == []


def test_page_asks_no_other_host(visit):
    assert visit.foreign == []


def test_every_image_can_be_seen(visit):
    assert visit.unseen == []


@pytest.mark.parametrize("kind", ["light", "dark", "375 px"])
def test_axe_finds_no_violation(visit, kind):
    assert visit.violations[kind] == []


def test_page_does_not_scroll_sideways_on_a_telephone(visit):
    assert visit.overflow == 0


def test_every_figure_and_table_is_seen_whole_on_a_telephone(visit):
    assert visit.cut == []


def test_page_weighs_little(visit, site, name):
    assert visit.weight <= MAX_WEIGHT
    assert visit.own_script <= MAX_OWN_SCRIPT
    sent = built_site.own_script_bytes(site, name, visit.loaded, OWN_FILES, compressed=True) / 1000
    assert sent < MAX_SENT_SCRIPT


@pytest.mark.timed
def test_page_is_painted_soon_and_then_stays_in_place(name, in_context, address):
    best = math.inf
    for _ in range(4):  # a busy machine paints late, whatever the page: the best time counts
        seen = visits.look(in_context(purpose="examine"), address, name)
        assert seen.shift <= MAX_SHIFT
        if (best := min(best, seen.paint)) < MAX_PAINT:
            break
    assert 0 < best < MAX_PAINT


def test_picture_for_previews_is_there(site):
    image = re.search(
        r'^open_graph_image = "(.*)"$', CONF.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert (site / image[1]).is_file()


def test_page_reads_from_the_disk_without_a_server(site, name, in_context):
    seen = visits.look(in_context(purpose="disk"), site.as_uri(), name)
    assert (seen.errors, seen.foreign, seen.unseen) == ([], [], [])
