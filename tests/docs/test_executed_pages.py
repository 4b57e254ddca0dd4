import os
from types import SimpleNamespace

import executed_pages
import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from bn_tutorial.fingerprint import Sources

PAGE = '```{code-cell} python\nchecks = Checks("proof")\n```\n'


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root / name


@pytest.fixture
def docs(tmp_path):
    """The sources in a folder whose name means something where it lies elsewhere."""
    root = tmp_path / "_build"
    write(root, "bn_tutorial/__init__.py", "")
    write(root, "bn_tutorial/part.py", "LEVEL = 1\n")
    write(
        root,
        "docs/page.md",
        f"{PAGE}\n```{{code-cell}}\nfrom bn_tutorial.part import LEVEL\nprint(LEVEL)\n```\n",
    )
    return root / "docs"


@pytest.fixture
def prepare(docs):
    """A function that prepares a build, as an application that reads pages."""

    def prepare():
        app = SimpleNamespace(config=SimpleNamespace(), srcdir=docs)
        sources = Sources(docs.parent / "bn_tutorial")
        mark = executed_pages.mark_of(docs, sources, "digits")
        executed_pages.prepare(docs, app.config, mark)
        return app

    return prepare


def pages_known_to(cache):
    known = get_cache(cache)
    records = known.list_cache_records()
    known.db.dispose()  # else it leaves the file open
    return records


@pytest.fixture
def cache(docs, prepare):
    """A cache of one page, and its counts."""
    app = prepare()
    folder = executed_pages.cache_of(app)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)")])
    known = get_cache(folder)
    known.cache_notebook_bundle(CacheBundleIn(notebook, "page.md"), check_validity=False)
    known.db.dispose()
    counts = executed_pages.checks_of((docs / "page.md").read_text(), app)
    write(counts.parent, counts.name, "{}")
    executed_pages.seal_cache(folder)
    return folder


def test_cache_is_kept_while_nothing_changes(cache, prepare):
    before = {path: path.read_bytes() for path in cache.rglob("*.*") if path.is_file()}
    assert executed_pages.cache_of(prepare()) == cache
    assert before == {path: path.read_bytes() for path in cache.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize(
    "pattern", ["global.db", "executed/*/base.ipynb", "checks/*/proof.json", "sealed.json"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_damaged_cache_is_thrown_away(cache, prepare, pattern, damage):
    (path,) = cache.glob(pattern)
    if damage == "missing":
        path.unlink()
    else:
        os.truncate(path, 0 if damage == "empty" else path.stat().st_size // 2)
    prepare()
    assert not pages_known_to(cache)


@pytest.mark.parametrize("written", [False, True])
def test_page_that_is_known_but_not_sealed_is_executed_again(cache, prepare, written):
    """A build was killed while the page was being written, or just after."""
    executed_pages.seal.write(cache / "sealed.json", cache.glob("checks/*/*.json"))
    if not written:
        next(cache.glob("executed/*/base.ipynb")).unlink()
    prepare()
    assert not pages_known_to(cache)


def test_another_state_of_the_package_has_another_cache(cache, docs, prepare):
    write(docs.parent, "bn_tutorial/part.py", "LEVEL = 2\n")
    assert executed_pages.cache_of(prepare()) != cache
    assert not cache.exists()


def test_another_version_of_a_library_that_only_pages_use_has_another_cache(
    cache, prepare, monkeypatch
):
    monkeypatch.setattr(executed_pages, "LIBRARIES", ())
    assert executed_pages.cache_of(prepare()) != cache


def test_each_state_of_a_page_has_its_own_counts():
    app = SimpleNamespace(config=None, srcdir=executed_pages.Path("docs"))
    more = PAGE.replace("\n```\n", "\nmore = 1\n```\n")
    files = [executed_pages.checks_of(text, app) for text in (PAGE, "Text.\n" + PAGE, more)]
    assert files[0] == files[1] != files[2]
    assert {path.name for path in files} == {"proof.json"}
    assert executed_pages.checks_of("Text.\n", app) is None
