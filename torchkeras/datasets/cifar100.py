"""CIFAR-100: color images of 32x32 pixels in a hundred classes."""

from __future__ import annotations

from torchkeras._core.errors import one_of
from torchkeras.datasets._cifar import Arrays, find_batches, read_batch

_SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
_CLASSES = {"fine": 100, "coarse": 20}


def load_data(label_mode: str = "fine") -> tuple[Arrays, Arrays]:
    """Load CIFAR-100, downloading it to ``~/.keras/datasets`` the first time.

    60,000 color images, pixels from 0 to 255, of 100 classes in 20 groups. See
    A. Krizhevsky, `Learning Multiple Layers of Features from Tiny Images
    <https://www.cs.toronto.edu/~kriz/cifar.html>`_ (2009).

    Args:
        label_mode: ``"fine"`` for the classes, ``"coarse"`` for their groups.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, images ``uint8``, labels ``int64``.

    Shape:
        ``x_train`` (50000, 32, 32, 3), ``y_train`` (50000, 1), ``x_test``
        (10000, 32, 32, 3), ``y_test`` (10000, 1); channels are where
        ``image_data_format`` says.

    Raises:
        ValueError: for another `label_mode`.
        OSError: when the file is neither in the cache nor to be had.
        UnsafeFileError: when a batch holds more than data.
        CorruptFileError: when a batch is damaged.
    """
    one_of("cifar100.load_data", "label_mode", label_mode, tuple(_CLASSES))
    train, test = find_batches(
        "cifar-100-python", ["train", "test"], "cifar-100-python.tar.gz", _SHA256
    )
    labels, classes = f"{label_mode}_labels", _CLASSES[label_mode]
    return read_batch(train, labels, classes), read_batch(test, labels, classes)
