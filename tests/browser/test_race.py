"""The race: what a reader does with it, whether it trains as the package does, and how fast."""

import re
from contextlib import contextmanager

import answering
import numpy as np
import pytest
import race
import visits
from raced import STEPS

PAGE = "index.html"
# A script of the site, loaded as the page itself would.
LOAD = """name => new Promise((done, failed) => document.head.append(Object.assign(
  document.createElement("script"),
  {src: `_static/race/${name}`, onload: done, onerror: failed})))"""
TRAIN = f"""([settings, norm, steps]) =>
  ({STEPS})(bnRace.decode(bnDigits), settings, norm, steps)"""
# Train so many steps of both networks.
RACE = """([settings, steps]) => {
  for (const _ of bnRace.train(settings, bnRace.decode(bnDigits), steps));
}"""


# Words over words, and frames through them; two pixels of a box are above or below its letters.
COLLISIONS = """svg => {
  const box = part => part.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right && b.left < a.right
    && a.top + 2 < b.bottom - 2 && b.top + 2 < a.bottom - 2;
  const holds = (a, b) => a.left <= b.left && b.right <= a.right
    && a.top <= b.top + 2 && b.bottom - 2 <= a.bottom;
  const [words, frames] = ["text", ".bn-frame"].map(kind => [...svg.querySelectorAll(kind)]);
  const over = words.flatMap((a, i) => words.slice(0, i).filter(b => meet(box(a), box(b)))
    .map(b => `${a.textContent} over ${b.textContent}`));
  const cuts = (a, b) => meet(a, b) && !holds(a, b);
  const through = frames.flatMap(a => words.filter(b => cuts(box(a), box(b)))
    .map(b => `a frame through ${b.textContent}`));
  return [...over, ...through]; }"""


def tasks(browser, page, act):
    """Milliseconds of the processor that each task of the page took meanwhile, the longest first.

    Not those of the clock: a busy machine may take any, whatever the page does.
    """
    ran = answering.tasks(answering.traced(browser, page, act))
    return sorted((task.get("tdur", 0) / 1000 for task in ran), reverse=True)


def race_of(page):
    return page.locator('.bn-widget[data-widget="race"]')


def guess(root, what):
    return root.locator("button[name=guess]").filter(has_text=what)


def preset(root, number):
    return root.locator("input[name=preset]").nth(number)


def result(root):
    """What is said in the end."""
    root.locator(".bn-said strong").wait_for(timeout=180_000)
    return root.locator(".bn-said").inner_text()


def accuracies(root):
    """The first line of the table, in percent."""
    cells = root.locator("tbody tr").first.locator("td")
    return [float(text.rstrip("% ")) for text in cells.all_inner_texts()]


def points_drawn(root):
    """How many points the curve of accuracy has."""
    path = root.locator("path.bn-line").first
    return len(path.get_attribute("d").split("L")) if path.count() else 0


@contextmanager
def opened(browser, url, **options):
    context = browser.new_context(**options)
    with visits.watched(context, url.rpartition("/")[0]) as (page, seen):
        page.goto(url)
        yield page
    context.close()
    assert seen.errors == []


@pytest.mark.parametrize("number", range(len(race.PRESETS)))
def test_first_ten_steps_are_those_of_the_package(open_page, number):
    page = open_page(PAGE)
    for name in ("train.js", "digits.js"):
        page.evaluate(LOAD, name)
    settings = race.settings_of(race.PRESETS[number])
    for norm in ("none", settings["rival"]) if number else race.NORMS:
        ours, theirs = page.evaluate(TRAIN, [settings, norm, 10]), race.frames(settings, norm, 10)
        assert len(ours) == len(theirs) == 11
        for frame, expected in zip(ours, theirs, strict=True):
            assert frame["accuracy"] == expected["accuracy"] or frame["loss"] is None
            for name in ("loss", "signal", "gradient", "logits"):
                given = np.array(frame[name], dtype=float)  # one that is no number comes as None
                np.testing.assert_allclose(given, expected[name], rtol=1e-5, atol=1e-8)


@pytest.mark.timed
def test_a_hundred_steps_take_less_than_a_second(open_page):
    page = open_page(PAGE)
    for name in ("train.js", "digits.js"):
        page.evaluate(LOAD, name)
    settings, steps = race.settings_of(race.PRESETS[0]), 100
    session = page.context.new_cdp_session(page)
    # The time of the processor: a busy machine may take any, whatever the page.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def taken():
        before = spent()
        page.evaluate(RACE, [settings, steps])
        return spent() - before

    page.evaluate(RACE, [settings, 10])  # the browser compiles what is used much
    seconds = min(taken() for _ in range(5))  # what else runs takes turns in the same caches
    print(f"\n{1000 * seconds / steps:.1f} ms for a step of both networks")  # noqa: T201
    assert 0 < seconds < 1


WINNERS = ["with batch", "alike", "with batch", "without", "with batch"]


@pytest.mark.parametrize("number", range(len(race.PRESETS)))
def test_each_preset_ends_as_its_words_say_from_any_first_weights(open_page, number):
    root = race_of(open_page(PAGE))
    preset(root, number).check()
    assert race.PRESETS[number]["look"] in root.locator(".bn-look").inner_text()
    guess(root, WINNERS[number]).click()
    for again in range(2):
        if again:
            root.get_by_role("button", name="Again").click()
            root.get_by_text("They train.").wait_for()
        said = result(root)
        assert said.startswith("As you said")
        assert WINNERS[number] in said.split(".")[0]
        assert race.PRESETS[number]["why"] in said
        without, rival = accuracies(root)
        assert points_drawn(root) == race.STEPS // 10 + 1
        if WINNERS[number] == "alike":
            assert abs(rival - without) <= 5
        else:
            assert (rival - without > 5) == (WINNERS[number] != "without")


def test_wrong_guess_is_said_to_be_one(open_page):
    root = race_of(open_page(PAGE))
    guess(root, "alike").click()
    assert guess(root, "alike").get_attribute("aria-pressed") == "true"
    assert result(root).startswith("Not what you said: with batch normalization")


def test_keyboard_alone_chooses_runs_stops_and_changes(open_page):
    root = race_of(open_page(PAGE))
    keyboard = root.page.keyboard
    preset(root, 0).focus()
    keyboard.press("ArrowRight")
    assert preset(root, 1).is_checked()
    assert root.get_by_label("first weights, times").get_attribute("aria-valuetext") == "7"
    keyboard.press("Tab")
    keyboard.press("Enter")
    assert guess(root, "without").evaluate("button => button === document.activeElement")
    root.get_by_role("button", name="Stop").wait_for()
    for _ in range(3):
        keyboard.press("Tab")
    keyboard.press("Space")
    assert root.get_by_role("button", name="Again").is_visible()
    drawn = points_drawn(root)
    root.page.wait_for_timeout(500)
    assert points_drawn(root) == drawn < race.STEPS // 10 + 1
    root.get_by_label("hidden layers").focus()
    keyboard.press("End")
    assert not preset(root, 1).is_checked()
    root.locator("svg", has_text="layer").get_by_text("10", exact=True).first.wait_for()
    assert points_drawn(root) <= 1


def test_what_reaches_each_layer_is_shown_before_anything_is_trained(open_page):
    root = race_of(open_page(PAGE))
    settings = race.settings_of(race.PRESETS[0]) | {"rival": "layer", "activation": "tanh"}
    root.get_by_label("the second has").select_option("layer normalization")
    root.get_by_label("activation").select_option("tanh")
    root.page.wait_for_timeout(1500)
    first = race.first_frame(settings)
    cells = root.locator("tbody tr").nth(3).locator("td").all_inner_texts()
    expected = [gradient[0] for gradient in first["gradient"]]
    np.testing.assert_allclose([float(cell) for cell in cells], expected, rtol=0.5)
    arrives = f"{first['signal'][1][-1]:.2f} with layer normalization"
    assert arrives in root.locator(".bn-said").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_finger_runs_it_on_a_telephone(browser, address, scheme):
    options = {"viewport": {"width": 375, "height": 800}, "color_scheme": scheme}
    with opened(browser, f"{address}/{PAGE}", has_touch=True, **options) as page:
        root = race_of(page)
        preset(root, 4).tap()
        guess(root, "with batch").tap()
        assert result(root).startswith("As you said")
        assert page.evaluate(visits.OVERFLOW) == 0
        for target in root.locator("button, select, input[type=range]").all():
            assert target.bounding_box()["height"] >= 24


def test_who_wants_no_motion_sees_the_end_alone(browser, address):
    with opened(browser, f"{address}/{PAGE}", reduced_motion="reduce") as page:
        root = race_of(page)
        guess(root, "with batch").click()
        seen = set()
        while not root.locator(".bn-said strong").count():
            seen.add(points_drawn(root))
            page.wait_for_timeout(50)
        assert seen <= {0, 1, race.STEPS // 10 + 1}
        assert points_drawn(root) == race.STEPS // 10 + 1


@pytest.mark.timed
def test_page_from_the_disk_trains_without_a_worker_and_is_never_blocked(browser, site):
    with opened(browser, (site / PAGE).as_uri()) as page:
        root = race_of(page)
        preset(root, 4).check()
        page.wait_for_timeout(1000)  # then the images are there, and are decoded

        def run():
            guess(root, "with batch").click()
            assert result(root).startswith("As you said")

        taken = tasks(browser, page, run)
        assert len(page.workers) == 0
    assert sum(taken) > 500  # it did train here
    assert taken[0] <= 50


@pytest.mark.timed
def test_page_is_not_blocked_while_the_worker_trains(browser, open_page):
    page = open_page(PAGE)
    root = race_of(page)

    def run():
        guess(root, "with batch").click()
        result(root)

    taken = tasks(browser, page, run)
    assert len(page.workers) == 1
    assert 0 < taken[0] <= 50


@pytest.mark.timed
def test_each_control_answers_within_a_tenth_of_a_second_on_a_slow_processor(browser, open_page):
    page = open_page(PAGE)
    root = race_of(page)
    root.hover()
    page.wait_for_timeout(1000)
    acts = answering.ways(root)
    acts["guess"] = answering.press(root.locator("button[name=guess]").first)
    acts["stop"] = answering.press(root.get_by_role("button", name="Stop"))
    acts["again"] = answering.press(root.get_by_role("button", name="Again"))
    acts["stop again"] = answering.press(root.get_by_role("button", name="Stop"))
    answering.check(answering.times(browser, page, acts))


@pytest.mark.parametrize("number", range(len(race.PRESETS)))
def test_what_a_preset_says_to_look_at_is_framed(open_page, number):
    root = race_of(open_page(PAGE))
    preset(root, number).check()
    root.page.wait_for_timeout(1500)  # then the deepest has been drawn, also beside others
    seen = [frame.bounding_box() for frame in root.locator(".bn-frame").all()]
    assert len(seen) == len(race.PRESETS[number]["frames"]) >= 1
    figure = root.locator(".bn-figure svg").bounding_box()
    marks = [mark.bounding_box() for mark in root.locator(".bn-figure svg :is(.bn-a, .bn-b)").all()]
    for box in seen:
        assert figure["x"] <= box["x"] < box["x"] + box["width"] <= figure["x"] + figure["width"]
        assert any(
            abs(box["x"] + box["width"] / 2 - mark["x"]) < box["width"]
            and box["y"] < mark["y"] < box["y"] + box["height"]
            for mark in marks
        )
    assert root.locator(".bn-figure svg").evaluate(COLLISIONS) == []
    root.get_by_label("hidden layers").press("ArrowLeft")
    assert root.locator(".bn-frame").count() == 0  # the reader's own settings


def test_curve_of_accuracy_is_on_the_first_screen_with_what_is_asked(open_page):
    root = race_of(open_page(PAGE))
    guess(root, "with batch").click()
    result(root)
    assert root.page.evaluate("scrollY") == 0
    for part in (guess(root, "without"), root.locator("path.bn-line").first):
        box = part.bounding_box()
        assert box["y"] + box["height"] <= 800


def test_gradient_that_is_exactly_zero_stands_on_a_line_of_its_own(open_page):
    root = race_of(open_page(PAGE))
    preset(root, 2).check()  # ReLU at too large a rate: units that give zero for every image
    guess(root, "with batch").click()
    result(root)
    cells = root.locator("tbody tr").nth(3).locator("td").all_inner_texts()
    assert cells[0] == "0.00"
    zero = root.locator("svg text.bn-end", has_text=re.compile("^0$")).last.bounding_box()
    circles = [mark.bounding_box() for mark in root.locator("svg circle.bn-a").all()]
    level = zero["y"] + zero["height"] / 2
    assert sum(abs(c["y"] + c["height"] / 2 - level) < 3 for c in circles) >= 1


def test_each_rival_is_said_to_be_what_it_is(open_page):
    root = race_of(open_page(PAGE))
    for rival, words in {"layer": "units of the layer", "weights": "nothing is normalized"}.items():
        root.locator("[name=rival]").select_option(rival)
        assert words in root.locator(".bn-note").inner_text()


def test_axe_finds_no_violation_in_any_state(open_page):
    found = {}
    for scheme, width in [("light", 1280), ("dark", 375)]:
        page = open_page(PAGE, scheme=scheme, width=width)
        page.evaluate(visits.AT_ONCE)
        page.evaluate(visits.files(visits.AXE)["axe.min.js"].decode())
        root = race_of(page)

        def ask(state, page=page, kind=(scheme, width)):
            found[(*kind, state)] = page.evaluate(visits.RUN_AXE, [visits.ALSO, []])

        preset(root, 3).check()
        page.wait_for_timeout(500)
        ask("chosen")
        guess(root, "without").click()
        root.get_by_role("button", name="Stop").wait_for()
        ask("running")
        result(root)
        ask("over")
        root.get_by_role("button", name="Again").click()
        root.get_by_role("button", name="Stop").click()
        ask("stopped")
        for number in range(len(race.PRESETS)):
            preset(root, number).check()
            page.wait_for_timeout(500)
            ask(f"setting {number}")
        root.get_by_label("learning rate").focus()
        page.keyboard.press("End")
        page.wait_for_timeout(500)
        ask("own settings")
    assert {state: complaints for state, complaints in found.items() if complaints} == {}


def test_digits_are_asked_for_when_a_reader_begins(browser, address):
    context = browser.new_context()
    with visits.watched(context, address) as (page, seen):
        page.goto(f"{address}/{PAGE}")
        page.wait_for_timeout(500)
        assert not [path for path in seen.loaded if path.startswith("_static/race/")]
        race_of(page).hover()
        page.wait_for_timeout(1000)
        assert "_static/race/train.js" in seen.loaded
    context.close()


def test_images_that_cannot_be_loaded_are_said_to_be_missing(in_context, address):
    page = in_context(purpose="no digits").new_page()
    page.route("**/digits.js", lambda route: route.abort())
    page.goto(f"{address}/{PAGE}")
    root = race_of(page)
    guess(root, "with batch").click()
    root.get_by_text("could not be loaded").wait_for()
    page.close()


def test_without_javascript_the_beginning_and_the_outcome_are_told(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / PAGE).as_uri())
    root = race_of(page)
    assert root.locator("tbody").is_visible()
    assert re.search("learns nothing", root.locator("noscript").inner_text())
    for control in root.locator("button, input, select").all():
        assert not control.is_visible()
    context.close()
