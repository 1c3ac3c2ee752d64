"""Bounds on what reading a file may cost, whatever the file declares."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator

from torchkeras._core.context import context
from torchkeras._core.errors import did_you_mean, positive_integer


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may ask for.

    Args:
        config_bytes: the size of a JSON part.
        config_items: the objects, lists and values in a JSON part.
        config_depth: how deep JSON may be nested.
        layers: the layers of a model.
        members: the members of an archive.
        objects: the groups and datasets of an HDF5 file.
        expansion: how many times larger than stored a part may become.
        unchecked_bytes: parts that become no larger than this may expand freely.
    """

    config_bytes: int = 64 * 2**20
    config_items: int = 1_000_000
    config_depth: int = 200
    layers: int = 100_000
    members: int = 10_000
    objects: int = 1_000_000
    expansion: int = 100
    unchecked_bytes: int = 16 * 2**20


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


def check_expansion(what: str, declared: int, stored: int) -> str | None:
    """Return what is wrong with a part that grows when it is read, or None."""
    bound = max(active().unchecked_bytes, active().expansion * stored)
    if declared <= bound:
        return None
    return (
        f"{what} declares {declared:,} bytes and stores {stored:,}. "
        f"{how_to_raise('expansion')}"
    )
