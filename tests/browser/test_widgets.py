"""What a reader does with the widgets, and whether the numbers that they show are right."""

import json

import answering
import numpy as np
import pytest
import visits
import widget_data

from bn_tutorial.scratch.frameworks import FRAMEWORKS, convert_momentum
from bn_tutorial.scratch.functional import (
    batch_norm_backward,
    batch_norm_eval_backward,
    batch_norm_eval_forward,
    batch_norm_forward,
)

# Each stands where its idea is explained.
PAGES = {
    "move-a-sample": "derivations/forward.html",
    "share-a-mean": "derivations/other_axes.html",
    "set-momentum": "derivations/statistics.html",
    "replay-a-training": "gallery/03_in_training/plot_10_replay_a_training.html",
}


@pytest.fixture
def touch(open_page):
    """A function that opens the page and returns one of its widgets."""

    def touch(name, **options):
        page = open_page(PAGES[name], **options)
        return page.locator(f'.bn-widget[data-widget="{name}"]')

    return touch


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def table(root):
    """The body of a table as numbers, row headings left out."""
    cells = root.locator("tbody td").all_inner_texts()
    return np.array([number(text) for text in cells]).reshape(-1, 4)


def said(root):
    """What is said, once the pause after the last change is over."""
    root.page.wait_for_timeout(400)
    return root.locator(".bn-said").inner_text()


def facts(root):
    names, values = (root.locator(f".bn-facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def expected_table(x, upstream, *, gamma=1.0, beta=0.0, eps=1e-5, running=None):
    """The columns x, y, dy, dx as the package computes them."""
    x, dy = np.array(x)[:, np.newaxis], np.array(upstream, dtype=float)[:, np.newaxis]
    parameters = np.array([gamma]), np.array([beta])
    if running is None:
        y, cache = batch_norm_forward(x, *parameters, eps=eps)
        dx, _, _ = batch_norm_backward(dy, cache)
    else:
        statistics = (np.array([value]) for value in running)
        y, cache = batch_norm_eval_forward(x, *parameters, *statistics, eps=eps)
        dx, _, _ = batch_norm_eval_backward(dy, cache)
    return np.hstack([x, y, dy, dx])


def close(shown, right):
    np.testing.assert_allclose(shown, right, atol=0.00501)  # two decimals


@pytest.fixture
def start():
    return widget_data.move_a_sample()[0]


ONE = [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("widget", PAGES)
def test_view_of_the_script_is_the_one_that_the_build_wrote(touch, widget):
    root = touch(widget)
    box = root.bounding_box()
    written, fresh = visits.first_views(root)
    assert written == fresh
    field = root.locator("input, button").first
    field.focus()
    root.page.keyboard.press("ArrowRight")
    root.page.keyboard.press("ArrowLeft")
    assert root.bounding_box()["height"] == pytest.approx(box["height"], abs=1)


def test_sample_moves_with_the_arrow_keys_and_all_outputs_with_it(touch, start):
    root = touch("move-a-sample")
    close(table(root), expected_table(start["x"], ONE))
    root.get_by_label("x of sample 3", exact=True).focus()
    for key in ["ArrowRight"] * 7 + ["ArrowLeft"]:
        root.page.keyboard.press(key)
    x = list(start["x"])
    x[2] += 0.6
    close(table(root), expected_table(x, ONE))
    root.page.keyboard.press("End")
    x[2] = 4.0
    close(table(root), expected_table(x, ONE))
    assert f"mean {np.mean(x):.2f} and variance {np.var(x):.2f}" in said(root)


@pytest.mark.parametrize("width", [1280, 375])
def test_sample_is_dragged_and_its_circle_follows(touch, start, width):
    root = touch("move-a-sample", width=width)
    root.scroll_into_view_if_needed()
    circle = root.locator("svg .bn-x").nth(1)
    box = circle.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    unit = root.locator("svg").bounding_box()["width"] / 360 * 25
    mouse = root.page.mouse
    mouse.move(*middle)
    mouse.down()
    mouse.move(middle[0] + 1.5 * unit, middle[1] + 3, steps=5)
    mouse.move(middle[0] + 3 * unit, middle[1], steps=5)
    mouse.up()
    shown = table(root)
    assert shown[1, 0] == pytest.approx(start["x"][1] + 3, abs=0.11)
    x = [*start["x"][:1], shown[1, 0], *start["x"][2:]]
    close(shown, expected_table(x, ONE))
    now = circle.bounding_box()
    assert now["x"] + now["width"] / 2 == pytest.approx(middle[0] + 3 * unit, abs=0.1 * unit + 1)


def test_sliders_and_the_chosen_upstream_gradient_are_obeyed(touch, start):
    root = touch("move-a-sample")
    root.get_by_label("\N{GREEK SMALL LETTER GAMMA}, scale").fill("1.7")
    root.get_by_label("\N{GREEK SMALL LETTER BETA}, shift").fill("-0.6")
    root.get_by_label("\N{GREEK SMALL LETTER EPSILON}").fill("-1")
    root.get_by_label("dy is 1 for").select_option("sample 5 alone")
    settings = {"gamma": 1.7, "beta": -0.6, "eps": 0.1}
    close(table(root), expected_table(start["x"], [0, 0, 0, 0, 1, 0], **settings))
    root.get_by_label("dy is 1 for").select_option("every sample")
    close(table(root), expected_table(start["x"], [1] * 6, **settings))
    close(table(root)[:, 3], 0)


def test_evaluation_mode_lets_the_other_samples_alone(touch, start):
    root = touch("move-a-sample")
    root.get_by_label("evaluation").check()
    before = table(root)
    root.get_by_label("x of sample 1", exact=True).fill("-4")
    after = table(root)
    running = start["running_mean"], start["running_var"]
    close(after, expected_table([-4.0, *start["x"][1:]], ONE, running=running))
    np.testing.assert_array_equal(after[1:], before[1:])
    assert (after[1:, 3] == 0).all()
    assert "stand still" in said(root)
    assert "no other gets any" in said(root)


def test_batch_of_equal_values_shows_finite_numbers(touch):
    root = touch("move-a-sample")
    for i in range(6):
        root.get_by_label(f"x of sample {i + 1}", exact=True).fill("1")
    close(table(root), expected_table([1.0] * 6, ONE))


def box(root, n, c):
    return root.locator(f'[data-place="{n},{c}"]')


def pooled(root):
    return {tuple(map(int, b.get_attribute("data-place").split(",")))
            for b in root.locator(".bn-pooled").all()}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "places", "means"),
    [
        ("Batch", {(n, 2) for n in range(4)}, 6),
        ("Layer", {(1, c) for c in range(6)}, 4),
        ("Instance", {(1, 2)}, 24),
        ("Group", {(1, 2), (1, 3)}, 12),
        ("RMS", {(1, c) for c in range(6)}, 4),
    ],
)
@pytest.mark.parametrize("way", ["pointer", "keyboard"])
def test_numbers_that_share_a_mean_light_up_with_it(touch, kind, places, means, way):
    root = touch("share-a-mean")
    if way == "pointer":
        root.get_by_label(kind, exact=True).check()
        if kind == "Group":
            root.get_by_label("groups").select_option("3")
        box(root, 1, 2).hover()
    else:
        radio = root.get_by_label("Batch", exact=True)
        radio.focus()
        while not root.get_by_label(kind, exact=True).is_checked():
            root.page.keyboard.press("ArrowRight")
        if kind == "Group":
            root.get_by_label("groups").focus()
            root.page.keyboard.press("3")
        box(root, 0, 0).focus()
        for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
            root.page.keyboard.press(key)
        focused = root.page.evaluate("document.activeElement.dataset.place")
        assert focused == "1,2"
    assert pooled(root) == places
    values = np.array(widget_data.share_a_mean()[0]["values"])
    numbers = np.array([values[place] for place in places])
    shown = list(facts(root).values())
    assert int(shown[0]) == numbers.size
    assert int(shown[3]) == means
    if kind == "RMS":
        close(number(shown[1]), np.square(numbers).mean())
        assert "no mean is subtracted" in said(root)
    else:
        close([number(text) for text in shown[1:3]], [numbers.mean(), numbers.var()])
        assert f"the {numbers.size} numbers" in said(root)


def test_box_that_was_clicked_stays_when_the_pointer_goes_to_the_controls(touch):
    root = touch("share-a-mean")
    box(root, 1, 2).click()
    box(root, 0, 5).hover()
    assert pooled(root) == {(n, 5) for n in range(4)}  # a look at another
    root.get_by_label("Layer", exact=True).check()
    assert pooled(root) == {(1, c) for c in range(6)}


def test_only_one_box_is_in_the_tab_order(touch):
    root = touch("share-a-mean")
    box(root, 2, 4).hover()
    assert root.locator('.bn-cell[tabindex="0"]').count() == 1
    assert box(root, 2, 4).get_attribute("tabindex") == "0"


def test_box_with_the_focus_is_kept_when_the_page_scrolls_under_the_pointer(touch):
    root = touch("share-a-mean", width=375)
    box(root, 0, 4).hover()
    box(root, 2, 4).focus()
    root.page.evaluate("scrollBy(0, 48)")
    root.page.wait_for_timeout(200)
    assert pooled(root) == {(n, 4) for n in range(4)}
    assert box(root, 2, 4).get_attribute("aria-current")
    root.page.keyboard.press("ArrowLeft")
    assert box(root, 2, 3).get_attribute("aria-current")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_default_of_a_framework_is_shown_as_all_would_write_it(touch, name):
    root = touch("set-momentum")
    title = FRAMEWORKS[name].title.split(",")[0]
    root.get_by_role("button", name=f"Set the default of {title}").press("Enter")
    written = [number(text) for text in root.locator("tbody code").all_inner_texts()]
    default = FRAMEWORKS[name].momentum
    np.testing.assert_allclose(written, [convert_momentum(default, name, f) for f in FRAMEWORKS])
    k, alpha = 20, convert_momentum(default, name, "pytorch")
    close([number(v) for v in facts(root).values()], [(1 - alpha) ** k, (2 - alpha) / alpha])


def test_momentum_and_batches_are_set_with_the_keyboard(touch):
    root = touch("set-momentum")
    root.get_by_label("k, batches").focus()
    for _ in range(10):
        root.page.keyboard.press("ArrowRight")
    root.get_by_label("\N{GREEK SMALL LETTER ALPHA}, momentum").focus()
    root.page.keyboard.press("ArrowLeft")
    alpha = number(root.locator(".bn-value").first.inner_text())
    assert alpha == pytest.approx(10 ** (-21 / 20), rel=0.02)
    weight, window = (number(v) for v in facts(root).values())
    assert weight == pytest.approx((1 - alpha) ** 30, abs=0.5e-4)
    assert window == pytest.approx((2 - alpha) / alpha, rel=5e-3)
    assert "after 30 batches" in said(root)
    root.page.keyboard.press("End")
    assert [number(v) for v in facts(root).values()] == [0, 1]


@pytest.mark.parametrize("widget", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_no_wider_than_a_telephone_and_targets_are_large_enough(touch, widget, scheme):
    root = touch(widget, width=375, scheme=scheme)
    assert root.page.evaluate("document.documentElement.scrollWidth") == 375
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
    for target in root.locator(":is(input, select, button)").all():
        size = target.bounding_box()
        wrapped = target.locator("xpath=ancestor::label").all()
        height = max(b["height"] for b in [size, *(w.bounding_box() for w in wrapped)])
        assert height >= 24
        assert max(b["width"] for b in [size, *(w.bounding_box() for w in wrapped)]) >= 24


@pytest.mark.parametrize("widget", PAGES)
def test_key_moves_it_from_the_disk_too(site, browser, widget):
    page = browser.new_page(reduced_motion="reduce")
    page.goto((site / PAGES[widget]).as_uri())
    root = page.locator(f'[data-widget="{widget}"]')
    before = root.locator("svg, table").first.evaluate("shown => shown.outerHTML")
    root.locator("input[type=range], [data-place='0,0'], svg [tabindex='0']").first.focus()
    page.keyboard.press("ArrowRight")
    said(root)
    assert root.locator("svg, table").first.evaluate("shown => shown.outerHTML") != before
    page.close()


@pytest.mark.parametrize("widget", PAGES)
def test_without_javascript_the_first_view_and_a_text_are_there(site, browser, widget):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / PAGES[widget]).as_uri())
    root = page.locator(f'[data-widget="{widget}"]')
    assert root.locator("tbody").is_visible()
    assert root.locator("noscript p").first.is_visible()
    for field in root.locator("input, select").all():
        assert not field.is_visible()
    context.close()


def recorded(site):
    """What the experiment has recorded, as the page holds it."""
    html = (site / PAGES["replay-a-training"]).read_text(encoding="utf-8")
    data = html.split('data-widget="replay-a-training"')[1].split('type="application/json">')[1]
    return json.loads(data.split("</script>")[0])


def test_replay_shows_the_recorded_numbers_of_the_chosen_step(touch, site):
    root, recording = touch("replay-a-training"), recorded(site)
    slider = root.get_by_label("step", exact=True)
    slider.focus()
    for i, key in [(1, "ArrowRight"), (len(recording["steps"]) - 1, "End"), (0, "Home")]:
        root.page.keyboard.press(key)
        cells = [number(text.rstrip("% ")) for text in root.locator("td").all_inner_texts()[1:]]
        arms = recording["arms"].values()
        rows = [[100 * arm["accuracy"][i] for arm in arms]]
        rows += zip(*(arm["gradients"][i] for arm in arms), strict=True)
        np.testing.assert_allclose(np.reshape(cells, (-1, 2)), rows, rtol=0.051, atol=1e-9)
        sentences = said(root)
        assert (str(recording["steps"][i]) if i else "Before the first step") in sentences


@pytest.mark.timed
@pytest.mark.parametrize("widget", PAGES)
def test_every_control_answers_within_a_tenth_of_a_second_on_a_slow_processor(
    touch, browser, widget
):
    root = touch(widget)
    root.scroll_into_view_if_needed()
    acts = answering.ways(root)
    if widget == "share-a-mean":
        del acts["groups ArrowRight"], acts["groups ArrowLeft"]  # they wait for the groups
        acts |= {
            f"box {place}": answering.press(root.locator(f'[data-place="{place}"]'))
            for place in ("1,1", "0,0")
        }
    if widget == "set-momentum":
        for number in range(2):
            acts[f"framework {number}"] = answering.press(root.locator("[data-alpha]").nth(number))
    answering.check(answering.times(browser, root.page, acts))


STATES = {  # what a reader does with each, after which nothing may be out of the reach of others
    "move-a-sample": ['input[value="eval"]'],
    "share-a-mean": ['input[value="Group"]', '[data-place="1,2"]'],
    "set-momentum": ["button >> nth=1"],
    "replay-a-training": [],
}


@pytest.mark.parametrize("widget", PAGES)
def test_axe_finds_no_violation_in_any_state(touch, widget):
    # The rest of the page has tests of its own, and is large.
    found = {}
    for scheme, width in (("light", 1280), ("dark", 375)):
        root = touch(widget, scheme=scheme, width=width)
        page = root.page
        page.evaluate(visits.AT_ONCE)
        page.evaluate(visits.files(visits.AXE)["axe.min.js"].decode())
        for selector in ("input[type=range] >> nth=0", *STATES[widget]):
            control = root.locator(selector)
            if "range" in selector and not control.count():
                continue
            control.focus() if "range" in selector else control.click(force=True)
            page.keyboard.press("End")
            said(root)
            found[scheme, selector] = page.evaluate(visits.axe_on(widget), [visits.ALSO, []])
    assert found
    assert {state: complaints for state, complaints in found.items() if complaints} == {}
