"""Count the mutants that the tests have noticed, and compare the others with those that may be.

The end of ``nox -s mutants``, which fails where too many survive. In the modules that
``survivors.toml`` says were gone through, it fails for each survivor without a reason there, and
for each that is listed and noticed by now. A mutant is known by its function and by the lines that
it changes: its number is another one after the next edit.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LISTED = Path(__file__).with_name("survivors.toml")
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
# The equations and the layers, in which a fault would be a wrong explanation.
STRICT = {
    f"bn_tutorial.scratch.{name}"
    for name in (
        *("arguments", "arrays", "functional", "layer", "layers", "moments", "normalize"),
        "running_statistics",
    )
}
LEAST = 0.9, 0.97  # of all mutants, in other modules and in those


def read_list() -> tuple[set[str], dict[str, str]]:
    """Return the modules that were gone through, and why each mutant of theirs may survive."""
    content = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    reasons = {mutant: why for why, known in content["reasons"].items() for mutant in known}
    return set(content["modules"]), reasons


@dataclass(frozen=True)
class Mutant:
    """One that was tried: where, what was changed, and whether a test noticed."""

    module: str
    function: str
    change: str
    noticed: bool

    def __str__(self) -> str:
        return f"{self.module}.{self.function}: {self.change}"


def change(diff: str) -> str:
    """Return what a mutant is known by: the lines that it changes, and what they are then."""
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    old, new = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return f"{old} -> {new}"


def tried() -> list[Mutant]:
    """Return all mutants that were tried, as mutmut has left them."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    found = []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            if (status := status_by_exit_code[code]) == "not checked":
                continue
            function, owner = orig_function_and_class_names_from_key(name)
            found.append(
                Mutant(
                    ".".join(Path(path).with_suffix("").parts),
                    f"{owner}.{function}" if owner else function,
                    "" if status in NOTICED else change(get_diff_for_mutant(name, path=path)),
                    status in NOTICED,
                )
            )
    return found


def wrong(mutants: list[Mutant], modules: set[str], listed: dict[str, str]) -> list[str]:
    """Return what is wrong: survivors that are new, listed ones that are none, and low shares."""
    alive = {str(one) for one in mutants if not one.noticed and one.module in modules}
    places = {f"{one.module}.{one.function}" for one in mutants}
    gone = {line for line in listed.keys() - alive if line.partition(": ")[0] in places}
    found = [f"It survives, and is not listed: {line}" for line in sorted(alive - listed.keys())]
    found += [f"It is listed, and does not survive: {line}" for line in sorted(gone)]
    for least, strict in zip(LEAST, (False, True), strict=True):
        group = [one for one in mutants if (one.module in STRICT) == strict]
        if (count := sum(one.noticed for one in group)) < least * len(group):
            found.append(f"{count} of {len(group)} are noticed, expected {least:.0%}")
    return found


def table(mutants: list[Mutant]) -> str:
    """Return how many mutants of each module were tried, and noticed."""
    tries = Counter(one.module for one in mutants)
    noticed = Counter(one.module for one in mutants if one.noticed)
    rows = [(noticed[module], count, module) for module, count in tries.items()]
    rows.append((noticed.total(), tries.total(), "all of them"))
    return "\n".join(
        f"{seen:5} of {count:5} noticed, {seen / max(count, 1):4.0%}: {module}"
        for seen, count, module in rows
    )


if __name__ == "__main__":
    mutants = tried()
    print(table(mutants))  # noqa: T201
    if found := wrong(mutants, *read_list()):
        sys.exit("\n".join(found))
