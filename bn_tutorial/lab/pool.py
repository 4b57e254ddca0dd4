"""Train many runs: over the cores of this machine, or on a cluster.

Every run has one thread, so the numbers do not depend on how many are trained at the same time.
Runs of networks with the same layers are trained side by side, which changes no bit of them.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import joblib
import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bn_tutorial.data.dataset import Dataset
from bn_tutorial.fingerprint import Sources
from bn_tutorial.lab.real_networks import Spec
from bn_tutorial.lab.side_by_side import train_side_by_side
from bn_tutorial.lab.store import Store, code_of
from bn_tutorial.lab.training import History
from bn_tutorial.lab.workers import deaf_to_hangup, end_with, no_room_explained
from bn_tutorial.networks.probes import MEASURES

Bytes = npt.NDArray[np.uint8]
Training = Generator[tuple[Spec, History], None, None]

_TOGETHER = 8  # networks side by side; with more, their activations leave the nearer caches

_loaded = Sources()  # the code that this process runs, whatever becomes of the files


def run_all(
    runs: Sequence[Spec],
    data: Dataset,
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> list[History]:
    """Train what has not been trained before, and return the history of every run.

    Parameters
    ----------
    runs : sequence of RunSpec, ConvSpec or ResidualSpec
        What to train. Equal runs are trained once.
    data : Dataset
        What to train and to test on.
    workers : int, optional
        How many processes train at the same time; by default one for each core. A single run
        needs none but this one. With a cluster, that decides.
    progress : bool, optional
        Whether to show how many runs are left, and about how long they take; by default only where
        a person watches, that is on a terminal, also while a build of the site takes the streams of
        a script away.

    Returns
    -------
    list of History
        In the order of ``runs``, the same bit by bit for any number of workers.

    Raises
    ------
    ValueError
        If ``workers`` is less than one, if a worker of the cluster has several threads, or from a
        run with settings that cannot be trained; the runs that were finished before are kept.
    RuntimeError
        If a process that trains has other code in memory than this one has on disk.
    OSError
        If the cache folder cannot be written to, or the temporary one has no room for the data.

    Notes
    -----
    Each history goes into the :class:`~bn_tutorial.lab.store.Store` as soon as it is finished, so
    that a study that was killed goes on where it was. The workers end with this process, however
    it ends.

    Where ``BN_TUTORIAL_SCHEDULER`` is the address of a Dask scheduler, the runs train on its
    workers instead. They need the package in the same version, one thread each, and no common disk.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    store = Store(data.digest, Sources())
    wanted = dict.fromkeys(runs)
    histories = store.find(wanted)
    missing = [run for run in wanted if run not in histories]
    disable = None if progress is None else not progress
    total, done = len(wanted), len(histories)
    watched = sys.__stderr__ if sys.__stderr__ and sys.__stderr__.isatty() else None
    with (
        tqdm(
            total=total, initial=done, unit="run", disable=disable, leave=False, file=watched
        ) as bar,
        _stopped_at_the_end(_train_all(missing, data, store.sources, workers)) as trained,
    ):
        for run, history in trained:
            store.keep(run, history)
            histories[run] = history
            bar.update()
    return [histories[run] for run in runs]


def _train_all(
    missing: Sequence[Spec], data: Dataset, sources: Sources, workers: int | None
) -> Training:
    """Yield each history as it is finished; one process is this one."""
    scheduler = os.environ.get("BN_TUTORIAL_SCHEDULER")
    processes = min(workers or joblib.cpu_count(), len(missing))
    groups = _side_by_side(missing, 2 * processes)
    codes = [code_of(group[0], sources) for group in groups]
    if processes <= 1 and not scheduler:
        for group, code in zip(groups, codes, strict=True):
            yield from _train(group, data, code)
        return
    # One array of bytes rather than the data set itself, because joblib puts a large array into
    # memory that all processes share, and cleans up after itself even where it is killed.
    packed = np.frombuffer(pickle.dumps(data, pickle.HIGHEST_PROTOCOL), dtype=np.uint8)
    with ExitStack() as stack:
        if scheduler:
            stack.enter_context(_on_cluster(scheduler, packed))
            processes = -1
        else:
            stack.enter_context(
                joblib.parallel_config(
                    "loky",
                    inner_max_num_threads=1,
                    initializer=end_with,
                    initargs=(os.getpid(),),
                )
            )
        stack.enter_context(no_room_explained())
        parallel = joblib.Parallel(processes, batch_size=1, return_as="generator_unordered")
        with deaf_to_hangup():
            trained = parallel(
                joblib.delayed(_in_worker)(group, packed, data.digest, code)
                for group, code in zip(groups, codes, strict=True)
            )
        for finished in trained:
            yield from finished


def _side_by_side(missing: Sequence[Spec], least: int) -> list[list[Spec]]:
    """Put together what is trained side by side; where there is enough, in so many groups."""
    groups, together = list[list[Spec]](), dict[Spec, list[Spec]]()
    for run in missing:
        if (shared := run.alike()) is None:
            groups.append([run])
        elif shared in together:
            together[shared].append(run)
        else:
            groups.append(together.setdefault(shared, [run]))
    most = min(_TOGETHER, math.ceil(len(missing) / max(least, 1)))
    return [
        part
        for group in groups
        for part in _in_equal_parts(sorted(group, key=_rate), math.ceil(len(group) / most))
    ]


def _rate(run: Spec) -> float:
    return run.config.lr  # networks of one rate that stand beside each other step at once


def _in_equal_parts(group: list[Spec], count: int) -> list[list[Spec]]:
    ends = [len(group) * part // count for part in range(count + 1)]
    return [group[start:end] for start, end in pairwise(ends)]


@contextmanager
def _stopped_at_the_end(trained: Training) -> Iterator[Training]:
    """Stop the workers when a block ends, even where not all of their results were wanted."""
    try:
        yield trained
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib's, that they were not
            trained.close()


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
    group: Sequence[Spec], packed: Bytes, digest: str, code: str
) -> list[tuple[Spec, History]]:
    return _train(group, _unpacked(packed, digest), code)


_held: dict[str, Dataset] = {}


def _unpacked(packed: Bytes, digest: str) -> Dataset:
    """Return the data set, unpacked once for all runs of a worker on the same data."""
    if digest not in _held:
        _held.clear()
        _held[digest] = pickle.loads(packed.data)
    return _held[digest]


def _train(group: Sequence[Spec], data: Dataset, code: str) -> list[tuple[Spec, History]]:
    # A process may have older code in memory: a worker outlives the study it was started for.
    first, *others = group
    if code_of(first, _loaded) != code:
        raise RuntimeError(
            "the code of bn_tutorial changed while it was in use, or differs between machines: "
            "start again"
        )
    with one_thread(), _named(first):
        if not others:
            return [(first, first.train(data))]
        models, configs = [run.model() for run in group], [run.config for run in group]
        measure = MEASURES[first.measure] if first.measure else None
        histories = train_side_by_side(models, data, configs, measure=measure)
        return [*zip(group, histories, strict=True)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and NumPy use one thread while a block runs.

    The same limit everywhere gives the same bits, and times that do not depend on the machine's
    number of cores. The limits are as before when the block ends or raises.

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
def _named(run: Spec) -> Iterator[None]:
    """Say in an error which run it comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {run}")
        raise
