"""The checks of this folder that need a browser, tried on a page that is broken in every way."""

import pytest
import visits

BROKEN = """<!doctype html><html lang="en"><title>Broken</title><body><main><h1>Broken</h1>
<p id="late" style="color: #999; background: #fff">pale text, unless it is dark</p>
<style>@media (prefers-color-scheme: dark) { #late { color: #000 !important } }</style>
<img src="https://example.org/a.png" alt="a"> <img src="gone.png" alt="b"> <img src="b.svg">
<div style="width: 200px; overflow-x: scroll" tabindex="-1">
<p style="margin: 0; white-space: nowrap">A line of text that is much wider than its box</p></div>
<p style="width: 500px">Wider than a telephone</p>
<div style="width: 200px; overflow-x: scroll" tabindex="0">
<img src="b.svg" alt="cut off" style="width: 500px">
<table style="width: 500px"><tr><td>cut off</table></div>
<script>
  console.error("complaint");
  // What moves before it was painted has not moved for anyone.
  new PerformanceObserver(() => document.querySelector("h1").style.marginTop = "300px")
    .observe({type: "paint", buffered: true});
  setTimeout(() => { throw new Error("thrown"); }, 1);
</script></main>"""


@pytest.fixture(scope="module")
def seen(in_context, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    (folder / "page.html").write_text(BROKEN)
    (folder / "b.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    return visits.examine(in_context(purpose="broken"), serve(folder), "page.html")


def test_complaints_of_the_browser_are_noted(seen):
    said = "\n".join(seen.errors)
    for what in ("complaint", "thrown", "gone.png"):
        assert what in said


def test_requests_to_another_host_are_noted_and_not_answered(seen):
    assert seen.foreign == ["https://example.org/a.png"]
    assert "https://example.org/a.png" in seen.unseen


def test_images_that_cannot_be_seen_are_noted(seen):
    assert [url.rsplit("/", 1)[1] for url in seen.unseen] == ["a.png", "gone.png"]


def test_violations_are_noted_in_each_scheme_and_width(seen):
    rules = {
        kind: {text.split(":")[0] for text in seen.violations[kind]} for kind in seen.violations
    }
    assert {"image-alt", "color-contrast"} <= rules["light"]
    assert "image-alt" in rules["dark"]
    assert "scrollable-region-focusable" in rules["375 px"]


def test_what_is_cut_off_by_a_box_is_noted_and_a_small_figure_is_not(seen):
    assert [cut[:4] for cut in seen.cut] == ["<img", "<tab"]
    assert all("cut off" in cut for cut in seen.cut)


def test_overflow_shift_and_paint_are_measured(seen):
    assert seen.overflow > 100
    assert seen.shift > 0.05
    assert seen.paint > 0
