import json
import math
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from small_runs import make_data

from bn_tutorial.lab.evidence import (
    Evidence,
    agreements,
    make_record,
    path_of,
    read_record,
    recall,
    write_record,
)

PAGE = "03_in_training/plot_01_compare_training"
OTHER = "03_in_training/plot_02_raise_the_learning_rate"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/evidence.schema.json").read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "made" / "when it is needed"
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(folder))
    return folder


def some(page=PAGE, shift=0.0, **options):
    """Evidence with two effects and two values, saved."""
    evidence = Evidence(page, **{"data": make_data(), "seeds": (10, 11, 12), **options})
    pairs = np.array([3.0, 4.0, 5.0]) + shift, np.array([1.0, 1.9, 3.1])
    evidence.compare("batch - none, 128", *pairs, unit="points", smallest=1.0)
    evidence.compare("batch - none, 8", pairs[1], pairs[1], unit="points", smallest=1.0)
    evidence.note(rate=0.1, steps=300)
    evidence.save()
    return evidence


class TestEvidence:
    def test_what_was_saved_is_recalled_whole(self):
        evidence = some(horizon="300 steps")
        saved = recall(PAGE)
        assert saved.effects == evidence.effects
        assert saved.values == {"rate": 0.1, "steps": 300}
        effect = saved.effects["batch - none, 128"]
        assert (effect.seeds, effect.data, effect.horizon) == ((10, 11, 12), "noise", "300 steps")
        assert effect.pairs == ((3.0, 1.0), (4.0, 1.9), (5.0, 3.1))
        assert (saved.page, saved.seeds, saved.recording) == (PAGE, (10, 11, 12), None)
        assert saved.data == {"name": "noise", "title": "noise", "digest": "of 64"}

    def test_device_and_versions_are_kept(self, monkeypatch):
        monkeypatch.setenv("BN_TUTORIAL_DEVICE", "cuda:0")
        some()
        saved = recall(PAGE)
        assert saved.device == "cuda"
        assert saved.versions["numpy"] == np.__version__
        assert {"python", "torch", "scipy", "bn-tutorial"} <= saved.versions.keys()
        assert saved.versions["instructions"] in str(np.show_config("dicts")["SIMD Extensions"])

    def test_files_keep_to_the_schema(self):
        some()
        content = json.loads(path_of(PAGE).read_text())
        jsonschema.validate(content, SCHEMA)
        for broken in (
            {**content, "effects": [{**content["effects"][0], "unit": 3}]},
            {**content, "more": 1},
            {**content, "claims": {"batch - none, 8": 3}},
            {k: v for k, v in content.items() if k != "seeds"},
        ):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(broken, SCHEMA)

    def test_page_that_is_saved_again_is_replaced(self):
        some()
        Evidence(PAGE).save()
        assert recall(PAGE).effects == {}
        assert recall(PAGE).data is None

    def test_claims_are_kept_in_their_order_and_must_be_about_comparisons(self):
        claims = {"batch - none, 8": "helps with few", "batch - none, 128": "helps with many"}
        some(claims=claims)
        assert list(recall(PAGE).claims.items()) == list(claims.items())
        with pytest.raises(ValueError, match=r"claims about \['batch - none'\], but no such"):
            some(claims={"batch - none": "helps"})
        assert recall(PAGE).claims == claims

    def test_file_of_before_there_were_claims_is_read(self):
        some()
        content = json.loads(path_of(PAGE).read_text())
        del content["claims"]
        path_of(PAGE).write_text(json.dumps(content))
        assert recall(PAGE).claims == {}

    def test_name_that_is_taken_or_means_something_in_a_text_is_refused(self):
        evidence = some()
        with pytest.raises(ValueError, match="has compared 'batch - none, 8' before"):
            evidence.compare("batch - none, 8", [1, 2], [1, 2], unit="", smallest=0)
        for name in ("a: b", "a @ b", "a`b", "", " a", "a <b>"):
            with pytest.raises(ValueError, match="is no name of an effect"):
                evidence.compare(name, [1, 2], [1, 2], unit="", smallest=0)

    def test_table_has_words_for_every_effect(self):
        lines = some().table().splitlines()
        assert [line.split("  ")[0] for line in lines] == ["batch - none, 128", "batch - none, 8"]
        assert [line.split("  ")[-1].strip() for line in lines] == ["yes", "no difference"]
        assert some().table("batch - none, 8").endswith("no difference")

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            (np.float32(0.5), 0.5),
            (np.int64(3), 3),
            (np.array(2.0), 2.0),
            (torch.tensor(4), 4),
            (np.bool_(True), True),
            (Fraction(1, 2), 0.5),
            ("ja, unterstützt", "ja, unterstützt"),
        ],
    )
    def test_values_become_plain(self, value, plain):
        evidence = Evidence(PAGE)
        evidence.note(it=value)
        evidence.save()
        found = recall(PAGE).values["it"]
        assert (found, type(found)) == (plain, type(plain))

    @pytest.mark.parametrize("value", [None, [1.0], np.ones(2), torch.ones(2), 1j])
    def test_other_types_are_refused_by_name(self, value):
        with pytest.raises(TypeError, match=r"^it is a "):
            Evidence(PAGE).note(it=value)

    @pytest.mark.parametrize("value", [math.nan, math.inf, np.float64("nan")])
    def test_numbers_that_are_not_finite_are_refused_by_name(self, value):
        with pytest.raises(ValueError, match=r"^it is "):
            Evidence(PAGE).note(it=value)

    def test_recording_is_kept_and_a_large_one_refused(self):
        evidence = Evidence(PAGE)
        evidence.save(recording={"a": [1, 2]})
        assert recall(PAGE).recording == {"a": [1, 2]}
        with pytest.raises(ValueError, match="expected at most 60000"):
            evidence.save(recording={"a": [0.123456789] * 10_000})
        with pytest.raises(ValueError, match="JSON compliant"):
            evidence.save(recording={"a": [math.nan]})
        assert recall(PAGE).recording == {"a": [1, 2]}
        largest = {"a": "x" * (60_000 - len('{"a": ""}'))}
        evidence.save(recording=largest)
        assert recall(PAGE).recording == largest


class TestRecall:
    def test_what_was_never_saved_names_the_script(self):
        with pytest.raises(LookupError, match=rf"run tutorial_src/{PAGE}\.py first"):
            recall(PAGE)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: "",
            lambda text: text[:100],
            lambda _: "[]",
            lambda text: text.replace('"format": 2', '"format": 1'),
            lambda text: text.replace('"low"', '"lower"'),
            lambda text: text.replace('"effects"', '"effect"'),
        ],
    )
    def test_damaged_file_is_named_with_the_remedy(self, damage):
        some()
        path = path_of(PAGE)
        path.write_text(damage(path.read_text()))
        with pytest.raises(LookupError, match="is damaged") as error:
            recall(PAGE)
        assert str(path) in str(error.value)
        assert f"run tutorial_src/{PAGE}.py again" in str(error.value)

    @pytest.mark.parametrize("page", ["", "../up", "/root", "a//b", "a.py", "a b", "ä"])
    def test_page_outside_the_folder_is_refused(self, page):
        for ask in (recall, Evidence):
            with pytest.raises(ValueError, match="expected a script's path"):
                ask(page)

    def test_without_a_folder_the_cache_serves(self, monkeypatch, tmp_path):
        monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", "")
        monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path / "cache"))
        assert path_of(PAGE) == tmp_path / "cache" / "evidence" / f"{PAGE}.json"


class TestRecord:
    def test_record_returns_as_it_was_written(self, tmp_path):
        some(), Evidence(OTHER).save()
        record = make_record([PAGE, OTHER], "2026-01-01")
        assert record.effects.keys() == {PAGE}
        assert record.data == {"name": "noise", "title": "noise"}
        saved = recall(PAGE)
        assert (record.date, record.device) == ("2026-01-01", saved.device)
        assert record.versions == saved.versions
        write_record(record, tmp_path / "noise.json")
        assert read_record(tmp_path / "noise.json") == record

    def test_record_is_text_of_which_a_changed_number_is_a_changed_line(self, tmp_path):
        some(horizon="300 Schritte, ungefähr")
        write_record(make_record([PAGE], "2026-01-01"), tmp_path / "noise.json")
        lines = (tmp_path / "noise.json").read_text(encoding="utf-8").split("\n")
        assert (lines[0], lines[1], lines[-1]) == ("{", ' "format": 2,', "")
        assert '"horizon": "300 Schritte, ungefähr"' in [line.strip() for line in lines]

    def test_pages_of_two_data_sets_make_no_record(self):
        some(), some(OTHER, data=None)
        assert make_record([PAGE, OTHER], "2026-01-01").data["name"] == "noise"
        from dataclasses import replace

        some(OTHER, data=replace(make_data(), name="other"))
        with pytest.raises(ValueError, match="of one data set"):
            make_record([PAGE, OTHER], "2026-01-01")

    def test_missing_or_damaged_record_is_named(self, tmp_path):
        path = tmp_path / "noise.json"
        with pytest.raises(LookupError, match="there is no record"):
            read_record(path)
        some()
        write_record(make_record([PAGE], "2026-01-01"), path)
        whole = path.read_text()
        for old, new in (("}", ""), ('"format": 2', '"format": 1'), ('"low"', '"lower"')):
            assert old in whole
            path.write_text(whole.replace(old, new))
            with pytest.raises(LookupError, match=r"noise\.json is damaged"):
                read_record(path)

    def test_verdicts_are_compared_one_by_one(self):
        some(), some(OTHER)
        then = make_record([PAGE, OTHER], "2026-01-01")
        some(shift=-2.0)
        evidence = some(OTHER)
        evidence.compare("new", [1.0, 2.0], [0.0, 0.0], unit="", smallest=1.0, seeds=(1, 2))
        evidence.save()
        found = agreements(then, make_record([PAGE, OTHER], "2026-01-02"))
        assert {(a.page, a.name): a.same for a in found} == {
            (PAGE, "batch - none, 128"): False,
            (PAGE, "batch - none, 8"): True,
            (OTHER, "batch - none, 128"): True,
            (OTHER, "batch - none, 8"): True,
            (OTHER, "new"): False,
        }
        gone = agreements(make_record([PAGE, OTHER], "2026-01-02"), then)
        assert [(a.name, a.now) for a in gone if a.now is None] == [("new", None)]
