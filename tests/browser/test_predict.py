"""What a reader does with the questions, and whether what came out is what was measured."""

import html
import json
from pathlib import Path

import answering
import pytest
import visits
from npm_package import files

from bn_tutorial.lab.effects import Effect

EVIDENCE = Path(__file__).parents[2] / "docs" / "gallery" / "evidence"
CHOICE = "03_in_training/plot_09_place_the_layer"
NUMBER = "05_when_it_fails/plot_03_leak_between_samples"
CURVE = "03_in_training/plot_07_change_the_batch_size"
KINDS = (CHOICE, NUMBER, CURVE)
REFUSE = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("refused", "SecurityError"); }});"""


@pytest.fixture
def reader(browser, address):
    """A function that opens a page as a reader who has predicted nothing; `go` leads them on."""
    contexts = []

    def open_as(path, *, init="", file=None, **options):
        options.setdefault("viewport", {"width": options.pop("width", 1280), "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        if init:
            context.add_init_script(init)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda message: page.faults.extend(visits.refusals(message.text)))
        page.on("pageerror", lambda error: page.faults.extend(ours(error)))
        page.go = lambda to: page.goto(f"{file.as_uri() if file else address}/{to}")
        page.go(path if path.endswith(".html") else f"gallery/{path}.html")
        return page

    yield open_as
    for context in contexts:
        assert [page.faults for page in context.pages] == [[]]
        context.close()


def ours(error):
    """An error, if our scripts have made it: the theme's do not expect a storage that refuses."""
    return [error.stack] if "/widgets/" in error.stack else []


def box(page):
    return page.locator(".bn-predict").first


def data(root):
    return json.loads(root.locator("script").text_content())


def said(root):
    root.page.wait_for_timeout(400)
    return " ".join(root.locator(".bn-said").inner_text().split())


def measured(page, *names):
    content = json.loads((EVIDENCE / f"{page}.json").read_text(encoding="utf-8"))
    effects = {effect["name"]: Effect.from_json(effect) for effect in content["effects"]}
    return [effects[name] for name in names]


def kept(page):
    return json.loads(page.evaluate("localStorage.getItem('bn-predictions')") or "{}")


def predict(root, right=True):
    """Answer by the keyboard or the mouse, whatever is asked, and hand it in."""
    told = data(root)
    if "options" in told:
        values = [value for value, _ in told["options"]]
        value = next(v for v in values if (v in told["right"]) == right)
        root.locator(f"input[value={value}]").check()
    else:
        for point, field in zip(told["points"], root.locator("input").all(), strict=True):
            value = point["mean"] if right else told["low"]
            steps = round((value - told["low"]) / told["step"])
            field.fill(str(told["low"] + steps * told["step"]))
    root.locator("button").click()
    if "Do you mean" in said(root):
        root.locator("button").click()


def is_praised(root):
    return any(praise in said(root) for praise in ("Right.", "Near enough."))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_prediction_is_judged_shown_with_what_came_out_and_kept(reader, name, right):
    page = reader(name)
    root = box(page)
    assert not root.locator("details p").first.is_visible()
    predict(root, right)
    assert root.locator("details p").last.is_visible()
    assert is_praised(root) == right
    ((key, prediction),) = kept(page).items()
    assert key == data(root)["key"]
    assert prediction["right"] == right
    before = said(root)
    page.reload()
    assert said(root) == before
    assert not root.locator("details").evaluate("details => details.open")  # nothing moves
    root.get_by_role("button", name="Forget this prediction").click()
    assert kept(page) == {}
    assert "stays in this browser" in said(root)


@pytest.mark.parametrize("name", KINDS)
def test_what_came_out_is_the_effect_of_this_build(reader, name):
    root = box(reader(name))
    told = data(root)
    if name == CHOICE:
        (effect,) = measured(name, "after - before, sigmoid, default weights")
        assert root.locator(f"details .verdict-{effect.verdict.replace(' ', '-')}").count() >= 1
        assert {"yes": ["yes"], "none": ["none"]}.get(effect.verdict, told["right"]) == told[
            "right"
        ]
        estimates = [effect.estimate()]
    else:
        sizes = [f"GN - BN, batches of {size}" for size in (2, 4, 8, 16, 32, 128)]
        leak = ["batch statistics - evaluation mode, BN"]
        effects = measured(name, *(sizes if name == CURVE else leak))
        assert [(p["mean"], p["low"], p["high"]) for p in told["points"]] == [
            (effect.mean, effect.low, effect.high) for effect in effects
        ]
        estimates = [effect.estimate() for effect in effects]
        predict(root, right=False)
        span = told["high"] - told["low"]
        marks = [mark.get_attribute("d") for mark in root.locator(".bn-came").all()]
        for effect, mark in zip(effects, marks, strict=True):
            share = min(1, max(0, (effect.mean - told["low"]) / span))
            assert float(mark[1:].split()[0]) == pytest.approx(100 * share, abs=0.06)
        assert root.locator("input").first.is_disabled()
    text = root.locator("details").text_content()
    assert all(estimate in text for estimate in estimates)


@pytest.mark.parametrize("name", KINDS)
def test_answer_behind_the_question_is_covered_until_it_is_answered_or_opened(reader, name):
    page = reader(name)
    root, answer = box(page), page.locator("p", has_text="In short.").first
    figure = page.locator(".lead-figure img").first
    height = answer.bounding_box()["height"]

    def covered():
        looks = [
            part.evaluate("part => getComputedStyle(part).visibility") for part in (answer, figure)
        ]
        assert looks[0] == looks[1]
        return looks[0] == "hidden"

    assert covered()
    root.locator("summary").click()
    assert not covered()
    assert answer.bounding_box()["height"] == height
    root.locator("summary").click()
    assert covered()
    page.emulate_media(media="print")
    assert not covered()
    page.emulate_media(media="screen")
    predict(root)
    assert not covered()
    page.reload()
    assert not covered()
    root.get_by_role("button", name="Forget").click()
    assert covered()


@pytest.mark.parametrize("right", [True, False])
def test_choice_of_the_reader_stays_plain_to_see(reader, right):
    root = box(reader(CHOICE))
    predict(root, right)
    (mine,) = root.locator("label", has=root.page.locator(":checked")).all()
    assert "yours" in mine.inner_text()
    assert ("so it came out" in mine.inner_text()) == right
    looks = {
        state: root.locator(f"input{state}").first.evaluate(
            "field => getComputedStyle(field).border"
        )
        for state in (":checked", ":not(:checked)")
    }
    assert looks[":checked"] != looks[":not(:checked)"]


def test_answer_is_printed_before_it_was_opened_and_says_what_it_is_of(reader):
    page = reader("derivations/meaning.html")
    page.emulate_media(media="print")
    answer = box(page).locator("details")
    assert answer.locator("p").last.is_visible()
    first = answer.locator("p").first.inner_text()
    came = html.unescape(data(box(page))["came"])
    assert first.lower().startswith(f"{came}. trained minus frozen hidden weights")
    assert not page.locator(".bn-input:visible").count()


def test_miss_is_named_with_its_size_and_its_side(reader):
    page = reader(NUMBER)
    root = box(page)
    (effect,) = measured(NUMBER, "batch statistics - evaluation mode, BN")
    root.locator("input").fill("10")
    root.locator("button").click()
    assert f"you were {effect.mean - 10:.0f} points too low" in said(root)
    page.go(f"gallery/{CURVE}.html")
    root = box(page)
    predict(root, right=False)
    told = data(root)
    far = [abs(point["mean"] - told["low"]) for point in told["points"]]
    worst = told["points"][far.index(max(far))]
    assert f"The farthest, {worst['label']}, is {max(far):.0f} points too low" in said(root)


def test_guess_outside_the_interval_is_near_enough_at_best(reader):
    root = box(reader(NUMBER))
    told = data(root)
    (point,), step = told["points"], told["step"]
    value = told["low"] + step * ((point["low"] - told["low"]) // step)
    assert value < point["low"] < point["mean"] < value + told["tolerance"]
    root.locator("input").fill(str(value))
    root.locator("button").click()
    assert "Near enough." in said(root)
    assert "Right." not in said(root)


def test_no_verdict_is_judged_before_one_is_chosen(reader):
    page = reader(CHOICE)
    box(page).locator("button").click()
    assert said(box(page)) == "Choose one first."
    assert kept(page) == {}
    assert not box(page).locator("details").evaluate("details => details.open")


def test_curve_that_nobody_drew_is_not_judged(reader):
    page = reader(CURVE)
    box(page).locator("button").click()
    assert said(box(page)) == "Draw the curve first: move its circles."
    assert kept(page) == {}


def test_zero_is_predicted_where_the_circle_stands_already_by_saying_it_twice(reader):
    page = reader(NUMBER)
    box(page).locator("button").click()
    assert said(box(page)).startswith("Do you mean 0? Then press once more")
    assert kept(page) == {}
    box(page).locator("button").click()
    ((_, prediction),) = kept(page).items()
    assert prediction["guess"] == [0]


def test_curve_is_drawn_and_handed_in_by_keyboard_alone(reader):
    page = reader(CURVE)
    root = box(page)
    fields = root.locator("input").all()
    fields[0].focus()
    for i in range(len(fields)):
        for key in ["ArrowRight"] * (i + 1):
            page.keyboard.press(key)
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "submit"
    page.keyboard.press("Enter")
    guess = kept(page)[data(root)["key"]]["guess"]
    assert guess == [data(root)["step"] * (i + 1) for i in range(len(fields))]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


@pytest.mark.parametrize("width", [1280, 375])
def test_circle_is_dragged_and_its_line_follows(reader, width):
    page = reader(CURVE, width=width)
    root = box(page)
    root.scroll_into_view_if_needed()
    field, svg = root.locator("input").nth(1), root.locator("svg").bounding_box()
    row, told = field.bounding_box(), data(root)

    def at(value):
        return svg["x"] + (value - told["low"]) / (told["high"] - told["low"]) * svg["width"]

    middle = row["y"] + row["height"] / 2
    page.mouse.move(at(0), middle)
    page.mouse.down()
    page.mouse.move(at(20), middle, steps=4)
    page.mouse.up()
    assert float(field.input_value()) == pytest.approx(20, abs=told["step"])
    x = float(root.locator(".bn-mine").get_attribute("d").split("L")[1].split()[0])
    assert x == pytest.approx(100 * (20 - told["low"]) / (told["high"] - told["low"]), abs=3)


def test_finger_places_a_circle(reader):
    page = reader(NUMBER, width=375, has_touch=True, is_mobile=True)
    root = box(page)
    root.scroll_into_view_if_needed()
    row = root.locator("input").bounding_box()
    page.touchscreen.tap(row["x"] + 0.75 * row["width"], row["y"] + row["height"] / 2)
    told = data(root)
    value = float(root.locator("input").input_value())
    assert value == pytest.approx(told["low"] + 0.78 * (told["high"] - told["low"]), abs=6)
    root.locator("button").tap()
    assert root.locator("details p").first.is_visible()


def test_progress_is_counted_where_the_questions_are_listed(reader):
    page = reader("course.html")
    assert "0 of 12 predicted, 0 right." in page.locator(".bn-progress").inner_text()
    assert page.get_by_role("link", name="12 questions").get_attribute("href") == (
        "play.html#predictions"
    )
    assert not page.get_by_role("button", name="Forget them").is_visible()
    for name, right in ((CHOICE, True), (CURVE, False)):
        page.go(f"gallery/{name}.html")
        predict(box(page), right)
    page.go("course.html")
    assert "2 of 12 predicted, 1 right." in page.locator(".bn-progress").inner_text()
    page.go("play.html")
    marks = [mark.inner_text() for mark in page.locator(".bn-known").all()]
    assert sorted(filter(None, marks)) == ["predicted, not as it came out", "predicted, right"]
    assert len(marks) == 12
    page.get_by_role("button", name="Forget them").click()
    assert kept(page) == {}
    assert "0 of 12 predicted, 0 right." in page.locator(".bn-progress").inner_text()


def test_each_link_of_the_list_leads_to_its_question(reader):
    page = reader("play.html")
    for target in [link.get_attribute("href") for link in page.locator(".bn-progress li a").all()]:
        page.go(target)
        assert page.locator(f"[id='{target.partition('#')[2]}'].bn-predict").count() == 1
        assert data(box(page))["key"] == target.replace(".html#", "#")


def test_exercise_lets_one_try_again_and_then_says_that_it_is_right(reader):
    page = reader("exercises.html")
    root = page.locator(".bn-predict").last
    root.locator("input").fill("10")
    root.locator("button").click()
    assert said(root) == "Not yet. Try again, or open the hint."
    assert not root.locator("input").is_disabled()
    root.locator("input").fill("13")
    root.locator("button").click()
    assert said(root).endswith("It came out as 13. Right.")


def test_storage_that_is_refused_takes_nothing_but_the_memory(reader):
    page = reader(NUMBER, init=REFUSE)
    predict(box(page))
    assert "Right." in said(box(page))
    page.go("course.html")
    assert "0 of 12 predicted" in page.locator(".bn-progress").inner_text()


@pytest.mark.parametrize("name", KINDS)
def test_page_from_the_disk_works_too(reader, site, name):
    page = reader(name, file=site)
    predict(box(page))
    assert is_praised(box(page))


@pytest.mark.parametrize("name", KINDS)
def test_without_javascript_there_are_the_question_and_its_answer_folded(reader, name):
    page = reader(name, java_script_enabled=False)
    assert page.locator("p", has_text="In short.").first.is_visible()
    root = box(page)
    assert root.get_by_text("Predict, before you read on.").is_visible()
    assert not root.locator("form").is_visible()
    assert not root.locator("details p").last.is_visible()
    root.locator("summary").click()
    assert root.locator("details p").last.is_visible()


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_no_violation_in_any_state_and_nothing_is_wider_than_the_page(
    reader, name, scheme, width
):
    page = reader(name, width=width, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(files(visits.AXE)["axe.min.js"].decode())
    page.evaluate(visits.SIMPLIFY)
    root = box(page)

    def complaints():
        page.wait_for_timeout(300)
        assert page.evaluate(visits.OVERFLOW) == 0
        assert page.evaluate("document.getAnimations().length") == 0
        also, only = visits.ALSO, []
        found = page.evaluate(visits.RUN_AXE, [also, only])
        return [one for one in found if "bn-" in one or "predict" in one]

    assert complaints() == []
    if name == CHOICE:
        root.locator("button").click()  # nothing is chosen
        assert complaints() == []
    predict(root, right=False)
    assert complaints() == []


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("name", [*KINDS, "course.html", "play.html"])
def test_what_was_predicted_before_shifts_nothing_when_a_page_loads(reader, name, width):
    page = reader(CURVE, width=width, init=visits.OBSERVE)
    predict(box(page), right=False)
    for one in KINDS[:2]:
        page.go(f"gallery/{one}.html")
        predict(box(page), right=False)
    page.go(name if name.endswith(".html") else f"gallery/{name}.html")
    page.wait_for_timeout(500)
    assert page.evaluate("window.layoutShift") <= 0.01


@pytest.mark.timed
@pytest.mark.parametrize("name", KINDS)
def test_each_control_answers_within_a_tenth_of_a_second_on_a_slow_processor(reader, browser, name):
    page = reader(name)
    root = box(page)
    root.scroll_into_view_if_needed()
    acts = answering.ways(root)
    if name == CHOICE:  # none is chosen at first
        first = root.locator("input").first
        name = f"choice {first.get_attribute('value')}"
        acts[name] = acts.pop(name)
    for act in ("hand it in", "forget it"):
        acts[act] = answering.press(root.locator("button"))
    answering.check(answering.times(browser, page, acts))
