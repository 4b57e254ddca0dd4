"""Decide what a build runs: on which data, and which scripts of the gallery.

What a script shows depends on more than its text: on the package, on its dependencies and on the
data. All of that has one fingerprint. When it changes, every script runs again; one that fails,
or that a killed build left out, is simply not done yet and runs in the next build.
``BN_TUTORIAL_ONLY=03_in_training/plot_01`` runs the scripts whose names begin so, and leaves the
others as they are until a full build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import build_data
import gallery_state as state
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError
from sphinx.util import logging

logger = logging.getLogger(__name__)


def prepare(app: Sphinx, config: Config) -> None:
    """Set the environment of the scripts, forget what is out of date, and say what is in use."""
    source, gallery = Path(app.srcdir).parent / "tutorial_src", Path(app.srcdir) / "gallery"
    scripts = state.scripts_in(source)
    only = os.environ.get("BN_TUTORIAL_ONLY", "").removesuffix(".py")
    chosen = [script for script in scripts if script.startswith(only)]
    if only and not chosen:
        raise ConfigError(f"BN_TUTORIAL_ONLY={only} names none of: {', '.join(scripts)}")

    stamp = gallery / "built-with.json"
    built = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    wished = build_data.wishes()
    data = build_data.decide(wished, built)
    os.environ["BN_TUTORIAL_EVIDENCE"] = str(gallery / "evidence")
    config.html_context["data"] = data
    logger.info("Data: {title}. {source}. {licence}.".format(**data), color="bold")

    package = source.parent.glob("bn_tutorial/**/*.py")
    scraper = Path(__file__).with_name("gallery_figures.py")
    mark = state.fingerprint([*package, scraper], data["digest"])
    changed = built.get("fingerprint") != mark
    if changed:  # first, so that a build that is killed here has forgotten too much, not too little
        stamp.unlink(missing_ok=True)
    for script in chosen:
        if only or changed or not state.is_current(script, source, gallery):
            state.forget(script, gallery)
    state.remove_leftovers(scripts, gallery)
    if only:  # no stamp: if anything changed, the next full build runs everything
        pattern = "|".join(re.escape(f"{Path(script)}.py") for script in chosen)
        config.sphinx_gallery_conf["filename_pattern"] = f"({pattern})$"
        config.suppress_warnings.append("image.not_readable")  # figures that nobody drew yet
    else:
        gallery.mkdir(exist_ok=True)
        stamp.write_text(json.dumps({"fingerprint": mark, "wishes": wished, "data": data}))

    pages = Path(app.srcdir, "_build", "executed-pages")
    config.nb_execution_cache_path = str(pages / mark[:16])  # a new folder: nothing is remembered
    os.environ["BN_TUTORIAL_CHECKS"] = str(pages / mark[:16] / "checks")
    for old in set(pages.glob("*")) - {pages / mark[:16]}:
        shutil.rmtree(old)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register before the extensions that read what is decided here."""
    app.connect("config-inited", prepare, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
