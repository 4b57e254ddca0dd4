from types import SimpleNamespace

import open_in_colab

PAGE = "gallery/01_a/plot_01_x"
SITE = "owner/name/blob/branch"  # as in conftest.py
COLAB = f"https://colab.research.google.com/github/{SITE}/"


def links(page):
    """The addresses at the foot of a gallery page, in order."""
    return [link["href"] for link in page.select(".sphx-glr-footer a")]


def body(real_site, colab_site, page=PAGE):
    context = {"body": real_site.html(PAGE)}
    app = SimpleNamespace(config=SimpleNamespace(colab_site=colab_site))
    open_in_colab.add_link(app, page, "", context, None)
    return context["body"]


def test_link_stands_behind_the_download_and_names_the_published_notebook(real_site):
    notebook, colab, *others = links(real_site.read(PAGE))
    assert notebook.endswith(".ipynb")
    assert others
    assert COLAB + notebook.lstrip("./") == colab
    assert (real_site.folder / colab.removeprefix(COLAB)).is_file()


def test_other_pages_have_none(real_site):
    for page in ("index", "executed", "gallery/index", "search"):
        assert COLAB not in real_site.html(page)


def test_no_page_has_a_link_until_the_repository_is_known(real_site):
    html = real_site.html(PAGE)
    assert body(real_site, "") == html
    assert body(real_site, "other/name/blob/x") != html
