"""The steps of a `Dataset`.

A pipeline is two things, as torch's loaders have them: an order of keys (a sampler),
and a function that makes the element of a key (a data set). Steps that order things,
such as `Shuffle` and `Slice`, work on keys; those that make things, such as `Map` and
`Batch`, on elements. So nothing is read before it is needed, and a `DataLoader` can
make elements in its workers. Where elements come in no order but their own, as from a
generator, they are their own keys.
"""

from __future__ import annotations

import collections
import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from torchkeras._core import tree
from torchkeras.utils._elements import as_element, collate

#: A number of elements: None where it is not known, ``math.inf`` for no end.
Length = float | None


class Step:
    """A step of a pipeline: the one before it is `up`.

    Each pass asks for the `order` of keys, and then for the element `at` each key, or
    for `many` at once as a batch.
    """

    up: Step
    #: Whether the last batch may be smaller than the others.
    batched: bool

    def __init__(self, up: Step) -> None:
        self.up = up
        self.batched = up.batched

    @property
    def length(self) -> Length:
        """How many elements a pass has."""
        return self.up.length

    @property
    def is_indexed(self) -> bool:
        """Whether keys cost nothing, as no element is made to find them."""
        return self.up.is_indexed

    def order(self) -> Iterator[Any]:
        """Yield the keys of a pass."""
        return self.up.order()

    def at(self, key: Any) -> Any:
        """Make the element of a key."""
        return self.up.at(key)

    def many(self, keys: Sequence[Any]) -> Any:
        """Make the elements of keys, as a batch."""
        return self.up.many(keys)

    def without_buffers(self) -> Step:
        """Return a copy that makes nothing before it is asked for."""
        own = copy.copy(self)
        own.up = self.up.without_buffers()
        return own

    def __iter__(self) -> Iterator[Any]:
        return map(self.at, self.order())


class Making(Step):
    """A step that makes elements of its own."""

    def many(self, keys: Sequence[Any]) -> Any:
        return collate([self.at(key) for key in keys])


class Stream(Step):
    """A step whose elements are their own keys."""

    @property
    def is_indexed(self) -> bool:
        return False

    def at(self, key: Any) -> Any:
        return key

    def many(self, keys: Sequence[Any]) -> Any:
        return collate(keys)

    def order(self) -> Iterator[Any]:
        raise NotImplementedError


class Items(Making):
    """The items of a sequence, each an element."""

    @property
    def is_indexed(self) -> bool:
        return True

    def __init__(self, items: Any) -> None:
        self.items = items
        self.batched = False

    @property
    def length(self) -> Length:
        if not hasattr(self.items, "num_batches"):
            return len(self.items)
        number = self.items.num_batches  # of a `PyDataset`: None for no end
        return math.inf if number is None else number

    def order(self) -> Iterator[int]:
        if self.length == math.inf:
            return itertools.count()
        return iter(range(int(self.length or 0)))

    def at(self, key: int) -> Any:
        return as_element(self.items[key])

    def without_buffers(self) -> Step:
        return self


class Slices(Items):
    """The rows of arrays, which are taken many at once.

    Args:
        arrays: tensors or arrays of strings of one length, in any structure.
    """

    def __init__(self, arrays: Any) -> None:
        super().__init__(arrays)
        self._length = len(tree.flatten(arrays)[0])

    @property
    def length(self) -> Length:
        return self._length

    def order(self) -> Iterator[int]:
        return iter(range(self._length))

    def at(self, key: int) -> Any:
        # A copy, as a function of it may change it.
        return tree.map_structure(
            lambda a: a[key].clone() if isinstance(a, Tensor) else a[key], self.items
        )

    def many(self, keys: Sequence[int]) -> Any:
        rows = torch.tensor(keys)

        def take(array: Any) -> Any:
            if isinstance(array, Tensor):
                return array.index_select(0, rows.to(array.device))
            return array[list(keys)]

        return tree.map_structure(take, self.items)


class Generated(Stream):
    """What an iterable gives, or the iterator that a function makes for each pass."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.make: Callable[[], Any] = source if callable(source) else source.__iter__
        self.batched = False

    @property
    def length(self) -> Length:
        try:
            return len(self.source)
        except TypeError:
            return None

    def order(self) -> Iterator[Any]:
        return map(as_element, self.make())

    def without_buffers(self) -> Step:
        return self


class Map(Making):
    """A function of each element."""

    def __init__(self, up: Step, function: Callable[..., Any]) -> None:
        super().__init__(up)
        self.function = function

    def at(self, key: Any) -> Any:
        element = self.up.at(key)
        with torch.no_grad():
            return as_element(call_on(self.function, element))


class Filter(Stream):
    """The elements for which a function says yes."""

    @property
    def length(self) -> Length:
        return None

    def __init__(self, up: Step, predicate: Callable[..., Any]) -> None:
        super().__init__(up)
        self.predicate = predicate

    def order(self) -> Iterator[Any]:
        for element in self.up:
            with torch.no_grad():
                keep = bool(call_on(self.predicate, element))
            if keep:
                yield element


class Batch(Making):
    """Several elements as one."""

    def __init__(
        self,
        up: Step,
        size: int,
        drop_remainder: bool,
        join: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        self.up = up
        self.size = size
        self.drop_remainder = drop_remainder
        self.join = join
        self.batched = not drop_remainder

    @property
    def length(self) -> Length:
        if self.up.length in (None, math.inf):
            return self.up.length
        exact = self.up.length / self.size
        return math.floor(exact) if self.drop_remainder else math.ceil(exact)

    def order(self) -> Iterator[tuple[Any, ...]]:
        keys = self.up.order()
        while batch := tuple(itertools.islice(keys, self.size)):
            if len(batch) == self.size or not self.drop_remainder:
                yield batch

    def at(self, key: tuple[Any, ...]) -> Any:
        if self.join is not None:
            return self.join([self.up.at(part) for part in key])
        return self.up.many(key)


class Unbatch(Stream):
    """The rows of batches."""

    @property
    def length(self) -> Length:
        return None

    def __init__(self, up: Step) -> None:
        super().__init__(up)
        self.batched = False

    def order(self) -> Iterator[Any]:
        for batch in self.up:
            rows = len(tree.flatten(batch)[0])
            for row in range(rows):
                yield tree.map_structure(lambda part, row=row: part[row], batch)


class Shuffle(Step):
    """Another order of the keys in each pass."""

    def __init__(self, up: Step, size: int, seed: int | None, anew: bool) -> None:
        super().__init__(up)
        self.size = size
        self.seed = seed
        self.anew = anew
        self.passes = 0

    def order(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(self._next_seed())
        keys = self.up.order()
        waiting = list(itertools.islice(keys, self.size))
        for block in iter(lambda: list(itertools.islice(keys, 1024)), []):
            places = torch.randint(len(waiting), (len(block),), generator=generator)
            for place, key in zip(places.tolist(), block, strict=True):
                yield waiting[place]
                waiting[place] = key
        for place in torch.randperm(len(waiting), generator=generator).tolist():
            yield waiting[place]

    def _next_seed(self) -> int:
        seed, number = self.seed, self.passes
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
            if not self.anew:
                self.seed = seed
        if self.anew:
            self.passes += 1
        return (seed + 1_000_003 * number) % 2**63


class Slice(Step):
    """The elements from one place to another."""

    def __init__(self, up: Step, start: int, stop: int | None) -> None:
        super().__init__(up)
        self.start = start
        self.stop = stop

    @property
    def length(self) -> Length:
        if self.up.length is None:
            return 0 if self.stop == 0 else None
        stop = math.inf if self.stop is None else self.stop
        return max(min(self.up.length, stop) - self.start, 0)

    def order(self) -> Iterator[Any]:
        if self.stop == 0:
            return iter(())
        return itertools.islice(self.up.order(), self.start, self.stop)


class Repeat(Step):
    """Several passes as one."""

    def __init__(self, up: Step, times: int | None) -> None:
        super().__init__(up)
        self.times = times

    @property
    def length(self) -> Length:
        if self.up.length == 0 or self.times == 0:
            return 0
        if self.times is None:
            return math.inf
        return None if self.up.length is None else self.up.length * self.times

    def order(self) -> Iterator[Any]:
        for _ in itertools.count() if self.times is None else range(self.times):
            is_empty = True
            for key in self.up.order():
                is_empty = False
                yield key
            if is_empty:
                return


class Several(Step):
    """A step over several others."""

    def __init__(self, *ups: Step) -> None:
        super().__init__(ups[0])
        self.ups = ups
        self.batched = any(up.batched for up in ups)

    @property
    def is_indexed(self) -> bool:
        return all(up.is_indexed for up in self.ups)

    def without_buffers(self) -> Step:
        return type(self)(*(up.without_buffers() for up in self.ups))

    def _lengths(self) -> list[float] | None:
        lengths = [up.length for up in self.ups]
        return None if None in lengths else [n for n in lengths if n is not None]


class Concatenate(Several):
    """One after the other."""

    @property
    def length(self) -> Length:
        lengths = self._lengths()
        return None if lengths is None else sum(lengths)

    def order(self) -> Iterator[tuple[int, Any]]:
        for number, up in enumerate(self.ups):
            for key in up.order():
                yield number, key

    def at(self, key: tuple[int, Any]) -> Any:
        return self.ups[key[0]].at(key[1])

    def many(self, keys: Sequence[tuple[int, Any]]) -> Any:
        return collate([self.at(key) for key in keys])


class Zip(Several):
    """An element of each as a tuple, as far as the shortest goes."""

    @property
    def length(self) -> Length:
        lengths = self._lengths()
        return None if lengths is None else min(lengths)

    def order(self) -> Iterator[tuple[Any, ...]]:
        return zip(*(up.order() for up in self.ups), strict=False)

    def at(self, key: tuple[Any, ...]) -> Any:
        return tuple(up.at(k) for up, k in zip(self.ups, key, strict=True))

    def many(self, keys: Sequence[tuple[Any, ...]]) -> Any:
        columns = zip(*keys, strict=True)
        return tuple(up.many(c) for up, c in zip(self.ups, columns, strict=True))


class Enumerate(Step):
    """Each element with its number."""

    def __init__(self, up: Step, start: int) -> None:
        super().__init__(up)
        self.start = start

    def order(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self.up.order(), self.start)

    def at(self, key: tuple[int, Any]) -> tuple[Tensor, Any]:
        return torch.tensor(key[0], device="cpu"), self.up.at(key[1])

    def many(self, keys: Sequence[tuple[int, Any]]) -> tuple[Tensor, Any]:
        numbers, ups = zip(*keys, strict=True)
        return torch.tensor(numbers, device="cpu"), self.up.many(ups)


class Cache(Stream):
    """The elements of the first whole pass, kept in memory."""

    def __init__(self, up: Step) -> None:
        super().__init__(up)
        self.kept: list[Any] | None = None

    def order(self) -> Iterator[Any]:
        if self.kept is not None:
            yield from map(_copied, self.kept)
            return
        seen: list[Any] = []
        for element in self.up:
            seen.append(element)
            yield _copied(element)
        self.kept = seen


class Ahead(Stream):
    """Elements made in threads, some before they are asked for.

    They are in pinned memory where there is an accelerator, which need not wait then.
    """

    def __init__(self, up: Step, ahead: int, threads: int = 1) -> None:
        super().__init__(up)
        self.ahead = ahead
        self.threads = threads

    def order(self) -> Iterator[Any]:
        source = self.up.order()
        waiting: collections.deque[Future[Any]] = collections.deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="torchkeras-data")

        def make_next() -> Any:
            # Keys are asked for by one thread, as they may be made by a generator.
            return _pinned(self.up.at(next(source)))

        def make(key: Any) -> Any:
            return _pinned(self.up.at(key))

        def submit() -> None:
            if self.threads == 1:
                waiting.append(pool.submit(make_next))
                return
            for key in itertools.islice(source, 1):
                waiting.append(pool.submit(make, key))

        try:
            for _ in range(self.ahead + 1):
                submit()
            while waiting:
                try:
                    element = waiting.popleft().result()
                except StopIteration:
                    return
                submit()
                yield element
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def without_buffers(self) -> Step:
        return self.up.without_buffers()


class Worked(Stream):
    """Elements made in worker processes, by torch's `DataLoader`."""

    def __init__(self, up: Step, workers: int) -> None:
        super().__init__(up)
        self.workers = workers

    def order(self) -> Iterator[Any]:
        return iter(
            torch_data.DataLoader(
                _ByKey(self.up),
                batch_size=None,
                sampler=_Keys(self.up),
                num_workers=self.workers,
                collate_fn=_same,
                pin_memory=torch.cuda.is_available(),
            )
        )

    def without_buffers(self) -> Step:
        return self.up.without_buffers()


def call_on(function: Callable[..., Any], element: Any) -> Any:
    """Call a function on an element: a tuple is several arguments."""
    return function(*element) if isinstance(element, tuple) else function(element)


def _copied(element: Any) -> Any:
    """Return what may be changed without changing what is kept."""
    return tree.map_structure(
        lambda v: v.clone() if isinstance(v, Tensor) else v, element
    )


def _pinned(element: Any) -> Any:
    """Return an element in memory that an accelerator copies from without waiting."""
    if not torch.cuda.is_available():
        return element

    def pin(value: Any) -> Any:
        on_host = isinstance(value, Tensor) and value.device.type == "cpu"
        return value.pin_memory() if on_host and not value.is_nested else value

    return tree.map_structure(pin, element)


def _same(element: Any) -> Any:
    return element


# As torch has them


class _ByKey(torch_data.Dataset[Any]):
    """The elements of a step, for the workers of a loader."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __getitem__(self, key: Any) -> Any:
        return self.step.at(key)


class _Keys(torch_data.Sampler[Any]):
    """The keys of a step, for a loader."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __iter__(self) -> Iterator[Any]:
        return self.step.order()


class Indexed(torch_data.Dataset[Any]):
    """A pipeline by the places of its elements."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.keys = list(step.order())

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Any:
        return self.step.at(self.keys[index])


class Iterated(torch_data.IterableDataset[Any]):
    """A pipeline in its own order; the workers of a loader share it."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __iter__(self) -> Iterator[Any]:
        keys = self.step.order()
        if (worker := torch_data.get_worker_info()) is not None:
            keys = itertools.islice(keys, worker.id, None, worker.num_workers)
        return map(self.step.at, keys)
