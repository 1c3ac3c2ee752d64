"""Fashion-MNIST: clothes of 28x28 pixels, a drop-in for MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchkeras._core.errors import CorruptFileError
from torchkeras.datasets._files import fetch

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_FOLDER = "datasets/fashion-mnist"
_TYPE_UINT8 = 8


def load_data() -> tuple[Split, Split]:
    """Load Fashion-MNIST, downloading it to ``~/.keras/datasets`` the first time.

    70,000 images of ten kinds of clothes, pixels from 0 to 255: 0 T-shirt or top,
    1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle
    boot. By Zalando SE, licensed under MIT; see H. Xiao et al., arXiv:1708.07747.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, all ``uint8``.

    Shape:
        ``x_train`` (60000, 28, 28), ``y_train`` (60000,), ``x_test`` (10000, 28, 28),
        ``y_test`` (10000,).

    Raises:
        OSError: when a file is neither in the cache nor to be had.
        CorruptFileError: when a file is damaged.
    """
    return _load_split("train", 60_000), _load_split("t10k", 10_000)


def _load_split(prefix: str, count: int) -> Split:
    labels = _fetch(f"{prefix}-labels-idx1-ubyte.gz")
    images = _fetch(f"{prefix}-images-idx3-ubyte.gz")
    return read_idx(images, (count, 28, 28)), read_idx(labels, (count,))


def _fetch(name: str) -> Path:
    return fetch(name, name, folder=_FOLDER)


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read a compressed IDX file of bytes, of which the shape is known beforehand.

    Raises:
        CorruptFileError: when the file holds anything else.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, _TYPE_UINT8, len(shape), *shape)
    size = len(header) + math.prod(shape)
    try:
        with gzip.open(path) as file:
            data = file.read(size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        data, fault = b"", str(error)
    else:
        fault = f"got {len(data)} bytes that begin with {data[: len(header)].hex()}"
    if len(data) != size or not data.startswith(header):
        raise CorruptFileError(
            f"{path}: expected an IDX file of bytes of shape {shape}; {fault}. Delete "
            "it to download it again."
        )
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape).copy()
