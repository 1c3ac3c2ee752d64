"""Bounds on what a config or a file may cost, whatever it declares."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from torchkeras._core.context import context
from torchkeras._core.errors import UnsafeFileError, did_you_mean, positive_integer


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may ask for.

    Args:
        config_bytes: the size of a JSON part.
        config_items: the objects, lists and values in a JSON part.
        config_depth: how deep JSON may be nested.
        layers: the layers of a model.
        calls: the calls of one layer in a model.
        members: the members of an archive.
        tensors: the tensors of a safetensors file.
        objects: the groups and datasets of an HDF5 file.
        expansion: how many times its own size a file may take in memory, of all that is
            read and made together.
        unchecked_bytes: what any file may take, however small it is.
        weight_bytes: what the weights may take that a config without a file asks for.
    """

    config_bytes: int = 64 * 2**20
    config_items: int = 1_000_000
    config_depth: int = 200
    layers: int = 100_000
    calls: int = 10_000
    members: int = 10_000
    tensors: int = 50_000
    objects: int = 1_000_000
    expansion: int = 100
    unchecked_bytes: int = 32 * 2**20
    weight_bytes: int = 16 * 2**30


_USUAL = Limits()


def active() -> Limits:
    """Return the limits in force in this thread."""
    return context.limits or _USUAL


@contextlib.contextmanager
def limits(**values: int) -> Generator[None]:
    """Change limits within a ``with`` block, for a large file that you trust.

    Other threads keep theirs.

    Args:
        **values: fields of `Limits`.

    Raises:
        ValueError: for an unknown limit.

    Example:
        >>> with limits(config_bytes=2**30):
        ...     active().config_bytes == 2**30
        True
    """
    known = [field.name for field in dataclasses.fields(Limits)]
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"limits: unknown limit {name!r}.{did_you_mean(name, known)} "
                f"Known: {known}."
            )
        positive_integer("limits", name, value)
    before = context.limits
    context.limits = dataclasses.replace(active(), **values)
    try:
        yield
    finally:
        context.limits = before


def how_to_raise(name: str) -> str:
    """Return the advice that ends a message about a limit."""
    value = getattr(active(), name)
    return (
        f"The limit is {value:,}; if you trust the file, raise it by `with "
        f"torchkeras.saving.limits({name}=...)`."
    )


class Budget:
    """What is left of the bytes that one load may take.

    Whatever it reads, unpacks or makes is charged before it is there; containers and
    compressions within one another are charged together.

    Args:
        stored: the size of the file in bytes; None for a config without a file.

    Example:
        >>> Budget(100).spend("the config", 1_000)
        >>> Budget(100).spend("the config", 10**9)
        Traceback (most recent call last):
        torchkeras._core.errors.UnsafeFileError: the config takes 1,000,000,000 bytes...
    """

    def __init__(self, stored: int | None = None) -> None:
        bounds = active()
        if stored is None:
            self._left, self._of = bounds.weight_bytes, "a config without a file"
        else:
            self._left = max(bounds.unchecked_bytes, bounds.expansion * stored)
            self._of = f"a file of {stored:,} bytes"
        self._limit = "weight_bytes" if stored is None else "expansion"

    def spend(self, what: str, size: int) -> None:
        """Take bytes off.

        Args:
            what: what takes them, for the message.
            size: how many.

        Raises:
            UnsafeFileError: when they are not left.
        """
        self.check(what, size)
        self._left -= size

    @contextlib.contextmanager
    def at_most(self, size: int) -> Generator[None]:
        """Let no more than so many bytes be spent within this context."""
        held = max(self._left - size, 0)
        self._left -= held
        try:
            yield
        finally:
            self._left += held

    def check(self, what: str, size: int) -> None:
        """Refuse bytes that are not left, without taking them off."""
        if size > self._left:
            raise UnsafeFileError(
                f"{what} takes {size:,} bytes, and {self._left:,} are left of what "
                f"{self._of} may take. {how_to_raise(self._limit)}"
            )

    def charge(self, what: str, tensors: Iterable[Tensor]) -> None:
        """Take the bytes off that tensors have, or would have if not on `meta`."""
        self.spend(what, sum(tensor.nbytes for tensor in tensors))


def check(what: str, size: int) -> None:
    """Refuse bytes that are not left in the budget of this thread, if it has one."""
    if context.budget is not None:
        context.budget.check(what, size)


def spend(what: str, shape: Iterable[int], dtype: torch.dtype) -> None:
    """Charge a tensor that is about to be made to the budget of this thread, if any.

    Args:
        what: what it is, for messages.
        shape: its shape.
        dtype: its dtype.
    """
    if context.budget is not None and torch.get_default_device().type != "meta":
        context.budget.spend(what, math.prod(shape) * dtype.itemsize)


def spend_list(what: str, count: int, size: int = 8) -> None:
    """Charge a list that is about to be made.

    Args:
        what: what is in it, for messages.
        count: how long it is.
        size: the bytes that one item takes.
    """
    if context.budget is not None:
        context.budget.spend(f"a list of {count:,} {what}", size * count)


@contextlib.contextmanager
def budget(stored: int | None = None) -> Generator[None]:
    """Let one budget bound all that is read and made within this context.

    Args:
        stored: the size of the file in bytes. Without a file the budget around this
            context holds, if there is one.
    """
    before = context.budget
    if before is None or stored is not None:
        context.budget = Budget(stored)
    try:
        yield
    finally:
        context.budget = before
