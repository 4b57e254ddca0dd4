import json
import re

import pytest
import symbols
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

pytestmark = [
    pytest.mark.usefixtures("katex"),
    pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app"),
]

CONF = r"""
extensions = ["katex", "symbols", "equation_code", "myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
katex_macros = {r"\d": r"\mathrm{d}"}
"""
NOTATION = r"""# Notation

| symbol | name in code | shape | meaning |
| --- | --- | --- | --- |
| $x$ | `x` | $(N, C)$ | input |
| $\mu$ | `mu` | $(C)$ | mean over the batch |
| $x - \mu$ | `xmu` | that of $x$ | centered input |
| $m$ | `m` | | values that share one mean |
| $a$ | `a` | | nothing in particular |
| $\d x$ | `dx` | that of $x$ | what comes back |

On one page:

| symbol | name in code | shape | meaning | on |
| --- | --- | --- | --- | --- |
| $q$ | `mu` | | another `mu` | [other](derivations/other.ipynb) |
| $m$ | | | a mass | [other](derivations/other.ipynb) |
"""
TEXT = r"""# Page

$$
x_i - \mu &= \d x_i \cdot q \\
&= \frac1m \sum_{j=1}^m \sqrt\mu
$$ (eq-center)

```{equation-code} eq-center
```

And $\d\mu$.
"""
CODE = "xmu = x - mu\nx.mu(mu=m)"
PRINTED = """mu = 3.0, m = 2e-05
xmu [1.0, -2.0]   dx = (1, 2)
x . mu = 0, and x < mu
a sample's x_1, dS/dx, xmus, my.mu, m 3
"""


def notebook(text):
    stream = {"output_type": "stream", "name": "stdout", "text": PRINTED}
    code = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": CODE}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": text},
        {**code, "outputs": [stream]},
    ]
    language = {"name": "python", "pygments_lexer": "ipython3"}
    return json.dumps(
        {
            "cells": cells,
            "metadata": {"language_info": language},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory, katex):  # noqa: ARG001  (it must be there first)
    source = tmp_path_factory.mktemp("site")
    (source / "derivations").mkdir()
    pages = ("derivations/page", "derivations/other", "elsewhere")
    for name, text in {
        "conf.py": CONF,
        "index.md": "# Home\n\n```{toctree}\nnotation\n" + "\n".join(pages) + "\n```\n",
        "notation.md": NOTATION,
        # Labels are those of one page alone.
        **{
            f"{page}.ipynb": notebook(TEXT if i == 0 else TEXT.replace(" (eq-center)", ""))
            for i, page in enumerate(pages)
        },
    }.items():
        (source / name).write_text(text)
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert not app.warning.getvalue()
        return app.outdir
    finally:
        app.cleanup()


def read(site, page):
    return BeautifulSoup((site / f"{page}.html").read_text(), "html.parser")


def marks(tag):
    """What is marked, in order: the symbol's key, and the text."""
    return [(mark["data-s"], mark.get_text()) for mark in tag.select("[data-s]")]


def test_symbols_of_formulas_are_marked_for_the_eye(site):
    page = read(site, "derivations/page")
    keys = [key for key, _ in marks(page.select_one(".equation .katex-html"))]
    assert keys == ["x-mu", "x", "mu", "dx", "m", "m", "mu"]
    assert [key for key, _ in marks(page.select_one("p .math"))] == ["dmu"]


def test_mathml_is_the_same_with_and_without_marks(site):
    with_marks, without = (read(site, page) for page in ("derivations/page", "elsewhere"))
    heard = [str(formula) for formula in with_marks.select(".katex-mathml")]
    assert len(heard) == 2
    assert "data-s" not in "".join(heard)
    assert heard == [str(formula) for formula in without.select(".katex-mathml")]


def test_marks_move_nothing(site):
    with_marks, without = (read(site, page) for page in ("derivations/page", "elsewhere"))
    for mark in with_marks.select(".katex-html [data-s]"):
        mark.unwrap()
    measures = re.compile(r'style="[^"]*"|>[^<]+<')  # heights and places of boxes, and their text
    seen, expected = (
        ["".join(measures.findall(str(formula))) for formula in page.select(".katex-html")]
        for page in (with_marks, without)
    )
    assert seen == expected


def test_each_name_is_marked_in_the_code_beside_an_equation(site):
    code = read(site, "derivations/page").select_one(".equation-code pre")
    assert marks(code) == [("x-mu", "xmu"), ("x", "x"), ("mu", "mu")]


def test_names_of_one_letter_may_be_anything_in_a_cell(site):
    cell = read(site, "derivations/page").select_one(".cell_input")
    assert marks(cell) == [("x-mu", "xmu"), ("mu", "mu"), ("mu", "mu"), ("mu", "mu")]


def test_printed_names_are_marked_with_the_values_that_stand_directly_behind(site):
    printed = read(site, "derivations/page").select_one(".output pre")
    assert printed.get_text() == PRINTED
    assert marks(printed) == [
        ("mu", "mu = 3.0"),
        ("m", "m = 2e-05"),
        ("x-mu", "xmu [1.0, -2.0]"),
        ("dx", "dx = (1, 2)"),
        ("x", "x"),
        ("mu", "mu"),  # what is zero is the product
        ("x", "x"),
        ("mu", "mu"),
        ("m", "m"),
    ]


def test_row_that_names_a_page_comes_first_there_and_is_unknown_elsewhere(site):
    assert "q" not in dict(marks(read(site, "derivations/page")))
    other = read(site, "derivations/other")
    assert {"q", "mu", "m_"} <= {key for key, _ in marks(other.select_one(".equation"))}
    assert marks(other.select_one(".cell_input"))[1] == ("q", "mu")


def test_only_derivations_have_marks_and_load_the_script(site):
    assert not marks(read(site, "elsewhere"))
    for page, loads in (("derivations/page", True), ("elsewhere", False), ("notation", False)):
        assert ("symbols.js" in (site / f"{page}.html").read_text()) == loads


def test_every_mark_has_a_hint_with_name_meaning_and_shape(site):
    text = (site / "_static/symbol-hints.js").read_text()
    hints = json.loads(text.removeprefix("symbolHints(").removesuffix(");\n"))
    assert list(hints) == sorted(hints)
    assert dict(marks(read(site, "derivations/page"))).keys() <= hints.keys()
    said = {key: BeautifulSoup(hint, "html.parser") for key, hint in hints.items()}
    for hint in said.values():
        for formula in hint.select(".katex"):
            formula.replace_with(formula.annotation.get_text())
    assert said["mu"].get_text() == r"\mu mu mean over the batch; shape (C)"
    assert said["m"].get_text() == "m values that share one mean"
    gradient = (
        r"\d \mu dmu gradient of the loss with respect to \mu (mean over the batch); shape (C)"
    )
    assert said["dmu"].get_text() == gradient
    # That of a number is one, too: else of its spelling only the number would light up.
    assert said["dm"].get_text().startswith(r"\d m gradient of the loss with respect to m (")
    assert said["dx"].get_text() == r"\d x dx what comes back; shape that of x"  # has a row


def test_site_without_a_table_has_no_marks(tmp_path):
    (tmp_path / "derivations").mkdir()
    (tmp_path / "conf.py").write_text("extensions = ['symbols']")
    (tmp_path / "index.rst").write_text("Home\n====\n\n.. toctree::\n\n   derivations/page\n")
    (tmp_path / "derivations/page.rst").write_text("Page\n====\n\n:math:`x`\n")
    app = SphinxTestApp("html", srcdir=tmp_path)
    try:
        app.build()
        assert not app.warning.getvalue()
        assert "data-s" not in (app.outdir / "derivations/page.html").read_text()
        assert not (app.outdir / "_static/symbol-hints.js").exists()
    finally:
        app.cleanup()


def test_table_of_the_site_names_pages_that_exist():
    folder = symbols.Path(__file__).parents[2] / "docs"
    pages = re.findall(r"\]\((derivations/\w+\.md)\)", (folder / "notation.md").read_text())
    assert pages
    assert all((folder / page).is_file() for page in pages)
