"""Tensors as files list them: name, shape and dtype first, values when asked for."""

from __future__ import annotations

import dataclasses
import mmap
import zlib
from collections.abc import Callable

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


def scratch(size: int) -> np.ndarray:
    """Return memory that goes back to the system as soon as it is let go.

    What lies in between in the memory of C would keep large parts of that.

    Args:
        size: its bytes.
    """
    if size < _LARGE:
        return np.empty(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def contiguous(value: Tensor) -> Tensor:
    """Return the values of a tensor in one piece, on the CPU."""
    value = value.detach().cpu()
    if value.is_contiguous() or value.nbytes < _LARGE:
        return value.contiguous()
    copy = torch.from_numpy(scratch(value.nbytes)).view(value.dtype)
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
    return zlib.crc32(contiguous(value).reshape(-1).view(torch.uint8).numpy().data)
