from types import SimpleNamespace

import open_graph
import pytest
from docutils.core import publish_doctree


def app(baseurl=""):
    config = SimpleNamespace(project="Site", html_baseurl=baseurl, open_graph_image="_static/a.png")
    return SimpleNamespace(config=config)


def doctree(text):
    return publish_doctree(f"Title\n=====\n\nx\n\nPart\n----\n\n{text}").next_node(
        lambda node: node.tagname == "section"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One 1.5 two,\nthree, e.g. this. Four.", "One 1.5 two, three, e.g. this."),
        ("**The question.** Is it so? Yes.", "Is it so?"),
        ("**You need** this.\n**You get** that.\n\nA *first* sentence. More.", "A first sentence."),
        ("As follows:", "As follows."),
        ("no end", ""),
    ],
)
def test_description_is_the_first_sentence_of_the_text(text, sentence):
    assert open_graph.said_first(doctree(text)) == sentence


def test_page_without_text_has_a_title_alone():
    context = {"title": "<em>Index</em> &amp; &lt;more&gt;"}  # Sphinx writes titles as HTML
    open_graph.describe(app(), "genindex", "", context, None)
    assert 'property="og:title" content="Index &amp; &lt;more&gt;"' in context["metatags"]
    assert "description" not in context["metatags"]


def test_description_is_escaped():
    context = {"title": "T"}
    open_graph.describe(app(), "page", "", context, doctree('Is "a" < b? Yes.'))
    assert 'name="description" content="Is &quot;a&quot; &lt; b?"' in context["metatags"]


def test_absolute_addresses_need_to_know_where_the_site_is():
    context = {"title": "T"}
    open_graph.describe(app(), "deep/page", "", context, None)
    assert "http" not in context["metatags"]
    open_graph.describe(app("https://example.org/bn/"), "deep/page", "", context, None)
    assert 'content="https://example.org/bn/deep/page.html"' in context["metatags"]
    assert 'content="https://example.org/bn/_static/a.png"' in context["metatags"]
