"""Every comparison in one table, seed by seed, and beside the record: see measured_pages.py."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import comparisons
import gallery_state
import numpy as np
import pytest
import seal
from measured_pages import GALLERY, KEEP, RATE, SIZE
from sphinx_gallery.utils import get_md5sum

from bn_tutorial.lab import evidence
from bn_tutorial.lab.effects import Outcome, holm

SCRIPT = Path(comparisons.__file__)
PAGE = "```{comparisons}\n```\n\n```{reproduced}\n```"


@pytest.fixture
def site(measured):
    """Three comparisons on two pages: one is clear, one is lost when all are counted, one open."""
    measured.measure(RATE, clear=[30.0, 30.1, 30.2], weak=[6.0, 5.0, 8.0])
    measured.measure(KEEP, open=[9.0, -8.0, 1.0])
    measured.evidence(SIZE).save()  # a page that compares nothing
    measured.page(PAGE)
    return measured


def cells(table):
    """The texts of a table by row, without the facts."""
    for facts in table.select(".measured-facts"):
        facts.decompose()
    return [[cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")]


def record(site, pages=(RATE, KEEP)):
    """Put what is saved on record."""
    path = site.docs / "record" / "mnist.json"
    path.parent.mkdir(exist_ok=True)
    evidence.write_record(evidence.make_record(pages, "2026-01-02"), path)
    return path


def built(site):
    """Mark all scripts as run to the end."""
    for page in GALLERY:
        path = site.docs / f"gallery/{page}.py.md5"
        path.write_text(get_md5sum(site.root / f"tutorial_src/{page}.py", mode="t"))
        made = gallery_state.files_of(page, site.docs / "gallery")
        seal.write(gallery_state.seal_of(page, site.docs / "gallery"), made)


# ---------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------


def test_table_has_every_effect_and_says_which_verdicts_remain_when_all_are_counted(site):
    assert not site.build()
    page = site.read()
    more, low = ["seeds"], "\N{MINUS SIGN}21"
    assert cells(page.select_one("table.comparisons")) == [
        ["clear", "+30.1 (29.7 to 30.5) points", "1", "yes", *more, "holds", "9 steps"],
        ["weak", "+6 (2 to 10) points", "1", "yes\N{DAGGER}", *more, "does not hold", "9 steps"],
        ["open", f"+1 ({low} to 22) points", "1", "undecided", *more, "undecided", "9 steps"],
    ]
    (sentence,) = [p.get_text() for p in page.select("p") if "Holm" in p.get_text()]
    assert sentence == (
        "This build made 3 comparisons. 2 of them have a verdict other than undecided; "
        "1 keep it when all are counted (Holm\N{RIGHT SINGLE QUOTATION MARK}s correction). "
        "All intervals allow for other seeds, 0 also for other test images, "
        "0 for another choice of a setting."
    )
    links = {link["href"] for link in page.select("table.comparisons a")}
    assert links == {f"gallery/{RATE}.html", f"gallery/{KEEP}.html"}


def test_verdict_that_is_lost_would_be_kept_if_it_were_the_only_one(site):
    weak = evidence.recall(RATE).effects["weak"]
    assert comparisons.kept([weak]) == [True]
    others = [effect for _, effect in comparisons.compared(site.docs)]
    assert comparisons.kept(others) == [True, False, False]
    assert holm(others)[1] > 0.05 > weak.p


def test_verdict_that_is_lost_has_a_dagger_wherever_it_stands(site):
    roles = (
        "{finding}`{rate}clear` {finding}`{rate}weak` {verdict}`{rate}weak` {effect}`{rate}weak`"
    )
    roles += " {verdict}`keep_the_rate: open` {daggers}`verdicts of this page`"
    site.page(roles.replace("{rate}", "change_the_rate: "))
    assert not site.build()
    shown = site.read().select("p .measured")
    assert [len(one.select("sup.lost")) for one in shown] == [0, 1, 1, 0, 0]
    told = [one.select_one(".measured-facts").get_text() for one in shown]
    assert [text.count("counted, it does not hold") for text in told] == [0, 1, 1, 0, 0]
    assert site.read().select_one(".daggers").get_text() == "2 of the 4 verdicts of this page"


def test_any_difference_matters_where_none_is_too_small(site):
    more = site.evidence(SIZE)
    more.compare("all", [1, 2, 3], [1, 2, 1], unit="", smallest=0)
    more.save()
    assert not site.build()
    row = cells(site.read().select_one("table.comparisons"))[-1]
    assert row[0] == "all"
    assert row[1][-1] == ")"  # no space for a unit that there is not
    assert row[2] == "any"


def test_table_says_what_each_interval_allows_for(site):
    more = site.evidence(SIZE)
    right = np.array([[0, 100], [100, 100], [0, 0]], dtype=np.float32)
    tested = Outcome(right.mean(axis=1).astype(float), right)
    more.compare("images", tested, tested, unit="points", smallest=1)
    chosen = replace(tested, choice=0.1, choice_freedom=2.0)
    more.compare("all", chosen, tested, unit="points", smallest=1)
    without_images = Outcome(chosen.values, None, 0.1, 2.0)
    more.compare("choice", without_images, tested, unit="nat", smallest=1)
    more.save()
    assert not site.build()
    page = site.read()
    shown = {row[0]: row[4] for row in cells(page.select_one("table.comparisons"))}
    assert shown["images"] == "seeds, images"
    assert shown["all"] == "seeds, images, choice"
    assert shown["choice"] == "seeds, choice"
    assert shown["clear"] == "seeds"
    assert "2 also for other test images, 2 for another choice of a setting" in page.get_text()
    marked = page.select("table.comparisons td.allows-for")  # for telephones
    assert [cell.get_text() for cell in marked] == [*shown.values()]


def test_table_is_made_anew_when_any_evidence_changes_or_a_script_is_added(site):
    site.build()
    new = "02_b/plot_02_new"
    site.write(f"tutorial_src/{new}.py", "")
    site.write(f"docs/gallery/{new}.rst", "Page\n====\n")
    site.measure(new, added=[3.0, 3.1, 3.2])
    site.measure(KEEP, changed=[3.0, 3.1, 3.2])
    assert not site.build()
    names = [row[0] for row in cells(site.read().select_one("table.comparisons"))]
    assert names == ["clear", "weak", "changed", "added"]


def test_build_that_compared_nothing_says_so(measured):
    measured.page(PAGE)
    assert not measured.build()
    text = measured.read().get_text()
    assert "This build made 0 comparisons." in text
    assert "This build has compared nothing." in text
    assert not measured.read().select("table")


def test_damaged_evidence_is_a_warning_unless_one_page_is_built(site, monkeypatch):
    evidence.path_of(KEEP).write_text("{")
    warnings = site.build()
    for role in ("comparisons", "reproduced"):
        assert f"{role}: {evidence.path_of(KEEP)} is damaged" in warnings
    assert f"{os.sep}index.md:3" in warnings
    monkeypatch.setenv("BN_TUTORIAL_ONLY", RATE)
    assert not site.build()
    assert len(cells(site.read().select_one("table.comparisons"))) == 2


# ---------------------------------------------------------------------------------------------
# Seed by seed
# ---------------------------------------------------------------------------------------------


def test_numbers_seed_by_seed_lie_beside_the_page(site):
    site.build()
    with (site.out / "seed-by-seed.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["page", "comparison", "unit", "seed", "treated", "control"]
    assert len(rows) == 9
    assert rows[3:6] == [
        [RATE, "weak", "points", "0", "6.0", "0.0"],
        [RATE, "weak", "points", "1", "5.0", "0.1"],
        [RATE, "weak", "points", "2", "8.0", "-0.1"],
    ]


# ---------------------------------------------------------------------------------------------
# Beside the record
# ---------------------------------------------------------------------------------------------


def last_words(site):
    """What the log says of the record, and what follows that."""
    lines = site.log.splitlines()
    (place,) = [i for i, line in enumerate(lines) if " record" in line and "; on" not in line]
    return lines[place:]


def test_build_without_a_record_says_so(site):
    site.build()
    assert "There is no record of a build on the mnist yet." in last_words(site)[0]
    assert "There is no record of a build on the mnist yet." in site.read().get_text()


def test_build_that_repeats_the_record_says_so_last(site):
    record(site)
    assert not site.build()
    sentence = "3 of 3 verdicts of this build on the mnist are those on record, of 2026-01-02 (Py"
    assert sentence in last_words(site)[0]
    assert sentence in site.read().get_text()
    assert len(site.read().select("table")) == 1


@pytest.mark.parametrize("before", ["OLD", None])  # an older record does not say
def test_record_of_another_kind_of_processor_is_said_to_be_one(site, before):
    path = record(site)
    built(site)
    assert "processor" not in comparisons.agreement(site.docs)[0]
    content = json.loads(path.read_text(encoding="utf-8"))
    here = content["versions"].pop("instructions")
    content["versions"] |= {"instructions": before} if before else {}
    path.write_text(json.dumps(content), encoding="utf-8")
    told = f" of another kind ({before}; here {here})." in comparisons.agreement(site.docs)[0]
    assert told == bool(before)


def test_verdicts_that_differ_are_listed_on_the_page_and_in_the_log(site):
    record(site)
    site.measure(RATE, clear=[30.0, 30.1, 30.2], new=[6.0, 5.0, 8.0])
    site.measure(KEEP, open=[0.1, 0.1, 0.1])
    assert not site.build()
    assert "1 of 4 verdicts" in last_words(site)[0]
    table = cells(site.read().select("table.comparisons")[1])
    weak, undecided = "+6 (2 to 10) points: yes", "+1 (\N{MINUS SIGN}21 to 22) points: undecided"
    none = "+0.10 (\N{MINUS SIGN}0.15 to 0.35) points: no difference"
    assert table == [
        [RATE, "new", "missing", weak],
        [RATE, "weak", weak, "missing"],
        [KEEP, "open", undecided, none],
    ]
    assert f"  {KEEP}, open: {none}; on record: {undecided}" in site.log


def test_other_pages_are_not_missed_while_one_is_built(site, monkeypatch):
    record(site)
    evidence.path_of(KEEP).unlink()
    site.build()
    assert "2 of 3 verdicts" in last_words(site)[0]
    monkeypatch.setenv("BN_TUTORIAL_ONLY", RATE)
    assert not site.build()
    assert "2 of 2 verdicts" in last_words(site)[0]


def test_evidence_of_two_data_sets_is_compared_with_no_record(site):
    record(site)
    site.measure(KEEP, data="digits", open=[9.0, -8.0, 1.0])
    assert not site.build()
    assert "This build cannot be compared with a record" in last_words(site)[0]


def test_damaged_record_is_a_warning(site):
    record(site).write_text("{}")
    assert "mnist.json is damaged" in site.build()


# ---------------------------------------------------------------------------------------------
# nox -s record
# ---------------------------------------------------------------------------------------------


def test_record_is_written_from_a_whole_build_by_the_command_of_nox(site):
    built(site)
    environment = {**os.environ, "BN_TUTORIAL_EVIDENCE": str(site.root / "elsewhere")}
    command = [sys.executable, str(SCRIPT), "docs"]
    done = subprocess.run(
        command, cwd=site.root, env=environment, capture_output=True, text=True, check=True
    )
    path = site.docs / "record" / "mnist.json"
    assert done.stdout.strip() == f"The record is in {path.relative_to(site.root)}"
    assert evidence.read_record(path).effects[KEEP] == evidence.recall(KEEP).effects
    (site.root / f"tutorial_src/{RATE}.py").write_text("edited = 1\n")
    done = subprocess.run(command, cwd=site.root, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"No record was written: not built as they are now: {RATE}." in done.stderr


@pytest.mark.parametrize("missing", ["evidence", "marks"])
def test_no_record_is_written_of_a_build_that_is_not_whole(site, missing):
    if missing == "evidence":
        for page in GALLERY:
            evidence.path_of(page).unlink()
    built(site)
    if missing == "marks":
        (site.docs / f"gallery/{KEEP}.py.md5").unlink()
    with pytest.raises(LookupError, match=KEEP if missing == "marks" else "compared"):
        comparisons.write_record(site.docs)
    assert not (site.docs / "record").exists()


def test_record_is_plain_json_and_names_its_data(site):
    built(site)
    content = json.loads(comparisons.write_record(site.docs).read_text())
    assert content["data"] == {"name": "mnist", "title": "the mnist"}
    assert [one["name"] for one in content["effects"][RATE]] == ["clear", "weak"]
