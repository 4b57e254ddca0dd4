"""What the texts name of the package is there: a rename is found before the site is built."""

import ast
import importlib
import re
from functools import reduce
from pathlib import Path

import pytest
from pybtex.database import parse_file
from pybtex.style.labels.alpha import LabelStyle

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "bn_tutorial").rglob("*.py"))
SCRIPTS = sorted((ROOT / "tutorial_src").rglob("*.py"))
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("[!_]*/*.md")),
    *sorted((ROOT / "tutorial_src").rglob("*.rst")),
]
ROLE = re.compile(r"[{:](?:py:)?(?:func|class|meth|mod|data|attr|exc|obj)[}:]`(?!!)([^`]+)`")
NAME = re.compile(r"`~?(bn_tutorial(?:\.\w+)+)`")  # in plain words
ELSEWHERE = re.compile(r"(numpy|np|torch|matplotlib|pathlib|collections|typing)\b")


def there(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        try:
            reduce(getattr, parts[end:], module)
        except AttributeError:
            return False
        return True
    return False


def cited(text):
    """The objects of the package that a text refers to."""
    targets = (re.sub(r".*<(.*)>", r"\1", " ".join(found.split())) for found in ROLE.findall(text))
    names = {*(target.lstrip("~.").removesuffix("()") for target in targets), *NAME.findall(text)}
    return sorted(name for name in names if not ELSEWHERE.match(name))


def imported(code):
    """What a text of Python takes from the package."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(name for name in names if name.startswith("bn_tutorial"))


def fenced(text):
    """The Python within a page, without the options of its cells."""
    options = r"(?:^---\n.*?^---\n|(?:^:[^\n]*\n)*)"
    cell = rf"^```(?:\{{code-cell\}} )?python\n{options}(.*?)^```$"
    return re.findall(cell, text, re.MULTILINE | re.DOTALL)


def called(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*TEXTS, *SCRIPTS], ids=called)
def test_all_that_a_page_names_or_imports_is_there(path):
    text = path.read_text()
    names = {*cited(text)}.union(*map(imported, [text] if path in SCRIPTS else fenced(text)))
    assert [name for name in sorted(names) if not there(name)] == []


@pytest.mark.parametrize("path", PACKAGE, ids=called)
def test_all_that_a_docstring_names_is_there(path):
    text = path.read_text()
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    within = [module, *(f"{module}.{name}" for name in classes)]
    for name in cited(text):
        assert there(name) or any(there(f"{place}.{name}") for place in within), name


def test_names_are_found_in_every_form():
    roles = "{func}`~bn_tutorial.a.f` :class:`x <bn_tutorial.b.C>` :func:`g` {mod}`torch`"
    assert cited(roles + " `bn_tutorial.d`") == [
        *("bn_tutorial.a.f", "bn_tutorial.b.C", "bn_tutorial.d", "g")
    ]
    cells = [
        "```{code-cell} python\n---\ntags: [x]\n---\nimport bn_tutorial.a\n```\n",
        "```{code-cell} python\n:tags: [x]\n\nfrom bn_tutorial.a import f\n```\n",
        "```python\nimport bn_tutorial.b\n```\n",
    ]
    names = [imported(code) for code in fenced("\n".join(cells))]
    assert names == [["bn_tutorial.a"], ["bn_tutorial.a.f"], ["bn_tutorial.b"]]
    assert there("bn_tutorial.scratch.layers.BatchNorm1D.forward")
    assert not there("bn_tutorial.scratch.layers.BatchNorm1D.backwards")
    assert not there("bn_tutorial.layers")


def test_label_of_a_source_is_initials_and_its_year():
    sources = parse_file(str(ROOT / "docs/references.bib")).entries.values()
    labels = [*LabelStyle().format_labels(list(sources))]
    assert [label for label in labels if not re.fullmatch(r"[A-Za-z]{2,4}\+?(\d\d)?", label)] == []


def test_every_derivation_is_listed_with_its_question_in_the_order_of_the_pages():
    text = (ROOT / "docs/derivations/index.md").read_text()
    pages = re.findall(r"^(\w+)$", text.split("```{toctree}")[1].split("```")[0], re.MULTILINE)
    assert re.findall(r"^\d+\. \[.*\]\((\w+)\.md\): .*\?$", text, re.MULTILINE) == pages
