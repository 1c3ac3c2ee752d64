"""Zip archives, of which only members that are asked for are ever read."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import torch

from torchkeras._core import limits
from torchkeras._core.errors import CorruptFileError, UnsafeFileError

MAGIC = b"PK\x03\x04"

_ENCRYPTED = 0x1
_PIECE = 2**20
#: Where a member's header says how long its name and the rest of it are.
_LENGTHS_AT = 26


@contextlib.contextmanager
def _refusing_damage(source: str) -> Generator[None]:
    """Turn what zipfile raises on a damaged archive into `CorruptFileError`."""
    try:
        yield
    except (CorruptFileError, UnsafeFileError):
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise CorruptFileError(f"{source}: damaged archive: {error}") from None


class Archive:
    """An open zip archive whose members have been checked.

    Args:
        file: the archive.
        raw: the open file that it is in.
        source: its path, for messages.
    """

    def __init__(self, file: zipfile.ZipFile, raw: BinaryIO, source: str) -> None:
        self._file = file
        self._raw = raw
        self._source = source
        self.names = [info.filename for info in file.infolist()]

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            CorruptFileError: when there is no such member, or it is damaged.
        """
        with _refusing_damage(f"{self._source}, {name}"):
            size = self._info(name).file_size
            limits.spend(f"{self._source}: '{name}'", (size,), torch.uint8)
            return self._file.read(name)

    def open(self, name: str) -> BinaryIO:
        """Return a member as a file, after a look at its checksum.

        What is stored as it is, as Keras does, is not copied.

        Raises:
            CorruptFileError: when there is no such member, or it is damaged.
        """
        info = self._info(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(self.read(name))
        with _refusing_damage(f"{self._source}, {name}"):
            with self._file.open(info) as member:
                while member.read(_PIECE):  # the last one checks the sum
                    pass
            self._raw.seek(info.header_offset + _LENGTHS_AT)
            lengths = struct.unpack("<HH", self._raw.read(4))
            start = info.header_offset + _LENGTHS_AT + 4 + sum(lengths)
            part: Any = _Part(self._raw, start, info.file_size)
            return part

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self.names:
            raise CorruptFileError(
                f"{self._source}: there is no member '{name}', only "
                f"{self.names[:20]}. This is no Keras archive, or a damaged one."
            )
        return self._file.getinfo(name)


class _Part(io.RawIOBase):
    """So many bytes of a file, from a place on, as a file."""

    def __init__(self, raw: BinaryIO, start: int, size: int) -> None:
        self._raw: Any = raw
        self._start = start
        self._size = size
        self._at = 0

    def readinto(self, buffer: Any) -> int:
        self._raw.seek(self._start + self._at)
        wanted = max(min(len(buffer), self._size - self._at), 0)
        count: int = self._raw.readinto(memoryview(buffer)[:wanted])
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = bases[whence] + offset
        return self._at

    def readable(self) -> bool:
        return True


@contextlib.contextmanager
def open_to_read(raw: BinaryIO, source: str) -> Generator[Archive]:
    """Open an archive and check its list of members.

    Args:
        raw: the open file.
        source: its path, for messages.

    Raises:
        UnsafeFileError: for members that no model has a use for.
        CorruptFileError: for what is no archive.
    """
    with contextlib.ExitStack() as stack:
        with _refusing_damage(source):
            file = stack.enter_context(zipfile.ZipFile(raw))
            _check_members(file.infolist(), source)
        yield Archive(file, raw, source)


def _check_members(members: list[zipfile.ZipInfo], source: str) -> None:
    if len(members) > limits.active().members:
        raise UnsafeFileError(
            f"{source}: the archive has {len(members):,} members. "
            f"{limits.how_to_raise('members')}"
        )
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if problem := _problem_of(member):
            raise UnsafeFileError(f"{source}: the member {name[:200]!r} {problem}.")
        if name.casefold() in seen:
            raise UnsafeFileError(f"{source}: the member {name!r} is there twice.")
        seen.add(name.casefold())
    total = sum(member.file_size for member in members)
    limits.check(f"{source}: all that the archive packs", total)


def _problem_of(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    if "\\" in name or windows.anchor or name.startswith("/") or ".." in parts:
        return "has a path that leads out of the archive"
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a regular file"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unknown way"
    return None
