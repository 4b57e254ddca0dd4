"""Finished runs on disk."""

def fingerprint(*modules: str) -> str:
    """Return what identifies the code that makes the results.

    Parameters
    ----------
    *modules : str
        Modules of the package that take part besides this one, such as ``"scratch"``.

    Returns
    -------
    str
        SHA-256, hexadecimal, of the sources that take part in a training (this module and what it
        imports of the package, names and contents) and of the versions of NumPy and PyTorch.

    Examples
    --------
    >>> len(fingerprint())
    64
    """
    state = hashlib.sha256(f"numpy {np.__version__} torch {torch.__version__}".encode())
    for path in _sources(modules):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        state.update(f"\n{path.name} {content}".encode())
    return state.hexdigest()


def _sources(modules: Iterable[str]) -> list[Path]:
    """Return the files of this module, of those named, and of all that they import at the top."""
    package = Path(__file__).parent
    found, pending = set[str](), {"__init__", "runs", *modules}
    while pending:
        found.add(name := pending.pop())
        for node in ast.parse((package / f"{name}.py").read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                root, _, module = node.module.partition(".")
                if root == "bn_tutorial":
                    imported = {module} if module else {alias.name for alias in node.names}
                    pending |= imported - found
    return sorted(package / f"{name}.py" for name in found)


_loaded = fingerprint("scratch")  # the code that this process runs, whatever becomes of the files



def _key(run: RunSpec, digest: str) -> str:
    """Return the name under which a run is remembered: a hash of all that decides its outcome."""
    sources = fingerprint("scratch") if run.norm == "scratch" else fingerprint()
    # The versions of NumPy and PyTorch are part of the fingerprint of the sources.
    settings = [asdict(run), digest, sources, device().type]
    return hashlib.sha256(_json(settings).encode()).hexdigest()


def _json(content: object) -> str:
    # The default serves settings that are NumPy scalars.
    return json.dumps(content, allow_nan=False, sort_keys=True, default=methodcaller("item"))


def _remember(path: Path, run: RunSpec, digest: str, history: History) -> None:
    def numbers(curve: Sequence[float]) -> list[float | None]:
        # JSON has no nan. Its floats, as Python writes them, come back bit by bit.
        return [None if math.isnan(value) else value for value in curve]

    values: dict[str, Any] = {name: numbers(getattr(history, name)) for name in CURVES}
    values["measured"] = {name: numbers(curve) for name, curve in history.measured.items()}
    values |= {"seconds": history.seconds, "diverged_at": history.diverged_at}
    content = {"run": asdict(run), "data": digest, "history": values}
    with replace_when_complete(path) as partial:
        partial.write_text(_json(content), encoding="utf-8")


def _recall(path: Path) -> History | None:
    """Read what was remembered; None if there is nothing, or nothing that can be used."""

    def curve(values: list[float | None]) -> tuple[float, ...]:
        return tuple(math.nan if value is None else float(value) for value in values)

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = content["history"]
        for name in CURVES:
            values[name] = curve(values[name])
        values["measured"] = {name: curve(known) for name, known in values["measured"].items()}
        history = History(**values)
        config = Config(**content["run"]["config"])
        count = config.evaluations
        lengths = [len(getattr(history, name)) for name in CURVES]
        expected = [[count] * 6, [count, count, 0, 0, count, count]]
        if lengths[:6] not in expected or lengths[6] != config.steps:
            raise ValueError(f"its curves have lengths {lengths}, expected {count} evaluations")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s is damaged (%s): the run is trained anew", path, error)
        return None
    return history
