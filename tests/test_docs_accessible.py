import accessible


def test_bibliography_is_a_list_of_items():
    context = {"body": '<div role="list"><div role="doc-biblioentry">a</div></div>'}
    accessible.mend(None, "", "", context, None)
    assert context["body"] == '<div role="list"><div role="listitem">a</div></div>'


def test_gallery_has_no_empty_tag_lists_with_one_id():
    context = {"body": "<p><div id='sg-tag-list' class='sphx-glr-tag-list'></div></p>"}
    accessible.mend(None, "", "", context, None)
    assert context["body"] == "<p></p>"


def test_page_without_body_is_left_alone():
    context = {}
    accessible.mend(None, "search", "", context, None)
    assert context == {}
