"""Settings as plain Python numbers: such compare, print and are stored alike everywhere."""

from __future__ import annotations

import numbers


def whole(value: object, name: str) -> int:
    """Return an integer, of Python or NumPy, as an int.

    Raises
    ------
    TypeError
        If it is something else, as 300.0 and True are.

    Examples
    --------
    >>> whole(300, "steps")
    300
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}, expected an integer")
    return int(value)


def real(value: object, name: str) -> float:
    """Return a number, of Python or NumPy, as a float; refuse the rest as :func:`whole` does."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected a number")
    return float(value)
