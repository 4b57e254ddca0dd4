"""Settings as plain Python numbers: such compare, print and are stored alike everywhere."""

from __future__ import annotations

import numbers


def whole(value: object, name: str) -> int:
    """Return an integer of Python or NumPy as an int.

    Raises
    ------
    TypeError
        If it is something else: 300.0 and True are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> whole(np.int64(300), "steps")
    300
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}, expected an integer")
    return int(value)


def real(value: object, name: str) -> float:
    """Return a number of Python or NumPy as a float.

    Raises
    ------
    TypeError
        If it is something else, such as True or a string.

    Examples
    --------
    >>> import numpy as np
    >>> real(np.float32(0.5), "lr")
    0.5
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected a number")
    return float(value)
