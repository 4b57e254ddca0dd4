"""``python -m bn_tutorial examine state.pt`` prints what a saved state alone shows.

It reads tensors only: no code that a file holds is run. It ends with 1 if there are errors.
"""

from __future__ import annotations

import pickle
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine a file; return the exit status."""
    parser = ArgumentParser(prog="python -m bn_tutorial", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("examine", help="what a saved state alone shows")
    command.add_argument("state", help="a file that torch.save wrote")
    path = parser.parse_args(arguments).state

    import torch

    from bn_tutorial.networks.examine import examine_state

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, Mapping):
            raise ValueError(f"it holds a {type(state).__name__}, expected a dictionary of tensors")
        report = examine_state(state)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        parser.exit(2, f"{path}: {str(error).splitlines()[0]}\n")
    print(report)  # noqa: T201
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
