"""Run every notebook of the built site elsewhere, as its readers do: ``nox -s notebooks``.

The archive that a page offers is unpacked into an empty folder, and its notebook run from the first
cell, which installs what it needs, to the last. Python and the kernel of Jupyter are all that is
there at the beginning; versions are the pinned ones. The notebooks go in the order of the site, so
the one that does without the package is run before the package is installed. Finished trainings
are those of the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import plain_files
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

from bn_tutorial.data import loading
from bn_tutorial.storage import cache_folder, named_folder

ROOT = Path(__file__).parents[2]
KERNEL = "bare"
SECONDS = 600  # for one cell

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINK = re.compile(r'href="([^"]*_downloads/[^"]*\.zip)"')


def main(site: Path) -> int:
    """Run all, say how each went, and return how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        environment = {**bare_environment(Path(folder)), **data_in_use()}
        for name, archive in archives(site):
            began = time.monotonic()
            there = Path(folder, "reader", name)
            problem = run(archive, there, environment)
            took = time.monotonic() - began
            print(f"{name:<55}{took:7.1f} s  {problem or 'runs'}", flush=True)  # noqa: T201
            failed += bool(problem)
    return failed


def archives(site: Path) -> Iterator[tuple[str, Path]]:
    """Yield what the pages offer, in their order."""
    for page in sorted(site.glob("gallery/*/plot_*.html")):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            yield f"{page.parent.name}/{page.stem}", (page.parent / link).resolve()


def bare_environment(folder: Path) -> dict[str, str]:
    """Make an environment with the kernel alone; return the variables of who uses it."""
    variables = outside(os.environ, folder)
    shutil.copy(ROOT / "constraints.txt", folder)
    for command in (
        (sys.executable, "-m", "venv", str(folder / "venv")),
        ("python", "-m", "pip", "install", "--quiet", "ipykernel"),
        ("python", "-m", "ipykernel", "install", "--sys-prefix", f"--name={KERNEL}"),
    ):
        subprocess.run(command, check=True, cwd=folder, env=variables)
    os.environ["JUPYTER_PATH"] = str(folder / "venv/share/jupyter")  # here it is looked for
    return variables


def outside(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return variables without those that lead into this checkout, or to its Python."""
    left_out = ("PYTHON", "VIRTUAL_ENV")
    return {
        **{k: v for k, v in variables.items() if str(ROOT) not in v and not k.startswith(left_out)},
        "PATH": os.pathsep.join([str(folder / "venv" / "bin"), os.defpath]),
        "PIP_CONSTRAINT": str(folder / "constraints.txt"),
        "IPYTHONDIR": str(folder / "ipython"),  # not the user's
        "BN_TUTORIAL_EVIDENCE": str(folder / "evidence"),
    }


def data_in_use() -> dict[str, str]:
    """Return the variables that name the data and the finished trainings of the build."""
    given = named_folder("BN_TUTORIAL_DATA")
    return {
        "BN_TUTORIAL_CACHE": str(cache_folder()),
        "BN_TUTORIAL_DATASET": loading.resolve(),
        **({"BN_TUTORIAL_DATA": str(given)} if given else {}),
        "MNIST_FOLDER": str(plain_files.ensure(loading.load().digest)),
    }


def run(archive: Path, folder: Path, environment: dict[str, str]) -> str:
    """Unpack and run a notebook; return what went wrong, and in which cell, or nothing."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    (path,) = folder.glob("*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name=KERNEL,
        timeout=SECONDS,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of its own connection
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except (CellControlSignal, DeadKernelError, TimeoutError) as error:
        why = COLOUR.sub("", str(error))
        said = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
        return f"FAILS in {reached(notebook)}\n{why}\nIts first cell said: {said or 'nothing'}"
    return ""


def reached(notebook: nbformat.NotebookNode) -> str:
    """Name the last cell that was begun, by its number and its first line."""
    begun = [
        (number, cell.source)
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "code" and (cell.execution_count or cell.outputs)
    ]
    number, source = begun[-1] if begun else (0, "the start of its kernel")
    return f"cell {number}: {source.partition(chr(10))[0]}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) > 0)
