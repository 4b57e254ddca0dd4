"""The checks of a derivation: what must hold, and what must be seen not to.

An identity is checked by its residual, the number that would be zero if the computer were exact.
A check that cannot fail proves nothing, so each comes with *broken* variants of the same identity,
a term dropped or a sign changed, whose residual must be seen.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bn_tutorial.storage import named_folder, prepare_folder, replace_when_complete

ROUNDING = 1e-8  # of central differences; a tolerance above it is that of a measurement


@dataclass
class Checks:
    """The checks of one page, and their count.

    Where the environment variable ``BN_TUTORIAL_CHECKS`` names a folder, the counts are written
    there after each check, for the log of the build: how many identities were checked with numbers
    (`numeric`), by algebra (`symbolic`), and by a random experiment, that is, to a tolerance above
    `ROUNDING` (`statistical`); how many broken variants were seen to fail (`caught`); and the
    `largest` residual of an identity that was checked with numbers.

    Parameters
    ----------
    page : str
        The page's name, such as ``"backward"``, which no other page has.

    Raises
    ------
    ValueError
        If `page` has other characters than letters, digits, ``_``, ``-``, and ``/`` between names.

    Examples
    --------
    >>> checks = Checks("example")
    >>> print(checks.holds("one and one are two", 1 + 1 - 2, broken={"are three": 1 + 1 - 3}))
    one and one are two                          < 1e-12  holds
        are three                                1.0e+00  caught
    """

    page: str
    numeric: int = 0
    symbolic: int = 0
    statistical: int = 0
    caught: int = 0
    largest: float = 0.0
    _seen: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a name that would be a file outside the folder of the counts."""
        if not re.fullmatch(r"[\w-]+(/[\w-]+)*", self.page, re.ASCII):
            raise ValueError(
                f"page is {self.page!r}, expected a name of letters, digits, _ and -, "
                "or several with / between them"
            )

    def holds(
        self,
        identity: str,
        residual: float,
        *,
        broken: Mapping[str, float],
        tolerance: float = 1e-12,
        visible: float = 1e-3,
    ) -> str:
        """Check an identity with numbers; return lines to be printed.

        Parameters
        ----------
        identity : str
            What must hold, in a few words.
        residual : float
            What would be zero in exact arithmetic. Its sign does not matter.
        broken : mapping of str to float
            The residuals of variants that are wrong, at least one, by what is wrong with them.
        tolerance, visible : float
            The largest residual that rounding may leave, and the smallest that a broken variant
            must have, which is greater.

        Raises
        ------
        AssertionError
            If a residual is not on its side of the bound, or no number.
        ValueError
            If there is no variant, the bounds are in the wrong order, or the identity was checked
            before.
        """
        if not tolerance < visible:
            raise ValueError(f"visible is {visible}, expected more than the tolerance {tolerance}")
        self._register(identity, broken)
        residual, wrong = abs(float(residual)), {k: abs(float(v)) for k, v in broken.items()}
        if not residual <= tolerance:
            raise AssertionError(f"{identity}: residual {residual:.1e}, allowed {tolerance:.0e}")
        for name, value in wrong.items():
            if not visible <= value < math.inf:
                raise AssertionError(
                    f"{identity}: {name!r} was not caught, its residual {value:.1e} is "
                    f"not between {visible:.0e} and infinity"
                )
        self.caught += len(wrong)
        if tolerance > ROUNDING:
            self.statistical += 1
        else:
            self.numeric += 1
            self.largest = max(self.largest, residual)
        self._write()
        # The digits of a rounding error depend on where in memory the numbers lie.
        shown = f"{residual:.1e}" if tolerance > ROUNDING else f"< {tolerance:.0e}"
        lines = [f"{identity:<42}{shown:>10}  holds"]
        return "\n".join(
            lines + [f"    {name:<38}{value:>10.1e}  caught" for name, value in wrong.items()]
        )

    def is_zero(self, identity: str, expression: Any, *, broken: Mapping[str, Any]) -> str:
        """Check by algebra, with SymPy, that an expression simplifies to zero and others do not.

        As for :meth:`holds`, with an expression or a matrix in the place of each residual.

        Examples
        --------
        >>> import sympy
        >>> a = sympy.Symbol("a")
        >>> checks = Checks("example")
        >>> print(checks.is_zero("a square", (a + 1)**2 - a**2 - 2*a - 1, broken={"less": a}))
        a square                                     exactly  holds
            less                                    not zero  caught
        """
        self._register(identity, broken)
        if not _vanishes(expression):
            raise AssertionError(f"{identity}: {expression} does not simplify to zero")
        for name, wrong in broken.items():
            if _vanishes(wrong):
                raise AssertionError(f"{identity}: {name!r} was not caught, it is zero too")
        self.symbolic += 1
        self.caught += len(broken)
        self._write()
        lines = [f"{identity:<42}{'exactly':>10}  holds"]
        return "\n".join(lines + [f"    {name:<38}{'not zero':>10}  caught" for name in broken])

    def _register(self, identity: str, broken: Mapping[str, Any]) -> None:
        if not broken:
            raise ValueError(f"{identity}: expected at least one broken variant")
        if identity in self._seen:
            raise ValueError(f"{identity}: checked before on this page")
        self._seen.add(identity)

    def _write(self) -> None:
        if folder := named_folder("BN_TUTORIAL_CHECKS"):
            names = ("page", "numeric", "symbolic", "statistical", "caught", "largest")
            path = folder / f"{self.page}.json"
            prepare_folder(path.parent, "BN_TUTORIAL_CHECKS")
            with replace_when_complete(path) as partial:
                content = {name: getattr(self, name) for name in names}
                partial.write_text(json.dumps(content), encoding="utf-8")


def _vanishes(expression: Any) -> bool:
    # Not at the top: only the pages need it, and it takes a second.
    import sympy

    simple = sympy.simplify(expression)
    return bool(simple.is_zero_matrix if hasattr(simple, "is_zero_matrix") else simple == 0)
