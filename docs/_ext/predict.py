"""The directives ``predict`` and ``predictions``: the reader answers before the page does.

The answer is an effect, named as for the role ``effect`` and recalled when the site is built. With
the words of two verdicts the reader chooses among the four; with a scale, which says its ends and
its step, places a number; with several effects in one name, draws a curve::

    .. predict:: GN - BN, batches of {2, 8, 128}
       :scale: -20 60 2
       :axis: group normalization minus batch normalization, points
       :row: batches of

       How much is lost with small batches?

       2: yes, 128: opposite or undecided
          Little, until there are two.

What stands behind the question is said for a verdict, so that no build gives reasons for what it
has not found: of the terms, the first that holds is shown, else that none does. ``yes`` holds for
an effect of any size, as ``opposite`` does; ``none`` also for one that is too small to matter.

With ``:solved:`` it belongs to an exercise: instead of an effect it names an expression, which is
computed by the solution that follows on its page.

Without JavaScript there are the question and, folded, the answer. With it, what follows on the page
and begins with *In short.*, and the figure behind it, are covered until the reader has answered, or
has opened what came out; on paper nothing is. ``predictions`` stands for how many were answered in
this browser, and with ``:list:`` for the list of all, to which the others lead.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import dukpy
import widget
from course import pages
from docutils import nodes
from docutils.parsers.rst import directives
from evidence_roles import (
    amount,
    effect_named,
    estimate,
    gap,
    only_one_page,
    show_finding,
)
from sentences import first_sentence, sentences
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bn_tutorial.lab.effects import VERDICTS, Effect

#: What a reader may predict, and the verdicts with which it is right.
OUTCOMES = {
    "yes": ("yes", "size open", "small"),
    "none": ("none", "small", "opposite small"),
    "opposite": ("opposite", "opposite size open", "opposite small"),
    "undecided": ("undecided",),
}
HEAD = "**Predict, before you read on.**"
LIST = "predictions"  # its place on its page
OTHER = "The reasons that were written here are of other outcomes, and do not explain this one."
SETTLED = "In short."  # how the paragraph begins that gives the answer
WORDS = {"none": "no difference that matters", "undecided": "these runs cannot tell"}
SIZES = {"size open": ", and whether that matters is open", "small": ", but too little to matter"}
SEVERAL = re.compile(r"\{([^{}]*)\}")
OPTION = re.compile(r"^ {3}:(\w+): (.+)\n", re.MULTILINE)  # in a script
SOLUTION = re.compile(
    r"^```\{code-cell\} python\n---\n[^`]*?Solution,[^`]*?^---\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class predict(widget.widget):  # noqa: N801  (docutils' way to name nodes)
    """A question; its children are its text, and what is folded."""


class answer(nodes.General, nodes.Element):  # noqa: N801
    """What came out, and why."""


class predictions(widget.widget):  # noqa: N801
    """How far the reader is; its children are the list of the questions."""


# ---------------------------------------------------------------------------------------------
# What is asked, and what came out
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """What numbers the reader can place: the ends, a multiple of four steps apart, and the step."""

    low: float
    high: float
    step: float

    @property
    def tolerance(self) -> float:
        """How far from an estimate is near: a tenth of the scale."""
        return round((self.high - self.low) / 10, 6)


def scale(argument: str) -> Scale:
    """Read a scale.

    Raises
    ------
    ValueError
        If it is not two ascending numbers and a step of which a quarter of the scale has a whole
        number.
    """
    numbers = [float(number) for number in argument.split()]
    if len(numbers) != 3 or not numbers[0] < numbers[1] or numbers[2] <= 0:
        raise ValueError(f"expected two ascending numbers and a step, got {argument}")
    steps = (numbers[1] - numbers[0]) / 4 / numbers[2]
    if abs(steps - round(steps)) > 1e-9:
        raise ValueError(f"a quarter of the scale is no whole number of steps: {argument}")
    return Scale(*(int(number) if number.is_integer() else number for number in numbers))


def each(name: str) -> dict[str, str]:
    """Return the names that one with several in braces stands for, by what differs.

    Examples
    --------
    >>> each("GN - BN, batches of {2, 4}")
    {'2': 'GN - BN, batches of 2', '4': 'GN - BN, batches of 4'}
    >>> each("BN - none")
    {'': 'BN - none'}
    """
    if not (found := SEVERAL.search(name)):
        return {"": name}
    labels = [label.strip() for label in found[1].split(",")]
    return {label: name.replace(found[0], label) for label in labels}


def holds(term: str, verdicts: Mapping[str, str]) -> bool:
    """Tell whether conditions on verdicts hold, such as ``2: yes, 128: none or opposite``.

    Raises
    ------
    ValueError
        If they name no effect of the question, or no verdict.
    """
    for condition in term.split(","):
        label, _, words = condition.rpartition(":")
        if label.strip() not in verdicts:
            raise ValueError(f"{condition.strip()!r} is about none of: {', '.join(verdicts)}")
        outcomes = [word.strip() for word in words.split(" or ")]
        if unknown := [word for word in outcomes if word not in OUTCOMES and word not in VERDICTS]:
            known = ", ".join(OUTCOMES)
            raise ValueError(f"{unknown[0]!r} in {term!r} is no verdict, expected one of {known}")
        allowed = chain.from_iterable(OUTCOMES.get(word, (word,)) for word in outcomes)
        if verdicts[label.strip()] not in allowed:
            return False
    return True


def chosen(terms: list[str], verdicts: Mapping[str, str]) -> int | None:
    """Return the place of the first term that holds, if one does.

    Raises
    ------
    ValueError
        If a term is wrong.
    """
    held = [holds(term, verdicts) for term in terms]
    return held.index(True) if any(held) else None


def solved(expression: str, page: str) -> float:
    """Return what an expression is after the solution that follows its question.

    Raises
    ------
    ValueError
        If no solution follows.
    """
    if not (found := SOLUTION.search(page.partition(f"{{predict}} {expression}\n")[2])):
        raise ValueError(f"no executed solution follows {expression!r}")
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(found[1], "solution", "exec"), names)
    return float(eval(expression, names))


# ---------------------------------------------------------------------------------------------
# What the reader is shown
# ---------------------------------------------------------------------------------------------


@functools.cache
def interpreter() -> dukpy.JSInterpreter:
    """Return the widgets' JavaScript engine, which knows this one, too."""
    engine = widget.interpreter()
    engine.evaljs((widget.SCRIPTS / "predict.js").read_text(encoding="utf-8") + "; 0")
    return engine


def first_view(data: dict[str, Any]) -> str:
    """Return the form before anything is predicted."""
    view = interpreter().evaljs("bnWidgets.first('predict', dukpy.data)", data=data)
    return str(view["html"])


def options_of(effect: Effect, words: Mapping[str, str]) -> dict[str, Any]:
    """Return what the script needs to know where a verdict is chosen."""
    return {
        "options": [[name, escape(words[name])] for name in OUTCOMES],
        "right": right_for(effect),
        "came": escape(outcome(effect, words)),
    }


def right_for(effect: Effect) -> list[str]:
    """Return the choices that are right."""
    return [name for name, verdicts in OUTCOMES.items() if effect.verdict in verdicts]


def outcome(effect: Effect, words: Mapping[str, str]) -> str:
    """Return what came out, in the words of the choices."""
    right = right_for(effect)
    direction = next(name for name in ("yes", "opposite", *right) if name in right)
    size = next((told for ends, told in SIZES.items() if effect.verdict.endswith(ends)), "")
    return f"{words[direction]}{size}"


def heading(options: Mapping[str, str], effects: Mapping[str, Effect]) -> str:
    """Return what an answer's numbers are of: it is read without the question, too."""
    if "axis" in options:
        return capital(options["axis"])
    (effect,) = effects.values()
    name = effect.name.replace(" - ", " minus ")
    return f"{capital(outcome(effect, WORDS | dict(options)))}. {capital(name)}"


def capital(text: str) -> str:
    """Return a text that can begin a sentence."""
    return text[:1].upper() + text[1:]


def points_of(effects: Mapping[str, Effect], on: Scale, axis: str) -> dict[str, Any]:
    """Return what the script needs to know where numbers are placed, by the names of their rows."""
    first = next(iter(effects.values()))
    near = amount(on.tolerance, first.unit)
    which = "A circle" if len(effects) > 1 else "It"
    points = [
        {"label": escape(label), "mean": e.mean, "low": e.low, "high": e.high, "text": estimate(e)}
        for label, e in effects.items()
    ]
    rule = (
        f"{which} counts as right in the interval of what came out, or at most {near} from the "
        "middle of it and on the same side of 0."
    )
    return {
        **placed(on, axis, first.unit),
        "points": points,
        "difference": True,
        "tolerance": on.tolerance,
        "rule": rule,
    }


def solution_of(value: float, on: Scale, axis: str) -> dict[str, Any]:
    """Return what the script needs to know where an exercise has one number for an answer."""
    text = f"{value:.6g}"
    point = {"label": "", "mean": value, "low": value, "high": value, "text": text}
    half = on.step * 0.501  # the nearest place on the scale
    told = {"points": [point], "tolerance": half, "exercise": True}
    return {**placed(on, axis, ""), **told}


def placed(on: Scale, axis: str, unit: str) -> dict[str, Any]:
    """Return what the script needs to know of the scale; circles start where it says nothing."""
    start = 0 if on.low <= 0 else on.low
    ends = {"low": on.low, "high": on.high, "step": on.step}
    return {**ends, "axis": escape(axis), "unit": unit, "start": start}


class Predict(SphinxDirective):
    """``predict`` with the name of an effect, the question, and what to say of each outcome."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "yes": directives.unchanged_required,
        "opposite": directives.unchanged_required,
        "scale": scale,
        "axis": directives.unchanged_required,
        "row": directives.unchanged_required,
        "solved": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the question with its answer; a gap for it, while one page is built."""
        self.assert_has_content()
        name = " ".join(self.arguments[0].split())
        try:
            return [self.exercise(name) if "solved" in self.options else self.question(name)]
        except ValueError as error:
            raise self.error(f"predict {name!r}: {error}") from error
        except LookupError as missing:
            if not only_one_page():
                raise self.error(f"predict {name!r}: {missing}") from missing
            return [nodes.paragraph("", "", gap(name))]

    def question(self, name: str) -> predict:
        """Return a question that a recorded effect answers."""
        found = {label: effect_named(one, self.env) for label, one in each(name).items()}
        effects = {label: effect for label, (_, effect) in found.items()}
        row = f"{self.options.get('row', '')} "
        if "scale" in self.options:
            rows = {f"{row}{label}".strip(): effect for label, effect in effects.items()}
            data = points_of(rows, *self.on())
        elif "" not in effects:
            raise ValueError("a curve needs a scale")
        else:
            data = options_of(effects[""], WORDS | self.words())
        *text, outcomes = self.parse_content_to_nodes()
        if not text or not isinstance(outcomes, nodes.definition_list):
            raise ValueError("expected a question, and then a list of what to say of each outcome")
        terms = [item[0].astext() for item in outcomes]
        verdicts = {label: effect.verdict for label, effect in effects.items()}
        place = chosen(terms, verdicts)  # another processor may find what no one expected
        why = [nodes.paragraph("", OTHER)] if place is None else outcomes[place][-1].children
        about = heading(self.options, effects)
        if "" in found:
            came = [nodes.paragraph("", f"{about}: ", show_finding(*found[""]))]
        else:
            each_row = [
                nodes.list_item(
                    "", nodes.paragraph("", f"{row}{label}: ".lstrip(), show_finding(*one))
                )
                for label, one in found.items()
            ]
            came = [nodes.paragraph("", f"{about}:"), nodes.bullet_list("", *each_row)]
        return self.shown(name, data, text, [*came, *why])

    def exercise(self, name: str) -> predict:
        """Return a question that the solution below answers."""
        page = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
        data = solution_of(solved(name, page), *self.on())
        return self.shown(name, data, self.parse_content_to_nodes(), [])

    def on(self) -> tuple[Scale, str]:
        """Return the scale and what it is of."""
        if missing := {"scale", "axis"} - self.options.keys():
            raise ValueError(f"the option {missing.pop()!r} is missing")
        return self.options["scale"], self.options["axis"]

    def words(self) -> dict[str, str]:
        """Return the words for the two outcomes that each question has words of its own for."""
        if missing := {"yes", "opposite"} - self.options.keys():
            raise ValueError(f"the option {missing.pop()!r} is missing, or a scale")
        return {name: self.options[name] for name in ("yes", "opposite")}

    def shown(
        self, name: str, data: dict[str, Any], text: list[nodes.Node], came: list[nodes.Node]
    ) -> predict:
        """Return the node, and note it for the list if it asks for what was measured."""
        anchor = nodes.make_id(f"predict {name}")
        key = f"{self.env.docname}#{anchor}"
        first = next(node for node in text if isinstance(node, nodes.paragraph))
        asked = " ".join(node.astext() for node in text)
        data = {"key": key, **data}
        if "exercise" in data:  # of which a page has several
            data["title"] = f"Your answer: {escape(name)}"
        if came:
            questions = [one for one in sentences(asked) if one.endswith("?")]
            self.env.__dict__.setdefault("predictions", {})[key] = (
                questions[-1] if questions else first_sentence(asked)
            )
            first.insert(0, [nodes.strong("", HEAD.strip("*")), nodes.Text(" ")])
        form = {"html": first_view(data), "data": json.dumps(data).replace("<", r"\u003c")}
        return predict("", *text, answer("", *came, **form), name="predict", ids=[anchor])


def cover(_app: Sphinx, doctree: nodes.document, _docname: str) -> None:
    """Mark what gives the answer right behind a question, for widgets.css to cover."""
    for question in doctree.findall(predict):
        behind = question.parent[question.parent.index(question) + 1 :][:2]
        if behind and behind[0].astext().startswith(SETTLED):
            for node in behind:
                if node is behind[0] or "lead-figure" in node.get("classes", []):
                    node["classes"].append("bn-settles")


def visit(self: Any, node: predict) -> None:
    """Open the box."""
    opened = '<div class="bn-widget bn-predict" data-widget="predict"'
    self.body.append(f'{opened} id="{node["ids"][0]}">')


def depart(self: Any, _: predict) -> None:
    """Close it."""
    self.body.append("</div>\n")


def visit_answer(self: Any, node: answer) -> None:
    """Write the form and its data, and begin what is folded."""
    self.body.append(f'{node["html"]}<script type="application/json">{node["data"]}</script>')
    if node.children:
        self.body.append('<details class="bn-answer"><summary>What came out</summary>')


def depart_answer(self: Any, node: answer) -> None:
    """End it."""
    if node.children:
        self.body.append("</details>")


def in_words(source: str, effects: Mapping[str, Effect] | None) -> str:
    """Return a question of a script as paragraphs, for who takes it along.

    Parameters
    ----------
    source : str
        The directive as it is written, in reStructuredText; what it says may hold roles.
    effects : mapping of str to Effect or None
        Of its page, by name; None where nothing is known: then no answer is given.
    """
    head, _, body = source.partition("\n")
    options = dict(OPTION.findall(body))
    question: list[str] = []
    outcomes: dict[str, str] = {}
    for paragraph in textwrap.dedent(OPTION.sub("", body)).strip().split("\n\n"):
        term, _, meaning = paragraph.strip("\n").partition("\n")
        if meaning.startswith(" "):
            outcomes[term] = textwrap.dedent(meaning)
        else:
            question.append(paragraph.strip("\n"))
    if "scale" not in options:
        words = [(WORDS | options)[name] for name in OUTCOMES]
        question.append(textwrap.fill(f"(Choose one: {'; '.join(words)}.)", 95))
    told = [f"{HEAD}\n{question[0]}", *question[1:]]
    if effects is not None:
        names = each(head.removeprefix(".. predict:: "))
        rows = [
            f"{options.get('row', '')} {label}: :finding:`{name}`".removeprefix(" : ").strip()
            for label, name in names.items()
        ]
        came = {label: effects[name] for label, name in names.items()}
        verdicts = {label: effect.verdict for label, effect in came.items()}
        place = chosen(list(outcomes), verdicts)
        why = OTHER if place is None else list(outcomes.values())[place]
        told += [f"**What came out.** {heading(options, came)}: {'; '.join(rows)}.", why]
    return "\n\n".join(told)


# ---------------------------------------------------------------------------------------------
# How far the reader is
# ---------------------------------------------------------------------------------------------


class Predictions(SphinxDirective):
    """``predictions``, with or without the list."""

    option_spec: ClassVar = {"list": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Leave a place for it, until all pages are read."""
        if "list" in self.options:
            self.env.__dict__["predictions_page"] = self.env.docname
        return [predictions("", name="predict", listed="list" in self.options)]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Tell each place of the questions, in the order of the course."""
    known: dict[str, str] = getattr(app.env, "predictions", {})
    order = pages(app.env)
    keys = sorted(
        known, key=lambda key: (*order, key.partition("#")[0]).index(key.partition("#")[0])
    )
    for place in doctree.findall(predictions):
        place["keys"] = keys
        if page := getattr(app.env, "predictions_page", ""):
            place["list"] = f"{app.builder.get_relative_uri(docname, page)}#{LIST}"
        if not place["listed"]:
            continue
        items = nodes.enumerated_list(enumtype="arabic")
        for key in keys:
            page, _, anchor = key.partition("#")
            target = f"{app.builder.get_relative_uri(docname, page)}#{anchor}"
            title = app.env.titles[page].astext()
            link = nodes.reference("", title, refuri=target, internal=True)
            asked = nodes.Text(f": {known[key]}")
            mark = f' <span class="bn-known" data-key="{escape(key)}"></span>'
            text = nodes.paragraph("", "", link, asked, nodes.raw("", mark, format="html"))
            items += nodes.list_item("", text)
        place += items


def visit_predictions(self: Any, node: predictions) -> None:
    """Write how many there are; the script says how many of them were answered."""
    keys = escape(json.dumps(node["keys"]))
    count, place = f"{len(node['keys'])} questions", ""
    if node["listed"]:
        place = f' id="{LIST}"'
    elif "list" in node:
        count = f'<a class="reference internal" href="{node["list"]}">{count}</a>'
    told = f"On the way {count} ask you to predict before you read."
    self.body.append(
        f'<div class="bn-progress" data-questions="{keys}"{place}><p>{told}'
        ' <span class="bn-count"></span>'
        ' <button type="button" class="bn-button" hidden>Forget them</button></p>'
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all; the scripts are loaded as for any widget."""
    app.setup_extension("widget")
    app.add_node(predict, html=(visit, depart))
    app.add_node(answer, html=(visit_answer, depart_answer))
    app.add_node(predictions, html=(visit_predictions, depart))
    app.add_directive("predict", Predict)
    app.add_directive("predictions", Predictions)
    app.connect("doctree-resolved", fill)
    app.connect("doctree-resolved", cover)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
