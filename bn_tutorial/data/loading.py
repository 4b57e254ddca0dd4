"""Which data set, and from where: MNIST, or digits that need no network.

MNIST is taken from the folder that ``BN_TUTORIAL_DATA`` names. Where it names none, MNIST is looked
for in the cache folder, and downloaded if it is not there. Where that is impossible,
:mod:`bn_tutorial.data.digits` draws as many images of the same shape, so that every experiment runs
unchanged. ``BN_TUTORIAL_DATASET=mnist`` or ``digits`` chooses explicitly. Who asks for MNIST, by
either variable, gets MNIST or an error.
"""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

from bn_tutorial.data import digits, mnist
from bn_tutorial.data.dataset import Dataset, Split
from bn_tutorial.storage import cache_folder, named_folder

_log = logging.getLogger(__name__)

# What the pages say about each.
_ABOUT = {
    "mnist": {
        "title": "MNIST",
        "licence": "CC BY-SA 3.0",
        "source": "Y. LeCun and C. Cortes, The MNIST database of handwritten digits, "
        "http://yann.lecun.com/exdb/mnist/",
    },
    "digits": {
        "title": "embedded digits",
        "licence": "CC BY 4.0",
        "source": "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
        "UCI Machine Learning Repository, "
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits, "
        "as shipped with scikit-learn; enlarged and distorted",
    },
}
_NAMES = tuple(_ABOUT)


def resolve() -> str:
    """Decide which data set this process uses; return ``"mnist"`` or ``"digits"``.

    MNIST is fetched where that is needed, and verified; nothing is loaded. A machine without
    network finds out within seconds, is told so by a warning of the logger
    ``bn_tutorial.data.loading``, and gets the digits. A process decides once for each setting of
    the environment; to have several decide alike, and only one of them try the network, put the
    answer into ``BN_TUTORIAL_DATASET`` of their environment.

    Raises
    ------
    ValueError
        If one of the three variables has no meaning, or if the folder that ``BN_TUTORIAL_DATA``
        names does not hold MNIST, whole and sound: the message says what to do.
    bn_tutorial.data.mnist.FetchError
        If ``BN_TUTORIAL_DATASET`` is ``mnist``, which is not here and cannot be downloaded.
    OSError
        As for :func:`bn_tutorial.storage.cache_folder`.
    """
    explicit = os.environ.get("BN_TUTORIAL_DATASET")
    if not explicit:
        return _mnist_else_digits(*_places())
    if explicit not in _NAMES:
        raise ValueError(f"BN_TUTORIAL_DATASET is {explicit!r}, expected one of {_NAMES}")
    if explicit == "mnist":
        mnist.ensure(*_places())
    return explicit


def load(name: str | None = None) -> Dataset:
    """Load ``"mnist"`` or ``"digits"``, by default what :func:`resolve` says; errors are the same.

    A process loads the 60,000 training and 10,000 test images once: do not change them in place.
    """
    if name is None:
        name = resolve()
    if name not in _NAMES:
        raise ValueError(f"name is {name!r}, expected one of {_NAMES}")
    return _load(name, *_places())


def _places() -> tuple[Path | None, Path]:
    """Return the folder that ``BN_TUTORIAL_DATA`` names, if any, and the cache folder."""
    # The latter is not needed, and maybe cannot be created, where MNIST is found.
    return named_folder("BN_TUTORIAL_DATA"), cache_folder(create=False)


@functools.cache
def _load(name: str, given: Path | None, cache: Path) -> Dataset:
    if name == "mnist":
        train, test, digest = mnist.read(mnist.ensure(given, cache))
    else:
        train, test, digest = digits.load(cache)
    about = _ABOUT[name]
    return Dataset(
        name=name,
        title=about["title"],
        licence=about["licence"],
        source=about["source"],
        digest=digest,
        train=Split(*train),
        test=Split(*test),
    )


@functools.cache
def _mnist_else_digits(given: Path | None, cache: Path) -> str:
    try:
        mnist.ensure(given, cache)
    except mnist.FetchError as error:
        _log.warning(
            "THE EMBEDDED DIGITS TAKE THE PLACE OF MNIST in every number and figure. %s", error
        )
        return "digits"
    return "mnist"
