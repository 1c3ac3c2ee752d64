"""What is one object stays one in a config and in what is made from it.

A config is a tree, so an object that is used in two places of a model stands in it
twice. Both places carry the same number then, as in Keras: whoever reads the config
makes the object at the first one and takes it again at the second.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

from torchkeras._core import tree
from torchkeras._core.context import context

P = ParamSpec("P")
R = TypeVar("R")

#: Where a config has the number of its object: Keras's name.
KEY = "shared_object_id"


class _Numbers:
    """The numbers of objects, which are kept: `id` is theirs while they live."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, Any]] = {}

    def of(self, value: Any) -> int:
        new = len(self._numbers), value
        return self._numbers.setdefault(id(value), new)[0]


def writes(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function number the objects whose configs it returns.

    Those that the outermost such function met in one place only lose their number.
    """

    @functools.wraps(function)
    def numbering(*args: P.args, **kwargs: P.kwargs) -> R:
        if context.numbers is not None:
            return function(*args, **kwargs)
        context.numbers = _Numbers()
        try:
            config = function(*args, **kwargs)
        finally:
            context.numbers = None
        parts = [p for p in tree.mappings_in(config) if "class_name" in p and KEY in p]
        counts = Counter(part[KEY] for part in parts)
        for part in parts:
            if counts[part[KEY]] == 1:
                del part[KEY]
        return config

    return numbering


def number_of(value: Any) -> int:
    """Return the number of an object, within `writes` or `cloning`.

    Raises:
        RuntimeError: outside of them.
    """
    if context.numbers is None:
        raise RuntimeError("Objects have numbers while a config is made only.")
    return context.numbers.of(value)


@contextlib.contextmanager
def reading(*, anew: bool = False) -> Generator[None]:
    """Keep what is made from numbered configs within this context.

    Args:
        anew: know nothing of what is made around this context: the numbers are of
            another config.
    """
    before = context.made
    if before is None or anew:
        context.made = {}
    try:
        yield
    finally:
        context.made = before


@contextlib.contextmanager
def cloning() -> Generator[None]:
    """Let every object have its number, and one twin of that number."""
    before, context.numbers = context.numbers, _Numbers()
    try:
        with reading(anew=True):
            yield
    finally:
        context.numbers = before


def find(number: Any, cls: type) -> Any | None:
    """Return what was made of a number, None if nothing was.

    Raises:
        ValueError: when that is of another class.
    """
    if not isinstance(number, int) or number not in (context.made or ()):
        return None
    known, instance = context.made[number]
    if known is not cls:
        raise ValueError(
            f"The config gives the number {number} to two objects: a {known.__name__} "
            f"and a {cls.__name__}."
        )
    return instance


def keep(number: Any, cls: type, instance: Any) -> None:
    """Remember what was made of a number."""
    if context.made is not None and isinstance(number, int):
        context.made[number] = (cls, instance)
