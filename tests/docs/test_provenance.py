import json
from importlib.metadata import version
from types import SimpleNamespace

import provenance
import pytest

TIME = (
    '<p>Body</p>\n<p class="sphx-glr-timing"><strong>Total running time of the script:</strong> '
    "(2 minutes 51.252 seconds)</p>\n<p>End</p>"
)


@pytest.fixture
def facts(tmp_path, monkeypatch):
    """A function that returns the context of a page."""
    monkeypatch.setenv("BN_TUTORIAL_EVIDENCE", str(tmp_path))
    (tmp_path / "01").mkdir()
    recorded = {"versions": {"numpy": "9.1", "torch": "9.2"}, "values": {"seeds": 5}}
    (tmp_path / "01" / "plot.json").write_text(json.dumps(recorded))

    def find(page, executed=None, **context):
        monkeypatch.setattr(provenance.NbMetadataCollector, "get_exec_data", lambda *_: executed)
        provenance.add_facts(SimpleNamespace(env=None), page, "", context, None)
        return context

    return find


def test_gallery_page_names_the_versions_and_seeds_that_it_recorded(facts):
    context = facts("gallery/01/plot", body=TIME)
    assert context["provenance"] == {
        "numpy": "9.1",
        "torch": "9.2",
        "seeds": 5,
        "duration": "2 min 51 s",
    }
    assert context["body"] == "<p>Body</p>\n<p>End</p>"


def test_executed_page_names_its_time_and_the_versions_of_the_build(facts):
    found = facts("derivations/x", {"runtime": 3.4}, body="")["provenance"]
    assert found["duration"] is None  # a page without a body was not executed
    found = facts("derivations/x", {"runtime": 3.4}, body="<p>")["provenance"]
    assert found["duration"] == "3 s"
    assert found["numpy"] == version("numpy")


def test_page_that_is_only_text_has_no_time(facts):
    assert facts("run", body="<p>")["provenance"]["duration"] is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "less than a second"), (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s")],
)
def test_durations_are_said_in_minutes_and_seconds(seconds, words):
    assert provenance.say_duration(seconds) == words
