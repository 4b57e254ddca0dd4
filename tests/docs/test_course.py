import re

import course
import pytest
from docutils import nodes
from sphinx.testing.util import SphinxTestApp

# MyST asks Sphinx by a name that will go.
pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app")

LIST = """```{course}
# First things
> What is it?
> Afterwards you know.
part/b
further: alone
# Then
part/a
```
"""
CODE = "```Python\n" + "a = 1\n" * 60 + "```\n"
PAGES = {
    "index": "# Home\n\n```{toctree}\npart/index\nalone\nother\ncourse\nlast\n```\n",
    "course": f"# Course\n\n{LIST}",
    "alone": "# Title d\n\n**You get** company.\n",
    "other": "# Other\n\n**You get** nothing that counts.\n",
    "part/index": "# Part\n\n```{toctree}\na\nb\nc\n```\n",
    "part/b": "# Title b\n\n**You need** it.\n**You get** the first\nthing, e.g. it. And more.\n\n"
    "**Next:** [it](../alone.md), or [this](../other.md).\n",
    "part/a": "# Title a\n\n**The question.** It is so. Why, and how? No matter.\n\n"
    f"**You need** [b](b.md).\n\n{'word ' * 390}\n\n$$x$$\n\n{CODE}",
    "part/c": "# Title c\n\nAnswers nothing.\n",
    "last": "# Title e\n\nAnswers nothing.\n",
}
CONF = "extensions = ['course', 'myst_parser']\nmyst_enable_extensions = ['dollarmath']\n"


def build(source, pages):
    """Build pages; return the application, which the caller cleans up."""
    (source / "_templates").mkdir()
    (source / "_templates" / "page.html").write_text(
        "{{ course_step }}|{{ prev.link }}|{{ next.link }}|{{ next.title }}|{{ body }}"
    )
    (source / "conf.py").write_text(f"{CONF}templates_path = ['_templates']\n")
    for name, text in pages.items():
        path = source / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    app = SphinxTestApp("html", srcdir=source)
    app.build()
    return app


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    app = build(tmp_path_factory.mktemp("source"), PAGES)
    try:
        assert not app.warning.getvalue()
        yield {name: (app.outdir / f"{name}.html").read_text() for name in PAGES}
    finally:
        app.cleanup()


@pytest.fixture
def warnings_with(tmp_path):
    """A function that builds the pages with some of them changed, and returns the warnings."""

    def run(**changed):
        changed = {name.replace("__", "/"): text for name, text in changed.items()}
        app = build(tmp_path, PAGES | changed)
        try:
            return app.warning.getvalue()
        finally:
            app.cleanup()

    return run


def test_pages_are_listed_in_the_order_that_is_written(site):
    items = re.findall(r'href="([^"]+)">([^<]+)</a>', site["course"])
    assert items == [
        ("part/b.html", "Title b"),
        ("alone.html", "Title d"),
        ("part/a.html", "Title a"),
    ]


def test_part_has_its_title_its_time_without_what_is_further_and_what_it_is_about(site):
    assert re.findall(r'rubric">([^<]+)<', site["course"]) == ["First things: 1 min", "Then: 7 min"]
    assert "<p>What is it? Afterwards you know.</p>" in site["course"]
    assert "<p>In all 8 minutes, and 1 for what is further.</p>" in site["course"]
    assert re.findall(r'<ol [^>]*start="(\d)"', site["course"]) == ["1", "3"]
    further = re.findall(r'>([^<]+)</a>[^/]*</span><span class="further">', site["course"])
    assert further == ["Title d"]


def test_first_sentence_of_the_answer_is_shown_and_of_a_question_all_up_to_it(site):
    assert "<p>The first thing, e.g. it.</p>" in site["course"]
    assert "<p>It is so. Why, and how?</p>" in site["course"]


def test_time_counts_words_equations_and_code(site):
    times = re.findall(r'minutes"> (\d+) min', site["course"])
    assert times == ["1", "1", "7"]  # 390 words, an equation, 60 lines


def test_code_that_is_folded_takes_no_time():
    block = nodes.literal_block("", "a = 1\n" * 60, language="Python")
    marked = nodes.raw("", '<details class="folded-code">', format="html")
    for parent in (
        nodes.section("", marked, block),
        nodes.container("", nodes.container("", block), classes=["tag_hide-input"]),
    ):
        assert course.is_folded(block)
        assert parent
    nodes.section("", nodes.paragraph("", "text"), block)
    assert not course.is_folded(block)


def test_each_step_knows_its_number_and_leads_along_the_course(site):
    steps = {name: text.split("|")[:4] for name, text in site.items()}
    assert steps["part/b"] == ["(1, 3)", "../course.html", "../alone.html", "Title d"]
    assert steps["alone"] == ["(2, 3)", "part/b.html", "part/a.html", "Title a"]
    assert steps["part/a"] == ["(3, 3)", "../alone.html", "../course.html", "Course"]


def test_page_of_the_list_leads_to_the_first_step_and_back_to_what_stands_before_it(site):
    assert site["course"].split("|")[:3] == ["", "other.html", "part/b.html"]


def test_other_pages_keep_the_way_of_the_tables_of_contents_but_not_into_the_course(site):
    ways = {name: site[name].split("|")[:3] for name in ("part/index", "part/c", "other", "last")}
    assert ways == {
        "part/index": ["", "../index.html", ""],  # not to part/a
        "part/c": ["", "", ""],  # between part/b and alone
        "other": ["", "", "course.html"],
        "last": ["", "", ""],
    }


def test_other_next_page_than_that_of_the_course_is_a_warning(warnings_with):
    text = "# Title b\n\n**You get** it.\n\n**Next:** [it](a.md), or [this](../alone.md).\n"
    assert "part/b.md: WARNING: course: next is alone, not part/a" in warnings_with(part__b=text)


def test_page_that_needs_a_later_one_is_a_warning(warnings_with):
    text = "# Title b\n\n**You need** [a](a.md), of course.\n**You get** [d](../alone.md).\n"
    assert "it needs part/a, which comes later" in (said := warnings_with(part__b=text))
    assert said.count("course: it ") == 1


def test_page_that_answers_nothing_is_a_warning(warnings_with):
    assert "it says nothing after You get or The question." in warnings_with(alone="# Title d\n")


def test_page_that_promises_and_says_nothing_is_a_warning_with_its_place(warnings_with):
    said = warnings_with(alone="# Title d\n\n**You get**\n")
    assert re.search(r"alone.md:3.*nothing stands behind 'You get'", said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("part/b", "expected a part first"),
        ("# P\npart/x", "there is no page part/x"),
        ("# P\nalone\nalone", "named more than once: alone"),
    ],
)
def test_order_that_cannot_be_followed_is_refused(warnings_with, content, message):
    assert message in warnings_with(course=f"# Course\n\n```{{course}}\n{content}\n```\n")
