import json
import math

import pytest
import sympy

from bn_tutorial.lab.checks import ROUNDING, Checks

a, b = sympy.symbols("a b")


def test_counts_and_the_largest_residual_are_kept_and_written(tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CHECKS", str(tmp_path / "checks"))
    checks = Checks("page")
    checks.holds("first", -3e-14, broken={"x": 1.0, "y": -0.5})
    checks.holds("second", 1e-15, broken={"x": 1.0})
    checks.is_zero("third", (a + b) ** 2 - a**2 - b**2 - 2 * a * b, broken={"x": a * b})
    written = json.loads((tmp_path / "checks" / "page.json").read_text())
    assert written == {
        "page": "page",
        "numeric": 2,
        "symbolic": 1,
        "statistical": 0,
        "caught": 4,
        "largest": 3e-14,
    }


def test_digits_are_shown_of_measurements_and_not_of_rounding_errors():
    checks = Checks("page")
    assert "< 1e-12  holds" in checks.holds("identity", 3e-15, broken={"x": 1.0})
    bounds = {"tolerance": 0.05, "visible": 0.1}
    assert "2.0e-02  holds" in checks.holds("experiment", 0.02, **bounds, broken={"x": 1.0})


def test_counts_are_written_again_after_each_check_below_the_folder_of_the_page(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("BN_TUTORIAL_CHECKS", str(tmp_path))
    checks = Checks("part/page-1")
    for count in (1, 2):
        checks.holds(f"identity {count}", 0.0, broken={"x": 1.0})
        written = json.loads((tmp_path / "part" / "page-1.json").read_text())
        assert written["numeric"] == count
    assert [path.name for path in tmp_path.rglob("*.*")] == ["page-1.json"]


@pytest.mark.parametrize(
    "page",
    ["../../x", "..", "/x", "x/", "a//b", "a/../b", "", ".", "a.b", "a b", "a\\b", "ä", "a\n"],
)
def test_page_whose_file_would_lie_elsewhere_is_a_value_error(page):
    with pytest.raises(ValueError, match="expected a name of letters, digits, _ and -") as error:
        Checks(page)
    assert repr(page) in str(error.value)


def test_folder_of_counts_that_is_a_file_is_named_with_its_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BN_TUTORIAL_CHECKS", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"file is a file.*set BN_TUTORIAL_CHECKS"):
        Checks("page").holds("sum", 0.0, broken={"x": 1.0})


def test_random_experiment_counts_apart_and_not_towards_the_largest_residual():
    checks = Checks("page")
    checks.holds("identity", 1e-14, broken={"x": 1.0})
    checks.holds("experiment", 0.02, tolerance=0.05, visible=0.1, broken={"x": 1.0})
    assert (checks.numeric, checks.statistical, checks.caught) == (1, 1, 2)
    assert checks.largest == 1e-14


@pytest.mark.parametrize("residual", [2e-12, -2e-12, math.nan, math.inf])
def test_identity_that_does_not_hold_fails(residual):
    with pytest.raises(AssertionError, match=r"^sum: residual"):
        Checks("page").holds("sum", residual, broken={"x": 1.0})


@pytest.mark.parametrize("residual", [0.0, 1e-4, math.nan, math.inf])
def test_broken_variant_that_nobody_would_notice_fails(residual):
    with pytest.raises(AssertionError, match=r"'x' was not caught"):
        Checks("page").holds("sum", 0.0, broken={"fine": 1.0, "x": residual})


def test_residuals_that_equal_their_bounds_pass_and_one_equal_to_rounding_is_no_experiment():
    checks = Checks("page")
    checks.holds("sum", ROUNDING, tolerance=ROUNDING, visible=0.5, broken={"x": 0.5})
    assert (checks.numeric, checks.statistical, checks.largest) == (1, 0, ROUNDING)
    checks.holds("experiment", 0.0, tolerance=1e-6, broken={"x": 0.5})
    assert (checks.numeric, checks.statistical) == (1, 1)


def test_failed_check_is_not_counted():
    checks = Checks("page")
    with pytest.raises(AssertionError):
        checks.holds("sum", 1.0, broken={"x": 1.0})
    with pytest.raises(AssertionError):
        checks.is_zero("sum of symbols", a, broken={"x": b})
    assert (checks.numeric, checks.symbolic, checks.caught) == (0, 0, 0)


def test_algebra_that_does_not_hold_fails():
    with pytest.raises(AssertionError, match="does not simplify to zero"):
        Checks("page").is_zero("sum", a - b, broken={"x": a})


def test_broken_algebra_that_vanishes_fails():
    with pytest.raises(AssertionError, match="'x' was not caught"):
        Checks("page").is_zero(
            "sum", a - a, broken={"x": sympy.sin(a) ** 2 + sympy.cos(a) ** 2 - 1}
        )


def test_matrices_are_compared_whole():
    checks = Checks("page")
    checks.is_zero("matrix", sympy.zeros(2), broken={"one entry": sympy.Matrix([[0, a], [0, 0]])})
    with pytest.raises(AssertionError):
        checks.is_zero("other", sympy.Matrix([[0, a]]), broken={"x": a})


def test_check_without_a_broken_variant_or_made_twice_is_refused():
    checks = Checks("page")
    with pytest.raises(ValueError, match="at least one broken variant"):
        checks.holds("sum", 0.0, broken={})
    checks.holds("sum", 0.0, broken={"x": 1.0})
    with pytest.raises(ValueError, match="checked before"):
        checks.is_zero("sum", a - a, broken={"x": a})
    with pytest.raises(ValueError, match="more than the tolerance"):
        checks.holds("other", 0.0, broken={"x": 1.0}, tolerance=1e-2)
    with pytest.raises(ValueError, match="more than the tolerance"):
        checks.holds("other", 0.0, broken={"x": 1.0}, tolerance=1e-2, visible=1e-2)
