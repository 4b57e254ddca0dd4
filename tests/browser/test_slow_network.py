"""How soon the heaviest pages are painted for a reader with a slow network and a slow processor."""

import gzip
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import built_site
import pytest

from conftest import Handler

NETWORK = {
    "offline": False,
    "latency": 150,  # milliseconds from a request to its answer
    "downloadThroughput": 1.6e6 / 8,  # bytes a second
    "uploadThroughput": 1.6e6 / 8,
}
SLOWER = 4  # times, the processor
KINDS = ("compressing", "plain")  # GitHub Pages compresses; a folder on some other host may not
# Milliseconds to the first paint: twice what an idle machine takes, so that noise is none. And a
# busy one paints late, whatever the page: the best time counts.
MAX_FIRST_PAINT = 2_000
TRIES = 3
SEEN = """() => new Promise(done => new PerformanceObserver(list => {
  const [paint] = list.getEntriesByName("first-contentful-paint");
  if (!paint) return;
  const all = [...performance.getEntriesByType("navigation"),
               ...performance.getEntriesByType("resource")];
  const loaded = all.filter(entry => entry.responseEnd && entry.responseEnd < paint.startTime);
  done([paint.startTime, loaded.reduce((sum, entry) => sum + entry.encodedBodySize, 0) / 1000]);
}).observe({type: "paint", buffered: true}))"""


class Compressing(Handler):
    """Send text as most hosts do."""

    def do_GET(self):  # noqa: N802  (http.server's name)
        path = self.translate_path(self.path)
        if not path.endswith((".html", ".css", ".js", ".svg")):
            super().do_GET()
            return
        with open(path, "rb") as file:  # noqa: PTH123
            content = gzip.compress(file.read())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module", params=KINDS)
def host(request, site, address):
    """How a host sends what it has, and its address."""
    if request.param == "plain":
        yield request.param, address
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressing, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def first_paint(browser, url):
    """Return the milliseconds to the first paint, and the kB of what was loaded until then."""
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", NETWORK)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(url, wait_until="commit")
    seen = page.evaluate(SEEN)
    context.close()
    return seen


@pytest.mark.timed
def test_heavy_pages_are_painted_soon(host, site, browser):
    kind, address = host
    names = sorted(built_site.page_names(site), key=lambda name: (site / name).stat().st_size)
    late = {}
    print(f"\n{kind}\n   ms  kB besides the page  kB of page  page")  # noqa: T201
    for name in [*names[-3:], "index.html"]:
        best = min(first_paint(browser, f"{address}/{name}") for _ in range(TRIES))
        size = (site / name).stat().st_size / 1000
        print(f"{best[0]:5.0f} {best[1]:20.0f} {size:11.0f}  {name}")  # noqa: T201
        if best[0] >= MAX_FIRST_PAINT:
            late[name] = best[0]
    assert late == {}
