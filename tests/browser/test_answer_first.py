"""On the page of an experiment the short answer and its figure come first, near the top."""

from pathlib import Path

import pytest
import visits

SCRIPTS = Path(__file__).parents[2] / "tutorial_src"
STORY = "00_first/plot_01_watch_a_network_fail"  # it is told in order, and has no answer
ALL = [path.relative_to(SCRIPTS).with_suffix("") for path in sorted(SCRIPTS.glob("*/plot_*.py"))]
PAGES = [page.as_posix() for page in ALL if page.as_posix() != STORY]
NEAR = 1_200  # pixels from the top: a window and a half
MOST = 0.8  # of the figure
BEGUN = 100  # pixels of the figure, where a question comes before the answer

# Where they begin and end, from the top of the page.
PLACES = """() => {
  const place = element => {
    const {top, bottom} = element.getBoundingClientRect();
    return [top + scrollY, bottom + scrollY];
  };
  const answers = [...document.querySelectorAll("article p")]
    .filter(paragraph => paragraph.textContent.startsWith("In short."));
  const figures = [...document.querySelectorAll(".lead-figure img")]
    .filter(image => image.getClientRects().length);
  const questions = [...document.querySelectorAll(".bn-predict")];
  return [answers, figures, questions].map(all => all.map(place));
}"""


@pytest.mark.parametrize("page", PAGES)
def test_short_answer_and_its_figure_stand_near_the_top(page, open_page):
    shown = open_page(f"gallery/{page}.html")
    shown.evaluate(visits.SETTLED)
    [[answer], [figure], questions] = shown.evaluate(PLACES)
    assert answer[1] <= figure[0]
    assert answer[1] <= NEAR
    seen = min(NEAR, figure[1]) - figure[0]
    asked_first = any(top < answer[0] for top, _ in questions)
    assert seen >= (BEGUN if asked_first else MOST * (figure[1] - figure[0]))
