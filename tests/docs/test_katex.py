import re

import katex_engine
import pytest
from sphinx.errors import SphinxError
from sphinx.testing.util import SphinxTestApp

pytestmark = pytest.mark.usefixtures("katex")

PAGE = r"""# Page

Inline $\hat x_i$, and {eq}`eq-y` as well as {eq}`eq-later`.

$$
\hat x &= \d x \\
y &= \gamma \hat x
$$ (eq-y)

\begin{align}
a &= b
\end{align}
"""
REST = r"""
Other
=====

Cited: :eq:`eq-y`.

.. math:: z = y < x
   :label: eq-later

.. math::

   a = b

   c = d
"""


def build(folder, page=PAGE, rest=REST):
    (folder / "conf.py").write_text(
        "extensions = ['katex', 'myst_parser']\n"
        "myst_enable_extensions = ['amsmath', 'dollarmath']\n"
        r"katex_macros = {r'\d': r'\mathrm{d}'}"
    )
    (folder / "index.md").write_text(page + "\n```{toctree}\nother\nplain\n```\n")
    (folder / "other.rst").write_text(rest)
    (folder / "plain.md").write_text("# No formula\n")
    app = SphinxTestApp("html", srcdir=folder)
    try:
        app.build()
        return app.outdir, app.warning.getvalue()
    finally:
        app.cleanup()


@pytest.fixture(scope="module")
def site(tmp_path_factory, katex):  # noqa: ARG001  (it must be there first)
    outdir, warnings = build(tmp_path_factory.mktemp("site"))
    assert not warnings
    return outdir


def test_formula_is_html_for_the_eye_and_mathml_for_the_ear(site):
    html = (site / "index.html").read_text()
    assert '<span class="math"><span class="katex"><span class="katex-mathml"><math' in html
    assert 'class="katex-html" aria-hidden="true"' in html
    assert r"\hat x" not in re.sub(r"<annotation.*?</annotation>", "", html, flags=re.DOTALL)


def test_equation_scrolls_by_keyboard_and_has_a_name(site):
    assert 'role="group" tabindex="0" aria-label="Equation 1"' in (site / "index.html").read_text()


def test_labels_resolve_between_myst_and_restructuredtext(site):
    assert 'href="other.html#equation-eq-later"' in (site / "index.html").read_text()
    assert 'href="index.html#equation-eq-y"' in (site / "other.html").read_text()
    assert 'id="equation-eq-later"' in (site / "other.html").read_text()


def test_an_equation_is_numbered_once(site):
    html = (site / "index.html").read_text()
    assert html.count('class="eqno"') == 2
    assert "eqn-num" not in html  # KaTeX's own


def test_only_pages_with_formulas_load_the_style_sheet(site):
    assert "katex/katex.css" in (site / "index.html").read_text()
    assert (site / "_static/katex/katex.css").is_file()
    assert "katex" not in (site / "plain.html").read_text()


def test_fonts_that_every_formula_needs_are_asked_for_before_the_style_sheets(site):
    html = (site / "index.html").read_text()
    links = re.findall(r'<link data-rel="preload" href="([^"]*)" as="font" [^>]*crossorigin>', html)
    assert len(links) == len(katex_engine.FONTS_OF_ALL)
    assert all((site / link).is_file() for link in links)
    assert html.index(links[-1]) < html.index('rel="stylesheet"')


@pytest.mark.parametrize(
    ("page", "rest", "place"),
    [
        ("# T\n\ntext\n\n$\\frac{a$\n", REST, r"index\.md:5: .*KaTeX parse error"),
        (PAGE, "T\n=\n\n.. math:: \\foo\n   :label: eq-later\n", r"other\.rst:4: .*\\foo"),
    ],
)
def test_bad_tex_fails_the_build_and_names_page_and_line(tmp_path, page, rest, place):
    with pytest.raises(SphinxError, match=place):
        build(tmp_path, page, rest)


def test_katex_that_cannot_be_had_is_a_sentence_and_no_traceback(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("katex.tgz is not there: do this")

    monkeypatch.setattr(katex_engine, "files", fail)
    with pytest.raises(SphinxError, match=r"^KaTeX, .*: katex.tgz is not there: do this$"):
        build(tmp_path)
