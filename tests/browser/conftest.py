"""A Chromium, and the built site served from this machine: what the tests of the site share."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import built_site
import pytest
import visits
from playwright.sync_api import sync_playwright

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
ARGUMENTS = [
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that asks another host gets no answer from it, and is found out.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
NO_CHROMIUM = """No Chromium was found. Install one of:
  apt-get install chromium            (Debian; root)
  .nox/site/bin/playwright install --with-deps chromium"""


def pytest_sessionstart():
    if not (SITE / "index.html").is_file():
        pytest.exit(f"No site in {SITE}: build it with nox -s docs", returncode=2)


def pytest_generate_tests(metafunc):
    """A test of `name` is one test per page, unless it says itself what the names are."""
    own = {marker.args[0] for marker in metafunc.definition.iter_markers("parametrize")}
    if "name" in metafunc.fixturenames and not any("name" in argument for argument in own):
        metafunc.parametrize("name", built_site.page_names(SITE))


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    """In place of the unit tests': what is fetched stays where builds of the site keep it."""


def pytest_collection_modifyitems(items):
    """Put together what opens one page, or belongs to one file.

    Several processes begin with a part of the list each, and take from the end of another's: so a
    page is examined by one of them, and hardly ever by two.
    """
    items.sort(key=lambda item: str(arguments(item).get("name", item.path.stem)))


def arguments(item):
    """Return what a test is parametrized with."""
    return getattr(getattr(item, "callspec", None), "params", {})


FIGURES: dict[str, visits.Visit] = {}
ROWS: dict[str, tuple[float, ...]] = {}  # what is printed of each page, from all processes


def rows():
    """Return what is printed of the pages that this process has seen."""
    return {
        name: (v.weight, v.own_script, v.overflow, sum(map(len, v.violations.values())))
        for name, v in FIGURES.items()
    }


def pytest_sessionfinish(session):
    """Send what one of several processes has seen to the one that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["rows"] = rows()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take what one of several processes has seen."""
    ROWS.update(getattr(node, "workeroutput", {}).get("rows", {}))


def pytest_terminal_summary(terminalreporter):
    """Print the figures of each page, and the greatest of each."""
    write = terminalreporter.write_line
    if all_rows := dict(sorted((ROWS | rows()).items())):
        write("kB: compressed, without figures; own: kB of JavaScript")
        write("   kB   own  px over  axe  page")
        line = "{:5.0f} {:5.1f} {:8.0f} {:4.0f}  {}"
        for name, row in all_rows.items():
            write(line.format(*row, name))
        greatest = map(max, zip(*all_rows.values(), strict=True))
        write(line.format(*greatest, f"greatest of {len(all_rows)} pages"))


@pytest.fixture(scope="session")
def figures():
    """What was seen of the pages, by name; it is printed at the end."""
    return FIGURES


@pytest.fixture(scope="session")
def site():
    """The folder of the built site."""
    return SITE


class Handler(SimpleHTTPRequestHandler):
    """Serve files without a word; what is not there gets the site's 404 page, as on a host."""

    def log_message(self, *_args):
        pass

    def send_error(self, code, message=None, explain=None):
        page = SITE / "404.html"
        if code != 404 or not page.is_file():
            super().send_error(code, message, explain)
            return
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.read_bytes())


@pytest.fixture(scope="session")
def serve():
    """A function that serves a folder from loopback, and returns its address."""
    servers = []

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def address(serve):
    """Where the site is served."""
    return serve(SITE)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests: the system's, else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next((path for path in map(shutil.which, names) if path), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        if not system and not Path(chromium.executable_path).is_file():
            pytest.exit(NO_CHROMIUM, returncode=2)
        browser = chromium.launch(executable_path=system, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def in_context(browser):
    """A function that returns a browser context by scheme and width, always the same one."""
    contexts = {}

    def find(scheme="light", width=1280, purpose="", has_touch=False):
        key = (scheme, width, purpose, has_touch)
        if key not in contexts:
            look = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            contexts[key] = browser.new_context(**look, has_touch=has_touch)
        return contexts[key]

    yield find
    for context in contexts.values():
        context.close()


@pytest.fixture
def open_page(in_context, address):
    """A function that opens a page of the site, which is closed at the end of the test.

    ``open_page("derivations/forward.html", scheme="dark", width=375)``; what a page does against
    its policy fails the test.
    """
    opened, refused = [], []

    def go(path, *, scheme="light", width=1280, has_touch=False):
        page = in_context(scheme, width, has_touch=has_touch).new_page()
        opened.append(page)
        page.on("console", lambda message: refused.extend(visits.refusals(message.text)))
        page.goto(f"{address}/{path}")
        return page

    yield go
    for page in opened:
        page.close()
    assert refused == []
