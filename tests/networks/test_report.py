from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bn_tutorial.networks.report import CODES, LEVELS, PAGES, Finding, Report, Row, shorten, verdict


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


WHOLE = f"""\
SICK: it is
Net: 2 layers
           accuracy      loss
eval mode    12.3 %      2.35  <- here
new
ERROR gamma-zero: worst
      {"d" * 101}...
ERROR gamma-zero: again
WARN  last-batch: {"w" * 89}...
      one detail
      another
WARN  eval-worse: x
NOTE  dead-channels: few
      of a note
fix  cure(1)  # gamma-zero, last-batch
     tried on a copy: it helps
fix  cure(2)  # eval-worse (not tried)
OK   one, two
TRIAL FAILED  a: Error: b
TRIAL FAILED  c: Error: d
NOT CHECKED  three; four
see  faults/training.html#fault-gamma-zero, faults/batch_size.html#fault-last-batch,
     faults/eval_mode.html#fault-eval-worse, faults/training.html#fault-dead-channels"""


def test_whole_report_is_laid_out_in_lines_that_say_what_each_part_is():
    findings = [
        Finding("note", "dead-channels", "few", ("c",), ("of a note",), "cure(3)"),
        Finding("warning", "last-batch", "w" * 120, ("b",), ("one detail", "another"), "cure(1)"),
        Finding("error", "gamma-zero", "worst", ("a",), ("d" * 120,), "cure(1)"),
        Finding("error", "gamma-zero", "again", ("z",), (), "cure(1)", "it helps"),
        Finding("warning", "eval-worse", "x", (), (), "cure(2)"),
    ]
    whole = Report(
        *("Net", "SICK: it is", "2 layers", findings),
        rows=[Row("eval mode", 0.123, 2.3456, "<- here"), Row("new", None, None)],
        sound=["one", "two"],
        unchecked=["three", "four"],
        failed=["a: Error: b", "c: Error: d"],
    )
    assert str(whole) == WHOLE
    assert whole.codes == ["gamma-zero"] * 2 + ["last-batch", "eval-worse", "dead-channels"]
    assert [found.code for found in whole.of_level("warning")] == ["last-batch", "eval-worse"]


def test_room_that_is_left_goes_to_the_details_of_the_worst():
    lines = str(report(9, sound=["s" * 60] * 5, unchecked=["u"])).splitlines()
    assert len(lines) == 25
    details = [number for number, line in enumerate(lines) if line.startswith("      ")]
    assert details == [3, 4]  # of the first finding, below it
    assert [line[:5] for line in lines[12:]] == [
        *(["ERROR"] + ["fix  "] * 6 + ["OK   ", "     ", "NOT C", "see  ", "     ", "     "]),
    ]
    assert lines[20].endswith(", ...")
    assert lines[24].endswith(" ...")


def test_findings_without_a_line_of_their_own_are_counted_and_named_worst_first():
    lines = str(report(len(CODES))).splitlines()
    assert len(lines) == 25
    shown = [line for line in lines if line.startswith("ERROR")]
    hidden = [*CODES][len(shown) :]
    (rest,) = (line for line in lines if line.startswith("and "))
    assert rest.startswith(f"and {len(hidden)} more: {hidden[0]}, {hidden[1]}, ")
    assert lines.index(rest) == 2 + len(shown)
    (few,) = (line for line in str(report(15)).splitlines() if line.startswith("and "))
    assert few == f"and 2 more: {[*CODES][13]}, {[*CODES][14]}"
    assert "and " not in str(report(14)).replace("and where", "")


def test_remedies_leave_room_for_the_findings():
    tried = [
        Finding("error", code, "", (), (), f"cure({code})", "it helps") for code in [*CODES][:9]
    ]
    lines = str(Report("Net", "SICK", "", tried)).splitlines()
    assert [line for line in lines if line.startswith("fix")] == [
        f"fix  cure({code})  # {code}" for code in [*CODES][:4]
    ]
    assert lines.count("     tried on a copy: it helps") == 4
    rows = [Row("eval", 0.1, 2.0)] * 3
    many = ["a trial: " + "an error " * 30] * 3
    crowded = Report("Net", "SICK", "", tried, rows, ["sound"], ["unchecked " * 60], many)
    lines = str(crowded).splitlines()
    assert len(lines) == 25
    assert sum(line.startswith("ERROR") for line in lines) == 3
    assert "and 6 more: " in str(crowded)
    assert sum(line.startswith("fix") for line in lines) == 1


def test_line_of_110_characters_is_left_whole():
    finding = Finding("error", "gamma-zero", "s" * (110 - len("ERROR gamma-zero: ")))
    assert str(Report("", "", "", [finding])).splitlines()[2].endswith("ss")


def test_finding_names_nothing_by_default_and_the_section_that_explains_it():
    finding = Finding("note", "gamma-zero", "a")
    assert (finding.layers, finding.details, finding.remedy) == ((), (), "")
    assert finding.label == "fault-gamma-zero"


def test_many_names_are_cut_short_and_the_model_has_one():
    assert shorten(["a", "", "c"]) == "a, the model itself, c"
    assert shorten(iter("abcde"), 2) == "a, b and 3 more"
    assert shorten([]) == ""


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
    without = str(report(rows=[Row("eval", None, 3.0), Row("batch", None, 22.5, "better")]))
    assert without.splitlines()[2:5] == [
        "           loss",
        "eval          3",
        "batch      22.5  better",
    ]
    assert str(Report("Net", "HEALTHY", "2 layers", [])) == "HEALTHY\nNet: 2 layers"


def test_plot_draws_a_bar_for_each_layer_and_hatches_the_sick_ones():
    shifts = {"a": 0.01, "b": 0.4, "c": float("inf")}
    ax = report(shifts=shifts).plot(Figure().subplots())
    bars = ax.containers[0]
    assert [bool(bar.get_hatch()) for bar in bars] == [False, True, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [bar.get_width() for bar in bars] == [0.01, 0.4, 0.4]
    assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == pytest.approx([0, 1, 2])
    assert all(0 < bar.get_height() < 1 for bar in bars)  # apart from each other
    colors = [bar.get_facecolor() for bar in bars]
    assert colors[0] != colors[1] == colors[2]
    assert {to_rgb(bar.get_edgecolor()) for bar in bars} == {to_rgb("white")}
    assert ax.lines[0].get_linestyle() == ":"
    assert ax.get_yticks().tolist() == [0, 1, 2]
    assert ax.lines[0].get_xdata() == [0.05, 0.05]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "running statistics off, in standard deviations"
    with pytest.raises(ValueError, match="no running statistics"):
        report().plot()


@pytest.mark.parametrize(("worst", "end"), [(0.01, 0.2), (0.3, 0.3)])
def test_what_is_no_number_is_drawn_as_far_out_as_the_largest_and_well_past_the_threshold(
    worst, end
):
    shifts = {"a": worst, "b": float("inf"), "c": float("nan")}
    ax = report(shifts=shifts).plot(Figure().subplots())
    assert [bar.get_width() for bar in ax.containers[0]] == [worst, end, end]
    assert [bool(bar.get_hatch()) for bar in ax.containers[0]] == [worst > 0.05, True, True]


def test_shift_of_the_threshold_itself_is_no_matter():
    ax = report(shifts={"a": 0.2}, threshold=0.2).plot(Figure().subplots())
    assert not ax.containers[0][0].get_hatch()
    assert ax.lines[0].get_xdata() == [0.2, 0.2]


def test_figure_of_its_own_has_room_for_each_layer():
    few, many = (
        report(shifts={f"layer {n}": 0.1 for n in range(count)}).plot().figure for count in (2, 42)
    )
    assert many.get_figheight() - few.get_figheight() == pytest.approx(10)
    assert few.get_figheight() > 1
    plt.close("all")


def test_levels_go_from_the_worst_on():
    assert [*LEVELS] == ["error", "warning", "note"]


DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("code", CODES)
def test_address_of_each_code_is_that_of_a_section(code):
    page, label = Finding("note", code, "").address.split("#")
    source = (DOCS / page).with_suffix(".md").read_text(encoding="utf-8").splitlines()
    assert label == f"fault-{code}"
    line = source.index(f"({label})=")  # by which the builder names the section that follows
    after = next(text for text in source[line:] if not (text.startswith("(") or not text))
    assert after.startswith("## ")


def test_pages_have_each_code_once():
    assert sorted(code for codes in PAGES.values() for code in codes) == sorted(CODES)


def test_addresses_are_printed_each_once_and_whole():
    same = [Finding("note", code, "") for code in ("gamma-zero", "gamma-zero", "nan-activations")]
    assert str(Report("Net", "", "", same)).splitlines()[-1] == (
        "see  faults/training.html#fault-gamma-zero, "
        "faults/half_precision.html#fault-nan-activations"
    )
    for count in range(1, len(CODES)):
        text = str(report(count, "note"))
        printed = text[text.index("see  ") + 5 :].replace("\n    ", "").rstrip(" .,").split(", ")
        assert printed == [one.address for one in report(count).findings[: len(printed)]]
        assert len(printed) >= min(count, 6)


def test_what_was_not_tried_is_said_whole_and_over_two_lines_at_most():
    text = str(report(0, sound=["a check"] * 40, failed=["training mode: KeyError: 'target'"]))
    lines = text.splitlines()
    assert "TRIAL FAILED  training mode: KeyError: 'target'" in lines
    assert sum("a check" in line for line in lines) == 2
    assert all(len(line) <= 110 for line in lines)
