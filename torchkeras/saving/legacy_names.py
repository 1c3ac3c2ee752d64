"""Which weight of an older HDF5 file is which: by names, by order where names can't.

Keras lists trainable weights first, so the order of a file depends on what was frozen
when it was written, and names do not. Names that nobody gave hold a number that counts
all layers of the process (``dense_7``): there only their succession means something.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from torchkeras._core.naming import split_number

Parts = tuple[str, ...]

#: How Keras 1 ended the names of weights, which it did not divide by slashes.
_ENDS_OF_KERAS_1 = {
    "W": "kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
_KERAS_1 = re.compile(rf"(.+)_({'|'.join(_ENDS_OF_KERAS_1)})")


def pair(own: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """Return which of `theirs` each of our names stands for; None if names can't tell.

    Args:
        own: the names of weights in the model.
        theirs: the names in the file.

    Example:
        >>> pair(["dense/kernel", "dense/bias"], ["net/dense_4/bias:0", "net/dense_4/kernel:0"])
        [1, 0]
    """  # noqa: E501
    ours, files = [parts_of(n) for n in own], [parts_of(n) for n in theirs]
    for reading in _READINGS:
        found = _pair(reading(ours), reading(files))
        if found is not None:
            return found
    return None


def last_of(name: str) -> str:
    """Return the last part of a weight's name, without a number.

    Example:
        >>> last_of("dense_3/kernel:0")
        'kernel'
    """
    return split_number(parts_of(name)[-1])[0]


def parts_of(name: str) -> Parts:
    """Return the parts of a weight's name, as Keras 3 would call them."""
    name = name.partition(":")[0]
    if "/" not in name and (old := _KERAS_1.fullmatch(name)):
        return old[1], _ENDS_OF_KERAS_1[old[2]]
    return tuple(name.split("/"))


def _pair(own: list[Parts], theirs: list[Parts]) -> list[int] | None:
    """Pair names of which one ends like the other, where there is one such pair each.

    Keras 3 puts the names of surrounding layers before those that we and Keras 2 write.
    """
    by_end: dict[Parts, list[int]] = defaultdict(list)
    for index, parts in enumerate(theirs):
        by_end[parts[-2:]].append(index)
    found: list[int] = []
    for parts in own:
        alike = [
            index
            for index in by_end[parts[-2:]]
            if all(a == b for a, b in zip(parts[::-1], theirs[index][::-1]))  # noqa: B905
        ]
        if len(alike) != 1:
            return None
        found += alike
    return found if sorted(found) == list(range(len(theirs))) else None


# Three ways to read the names of a group


def _as_they_are(names: list[Parts]) -> list[Parts]:
    return names


def _counted_together(names: list[Parts]) -> list[Parts]:
    """Number the parts of one kind in the order of the numbers that they have."""
    return _renumbered(names, lambda parts, depth: ())


def _counted_apart(names: list[Parts]) -> list[Parts]:
    """Number the parts of one kind within each part above them."""
    return _renumbered(names, lambda parts, depth: parts[:depth])


_READINGS: tuple[Callable[[list[Parts]], list[Parts]], ...] = (
    _as_they_are,
    _counted_together,
    _counted_apart,
)


def _renumbered(
    names: list[Parts], above: Callable[[Parts, int], Parts]
) -> list[Parts]:
    kinds: dict[tuple[Parts, str], set[int]] = defaultdict(set)
    for parts in names:
        for depth, part in enumerate(parts):
            base, number = split_number(part)
            kinds[above(parts, depth), base].add(number)
    ranks = {
        kind: {number: rank for rank, number in enumerate(sorted(numbers))}
        for kind, numbers in kinds.items()
    }

    def renamed(parts: Parts) -> Parts:
        new = []
        for depth, part in enumerate(parts):
            base, number = split_number(part)
            new.append(f"{base}_{ranks[above(parts, depth), base][number]}")
        return tuple(new)

    return [renamed(parts) for parts in names]


def contradicts(own: Sequence[str], theirs: Sequence[str]) -> list[bool]:
    """Say of each pair by order whether the kinds of weights contradict it.

    Where both sides have the same kinds (kernels, biases), a kernel beside a bias does.

    Example:
        >>> contradicts(["a/kernel", "a/bias"], ["x/bias", "x/kernel"])
        [True, True]
        >>> contradicts(["a/kernel", "a/bias"], ["param_0", "param_1"])
        [False, False]
    """
    ours, files = [last_of(n) for n in own], [last_of(n) for n in theirs]
    comparable = Counter(ours) == Counter(files)
    return [comparable and a != b for a, b in zip(ours, files, strict=False)]
