from types import SimpleNamespace

import accessible


def test_bibliography_is_a_list_of_items():
    context = {"body": '<div role="list"><div role="doc-biblioentry">a</div></div>'}
    accessible.mend(None, "", "", context, None)
    assert context["body"] == '<div role="list"><div role="listitem">a</div></div>'


def test_gallery_has_no_empty_tag_lists_with_one_id():
    context = {"body": "<p><div id='sg-tag-list' class='sphx-glr-tag-list'></div></p>"}
    accessible.mend(None, "", "", context, None)
    assert context["body"] == "<p></p>"


def test_folded_cell_is_named_by_its_own_words():
    context = {"body": '<summary aria-label="Toggle hidden content"><p>Solution</p></summary>'}
    accessible.mend(None, "", "", context, None)
    assert context["body"] == "<summary><p>Solution</p></summary>"


def test_page_without_scripts_is_light(tmp_path):
    page = tmp_path / "folder" / "a.html"
    page.parent.mkdir()
    page.write_text('<html lang="en" data-theme="auto"><p>data-theme="auto"</p>')
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))
    accessible.choose_light(app, None)
    assert page.read_text() == '<html lang="en" data-theme="light"><p>data-theme="auto"</p>'


def test_page_without_body_is_left_alone():
    context = {}
    accessible.mend(None, "search", "", context, None)
    assert context == {}


def test_the_two_images_of_a_figure_scroll_in_one_box():
    light, dark = '<img alt="a" class="only-light" src="a">', '<img alt="a" class="x only-dark">'
    context = {"body": f"<p>{light}\n{dark}<p>"}
    accessible.mend(None, "", "", context, None)
    box = '<div class="figure-box" role="group" aria-label="Figure" tabindex="0">'
    assert context["body"] == f"<p>{box}{light}\n{dark}</div><p>"
