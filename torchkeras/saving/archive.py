"""Zip archives, of which only members that are asked for are ever read."""

from __future__ import annotations

import contextlib
import stat
import zipfile
import zlib
from collections.abc import Generator
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO

import torch

from torchkeras._core import limits
from torchkeras._core.errors import CorruptFileError, UnsafeFileError

MAGIC = b"PK\x03\x04"

_ENCRYPTED = 0x1


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
        source: its path, for messages.
    """

    def __init__(self, file: zipfile.ZipFile, source: str) -> None:
        self._file = file
        self._source = source
        self.names = [info.filename for info in file.infolist()]

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            CorruptFileError: when there is no such member, or it is damaged.
        """
        if name not in self.names:
            raise CorruptFileError(
                f"{self._source}: there is no member '{name}', only "
                f"{self.names[:20]}. This is no Keras archive, or a damaged one."
            )
        with _refusing_damage(f"{self._source}, {name}"):
            size = self._file.getinfo(name).file_size
            limits.spend(f"{self._source}: '{name}'", (size,), torch.uint8)
            return self._file.read(name)


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
        yield Archive(file, source)


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
