"""`Dataset`: data read, changed and put into batches, by the names of ``tf.data``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from torchkeras._core import tree
from torchkeras._core.errors import count, invalid_argument
from torchkeras.utils._elements import TensorSpec, as_element, collate_padded
from torchkeras.utils._steps import (
    Ahead,
    Batch,
    Cache,
    Concatenate,
    Enumerate,
    Filter,
    Generated,
    Indexed,
    Items,
    Iterated,
    Length,
    Map,
    Repeat,
    Shuffle,
    Slice,
    Slices,
    Step,
    Unbatch,
    Worked,
    Zip,
)

#: What `num_parallel_calls` and `prefetch` take for "as many as are good".
AUTOTUNE = -1
#: What `cardinality` returns for no end, and where the number is not known.
INFINITE, UNKNOWN = -1, -2


class Dataset:
    """Data that are read, changed and put into batches as they are asked for.

    The readers of folders return one; `fit`, `evaluate`, `predict` and `adapt` take it.
    Each method returns another data set; nothing happens before one is gone through.

    Args:
        source: a sequence, a torch `Dataset`, a `PyDataset`, an iterable, or a function
            that returns an iterator for each pass.

    Example:
        >>> numbers = Dataset(range(10)).filter(lambda n: n % 2 == 0)
        >>> batches = numbers.map(lambda n: (n, n**2)).batch(3)
        >>> for x, y in batches:
        ...     print(x.tolist(), y.tolist())
        [0, 2, 4] [0, 4, 16]
        [6, 8] [36, 64]
        >>> len(Dataset(range(10)).batch(4))
        3
    """

    #: The names of the classes, in the order of their labels, from a reader.
    class_names: Sequence[str] | None = None
    #: The files that the elements are read from, from a reader.
    file_paths: Sequence[str] | None = None

    def __init__(self, source: Any) -> None:
        self._step = _first_step(source)

    # Where data come from

    @staticmethod
    def from_tensor_slices(tensors: Any) -> Dataset:
        """Make a data set of the rows of arrays, in any structure.

        Example:
            >>> list(Dataset.from_tensor_slices({"a": [1, 2]}))
            [{'a': tensor(1, dtype=torch.int32)}, {'a': tensor(2, dtype=torch.int32)}]
        """
        arrays = as_element(tensors)
        lengths = {len(leaf) for leaf in tree.flatten(arrays) if np.ndim(leaf)}
        if len(lengths) != 1:
            raise ValueError(
                "from_tensor_slices: all arrays need the same number of rows, got "
                f"{sorted(lengths) or 'numbers'}."
            )
        return _of(Slices(arrays))

    @staticmethod
    def from_generator(generator: Callable[[], Iterable[Any]], **_: Any) -> Dataset:
        """Make a data set of what a function's iterator gives, called for each pass."""
        return _of(Generated(generator))

    # How many there are

    @property
    def _length(self) -> Length:
        return self._step.length

    def __len__(self) -> int:
        if self._length in (None, math.inf):
            which = "has no end" if self._length == math.inf else "is not known"
            raise TypeError(f"The length of this Dataset {which}.")
        return int(self._length)

    def __bool__(self) -> bool:
        return True

    def cardinality(self) -> Tensor:
        """Return how many elements there are: -1 for no end, -2 where not known."""
        special = {None: UNKNOWN, math.inf: INFINITE}
        return torch.tensor(int(special.get(self._length, self._length or 0)))

    @property
    def element_spec(self) -> Any:
        """The shapes and dtypes of an element, found by making the first one."""
        with torch.random.fork_rng(devices=[]):
            first = next(iter(self._step.without_buffers()), None)
        if first is None:
            raise ValueError("element_spec: this Dataset has no elements.")
        open_axis = self._step.batched

        def spec(value: Any) -> TensorSpec:
            shape: tuple[Any, ...] = tuple(getattr(value, "shape", ()))
            shape = (None, *shape[1:]) if open_axis and shape else shape
            is_tensor = isinstance(value, Tensor)
            dtype = str(value.dtype).removeprefix("torch.") if is_tensor else "string"
            return TensorSpec(shape, dtype)

        return tree.map_structure(spec, first)

    # Going through them

    def __iter__(self) -> Iterator[Any]:
        return iter(self._step)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Go through the elements as NumPy arrays."""
        for element in self:
            yield tree.map_structure(
                lambda v: v.numpy() if hasattr(v, "numpy") else v, element
            )

    def to_torch(self) -> torch_data.Dataset[Any]:
        """Return a torch `Dataset`, for a `DataLoader` with ``batch_size=None``.

        It is one by index where the steps allow it: then a pass's order is that of now,
        and the loader may shuffle. Else it is an `IterableDataset`, which the loader's
        workers share. Samples are those of `unbatch`.

        Example:
            >>> samples = Dataset(range(6)).batch(2).unbatch().to_torch()
            >>> loader = torch_data.DataLoader(samples, batch_size=3)
            >>> [batch.tolist() for batch in loader]
            [[0, 1, 2], [3, 4, 5]]
        """
        step = self._step.without_buffers()
        finite = step.length not in (None, math.inf)
        return Indexed(step) if step.is_indexed and finite else Iterated(step)

    # Steps that change elements

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Change each element by a function, such as a layer; a tuple is its arguments.

        Args:
            map_func: the function; it is called without gradients.
            num_parallel_calls: in how many worker processes, by torch's `DataLoader`.
                None and `AUTOTUNE` stay in this process, where torch's functions use
                all cores and random numbers come in one order. Where processes are
                not forked, `map_func` must be a function of a module, no lambda.
            deterministic: accepted; elements always come in order.
            name: accepted.
        """
        if not callable(map_func):
            expected = "a function"
            raise TypeError(invalid_argument("map", "map_func", expected, map_func))
        step = Map(self._step, map_func)
        if num_parallel_calls in (None, AUTOTUNE):
            return _of(step)
        workers = count("map", "num_parallel_calls", num_parallel_calls)
        return _of(Worked(step, workers))

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Keep the elements for which a function says yes."""
        return _of(Filter(self._step, predicate))

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Put elements into batches.

        Args:
            batch_size: how many elements a batch has.
            drop_remainder: leave out the last batch if it is smaller.
            num_parallel_calls: in how many worker processes; see `map`.
            deterministic: accepted; elements always come in order.
            name: accepted.
        """
        size = count("batch", "batch_size", batch_size)
        step = Batch(self._step, size, drop_remainder)
        if num_parallel_calls in (None, AUTOTUNE):
            return _of(step)
        workers = count("batch", "num_parallel_calls", num_parallel_calls)
        return _of(Worked(step, workers))

    def padded_batch(
        self, batch_size: int, drop_remainder: bool = False, name: str | None = None
    ) -> Dataset:
        """Put elements into batches, with zeros after those that are shorter."""
        size = count("padded_batch", "batch_size", batch_size)
        return _of(Batch(self._step, size, drop_remainder, collate_padded))

    def unbatch(self, name: str | None = None) -> Dataset:
        """Take batches apart."""
        step = self._step
        while isinstance(step, (Ahead, Worked)):
            step = step.up
        if isinstance(step, Batch) and not step.drop_remainder and step.join is None:
            return _of(step.up)  # as it was
        return _of(Unbatch(self._step))

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Put the number of each element before it."""
        return _of(Enumerate(self._step, start))

    def zip(*datasets: Any) -> Dataset:
        """Put the elements of several data sets together, as tuples.

        Also as ``Dataset.zip(a, b)`` and ``Dataset.zip((a, b))``.

        Example:
            >>> a, b = Dataset(["a", "b"]), Dataset(["c", "d"])
            >>> list(a.zip(b)) == list(Dataset.zip((a, b))) == [("a", "c"), ("b", "d")]
            True
        """
        parts: Any = datasets
        if not isinstance(datasets[0], Dataset):  # called with a tuple, as a function
            parts = datasets[0]
        return _of(Zip(*(as_dataset(part)._step for part in parts)))

    def concatenate(self, dataset: Any, name: str | None = None) -> Dataset:
        """Go on with another data set."""
        return _of(Concatenate(self._step, as_dataset(dataset)._step))

    # Steps that order elements

    def shuffle(
        self,
        buffer_size: int | None,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Give elements in another order.

        Args:
            buffer_size: among how many the next one is drawn; None for all.
            seed: the seed; by default one drawn from torch's generator for each pass.
            reshuffle_each_iteration: whether each pass has its own order, the default.
            name: accepted.
        """
        size = 2**62 if buffer_size is None else buffer_size
        size = count("shuffle", "buffer_size", size)
        anew = reshuffle_each_iteration is not False
        return _of(Shuffle(self._step, size, seed, anew))

    def take(self, count: SupportsIndex, name: str | None = None) -> Dataset:
        """Keep the first elements; all for -1."""
        stop = _number("take", count)
        return _of(Slice(self._step, 0, None if stop < 0 else stop))

    def skip(self, count: SupportsIndex, name: str | None = None) -> Dataset:
        """Leave the first elements out; all for -1."""
        start = _number("skip", count)
        bounds = (0, 0) if start < 0 else (start, None)
        return _of(Slice(self._step, *bounds))

    def repeat(
        self, count: SupportsIndex | None = None, name: str | None = None
    ) -> Dataset:
        """Go through the elements several times, without end for None and -1."""
        times = -1 if count is None else _number("repeat", count)
        return _of(Repeat(self._step, None if times < 0 else times))

    # Steps about when

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """Keep the elements of the first whole pass in memory.

        Args:
            filename: not taken: elements are kept in memory alone.
            name: accepted.
        """
        if filename:
            hint = "Leave it out to keep elements in memory."
            raise ValueError(
                invalid_argument("cache", "filename", "empty", filename, hint)
            )
        return _of(Cache(self._step))

    def prefetch(self, buffer_size: int | None, name: str | None = None) -> Dataset:
        """Make elements in a thread, before they are asked for.

        Args:
            buffer_size: how many; two for `AUTOTUNE` and None.
            name: accepted.
        """
        size = 2 if buffer_size in (None, AUTOTUNE) else buffer_size
        return _of(Ahead(self._step, count("prefetch", "buffer_size", size)))

    def apply(self, transformation_func: Callable[[Dataset], Any]) -> Any:
        """Return what a function makes of this data set."""
        return transformation_func(self)

    def with_options(self, options: Any = None) -> Dataset:
        """Return this data set: what ``tf.data`` has options for is decided here."""
        return self

    def __repr__(self) -> str:
        length = {None: "unknown", math.inf: "infinite"}.get(self._length, self._length)
        last = type(self._step).__name__.lower()
        return f"<Dataset of {length} elements, last step {last}>"


class Samples(Dataset, torch_data.Dataset[Any]):
    """A `Dataset` of samples that is one of torch too: `fit` puts it into batches."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._indexed = Indexed(step)

    def __getitem__(self, index: int) -> Any:
        return self._indexed[index]


def _of(step: Step) -> Dataset:
    dataset = Dataset.__new__(Dataset)
    dataset._step = step
    return dataset


def as_dataset(data: Any) -> Dataset:
    """Return a data set of ours, made of another one where it is not."""
    return data if isinstance(data, Dataset) else Dataset(data)


def _number(owner: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(invalid_argument(owner, "count", "an integer", value))
    return value.__index__()


def _first_step(source: Any) -> Step:
    expected = "a sequence, an iterable or a function that returns an iterator"
    if isinstance(source, Dataset):
        return source._step
    if isinstance(source, Iterator):
        hint = "It is used up by one pass: give the function that makes it."
        raise TypeError(invalid_argument("Dataset", "source", expected, source, hint))
    if isinstance(source, (Mapping, str, bytes)):
        hint = "Arrays by name are for `Dataset.from_tensor_slices`."
        raise TypeError(invalid_argument("Dataset", "source", expected, source, hint))
    counted = hasattr(source, "__len__") or hasattr(source, "num_batches")
    if hasattr(source, "__getitem__") and counted:
        return Items(source)
    if isinstance(source, Iterable) or callable(source):
        return Generated(source)
    raise TypeError(invalid_argument("Dataset", "source", expected, source))
