"""Where Keras keeps the files of its data sets."""

from __future__ import annotations

from pathlib import Path

from torchkeras.utils.data_files import get_file

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


def fetch(
    name: str, origin: str, file_hash: str | None = None, folder: str = "datasets"
) -> Path:
    """Return the path of a file in the cache, downloading it the first time.

    Args:
        name: its name in the cache.
        origin: its name on the network.
        file_hash: its hash, where it is known.
        folder: the folder within ``~/.keras``.
    """
    return Path(get_file(name, ORIGIN + origin, False, None, file_hash, folder))
