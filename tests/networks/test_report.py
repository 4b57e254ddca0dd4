from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from bn_tutorial.networks.report import CODES, LEVELS, Finding, Report, Row, verdict


def report(count=1, level="error", **options):
    findings = [
        Finding(level, code, "what and where", (f"layer{n}",), ("more", "and more"), f"cure({n})")
        for n, code in enumerate([*CODES][:count])
    ]
    return Report("Net", "SICK", "2 layers", findings, **options)


def test_verdict_comes_first_and_the_worst_finding_next():
    notes = [Finding("note", "eval-worse", "b"), Finding("error", "gamma-zero", "a")]
    lines = str(Report("Net", "SICK: it is", "2 layers", notes)).splitlines()
    assert lines[:4] == [
        "SICK: it is",
        "Net: 2 layers",
        "ERROR gamma-zero: a",
        "NOTE  eval-worse: b",
    ]


@pytest.mark.parametrize("count", [0, 1, 5, 12, len(CODES)])
def test_report_has_at_most_25_lines_of_110_characters(count):
    rows = [Row("eval", 0.1, 2.0), Row("batch", 0.9, 0.1), Row("new", 0.9, 0.1)]
    long = ["a check of something" for _ in range(30)]
    lines = str(report(count, rows=rows, sound=long, unchecked=long)).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 110
    if count == len(CODES):
        assert "more: " in "\n".join(lines)


def test_details_give_way_to_findings():
    few, many = str(report(2)), str(report(14))
    assert few.count("and more") == 2
    assert many.count("what and where") == 14
    assert many.count("and more") < 14


def test_remedy_of_several_findings_is_printed_once():
    findings = [Finding("error", code, "", (), (), "cure()") for code in [*CODES][:3]]
    text = str(Report("Net", "", "", findings))
    assert text.count("cure()") == 1
    assert f"cure()  # {', '.join([*CODES][:3])}" in text


def test_verdict_counts_the_alarms_and_names_the_worst():
    warning, error = (
        Finding(*what, "") for what in (("warning", "last-batch"), ("error", "eval-worse"))
    )
    assert verdict([warning]) == f"SUSPECT (1 warning): {CODES['last-batch']}"
    worst = CODES["eval-worse"]
    assert verdict([warning, error, error]) == f"SICK (2 errors, 1 warning): {worst}"
    assert verdict([error], "it is mended") == "SICK (1 error): it is mended"
    assert verdict([Finding("note", "gamma-zero", "")]).startswith("HEALTHY")


def test_notes_are_no_alarms_and_have_no_remedy():
    calm = report(3, "note")
    assert not calm.alarms
    assert not calm.errors
    assert "cure" not in str(calm)
    assert report(3, "warning").alarms
    assert not report(3, "warning").errors


def test_layers_of_a_code_are_those_of_all_its_findings():
    findings = [Finding("error", "gamma-zero", "", (name,)) for name in "ab"]
    assert Report("", "", "", findings).layers("gamma-zero") == ["a", "b"]


def test_unknown_code_and_level_are_refused():
    with pytest.raises(ValueError, match="no finding is 'error' 'unheard'"):
        Finding("error", "unheard", "")
    with pytest.raises(ValueError, match="no finding is 'fatal'"):
        Finding("fatal", "gamma-zero", "")


def test_table_shows_what_is_known():
    with_accuracy = str(report(rows=[Row("eval mode", 0.5, float("nan"), "<- here")]))
    assert with_accuracy.splitlines()[2:4] == [
        "           accuracy      loss",
        "eval mode    50.0 %       nan  <- here",
    ]
    assert "accuracy" not in str(report(rows=[Row("eval mode", None, 3.0)]))


def test_plot_draws_a_bar_for_each_layer_and_hatches_the_sick_ones():
    shifts = {"a": 0.01, "b": 0.4, "c": float("inf")}
    ax = report(shifts=shifts).plot(Figure().subplots())
    bars = ax.containers[0]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert bars[2].get_width() == 0.4
    assert ax.lines[0].get_xdata() == [0.05, 0.05]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "running statistics off, in standard deviations"
    with pytest.raises(ValueError, match="no running statistics"):
        report().plot()


def test_figure_of_its_own_has_room_for_each_layer():
    few, many = (
        report(shifts={f"layer {n}": 0.1 for n in range(count)}).plot().figure for count in (2, 42)
    )
    assert many.get_figheight() - few.get_figheight() == pytest.approx(10)
    assert few.get_figheight() > 1
    plt.close("all")


def test_levels_go_from_the_worst_on():
    assert [*LEVELS] == ["error", "warning", "note"]


def test_each_code_has_its_section_among_the_faults():
    folder = Path(__file__).parents[2] / "docs/faults"
    pages = "\n".join(page.read_text(encoding="utf-8") for page in folder.glob("*.md"))
    assert [code for code in CODES if f"({Finding('note', code, '').label})=\n" not in pages] == []


def test_what_was_not_tried_is_said_whole_and_over_two_lines_at_most():
    text = str(report(0, sound=["a check"] * 40, failed=["training mode: KeyError: 'target'"]))
    lines = text.splitlines()
    assert "TRIAL FAILED  training mode: KeyError: 'target'" in lines
    assert sum("a check" in line for line in lines) == 2
    assert all(len(line) <= 110 for line in lines)
