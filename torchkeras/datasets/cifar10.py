"""CIFAR-10: color images of 32x32 pixels in ten classes."""

from __future__ import annotations

import numpy as np

from torchkeras.datasets._cifar import Arrays, find_batches, read_batch

_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
_FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def load_data() -> tuple[Arrays, Arrays]:
    """Load CIFAR-10, downloading it to ``~/.keras/datasets`` the first time.

    60,000 color images, pixels from 0 to 255: 0 airplane, 1 automobile, 2 bird, 3 cat,
    4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck. See A. Krizhevsky, `Learning
    Multiple Layers of Features from Tiny Images
    <https://www.cs.toronto.edu/~kriz/cifar.html>`_ (2009).

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all ``uint8``.

    Shape:
        ``x_train`` (50000, 32, 32, 3), ``y_train`` (50000, 1), ``x_test``
        (10000, 32, 32, 3), ``y_test`` (10000, 1); channels are where
        ``image_data_format`` says.

    Raises:
        OSError: when the file is neither in the cache nor to be had.
        UnsafeFileError: when a batch holds more than data.
        CorruptFileError: when a batch is damaged.
    """
    paths = find_batches(
        "cifar-10-batches-py", _FILES, "cifar-10-python.tar.gz", _SHA256
    )
    batches = [read_batch(path, "labels", 10) for path in paths]
    *train, (x_test, y_test) = [(x, y.astype(np.uint8)) for x, y in batches]
    x_train, y_train = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (x_train, y_train), (x_test, y_test)
