"""HDF5, written plainly and read with suspicion.

A file is listed before anything in it is read. Whatever could lead out of the file
(soft and external links, external and virtual datasets, filters that load a plug-in) or
make reading cost more than the file's size suggests is refused. The library reads in a
process of its own, which ends when it comes to no end; values that lie in one piece are
read here, without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import torch
from torch import Tensor

from torchkeras._core import hdf5_reader
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.hdf5_reader import Service
from torchkeras._core.helper import Helper, helper
from torchkeras._core.interrupts import interrupts_waiting
from torchkeras._core.limits import active, check, how_to_raise
from torchkeras.saving.entries import Entry, Scratch, checksum

MAGIC = b"\x89HDF\r\n\x1a\n"

_CHECKSUM = "crc32"
#: The checksum of what the file lists: names, dtypes, shapes, checksums and texts.
_LISTING = "listing_crc32"
_LISTED = ("model_config", "training_config", "layer_names", "weight_names")
#: How NumPy, which has no bfloat16, shows a dataset of it.
_BFLOAT16 = np.dtype("V2")
#: An attribute of more bytes than this does not fit into an object's header.
_BYTES_PER_ATTRIBUTE = 60_000


@dataclasses.dataclass
class Store:
    """What an HDF5 file holds.

    Args:
        groups: the attributes of its groups, as lists, by the groups' paths.
        entries: its datasets by their paths.
        source: the file and the part of it, for messages.
    """

    groups: dict[str, dict[str, list[Any]]]
    entries: dict[str, Entry]
    source: str

    def text(self, path: str, name: str) -> str | None:
        """Return an attribute of text, None where there is none.

        Raises:
            CorruptFileError: when it is not what was written, by its checksum.
        """
        attributes = self._attributes(path)
        if name not in attributes:
            return None
        values, sums = attributes[name], attributes.get(f"{name}_{_CHECKSUM}")
        text = values[0] if len(values) == 1 else None
        if not isinstance(text, str):
            raise self._damage(path, name, "is no text")
        if sums is not None and sums != [checksum(text.encode("utf-8"))]:
            raise self._damage(path, name, "is not the one written with its checksum")
        return text

    def names(self, path: str, name: str) -> list[str]:
        """Return an attribute that lists names, or the numbered ones it was split into.

        Raises:
            CorruptFileError: when it lists one twice, or what is no name.
        """
        attributes = self._attributes(path)
        names, number = list(attributes.get(name, ())), 0
        while name not in attributes and f"{name}{number}" in attributes:
            names += attributes[f"{name}{number}"]
            number += 1
        if not all(isinstance(n, str) for n in names) or len({*names}) < len(names):
            raise self._damage(path, name, "lists a name twice, or what is no name")
        return names

    def _attributes(self, path: str) -> dict[str, list[Any]]:
        if path not in self.groups:
            raise CorruptFileError(f"{self.source}: there is no group '{path}'.")
        return self.groups[path]

    def _damage(self, path: str, name: str, how: str) -> CorruptFileError:
        what = f"{self.source}: the attribute '{name}' of '{path}'"
        return CorruptFileError(f"{what} is damaged: it {how}. Use another copy.")


@contextlib.contextmanager
def open_to_read(
    file: BinaryIO, source: str, is_checked: bool = False
) -> Generator[Store]:
    """Open an HDF5 file for reading, and list it.

    Args:
        file: the file.
        source: its path, for messages.
        is_checked: whether a checksum of the whole file was found right already.

    Raises:
        UnsafeFileError: for what leads out of the file, or costs too much.
        CorruptFileError: for what cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    with _processes(file) as process:
        reader = _Reader(process, file, source)
        listing = reader.open(size)
        entries = {
            path: _entry(path, about, file, size, reader, source)
            for path, about in listing["datasets"].items()
        }
        if is_checked:
            entries = {
                path: dataclasses.replace(entry, checksum=None)
                for path, entry in entries.items()
            }
        else:
            _check_listing(listing, source)
        total = sum(math.prod(e.shape) * e.dtype.itemsize for e in entries.values())
        check(f"{source}: all data", total)
        yield Store(listing["groups"], entries, source)
        reader.close()


def _check_listing(listing: dict[str, Any], source: str) -> None:
    lines = [
        _line(path, about["dtype"], list(about["shape"]), about.get(_CHECKSUM))
        for path, about in listing["datasets"].items()
    ]
    for path, attributes in listing["groups"].items():
        listed = [name for name in attributes if name.startswith(_LISTED)]
        lines += [_line(path, name, attributes[name]) for name in listed]
    expected = listing["groups"][""].get(_LISTING)
    if expected is not None and expected != [_sum_of(lines)]:
        raise CorruptFileError(
            f"{source}: names, shapes or texts in it are damaged. Use another copy. "
            f"(If they were changed on purpose, remove the attribute '{_LISTING}'.)"
        )


def _line(path: Any, *what: Any) -> str:
    return f"{path.lstrip('/')} {what}"


def _sum_of(lines: Iterable[str]) -> int:
    return checksum("\n".join(sorted(lines)).encode("utf-8"))


def _entry(
    path: str, about: Any, file: BinaryIO, size: int, reader: _Reader, source: str
) -> Entry:
    what = f"{source}: the dataset '{path}'"
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    needed, offset = math.prod(shape) * dtype.itemsize, about["offset"]
    for part in (shape, about["chunks"] or ()):  # it is read in whole chunks
        check(what, math.prod(part) * dtype.itemsize)
    if offset is None:
        read = functools.partial(reader.values, path)
    elif offset + needed <= size and about["stored"] == needed:
        read = functools.partial(_read_piece, file, offset, what)
    else:
        raise CorruptFileError(f"{what} is damaged: it is not where it is said to be.")
    checksums = about.get(_CHECKSUM)
    return Entry(
        name=path,
        shape=shape,
        dtype=_torch_dtype(dtype),
        fetch=functools.partial(_fetch, shape, dtype, read, reader.scratch),
        checksum=checksums[0] if checksums else None,
        source=source,
    )


def _torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    if dtype == _BFLOAT16:
        return torch.bfloat16
    return torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype


def _fetch(
    shape: tuple[int, ...], dtype: np.dtype[Any], read: Any, scratch: Scratch
) -> Tensor:
    memory = scratch.take(math.prod(shape) * dtype.itemsize)
    read(memory.data)
    array = memory.view(dtype).reshape(shape)
    if dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))


def _read_piece(file: Any, offset: int, what: str, into: memoryview) -> None:
    file.seek(offset)
    done = 0
    while done < len(into):
        count = file.readinto(into[done:])
        if not count:
            raise CorruptFileError(f"{what} is damaged: the file ends before it does.")
        done += count


# The two readers


class _Reader:
    """Reads a file by the library.

    Args:
        process: what runs the library, which gets no more time and memory than a file
            of its size may need.
        file: the file.
        source: its path, for messages.
    """

    def __init__(self, process: Helper | _Here, file: BinaryIO, source: str) -> None:
        self.scratch = Scratch()
        self._process = process
        self._file = file
        self._source = source

    def open(self, size: int) -> dict[str, Any]:
        """Return what the file lists."""
        names = ("objects", "layers", "config_bytes")
        bounds = {"size": size, **{name: getattr(active(), name) for name in names}}
        return self._ask("open", size, 2**20, bounds=bounds)["listing"]

    def values(self, path: str, into: memoryview) -> None:
        """Read the values of a dataset."""
        self._ask("values", len(into), 2**24, path=path)
        self._process.fill(into)

    def close(self) -> None:
        """Let go of the file."""
        self._ask("close", 0, 1)

    def _ask(self, do: str, size: int, per_second: int, **more: Any) -> dict[str, Any]:
        bounds = {"seconds": 1 + size / per_second, "memory": 2**26 + 4 * size}
        job = {"do": do, **bounds, **more}
        answer = self._process.ask(self._file, self._source, job)
        failed, why = answer.get("failed"), answer.get("why")
        if failed == "refused":
            advice = answer["limit"] and how_to_raise(answer["limit"])
            raise UnsafeFileError(f"{self._source}: {why} {advice}".rstrip())
        if failed == "damaged":
            raise CorruptFileError(f"{self._source}: damaged HDF5: {why}")
        return answer


class _Here:
    """Runs the library in this process: a frozen program could only start itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._service = Service(lambda size: file, lambda: None)
        self._data = memoryview(b"")

    def ask(self, file: BinaryIO, source: str, job: Any) -> dict[str, Any]:
        answer, self._data = self._service.answer(job)
        return answer

    def fill(self, into: memoryview) -> None:
        into[:] = self._data


def _processes(file: BinaryIO) -> contextlib.AbstractContextManager[Helper | _Here]:
    if getattr(sys, "frozen", False) or not sys.executable:
        return contextlib.nullcontext(_Here(file))
    return helper(Path(hdf5_reader.__file__))


# Writing


class _PatientFile:
    """A file that remembers its first failure to write and lets HDF5 finish.

    HDF5 cannot close a file whose last bytes it cannot write; told that all went well,
    it can, and the failure is raised afterwards.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            if self.failure is None:
                self._file.write(data)
                return len(data)
        except OSError as error:
            self.failure = error
        self._file.seek(len(data), 1)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.failure = self.failure or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Writer:
    """Writes tensors to an HDF5 file.

    Args:
        root: the file.
        pause: called before each tensor.
    """

    def __init__(self, root: h5py.File, pause: Callable[[], None]) -> None:
        self.root = root
        self._pause = pause
        self._lines: list[str] = []
        self._scratch = Scratch()

    def tensor(self, group: h5py.Group, name: str, value: Tensor) -> None:
        """Write a tensor, bit for bit, and its checksum.

        Raises:
            ValueError: for a dtype that HDF5 does not have.
        """
        self._pause()
        value = self._scratch.contiguous(value)
        try:
            if value.dtype == torch.bfloat16:
                array = value.view(torch.int16).numpy().view(_BFLOAT16)
            else:
                array = value.numpy()
        except TypeError:
            raise ValueError(
                f"'{name}': HDF5 has no {value.dtype}. Save to a .safetensors file."
            ) from None
        dataset = group.create_dataset(name, data=array)
        if value.dtype == torch.bfloat16:
            dataset.attrs["dtype"] = "bfloat16"  # as Keras does
        found = checksum(value)
        dataset.attrs[_CHECKSUM] = np.uint32(found)
        line = _line(dataset.name, array.dtype.str, list(array.shape), [found])
        self._lines.append(line)

    def text(self, node: h5py.Group, name: str, text: str) -> None:
        """Write an attribute of text of any length, and its checksum."""
        found = checksum(text.encode("utf-8"))
        node.attrs[name] = text
        node.attrs[f"{name}_{_CHECKSUM}"] = np.uint32(found)
        self._lines.append(_line(node.name, name, [text]))
        self._lines.append(_line(node.name, f"{name}_{_CHECKSUM}", [found]))

    def names(self, node: h5py.Group, name: str, names: list[str]) -> None:
        """Write an attribute that lists names, split where a header is too small."""
        data = [each.encode("utf-8") for each in names]
        most = max(_BYTES_PER_ATTRIBUTE // max(map(len, data), default=1), 1)
        if len(names) <= most:
            self._write_names(node, name, data, names)
            return
        for number, start in enumerate(range(0, len(names), most)):
            part = slice(start, start + most)
            self._write_names(node, f"{name}{number}", data[part], names[part])

    def _write_names(
        self, node: h5py.Group, name: str, data: list[bytes], names: list[str]
    ) -> None:
        node.attrs[name] = np.array(data, "S") if data else np.empty(0, "S1")
        self._lines.append(_line(node.name, name, names))

    def finish(self) -> None:
        """Write what is known at the end."""
        self.root.attrs[_LISTING] = np.uint32(_sum_of(self._lines))


@contextlib.contextmanager
def open_to_write(file: BinaryIO) -> Generator[Writer]:
    """Write an HDF5 file into an open, empty file.

    Raises:
        OSError: when it could not be written, such as to a full disk.
    """
    patient = _PatientFile(file)
    with interrupts_waiting() as let_them_in, h5py.File(patient, "w") as opened:
        writer = Writer(opened, let_them_in)
        yield writer
        writer.finish()
    if patient.failure is not None:
        raise patient.failure


def subgroup(group: h5py.Group, parts: Iterable[str]) -> h5py.Group:
    """Return the group at a path below, made where it is missing."""
    for part in parts:
        group = group.require_group(part)
    return group
