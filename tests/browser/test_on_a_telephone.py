"""On a telephone, what a press changes stands in one screen with what is pressed."""

import pytest

FIGURES = {
    "race": "index.html",
    "walk-the-graph": "derivations/backward.html",
    "turn-a-batch": "derivations/meaning.html",
    "find-the-cliff": "why.html",
    "move-a-sample": "derivations/forward.html",
    "replay-a-training": "gallery/03_in_training/plot_10_replay_a_training.html",
}
HIGH = 812
# What is told of a change, beside the picture, and how much of it is to be seen at once (pixels).
TOLD = {
    "walk-the-graph": [(".bn-said", 0), (".bn-work tbody", 0)],
    "find-the-cliff": [(".bn-said", 110)],
    "turn-a-batch": [(".bn-said", 70)],
    "replay-a-training": [(".bn-said", 90)],
}
SCROLL = "([x, y]) => scrollTo({left: x, top: y, behavior: 'instant'})"


@pytest.fixture
def telephone(browser, address):
    """A function that opens the page of a figure, and returns the figure; closed at the end."""
    contexts = []

    def go(name, address_of_page=None):
        size = {"width": 375, "height": HIGH}
        options = {"has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}
        contexts.append(browser.new_context(viewport=size, **options))
        page = contexts[-1].new_page()
        page.goto(f"{address}/{address_of_page or FIGURES[name]}")
        return page.locator(f'[data-widget="{name}"]')

    yield go
    for context in contexts:
        context.close()


def ends(part):
    """The upper and the lower end of a part, in the window."""
    box = part.bounding_box()
    return box["y"], box["y"] + box["height"]


def header(root):
    return ends(root.page.locator(".bd-header"))[1]


@pytest.mark.parametrize("name", FIGURES)
def test_whoever_reaches_a_control_by_key_sees_it_and_the_picture(telephone, name):
    root = telephone(name)
    page, picture = root.page, root.locator(".bn-figure")
    controls = root.locator(":is(input, select, button):visible:not(.bn-figure *)").all()
    assert controls
    for start in (0, 1_000_000):
        for control in controls:
            control.blur()
            page.evaluate(SCROLL, [0, start])
            control.focus()
            page.wait_for_timeout(50)
            (top, bottom), (above, below) = ends(control), ends(picture)
            assert header(root) - 1 <= above < below <= HIGH, control
            assert header(root) <= top < bottom <= HIGH, control
            assert bottom <= above or top >= below - 1, control


@pytest.mark.parametrize("name", TOLD)
def test_what_a_change_does_is_told_in_the_same_screen(telephone, name):
    root = telephone(name)
    top = ends(root)[0] + root.page.evaluate("scrollY")
    root.page.evaluate(SCROLL, [0, top - header(root)])
    for selector, seen in TOLD[name]:
        above, below = ends(root.locator(selector))
        assert (above + seen if seen else below) <= HIGH


def test_outcome_of_the_race_is_told_below_the_curves_and_what_was_pressed(telephone):
    root = telephone("race")
    page, pressed = root.page, root.locator("button[name=guess]").first
    top = ends(root.locator(".bn-figure"))[0] + page.evaluate("scrollY")
    page.evaluate(SCROLL, [0, top - header(root)])
    pressed.tap()
    root.locator(".bn-said strong").wait_for(timeout=180_000)
    parts = (root.locator(".bn-figure"), pressed, root.locator(".bn-said strong"))
    order = [ends(part) for part in parts]
    assert header(root) - 1 <= order[0][0]
    assert order[0][1] <= order[1][0] + 1
    assert order[1][1] <= order[2][0]
    assert order[2][1] <= HIGH


def test_outcome_of_the_race_is_in_the_window_where_what_was_pressed_was_at_its_foot(telephone):
    root = telephone("race")
    page, pressed = root.page, root.locator("button[name=guess]").first
    page.evaluate(SCROLL, [0, ends(pressed)[1] + page.evaluate("scrollY") - HIGH + 5])
    pressed.tap()
    root.locator(".bn-said strong").wait_for(timeout=180_000)
    assert ends(root.locator(".bn-said strong"))[1] <= HIGH


def test_what_an_answer_rests_on_stands_at_the_foot_of_the_window(telephone):
    root = telephone("predict", "gallery/03_in_training/plot_07_change_the_batch_size.html").first
    root.locator("summary").tap()
    shown = root.locator("details .measured").first
    shown.tap()
    bottom = ends(shown.locator(".measured-facts"))[1]
    assert HIGH - 40 <= bottom <= HIGH
