"""Many trainings: in parallel over the cores or a cluster, and remembered on disk.

A run is remembered under a key of everything that decides its outcome: its settings, the content of
the data, the sources that train, the versions of NumPy and PyTorch, and the device. An unchanged
experiment is not trained twice; a changed one has another key, so that it is never taken from the
store.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import math
import os
import pickle
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bn_tutorial.data import Dataset
from bn_tutorial.models import DeepNet
from bn_tutorial.probes import MEASURES
from bn_tutorial.storage import cache_folder, replace_when_complete
from bn_tutorial.training import CURVES, Config, History, device, train

_log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Array = npt.NDArray[np.float64]

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """One network, and how it is trained.

    Parameters
    ----------
    norm, widths, activation, placement, bias, init, init_scale
        The arguments of :class:`bn_tutorial.models.DeepNet`.
    model_seed : int
        Seed of the initial weights.
    config : Config
        How to train; ``config.seed`` decides the order of the images.
    measure : str, optional
        What else to measure at each evaluation: a name of ``bn_tutorial.probes.MEASURES``.
    """

    norm: str | None = None
    widths: tuple[int, ...] = (784, 256, 256, 256, 256, 10)
    activation: str = "sigmoid"
    placement: str = "before"
    bias: bool = True
    init: str | float = "default"
    init_scale: float = 1.0
    model_seed: int = 0
    config: Config = field(default_factory=Config)
    measure: str | None = None

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
            placement=self.placement,
            bias=self.bias,
            init=self.init,
            init_scale=self.init_scale,
            seed=self.model_seed,
        )

    def train(self, data: Dataset) -> History:
        """Train the network.

        Raises
        ------
        KeyError
            If ``measure`` is not a name of ``bn_tutorial.probes.MEASURES``.
        """
        measure = MEASURES[self.measure] if self.measure else None
        return train(self.model(), data, self.config, measure=measure, progress=False)


def study(
    arms: Mapping[Key, Run], data: Dataset, seeds: Iterable[int], **options: Any
) -> dict[Key, list[History]]:
    """Train every arm with every seed: a grid of settings, in paired runs.

    Runs with the same seed share the order of the images, and the initial weights as far as their
    settings allow. So the difference of two arms at one seed is due to their settings alone.

    Parameters
    ----------
    arms : mapping to Run
        The settings, by any name. The seeds that they carry are replaced.
    data : Dataset
        What to train and to test on.
    seeds : iterable of int
        At least five for a comparison.
    **options
        As for :func:`run_all`.

    Returns
    -------
    dict to list of History
        For each arm one history per seed, in the order of ``seeds``.

    Examples
    --------
    >>> from bn_tutorial.data import Dataset, Split
    >>> images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    >>> split = Split(images, torch.tensor([0, 1, 0, 1]))
    >>> data = Dataset("stripes", "stripes", "none", "made here", "0", split, split)
    >>> short = Config(steps=4, evaluate_every=2, batch_size=2)
    >>> arms = {norm: Run(norm, widths=(784, 8, 2), config=short) for norm in (None, "batch")}
    >>> results = study(arms, data, seeds=range(3), workers=1)
    >>> curves(results["batch"], "test_accuracy").shape
    (3, 2)
    """
    seeds = list(seeds)
    runs = [
        replace(arm, model_seed=seed, config=replace(arm.config, seed=seed))
        for arm in arms.values()
        for seed in seeds
    ]
    histories = iter(run_all(runs, data, **options))
    return {name: list(islice(histories, len(seeds))) for name in arms}


def curves(histories: Iterable[History], quantity: str) -> Array:
    """Put a quantity of several histories into one array.

    Parameters
    ----------
    histories : iterable of History
        Of one arm.
    quantity : str
        An attribute of :class:`~bn_tutorial.training.History` such as ``"test_accuracy"``, or a
        name in its ``measured``.

    Returns
    -------
    ndarray, float64, shape (histories, evaluations) or (histories, steps)
        nan where a run had diverged.

    Raises
    ------
    KeyError
        If it was not measured.
    """
    return np.array(
        [
            getattr(history, quantity) if quantity in CURVES else history.measured[quantity]
            for history in histories
        ],
        dtype=np.float64,
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
        needs none but this one. With a cluster, that decides.
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
        If ``workers`` is less than one, if a worker of the cluster has several threads, or from a
        run with settings that cannot be trained; the runs that were finished before are remembered.
    RuntimeError
        If a process that trains has other sources in memory than this one has on disk.

    Notes
    -----
    Each history is written as JSON into the folder ``runs`` of
    :func:`bn_tutorial.storage.cache_folder` as soon as it is finished, complete or not at all. So a
    study that was killed goes on where it was. A damaged file is trained anew.

    Where ``BN_TUTORIAL_SCHEDULER`` is the address of a Dask scheduler, the runs train on its
    workers instead. They need the package in the same version, one thread each, and no common disk.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    folder = cache_folder() / "runs"
    folder.mkdir(exist_ok=True)
    sources = fingerprint("scratch")
    paths = [folder / f"{_key(run, data.digest)}.json" for run in runs]
    remembered = {path: _recall(path) for path in set(paths)}
    histories = {path: known for path, known in remembered.items() if known is not None}
    missing = {path: run for path, run in zip(paths, runs, strict=True) if path not in histories}
    disable = None if progress is None else not progress
    total, done = len(remembered), len(histories)
    with tqdm(total=total, initial=done, unit="run", disable=disable, leave=False) as bar:
        for path, history in _train_all(missing, data, sources, workers):
            _remember(path, missing[path], data.digest, history)
            histories[path] = history
            bar.update()
    return [histories[path] for path in paths]


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

# ---------------------------------------------------------------------------------------------
# In parallel
# ---------------------------------------------------------------------------------------------


def _train_all(
    missing: dict[Path, Run], data: Dataset, sources: str, workers: int | None
) -> Iterator[tuple[Path, History]]:
    """Yield each history as it is finished; one process is this one."""
    scheduler = os.environ.get("BN_TUTORIAL_SCHEDULER")
    processes = min(workers or joblib.cpu_count(), len(missing))
    if processes <= 1 and not scheduler:
        for path, run in missing.items():
            yield path, _train(run, data, sources)
        return
    # One array of bytes rather than the data set itself, because joblib puts a large array into
    # memory that all processes share, and cleans up after itself even where it is killed.
    packed = np.frombuffer(pickle.dumps(data, pickle.HIGHEST_PROTOCOL), dtype=np.uint8)
    with ExitStack() as stack:
        if scheduler:
            stack.enter_context(_on_cluster(scheduler, packed))
            processes = -1
        else:
            stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
        parallel = joblib.Parallel(processes, batch_size=1, return_as="generator_unordered")
        yield from parallel(
            joblib.delayed(_in_worker)(path, run, packed, data.digest, sources)
            for path, run in missing.items()
        )


@contextmanager
def _on_cluster(scheduler: str, packed: Bytes) -> Iterator[None]:
    """Let joblib send its work to a Dask cluster, and the data to each worker once."""
    from distributed import Client  # optional, and slow to import

    with Client(scheduler, set_as_default=False) as client:
        if threads := {address: n for address, n in client.nthreads().items() if n != 1}:
            raise ValueError(f"expected workers with one thread each, got {threads}")
        with joblib.parallel_config("dask", client=client, scatter=[packed]):
            yield


def _in_worker(
    path: Path, run: Run, packed: Bytes, digest: str, sources: str
) -> tuple[Path, History]:
    return path, _train(run, _unpacked(packed, digest), sources)


_held: dict[str, Dataset] = {}


def _unpacked(packed: Bytes, digest: str) -> Dataset:
    """Return the data set, unpacked once for all runs of a worker on the same data."""
    if digest not in _held:
        _held.clear()
        _held[digest] = pickle.loads(packed.data)
    return _held[digest]


def _train(run: Run, data: Dataset, sources: str) -> History:
    # A process may have older code in memory: a worker outlives the study it was started for.
    if sources != _loaded:
        raise RuntimeError(
            "the sources of bn_tutorial changed while it was in use, or differ between machines: "
            "start again"
        )
    with one_thread(), _named(run):
        return run.train(data)


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


def _key(run: Run, digest: str) -> str:
    """Return the name under which a run is remembered: a hash of all that decides its outcome."""
    sources = fingerprint("scratch") if run.norm == "scratch" else fingerprint()
    # The versions of NumPy and PyTorch are part of the fingerprint of the sources.
    settings = [asdict(run), digest, sources, device().type]
    return hashlib.sha256(_json(settings).encode()).hexdigest()


def _json(content: object) -> str:
    # The default serves settings that are NumPy scalars.
    return json.dumps(content, allow_nan=False, sort_keys=True, default=methodcaller("item"))


def _remember(path: Path, run: Run, digest: str, history: History) -> None:
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
