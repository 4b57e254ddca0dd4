"""What the pages offer to take along is read where Sphinx is not."""

import json
import re
import zipfile

import pytest

ROLE = re.compile(r":[a-z:]+:`[^`]*`|^#? ?\.\. [\w-]+::", re.MULTILINE)


@pytest.fixture(scope="module")
def downloads(site):
    """The texts of all scripts and notebooks, also of those in archives, by their paths."""
    texts = {}
    for path in sorted(site.glob("_downloads/*/*")):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                texts |= {f"{path.name}/{name}": packed.read(name) for name in packed.namelist()}
        else:
            texts[f"{path.parent.name}/{path.name}"] = path.read_bytes()
    return {
        name: "\n".join(words(text) if name.endswith(".ipynb") else [text.decode()])
        for name, text in texts.items()
        if name.endswith((".ipynb", ".py"))
    }


def words(notebook):
    """The sources of the cells of a notebook."""
    return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"]]


def test_no_role_and_no_directive_is_left(downloads):
    assert {name.rpartition(".")[2] for name in downloads} == {"ipynb", "py"}
    assert {name: found for name, text in downloads.items() if (found := ROLE.findall(text))} == {}
