from types import SimpleNamespace

import open_in_colab

BODY = (
    '<div class="sphx-glr-download">\n<p><a class="reference download internal" download="" '
    'href="../../_downloads/12ab/plot.ipynb"><code>Download</code></a></p>\n</div>\n<div>.py</div>'
)


def body(site, page="gallery/01/plot"):
    context = {"body": BODY}
    app = SimpleNamespace(config=SimpleNamespace(colab_site=site))
    open_in_colab.add_link(app, page, "", context, None)
    return context["body"]


def test_no_page_has_a_link_until_the_repository_is_known():
    assert body("") == BODY


def test_link_stands_behind_the_download_and_names_the_published_notebook():
    found = body("owner/name/blob/gh-pages")
    address = "github/owner/name/blob/gh-pages/_downloads/12ab/plot.ipynb"
    assert f'href="https://colab.research.google.com/{address}"' in found
    assert BODY.index(".py") < found.index("colab") < found.index(".py</div>")


def test_other_pages_have_none():
    assert body("owner/name/blob/gh-pages", "derivations/forward") == BODY


def test_notebooks_install_the_package_first():
    config = SimpleNamespace(colab_site="owner/name/blob/x", sphinx_gallery_conf={})
    open_in_colab.install_first(None, config)
    cell = config.sphinx_gallery_conf["first_notebook_cell"]
    assert cell == "%pip install git+https://github.com/owner/name"
