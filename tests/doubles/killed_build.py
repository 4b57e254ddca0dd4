"""A build in a process of its own, which may be killed at a call: see faults/test_build.py.

Imported before it is forked, so that each build does not import Sphinx anew.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from types import ModuleType, SimpleNamespace

MODULES = (  # of what a build imports, the slowest
    *("sphinx.cmd.build", "sphinx.builders.html", "myst_nb.sphinx_ext", "jupyter_cache.cache.main"),
    *("matplotlib.pyplot", "sphinx_gallery.gen_gallery", "bn_tutorial.lab.evidence"),
    *("bn_tutorial.lab.figures", "check_log", "experiments", "fresh", "gallery_figures"),
)
for module in MODULES:
    importlib.import_module(module)


def stop_at(name: str, number: int, chosen: int) -> None:
    """Send a signal at the n-th call of a function, before it has done anything."""
    module, _, dotted = name.partition(":")
    owner = importlib.import_module(module)
    *outer, last = dotted.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls = getattr(owner, last), []

    @functools.wraps(function)
    def stopping(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), chosen)
        return function(*args, **kwargs)

    setattr(owner, last, stopping)


def main(docs: str, stop: str = "", number: int = 1, name: str = "SIGKILL", **known: str) -> None:
    """Build with variables of the environment, and exit with the status of Sphinx."""
    os.environ.update(known)
    data = ModuleType("loading")  # the real one imports torch, and would look for MNIST
    data.resolve = lambda: "digits"
    data.load = lambda name: SimpleNamespace(
        name=name, title=name, licence="L", source="S", digest=name
    )
    sys.modules["bn_tutorial.data.loading"] = data
    if stop:
        stop_at(stop, number, getattr(signal, name))
    out = f"{docs}/_build"
    sphinx = importlib.import_module("sphinx.cmd.build").main
    sys.exit(sphinx(["-W", "--keep-going", "-q", "-d", f"{out}/doctrees", docs, f"{out}/html"]))


if __name__ == "__main__":
    main(sys.argv[1])
