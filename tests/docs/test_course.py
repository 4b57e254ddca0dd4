import re

import pytest
from sphinx.testing.util import SphinxTestApp

PAGES = {
    "index": "# Home\n\n```{toctree}\npart/index\nalone\nother\ncourse\n```\n",
    "course": "# Course\n\n```{course} part alone\n```\n",
    "alone": "# Title d\n\n**You get** company.\n",
    "other": "# Other\n\n**You get** nothing that counts.\n",
    "part/index": "# Part\n\n```{toctree}\nb\na\nc\n```\n",
    "part/b": "# Title b\n\n**You need** it.\n**You get** the first\nthing, e.g. it. And more.\n",
    "part/a": f"# Title a\n\n**The question.** Why, and how?\n\n{'word ' * 390}\n\n$$x$$\n",
    "part/c": "# Title c\n\nAnswers nothing.\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    (source / "_templates").mkdir()
    (source / "_templates" / "page.html").write_text("{{ course_step }}{{ body }}")
    (source / "conf.py").write_text(
        "extensions = ['course', 'myst_parser']\n"
        "myst_enable_extensions = ['dollarmath']\n"
        "templates_path = ['_templates']\n"
    )
    for name, text in PAGES.items():
        path = source / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert not app.warning.getvalue()
        yield {name: (app.outdir / f"{name}.html").read_text() for name in PAGES}
    finally:
        app.cleanup()


def test_pages_that_answer_something_are_listed_in_reading_order(site):
    items = re.findall(r'href="([^"]+)">([^<]+)</a>', site["course"])
    assert items == [
        ("part/b.html", "Title b"),
        ("part/a.html", "Title a"),
        ("alone.html", "Title d"),
    ]


def test_first_sentence_of_the_answer_is_shown(site):
    assert "<p>The first thing, e.g. it.</p>" in site["course"]
    assert "<p>Why, and how?</p>" in site["course"]


def test_time_counts_words_and_equations(site):
    times = re.findall(r'minutes"> (\d+) min', site["course"])
    assert times == ["1", "3", "1"]


def test_pages_of_a_folder_stand_under_its_title_with_their_time_in_all(site):
    assert re.findall(r'rubric">([^<]+)<', site["course"]) == ["Part: 4 min"]
    assert re.findall(r'<ol [^>]*start="(\d)"', site["course"])[-1] == "3"


def test_each_step_knows_its_number_and_other_pages_have_none(site):
    assert site["part/b"].startswith("(1, 3)")
    assert site["part/a"].startswith("(2, 3)")
    assert site["alone"].startswith("(3, 3)")
    assert not site["part/c"].startswith("(")
    assert not site["other"].startswith("(")


def test_page_that_promises_and_says_nothing_is_a_warning_with_its_place(tmp_path):
    (tmp_path / "conf.py").write_text("extensions = ['course', 'myst_parser']\n")
    (tmp_path / "index.md").write_text("# Home\n\n```{toctree}\na\n```\n\n```{course} a\n```\n")
    (tmp_path / "a.md").write_text("# Title\n\n**You get**\n")
    app = SphinxTestApp("html", srcdir=tmp_path)
    try:
        app.build()
        warnings = app.warning.getvalue()
    finally:
        app.cleanup()
    assert warnings.count("nothing stands behind 'You get'") == 1
    assert "a.md:3" in warnings
