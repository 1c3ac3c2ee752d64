"""Batches: one iterable of ``(x, y, sample_weight)`` from whatever a user passes.

Arrays become tensors once and an epoch is one permutation; a `DataLoader` is used as it
is; generators are read as they come. What can be wrong with data is found here, on the
host, before the first step.
"""

from __future__ import annotations

import abc
import collections
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from torchkeras._core import tree
from torchkeras._core.errors import describe
from torchkeras._core.torch_private import shut_down_workers
from torchkeras.training.arrays import (
    Batch,
    ClassWeights,
    as_tensors,
    check_lengths,
    is_array_like,
    num_samples,
    pack_x_y_sample_weight,
    present,
    to_device,
    unpack_x_y_sample_weight,
)
from torchkeras.training.tables import (
    is_table,
    read_columns,
    refuse_splits,
    rows_of,
)

Names = tuple[str, str, str]
#: What the parts of the data are called in messages.
NAMES: Names = ("x", "y", "sample_weight")
#: A permuted copy of the data is made in blocks of at most this many bytes.
_BLOCK_BYTES = 64 * 2**20
#: The share of free accelerator memory that arrays may take to live there.
_RESIDENT_SHARE = 0.25


#: Takes ``(x, y, sample_weight)`` and what says where in the data a row of it is.
Check = Callable[[Batch, Callable[[int], str]], None]


class Batches(abc.ABC):
    """What a pass goes over, whatever the data is: the protocol of all kinds."""

    #: Where batches are wanted.
    device: torch.device
    #: How many batches a pass gives, None if that is not known.
    num_batches: int | None = None
    #: How many samples there are, None if that is not known.
    num_samples: Any = None
    #: Samples per batch where that is ours to choose, else None.
    batch_size: Any = None
    #: Whether the data may be gone through again.
    restarts: bool = True
    #: Whether a pass never comes to an end.
    is_endless: bool = False
    #: What it is, for messages.
    name: str = "the data"

    @abc.abstractmethod
    def __iter__(self) -> Generator[Any]:
        """Yield what a step takes: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``."""

    @abc.abstractmethod
    def first(self) -> Batch | None:
        """Return the first batch without using it up, None when there is none."""

    @abc.abstractmethod
    def weigh(self, class_weights: ClassWeights) -> Batches:
        """Return these batches, each sample weighed by its class too."""

    @abc.abstractmethod
    def check_with(self, check: Check) -> None:
        """Have the values looked at on the host, each once, before they can do harm."""

    def resize(self, batch_size: int | None, steps: int | None) -> None:
        """Take the batch size given, or the one of so many batches, where ours to."""
        return

    def split(self, fraction: float) -> tuple[Batches, Batches]:
        """Return the first samples, and the last `fraction` of them for validation."""
        raise NotImplementedError  # `check_fraction` lets arrays pass alone

    def whole(self) -> Any:
        """Return all samples as one batch, or the first batch of a stream."""
        return next(iter(self))

    def begin_epoch(self) -> None:
        """Tell a source that wants to know of it."""
        return

    def end_epoch(self) -> None:
        """Tell a source that wants to know of it."""
        return


class ArrayBatches(Batches):
    """Batches of tensors that are wholly in memory.

    Args:
        arrays: ``(x, y, sample_weight)``, each a tensor, a structure of them or None.
        batch_size: samples per batch.
        shuffle: whether each pass has an order of its own; ``"batch"`` for one within
            each batch.
        device: where batches are wanted.
    """

    batch_size: int
    num_samples: int

    def __init__(
        self, arrays: Batch, batch_size: int, shuffle: bool | str, device: torch.device
    ) -> None:
        self._tensors = present(*arrays)
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.device = device
        self.num_samples = self._tensors[0].shape[0]
        self.num_batches: int | None = math.ceil(self.num_samples / batch_size)
        #: The number of the first sample in the data that these are a part of.
        self.begin = 0
        self._is_placed = False

    def _place(self) -> None:
        """Move all of it to where batches are wanted, if it is small enough.

        Not before the first pass: until then it is checked on the host.
        """
        self._is_placed = True
        stays = all(tensor.device == self.device for tensor in self._tensors)
        if not stays and _fits(self._tensors, self.device):
            self.arrays = to_device(self.arrays, self.device)
            self._tensors = present(*self.arrays)

    def __iter__(self) -> Generator[Any]:
        if not self._is_placed:
            self._place()
        if self.num_samples <= self.batch_size and not self.shuffle:
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
            for tensors in zip(*columns, strict=True):
                yield to_device(self._structured(tensors), self.device)

    def first(self) -> Batch | None:
        if not self.num_samples:
            return None
        return to_device(self._slice(slice(self.batch_size)), self.device)

    def whole(self) -> Any:
        return to_device(pack_x_y_sample_weight(*self.arrays), self.device)

    def check_with(self, check: Check) -> None:
        check(self.arrays, lambda row: f"row {self.begin + row} of {self.name}")

    def _slice(self, samples: slice) -> Batch:
        return tree.map_structure(
            lambda t: None if t is None else t[samples], self.arrays
        )

    def _is_plain(self) -> bool:
        """Whether a batch is the tuple of its tensors, with nothing to move."""
        _, y, sample_weight = self.arrays
        return (
            all(t.device == self.device for t in self._tensors)
            and not any(tree.is_nested(part) for part in self.arrays)
            and not (y is None and sample_weight is not None)
        )

    def _structured(self, tensors: tuple[Tensor, ...]) -> Any:
        remaining = iter(tensors)
        batch = tree.map_structure(
            lambda t: None if t is None else next(remaining), self.arrays
        )
        return pack_x_y_sample_weight(*batch)

    def _blocks(self) -> Iterator[list[Tensor]]:
        """Yield the samples in this pass's order, copied in blocks of bounded size."""
        if not self.shuffle:
            yield self._tensors
            return
        order = self._order()
        sample_bytes = sum(t[:1].nbytes for t in self._tensors)
        batches = max(1, _BLOCK_BYTES // max(1, sample_bytes * self.batch_size))
        for part in order.split(batches * self.batch_size):
            yield [t.index_select(0, part.to(t.device)) for t in self._tensors]

    def _order(self) -> Tensor:
        if self.shuffle != "batch":
            return torch.randperm(self.num_samples)
        parts = torch.arange(self.num_samples).split(self.batch_size)
        return torch.cat([part[torch.randperm(len(part))] for part in parts])

    def split(self, fraction: float) -> tuple[ArrayBatches, ArrayBatches]:
        cut = math.floor(self.num_samples * (1.0 - fraction))
        if not 0 < cut < self.num_samples:
            raise ValueError(
                f"validation_split={fraction} of {self.num_samples} samples leaves no "
                f"samples for {'training' if cut == 0 else 'validation'}. Use another "
                "fraction, or pass `validation_data`."
            )
        head, tail = self._slice(slice(cut)), self._slice(slice(cut, None))
        held_out = ArrayBatches(tail, self.batch_size, False, self.device)
        held_out.begin = cut
        kept = ArrayBatches(head, self.batch_size, self.shuffle, self.device)
        return kept, held_out

    def resize(self, batch_size: int | None, steps: int | None) -> None:
        if batch_size or steps:
            samples = max(self.num_samples, 1)
            self.batch_size = batch_size or math.ceil(samples / (steps or 1))
            self.num_batches = math.ceil(self.num_samples / self.batch_size)

    def weigh(self, class_weights: ClassWeights) -> ArrayBatches:
        x, y, sample_weight = self.arrays
        weights = class_weights(y, sample_weight)
        return ArrayBatches((x, y, weights), self.batch_size, self.shuffle, self.device)


class IterableBatches(Batches):
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
        self._check: Check | None = None
        self._is_first_checked = False
        self._class_weights: ClassWeights | None = None
        self.restarts = not isinstance(source, Iterator)
        self.num_batches = _length(source)
        self.is_endless = _is_endless(source)
        self._next_pass = epoch
        self._told_to_begin = False
        self._peeked: list[Any] = []
        self._iterator: Iterator[Any] | None = None
        #: The batches and samples of the pass before the batch that is looked at.
        self._batches_before = self._samples_before = 0

    def weigh(self, class_weights: ClassWeights) -> IterableBatches:
        self._class_weights = class_weights
        return self

    def check_with(self, check: Check) -> None:
        self._check = check  # of each batch, as it comes
        if self._peeked and self._peeked[0] is not None:
            check(self._tensors_of(self._peeked[0]), self._where)
            self._is_first_checked = True

    def _where(self, row: int) -> str:
        """Say where in the data a row of the batch is that is looked at."""
        batch, sample = self._batches_before, self._samples_before + row
        if isinstance(self.source, IndexedBatches):
            return f"row {row} of batch {self.source.index_of(batch)} of {self.name}"
        sampler = getattr(self.source, "sampler", None)
        if isinstance(sampler, Remembered):
            return f"row {sampler.order[sample]} of {self.name}"
        if _keeps_order(self.source):
            return f"row {sample} of {self.name} (row {row} of batch {batch})"
        return f"row {row} of batch {batch} of {self.name}"

    def first(self) -> Batch | None:
        if not self._peeked:
            self.begin_epoch()
            self._iterator = self._new_pass()
            self._peeked = [next(self._iterator, None)]
        return None if self._peeked[0] is None else self._prepare(self._peeked[0])

    def __iter__(self) -> Generator[Any]:
        peeked, iterator = self._peeked, self._iterator
        self._peeked, self._iterator = [], None
        if iterator is None:
            iterator = self._new_pass()
        for data in peeked:
            if data is not None:
                yield self._next(data, None if self._is_first_checked else self._check)
        self._is_first_checked = False
        for data in shut_down_after_failing(iterator):
            yield self._next(data, self._check)

    def _next(self, data: Any, check: Check | None) -> Any:
        """Return a batch as a step takes it, checked and counted."""
        batch = self._tensors_of(data)
        if check is not None:
            check(batch, self._where)
        self._batches_before += 1
        self._samples_before += num_samples(batch[0])
        return pack_x_y_sample_weight(*self._finished(batch))

    def _new_pass(self) -> Iterator[Any]:
        for sampler in _samplers(self.source):
            sampler.set_epoch(self._next_pass)
        self._next_pass += 1
        self._batches_before = self._samples_before = 0
        return iter(self.source)

    def begin_epoch(self) -> None:
        # Once, a look at the data is enough; and an epoch is the trainer's: it may end
        # within a pass over the data.
        if isinstance(self.source, IndexedBatches) and not self._told_to_begin:
            self.source.tell("on_epoch_begin")
        self._told_to_begin = True

    def end_epoch(self) -> None:
        if isinstance(self.source, IndexedBatches):
            self.source.tell("on_epoch_end")
        self._told_to_begin = False

    def _prepare(self, data: Any) -> Batch:
        return self._finished(self._tensors_of(data))

    def _tensors_of(self, data: Any) -> Batch:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        return (
            as_tensors("x", x, takes_strings=True),
            as_tensors("y", y),
            as_tensors("sample_weight", sample_weight),
        )

    def _finished(self, batch: Batch) -> Batch:
        x, y, sample_weight = batch
        if self._class_weights is not None:
            sample_weight = self._class_weights(y, sample_weight)
        to = self.device
        return to_device(x, to), to_device(y, to), to_device(sample_weight, to)


class Remembered(RandomSampler):
    """A random order of a data set that can be looked up later."""

    #: The order of the pass that began last.
    order: list[int]

    def __iter__(self) -> Iterator[int]:
        self.order = list(super().__iter__())
        return iter(self.order)


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
        #: The indices of the pass that began last, in their order.
        self._taken: Sequence[int] | None = None

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
        order = self._order()
        self._taken = order if isinstance(order, Sequence) else None
        return self._fetched(order)

    def index_of(self, number: int) -> int:
        """Return the index of the batch that came as the one of that number."""
        return number if self._taken is None else self._taken[number]

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


def shut_down_after_failing(iterator: Iterator[Any]) -> Generator[Any]:
    """Yield what an iterator gives; where it fails, end the processes that it began.

    The error holds the iterator, and may be kept for long. A generator of the user's is
    left as it is, which `yield from` would end.
    """
    try:
        for data in iterator:  # noqa: UP028
            yield data
    except BaseException:
        shut_down_workers(iterator)
        raise


def as_batches(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    device: torch.device,
    batch_size: int | None = None,
    shuffle: bool | str = False,
    epoch: int = 0,
    caller: str = "fit",
    names: Names = NAMES,
) -> Batches:
    """Make batches of arrays, tensors, a dataset, a `DataLoader` or a generator.

    Args:
        x: the inputs, or what yields batches, such as a data set of ``tf.data``; or a
            table of Hugging Face's ``datasets``, whose column ``label`` is `y`.
        y: the targets, for arrays.
        sample_weight: a weight for each sample, for arrays.
        device: where batches are wanted.
        batch_size: samples per batch, 32 by default, for arrays and datasets. A dataset
            that is iterable gives batches itself where no size is given.
        shuffle: whether each pass has an order of its own, ``"batch"`` for one within
            each batch of arrays.
        epoch: the number of the first pass over the data, for samplers.
        caller: the method the user called, for messages.
        names: what `x`, `y` and `sample_weight` are called in messages.

    Raises:
        ValueError: for data that cannot be used, naming the argument.
    """
    if not hasattr(x, "__array__"):
        refuse_splits(caller, x)
        x, y = read_columns(x, y)
    if not hasattr(x, "__array__") and is_table(x):
        _refuse_extra(caller, x, y, sample_weight)
        x, batch_size = rows_of(x), batch_size or 32
    if isinstance(x, TensorDataset):
        _refuse_extra(caller, x, y, sample_weight)
        x, y, sample_weight = unpack_x_y_sample_weight(x.tensors)
    if isinstance(x, Dataset) and not isinstance(x, IterableDataset):
        _refuse_extra(caller, x, y, sample_weight)
        sampler = Remembered(x) if shuffle else None  # type: ignore[arg-type]
        x = DataLoader(x, batch_size=batch_size or 32, sampler=sampler)
    elif isinstance(x, IterableDataset) and batch_size:
        _refuse_extra(caller, x, y, sample_weight)
        x = DataLoader(x, batch_size=batch_size)
    if not is_array_like(x):
        _refuse_extra(caller, x, y, sample_weight)
        return IterableBatches(_as_iterable(x, bool(shuffle), caller), device, epoch)
    arrays = (
        as_tensors(names[0], x, takes_strings=True),
        as_tensors(names[1], y),
        as_tensors(names[2], sample_weight),
    )
    check_lengths(caller, arrays, names)
    return ArrayBatches(arrays, batch_size or 32, shuffle, device)


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


def _fits(tensors: list[Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return device.type == "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return sum(t.nbytes for t in tensors) <= _RESIDENT_SHARE * free


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


def _keeps_order(source: Any) -> bool:
    """Say whether samples are known to come in the order of the data."""
    if isinstance(source, DataLoader):
        in_turn = isinstance(source.dataset, IterableDataset) and not source.num_workers
        return in_turn or isinstance(source.sampler, SequentialSampler)
    return isinstance(source, (Iterator, IterableDataset))


def _is_endless(source: Any) -> bool:
    if hasattr(source, "cardinality"):  # as ``tf.data`` has it: -1 for no end
        return int(source.cardinality()) == -1
    return not getattr(source, "is_finite", True)


def _length(source: Any) -> int | None:
    if isinstance(source, IndexedBatches):
        return source.num_batches
    try:
        return len(source)
    except TypeError:  # a generator, or a loader over an iterable dataset
        return None


def check_fraction(fraction: float, x: Any) -> None:
    """Refuse a `validation_split` of what cannot be split.

    Raises:
        ValueError: when `x` is not arrays.
    """
    if fraction and not (is_array_like(x) or isinstance(x, TensorDataset)):
        raise ValueError(
            "fit: `validation_split` needs arrays or tensors, got a "
            f"{type(x).__name__}. Pass `validation_data` instead."
        )
