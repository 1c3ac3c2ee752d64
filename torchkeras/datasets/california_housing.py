"""California housing: prices of houses in 1990."""

from __future__ import annotations

from torchkeras._core.errors import one_of
from torchkeras.datasets._tables import Arrays, load_split

_SHA256 = "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"
_SAMPLES = {"small": 600, "large": None}


def load_data(
    version: str = "large",
    path: str = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> tuple[Arrays, Arrays]:
    """Load California housing, downloading it to ``~/.keras/datasets`` the first time.

    20,640 block groups of the census of 1990 with 8 features each: median income, age
    of houses, rooms and bedrooms per household, population, household members, latitude
    and longitude. The target is the median value of a house in dollars. From the
    `StatLib repository <https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.html>`_.

    Args:
        version: ``"large"``, or ``"small"`` for the first 600 samples.
        path: the name of the file in ``~/.keras/datasets``.
        test_split: the share of the samples to test with, in [0, 1).
        seed: the seed of the order of samples before they are split.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``.

    Shape:
        ``x_train`` (16512, 8), ``y_train`` (16512,), ``x_test`` (4128, 8), ``y_test``
        (4128,), by default.

    Raises:
        ValueError: for another `version`, or a `test_split` out of range.
        OSError: when the file is neither in the cache nor to be had.
        CorruptFileError: when the file is damaged.
    """
    owner = "california_housing.load_data"
    one_of(owner, "version", version, tuple(_SAMPLES))
    file = path, "california_housing.npz", _SHA256
    return load_split(owner, file, test_split, seed, _SAMPLES[version])
