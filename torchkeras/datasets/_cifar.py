"""What CIFAR-10 and CIFAR-100 have in common: archives of pickled batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras._core import config
from torchkeras._core.errors import CorruptFileError, describe
from torchkeras.datasets._plain_pickle import read_pickle
from torchkeras.utils.data_files import cache_home, get_file

Arrays = tuple[NDArray[np.uint8], NDArray[Any]]

_ORIGIN = "https://www.cs.toronto.edu/~kriz/"


def find_batches(
    name: str, files: Sequence[str], archive: str, sha256: str
) -> list[Path]:
    """Return the paths of batches, downloading and unpacking them the first time.

    Args:
        name: the folder in the archive.
        files: the names of the batches in it.
        archive: the name of the archive on the network.
        sha256: its hash.
    """
    unpacked = f"{name}-target"
    datasets = cache_home() / "datasets"
    for folder in (datasets / unpacked / name, datasets / name):  # Keras 3's, Keras 2's
        if all((folder / file).is_file() for file in files):
            break
    else:
        origin = _ORIGIN + archive
        target = get_file(unpacked, origin, extract=True, file_hash=sha256)
        folder = Path(target, name)
    return [folder / file for file in files]


def read_batch(path: Path, labels: str, classes: int) -> Arrays:
    """Read the images of a batch, channels as ``image_data_format`` says, and labels.

    Args:
        path: the file.
        labels: the name of the labels.
        classes: how many there are.

    Shape:
        ``(samples, 32, 32, 3)`` and ``(samples, 1)``.

    Raises:
        CorruptFileError: when the file holds anything else.
    """
    batch = read_pickle(path)
    batch = batch if isinstance(batch, dict) else {}
    images, numbers = batch.get(b"data"), np.asarray(batch.get(labels.encode()))
    fits = (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and images.shape[1:] == (3 * 32 * 32,)
        and numbers.shape == images.shape[:1]
        and numbers.dtype.kind in "iu"
        and bool(np.all((numbers >= 0) & (numbers < classes)))
    )
    if not fits or not isinstance(images, np.ndarray):
        raise CorruptFileError(
            f"{path}: expected a batch of CIFAR, uint8 images of shape (samples, 3072) "
            f"and as many {labels!r} from 0 to {classes - 1}; got {describe(images)} "
            f"and {describe(numbers)}. Delete the folder to unpack it again."
        )
    images = images.reshape(-1, 3, 32, 32)
    if config.image_data_format() == "channels_last":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    return images, numbers.reshape(-1, 1)
