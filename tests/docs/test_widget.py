import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import widget
import widget_data
from sphinx.testing.util import SphinxTestApp

from bn_tutorial.lab import figures
from bn_tutorial.scratch import functional
from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum
from bn_tutorial.scratch.layers import BatchNorm2D, GroupNorm, InstanceNorm2D, LayerNorm, RMSNorm
from bn_tutorial.scratch.moments import running_average

RECORDING = {
    "steps": [0, 10, 20],
    "arms": {
        name: {
            "accuracy": [0.1, last / 2, last],
            "activations": [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]],
            "gradients": [[1e-5 * last, 0.03], [2.5e-3, 0.01], [0.5, 1e-8]],
        }
        for name, last in {"without BN": 0.2, "with BN": 0.9}.items()
    },
}
FILES = sorted(widget.SCRIPTS.glob("*.js"))


@pytest.fixture(autouse=True)
def recorded(tmp_path, monkeypatch):
    """A recording, as the experiment would leave it."""
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    monkeypatch.delenv("BN_TUTORIAL_ONLY", raising=False)
    path = widget_data.recording_of("replay-a-training")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"values": {}, "recording": RECORDING}))
    return path


def js(expression, **values):
    return widget.interpreter().evaljs(f"bnWidgets.{expression}", **values)


def column(values):
    return np.array(values)[:, np.newaxis]


@pytest.mark.parametrize("seed", range(20))
def test_move_a_sample_computes_what_the_package_does_in_both_modes(seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(rng.normal(0, 3), 2, size=(2, rng.integers(2, 9)))
    gamma, beta, mean = rng.normal(size=3)
    var, eps = rng.uniform(0.1, 3), 10.0 ** rng.integers(-8, 1)
    parameters = np.array([gamma]), np.array([beta])
    given = {"x": x.tolist(), "dy": dy.tolist(), "gamma": gamma, "beta": beta, "eps": eps}

    y, cache = functional.batch_norm_forward(column(x), *parameters, eps=eps)
    dx, _, _ = functional.batch_norm_backward(column(dy), cache)
    ours = js("forward(dukpy.x, dukpy.gamma, dukpy.beta, dukpy.eps)", **given)
    gradient = js("backward(dukpy.dy, dukpy.cache)", dy=dy.tolist(), cache=ours)
    np.testing.assert_allclose(ours["y"], y.ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours["mu"], cache.mu.item(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours["variance"], cache.var.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, dx.ravel(), rtol=1e-10, atol=1e-12)

    statistics = np.array([mean]), np.array([var])
    y, cache = functional.batch_norm_eval_forward(column(x), *parameters, *statistics, eps=eps)
    dx, _, _ = functional.batch_norm_eval_backward(column(dy), cache)
    call = "standardized(dukpy.x, dukpy.gamma, dukpy.beta, dukpy.eps, dukpy.mean, dukpy.var)"
    ours = js(call, **given, mean=mean, var=var)
    gradient = js("evalBackward(dukpy.dy, dukpy.cache)", dy=dy.tolist(), cache=ours)
    np.testing.assert_allclose(ours["y"], y.ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient, dx.ravel(), rtol=1e-12)


def layers(channels, groups, height, width):
    return {
        "Batch": BatchNorm2D(channels),
        "Layer": LayerNorm((channels, height, width)),
        "Instance": InstanceNorm2D(channels),
        "Group": GroupNorm(groups, channels),
        "RMS": RMSNorm((channels, height, width)),
    }


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", ["Batch", "Layer", "Instance", "Group", "RMS"])
def test_share_a_mean_pools_what_the_layer_pools(kind, groups):
    """With dy one at a single number, its gradient reaches all that share its statistics."""
    samples, channels, height, width = shape = (4, 6, 2, 2)
    x = np.random.default_rng(0).normal(size=shape)
    data = {"values": x.reshape(samples, channels, -1).tolist()}
    for n, c in [(0, 0), (3, 2), (1, 5)]:
        layer = layers(channels, groups, height, width)[kind]
        layer.forward(x)
        dy = np.zeros(shape)
        dy[n, c, 1, 0] = 1.0
        reached = (layer.backward(dy) != 0).all(axis=(2, 3))
        state = {"kind": kind, "groups": groups, "n": n, "c": c}
        numbers = js("numbersOf('share-a-mean', dukpy.s, dukpy.d)", s=state, d=data)
        np.testing.assert_array_equal(numbers["pooled"], reached)
        values = x[reached]
        assert numbers["m"] == values.size
        assert numbers["sets"] == x.size // values.size
        np.testing.assert_allclose(
            [numbers["mean"], numbers["variance"], numbers["square"]],
            [values.mean(), values.var(), np.square(values).mean()],
            rtol=1e-12,
        )


@pytest.mark.parametrize("alpha", [0.001, 0.013, 0.1, 0.5, 1.0])
def test_set_momentum_computes_what_the_package_does(alpha):
    left = np.array(1.0)
    for k in range(30):
        assert js("left(dukpy.a, dukpy.k)", a=alpha, k=k) == pytest.approx(left, rel=1e-12)
        left = running_average(left, np.array(0.0), alpha)
    weights = alpha * (1 - alpha) ** np.arange(40_000)
    window = 1 / np.square(weights).sum()
    assert js("effectiveWindow(dukpy.a)", a=alpha) == pytest.approx(window, rel=1e-9)
    for name, framework in FRAMEWORKS.items():
        ours = js("written(dukpy.a, dukpy.w)", a=alpha, w=framework.momentum_weighs)
        assert ours == convert_momentum(alpha, "pytorch", name)


def test_replay_shows_the_chosen_frame():
    arms = RECORDING["arms"].values()
    for i, step in enumerate(RECORDING["steps"]):
        numbers = js("numbersOf('replay-a-training', {i: dukpy.i}, dukpy.d)", i=i, d=RECORDING)
        assert numbers.pop("step") == step
        assert numbers == {quantity: [arm[quantity][i] for arm in arms] for quantity in numbers}
        assert set(numbers) == {"accuracy", "activations", "gradients"}


def test_frameworks_default_is_a_position_of_the_slider():
    for name, framework in FRAMEWORKS.items():
        alpha = round(convert_momentum(framework.momentum, name, "pytorch"), 12)
        assert js("toAlpha(bnWidgets.toPosition(dukpy.a))", a=alpha) == alpha


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
    recorded.unlink()
    (tmp_path / "source").mkdir()
    assert "build that page first" in build(tmp_path / "source", "replay-a-training")[2]
    monkeypatch.setenv("BN_TUTORIAL_ONLY", "01_x/plot_01")
    index, _, warnings = build(tmp_path / "source", "replay-a-training", "Other text.")
    assert not warnings
    assert "[not recorded]" in index


def test_colours_are_those_of_the_figures():
    css = (widget.SCRIPTS.parent / "widgets.css").read_text()
    light, dark = css.split('html[data-theme="dark"]')
    used = set(re.findall(r"--bn-(\w+): #", css))
    assert {"blue", "orange", "green"} <= used
    for name in used:
        assert f"--bn-{name}: {figures.COLORS[name]};" in light
        assert f"--bn-{name}: {figures.DARK[figures.COLORS[name]]};" in dark


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_script_is_small_and_needs_nothing_from_elsewhere(path):
    source = path.read_text()
    assert len(source.encode()) < 10_000
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|\beval\(", source)


def test_every_widget_has_its_script():
    assert {path.stem for path in FILES} == {"core", *widget_data.STARTS}
