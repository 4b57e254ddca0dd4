"""What an examination has found: printed, asserted in a test, or drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from bn_tutorial.networks import regather
from bn_tutorial.networks.batches import Forward

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Every code that a finding can have, and what it means in a few words.
CODES = {
    "nan-statistics": "running statistics that are NaN, infinite or negative",
    "huge-statistics": "running statistics far from any activation",
    "never-gathered": "running statistics as they were made: mean 0, variance 1",
    "stale-statistics": "running statistics of other activations than today's",
    "averaged-weights": "weights that were averaged, with statistics of before",
    "eval-worse": "worse in eval mode, though the statistics are right",
    "uneven-counters": "layers that counted different numbers of batches",
    "swapped-momentum": "a momentum that weighs the old value elsewhere",
    "track-running-stats": "settings of one layer that contradict each other",
    "depends-on-the-batch": "a prediction that depends on its batch",
    "frozen-but-moving": "gamma and beta are frozen, the statistics move",
    "half-frozen": "the statistics are frozen, gamma and beta learn",
    "eps-underflow": "an eps that is zero in the precision of the layer",
    "layer-refuses": "a layer that refuses its input",
    "one-value": "a mean of a single value",
    "small-batches": "means of very few values",
    "batch-of-one": "batch normalization that is instance normalization",
    "last-batch": "a last batch of few samples",
    "batches-not-random": "batches that are no random samples",
    "several-distributions": "one layer for several distributions",
    "dropout-in-front": "dropout before a normalization",
    "dead-channels": "constant channels, where eps decides",
    "lost-digits": "a mean so large that the spread is rounded away",
    "gamma-zero": "a layer that passes nothing on",
    "bias-without-effect": "a bias that the mean takes away again",
    "nan-activations": "NaN or infinity before the normalization",
    "no-grad-is-not-eval": "passes without gradient that move the statistics",
    "double-counting": "batches that are counted twice",
    "eval-backward": "a gradient with statistics that came later",
}

#: The pages of *Find the fault*, and of which codes each has the section.
PAGES = {
    "batch_size": ("layer-refuses", "one-value", "small-batches", "last-batch"),
    "distributions": ("several-distributions",),
    "eval_mode": (
        *("never-gathered", "stale-statistics", "eval-worse", "swapped-momentum"),
        *("track-running-stats", "depends-on-the-batch", "batch-of-one", "batches-not-random"),
        "dropout-in-front",
    ),
    "freezing": (
        *("uneven-counters", "frozen-but-moving", "half-frozen", "no-grad-is-not-eval"),
        "double-counting",
    ),
    "half_precision": ("nan-statistics", "huge-statistics", "eps-underflow", "nan-activations"),
    "loading": ("averaged-weights",),
    "numbers": ("lost-digits",),
    "processes": ("eval-backward",),
    "training": ("dead-channels", "gamma-zero", "bias-without-effect"),
}

#: From the worst on, as they are printed.
LEVELS = {"error": "ERROR", "warning": "WARN", "note": "NOTE"}

_LINES = 25
_WIDTH = 110
_FIXES = 6, 8  # remedies at most, and their lines
_FIRST = 4  # findings that have their line before the remedies have theirs


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes
    ----------
    level : str
        ``"error"``: predictions are wrong, or will be; ``"warning"``: likely a mistake;
        ``"note"``: a fact that does no harm here.
    code : str
        A key of ``CODES``.
    summary : str
        What and where, with the values and the thresholds that they passed.
    layers : tuple of str
        The names of the modules.
    details : tuple of str
        More lines, printed where there is room.
    remedy : str
        One line of code, with ``model``, ``loader``, ``report``, ``nn`` and ``torch`` as they are.
    tried : str
        What the remedy did on a copy; empty if it was not tried.
    """

    level: str
    code: str
    summary: str
    layers: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    remedy: str = ""
    tried: str = ""

    def __post_init__(self) -> None:
        """Refuse a code that no page explains."""
        if self.code not in CODES or self.level not in LEVELS:
            raise ValueError(f"no finding is {self.level!r} {self.code!r}")

    @property
    def label(self) -> str:
        """The label of the section of *Find the fault* that explains it."""
        return f"fault-{self.code}"

    @property
    def address(self) -> str:
        """Where that section is, from the first page of the site."""
        page = next(page for page, codes in PAGES.items() if self.code in codes)
        return f"faults/{page}.html#{self.label}"


@dataclass(frozen=True)
class Row:
    """How well the model does with some statistics; None where that is not known."""

    name: str
    accuracy: float | None
    loss: float | None
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """What an examination has found, worst first.

    Attributes
    ----------
    subject : str
        What was examined.
    verdict : str
        The whole in one sentence.
    seen : str
        The layers and the batches.
    findings : list of Finding
        Worst first.
    rows : list of Row
        How well the model does with which statistics.
    sound : list of str
        What was checked and is in order.
    unchecked : list of str
        What was not, and why.
    failed : list of str
        Trials that ended in an error of the model, with the whole text of it.
    shifts : dict of str to float
        How far the running statistics of each layer are off, in standard deviations.
    threshold : float
        Up to where that is no matter.
    costs : dict of str to float
        What the running statistics of each layer alone cost in loss, those of all others being
        gathered anew; the costliest first. Layers that are not there were not measured.
    forward : callable or None
        How the model was run.
    """

    subject: str
    verdict: str
    seen: str
    findings: list[Finding]
    rows: list[Row] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    shifts: dict[str, float] = field(default_factory=dict)
    threshold: float = 0.05
    costs: dict[str, float] = field(default_factory=dict)
    forward: Forward | None = None

    def __post_init__(self) -> None:
        """Sort the findings."""
        order = [*LEVELS]
        self.findings.sort(key=lambda found: order.index(found.level))

    def of_level(self, level: str) -> list[Finding]:
        """Return the findings of a level, such as ``"warning"``."""
        return [found for found in self.findings if found.level == level]

    @property
    def errors(self) -> list[Finding]:
        """What makes predictions wrong: ``assert not examine(model, loader).errors``."""
        return self.of_level("error")

    @property
    def alarms(self) -> list[Finding]:
        """Errors and warnings."""
        return [found for found in self.findings if found.level != "note"]

    @property
    def codes(self) -> list[str]:
        """The codes of the findings, worst first."""
        return [found.code for found in self.findings]

    def layers(self, code: str) -> list[str]:
        """Return the names of all layers with a finding of this code, for a remedy."""
        return [name for found in self.findings if found.code == code for name in found.layers]

    def gather_anew(self, model: nn.Module, loader: Iterable[Any]) -> None:
        """Gather the statistics of a model anew, as it was tried: a remedy where others would fail.

        See :func:`bn_tutorial.networks.regather.gather_anew`.
        """
        regather.gather_anew(model, loader, self.forward)

    def __str__(self) -> str:
        """Lay the report out in at most 25 lines, the verdict first."""
        head = [self.verdict, f"{self.subject}: {self.seen}", *_table(self.rows)]
        foot = _wrap(f"OK   {', '.join(self.sound)}") if self.sound else []
        foot += [line for error in self.failed for line in _wrap(f"TRIAL FAILED  {error}")]
        if self.unchecked:
            foot += _wrap(f"NOT CHECKED  {'; '.join(self.unchecked)}", 3)
        if self.findings:
            addresses = dict.fromkeys(found.address for found in self.findings)
            foot += _wrap(f"see  {', '.join(addresses)}", 3)
        room = _LINES - len(head) - len(foot)
        fixes = self._remedies(room - min(_FIRST, len(self.findings)))
        return "\n".join([*head, *self._body(room - len(fixes)), *fixes, *foot])

    def _body(self, room: int) -> list[str]:
        """Lay out the findings: each in a line, then what else there is room for."""
        lines = [_cut(f"{LEVELS[f.level]:<5} {f.code}: {f.summary}") for f in self.findings]
        if len(lines) > room:
            rest = [found.code for found in self.findings[room - 1 :]]
            return [*lines[: room - 1], _cut(f"and {len(rest)} more: {', '.join(rest)}")]
        body = []
        spare = room - len(lines)
        for line, found in zip(lines, self.findings, strict=True):
            shown = found.details[:spare]
            spare -= len(shown)
            body += [line, *(_cut(f"      {detail}") for detail in shown)]
        return body

    def _remedies(self, room: int) -> list[str]:
        """Lay out the remedies of errors and warnings, each once, with what they did on a copy."""
        cures: dict[str, list[Finding]] = {}
        for found in self.alarms:
            if found.remedy:
                cures.setdefault(found.remedy, []).append(found)
        count, most = _FIXES
        lines: list[str] = []
        for remedy, cured in [*cures.items()][:count]:
            codes = ", ".join(dict.fromkeys(found.code for found in cured))
            tried = next((found.tried for found in cured if found.tried), "")
            fix = [f"fix  {remedy}  # {codes}{'' if tried else ' (not tried)'}"]
            fix += [_cut(f"     tried on a copy: {tried}")] if tried else []
            if len(lines) + len(fix) <= min(most, room):
                lines += fix
        return lines

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how far the running statistics of each layer are off, the first layer on top.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; by default in a new figure.

        Raises
        ------
        ValueError
            If no layer has running statistics that could be compared.
        """
        if not self.shifts:
            raise ValueError("there are no running statistics that could be compared")
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure(layout="constrained", figsize=(6.4, 1 + 0.25 * len(self.shifts))).gca()
        names, shifts = list(self.shifts), list(self.shifts.values())
        # What is no number is drawn as far out as the largest number.
        finite = [shift for shift in shifts if shift < float("inf")]
        end = max([*finite, 4 * self.threshold])
        widths = [shift if shift < float("inf") else end for shift in shifts]
        sick = [not shift <= self.threshold for shift in shifts]
        bars: Any = ax.barh(
            range(len(names)), widths, color=["C1" if far else "C0" for far in sick], height=0.7
        )
        for bar, far in zip(bars, sick, strict=True):
            bar.set_hatch("//" if far else "")  # colour is not the only cue
            bar.set_edgecolor("white")
        ax.axvline(self.threshold, color="black", linestyle="dotted")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel("running statistics off, in standard deviations")
        return ax


def verdict(findings: list[Finding], say: str = "") -> str:
    """Return the whole in one sentence: by default what the code of the worst finding means.

    Examples
    --------
    >>> verdict([])
    'HEALTHY: nothing to mend in its normalization'
    >>> verdict([Finding("warning", "swapped-momentum", "0.99 in 1")])
    'SUSPECT (1 warning): a momentum that weighs the old value elsewhere'
    """
    numbers = {level: sum(f.level == level for f in findings) for level in ("error", "warning")}
    counted = ", ".join(f"{n} {level}{'s' * (n > 1)}" for level, n in numbers.items() if n)
    if not counted:
        return "HEALTHY: nothing to mend in its normalization"
    worst = min(findings, key=lambda found: [*LEVELS].index(found.level))
    return f"{'SICK' if numbers['error'] else 'SUSPECT'} ({counted}): {say or CODES[worst.code]}"


def shorten(names: Iterable[str], count: int = 3) -> str:
    """Name the first few of many.

    Examples
    --------
    >>> shorten(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    all_names = [name or "the model itself" for name in names]
    more = len(all_names) - count
    shown = ", ".join(all_names[:count])
    return f"{shown} and {more} more" if more > 0 else shown


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def _wrap(text: str, lines: int = 2) -> list[str]:
    wrapper = textwrap.TextWrapper(
        _WIDTH, subsequent_indent="     ", max_lines=lines, placeholder=" ..."
    )
    wrapper.break_on_hyphens = False  # an address stays whole
    return wrapper.wrap(text)


def _table(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    accurate = any(row.accuracy is not None for row in rows)
    width = max(len(row.name) for row in rows)
    head = f"{'':<{width}}" + ("  accuracy" if accurate else "") + "      loss"
    lines = []
    for row in rows:
        right = "" if row.accuracy is None else f"{100 * row.accuracy:.1f} %"
        loss = "" if row.loss is None else f"{row.loss:.3g}"
        cells = (f"  {right:>8}" if accurate else "") + f"  {loss:>8}"
        lines.append(f"{row.name:<{width}}{cells}  {row.remark}".rstrip())
    return [head, *lines]
