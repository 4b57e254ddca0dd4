import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import race
import widget
import widget_data
from marked_code import to_read
from sphinx.errors import SphinxError
from sphinx.testing.util import SphinxTestApp

from bn_tutorial.lab import figures

pytestmark = pytest.mark.usefixtures("recorded")
FILES = sorted(widget.SCRIPTS.glob("*.js"))


@pytest.mark.parametrize("name", widget.STARTS)
def test_first_view_is_complete_and_well_formed(name):
    html, data = widget.first_view(name)
    assert not re.search(r"NaN|undefined|null|Infinity|\[object", html)
    assert not re.search(r"\son\w+=|https?:|<script|style=", html)
    assert "<table" in html
    assert json.loads(data) == widget.STARTS[name]()[0]
    opened = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, _):
            if tag not in ("input", "rect", "path", "circle"):
                opened.append(tag)

        def handle_startendtag(self, *_):
            pass

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Checker().feed(html)
    assert not opened


def test_sentence_does_not_count_the_others_when_it_is_all_of_them():
    html, _ = widget.first_view("move-a-sample")
    assert "all the others get a gradient too" in " ".join(html.split())


@pytest.mark.parametrize("name", widget.STARTS)
def test_script_that_computes_something_else_fails_the_build(name, monkeypatch):
    data, expected = widget.STARTS[name]()
    for key, value in expected.items():
        wrong = expected | {key: (np.array(value) + 1e-6).tolist()}
        monkeypatch.setitem(widget.STARTS, name, lambda wrong=wrong: (data, wrong))
        with pytest.raises(ValueError, match=rf"{name}\.js computes .* for {key}"):
            widget.first_view(name)


def build(folder, name, content="Shown *without* it: $x$."):
    (folder / "conf.py").write_text(
        "extensions = ['widget', 'myst_parser']\nmyst_enable_extensions = ['dollarmath']\n"
    )
    toctree = "```{toctree}\nplain\n```\n"
    (folder / "index.md").write_text(f"# Page\n\n```{{widget}} {name}\n{content}\n```\n\n{toctree}")
    (folder / "plain.md").write_text("# No widget\n")
    app = SphinxTestApp("html", srcdir=folder)
    try:
        app.build()
        pages = [(app.outdir / page).read_text() for page in ("index.html", "plain.html")]
        return *pages, app.warning.getvalue()
    finally:
        app.cleanup()


def test_only_a_page_with_a_widget_loads_its_scripts(tmp_path):
    index, plain, warnings = build(tmp_path, "set-momentum")
    assert not warnings
    scripts = re.findall(r'<script defer="defer" src="_static/widgets/([\w-]+)\.js', index)
    assert scripts == ["core", "set-momentum"]
    assert "widgets.css" in index
    assert "widgets" not in plain
    text = re.search(r"<noscript>(.*?)</noscript></div>", index, re.DOTALL).group(1)
    assert "Shown <em>without</em> it" in text


def build_with_equations(folder, labels):
    (folder / "conf.py").write_text(
        "extensions = ['widget', 'katex', 'myst_parser']\n"
        "myst_enable_extensions = ['dollarmath']\nkatex_macros = {r'\\d': r'\\mathrm{d}'}\n"
    )
    equations = [f"$$\n\\d q_{{{i}}}\n$$ ({label})\n" for i, label in enumerate(labels)]
    page = "\n".join(["# First", "```{widget} walk-the-graph\nText.\n```", *equations[:8]])
    toctree = "```{toctree}\nsecond\n```\n"
    (folder / "index.md").write_text(f"{page}\n{toctree}")
    (folder / "second.md").write_text("\n".join(["# Second", *equations[8:]]))
    app = SphinxTestApp("html", srcdir=folder)
    try:
        app.build()
        return (app.outdir / "index.html").read_text(), app.warning.getvalue()
    finally:
        app.cleanup()


def test_pieces_are_the_equations_of_the_pages_with_their_lines_of_code(tmp_path):
    labels = widget_data.PIECES["walk-the-graph"]
    html, warnings = build_with_equations(tmp_path, list(labels.values()))
    assert not warnings
    found = re.findall(
        r'<div class="bn-piece" data-piece="(\w+)" hidden>(.*?)</pre>', html, re.DOTALL
    )
    assert [key for key, _ in found] == list(labels)
    for i, (key, piece) in enumerate(found):
        assert rf"\d q_{{{i}}}</annotation>" in piece
        code = unescape(re.sub("<[^>]*>", "", piece.split("<pre>")[1]))
        assert code.strip() == to_read(labels[key])


def test_piece_whose_equation_no_page_has_fails_the_build(tmp_path):
    labels = list(widget_data.PIECES["walk-the-graph"].values())
    with pytest.raises(SphinxError, match=f"shows {labels[3]}: no page has such an equation"):
        build_with_equations(tmp_path, labels[:3] + labels[4:])


def test_what_a_widget_asks_for_later_lies_in_the_site_and_no_page_loads_it(tmp_path):
    index, _, warnings = build(tmp_path, "race")
    assert not warnings
    assert (tmp_path / "_build/html/_static/race/digits.js").read_text() == race.script()
    assert "digits.js" not in index


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("juggle", "Text.", "no widget 'juggle', expected one of move-a-sample"),
        ("set-momentum", "", "Content block expected"),
    ],
)
def test_widget_that_cannot_be_shown_is_a_warning(tmp_path, name, content, message):
    _, _, warnings = build(tmp_path, name, content)
    assert message in warnings


def test_missing_recording_is_a_warning_but_a_gap_while_one_page_is_built(
    tmp_path, recorded, monkeypatch
):
    (tmp_path / "source").mkdir()
    recorded.save()
    assert "saved no recording" in build(tmp_path / "source", "replay-a-training")[2]
    recorded.path.unlink()
    assert "nothing is saved" in build(tmp_path / "source", "replay-a-training")[2]
    monkeypatch.setenv("BN_TUTORIAL_ONLY", "01_x/plot_01")
    index, _, warnings = build(tmp_path / "source", "replay-a-training", "Other text.")
    assert not warnings
    assert "[not recorded]" in index


def test_colours_are_those_of_the_figures():
    site, own = (
        (widget.SCRIPTS.parent / name).read_text().split('html[data-theme="dark"]')[:2]
        for name in ("site.css", "widgets.css")
    )
    assert "--bn-blue: var(--without);" in own[0]
    assert "--bn-orange: var(--with);" in own[0]
    colors = {"without": "blue", "with": "orange"}
    used = [("--bn-" + name, name, own) for name in re.findall(r"--bn-(\w+): #", own[0])]
    used += [("--" + name, color, site) for name, color in colors.items()]
    assert len(used) > 3
    for variable, color, (light, dark) in used:
        assert f"{variable}: {figures.COLORS[color]};" in light
        assert f"{variable}: {figures.DARK[figures.COLORS[color]]};" in dark


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_script_is_small_and_needs_nothing_from_elsewhere(path):
    source = path.read_text()
    assert len(source.encode()) < 18_000  # all of a page: see tests/browser/test_pages.py
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|\beval\(", source)


def test_every_widget_has_its_script():
    assert {path.stem for path in FILES} == {"core", "predict", *widget_data.STARTS}
