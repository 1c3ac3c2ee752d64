"""What `adapt` is given, as batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchkeras._core import tree
from torchkeras._core.errors import describe

#: How many samples of a data set of samples are looked at together.
_BATCH = 1024


def batches_of(owner: str, data: Any, steps: int | None = None) -> Iterator[Any]:
    """Yield the inputs in what `adapt` is given.

    Args:
        owner: the layer's class, for messages.
        data: an array, a tensor, a list of numbers or strings, or batches: those of a
            list, a generator, a `DataLoader`, a `PyDataset`; of ``(x, y)`` the first.
            Of a `Dataset` of samples, too.
        steps: how many batches to take at most.

    Raises:
        ValueError: when there are no batches.
        TypeError: for anything else.
    """
    if is_one_array(data):
        yield data
        return
    batches = _inputs(owner, data)
    first = next(batches, None)
    if first is None:
        raise ValueError(
            f"{owner}: `adapt` got {describe(data)}, which has no batches. Pass at "
            "least one."
        )
    yield from itertools.islice(itertools.chain([first], batches), steps)


def is_one_array(data: Any) -> bool:
    """Say whether data are an array, or a list of numbers or strings, nested maybe."""
    if isinstance(data, (list, tuple)):
        plain = (bool, int, float, str, bytes, np.generic)
        leaves = tree.flatten(data)
        return len(leaves) > 0 and all(isinstance(leaf, plain) for leaf in leaves)
    return hasattr(data, "__array__") or isinstance(data, (str, bytes))


def _inputs(owner: str, data: Any) -> Iterator[Any]:
    return map(_input_of, _iterable(owner, data))


def _iterable(owner: str, data: Any) -> Iterable[Any]:
    if isinstance(data, Dataset):
        streams = isinstance(data, IterableDataset)
        return data if streams else DataLoader(data, batch_size=_BATCH)
    if hasattr(data, "__getitem__") and not hasattr(data, "__iter__"):
        number = data.num_batches if hasattr(data, "num_batches") else len(data)
        return (
            data[i] for i in (itertools.count() if number is None else range(number))
        )
    if not isinstance(data, Iterable) or isinstance(data, dict):
        raise TypeError(
            f"{owner}: `adapt` takes an array, a tensor, a list, or an iterable of "
            f"batches, got {describe(data)}."
        )
    return data


def _input_of(batch: Any) -> Any:
    """Return `x` of a batch: of ``(x, y)``, which loaders make a list of."""
    if not isinstance(batch, (list, tuple)) or not batch or is_one_array(batch):
        return batch
    return batch[0]
