"""A study that is ended by a signal leaves no process, no memory and no pipe behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_runs import make_data, make_run, stamps

from bn_tutorial.lab.pool import one_thread, run_all
from bn_tutorial.lab.training import train

if sys.platform == "win32":
    pytest.skip("signals are those of POSIX", allow_module_level=True)

PATIENCE = 10.0  # seconds in which all has to be gone

STUDY = """
import time
from small_runs import make_data, make_run
from bn_tutorial.lab.pool import run_all
print("begun", flush=True)
runs = [make_run(seed=seed, steps=100, evaluate_every=100) for seed in range({count})]
run_all(runs, make_data(2000), workers=2)
print("done", flush=True)
time.sleep(60)
"""
RUNS = [make_run(seed=seed, steps=100, evaluate_every=100) for seed in range(400)]

ALONE, GROUP = os.kill, os.killpg  # a terminal sends to all processes of a group


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A function that starts a study in a process group of its own."""
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.delenv("BN_TUTORIAL_SCHEDULER", raising=False)
    studies = []

    def start(count):
        study = subprocess.Popen(
            [sys.executable, "-c", STUDY.format(count=count)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        studies.append(study)
        return study

    yield start
    for study in studies:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
        study.wait()
        study.stdout.close()


def processes(tmp_path):
    """All that were started with this cache folder, whosever children they are by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment, alive = process.environ(), process.status() != psutil.STATUS_ZOMBIE
            if alive and environment.get("BN_TUTORIAL_CACHE") == str(tmp_path):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def memory(numbers):
    """What some processes hold in the memory that processes share."""
    shared = Path("/dev/shm")
    return [path for number in numbers for path in shared.glob(f"*[_-]{number}[_-]*")]


def wait_until(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def assert_nothing_is_left_after(send, study, number, tmp_path):
    numbers = [process.pid for process in processes(tmp_path)]
    send(study.pid, getattr(signal, number))
    assert wait_until(lambda: not processes(tmp_path), PATIENCE), processes(tmp_path)
    assert not memory(numbers)
    study.communicate(timeout=1)  # the pipe is closed


@pytest.mark.parametrize(
    ("send", "number"),
    [
        *((ALONE, number) for number in ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")),
        *((GROUP, number) for number in ("SIGINT", "SIGTERM", "SIGHUP")),
    ],
)
def test_study_that_is_ended_leaves_what_is_finished_and_nothing_else(
    started, tmp_path, send, number
):
    study = started(len(RUNS))
    assert wait_until(lambda: len(stamps(tmp_path / "runs")) >= 3, 60)
    assert len(processes(tmp_path)) >= 3  # the study, its workers, and what cleans up after them
    assert memory([study.pid]) or not Path("/dev/shm").exists()
    assert_nothing_is_left_after(send, study, number, tmp_path)

    finished = stamps(tmp_path / "runs")
    assert 3 <= len(finished) < len(RUNS)
    data, some = make_data(2000), RUNS[: len(finished) + 2]
    again = run_all(some, data, workers=1)
    assert finished.items() <= stamps(tmp_path / "runs").items()
    with one_thread():
        assert again[:1] == [train(RUNS[0].model(), data, RUNS[0].config)]


@pytest.mark.parametrize("delay", [0.2, 1.5])
def test_study_that_is_killed_while_its_workers_start_leaves_nothing(started, tmp_path, delay):
    study = started(len(RUNS))
    assert study.stdout.readline() == "begun\n"
    time.sleep(delay)
    assert_nothing_is_left_after(ALONE, study, "SIGKILL", tmp_path)


@pytest.mark.parametrize(("send", "number"), [(ALONE, "SIGKILL"), (GROUP, "SIGHUP")])
def test_program_that_is_ended_after_a_study_leaves_nothing(started, tmp_path, send, number):
    study = started(2)
    assert [study.stdout.readline() for _ in range(2)] == ["begun\n", "done\n"]
    assert len(processes(tmp_path)) >= 3  # workers wait for another study
    assert_nothing_is_left_after(send, study, number, tmp_path)
