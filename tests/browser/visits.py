"""Open a page in a browser once, and write down all that the tests ask about it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from npm_package import Package, files
from playwright.sync_api import BrowserContext, Locator, Page

AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
# Rules that axe holds for experimental, or leaves out, and that pages of text can keep.
ALSO = ("label-content-name-mismatch", "p-as-heading", "table-fake-caption", "target-size")
# Rules whose answer another width or scheme can change; the rest is asked once.
OF_WIDTH = ("scrollable-region-focusable", "target-size", "meta-viewport", "label")
OF_COLOUR = ("color-contrast", "link-in-text-block", "image-alt", "svg-img-alt", "role-img-alt")

# The browser reports both while the page loads; the last paint reported is the largest.
OBSERVE = """
window.largestPaint = 0; window.layoutShift = 0;
new PerformanceObserver(list => { window.largestPaint = list.getEntries().at(-1).startTime; })
  .observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver(list => { for (const entry of list.getEntries())
  if (!entry.hadRecentInput) window.layoutShift += entry.value; })
  .observe({type: "layout-shift", buffered: true});
"""
SETTLED = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"
UNSEEN_IMAGES = """async () => {
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map(image => image.decode().catch(() => {})));
  return images.filter(image => !image.naturalWidth).map(image => image.src);
}"""
# What is wider than the window, and not within a box that scrolls by itself. The theme hides what
# is wider than the article.
OVERFLOW = """Math.max(
  ...[document.documentElement, ...document.querySelectorAll(".bd-article-container")]
    .map(box => box.scrollWidth - box.clientWidth))"""
# Figures of which a part is out of the window, be it in a box that scrolls.
CUT = """() => [...document.querySelectorAll("main :is(img, svg, table):not(.katex *)")]
  .filter(figure => figure.getClientRects().length)
  .filter(figure => { const {left, right} = figure.getBoundingClientRect();
    return left < -0.5 || right > document.documentElement.clientWidth + 0.5; })
  .map(figure => figure.outerHTML.slice(0, 120))"""
RUN_AXE = """async ([also, only]) => {
  const rules = Object.fromEntries(also.map(rule => [rule, {enabled: true}]));
  const options = only.length ? {runOnly: only} : {rules};
  const {violations} = await axe.run({resultTypes: ["violations"], ...options});
  return violations.flatMap(({id, nodes}) =>
    nodes.map(node => `${id}: ${node.target.flat().join(" ")}: ${node.html.slice(0, 120)}`));
}"""
FIRST_VIEWS = """root => {
  const data = JSON.parse(root.querySelector("script").textContent);
  const fresh = document.createElement("template");
  fresh.innerHTML = bnWidgets.first(root.dataset.widget, data).html;
  return [root.querySelector("form").outerHTML, fresh.innerHTML]; }"""
# What scrolls and cannot be reached by keyboard: the theme looks 300 ms after a change of width.
OUT_OF_REACH = """() => [
  ...document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")
].some(box => box.scrollWidth > box.clientWidth && box.tabIndex < 0)"""
# A formula has hundreds of boxes, hidden from assistive technology; one each has its colour.
SIMPLIFY = """() => { for (const formula of document.querySelectorAll(".katex-html"))
  formula.replaceChildren(formula.textContent); }"""
# A page of code has thousands of coloured words: one of each kind, in code and in what it prints,
# has the colours of all. What is a link or is hovered over stays what it is.
THIN_OUT = """() => { const seen = new Set();
  const words = ".highlight pre span[class]:not([id], [title], a span)";
  for (const word of document.querySelectorAll(words)) {
    const place = word.closest("[class*=output], [class*=script-out], .hll, td")?.className;
    const kind = `${word.className} in ${place}`;
    if (seen.has(kind)) word.replaceWith(...word.childNodes);
    seen.add(kind);
  } }"""
FOUND = re.compile("found|best first|No section")
# What the search names for each query, as page.html#anchor, and how long it took (milliseconds).
ANSWERS = """queries => queries.map(query => {
  const field = document.querySelector(".bd-search-container input");
  field.value = query;
  const before = performance.now();
  field.dispatchEvent(new Event("input"));
  const took = performance.now() - before;
  const links = [...document.querySelectorAll("#search-results a")];
  return [links.map(link => link.getAttribute("href").replace(/\\?[^#]*/, "")), took];
})"""
# A style sheet that the page's policy lets in, because no element holds it.
AT_ONCE = """() => { const sheet = new CSSStyleSheet();
  sheet.replaceSync("*, ::before, ::after { transition: none !important; }");
  document.adoptedStyleSheets = [sheet]; }"""


@dataclass
class Visit:
    """What was seen: each list is of complaints, and is empty for a sound page."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)  # paths below the root
    unseen: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    overflow: int = 0  # CSS pixels, on a telephone
    cut: list[str] = field(default_factory=list)  # figures and tables, on a telephone
    paint: float = 0.0  # milliseconds
    shift: float = 0.0
    weight: float = 0.0  # kB, compressed, without figures
    own_script: float = 0.0  # kB


@contextlib.contextmanager
def watched(context: BrowserContext, root: str) -> Iterator[tuple[Page, Visit]]:
    """Open an empty page whose console and requests are written down."""
    page, visit = context.new_page(), Visit()

    def note_request(request: Any) -> None:
        url = request.url
        if url.startswith(f"{root}/"):
            visit.loaded.add(unquote(urlsplit(url[len(root) + 1 :]).path))
        elif not url.startswith(("data:", "blob:", "about:")):
            visit.foreign.append(url)

    def note_message(message: Any) -> None:
        # A warning is of something for nothing, such as a font that was asked for and not used.
        if message.type in ("error", "warning"):
            visit.errors.append(f"{message.text} ({message.location.get('url')})")

    page.on("request", note_request)
    page.on("requestfailed", lambda request: visit.errors.append(f"not loaded: {request.url}"))
    page.on("console", note_message)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    try:
        yield page, visit
    finally:
        page.close()


def refusals(message: str) -> list[str]:
    """Return a message of the browser's, if it is about what a page's policy refused."""
    return [message] if "Content Security Policy" in message else []


def load(page: Page, visit: Visit, url: str) -> None:
    """Open a page; write down when it was painted, how it shifted and what it loaded."""
    page.add_init_script(OBSERVE)
    page.goto(url)
    page.evaluate(SETTLED)
    visit.paint, visit.shift = page.evaluate("[window.largestPaint, window.layoutShift]")
    loaded = set(visit.loaded)  # before the images that nobody has scrolled to
    visit.unseen = page.evaluate(UNSEEN_IMAGES)
    visit.loaded = loaded


def look(context: BrowserContext, root: str, name: str) -> Visit:
    """Open a page, and see whether and how fast it loads."""
    with watched(context, root) as (page, visit):
        load(page, visit, f"{root}/{name}")
        return visit


def examine(context: BrowserContext, root: str, name: str) -> Visit:
    """Open a page, measure it, try it in dark and on a telephone, and ask axe each time."""
    with watched(context, root) as (page, visit):
        load(page, visit, f"{root}/{name}")
        page.evaluate(AT_ONCE)
        page.evaluate(files(AXE)["axe.min.js"].decode())
        page.evaluate(THIN_OUT)
        resize(page, 375)
        visit.overflow, visit.cut = page.evaluate(OVERFLOW), page.evaluate(CUT)
        visit.violations["375 px"] = page.evaluate(RUN_AXE, [[], OF_WIDTH])

        resize(page, 1280)
        page.evaluate(SIMPLIFY)
        visit.violations["light"] = page.evaluate(RUN_AXE, [ALSO, []])
        page.emulate_media(color_scheme="dark")
        page.evaluate(SETTLED)
        visit.violations["dark"] = page.evaluate(RUN_AXE, [[], OF_COLOUR])
        return visit


def axe_on(widget: str) -> str:
    """Return what asks axe about one figure to take part in, and not about the rest of its page."""
    return RUN_AXE.replace("axe.run(", f"axe.run('[data-widget={widget}]', ")


def first_views(root: Locator) -> tuple[str, str]:
    """Return the first view of a figure as the build wrote it, and as its script writes it."""
    written, fresh = root.evaluate(FIRST_VIEWS)
    return written, fresh


def resize(page: Page, width: int) -> None:
    """Change the width, and wait until the theme has seen what scrolls; two seconds at most."""
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate(SETTLED)
    for _ in range(20):
        if not page.evaluate(OUT_OF_REACH):
            break
        page.wait_for_timeout(100)


def await_results(page: Page) -> None:
    """Wait until the search has answered (Playwright's own waiting would evaluate a string)."""
    page.locator("#search-status", has_text=FOUND).wait_for()


def search(page: Page, root: str, queries: list[str]) -> list[tuple[list[str], float]]:
    """Return what the search of the site names for each query, and how long it takes for it."""
    page.goto(f"{root}/search.html?q={quote(queries[0])}")
    await_results(page)
    return [tuple(answer) for answer in page.evaluate(ANSWERS, queries)]
