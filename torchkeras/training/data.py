"""Batches: one iterable of ``(x, y, sample_weight)`` from whatever a user passes.

Arrays become tensors once and an epoch is one permutation; a `DataLoader` is used as it
is; generators are read as they come. What can be wrong with data is found here, on the
host, before the first step.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchkeras._core import tree
from torchkeras._core.convert import as_array
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import count, describe, invalid_argument
from torchkeras._core.variable import WeightView

#: A permuted copy of the data is made in blocks of at most this many bytes.
_BLOCK_BYTES = 64 * 2**20
#: The share of free accelerator memory that arrays may take to live there.
_RESIDENT_SHARE = 0.25

Batch = tuple[Any, Any, Any]


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """Split the data of a step into ``(x, y, sample_weight)``, None where absent.

    Example:
        >>> unpack_x_y_sample_weight(("x", "y"))
        ('x', 'y', None)
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if 1 <= len(data) <= 3:
        return (*data, None, None)[:3]  # type: ignore[return-value]
    raise ValueError(
        "A batch must be x, (x, y) or (x, y, sample_weight), got a "
        f"{type(data).__name__} of {len(data)} elements. Put several inputs into a "
        "list or dict of their own."
    )


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Join x, y and weights into the data of a step.

    Example:
        >>> pack_x_y_sample_weight("x", "y")
        ('x', 'y')
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


class ArrayBatches:
    """Batches of tensors that are wholly in memory.

    Args:
        arrays: ``(x, y, sample_weight)``, each a tensor, a structure of them or None.
        batch_size: rows per batch.
        shuffle: whether each pass has an order of its own.
        device: where batches are wanted.
    """

    restarts = True
    is_endless = False

    def __init__(
        self, arrays: Batch, batch_size: int, shuffle: bool, device: torch.device
    ) -> None:
        self._tensors = _present(*arrays)
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.device = device
        self.num_rows = len(self._tensors[0])
        self.num_batches: int | None = math.ceil(self.num_rows / batch_size)
        stays = all(tensor.device == device for tensor in self._tensors)
        if not stays and _fits(self._tensors, device):
            self.arrays = tree.map_structure(
                lambda t: t if t is None else t.to(device), arrays
            )
            self._tensors = _present(*self.arrays)

    def __iter__(self) -> Iterator[Any]:
        if self.num_rows <= self.batch_size and not self.shuffle:
            yield to_device(pack_x_y_sample_weight(*self.arrays), self.device)
            return
        plain = self._is_plain()
        for block in self._blocks():
            columns = [tensor.split(self.batch_size) for tensor in block]
            if plain and len(columns) == 1:
                yield from columns[0]  # `x` alone is no tuple
                continue
            if plain:
                yield from zip(*columns, strict=True)
                continue
            for rows in zip(*columns, strict=True):
                yield to_device(self._structured(rows), self.device)

    def begin_epoch(self) -> None:
        """Nobody is to be told."""

    end_epoch = begin_epoch

    def _is_plain(self) -> bool:
        """Whether a batch is the tuple of its tensors, with nothing to move."""
        _, y, sample_weight = self.arrays
        return (
            all(t.device == self.device for t in self._tensors)
            and not any(tree.is_nested(part) for part in self.arrays)
            and not (y is None and sample_weight is not None)
        )

    def _structured(self, rows: tuple[Tensor, ...]) -> Any:
        remaining = iter(rows)
        batch = tree.map_structure(
            lambda t: None if t is None else next(remaining), self.arrays
        )
        return pack_x_y_sample_weight(*batch)

    def _blocks(self) -> Iterator[list[Tensor]]:
        """Yield the rows in this pass's order, copied in blocks of bounded size."""
        if not self.shuffle:
            yield self._tensors
            return
        order = torch.randperm(self.num_rows)
        row_bytes = sum(t[:1].nbytes for t in self._tensors)
        rows = max(1, _BLOCK_BYTES // max(1, row_bytes * self.batch_size))
        for part in order.split(rows * self.batch_size):
            yield [t.index_select(0, part.to(t.device)) for t in self._tensors]

    def split(self, fraction: float) -> tuple[ArrayBatches, ArrayBatches]:
        """Return the first rows, and the last `fraction` of them for validation."""
        cut = math.floor(self.num_rows * (1.0 - fraction))
        if not 0 < cut < self.num_rows:
            raise ValueError(
                f"validation_split={fraction} of {self.num_rows} samples leaves no "
                f"samples for {'training' if cut == 0 else 'validation'}. Use another "
                "fraction, or pass `validation_data`."
            )

        def rows(which: slice) -> Batch:
            return tree.map_structure(
                lambda t: None if t is None else t[which], self.arrays
            )

        first = rows(slice(None, cut)), self.batch_size, self.shuffle, self.device
        last = rows(slice(cut, None)), self.batch_size, False, self.device
        return ArrayBatches(*first), ArrayBatches(*last)

    def resize(self, batch_size: int | None, steps: int | None) -> None:
        """Take another batch size: the one given, or the one of so many batches."""
        if batch_size or steps:
            rows = max(self.num_rows, 1)
            self.batch_size = batch_size or math.ceil(rows / (steps or 1))
            self.num_batches = math.ceil(self.num_rows / self.batch_size)

    def weigh(self, class_weight: Mapping[int, float]) -> ArrayBatches:
        """Return these batches, each row weighed by its class too."""
        x, y, sample_weight = self.arrays
        weights = weigh_classes(y, sample_weight, class_weight)
        return ArrayBatches((x, y, weights), self.batch_size, self.shuffle, self.device)


class IterableBatches:
    """Batches that an iterable gives: a `DataLoader`, a generator, a sequence.

    Args:
        source: gives ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        device: where batches are wanted.
        epoch: the number of the first pass over the data, for samplers.
    """

    def __init__(
        self, source: Iterable[Any], device: torch.device, epoch: int = 0
    ) -> None:
        self.source = source
        self.device = device
        #: Looks at the ``(x, y)`` of each batch, on the host.
        self.check: Callable[[Any, Any], None] | None = None
        self._class_weight: Mapping[int, float] | None = None
        self.restarts = not isinstance(source, Iterator)
        self.num_batches = _length(source)
        self.is_endless = isinstance(source, IndexedBatches) and not source.is_finite
        self._next_pass = epoch
        self._told_to_begin = False
        self._peeked: list[Any] = []
        self._iterator: Iterator[Any] | None = None

    def weigh(self, class_weight: Mapping[int, float]) -> IterableBatches:
        """Return these batches, each row weighed by its class too."""
        self._class_weight = class_weight
        return self

    def first(self) -> Batch | None:
        """Return the first batch without losing it, None when there is none."""
        if not self._peeked:
            self.begin_epoch()
            self._iterator = self._new_pass()
            self._peeked = [next(self._iterator, None)]
        return None if self._peeked[0] is None else self._prepare(self._peeked[0])

    def __iter__(self) -> Iterator[Any]:
        peeked, iterator = self._peeked, self._iterator
        self._peeked, self._iterator = [], None
        if iterator is None:
            iterator = self._new_pass()
        for data in peeked:
            if data is not None:
                yield pack_x_y_sample_weight(*self._prepare(data))
        for data in iterator:
            yield pack_x_y_sample_weight(*self._prepare(data))

    def _new_pass(self) -> Iterator[Any]:
        for sampler in _samplers(self.source):
            sampler.set_epoch(self._next_pass)
        self._next_pass += 1
        return iter(self.source)

    def begin_epoch(self) -> None:
        """Tell a source that wants to know of it, once: a look at the data is enough.

        An epoch is the trainer's: it may end within a pass over the data.
        """
        if isinstance(self.source, IndexedBatches) and not self._told_to_begin:
            self.source.tell("on_epoch_begin")
        self._told_to_begin = True

    def end_epoch(self) -> None:
        """Tell a source that wants to know of it."""
        if isinstance(self.source, IndexedBatches):
            self.source.tell("on_epoch_end")
        self._told_to_begin = False

    def _prepare(self, data: Any) -> Batch:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        x, y = as_tensors("x", x), as_tensors("y", y)
        sample_weight = as_tensors("sample_weight", sample_weight)
        if self.check is not None:
            self.check(x, y)
        if self._class_weight is not None:
            sample_weight = weigh_classes(y, sample_weight, self._class_weight)
        return to_device((x, y, sample_weight), self.device)


class IndexedBatches:
    """The batches of an object with a length and indexing, one batch an index.

    Args:
        source: for example a `keras.utils.PyDataset`. Its `num_batches`, if it has one,
            is its length; None stands for batches without end, at growing indices.
        shuffle: whether each pass takes the batches in an order of its own.
    """

    def __init__(self, source: Any, shuffle: bool) -> None:
        self.source = source
        self.shuffle = shuffle
        # A source of the user's own need not say how its batches are made.
        self.workers: int = getattr(source, "workers", 1)
        self.in_processes: bool = getattr(source, "use_multiprocessing", False)
        self.max_queue_size: int = getattr(source, "max_queue_size", 10)

    @property
    def num_batches(self) -> int | None:
        """The number of batches now, None for no end."""
        if hasattr(self.source, "num_batches"):
            return self.source.num_batches
        return len(self.source)

    @property
    def is_finite(self) -> bool:
        """Whether a pass over the data comes to an end."""
        return self.num_batches is not None

    def tell(self, event: str) -> None:
        """Call a method of the source, if it has it."""
        if (method := getattr(self.source, event, None)) is not None:
            method()

    def __iter__(self) -> Iterator[Any]:
        return self._fetched(self._order())

    def _order(self) -> Iterable[int]:
        number = self.num_batches
        if number is None:
            return itertools.count()
        return torch.randperm(number).tolist() if self.shuffle else range(number)

    def _fetched(self, order: Iterable[int]) -> Iterator[Any]:
        if self.in_processes and self.workers > 0:
            return iter(
                DataLoader(
                    self.source,
                    batch_size=None,
                    sampler=order,
                    num_workers=self.workers,
                    prefetch_factor=math.ceil(self.max_queue_size / self.workers),
                )
            )
        if self.workers > 1:
            return self._fetched_by_threads(order)
        return (self.source[index] for index in order)

    def _fetched_by_threads(self, order: Iterable[int]) -> Iterator[Any]:
        waiting: collections.deque[Future[Any]] = collections.deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for index in order:
                waiting.append(pool.submit(self.source.__getitem__, index))
                if len(waiting) > self.max_queue_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


Batches = ArrayBatches | IterableBatches


def as_batches(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    device: torch.device,
    batch_size: int | None = None,
    shuffle: bool = False,
    epoch: int = 0,
    caller: str = "fit",
) -> Batches:
    """Make batches of arrays, tensors, a dataset, a `DataLoader` or a generator.

    Args:
        x: the inputs, or what yields batches.
        y: the targets, for arrays.
        sample_weight: a weight for each row, for arrays.
        device: where batches are wanted.
        batch_size: rows per batch, 32 by default, for arrays and datasets. A dataset
            that is iterable gives batches itself where no size is given.
        shuffle: whether each pass has an order of its own.
        epoch: the number of the first pass over the data, for samplers.
        caller: the method the user called, for messages.

    Raises:
        ValueError: for data that cannot be used, naming the argument.
    """
    if batch_size is not None:
        batch_size = count(caller, "batch_size", batch_size)
    if isinstance(x, TensorDataset):
        _refuse_extra(caller, x, y, sample_weight)
        x, y, sample_weight = unpack_x_y_sample_weight(x.tensors)
    if isinstance(x, Dataset) and not isinstance(x, IterableDataset):
        _refuse_extra(caller, x, y, sample_weight)
        x = DataLoader(x, batch_size=batch_size or 32, shuffle=shuffle)
    elif isinstance(x, IterableDataset) and batch_size:
        _refuse_extra(caller, x, y, sample_weight)
        x = DataLoader(x, batch_size=batch_size)
    if not is_array_like(x):
        _refuse_extra(caller, x, y, sample_weight)
        return IterableBatches(_as_iterable(x, shuffle, caller), device, epoch)
    arrays = (
        as_tensors("x", x),
        as_tensors("y", y),
        as_tensors("sample_weight", sample_weight),
    )
    _check_lengths(caller, arrays)
    return ArrayBatches(arrays, batch_size or 32, bool(shuffle), device)


def _as_iterable(x: Any, shuffle: bool, caller: str) -> Iterable[Any]:
    counted = hasattr(x, "num_batches") or hasattr(x, "__len__")
    if counted and hasattr(x, "__getitem__") and not isinstance(x, DataLoader):
        x = IndexedBatches(x, shuffle)
    if not isinstance(x, Iterable):
        raise ValueError(
            f"{caller}: `x` must be arrays, tensors, a DataLoader, a dataset or a "
            f"generator of batches, got {describe(x)}."
        )
    return x


def is_array_like(x: Any) -> bool:
    """Say whether a value is an array, a list of numbers, or a structure of arrays."""
    if isinstance(x, (list, tuple)):
        return all(is_array_like(item) for item in x)
    if isinstance(x, Mapping):
        return all(is_array_like(item) for item in x.values())
    scalar = isinstance(x, (bool, int, float, str, bytes, np.generic))
    return scalar or hasattr(x, "__array__") or isinstance(x, (Tensor, WeightView))


def as_tensors(argument: str, value: Any) -> Any:
    """Turn arrays into tensors, floats to ``floatx``; other types stay as they are.

    A list of numbers is one array, a list of arrays stays a list.

    Raises:
        ValueError: for strings and objects, naming the argument and the dtype.
    """
    if value is None or isinstance(value, Tensor):
        return _as_floatx(value)
    if isinstance(value, Mapping):
        return {k: as_tensors(f"{argument}[{k!r}]", v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not _is_one_array(value):
        parts = [as_tensors(f"{argument}[{i}]", v) for i, v in enumerate(value)]
        return type(value)(parts) if type(value) in (list, tuple) else tuple(parts)
    if isinstance(value, (list, tuple)):
        value = _one_array(argument, value)
    array = as_array(value, f"`{argument}`")
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"`{argument}` must hold numbers, got an array of dtype {array.dtype} and "
            f"shape {array.shape}. Convert it to numbers (of one shape) first."
        )
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()  # a tensor over read-only memory could be written to
    return _as_floatx(torch.from_numpy(array if array.ndim else array[None]))


def _is_one_array(value: Any) -> bool:
    leaves = tree.flatten(value)
    return all(isinstance(v, (bool, int, float, str, np.generic)) for v in leaves)


def _one_array(argument: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` must be an array, and its rows have different lengths. Give "
            "them one length by `utils.pad_sequences`."
        ) from error


def _as_floatx(tensor: Tensor | None) -> Tensor | None:
    if tensor is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(to_torch_dtype(None))


def _fits(tensors: list[Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return device.type == "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return sum(t.nbytes for t in tensors) <= _RESIDENT_SHARE * free


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, without waiting where the memory allows it."""

    def move(tensor: Any) -> Any:
        if not isinstance(tensor, Tensor) or tensor.device == device:
            return tensor
        return tensor.to(device, non_blocking=True)

    return tree.map_structure(move, batch)


def weigh_classes(y: Any, sample_weight: Any, class_weight: Mapping[int, float]) -> Any:
    """Return sample weights in which each row's class counts by its weight.

    Raises:
        ValueError: for targets that are not those of one classification.
    """
    if not isinstance(class_weight, Mapping):
        expected = "a dict of a weight for each class, such as {0: 1.0, 1: 5.0}"
        hint = "Write class_weight=dict(enumerate(weights))."
        raise TypeError(
            invalid_argument("fit", "class_weight", expected, class_weight, hint)
        )
    if len(leaves := tree.flatten(y)) == 1:  # one output's, maybe in a structure
        y, sample_weight = leaves[0], tree.flatten(sample_weight)[0]
    if not isinstance(y, Tensor):
        raise ValueError(
            "`class_weight` needs the targets of a model with a single output, got "
            f"{type(y).__name__}. Use `sample_weight` instead."
        )
    labels = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y), -1)
    labels = (labels if labels.ndim == 1 else labels.squeeze(-1)).long()
    size = max([int(labels.max()) if labels.numel() else 0, *map(int, class_weight)])
    table = torch.ones(size + 1, dtype=to_torch_dtype(None))
    for label, weight in class_weight.items():
        table[int(label)] = float(weight)
    weights = table.to(labels.device)[labels]
    return weights if sample_weight is None else weights * sample_weight


def split_rows(data: Any, rows: int) -> list[Any]:
    """Return a batch of tensors as smaller ones, of so many rows each."""
    columns = [tensor.split(rows) for tensor in tree.flatten(data)]
    return [tree.pack_sequence_as(data, part) for part in zip(*columns, strict=True)]


def _present(*parts: Any) -> list[Tensor]:
    return [t for part in parts for t in tree.flatten(part) if t is not None]


def _check_lengths(caller: str, arrays: Batch) -> None:
    rows = {len(t) if t.ndim else 0 for t in _present(*arrays)}
    if len(rows) <= 1:
        return
    names = ("x", "y", "sample_weight")
    lengths = {
        f"{name}{'' if len(leaves) == 1 else f'[{i}]'}": len(leaf) if leaf.ndim else 0
        for name, part in zip(names, arrays, strict=True)
        if (leaves := _present(part))
        for i, leaf in enumerate(leaves)
    }
    listing = ", ".join(f"{k} has {v}" for k, v in lengths.items())
    raise ValueError(
        f"{caller}: all arrays need the same number of samples, but {listing}."
    )


def _refuse_extra(caller: str, x: Any, y: Any, sample_weight: Any) -> None:
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{caller}: `{name}` must not be given when `x` is a "
                f"{type(x).__name__}: it yields (x, y) or (x, y, sample_weight) itself."
            )


def _samplers(source: Any) -> list[Any]:
    """Return the samplers of a loader that want to know the epoch."""
    batch_sampler = getattr(source, "batch_sampler", None)
    found = (
        getattr(source, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    )
    return list({id(s): s for s in found if hasattr(s, "set_epoch")}.values())


def _length(source: Any) -> int | None:
    if isinstance(source, IndexedBatches):
        return source.num_batches
    try:
        return len(source)
    except TypeError:  # a generator, or a loader over an iterable dataset
        return None


def check_fraction(fraction: float, x: Any) -> float:
    """Check `validation_split` and return it.

    Raises:
        ValueError: when it is not in [0, 1), or `x` is not arrays.
    """
    if not isinstance(fraction, (int, float)) or not 0.0 <= fraction < 1.0:
        raise ValueError(
            f"fit: `validation_split` must be a number in [0, 1), got {fraction!r}."
        )
    if fraction and not (is_array_like(x) or isinstance(x, TensorDataset)):
        raise ValueError(
            "fit: `validation_split` needs arrays or tensors, got a "
            f"{type(x).__name__}. Pass `validation_data` instead."
        )
    return float(fraction)


def first_batch(batches: Batches) -> Batch | None:
    """Return the first batch without using it up, None when there is none."""
    if isinstance(batches, IterableBatches):
        return batches.first()
    if not batches.num_rows:
        return None
    rows = min(batches.batch_size, batches.num_rows)
    head = tree.map_structure(lambda t: None if t is None else t[:rows], batches.arrays)
    return to_device(head, batches.device)


class StepIterator:
    """A fixed number of batches, beginning again where that is allowed.

    Args:
        batches: the data.
        steps: how many batches to give.
        restarts: whether the data may begin again when it is used up.
        resume: a pass over the data that an earlier epoch left unfinished.
    """

    def __init__(
        self,
        batches: Batches,
        steps: int,
        restarts: bool,
        resume: Iterator[Any] | None = None,
    ) -> None:
        self.batches = batches
        self.steps = steps
        self.restarts = restarts
        self.unfinished = resume
        self.given = 0

    def begin_epoch(self) -> None:
        """Tell the data of it."""
        self.batches.begin_epoch()

    def end_epoch(self) -> None:
        """Tell the data of it."""
        self.batches.end_epoch()

    def __iter__(self) -> Iterator[Any]:
        fresh = self.unfinished is None
        source = iter(self.batches) if self.unfinished is None else self.unfinished
        while self.given < self.steps:
            batch = next(source, None)
            if batch is None:
                if fresh or not self.restarts:
                    self.unfinished = source
                    return  # no data, or no more of it
                source, fresh = iter(self.batches), True
                continue
            fresh = False
            self.given += 1
            yield batch
        self.unfinished = source
