"""Every script of the gallery keeps to the anatomy that readers rely on: the answer first."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "tutorial_src"
ALL = {
    path.relative_to(FOLDER).with_suffix("").as_posix(): path
    for path in sorted(FOLDER.glob("*/*.py"))
}
STORY = "00_first/plot_01_watch_a_network_fail"  # it compares nothing, and uses nothing of ours
SCRIPTS = {name: path for name, path in ALL.items() if name != STORY}
HEADINGS = ("**The question.**", "**In short.**", ".. lead-figure::", "**What was done.**")

each_script = pytest.mark.parametrize("name", SCRIPTS)


def parsed(name):
    return ast.parse(SCRIPTS[name].read_text())


def calls(tree, function):
    """The calls of a function, or of a method, by its last name."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", None)) == function
    ]


def cells(name):
    """The text cells and code cells of a script, in order: (whether text, source)."""
    source = SCRIPTS[name].read_text()
    found = []
    for part in re.split(r"^# %%.*\n", source, flags=re.MULTILINE)[1:]:
        text = re.match(r"(?:#.*\n)*", part)[0]
        is_text = bool(text) and not text.startswith("# fold: ")
        if is_text:
            found.append((True, re.sub(r"^# ?", "", text, flags=re.MULTILINE)))
            part = part[len(text) :]
        if part.strip():
            found.append((False, part.lstrip("\n")))
    return found


@pytest.mark.parametrize("name", ALL)
def test_script_is_named_by_its_order_and_a_verb(name):
    assert re.fullmatch(r"\d\d_[a-z_]+/plot_\d\d_[a-z_]+", name)


def test_every_section_has_a_header():
    sections = {name.split("/")[0] for name in ALL}
    assert len(sections) == 7
    for section in sections:
        assert (FOLDER / section / "GALLERY_HEADER.rst").is_file()


@each_script
def test_question_answer_figure_and_what_was_done_come_first_and_in_this_order(name):
    text = ast.get_docstring(parsed(name))
    lines = text.splitlines()
    assert set(lines[1]) == {"="}
    assert len(lines[1]) >= len(lines[0])
    places = [text.find(heading) for heading in HEADINGS]
    assert -1 not in places, [h for h, p in zip(HEADINGS, places, strict=True) if p < 0]
    assert places == sorted(places)


@each_script
def test_answer_recalls_what_it_says(name):
    text = ast.get_docstring(parsed(name))
    answer = text.split("**In short.**")[1].split(".. lead-figure::")[0]
    assert re.search(r":(effect|finding|value|verdict):`", answer)
    assert len(re.sub(r":\w+:`[^`]*`", "", answer).split()) <= 110


@each_script
def test_one_figure_is_the_lead_and_every_figure_is_described(name):
    figures = calls(parsed(name), "new_figure")
    options = [{keyword.arg for keyword in call.keywords} for call in figures]
    assert all("alt" in option for option in options)
    assert sum("lead" in option for option in options) == 1
    assert "plt." not in SCRIPTS[name].read_text()


@each_script
def test_what_only_draws_is_folded_or_short(name):
    for is_text, source in cells(name):
        drawn = len(re.findall(r"^\s*(?:\w*ax\w*|figure|left|right)\b.*\.\w+\(", source, re.M))
        if not is_text and drawn > 6:
            assert source.startswith("# fold: "), source.splitlines()[0]


@each_script
def test_evidence_is_saved_under_the_scripts_own_name_before_the_last_checks(name):
    tree = parsed(name)
    (evidence,) = calls(tree, "Evidence")
    page = evidence.args[0]
    if isinstance(page, ast.Name):  # a constant of the script
        page = next(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == page.id
        )
    assert page.value == name
    (save,) = calls(tree, "save")
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert checks
    assert max(node.lineno for node in checks) > save.lineno


@each_script
def test_claims_fit_beside_the_bars_of_their_picture(name):
    (evidence,) = calls(parsed(name), "Evidence")
    claims = [option.value for option in evidence.keywords if option.arg == "claims"]
    words = [words for claim in claims for words in ast.literal_eval(claim).values()]
    assert all(0 < len(one) <= 32 for one in words), words


@each_script
def test_no_interval_is_taken_apart_and_no_condition_asks_for_the_data(name):
    source = SCRIPTS[name].read_text()
    assert re.findall(r"_(?:low|high|verdict)\b", source) == []
    assert "data.name ==" not in source


@each_script
def test_script_ends_with_something_to_try_and_what_comes_next(name):
    text = "\n".join(source for is_text, source in cells(name)[-1:] if is_text)
    assert "**Try it.**" in text
    assert re.search(r"Next.*:doc:`", text, re.DOTALL)


@each_script
def test_script_says_what_its_answer_does_not_hold_for(name):
    text = "\n".join(source for is_text, source in cells(name) if is_text)
    assert re.search(r"^\*\*Limits\.\*\* \S+( \S+)+", text, re.MULTILINE)


@each_script
def test_steps_of_a_horizon_are_given_in_epochs_too(name):
    (evidence,) = calls(parsed(name), "Evidence")
    told = [evidence, *calls(parsed(name), "compare")]
    horizons = [
        ast.unparse(option.value)
        for call in told
        for option in call.keywords
        if option.arg == "horizon"
    ]
    assert all("epoch" in horizon for horizon in horizons if "steps" in horizon), horizons


# ---------------------------------------------------------------------------------------------
# How much of the code teaches
# ---------------------------------------------------------------------------------------------

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
NO_CODE |= {tokenize.ENDMARKER}


def code_lines(source):
    """The numbers of the lines with code: no blank ones, comments or docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = [(t.start[0], t.end[0]) for t in tokens if t.type not in NO_CODE]
    texts = [
        (node.lineno, node.end_lineno)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    code, text = (
        {line for first, last in found for line in range(first, last + 1)}
        for found in (spans, texts)
    )
    return code - text


def lines_that_teach(name):
    """How many lines of code a script has, and how many of them teach.

    What teaches stands open: the settings and all that is computed and compared. What does not are
    imports, and the folded cells, which draw or keep books.
    """
    source = SCRIPTS[name].read_text()
    imports = [n for n in parsed(name).body if isinstance(n, ast.Import | ast.ImportFrom)]
    without = sum(node.end_lineno - node.lineno + 1 for node in imports)
    folded = [cell for is_text, cell in cells(name) if not is_text and cell.startswith("# fold: ")]
    without += sum(len(code_lines(cell)) for cell in folded)
    return len(code_lines(source)), len(code_lines(source)) - without


def test_lines_of_code_are_counted_without_texts():
    source = '"""Text\nof a script."""\n\n# A comment.\na = [\n    1,\n]\n\nf(a)  # and more\n'
    assert code_lines(source) == {5, 6, 7, 9}


def test_at_least_half_of_the_code_of_the_experiments_teaches():
    counted = [lines_that_teach(name) for name in SCRIPTS if name.startswith("03_in_training/")]
    lines, teaching = map(sum, zip(*counted, strict=True))
    assert teaching / lines >= 0.5


def test_story_runs_wherever_torch_and_torchvision_are():
    tree = ast.parse(ALL[STORY].read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {
        name.split(".")[0]
        for node in imports
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else map(ast.unparse, node.names)
        )
    }
    assert modules == {"os", "torch", "torchvision"}


def test_network_of_the_story_is_short_and_its_cure_has_seven_lines():
    source = ALL[STORY].read_text()
    tree = ast.parse(source)
    named = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }

    def lines(*names):
        """Lines of code without docstrings, blank lines and the line that opens a class."""
        text = "\n".join(ast.unparse(named[name]) for name in names)
        return [line for line in text.splitlines() if line.strip() and '"""' not in line]

    assert len(lines("read", "network", "train", "answers", "accuracy")) <= 60
    assert len(lines("BatchNorm")) - 2 == 7  # without the lines `class` and `super`


def test_story_lets_the_reader_predict_and_says_what_comes_next():
    source = ALL[STORY].read_text()
    assert source.count("**Predict.**") >= 4
    assert "**Try it.**" in source
    assert "Next: " in source


def course():
    """The pages of the course in order."""
    text = (FOLDER.parent / "docs" / "course.md").read_text().split("{course}")[1]
    lines = [line.removeprefix("further: ") for line in text.splitlines()]
    return [line for line in lines if re.fullmatch(r"[\w/]+", line)]


@pytest.mark.parametrize("name", ALL)
def test_what_comes_next_is_what_the_course_says(name):
    pages, here = course(), f"gallery/{name}"
    text = re.split(r"^# Next", ALL[name].read_text(), flags=re.M)[1]
    target = re.search(r":doc:`[^`]*?([\w/]+)>?`", text)[1]
    if not target.startswith("/"):
        target = f"/{here.rpartition('/')[0]}/{target}"
    assert target[1:] == pages[pages.index(here) + 1]


@pytest.mark.parametrize(
    "word", ["but for", "whatever it", "whatever they", "rectifier", "not supported", "supported"]
)
def test_words_are_plain(word):
    for name, path in ALL.items():
        assert word not in path.read_text().lower(), name
