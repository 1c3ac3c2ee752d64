"""MNIST: handwritten digits of 28x28 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchkeras.datasets._files import fetch
from torchkeras.datasets._plain_pickle import read_npz

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def load_data(path: str = "mnist.npz") -> tuple[Split, Split]:
    """Load MNIST, downloading it to ``~/.keras/datasets`` the first time.

    70,000 images of handwritten digits, pixels from 0 to 255. Y. LeCun and C. Cortes
    hold the copyright; licensed under CC BY-SA 3.0.

    Args:
        path: the name of the file in ``~/.keras/datasets``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all ``uint8``.

    Shape:
        ``x_train`` (60000, 28, 28), ``y_train`` (60000,), ``x_test`` (10000, 28, 28),
        ``y_test`` (10000,).

    Raises:
        OSError: when the file is neither in the cache nor to be had.
        CorruptFileError: when the file is damaged.
    """
    file = fetch(path, "mnist.npz", _SHA256)
    x_train, y_train, x_test, y_test = read_npz(
        file, ("x_train", "y_train", "x_test", "y_test")
    )
    return (x_train, y_train), (x_test, y_test)
