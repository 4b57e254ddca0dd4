"""Pages are executed beside the scripts, and what that gives is what MyST-NB would have got."""

from types import SimpleNamespace

import execute_ahead
import executed_pages
import pytest
from jupyter_cache import get_cache
from myst_nb.core.config import NbParserConfig
from myst_parser.config.main import MdParserConfig

HEAD = "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n"
CELL = "```{{code-cell}} python\n{}\n```\n"
COUNTING = """
import os, pathlib, time
checks = pathlib.Path(os.environ["BN_TUTORIAL_CHECKS"])
checks.mkdir(parents=True, exist_ok=True)
with (checks / "runs").open("a") as file:
    file.write("run\\n")
print(6, end=" * ", flush=True)
time.sleep(0.3)
print(7)
"""


class Build:
    """What a build gives to the extension."""

    def __init__(self, docs):
        self.srcdir, self.events = docs, []
        executing = NbParserConfig(
            execution_mode="cache", execution_cache_path=str(docs / "_build" / "cache")
        )
        self.env = SimpleNamespace(myst_config=MdParserConfig(), mystnb_config=executing)

    def connect(self, event, act):
        self.events.append((event, act))


@pytest.fixture
def docs(tmp_path):
    for name, text in {
        "a_failing.md": HEAD + CELL.format("1 / 0"),
        "b_counting.md": HEAD + CELL.format(COUNTING),
        "c_text.md": "# Text\n",
        "_build/d_made.md": HEAD + CELL.format("print(1)"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_page_that_can_be_executed_is_in_the_cache_once(docs):
    for _ in range(2):
        build = Build(docs)
        execute_ahead.start(build)
        ((event, wait),) = build.events
        wait(build)
    assert event == "env-before-read-docs"
    folder = docs / "_build" / "cache"
    cache = get_cache(folder)
    (record,) = cache.list_cache_records()  # the failing one is left to who can say what is wrong
    assert record.uri.endswith("b_counting.md")
    (cell,) = cache.get_cache_bundle(record.pk).nb.cells
    assert [output.text for output in cell.outputs] == ["6 * 7\n"]
    checks = executed_pages.checks_in((docs / "b_counting.md").read_text(), folder)
    assert (checks / "runs").read_text() == "run\n"
    cache.db.dispose()
    assert executed_pages.is_whole(folder)
