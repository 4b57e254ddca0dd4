"""What a reader does with the graph of the backward pass, and whether what it shows is right."""

import ast
import re

import answering
import numpy as np
import pytest
import visits
import widget_data
from marked_code import to_read
from npm_package import files

from bn_tutorial.scratch.functional import batch_norm_forward, batch_norm_gradients

PAGE = "derivations/backward.html"
FORWARD, BACKWARD = (
    ["mu", "xmu", "var", "r", "xhat", "y"],
    ["dy", "dbeta", "dgamma", "dxhat", "dr", "dvar", "dxmu", "dmu", "dx"],
)
STEPS = ["", *FORWARD, *BACKWARD]
# What the axe tests need of the page: the graph, and nothing below it.
ALONE = (
    """() => document.querySelectorAll("article section section").forEach(part => part.remove())"""
)
RUN_AXE = visits.axe_on("walk-the-graph")
SCHEMES = {  # which rules axe is asked for: where the colours or the width are others, only those
    (1280, "light"): [visits.ALSO, []],
    (1280, "dark"): [[], visits.OF_COLOUR],
    (375, "dark"): [[], visits.OF_WIDTH],
}


@pytest.fixture
def walk(open_page):
    """A function that opens the page and returns the widget."""

    def walk(**options):
        root = open_page(PAGE, **options).locator('[data-widget="walk-the-graph"]')
        root.scroll_into_view_if_needed()
        return root

    return walk


def computed(x, dy, gamma, beta, eps):
    """What the package finds at every node, and along both ways to x - mu."""
    x, dy = np.array(x)[:, np.newaxis], np.array(dy)[:, np.newaxis]
    y, cache = batch_norm_forward(x, np.array([gamma]), np.array([beta]), eps=eps)
    found = {"x": x, "mu": cache.mu, "xmu": x - cache.mu, "var": cache.var, "r": cache.r}
    found |= {"xhat": cache.xhat, "y": y, "gamma": gamma, "beta": beta, "eps": eps, "dy": dy}
    found |= batch_norm_gradients(dy, cache)._asdict()
    return {name: np.ravel(value) for name, value in found.items()}


def calculation(name, n):
    """The numbers of the table at a step: the columns, and what stands below them."""
    m = len(n["x"])
    tables = {
        "": (["x"], ""),
        "mu": (["x"], "mu"),
        "xmu": (["x", "xmu"], ""),
        "var": (["xmu", n["xmu"] ** 2], "var"),
        "r": (["var", "eps", "r"], ""),
        "xhat": (["xmu", "xhat"], ""),
        "y": (["xhat", "y"], ""),
        "dy": (["dy"], ""),
        "dbeta": (["dy"], "dbeta"),
        "dgamma": (["dy", "xhat", n["dy"] * n["xhat"]], "dgamma"),
        "dxhat": (["dy", "dxhat"], ""),
        "dr": (["dxhat", "xmu", n["dxhat"] * n["xmu"]], "dr"),
        "dvar": (["dr", "dvar"], ""),
        "dxmu": ([n["r"] * n["dxhat"], 2 / m * n["xmu"] * n["dvar"], "dxmu"], ""),
        "dmu": (["dxmu", -n["dxmu"]], "dmu"),
        "dx": (["dxmu", np.repeat(n["dmu"] / m, m), "dx"], ""),
    }
    columns, below = tables[name]
    columns = [n[column] if isinstance(column, str) else column for column in columns]
    return [*np.ravel(columns, order="F"), *(n[below] if below else [])]


def slopes(name, n):
    """The numbers at the arrows along which the gradient of a step comes, where there is one."""
    numbers = {
        "dxhat": n["gamma"],
        "dvar": -(n["r"] ** 3) / 2,
        "dxmu": n["r"],
        "dx": [1 / len(n["x"])],
    }
    return [*numbers.get(name, [])]


def numbers(texts):
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]


def shown(root, selector):
    """The numbers of the elements, as they stand there."""
    return numbers(root.locator(selector).all_text_contents())


def close(left, right):
    np.testing.assert_allclose(left, right, rtol=0.006, atol=0.00501)  # as many digits are shown


def go(root, count):
    """Click on the button that leads on."""
    for _ in range(count):
        root.locator('[data-go="1"]').click(force=True)  # also where nothing follows


def start_again(root):
    root.get_by_role("button", name="Start again").click()


def start():
    data = widget_data.walk_the_graph()[0]
    return {key: data[key] for key in ("x", "dy", "gamma", "beta")} | {"eps": 1e-5}


OTHER = {"x": [2.5, -1.0, 0.4, 4.1], "dy": [0.7, -1.2, 0.1, 1.9], "gamma": -0.8, "beta": 1.1}
OTHER |= {"eps": 0.01}


def set_numbers(root, values):
    """Move the sliders to the values."""
    for kind in ("x", "dy"):
        for i, value in enumerate(values[kind]):
            root.get_by_label(f"{kind}{i + 1}", exact=True).fill(str(value))
    root.get_by_label("\N{GREEK SMALL LETTER GAMMA}", exact=True).fill(str(values["gamma"]))
    root.get_by_label("\N{GREEK SMALL LETTER BETA}", exact=True).fill(str(values["beta"]))
    exponent = round(np.log10(values["eps"]))
    root.get_by_label("\N{GREEK SMALL LETTER EPSILON}", exact=True).fill(str(exponent))


def test_view_of_the_script_is_the_one_that_the_build_wrote(walk):
    written, fresh = walk().evaluate(
        """root => {
          const fresh = document.createElement("template");
          const data = JSON.parse(root.querySelector("script").textContent);
          fresh.innerHTML = bnWidgets.first(root.dataset.widget, data).html;
          const views = [root, fresh.content].map(place =>
            [".bn-view", ".bn-said"].map(part => place.querySelector(part).outerHTML));
          return views;
        }"""
    )
    assert written == fresh


@pytest.mark.parametrize("values", [start(), OTHER], ids=["the first batch", "another"])
def test_every_step_shows_the_numbers_of_the_package(walk, values):
    root = walk()
    if values is OTHER:
        set_numbers(root, values)
    right = computed(**values)
    for name in STEPS:
        close(shown(root, ".bn-work td:not(.bn-bits)"), calculation(name, right))
        close(shown(root, ".bn-slope g text"), slopes(name, right))
        go(root, 1)
    nodes = ["x", "mu", "xmu", "var", "r", "xhat", "y", "gamma", "beta"]
    gradients = [value for node in nodes for value in right[f"d{node}"]]
    close(shown(root, ".bn-grad"), gradients)


def test_numbers_are_those_of_the_package_in_double_precision(walk):
    root, rng = walk(), np.random.default_rng(0)
    for _ in range(10):
        x, dy = rng.normal(rng.normal(0, 3), 2, size=(2, 4)).tolist()
        gamma, beta = rng.normal(size=2).tolist()
        exponent = int(rng.integers(-5, 1))
        state = {"at": 0, "x": x, "dy": dy, "gamma": gamma, "beta": beta, "exponent": exponent}
        ours = root.evaluate("(_, state) => bnWidgets.numbersOf('walk-the-graph', state)", state)
        right = computed(x, dy, gamma, beta, 10.0**exponent)
        for name, value in right.items():
            np.testing.assert_allclose(np.ravel(ours[name]), value, rtol=1e-10, atol=1e-13)


def test_slider_changes_the_numbers_of_the_step_in_hand(walk):
    root = walk()
    go(root, STEPS.index("dx"))
    root.get_by_label("x3", exact=True).focus()
    for _ in range(5):
        root.page.keyboard.press("ArrowRight")
    values = start()
    values["x"][2] += 0.5
    close(shown(root, ".bn-work td:not(.bn-bits)"), calculation("dx", computed(**values)))
    for i in range(4):
        root.get_by_label(f"dy{i + 1}", exact=True).fill("0.7")
    close(shown(root, ".bn-work td:not(.bn-bits)")[2::3], 0)


def test_contributions_stand_head_to_tail_and_end_at_their_sum(walk):
    root = walk()
    for name in ("dxmu", "dx"):
        go(root, STEPS.index(name) - (STEPS.index("dxmu") if name == "dx" else 0))
        for row in root.locator(".bn-work tbody tr").all():
            first, second, total = shown(row, "td:not(.bn-bits)")
            paths = [bar.get_attribute("d") for bar in row.locator(".bn-bit").all()]
            bars = [
                [float(re.search(sign, path)[1]) for sign in (r"^M(\S+)", r"L(\S+)")]
                for path in paths
            ]
            zero = float(row.locator(".bn-axis").get_attribute("d")[1:].split()[0])
            end = float(row.locator(".bn-sum").get_attribute("d")[1:].split()[0])
            (x1, tip1), (x2, tip2) = bars
            assert zero == pytest.approx(x1, abs=0.2)
            assert tip1 == pytest.approx(x2, abs=0.2)
            assert end == pytest.approx(tip2, abs=0.2)
            # Each points to where its sign says.
            assert [np.sign(round(tip1 - x1, 1)), np.sign(round(tip2 - x2, 1))] == [
                np.sign(round(v, 2)) for v in (first, second)
            ]
            assert np.sign(round(end - zero, 3)) == np.sign(total)


def test_equation_and_line_of_the_node_in_hand_are_seen_and_no_others(walk):
    root = walk()
    pieces = widget_data.PIECES["walk-the-graph"]
    for name in STEPS:
        visible = [piece for piece in root.locator(".bn-piece").all() if piece.is_visible()]
        assert [piece.get_attribute("data-piece") for piece in visible] == (
            [name] if name in pieces else []
        )
        for piece in visible:
            code = piece.locator("pre").inner_text()
            assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(to_read(pieces[name])))
            label = f"equation-{pieces[name]}"
            twin = root.page.locator(f"div.math#{label} annotation")
            if twin.count():  # the equations of the forward pass stand on the page before
                assert piece.locator("annotation").text_content() == twin.text_content()
        go(root, 1)


def lit(root):
    """How many arrows are lit forward, and how many back."""
    return [root.locator(f".bn-arrow.{kind}").count() for kind in ("bn-lit", "bn-now")]


def test_arrows_of_the_node_in_hand_are_lit_and_stay_turned_round_behind_the_gradient(walk):
    root = walk()
    ways = [(0, 0), (1, 0), (2, 0), (1, 0), (1, 0), (2, 0), (3, 0)]
    ways += [(0, 0), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 2), (0, 1), (0, 2)]
    turned = 0
    for name, expected in zip(STEPS, ways, strict=True):
        assert tuple(lit(root)) == expected, name
        turned += expected[1]
        assert root.locator(".bn-arrow.bn-back[marker-start]").count() == turned
        assert root.locator(".bn-arrow:not(.bn-back)[marker-end]").count() == 10 - turned
        assert root.locator(".bn-node.bn-now").count() == (1 if name else 0)
        go(root, 1)
    assert turned == 10


def test_press_on_a_node_goes_to_its_step_and_once_more_to_that_of_the_other_way(walk):
    root = walk()
    said = root.locator(".bn-said")
    for node, begins in [
        *(("r", "Forward, 4"), ("r", "Backward, 5"), ("r", "Forward, 4"), ("xhat", "Forward, 5")),
        *(("gamma", "Backward, 3"), ("var", "Backward, 6"), ("x", "Backward, 9")),
        *(("xmu", "Backward, 7"), ("xmu", "Forward, 2"), ("y", "Forward, 6"), ("y", "Backward, 1")),
    ]:
        root.locator(f'[data-node="{node}"]').click()
        root.page.wait_for_timeout(50)
        assert said.inner_text().startswith(begins), node


def test_next_goes_no_farther_than_the_last_step_and_start_again_has_a_place_of_its_own(walk):
    root = walk()
    onward = root.get_by_role("button", name="Next").bounding_box()
    go(root, len(STEPS) + 2)
    root.page.wait_for_timeout(50)
    assert root.locator(".bn-said").inner_text().startswith("Backward, 9 of 9.")
    assert root.get_by_role("button", name="Next").bounding_box() == onward
    assert root.get_by_role("button", name="Next").get_attribute("aria-disabled") == "true"
    start_again(root)
    root.page.wait_for_timeout(50)
    assert root.locator(".bn-said").inner_text().startswith("What is computed")


def test_arrow_keys_walk_it_while_it_is_seen_and_nothing_else_has_the_focus(walk):
    root = walk()
    page, said = root.page, root.locator(".bn-said")
    root.locator(".bn-figure").evaluate(
        "box => box.scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    keys = [("ArrowRight", "Forward, 1"), ("ArrowRight", "Forward, 2"), ("ArrowLeft", "Forward, 1")]
    for key, begins in [*keys, ("Alt+ArrowRight", "Forward, 1"), ("ArrowDown", "Forward, 1")]:
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        assert said.inner_text().startswith(begins)
    box = page.locator(".equation[tabindex]:visible").last  # which has a use for the keys
    for place, act in (("focus", box.focus), ("sight", lambda: page.evaluate("scrollTo(0, 1e6)"))):
        page.evaluate("document.activeElement.blur()")
        act()
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(50)
        assert said.text_content().startswith("Forward, 1"), place


@pytest.mark.parametrize("width", [1280, 375])
def test_sliders_are_wide_enough_to_be_set(walk, width):
    for slider in walk(width=width).locator("input[type=range]").all():
        assert slider.bounding_box()["width"] >= 150


def test_graph_is_walked_with_the_keyboard_alone(walk):
    root = walk()
    page = root.page
    root.get_by_role("button", name="Back").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert root.locator(".bn-said").inner_text().startswith("Forward, 1 of 6.")
    for key in ["ArrowRight"] * 9 + ["ArrowLeft"]:
        page.keyboard.press(key)
    page.wait_for_timeout(50)
    assert root.locator(".bn-said").inner_text().startswith("Backward, 3 of 9.")
    assert page.evaluate("document.activeElement.dataset.go") == "1"
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(50)
    assert root.locator(".bn-said").inner_text().startswith("What is computed")


def swipe(page, box, across, down=0):
    """Stroke the middle of a box with a finger."""
    session = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2 - across / 2, box["y"] + 150
    for kind, share in [("Start", 0), ("Move", 0.3), ("Move", 0.7), ("Move", 1), ("End", None)]:
        points = [] if share is None else [{"x": x + share * across, "y": y + share * down}]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    page.wait_for_timeout(100)


def test_finger_walks_it_and_scrolls_the_page_over_it(browser, address):
    context = browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 375, "height": 800}
    )
    page = context.new_page()
    page.goto(f"{address}/{PAGE}")
    root = page.locator('[data-widget="walk-the-graph"]')
    picture = root.locator(".bn-figure")
    picture.evaluate("box => box.scrollIntoView({block: 'center', behavior: 'instant'})")
    said = root.locator(".bn-said")
    for across, begins in [(-120, "Forward, 1"), (-120, "Forward, 2"), (120, "Forward, 1")]:
        swipe(page, picture.bounding_box(), across)
        assert said.inner_text().startswith(begins)
    before = page.evaluate("scrollY")
    swipe(page, picture.bounding_box(), 0, -120)
    assert said.inner_text().startswith("Forward, 1")
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") > before
    root.get_by_role("button", name="Next").tap()
    assert said.inner_text().startswith("Forward, 2")
    context.close()


def test_only_a_new_step_is_spoken(walk):
    root = walk()
    root.evaluate(
        """root => { window.spoken = 0; new MutationObserver(() => window.spoken++)
        .observe(root.querySelector("[aria-live]"), {childList: true, characterData: true}); }"""
    )
    go(root, 2)
    root.page.wait_for_timeout(300)
    assert root.page.evaluate("window.spoken") == 2
    root.get_by_label("x1", exact=True).fill("3")
    root.page.wait_for_timeout(400)
    assert root.page.evaluate("window.spoken") == 2


@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_jumps_or_is_cut_off_at_any_step(walk, width):
    root = walk(width=width)
    height = root.bounding_box()["height"]
    for _ in STEPS:
        assert root.bounding_box()["height"] == pytest.approx(height, abs=1)
        assert root.page.evaluate(visits.OVERFLOW) == 0
        for box in (root, root.locator(".bn-work"), root.locator(".bn-pairs")):
            assert box.evaluate("box => box.scrollWidth <= box.clientWidth")
        go(root, 1)


@pytest.mark.parametrize(("width", "scheme"), SCHEMES)
def test_axe_finds_nothing_at_any_step(walk, width, scheme):
    root = walk(width=width, scheme=scheme)
    page = root.page
    page.evaluate(files(visits.AXE)["axe.min.js"].decode())
    for script in (visits.AT_ONCE, ALONE, visits.SIMPLIFY):
        page.evaluate(script)
    for _ in STEPS:
        assert page.evaluate(RUN_AXE, SCHEMES[width, scheme]) == []
        go(root, 1)


@pytest.mark.timed
def test_every_control_answers_at_once_on_a_slow_processor(walk, browser):
    root = walk(width=375)
    onward = answering.press(root.locator('[data-go="1"]'))
    acts = {f"to step {i}": onward for i in range(1, len(STEPS))}
    acts["back by key"] = lambda: root.locator('[data-go="1"]').press("ArrowLeft")
    acts["to a node"] = answering.press(root.locator('[data-node="r"]'))
    acts |= answering.ways(root)
    acts["anew"] = answering.press(root.get_by_role("button", name="Start again"))
    answering.check(answering.times(browser, root.page, acts))


def test_it_works_from_a_file_and_where_nothing_may_move(site, browser):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto((site / PAGE).as_uri())
    root = page.locator('[data-widget="walk-the-graph"]')
    go(root, 9)
    assert root.locator(".bn-said").inner_text().startswith("Backward, 3 of 9.")
    assert page.evaluate("document.getAnimations().length") == 0
    context.close()


def test_without_javascript_the_whole_graph_is_there_and_no_control(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / PAGE).as_uri())
    root = page.locator('[data-widget="walk-the-graph"]')
    assert root.locator("svg .bn-node").count() == 9
    assert root.locator(".bn-figure svg").is_visible()
    assert "slope" in root.locator(".bn-said").inner_text()
    assert root.locator("noscript p").is_visible()
    for control in root.locator("input, button, .bn-piece").all():
        assert not control.is_visible()
    context.close()
