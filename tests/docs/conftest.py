"""A small site, built once with the real theme, gallery, bibliography and notebooks.

What an extension mends is what other projects write. Their HTML is never typed here: it is made by
them, so that a test fails when they write something else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import katex_engine
import matplotlib.pyplot as plt
import npm_package
import pytest
import search_engine
import widget_data
from bs4 import BeautifulSoup
from jinja2 import Environment
from measured_pages import Measured
from sphinx.config import Config
from sphinx.testing.util import SphinxTestApp

from bn_tutorial.lab.evidence import Evidence

DOCS = Path(__file__).parents[2] / "docs"
# As the site is configured, except for what looks for MNIST and what fetches from npm.
CONF = f"""
import runpy

globals().update(runpy.run_path({str(DOCS / "conf.py")!r}))
left_out = ("experiments", "unchanged", "plain_files", "katex", "search_engine")
extensions = [name for name in extensions if name not in left_out]
html_title = "Norms & <layers>"  # templates are not escaped by themselves
html_context["data"] = {{name: f"The {{name}} & <more>" for name in ("title", "source", "licence")}}
html_context["data"]["name"] = "digits"
html_static_path, html_css_files, html_favicon = [], [], None
templates_path = [{str(DOCS / "_templates")!r}]
nb_execution_mode = "force"
colab_site = "owner/name/blob/branch"
"""
INDEX = """
# Home

A page without code cites {cite}`someone`.

```{bibliography}
```

```{toctree}
executed
gallery/index
```
"""
EXECUTED = """---
file_format: mystnb
kernelspec: {name: python3}
---
# Executed

```{code-cell} python
:tags: [hide-cell]

print(1)
```
"""
SCRIPT = '''"""
Title
=====

Text.
"""
import numpy as np

from bn_tutorial.lab.evidence import Evidence
from bn_tutorial.lab.figures import new_figure

new_figure(alt="An empty panel, nothing more.")
evidence = Evidence("{name}", seeds=range(5))
evidence.save()
'''
# As if another NumPy had measured, on another device.
AGED = """
text = evidence.path.read_text().replace(np.__version__, "0.1").replace('"cpu"', '"tpu"')
evidence.path.write_text(text)
"""
FILES = {
    "docs/conf.py": CONF,
    "docs/index.md": INDEX,
    "docs/executed.md": EXECUTED,
    "docs/references.bib": "@book{someone, title={T}, author={A. B}, year=2000, publisher={P}}\n",
    "tutorial_src/GALLERY_HEADER.rst": "Gallery\n=======\n",
    **{
        f"tutorial_src/{section}/{name}": text
        for section, script, code in (
            ("01_a", "plot_01_x", SCRIPT),
            ("02_b", "plot_01_y", SCRIPT + AGED),
        )
        for name, text in (
            ("GALLERY_HEADER.rst", f"{section}\n----\n"),
            (f"{script}.py", code.format(name=f"{section}/{script}")),
        )
    },
}


SUFFIXES = Config.config_values["source_suffix"].default
OWN_SUFFIXES = dict(SUFFIXES)


@pytest.fixture(autouse=True)
def _forget_suffixes():
    """Sphinx adds the suffixes of a build's parsers to a default that all builds share."""
    yield
    SUFFIXES.clear()
    SUFFIXES.update(OWN_SUFFIXES)


@pytest.fixture(scope="session", autouse=True)
def _templates_are_compiled_once():
    """Each build has an environment of its own, with the same templates."""
    compile_, compiled = Environment.compile, {}

    def look_up(self, source, *args, **options):
        key = (str(source), args, tuple(options.items()), type(self), self.trim_blocks)
        if key not in compiled:
            compiled[key] = compile_(self, source, *args, **options)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", look_up)
        yield


@dataclass
class Site:
    """A built site: its folder, and what the templates were given for each page."""

    folder: Path
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def html(self, page: str) -> str:
        return (self.folder / f"{page}.html").read_text(encoding="utf-8")

    def read(self, page: str) -> BeautifulSoup:
        return BeautifulSoup(self.html(page), "html.parser")


@pytest.fixture(scope="session")
def real_site(tmp_path_factory):
    """Build it. No test may change its files."""
    root = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, plt.rc_context():
        patch.setenv("BN_TUTORIAL_EVIDENCE", str(root / "docs/gallery/evidence"))
        patch.setenv("IPYTHONDIR", str(root / "ipython"))  # not the user's
        for name in ("BN_TUTORIAL_DEVICE", "BN_TUTORIAL_ONLY"):
            patch.delenv(name, raising=False)
        app = SphinxTestApp("html", srcdir=root / "docs")
        try:
            site = Site(app.outdir)

            def keep(_app, page, _template, context, _doctree):
                site.contexts[page] = dict(context)

            app.connect("html-page-context", keep, priority=999)
            app.build()
            assert not app.warning.getvalue()
        finally:
            app.cleanup()
    return site


def fetched(package, folder):
    """The archive of a package, fetched as a build does it. Where tests must run (CI), they do."""
    try:
        npm_package.files(package)
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{package.name} cannot be fetched: {error}")
    return folder / f"{package.name}-{package.version}.tgz"


@pytest.fixture(scope="session")
def katex(own_cache):
    return fetched(katex_engine.KATEX, own_cache)


@pytest.fixture(scope="session")
def minisearch(own_cache):
    return fetched(search_engine.MINISEARCH, own_cache)


RECORDING = {
    "steps": [0, 10, 20],
    "arms": {
        name: {
            "accuracy": [0.1, last / 2, last],
            "activations": [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]],
            "gradients": [[1e-5 * last, 0.03], [2.5e-3, 0.01], [0.5, 1e-8]],
        }
        for name, last in {"without BN": 0.2, "with BN": 0.9}.items()
    },
}


# Two maps: in the first the signal dies in the first row and the step is too large in the last
# column; in the second a training diverges.
MAPS = {
    "sigmoid": {
        "scales": [0.01, 0.3],
        "rates": [0.1, 1.0, 10.0],
        "accuracy": {
            "without BN": [[11.0, 12.0, 10.0], [40.0, 91.0, 10.0]],
            "with BN": [[90.0, 91.0, 92.0], [88.0, 91.0, 92.0]],
        },
        "level": 55.0,
        "hidden": 3,
        "width": 100,
    },
    "relu": {
        "scales": [1.0, 10.0],
        "rates": [0.1, 1.0],
        "accuracy": {
            "without BN": [[95.0, None], [None, None]],
            "with BN": [[95.0, 96.0], [80.0, 92.0]],
        },
        "hidden": 4,
        "width": 128,
    },
}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The evidence of the experiments whose recordings widgets show; returned is that of one."""
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "evidence"))
    monkeypatch.delenv("BN_TUTORIAL_ONLY", raising=False)
    for name, recording in MAPS.items():
        Evidence(widget_data.RECORDED[name]).save(recording=recording)
    evidence = Evidence(widget_data.RECORDED["replay-a-training"])
    evidence.save(recording=RECORDING)
    return evidence


@pytest.fixture
def measured(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path / "docs/gallery/evidence"))
    monkeypatch.delenv("BN_TUTORIAL_ONLY", raising=False)
    return Measured(tmp_path)
