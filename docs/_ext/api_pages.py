"""One page of the reference for each module of the package, written without importing it.

autosummary's own generator imports every module at every build, and torch with them: seconds, in
a build in which nothing changed.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PAGE = """{title}
{rule}

.. automodule:: {title}
   :members:
   :member-order: bysource
"""


def modules_in(package: Path) -> list[str]:
    """Return the names of a package's modules; a wing itself is told of where they are listed."""
    paths = (path.relative_to(package.parent) for path in package.rglob("*.py"))
    return [".".join(path.with_suffix("").parts) for path in paths if path.stem[0] != "_"]


def write_pages(app: Sphinx) -> None:
    """Write the pages whose text changed, and remove those of modules that are gone."""
    root, folder = Path(app.srcdir).parent, Path(app.srcdir, "api", "generated")
    folder.mkdir(parents=True, exist_ok=True)
    modules = modules_in(root / "bn_tutorial")
    for old in set(folder.glob("*.rst")) - {folder / f"{module}.rst" for module in modules}:
        old.unlink()
    for module in modules:
        page, text = folder / f"{module}.rst", PAGE.format(title=module, rule="=" * len(module))
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def skip(_app: Sphinx, what: str, _name: str, member: Any, _skip: bool, _: Any) -> bool | None:
    """Leave out the fields of named tuples, and what a module imports from outside the package.

    "Alias for field number 0" says nothing. Autodoc drops what is imported, but reads its signature
    before, and of some of Python's own functions it cannot.
    """
    defined = what == "module" and (inspect.isclass(member) or inspect.isroutine(member))
    imported = defined and not f"{member.__module__}.".startswith("bn_tutorial.")
    return True if imported or type(member).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for documents."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
