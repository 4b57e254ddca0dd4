"""What the tests and the doctests of the package share: a cache folder, and no variables."""

from __future__ import annotations

import gc
import os

import pytest


def pytest_collection_finish():
    """Leave all that was imported out of the collections of garbage.

    sphinx-gallery collects after each script, which took as long as to build its page.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """The cache folder of this session: no test touches the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("BN_TUTORIAL_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _leave_no_variable():
    """A test that leaves one of our variables changed would decide what the next one does."""

    def ours():
        return {name: os.environ[name] for name in os.environ if name.startswith("BN_TUTORIAL_")}

    before = ours()
    yield
    after = ours()
    for name in after.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    assert after == before
