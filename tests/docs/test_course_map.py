import re

import course_map
import pytest
from course_map import Stop
from sphinx.testing.util import SphinxTestApp

# MyST asks Sphinx by a name that will go.
pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app")

PAGES = {
    "index.md": "# Home\n\n```{toctree}\na\nb\npart/c\nd\ncourse\n```\n",
    "course.md": "# Course\n\n```{course-map}\n```\n\n"
    "```{course}\n# P\na\nb\npart/c\nfurther: d\n```\n",
    "a.md": "# First, by hand\n\n**You get** x.\n",
    "b.md": "# Second\n\n**You need** [it](a.md).\n**You get** [x](d.md).\n",
    "part/c.rst": "Third & last\n============\n\n**You need** :doc:`/a` and :doc:`../b`.\n\n"
    "**You get** x.\n",
    "d.md": "# Fourth\n\n**You need** [it](a).\n**You get** x.\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pictures of a small course: across, and downwards."""
    source = tmp_path_factory.mktemp("source")
    (source / "conf.py").write_text("extensions = ['course', 'course_map', 'myst_parser']\n")
    for name, text in PAGES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert not app.warning.getvalue()
        yield re.findall("<svg.*?</svg>", (app.outdir / "course.html").read_text(), re.DOTALL)
    finally:
        app.cleanup()


@pytest.mark.parametrize("number", [0, 1])
def test_every_page_is_a_link_that_says_what_it_needs(site, number):
    links = dict(re.findall(r'<a href="([^"]*)".*?aria-label="([^"]*)"', site[number]))
    assert links == {
        "a.html": "First: needs no other page",
        "b.html": "Second: needs First",
        "part/c.html": "Third &amp; last: needs Second",  # and so First, too
        "d.html": "Fourth (further): needs First",
    }


def test_line_is_drawn_for_each_need_that_no_other_implies(site):
    for svg in site:
        (lines,) = re.findall(r'class="lines" d="([^"]*)"', svg)
        assert lines.count("M") == 3


def test_across_a_page_stands_to_the_right_of_what_it_needs(site):
    left = dict(re.findall(r'href="([^"]*)".*?<rect x="([\d.]+)"', site[0]))
    assert float(left["a.html"]) < float(left["b.html"]) < float(left["part/c.html"])
    assert left["b.html"] == left["d.html"]


def test_downwards_a_page_follows_what_it_needs(site):
    height = dict(re.findall(r'href="([^"]*)".*?cy="([\d.]+)"', site[1]))
    assert sorted(height, key=lambda page: float(height[page])) == [
        *("a.html", "b.html", "part/c.html", "d.html")
    ]
    assert len({*height.values()}) == 4


def test_boxes_of_a_wide_picture_do_not_overlap(site):
    boxes = [tuple(map(float, box)) for box in re.findall(r'<rect x="(\S+)" y="(\S+)"', site[0])]
    for at, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:at]:
            assert x != other_x or abs(y - other_y) > course_map.BOX[1]


def test_page_with_two_needs_has_a_line_to_each_and_stands_beside_the_last():
    found = {
        "a": Stop("a", False, [], 0),
        "b": Stop("b", False, ["a"], 1),
        "c": Stop("c", False, [], 0),
        "d": Stop("d", False, ["b", "c"], 2),
    }
    assert list(course_map.walk(found)) == ["a", "b", "c", "d"]
    for draw in (course_map.across, course_map.downwards):
        (lines,) = re.findall(r'class="lines" d="([^"]*)"', draw(found, str))
        assert lines.count("M") == 3


def test_long_title_is_cut_to_the_two_lines_of_its_box():
    words = "A title that is longer than a box of two lines can hold"
    drawn = course_map.across({"a": Stop(words, False, [], 0)}, str)
    lines = re.findall("<text[^>]*>([^<]*)<", drawn)
    assert lines == ["A title that is longer", "than a box of two …"]
    assert words in drawn  # for who hears it
