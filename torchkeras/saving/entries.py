"""Tensors as files list them: name, shape and dtype first, values when asked for."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import torch
from torch import Tensor

from torchkeras._core.errors import CorruptFileError
from torchkeras._core.limits import spend


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
