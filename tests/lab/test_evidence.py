import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.lab.evidence import recall, record

PAGE = "03_in_training/plot_01_compare_training"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path))
    return tmp_path


class TestRecord:
    def test_what_was_recorded_is_recalled_exactly(self):
        values = {"a": 0.1 + 0.2, "b": 3, "c": True, "d": "ja, unterstützt", "e": 5e-324}
        record(PAGE, values)
        recalled = recall(PAGE)
        assert recalled == values
        assert [type(v) for v in recalled.values()] == [type(v) for v in values.values()]

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            (np.float32(0.5), 0.5),
            (np.int64(3), 3),
            (np.bool_(True), True),
            (np.str_("yes"), "yes"),
            (np.array(2.5), 2.5),
            (torch.tensor(0.25), 0.25),
            (torch.tensor(7), 7),
            (torch.tensor(False), False),
            (Fraction(1, 4), 0.25),
        ],
    )
    def test_scalars_of_numpy_and_pytorch_become_plain(self, value, plain):
        record(PAGE, {"value": value})
        assert recall(PAGE)["value"] == plain
        assert type(recall(PAGE)["value"]) is type(plain)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, np.float32("nan"), torch.tensor(math.inf)])
    def test_number_that_is_not_finite_is_refused(self, bad):
        with pytest.raises(ValueError, match=r"gap is (nan|inf), expected a finite number"):
            record(PAGE, {"gap": bad})

    @pytest.mark.parametrize("bad", [None, [1.0], np.ones(1), torch.ones(1), 1j, {}])
    def test_value_of_another_type_is_refused(self, bad):
        with pytest.raises(TypeError, match=r"gap is a .*, expected a number, a string or a bool"):
            record(PAGE, {"gap": bad})

    def test_name_must_be_a_string(self):
        with pytest.raises(TypeError, match="name of a value is 3"):
            record(PAGE, {3: 1.0})

    def test_refused_record_leaves_the_old_one(self):
        record(PAGE, {"gap": 1.0})
        with pytest.raises(ValueError, match="gap is nan"):
            record(PAGE, {"gap": math.nan})
        assert recall(PAGE) == {"gap": 1.0}

    def test_later_record_replaces_the_whole(self, folder):
        record(PAGE, {"a": 1})
        record(PAGE, {"b": 2})
        assert recall(PAGE) == {"b": 2}
        assert [path.name for path in folder.rglob("*.*")] == ["plot_01_compare_training.json"]

    def test_recording_is_kept_beside_the_values(self, folder):
        recording = {"steps": [0, 1], "arms": {"a": [[0.5], [0.25]]}}
        record(PAGE, {"a": 1}, recording=recording)
        assert json.loads((folder / f"{PAGE}.json").read_text())["recording"] == recording
        assert recall(PAGE) == {"a": 1}

    @pytest.mark.parametrize(
        ("recording", "message"),
        [({"x": [0.25] * 20_000}, "at most 60000"), ({"x": [math.nan]}, "JSON compliant")],
    )
    def test_recording_that_no_page_could_hold_is_refused(self, recording, message):
        with pytest.raises(ValueError, match=message):
            record(PAGE, {"a": 1}, recording=recording)

    def test_file_says_where_the_values_come_from(self, folder):
        split = Split(torch.zeros(1, 28, 28, dtype=torch.uint8), torch.tensor([0]))
        data = Dataset("mnist", "MNIST", "none", "here", "abc", split, split)
        record(PAGE, {"a": 1.5}, data=data)
        content = json.loads((folder / f"{PAGE}.json").read_text())
        assert content["page"] == PAGE
        assert content["data"] == {"name": "mnist", "title": "MNIST", "digest": "abc"}
        assert content["versions"]["numpy"] == np.__version__
        assert {"python", "torch", "scipy", "bn-tutorial"} <= content["versions"].keys()
        assert content["values"] == {"a": 1.5}

    def test_without_data_the_file_says_so(self, folder):
        record(PAGE, {})
        assert json.loads((folder / f"{PAGE}.json").read_text())["data"] is None

    def test_cache_folder_is_used_where_no_other_is_named(self, tmp_path, monkeypatch):
        monkeypatch.delenv("BN_TUTORIAL_EVIDENCE")
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
        record("plot_01", {"a": 1})
        assert (tmp_path / "cache" / "evidence" / "plot_01.json").is_file()

    @pytest.mark.parametrize(
        "page", ["", "/etc/x", "../x", "a/../x", "a//b", "a/", "a.py", ".x", "a\\b", "a\n", "-a"]
    )
    def test_page_that_is_no_such_path_is_refused(self, page):
        with pytest.raises(ValueError, match="expected a script's path below tutorial_src"):
            record(page, {})
        with pytest.raises(ValueError, match="expected a script's path below tutorial_src"):
            recall(page)

    def test_missing_record_says_which_script_must_run(self):
        with pytest.raises(LookupError, match=rf"run tutorial_src/{PAGE}\.py first"):
            recall(PAGE)

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\xff"])
    def test_damaged_record_says_which_script_must_run(self, folder, content):
        record(PAGE, {"a": 1})
        (folder / f"{PAGE}.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(LookupError, match=rf"damaged .*: run tutorial_src/{PAGE}\.py again"):
            recall(PAGE)
