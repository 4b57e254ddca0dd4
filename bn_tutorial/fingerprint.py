"""Is a result still current? It is while what made it has the same fingerprint.

The finished runs, the gallery, the executed pages and the embedded digits all ask here. What made a
result is code, the versions of libraries, data, and a device. Of the code, what counts is what it
*does*: the syntax tree of every definition that can be reached, without comments, docstrings and
annotations. So an edited explanation makes nothing again, and an edited constant only what depends
on it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from bn_tutorial.storage import replace_when_complete

PACKAGE = Path(__file__).parent

Root = str | type | Callable[..., Any]
Names = frozenset[str]
Chosen = Mapping[str, Collection[object]]

# ---------------------------------------------------------------------------------------------
# Versions, device, and all together
# ---------------------------------------------------------------------------------------------


def of(*parts: object) -> str:
    """Return one fingerprint for several things: settings, other fingerprints, versions.

    Parameters
    ----------
    *parts : object
        What JSON knows; NumPy scalars count as the numbers that they are.

    Returns
    -------
    str
        SHA-256, hexadecimal.

    Raises
    ------
    ValueError
        If a number is nan or infinite.

    Examples
    --------
    >>> of({"lr": 0.1, "seed": 0}) == of({"seed": 0, "lr": 0.1})
    True
    """
    text = json.dumps(parts, allow_nan=False, sort_keys=True, default=methodcaller("item"))
    return hashlib.sha256(text.encode()).hexdigest()


def versions(*names: str) -> dict[str, str]:
    """Return the versions of Python (without its patch level) and of installed distributions.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If one is not installed.

    Examples
    --------
    >>> list(versions("numpy"))
    ['python', 'numpy']
    """
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: importlib.metadata.version(name) for name in names}}


def device() -> str:
    """Return the kind of device that ``BN_TUTORIAL_DEVICE`` names, ``"cpu"`` where it is not set.

    Examples
    --------
    >>> import os
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, BN_TUTORIAL_DEVICE="cuda:1"):
    ...     device()
    'cuda'
    """
    return (os.environ.get("BN_TUTORIAL_DEVICE") or "cpu").partition(":")[0]


# ---------------------------------------------------------------------------------------------
# Files that can be told to be what was written
# ---------------------------------------------------------------------------------------------


def write_signed(path: Path, content: Any) -> None:
    """Write what JSON knows together with its fingerprint, complete or not at all."""
    with replace_when_complete(path) as partial:
        signed = {"content": content, "sha256": of(content)}
        partial.write_text(json.dumps(signed, allow_nan=False), encoding="utf-8")


def read_signed(path: Path) -> Any:
    """Return what :func:`write_signed` wrote; None if it is not there or was altered.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "levels.json"
    >>> write_signed(path, [1, 2])
    >>> read_signed(path)
    [1, 2]
    >>> _ = path.write_text(path.read_text().replace("2", "3"))
    >>> read_signed(path)
    """
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        return signed["content"] if signed["sha256"] == of(signed["content"]) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


# ---------------------------------------------------------------------------------------------
# Code
# ---------------------------------------------------------------------------------------------


def of_text(text: str) -> str:
    """Return the fingerprint of what a script does itself: without comments and docstrings.

    Raises
    ------
    SyntaxError
        If it is not Python.

    Examples
    --------
    >>> of_text("x = 1  # one") == of_text("x = 1") != of_text("x = 2")
    True
    """
    return _parse("", text.encode()).everything.digest


def of_code(*roots: Root, chosen: Chosen | None = None) -> str:
    """Return the fingerprint of code that is on disk now: see :meth:`Sources.of_code`."""
    return Sources().of_code(*roots, chosen=chosen)


class Sources:
    """The files of a package as they are at one moment.

    Parameters
    ----------
    folder : Path
        The package; this one by default.

    Examples
    --------
    >>> len(Sources().of_code(versions))
    64
    """

    def __init__(self, folder: Path = PACKAGE) -> None:
        # Read now, parsed only if somebody asks: a process that trains keeps what it was started
        # with, and mostly need not look at it.
        self._texts = {
            _module_name(path, folder): path.read_bytes() for path in sorted(folder.rglob("*.py"))
        }
        self._known: dict[tuple[Names, frozenset[tuple[str, Names]]], str] = {}

    def of_code(self, *roots: Root, chosen: Chosen | None = None) -> str:
        """Return the fingerprint of all code of the package that some definitions can reach.

        A definition reaches what its body names; also the *classes* that its annotations name,
        whose methods it may call.

        Parameters
        ----------
        *roots : function, class or str
            Definitions at the top level of a module, such as ``"bn_tutorial.lab.training.train"``;
            whole modules, by name.
        chosen : mapping of str to collection, optional
            For a dictionary of the package, such as ``"bn_tutorial.networks.norms.NORMS"``, the
            keys that are used: other entries do not count.

        Returns
        -------
        str
            SHA-256, hexadecimal.

        Raises
        ------
        LookupError
            If a root, or a key that is chosen, is not in the package.
        """
        names = frozenset(
            root if isinstance(root, str) else f"{root.__module__}.{root.__qualname__}"
            for root in roots
        )
        for name in names:
            if not self._is_ours(name) or name + " is not there" in dict(
                self._definitions(name, {})
            ):
                raise LookupError(f"the package defines no {name}")
        return self._fingerprint(names, chosen or {})

    def of_script(self, text: str) -> str:
        """Return the fingerprint of all code of the package that a script can reach.

        The script itself does not count, for who asks has its text.

        Parameters
        ----------
        text : str
            Python source.

        Returns
        -------
        str
            SHA-256, hexadecimal.

        Raises
        ------
        SyntaxError
            If it is not Python.
        """
        script = _parse("", text.encode())
        return self._fingerprint(frozenset(self._inside(script.everything)), {})

    def _fingerprint(self, names: Names, chosen: Chosen) -> str:
        key = names, frozenset((name, frozenset(map(str, keys))) for name, keys in chosen.items())
        if key not in self._known:
            lines = sorted(self._reached(names, chosen))
            self._known[key] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return self._known[key]

    def _reached(self, names: Names, chosen: Chosen) -> set[str]:
        """Return a line for each definition that is reached: its name and what it does."""
        lines, seen, pending = set[str](), set[str](), set(names)
        while pending:
            seen.add(name := pending.pop())
            for part, definition in self._definitions(name, chosen):
                lines |= {f"{part} {definition.digest}"}
                lines |= {used for used in definition.uses if not self._is_ours(used)}
                pending |= set(self._inside(definition)) - seen
        return lines

    def _inside(self, definition: _Definition) -> Iterator[str]:
        """Yield the names of the package that a definition leads to."""
        yield from filter(self._is_ours, definition.uses)
        for name in filter(self._is_ours, definition.annotated):
            if any(found.is_class for _, found in self._definitions(name, {})):
                yield name

    def _is_ours(self, name: str) -> bool:
        return name.partition(".")[0] in self._texts

    def _definitions(self, name: str, chosen: Chosen) -> Iterator[tuple[str, _Definition]]:
        """Yield what a dotted name stands for, with the statements that its module executes."""
        parts = name.split(".")
        starts = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        module = next(start for start in starts if start in self._texts)
        code = _parse(module, self._texts[module])
        yield f"{module}()", code.effects
        if module == name:
            yield module, code.everything
            return
        first, *more = parts[module.count(".") + 1 :]  # what follows are attributes
        if definition := code.definitions.get(first):
            known = f"{module}.{first}"
            if known not in chosen:
                yield known, definition
            for key in chosen.get(known, ()):
                yield f"{known}[{key!r}]", definition.entries[key]
        elif self._is_ours(handed_on := code.imports.get(first, "")):
            yield from self._definitions(".".join([handed_on, *more]), chosen)
        else:  # who executes this will hear of it
            yield f"{name} is not there", code.effects


@dataclass(frozen=True)
class _Definition:
    """What one name of a module stands for."""

    digest: str
    uses: Names  # dotted names, in its body
    annotated: Names  # dotted names, in its annotations alone
    is_class: bool
    entries: Mapping[object, _Definition]  # of a dictionary with constant keys


@dataclass(frozen=True)
class _Code:
    """A module, taken apart."""

    definitions: Mapping[str, _Definition]
    imports: Mapping[str, str]  # what a local name stands for, dotted
    effects: _Definition  # the statements that define nothing
    everything: _Definition


def _module_name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.lru_cache(maxsize=256)  # by content: an unchanged file is parsed once in a process
def _parse(module: str, text: bytes) -> _Code:
    tree = ast.parse(text)
    imports = dict(_imports(tree))
    names = {node: _defined(node) for node in tree.body if not _is_docstring(node)}
    spoken = imports | {name: f"{module}.{name}" for found in names.values() for name in found}
    parts = {node: _define(node, spoken) for node in names}
    statements: dict[str, list[_Definition]] = {}
    for node, found in names.items():
        for name in found:
            statements.setdefault(name, []).append(parts[node])
    imported = (ast.Import, ast.ImportFrom)  # what an import means shows where its name is used
    effects = [parts[node] for node in names if not names[node] and not isinstance(node, imported)]
    return _Code(
        {name: _together(found) for name, found in statements.items()},
        imports,
        _together(effects),
        _together(parts.values()),
    )


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what each imported name stands for, wherever it is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top level gives a meaning to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return []
    parts = (part for target in targets for part in ast.walk(target))
    return [part.id for part in parts if isinstance(part, ast.Name)]


def _define(node: ast.AST, spoken: Mapping[str, str]) -> _Definition:
    """Say what a statement uses, and what it does."""
    annotations = [part for found in ast.walk(node) for part in _annotations(found)]
    annotating = {part for annotation in annotations for part in ast.walk(annotation)}
    uses, annotated = set[str](), set[str]()
    for name, names in _names(node):
        if name.id in spoken:
            dotted = ".".join([spoken[name.id], *names])
            (annotated if name in annotating else uses).add(dotted)
    entries: dict[object, _Definition] = {}
    dictionary = getattr(node, "value", None)
    if isinstance(dictionary, ast.Dict):
        for key, value in zip(dictionary.keys, dictionary.values, strict=True):
            if isinstance(key, ast.Constant):
                entries[key.value] = _define(value, spoken)
    is_class = isinstance(node, ast.ClassDef)
    done = hashlib.sha256(ast.dump(_Bare().visit(node)).encode()).hexdigest()
    return _Definition(done, frozenset(uses), frozenset(annotated), is_class, entries)


def _together(definitions: Collection[_Definition]) -> _Definition:
    """Return several statements as one: a name may be defined twice, a module has many."""
    if len(definitions) == 1:
        return next(iter(definitions))
    return _Definition(
        hashlib.sha256(" ".join(part.digest for part in definitions).encode()).hexdigest(),
        frozenset().union(*(part.uses for part in definitions)),
        frozenset().union(*(part.annotated for part in definitions)),
        any(part.is_class for part in definitions),
        {},
    )


def _names(node: ast.AST) -> Iterator[tuple[ast.Name, list[str]]]:
    """Yield each name with the attributes taken of it: of ``functional.center``, the latter."""
    above = {child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
    for name in ast.walk(node):
        if isinstance(name, ast.Name):
            attributes, at = list[str](), above.get(name)
            while isinstance(at, ast.Attribute):
                attributes.append(at.attr)
                at = above.get(at)
            yield name, attributes


def _annotations(node: ast.AST) -> list[ast.expr]:
    parts = (getattr(node, name, None) for name in ("annotation", "returns"))
    return [part for part in parts if part is not None]


def _is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is text that stands for nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


class _Bare(ast.NodeTransformer):
    """Takes docstrings and annotations away; comments are not in the tree at all."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):  # which says that there is such a field
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.body = [part for part in node.body if not _is_docstring(part)]
        return node
