"""Handwritten digits of 8x8 pixels: small enough to come with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_data() -> tuple[Split, Split]:
    """Load 1,797 handwritten digits; they come with the package, no network needed.

    Each image is 8x8 pixels from 0 to 16. The split is fixed and shuffled: 1,437 images
    to train with and 360 to test with, 36 of each digit.

    The data are the test set of `Optical Recognition of Handwritten Digits
    <https://doi.org/10.24432/C50P49>`_ by E. Alpaydin and C. Kaynak (1998), from the
    UCI Machine Learning Repository, licensed under CC BY 4.0, in the copy that
    scikit-learn carries as ``load_digits``. The type (``uint8``), the split and the
    compression are the only changes.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all ``uint8``.

    Shape:
        ``x_train`` (1437, 8, 8), ``y_train`` (1437,), ``x_test`` (360, 8, 8),
        ``y_test`` (360,).

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, x_test.shape, int(x_train.max())
        ((1437, 8, 8), (360, 8, 8), 16)
    """
    packed = resources.files("torchkeras.datasets") / "digits.npz"
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        train = arrays["x_train"], arrays["y_train"]
        return train, (arrays["x_test"], arrays["y_test"])
