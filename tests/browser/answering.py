"""How long a page takes to answer what a reader does, in time of the processor.

A trace of the browser tells for each task of the page's own thread how long it had a processor, so
that other programs on the machine hardly matter. What the graphics threads do afterwards is not in
it; it does not hold up the page. Slowing the processor four times is multiplying by four.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import visits
from playwright.sync_api import Browser, Locator, Page

MAX = 100  # milliseconds to the next paint, on a processor four times as slow
SLOWER = 4
ATTEMPTS = 3
INPUTS = ("keydown", "keypress", "keyup", "pointerdown", "pointerup", "mousedown", "mouseup")
INPUTS += ("click", "input", "change")
MARK = "name => { performance.mark(`act ${name}`); }"


def traced(browser: Browser, page: Page, act: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return what the trace tells of the page's thread meanwhile, by time."""
    categories = ["toplevel", "devtools.timeline", "blink.user_timing"]
    browser.start_tracing(page=page, categories=categories)
    act()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    ours = [event for event in events if (event["pid"], event["tid"]) in threads]
    return sorted(ours, key=lambda event: event.get("ts", 0))


def tasks(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks among the events."""
    return [event for event in events if event["name"].endswith("::RunTask") and "dur" in event]


def took(events: list[dict[str, Any]]) -> float:
    """Return the milliseconds from an input to its paint, for the slowest one of the events.

    They are those of all tasks from the one that the input came in to the one that has painted.
    """
    ran = tasks(events)
    painted = [event["ts"] for event in events if event["name"] == "Layerize"]
    found = [0.0]
    for event in events:
        if event["name"] == "EventDispatch" and event["args"]["data"]["type"] in INPUTS:
            end = next((time for time in painted if time > event["ts"]), event["ts"])
            meanwhile = [t for t in ran if t["ts"] <= end and t["ts"] + t["dur"] >= event["ts"]]
            found.append(sum(task.get("tdur", 0) for task in meanwhile) / 1000)
    return max(found)


def times(
    browser: Browser, page: Page, acts: Mapping[str, Callable[[], Any]], rounds: int = 3
) -> dict[str, float]:
    """Return the milliseconds of each act, by its name, on a processor four times as slow.

    Each is done several times, and more if that was too long, and its best time counts: where
    caches are shared, other programs cost some time even so. A round of all acts ends as it began,
    or each would do nothing.
    """

    def all_of_them() -> None:
        for name, act in rounds * [*acts.items()]:
            page.evaluate(MARK, name)
            act()
            page.evaluate(visits.SETTLED)

    best = dict.fromkeys(acts, math.inf)
    for _ in range(ATTEMPTS):
        events = traced(browser, page, all_of_them)
        starts = [i for i, event in enumerate(events) if event["name"].startswith("act ")]
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
            name = events[start]["name"].removeprefix("act ")
            best[name] = min(best[name], SLOWER * took(events[start:end]))
        if max(best.values()) < MAX:
            break
    return best


def check(found: Mapping[str, float]) -> None:
    """Print the times, and fail if one is none, or too long."""
    for name, time in sorted(found.items(), key=lambda one: -one[1]):
        print(f"{time:4.0f} ms  {name}")  # noqa: T201
    assert min(found.values()) > 0  # each was seen to be answered
    assert {name: time for name, time in found.items() if time >= MAX} == {}


def press(target: Locator, milliseconds: int = 80) -> Callable[[], Any]:
    """Return a press of usual length: what it begins with is painted before it ends."""
    return lambda: target.click(delay=milliseconds, force=True)


def ways(root: Locator) -> dict[str, Callable[[], Any]]:
    """Return what a reader can do with the sliders, lists and choices of a figure."""
    acts: dict[str, Callable[[], Any]] = {}
    for name, low in root.locator("input[type=range], select").evaluate_all(
        "fields => fields.map(field => [field.name, field.value !== field.max])"
    ):
        field = root.locator(f'[name="{name}"]')
        for key in ("ArrowRight", "ArrowLeft") if low else ("ArrowLeft", "ArrowRight"):
            acts[f"{name} {key}"] = functools.partial(field.press, key)
    # The one that is chosen comes last of them, so that each changes something.
    for name, value in root.locator("input[type=radio]").evaluate_all(
        """fields => fields.sort((a, b) => a.checked - b.checked).map(f => [f.name, f.value])"""
    ):
        acts[f"{name} {value}"] = press(root.locator(f'input[name="{name}"][value="{value}"]'))
    return acts
