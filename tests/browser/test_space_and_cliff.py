"""What a reader does with the batch in space and with signal and cliff, by every way of input."""

import re
from decimal import ROUND_HALF_UP, Decimal

import answering
import numpy as np
import pytest
import visits
import widget_data
from npm_package import files

from bn_tutorial.scratch.functional import batch_norm_backward, batch_norm_forward

PAGES = {"turn-a-batch": "derivations/meaning.html", "find-the-cliff": "why.html"}
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
# How much of the page has moved, whatever the cause.
OBSERVE = """() => { window.moved = 0;
  new PerformanceObserver(list => { for (const {value} of list.getEntries())
    window.moved += value; })
    .observe({type: "layout-shift"}); }"""
# The rest of the page has its own tests, and is large.
ALONE = """root => { for (let e = root; e !== document.body; e = e.parentElement)
  for (const other of [...e.parentElement.children]) if (other !== e) other.remove(); }"""


def as_in_javascript(number):
    """Return the digits of a whole number: halves are rounded up there, in Python to even ones."""
    return str(Decimal(number).quantize(Decimal(1), ROUND_HALF_UP))


@pytest.fixture(params=PAGES)
def widget(request):
    """The name of each of the two."""
    return request.param


@pytest.fixture
def touch(open_page):
    """A function that opens the page of a widget and returns the widget."""

    def touch(name, **options):
        root = open_page(PAGES[name], **options).locator(f'[data-widget="{name}"]')
        root.scroll_into_view_if_needed()
        return root

    return touch


def number(text):
    return float(text.replace(MINUS, "-").rstrip("% "))


def table(root):
    """The rows of the table by their names, as numbers."""
    rows = root.locator("tbody tr").all()
    return {
        row.locator("th").inner_text(): [number(v) for v in row.locator("td").all_inner_texts()]
        for row in rows
    }


def said(root):
    root.page.wait_for_timeout(400)
    return root.locator(".bn-said").inner_text()


def states(root):
    """Bring a widget into many states, with its own controls, and yield after each."""
    for control in root.locator("select, input[type=range], input[type=radio]").all():
        kind = control.get_attribute("type")
        if kind == "radio":
            control.check()
            yield
        elif kind == "range":
            for end in (control.get_attribute(at) for at in ("min", "max")):
                control.fill(end)
                yield
        else:
            for option in control.locator("option").all():
                control.select_option(option.get_attribute("value"))
                yield
    for button in root.locator("button:not([aria-disabled])").all():
        button.click()
        yield


# ---------------------------------------------------------------------------------------------
# Both
# ---------------------------------------------------------------------------------------------


def test_view_of_the_script_is_the_one_that_the_build_wrote(touch, widget):
    written, fresh = visits.first_views(touch(widget))
    assert written == fresh


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 375)])
def test_axe_finds_no_violation_in_any_state(touch, widget, scheme, width):
    root = touch(widget, scheme=scheme, width=width)
    root.page.evaluate(visits.AT_ONCE)
    root.page.evaluate(files(visits.AXE)["axe.min.js"].decode())
    root.evaluate(ALONE)
    run = visits.axe_on(widget)
    found = [root.page.evaluate(run, [visits.ALSO, []]) for _ in states(root)]
    assert found == [[]] * len(found)
    assert len(found) >= 8


@pytest.mark.parametrize("width", [1280, 375])
def test_no_state_is_wider_than_the_page_or_moves_what_follows(touch, widget, width):
    root = touch(widget, width=width)
    height = root.bounding_box()["height"]
    for _ in states(root):
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
        assert root.page.evaluate("document.documentElement.scrollWidth") == width
        assert root.bounding_box()["height"] == pytest.approx(height, abs=1)
    said(root)
    assert root.bounding_box()["height"] == pytest.approx(height, abs=1)


@pytest.mark.timed
def test_every_control_answers_soon_on_a_slow_processor(touch, widget, browser):
    root = touch(widget, width=375)
    root.page.evaluate(OBSERVE)
    acts = answering.ways(root)
    for selector in (
        "[data-move=squeeze]",
        '[data-cell="1,2"] >> nth=0',
        '[data-cell="0,0"] >> nth=0',
    ):
        if root.locator(selector).count():
            acts[selector] = answering.press(root.locator(selector))
    answering.check(answering.times(browser, root.page, acts))
    assert root.page.evaluate("window.moved") < 0.01


@pytest.mark.timed
def test_press_without_length_is_answered_soon_among_thousands_of_boxes(open_page, browser):
    page = open_page("derivations/depth.html", width=375)
    root = page.locator('[data-widget="find-the-cliff"]')
    root.scroll_into_view_if_needed()
    acts = {
        cell: answering.press(root.locator(f'[data-cell="{cell}"]').first, 0)
        for cell in ("1,2", "0,0")
    }
    answering.check(answering.times(browser, page, acts))


def test_targets_are_large_enough_for_a_finger(touch, widget):
    root = touch(widget, width=375)
    for target in root.locator("input, select, button, [data-cell]").all():
        boxes = [target.bounding_box()]
        boxes += [label.bounding_box() for label in target.locator("xpath=ancestor::label").all()]
        for side in ("width", "height"):
            assert max(box[side] for box in boxes) >= (20 if boxes[1:] == [] else 24)


def test_nothing_moves_by_itself_for_who_wants_less_motion(browser, address, widget):
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{address}/{PAGES[widget]}")
    root = page.locator(f'[data-widget="{widget}"]')
    for _ in states(root):
        assert root.evaluate("root => root.getAnimations({subtree: true}).length") == 0
    page.close()


def test_it_works_from_the_disk(site, browser, widget):
    page = browser.new_page()
    page.goto((site / PAGES[widget]).as_uri())
    root = page.locator(f'[data-widget="{widget}"]')
    before = table(root)
    root.locator("input[type=range]").nth(-1).fill("0")
    root.locator("input[type=range]").nth(-3).fill("1")
    assert table(root) != before
    page.close()


def test_without_javascript_picture_numbers_and_a_text_are_there(site, browser, widget):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / PAGES[widget]).as_uri())
    root = page.locator(f'[data-widget="{widget}"]')
    for part in ("svg[role=img]", "tbody", "noscript p", ".bn-said"):
        assert root.locator(part).first.is_visible()
    for field in root.locator("input, select, button").all():
        assert not field.is_visible()
    context.close()


# ---------------------------------------------------------------------------------------------
# A batch of three, in space
# ---------------------------------------------------------------------------------------------


def expected(x, dy=(0.8, -0.2, 0.9), *, gamma=1.3, eps=1e-5):
    """The rows of the table as the package computes them, with the length of each."""
    x = np.array(x)[:, np.newaxis]
    y, cache = batch_norm_forward(x, np.array([gamma]), np.zeros(1), eps=eps)
    dy = cache.xhat if dy is None else np.array(dy, dtype=float)[:, np.newaxis]
    dx, _, _ = batch_norm_backward(dy, cache)
    level, r = dy - dy.mean(), cache.r.item()
    tangent = level - cache.xhat * (dy * cache.xhat).mean()
    rows = [x, x - x.mean(), cache.xhat, y, dy, level, tangent, gamma * r * tangent]
    np.testing.assert_allclose(rows[-1], dx, atol=1e-9)
    return [[*row.ravel(), np.linalg.norm(row)] for row in rows]


def close(root, right):
    np.testing.assert_allclose([*table(root).values()], right, rtol=0.005, atol=0.00501)


def test_batch_is_moved_with_the_keyboard_and_the_numbers_are_the_packages(touch):
    root = touch("turn-a-batch")
    close(root, expected([0.3, 0.7, 1.7]))
    root.get_by_label("x of sample 2").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        root.page.keyboard.press(key)
    close(root, expected([0.3, 0.6, 1.7]))
    root.get_by_label("\N{GREEK SMALL LETTER GAMMA}, scale").fill("0.4")
    root.get_by_label("\N{GREEK SMALL LETTER EPSILON}").fill("-1")
    close(root, expected([0.3, 0.6, 1.7], gamma=0.4, eps=0.1))
    assert "holds x\N{COMBINING CIRCUMFLEX ACCENT} inside the circle" in said(root)
    for option, dy in {"1 for sample 1 alone": [1, 0, 0], "1 for every sample": [1, 1, 1]}.items():
        root.get_by_label("dy is").select_option(option)
        close(root, expected([0.3, 0.6, 1.7], dy, gamma=0.4, eps=0.1))
    assert "No gradient is left: dy was all mean." in said(root)
    root.get_by_label("dy is").select_option(index=3)
    close(root, expected([0.3, 0.6, 1.7], None, gamma=0.4, eps=0.1))


def test_three_equal_samples_show_finite_numbers(touch):
    root = touch("turn-a-batch")
    for i in (1, 2, 3):
        root.get_by_label(f"x of sample {i}").fill("0.5")
    close(root, expected([0.5] * 3))
    assert "has no direction" in said(root)
    assert "NaN" not in root.inner_html()


def test_raise_all_and_squeeze_leave_xhat_where_it_is(touch):
    root = touch("turn-a-batch")
    before, row = table(root), "x\N{COMBINING CIRCUMFLEX ACCENT}"
    root.get_by_role("button", name="raise all").press("Enter")
    assert table(root)["x"] == [0.55, 0.95, 1.95, pytest.approx(2.24, abs=0.01)]
    assert table(root)[row] == before[row]
    again = root.get_by_role("button", name="raise all")
    assert again.get_attribute("aria-disabled") == "true"  # sample 3 would leave its slider
    told = root.locator(".bn-actions + .bn-note").inner_text()
    assert told == "Sample 3 leaves no room to raise all or stretch."
    again.click(force=True)
    assert table(root)["x"][0] == 0.55
    root.get_by_role("button", name="squeeze").click()
    assert table(root)[row] == before[row]
    assert table(root)["x"][2] == pytest.approx(1.79, abs=0.01)


def angles(root):
    return [number(root.locator(f"input[name={name}]").get_attribute("aria-valuetext").rstrip("°"))
            for name in ("turn", "tilt")]  # fmt: skip


def drag(root, right, down, mouse):
    box = root.locator(".bn-space").bounding_box()
    start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(*start)
    mouse.down()
    mouse.move(start[0] + right / 2, start[1] + down / 2)
    mouse.move(start[0] + right, start[1] + down)
    mouse.up()
    mouse.move(*start)  # let go, it turns nothing


def test_picture_is_turned_with_the_mouse_and_the_keyboard_and_its_numbers_stay(touch):
    root = touch("turn-a-batch")
    before, (turn, tilt) = table(root), angles(root)
    drag(root, 60, 40, root.page.mouse)
    assert angles(root) == [turn + 30, tilt + 20]
    drag(root, -500, 400, root.page.mouse)
    assert angles(root) == [turn + 30 - 250, 90]
    root.get_by_label("turn").focus()
    root.page.keyboard.press("ArrowRight")
    assert angles(root)[0] == pytest.approx(turn + 30 - 250 + 5, abs=2.5)
    root.get_by_label("look from above").focus()
    root.page.keyboard.press("Home")
    assert angles(root)[1] == 0
    assert table(root) == before


def test_finger_turns_the_picture_sideways_and_scrolls_the_page_up_and_down(browser, address):
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/{PAGES['turn-a-batch']}")
    root = page.locator('[data-widget="turn-a-batch"]')
    root.locator(".bn-space").evaluate("space => space.scrollIntoView({block: 'center'})")
    fingers = context.new_cdp_session(page)

    def swipe(right, down):
        box = root.locator(".bn-space").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for step in range(9):
            at = [{"x": x + right * step / 8, "y": y + down * step / 8}]
            kind = "touchMove" if step else "touchStart"
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(300)

    (turn, _), scrolled = angles(root), page.evaluate("scrollY")
    swipe(80, 4)
    assert angles(root)[0] == pytest.approx(turn + 40, abs=8)  # a touch has some slack
    assert page.evaluate("scrollY") == scrolled
    turned = angles(root)
    swipe(0, -150)
    assert page.evaluate("scrollY") > scrolled + 50
    assert angles(root) == pytest.approx(turned, abs=8)
    context.close()


@pytest.mark.parametrize("way", ["forward", "backward", "both"])
def test_names_in_the_picture_lie_over_no_other_from_wherever_it_is_seen(touch, way):
    root = touch("turn-a-batch")
    root.get_by_label(way, exact=True).check()
    overlapping = """svg => { const boxes = [...svg.querySelectorAll(".bn-halo")]
      .map(text => [text.textContent, text.getBBox()]);
      return boxes.flatMap(([name, a], i) => boxes.slice(0, i)
        .filter(([, b]) => a.x + 1 < b.x + b.width && b.x + 1 < a.x + a.width
          && Math.abs(a.y - b.y) < 9).map(([other]) => `${name} over ${other}`)); }"""
    for turn in range(-180, 181, 30):
        root.get_by_label("turn", exact=True).fill(str(turn))
        for tilt in (0, 30, 60, 90):
            root.get_by_label("look from above").fill(str(tilt))
            assert root.locator("svg").evaluate(overlapping) == [], (turn, tilt)


def test_one_way_at_a_time_can_be_shown(touch):
    root = touch("turn-a-batch")
    forward, backward = 'svg >> text="y"', 'svg >> text="dy"'
    for way, seen in {"forward": (1, 0), "backward": (0, 1), "both": (1, 1)}.items():
        root.get_by_label(way, exact=True).check()
        assert (root.locator(forward).count(), root.locator(backward).count()) == seen
        assert ("dx is" in said(root)) == (way != "forward")


def test_longer_gradient_than_the_drawing_has_room_for_is_called_so(touch):
    root = touch("turn-a-batch")
    assert root.locator("svg >> text=longer").count() == 0
    for _ in range(5):
        root.get_by_role("button", name="squeeze").click()
    assert root.locator("svg >> text=longer").count() == 1
    assert [*table(root).values()][-1][3] > 5


# ---------------------------------------------------------------------------------------------
# Signal and cliff
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(site, monkeypatch):
    """What the two studies have recorded in this build."""
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(site.parents[1] / "gallery" / "evidence"))
    return widget_data.find_the_cliff()[0]


def recorded_row(study, i, j):
    return [rows[i][j] for rows in study["accuracy"].values()]


def test_maps_show_every_recorded_accuracy(touch, recorded):
    root = touch("find-the-cliff")
    for net, label in {"sigmoid": "sigmoids", "relu": "ReLU"}.items():
        root.get_by_label(label).check()
        study = recorded["studies"][net]
        for i in range(len(study["scales"])):
            for j in range(len(study["rates"])):
                cells = root.locator(f'[data-cell="{i},{j}"] text').all_text_contents()
                right = [
                    DASH if v is None else as_in_javascript(v) for v in recorded_row(study, i, j)
                ]
                assert cells == right


@pytest.mark.parametrize("way", ["keyboard", "click", "tap"])
def test_chosen_square_is_in_the_table_with_the_formula(touch, recorded, way):
    root = touch("find-the-cliff", width=375, has_touch=way == "tap")
    study = recorded["studies"]["sigmoid"]
    if way != "keyboard":
        cell = root.locator('[data-cell="1,3"]').first
        cell.tap() if way == "tap" else cell.click()
    else:
        for label, count in {"weight scale": 1, "learning rate": 3}.items():
            root.get_by_label(label, exact=True).focus()
            for _ in range(count):
                root.page.keyboard.press("ArrowRight")
    root.get_by_label("hidden layers").fill("6")
    signal, gradient, accuracy = table(root).values()
    np.testing.assert_allclose(accuracy, recorded_row(study, 1, 3), atol=0.0501)
    left = widget_data.sigmoid_gain(study["width"], study["scales"][1]) ** 5
    np.testing.assert_allclose([signal[0], gradient[0]], left, rtol=0.5, atol=0)  # one digit
    assert f"{left:.0e}".replace("e-0", f"e{MINUS}") in said(root)


def test_cliff_stands_behind_the_last_usable_rate(touch, recorded):
    root = touch("find-the-cliff")
    for net, label in {"sigmoid": "sigmoids", "relu": "ReLU"}.items():
        root.get_by_label(label).check()
        study, count = recorded["studies"][net], 0
        for rows in study["accuracy"].values():
            for row in rows:
                trains = [value is not None and value >= recorded["level"] for value in row]
                count += any(trains) and not trains[-1]
        assert root.locator(".bn-cliff").count() == count > 0
        names = root.locator("svg >> text=cliff")
        assert names.count() == sum(
            any(one in rows for one in usable_then_not(rows, recorded["level"]))
            for rows in study["accuracy"].values()
        )


def usable_then_not(rows, level):
    """The rows of a map behind whose last usable rate there are others."""
    trains = [[value is not None and value >= level for value in row] for row in rows]
    return [row for row, good in zip(rows, trains, strict=True) if any(good) and not good[-1]]


def test_rows_of_a_map_stand_in_the_order_of_the_slider(touch):
    root = touch("find-the-cliff")
    tops = [root.locator(f'[data-cell="{i},0"] rect').first.bounding_box()["y"] for i in range(4)]
    assert tops == sorted(tops)


def test_another_activation_leaves_the_sliders_where_they_are(touch):
    root = touch("find-the-cliff")
    root.get_by_label("hidden layers").fill("9")
    for label, key in {"weight scale": "Home", "learning rate": "End"}.items():
        root.get_by_label(label, exact=True).press(key)
    root.get_by_label("weight scale", exact=True).press("ArrowRight")

    def settings():
        labels = ("hidden layers", "weight scale", "learning rate")
        return [root.get_by_label(x, exact=True).get_attribute("aria-valuetext") for x in labels]

    assert settings() == ["9", "0.1", "10"]
    root.get_by_label("ReLU").check()
    assert settings() == ["9", "0.1", "10"]
    root.get_by_label("sigmoids").check()
    assert settings() == ["9", "0.1", "10"]


def test_same_figure_stands_where_the_formula_is_derived(open_page):
    page = open_page("derivations/depth.html")
    root = page.locator('[data-widget="find-the-cliff"]')
    root.get_by_label("ReLU").check()
    assert re.search("each layer multiplies the signal by 0.1", said(root))
