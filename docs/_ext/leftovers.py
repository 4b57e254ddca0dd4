"""Leave nothing in the site that no page of it wants, and nothing behind a build that failed.

Sphinx itself keeps the HTML of pages that were deleted and the images that they showed, and it
forgets warnings: a page that was read with one is not read again, so that a second build of a
site with a broken link would succeed.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

Names = set[str]


def remove_pages(
    app: Sphinx, _env: BuildEnvironment, _added: Names, _changed: Names, removed: Names
) -> Names:
    """Remove the HTML of the documents that are gone."""
    if app.builder.format == "html":
        for document in removed:
            app.builder.get_output_path(document).unlink(missing_ok=True)  # type: ignore[attr-defined]
            Path(app.doctreedir, f"{document}.doctree").unlink(missing_ok=True)
    return set()  # no page besides is out of date


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Remove the files that no page shows, or else make the next build read every page."""
    if exception or app._warncount:  # Sphinx has no public name for it
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
    elif app.builder.format == "html":
        wanted = {f"_images/{name}" for _, name in app.env.images.values()}
        wanted |= {f"_downloads/{name}" for _, name in app.env.dlfiles.values()}
        for path in [*app.outdir.glob("_images/*"), *app.outdir.glob("_downloads/*/*")]:
            if path.relative_to(app.outdir).as_posix() not in wanted:
                path.unlink()
        # After a build that failed, nothing is known of the pages that an older one wrote. Those
        # that no source makes, such as the index, are all at the top.
        for path in app.outdir.glob("[!_]*/**/*.html"):
            if path.relative_to(app.outdir).with_suffix("").as_posix() not in app.env.found_docs:
                path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("env-get-outdated", remove_pages)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
