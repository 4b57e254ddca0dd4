"""A notebook that does not run elsewhere is named, with its cell and its error."""

import os
import zipfile
from pathlib import Path

import nbformat
import pytest
import run_notebooks

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The kernel of this environment, for users of no other folder."""
    monkeypatch.setattr(run_notebooks, "KERNEL", "python3")
    return {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}


def pack(folder, first, *cells):
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    notebook = nbformat.v4.new_notebook(cells=[code(first), text("# Title"), *map(code, cells)])
    with zipfile.ZipFile(folder / "x.zip", "w") as packed:
        packed.writestr("x.ipynb", nbformat.writes(notebook))
        packed.writestr("beside.txt", "here")
    return folder / "x.zip"


def test_notebook_runs_beside_what_its_archive_holds_until_a_cell_fails(tmp_path, here):
    read = "assert open('beside.txt').read() == 'here'\nprint('it is there')"
    archive = pack(tmp_path, read, "# Divide\n1 / 0", "1")
    problem = run_notebooks.run(archive, tmp_path / "there", here)
    assert problem.startswith("FAILS in cell 3: # Divide\n")
    assert "ZeroDivisionError: division by zero" in problem
    assert problem.endswith("Its first cell said: it is there\n")


def test_pages_are_asked_in_order_for_what_they_offer(real_site):
    found = list(run_notebooks.archives(real_site.folder))
    assert [name for name, _ in found] == ["01_a/plot_01_x", "02_b/plot_01_y"]
    assert all(zipfile.is_zipfile(path) for _, path in found)


def test_reader_has_no_variable_of_the_checkout(tmp_path):
    mine = {
        "PATH": f"{ROOT}/.nox/docs/bin:/usr/bin",
        "VIRTUAL_ENV": "/elsewhere",
        "PYTHONPATH": "/elsewhere",
        "SOME_FOLDER": f"{ROOT}/docs",
        "LANG": "C.UTF-8",
    }
    variables = run_notebooks.outside(mine, tmp_path)
    assert variables["LANG"] == "C.UTF-8"
    assert not variables.keys() & {"VIRTUAL_ENV", "PYTHONPATH", "SOME_FOLDER"}
    assert not any(str(ROOT) in value for value in variables.values())
