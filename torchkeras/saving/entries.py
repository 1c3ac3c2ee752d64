"""Tensors as files list them: name, shape and dtype first, values when asked for."""

from __future__ import annotations

import dataclasses
import mmap
import weakref
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core.errors import CorruptFileError
from torchkeras._core.limits import spend

_LARGE = 2**20


@dataclasses.dataclass(frozen=True)
class Entry:
    """A tensor in a file.

    Args:
        name: where it is in the file.
        shape: its shape.
        dtype: its dtype.
        fetch: reads its values.
        checksum: the checksum of its values; None where the file has none.
        source: the file and the part of it, for messages.
        label: what its layer calls it, where the file says so.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fetch: Callable[[], Tensor]
    checksum: int | None
    source: str
    label: str = ""

    @property
    def own_name(self) -> str:
        """The name within its layer, or the whole one."""
        return self.label or self.name

    def read(self) -> Tensor:
        """Return the values, on the CPU.

        Raises:
            CorruptFileError: when they are not those that were written.
        """
        spend(f"{self.source}: '{self.name}'", self.shape, self.dtype)
        value = self.fetch()
        if self.checksum is not None and checksum(value) != self.checksum:
            raise CorruptFileError(
                f"{self.source}: the values of '{self.name}' are damaged: their "
                "checksum is not the one written with them. Use another copy."
            )
        return value


class Scratch:
    """Memory for large values, used again for the next when one is let go.

    What lies in between in the memory of C would keep large parts of that, and fresh
    memory costs as much as a copy.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[mmap.mmap, weakref.ref[Any]]] = []

    def take(self, size: int) -> np.ndarray:
        """Return so many bytes."""
        if size < _LARGE:
            return np.empty(size, np.uint8)
        free = [part for part in self._parts if part[1]() is None]
        self._parts = [part for part in self._parts if part[1]() is not None]
        memory = next((m for m, _ in free if len(m) >= size), None)
        memory = memory or mmap.mmap(-1, size)
        array = np.frombuffer(memory, np.uint8, size)
        others = [part for part in free if part[0] is not memory]
        self._parts += [(memory, weakref.ref(array)), *others[:1]]
        return array

    def contiguous(self, value: Tensor) -> Tensor:
        """Return the values of a tensor in one piece, on the CPU."""
        value = value.detach().cpu()
        if value.is_contiguous() or value.nbytes < _LARGE:
            return value.contiguous()
        copy = torch.from_numpy(self.take(value.nbytes)).view(value.dtype)
        return copy.view(value.shape).copy_(value)


def checksum(value: Tensor | bytes) -> int:
    """Return the CRC-32 of the bytes of a tensor, or of bytes.

    Example:
        >>> checksum(torch.zeros(2)) == checksum(bytes(8))
        True
    """
    if isinstance(value, bytes):
        return zlib.crc32(value)
    if not value.numel():
        return 0
    flat = value.detach().cpu().contiguous().reshape(-1)
    return zlib.crc32(flat.view(torch.uint8).numpy().data)
