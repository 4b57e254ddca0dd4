import io
import shutil
import sys
import warnings

import pytest
import torch
from small_runs import CONFIG, make_data, make_run, stamps

from bn_tutorial.fingerprint import PACKAGE, Sources
from bn_tutorial.lab import pool
from bn_tutorial.lab.pool import one_thread, run_all
from bn_tutorial.lab.spec import RunSpec
from bn_tutorial.lab.store import Store
from bn_tutorial.lab.study import study
from bn_tutorial.lab.training import train

pytestmark = pytest.mark.usefixtures("store_folder")


class TestRunAll:
    studied = (
        make_run(),
        make_run("batch"),
        make_run("numpy", seed=1),
        make_run("batch", lr=1e38),  # diverges
        make_run("layer"),
    )

    def test_histories_are_those_of_train_in_order_whatever_the_number_of_workers(
        self, data, monkeypatch, tmp_path
    ):
        before = torch.get_num_threads(), torch.random.get_rng_state()
        two = run_all(self.studied, data, workers=2)
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "other"))
        one = run_all(self.studied[::-1], data, workers=1)[::-1]
        assert torch.get_num_threads() == before[0]
        assert torch.equal(torch.random.get_rng_state(), before[1])

        with one_thread():
            direct = [train(run.model(), data, run.config) for run in self.studied]
        assert one == two == direct
        assert len(set(two)) == len(two)
        assert two[3].diverged_at is not None

    def test_what_is_remembered_is_what_was_trained_bit_by_bit(self, data, store_folder, request):
        trained = run_all(self.studied, data, workers=2)
        assert len(stamps(store_folder)) == len(self.studied)
        request.getfixturevalue("no_training")
        remembered = run_all(self.studied, data)
        assert remembered == trained
        assert [history.seconds for history in remembered] == [h.seconds for h in trained]

    def test_equal_runs_are_trained_once(self, data, store_folder):
        first, second = run_all([make_run(), make_run()], data, workers=2)
        assert first == second
        assert len(stamps(store_folder)) == 1

    def test_no_runs_give_no_histories(self, data):
        assert run_all([], data) == []

    def test_large_data_reach_the_workers_too(self):
        data = make_data(2_000)  # joblib maps what is above a megabyte into shared memory
        studied = [make_run(seed=seed, batch_size=500) for seed in (0, 1)]
        histories = run_all(studied, data, workers=2)
        with one_thread():
            assert histories == [train(run.model(), data, run.config) for run in studied]

    def test_worker_keeps_apart_two_data_sets(self, data):
        studied = [make_run(seed=seed) for seed in (0, 1)]
        first, other, again = (
            run_all(studied, dataset, workers=2) for dataset in (data, make_data(96), data)
        )
        assert first == again != other

    @pytest.mark.parametrize("workers", [1, 2])
    def test_run_that_fails_is_named_and_the_finished_ones_are_kept(self, store_folder, workers):
        data = make_data(65)
        bad = make_run("batch")  # its last batch holds a single image
        # So many before it that some are finished when it fails, however late a process starts.
        fine = [make_run(seed=seed) for seed in range(9)]
        with pytest.raises(ValueError, match="more than 1 value per channel") as failure:
            run_all([*fine[:8], bad, fine[8]], data, workers=workers)
        assert any("norm='batch'" in note for note in failure.value.__notes__)
        kept = stamps(store_folder)
        assert len(kept) >= 1
        run_all(fine, data, workers=workers)
        assert kept.items() <= stamps(store_folder).items()

    def test_number_of_workers_must_be_positive(self, data):
        with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
            run_all([make_run()], data, workers=0)

    def test_one_bar_counts_all_runs_where_it_is_wanted(self, data, monkeypatch, request):
        studied = [make_run(seed=seed) for seed in range(3)]
        history = train(studied[0].model(), data, CONFIG)
        kept = Store(data.digest, Sources())
        for run in studied:
            kept.keep(run, history)
        request.getfixturevalue("no_training")
        for progress, shown in ((None, False), (True, True), (False, False)):
            stderr = io.StringIO()
            monkeypatch.setattr(sys, "stderr", stderr)
            run_all(studied, data, progress=progress)
            assert ("3/3" in stderr.getvalue()) is shown
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "__stderr__", terminal)
        run_all(studied, data)  # as in a script whose streams the gallery has taken away
        assert "3/3" in terminal.getvalue()

    def test_process_with_older_code_in_memory_refuses(self, data, monkeypatch, tmp_path):
        package = tmp_path / "bn_tutorial"
        shutil.copytree(PACKAGE, package)
        training = package / "lab" / "training.py"
        training.write_text(training.read_text().replace("2_000", "3_000"))
        newer = Sources(package)  # as if the files had been edited since this process began
        monkeypatch.setattr(pool, "Sources", lambda: newer)
        with pytest.raises(RuntimeError, match="changed while it was in use"):
            run_all([make_run()], data, workers=1)


def test_threads_are_as_before_when_a_block_fails():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        torch.get_num_threads() / 0
    assert torch.get_num_threads() == before


class TestCluster:
    @pytest.fixture(scope="class")
    def cluster(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's code
            from distributed import LocalCluster

            with LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp"
            ) as cluster:
                yield cluster

    @pytest.mark.filterwarnings("ignore")
    def test_study_gives_the_same_bits_on_a_cluster_and_is_remembered_here(
        self, cluster, data, monkeypatch, tmp_path, request
    ):
        arms = {norm: make_run(norm) for norm in (None, "batch", "numpy")}
        here = study(arms, data, seeds=range(2), workers=1)
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "other"))
        monkeypatch.setenv("BN_TUTORIAL_SCHEDULER", cluster.scheduler_address)
        monkeypatch.setattr(RunSpec, "train", None)  # not in this process
        assert study(arms, data, seeds=range(2)) == here
        assert len(stamps(tmp_path / "other" / "runs")) == 6
        request.getfixturevalue("no_training")
        assert study(arms, data, seeds=range(2)) == here

    @pytest.mark.filterwarnings("ignore")
    def test_worker_with_several_threads_is_refused(self, data, monkeypatch):
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, processes=False
        ) as cluster:
            monkeypatch.setenv("BN_TUTORIAL_SCHEDULER", cluster.scheduler_address)
            with pytest.raises(ValueError, match="workers with one thread each"):
                run_all([make_run()], data)
