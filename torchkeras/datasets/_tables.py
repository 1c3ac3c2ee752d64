"""What the data sets of tables have in common: one shuffled split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras._core.errors import number_in
from torchkeras.datasets._files import fetch
from torchkeras.datasets._plain_pickle import read_npz

Arrays = tuple[NDArray[Any], NDArray[Any]]


def load_split(
    owner: str,
    file: tuple[str, str, str],
    test_split: float,
    seed: int,
    samples: int | None = None,
) -> tuple[Arrays, Arrays]:
    """Load the first samples of a file and split them as Keras does.

    Args:
        owner: the name of the function, for messages.
        file: its name in the cache, its name on the network and its hash.
        test_split: the share of the samples that is for tests.
        seed: the seed of their order.
        samples: how many; all by default.
    """
    number_in(owner, "test_split", test_split, 0, 1, open_high=True)
    name, origin, sha256 = file
    path = fetch(name, origin, sha256)
    x, y = (array[:samples] for array in read_npz(path, ("x", "y")))
    order = shuffled(len(x), seed)
    cut = int(len(x) * (1 - test_split))
    train, test = order[:cut], order[cut:]
    return (x[train], y[train]), (x[test], y[test])


def shuffled(number: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers from 0 on, in the order that Keras has for a seed."""
    order = np.arange(number)
    np.random.RandomState(seed).shuffle(order)
    return order
