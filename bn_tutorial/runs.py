"""Many trainings: in parallel over the cores, and remembered on disk.

A run is remembered under a key of everything that decides its outcome: its settings, the content of
the data, the package's sources and the versions of NumPy and PyTorch. An unchanged experiment is
not trained twice; a changed one has another key, so that it is never taken from the store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from operator import methodcaller
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bn_tutorial.data import Dataset
from bn_tutorial.models import DeepNet
from bn_tutorial.storage import cache_folder, replace_when_complete
from bn_tutorial.training import Config, History, train

_log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """One network, and how it is trained.

    Parameters
    ----------
    norm, widths, activation, init
        The arguments of :class:`bn_tutorial.models.DeepNet`.
    model_seed : int
        Seed of the initial weights.
    config : Config
        How to train; ``config.seed`` decides the order of the images.

    Examples
    --------
    Five paired seeds of two arms: the runs of a pair share initial weights and order of the images.

    >>> seeds = range(5)
    >>> arms = (None, "batch")
    >>> runs = [Run(arm, model_seed=s, config=Config(seed=s)) for arm in arms for s in seeds]
    >>> len(runs)
    10
    """

    norm: str | None = None
    widths: tuple[int, ...] = (784, 256, 256, 256, 256, 10)
    activation: str = "sigmoid"
    init: str | float = "default"
    model_seed: int = 0
    config: Config = field(default_factory=Config)

    def model(self) -> DeepNet:
        """Return the network with its initial weights.

        Raises
        ------
        ValueError
            If an argument is not one that :class:`bn_tutorial.models.DeepNet` knows.
        """
        return DeepNet(
            self.norm,
            widths=self.widths,
            activation=self.activation,
            init=self.init,
            seed=self.model_seed,
        )


def run_all(
    runs: Sequence[Run],
    data: Dataset,
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> list[History]:
    """Train what has not been trained before, and return the history of every run.

    Parameters
    ----------
    runs : sequence of Run
        What to train. Equal runs are trained once.
    data : Dataset
        What to train and to test on.
    workers : int, optional
        How many processes train at the same time; by default one for each core. A single run
        needs none but this one.
    progress : bool, optional
        Whether to show a progress bar over all runs on standard error; by default only where a
        person watches, that is on a terminal.

    Returns
    -------
    list of History
        In the order of ``runs``. The numbers do not depend on ``workers``, bit by bit: every run
        has one thread.

    Raises
    ------
    ValueError
        If ``workers`` is less than one, or from a run with settings that cannot be trained; the
        runs that were finished before are remembered.
    RuntimeError
        If a source file of the package was edited after a process that trains had imported it.

    Notes
    -----
    Each history is written as JSON into the folder ``runs`` of
    :func:`bn_tutorial.storage.cache_folder` as soon as it is finished, complete or not at all. So a
    study that was killed goes on where it was. A damaged file is trained anew.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    folder = cache_folder() / "runs"
    folder.mkdir(exist_ok=True)
    sources = fingerprint()
    paths = [folder / f"{_key(run, data.digest, sources)}.json" for run in runs]
    remembered = {path: _recall(path) for path in set(paths)}
    histories = {path: known for path, known in remembered.items() if known is not None}
    missing = {path: run for path, run in zip(paths, runs, strict=True) if path not in histories}
    disable = None if progress is None else not progress
    total, done = len(remembered), len(histories)
    with tqdm(total=total, initial=done, unit="run", disable=disable, leave=False) as bar:
        for path, history in _train_all(missing, data, sources, workers):
            histories[path] = history
            bar.update()
    return [histories[path] for path in paths]


def fingerprint() -> str:
    """Return what identifies the code that makes the results.

    Returns
    -------
    str
        SHA-256, hexadecimal, of the package's sources (names and contents) and of the versions of
        NumPy and PyTorch.

    Examples
    --------
    >>> len(fingerprint())
    64
    """
    package = Path(__file__).parent
    state = hashlib.sha256(f"numpy {np.__version__} torch {torch.__version__}".encode())
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        state.update(f"\n{path.relative_to(package).as_posix()} {content}".encode())
    return state.hexdigest()


_loaded = fingerprint()  # of the code that this process runs, whatever becomes of the files

# ---------------------------------------------------------------------------------------------
# In parallel
# ---------------------------------------------------------------------------------------------


def _train_all(
    missing: dict[Path, Run], data: Dataset, sources: str, workers: int | None
) -> Iterator[tuple[Path, History]]:
    """Yield each history as it is finished; one process is this one."""
    processes = min(workers or joblib.cpu_count(), len(missing))
    if processes <= 1:
        for path, run in missing.items():
            yield path, _train_and_remember(path, run, data, sources)
        return
    # One array of bytes rather than the data set itself, because joblib puts a large array into
    # memory that all processes share, and cleans up after itself even where it is killed.
    packed = np.frombuffer(pickle.dumps(data, pickle.HIGHEST_PROTOCOL), dtype=np.uint8)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(processes, batch_size=1, return_as="generator_unordered")
        yield from parallel(
            joblib.delayed(_in_worker)(path, run, packed, data.digest, sources)
            for path, run in missing.items()
        )


def _in_worker(
    path: Path, run: Run, packed: Bytes, digest: str, sources: str
) -> tuple[Path, History]:
    return path, _train_and_remember(path, run, _unpacked(packed, digest), sources)


_held: dict[str, Dataset] = {}


def _unpacked(packed: Bytes, digest: str) -> Dataset:
    """Return the data set, unpacked once for all runs of a worker on the same data."""
    if digest not in _held:
        _held.clear()
        _held[digest] = pickle.loads(packed.data)
    return _held[digest]


def _train_and_remember(path: Path, run: Run, data: Dataset, sources: str) -> History:
    # A process may have older code in memory: a worker outlives the study it was started for.
    if sources != _loaded:
        raise RuntimeError("the sources of bn_tutorial changed while it was in use: start again")
    with one_thread(), _named(run):
        history = train(run.model(), data, run.config, progress=False)
    _remember(path, run, data.digest, history)
    return history


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and NumPy use one thread while a block runs.

    The same limit everywhere gives the same bits, and times that do not depend on the machine's
    number of cores. Whatever happens in the block, the limits are as before when it ends.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _named(run: Run) -> Iterator[None]:
    """Say in an error which run it comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {run}")
        raise


# ---------------------------------------------------------------------------------------------
# On disk
# ---------------------------------------------------------------------------------------------

_CURVES = tuple(curve.name for curve in fields(History))[:5]


def _key(run: Run, digest: str, sources: str) -> str:
    """Return the name under which a run is remembered: a hash of all that decides its outcome."""
    # The versions of NumPy and PyTorch are part of the fingerprint of the sources.
    return hashlib.sha256(_json([asdict(run), digest, sources]).encode()).hexdigest()


def _json(content: object) -> str:
    # The default serves settings that are NumPy scalars.
    return json.dumps(content, allow_nan=False, sort_keys=True, default=methodcaller("item"))


def _remember(path: Path, run: Run, digest: str, history: History) -> None:
    values: dict[str, Any] = asdict(history)
    for name in _CURVES:
        # JSON has no nan. Its floats, as Python writes them, come back bit by bit.
        values[name] = [None if math.isnan(value) else value for value in values[name]]
    content = {"run": asdict(run), "data": digest, "history": values}
    with replace_when_complete(path) as partial:
        partial.write_text(_json(content), encoding="utf-8")


def _recall(path: Path) -> History | None:
    """Read what was remembered; None if there is nothing, or nothing that can be used."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = content["history"]
        for name in _CURVES:
            values[name] = tuple(math.nan if v is None else float(v) for v in values[name])
        history = History(**values)
        epochs = content["run"]["config"]["epochs"]
        lengths = [len(getattr(history, name)) for name in _CURVES]
        if lengths[:4] != [epochs] * 4 or lengths[4] % epochs:
            raise ValueError(f"its curves have lengths {lengths}, expected {epochs} epochs")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        _log.warning("%s is damaged (%s): the run is trained anew", path, error)
        return None
    return history
