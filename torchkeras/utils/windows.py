"""Data sets of windows over a series, and data sets in two parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from torchkeras._core import tree
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras.utils._elements import as_element
from torchkeras.utils._steps import Ahead, Batch, Items, Shuffle, Slices, Step
from torchkeras.utils.pipeline import Dataset, Samples, as_dataset

# Windows


class _Windows(Items):
    """Windows over a series, by the places where they begin.

    Args:
        series: the steps.
        targets: the target of each place, or None.
        starts: where windows begin.
        span: from there to the last step of a window.
        rate: from a step of a window to its next one.
    """

    def __init__(
        self, series: Tensor, targets: Any, starts: list[int], span: int, rate: int
    ) -> None:
        super().__init__(starts)
        self.targets = targets
        # All windows as a view of the series, which takes no memory.
        self.windows = series.unfold(0, span, 1)[..., ::rate].movedim(-1, 1)

    def at(self, key: int) -> Any:
        return tree.map_structure(lambda batch: batch[0], self.many([key]))

    def many(self, keys: Sequence[int]) -> Any:
        starts = torch.tensor([self.items[key] for key in keys])
        windows = self.windows.index_select(0, starts.to(self.windows.device))
        if self.targets is None:
            return windows
        return windows, self.targets[starts.to(self.targets.device)]


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Dataset:
    """Make a `Dataset` of windows over a series, cut out as they are asked for.

    Args:
        data: the series; its first axis is time.
        targets: the target of the window that begins at each step; None for none.
        sequence_length: steps per window.
        sequence_stride: from the beginning of a window to that of the next one.
        sampling_rate: from a step of a window to its next one.
        batch_size: windows per batch; None for single windows.
        shuffle: give windows in another order in each pass.
        seed: the seed of that order.
        start_index: leave out the steps before this one.
        end_index: leave out this step and those after it.
        format: ``"tf"`` or ``"grain"``; a `Dataset` is returned for both.

    Shape:
        ``(time, ...)`` to ``(batch_size, sequence_length, ...)``.

    Raises:
        ValueError: for numbers that do not fit the data.

    Example:
        >>> series = np.arange(6.0, dtype="float32")
        >>> windows = timeseries_dataset_from_array(series[:-1], series[3:], 3)
        >>> for x, y in windows:
        ...     print(x.tolist(), y.tolist())
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]] [3.0, 4.0, 5.0]
    """
    owner = "timeseries_dataset_from_array"
    one_of(owner, "format", format, ("tf", "grain"))
    length = positive_integer(owner, "sequence_length", sequence_length)
    for name, value in (
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
    ):
        if positive_integer(owner, name, value) >= len(data):
            expected = f"less than the {len(data)} steps of the data"
            raise ValueError(invalid_argument(owner, name, expected, value))
    begin, end = _bounds(owner, len(data), start_index, end_index)
    series = as_element(data[begin:end])
    wanted = None if targets is None else as_element(targets[begin:end])
    number = len(series) - (length - 1) * sampling_rate
    number = number if wanted is None else min(number, len(wanted))
    if number <= 0:
        targets_of = "" if wanted is None else f" with {len(wanted)} targets"
        raise ValueError(
            f"{owner}: no window of {length} steps, {sampling_rate} apart, fits into "
            f"the {len(series)} steps from {begin} to {end}{targets_of}."
        )
    starts = list(range(0, number, sequence_stride))
    span = (length - 1) * sampling_rate + 1
    step: Step = _Windows(series, wanted, starts, span, sampling_rate)
    if shuffle:
        step = Shuffle(step, len(starts), seed, True)
    if batch_size is not None:
        size = positive_integer(owner, "batch_size", batch_size)
        step = Batch(step, size, False)
    dataset = Dataset(())
    dataset._step = step
    return dataset


def _bounds(
    owner: str, steps: int, start_index: int | None, end_index: int | None
) -> tuple[int, int]:
    begin = 0 if start_index is None else start_index
    end = steps if end_index is None else end_index
    if not 0 <= begin < steps:
        expected = f"a step of the data, from 0 to {steps - 1}"
        raise ValueError(invalid_argument(owner, "start_index", expected, start_index))
    if not begin < end <= steps:
        expected = f"greater than `start_index`, {begin}, and at most {steps}"
        raise ValueError(invalid_argument(owner, "end_index", expected, end_index))
    return begin, end


# Two parts


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Split data into two parts.

    Args:
        dataset: arrays of one length, a `Dataset`, a torch `Dataset`, or an iterable
            of samples.
        left_size: the samples of the first part: how many, or their share as a float;
            the rest by default.
        right_size: the same for the second part.
        shuffle: draw the samples of the parts, rather than the first and the last ones.
        seed: the seed of that.
        preferred_backend: accepted; there is one.

    Returns:
        Two data sets of samples, which `fit` puts into batches; of batches, where
        `dataset` has some.

    Raises:
        TypeError: for a size that is no number, or data of another kind.
        ValueError: when a part would be empty, or both are more than there is.

    Example:
        >>> left, right = split_dataset(np.arange(10), left_size=0.8)
        >>> len(left), [int(x) for x in right]
        (8, [8, 9])
    """
    step, batch_size = _samples_of(dataset)
    total = step.length
    if total is None or not total:
        raise ValueError("split_dataset: `dataset` has no samples.")
    left, right = _sizes(int(total), left_size, right_size)
    keys = list(step.order())
    if shuffle:
        generator = torch.Generator()
        generator.manual_seed(seed) if seed is not None else generator.seed()
        order = torch.randperm(len(keys), generator=generator).tolist()
        keys = [keys[i] for i in order]
    parts = (keys[:left], keys[len(keys) - right :])
    first, second = (_part(step, part, batch_size) for part in parts)
    return first, second


class _Chosen(Step):
    """Some of the elements."""

    def __init__(self, up: Step, chosen: list[Any]) -> None:
        super().__init__(up)
        self.chosen = chosen

    @property
    def length(self) -> int:
        return len(self.chosen)

    def order(self) -> Any:
        return iter(self.chosen)

    def many(self, keys: Sequence[Any]) -> Any:
        return self.up.many(keys)


def _part(step: Step, keys: list[Any], batch_size: int | None) -> Dataset:
    samples = Samples(_Chosen(step, keys))
    return samples if batch_size is None else samples.batch(batch_size)


def _samples_of(dataset: Any) -> tuple[Step, int | None]:
    """Return data as a step of samples that can be gone through by key."""
    if isinstance(dataset, (np.ndarray, Tensor)):
        return Slices(as_element(dataset)), None
    if isinstance(dataset, (list, tuple)):
        arrays = tuple(as_element(array) for array in dataset)
        return Dataset.from_tensor_slices(arrays)._step, None
    if isinstance(dataset, torch_data.IterableDataset) or not isinstance(
        dataset, (Dataset, torch_data.Dataset)
    ):
        return Items(list(as_dataset(dataset))), None
    step = as_dataset(dataset)._step
    batch = step
    while isinstance(batch, Ahead):
        batch = batch.up
    size = batch.size if isinstance(batch, Batch) else None
    if size is not None:
        step = Dataset.unbatch(as_dataset(dataset))._step
    step = step.without_buffers()
    if not step.is_indexed or step.length is None:
        step = Items(list(itertools.chain(step)))
    return step, size


def _sizes(total: int, left: Any, right: Any) -> tuple[int, int]:
    if left is None and right is None:
        raise ValueError(
            "split_dataset: at least one of `left_size` and `right_size` must be given."
        )
    first, second = (
        _size(name, value, total)
        for name, value in (("left_size", left), ("right_size", right))
    )
    first = total - (second or 0) if first is None else first
    second = total - first if second is None else second
    if first <= 0 or second <= 0 or first + second > total:
        raise ValueError(
            f"split_dataset: left_size={left} and right_size={right} are {first} and "
            f"{second} samples. Both must be positive, and together at most {total}."
        )
    return first, second


def _size(name: str, value: Any, total: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        expected = "a number of samples, or a share of them as a float"
        raise TypeError(invalid_argument("split_dataset", name, expected, value))
    if isinstance(value, float):
        if not 0 < value < 1:
            expected = "a share between 0 and 1, or an integer"
            raise ValueError(invalid_argument("split_dataset", name, expected, value))
        return round(value * total)
    if not 0 < value < total:
        expected = f"an integer from 1 to {total - 1}, or a share of the samples"
        raise ValueError(invalid_argument("split_dataset", name, expected, value))
    return value
