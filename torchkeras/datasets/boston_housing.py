"""Boston housing: prices of houses in the 1970s."""

from __future__ import annotations

from torchkeras.datasets._tables import Arrays, load_split

_SHA256 = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"


def load_data(
    path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[Arrays, Arrays]:
    """Load Boston housing, downloading it to ``~/.keras/datasets`` the first time.

    506 districts of Boston with 13 attributes each, and the median price of a house
    there in 1000 dollars. One attribute, "B", supposes that people of one color living
    among themselves raises prices: use the data to show what is wrong with that, and
    `california_housing` for anything else. From the `StatLib library
    <http://lib.stat.cmu.edu/datasets/boston>`_ of Carnegie Mellon University.

    Args:
        path: the name of the file in ``~/.keras/datasets``.
        test_split: the share of the samples to test with, in [0, 1).
        seed: the seed of the order of samples before they are split.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all ``float64``.

    Shape:
        ``x_train`` (404, 13), ``y_train`` (404,), ``x_test`` (102, 13), ``y_test``
        (102,), by default.

    Raises:
        ValueError: for a `test_split` out of range.
        OSError: when the file is neither in the cache nor to be had.
        CorruptFileError: when the file is damaged.
    """
    file = path, "boston_housing.npz", _SHA256
    return load_split("boston_housing.load_data", file, test_split, seed)
