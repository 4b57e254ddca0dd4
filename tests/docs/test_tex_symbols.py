import pytest
from tex_symbols import gradient_of, mark, parts_of

NAMES = {
    "x": "x",
    r"\hat x": "xhat",
    r"\mu": "mu",
    r"x - \mu": "xmu",
    r"\sigma^2": "var",
    r"\mu_*": "all",
    "m": "m",
    r"\bar r": "rbar",
    "r": "r",
}
SYMBOLS = {parts_of(tex): name for tex, name in NAMES.items()}
GRADIENTS = {parts_of(gradient_of(tex)): f"d{name}" for tex, name in NAMES.items()}


def marked(tex):
    return mark(tex, SYMBOLS | GRADIENTS, lambda name, text: f"<{name}:{text}>")


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"x + \hat x", r"<x:x> + <xhat:\hat x>"),
        (r"\hat x_i^2 x_{i + 1} x'", r"<xhat:\hat x_i^2> <x:x_{i + 1}> <x:x'>"),
        (r"\bar r r^3 \bar x", r"<rbar:\bar r> <r:r^3> \bar x"),
        (
            r"\sigma^2 \sigma \sigma_i^2 \sigma^3",
            r"<var:\sigma^2> \sigma <var:\sigma_i^2> \sigma^3",
        ),
    ],
)
def test_symbol_is_found_with_its_indices_and_powers_and_its_accent(tex, expected):
    assert marked(tex) == expected


def test_index_of_all_data_makes_another_symbol():
    assert marked(r"\mu_* - \mu x_*") == r"<all:\mu_*> - <mu:\mu> x_*"


def test_difference_is_a_symbol_that_holds_two():
    assert marked(r"(x_i - \mu)^2") == r"(<xmu:<x:x_i> - <mu:\mu>>)^2"
    assert marked(r"x_i - \mu_*") == r"<x:x_i> - <all:\mu_*>"


def test_gradient_is_a_symbol_of_its_own():
    assert marked(r"\d\hat x_i = \d(x_i - \mu)") == r"<dxhat:\d\hat x_i> = <dxmu:\d(x_i - \mu)>"


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"\frac1m x", r"\frac1{<m:m>} <x:x>"),
        (r"\frac m2 x", r"\frac {<m:m>}2 <x:x>"),
        (r"\frac{x}m", r"\frac{<x:x>}{<m:m>}"),
        (r"\sum_{i=1}^m x_i", r"\sum_{i=1}^{<m:m>} <x:x_i>"),
        (r"\sqrt\mu_*", r"\sqrt{<mu:\mu>}_*"),
        (r"\overline x x", r"\overline {<x:x>} <x:x>"),
    ],
)
def test_argument_without_braces_gets_them(tex, expected):
    assert marked(tex) == expected


@pytest.mark.parametrize(
    "tex", [r"\operatorname{max}", r"\text{for } ", r"\begin{matrix}", r"\tilde x"]
)
def test_what_letters_spell_is_left_alone(tex):
    assert marked(tex) == tex


@pytest.mark.parametrize(
    "tex", [r"\frac{1}{m} \sum_i (x_i - \mu)^2", "a\n& b \\\\ \\{c\\}", r"{r}^{-1}\,"]
)
def test_all_else_stays_as_it_was(tex):
    assert mark(tex, SYMBOLS, lambda _, text: text) == tex
