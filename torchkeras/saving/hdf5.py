"""HDF5, written plainly and read with suspicion.

A file is listed before anything in it is read. Whatever could lead out of the file
(soft and external links, external and virtual datasets, filters that load a plug-in) or
make reading cost more than the file's size suggests is refused.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Generator, Iterable, Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np
import torch
from h5py import h5a, h5d, h5o, h5t, h5z  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor

from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.limits import active, check, how_to_raise
from torchkeras.saving.entries import Entry, checksum

MAGIC = b"\x89HDF\r\n\x1a\n"

_CHECKSUM = "crc32"
#: How NumPy, which has no bfloat16, shows a dataset of it.
_BFLOAT16 = np.dtype("V2")
_FILTERS = (
    h5z.FILTER_DEFLATE,
    h5z.FILTER_SHUFFLE,
    h5z.FILTER_FLETCHER32,
    h5z.FILTER_LZF,
)
#: Attributes of more bytes than this do not fit into an object's header.
_NAMES_PER_ATTRIBUTE = 2_000


@contextlib.contextmanager
def refusing_damage(source: str) -> Generator[None]:
    """Turn what h5py raises on a damaged file into `CorruptFileError`.

    Args:
        source: the file and the part of it, for messages.
    """
    try:
        yield
    except (CorruptFileError, UnsafeFileError):
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise CorruptFileError(f"{source}: damaged HDF5: {error}") from None


@contextlib.contextmanager
def open_to_read(file: BinaryIO, source: str) -> Generator[h5py.File]:
    """Open an HDF5 file for reading."""
    with contextlib.ExitStack() as stack:
        with refusing_damage(source):
            opened = stack.enter_context(h5py.File(file, "r"))
        yield opened


def list_entries(root: h5py.Group, source: str) -> dict[str, Entry]:
    """Return the datasets below a group by their paths, in order of names.

    Raises:
        UnsafeFileError: for what leads out of the file, or costs too much.
        CorruptFileError: for what cannot be read.
    """
    with refusing_damage(source):
        datasets = dict(_walk(root, source))
        declared = 0
        entries = {}
        for path, dataset in datasets.items():
            declared += _check_dataset(dataset, f"{source}: the dataset '{path}'")
            entries[path] = _entry(path, dataset, source)
        check(f"{source}: all data", declared)
        return entries


def _walk(root: h5py.Group, source: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield datasets with their paths; refuse links and objects met twice."""
    seen = {h5o.get_info(root.id).addr}
    groups = [("", root)]
    while groups:
        prefix, group = groups.pop()
        if len(seen) + len(group) > active().objects:
            raise UnsafeFileError(
                f"{source}: the file has too many objects. {how_to_raise('objects')}"
            )
        for name in group:
            path = f"{prefix}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsafeFileError(_leads_away(source, path, link))
            member = group[name]
            address = h5o.get_info(member.id).addr
            if address in seen:
                raise UnsafeFileError(f"{source}: '{path}' is linked more than once.")
            seen.add(address)
            if isinstance(member, h5py.Group):
                groups.append((f"{path}/", member))
            elif isinstance(member, h5py.Dataset):
                yield path, member
            else:
                raise UnsafeFileError(
                    f"{source}: '{path}' is neither a group nor a dataset."
                )


def _leads_away(source: str, path: str, link: Any) -> str:
    return (
        f"{source}: '{path}' is a link ({type(link).__name__}), which may lead to "
        "another file. Only plain groups and datasets are read."
    )


def _check_dataset(dataset: h5py.Dataset, what: str) -> int:
    """Return the size of a dataset that may be read."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise UnsafeFileError(f"{what} is virtual: its values are in other files.")
    if plan.get_external_count():
        raise UnsafeFileError(f"{what} has external storage: its values are elsewhere.")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if unknown := sorted(set(filters) - set(_FILTERS)):
        raise UnsafeFileError(f"{what} is stored through unknown filters {unknown}.")
    if dataset.shape is None or not _is_numeric(dataset.dtype):
        raise UnsafeFileError(
            f"{what} holds {dataset.dtype}; only arrays of numbers are read."
        )
    for shape in (dataset.shape, dataset.chunks or ()):  # it is read in whole chunks
        check(what, math.prod(shape) * dataset.dtype.itemsize)
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _is_numeric(dtype: np.dtype[Any]) -> bool:
    if dtype == _BFLOAT16:
        return True
    sizes = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
    return dtype.itemsize <= sizes.get(dtype.kind, 0)


def _entry(path: str, dataset: h5py.Dataset, source: str) -> Entry:
    dtype = torch.bfloat16
    if dataset.dtype != _BFLOAT16:
        native = dataset.dtype.newbyteorder("=")
        dtype = torch.from_numpy(np.empty(0, native)).dtype
    expected = read_attribute(dataset, _CHECKSUM, source)
    return Entry(
        name=path,
        shape=tuple(dataset.shape),
        dtype=dtype,
        fetch=functools.partial(_fetch, dataset, source),
        checksum=int(expected) if isinstance(expected, np.integer) else None,
        source=source,
    )


def _fetch(dataset: h5py.Dataset, source: str) -> Tensor:
    with refusing_damage(f"{source}: '{dataset.name}'"):
        array = np.asarray(dataset[()])
        if array.dtype == _BFLOAT16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def find_group(root: h5py.Group, name: str, source: str) -> h5py.Group:
    """Return the group of that name, reached by no link that could lead elsewhere.

    Raises:
        CorruptFileError: when there is none.
    """
    with refusing_damage(source):
        link = root.get(name, getlink=True)
        if link is not None and not isinstance(link, h5py.HardLink):
            raise UnsafeFileError(_leads_away(source, name, link))
        group = root.get(name)
        if not isinstance(group, h5py.Group):
            raise CorruptFileError(f"{source}: there is no group '{name}'.")
        return group


# Attributes


def read_attribute(node: Any, name: str, source: str) -> Any:
    """Return a small attribute of numbers or text, None where there is none."""
    if name not in node.attrs:
        return None
    attribute = h5a.open(node.id, name.encode())
    kind = attribute.get_type().get_class()
    if kind not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT):
        raise UnsafeFileError(
            f"{source}: the attribute '{name}' holds neither text nor numbers."
        )
    count = attribute.get_space().get_simple_extent_npoints()
    size = count * attribute.dtype.itemsize
    if count > active().layers or size > active().config_bytes:
        raise UnsafeFileError(f"{source}: the attribute '{name}' is too large.")
    return node.attrs[name]


def read_text(node: Any, name: str, source: str) -> str | None:
    """Return an attribute of text, checked against its checksum where there is one."""
    with refusing_damage(f"{source}, attribute '{name}'"):
        text = read_attribute(node, name, source)
        if text is None:
            return None
        data = text if isinstance(text, bytes) else str(text).encode("utf-8")
        expected = read_attribute(node, f"{name}_{_CHECKSUM}", source)
        if expected is not None and int(expected) != checksum(data):
            raise ValueError("its checksum is not the one written with it")
        return data.decode("utf-8")


def write_text(node: Any, name: str, text: str) -> None:
    """Write an attribute of text of any length, and its checksum."""
    node.attrs[name] = text
    node.attrs[f"{name}_{_CHECKSUM}"] = np.uint32(checksum(text.encode("utf-8")))


def read_names(node: Any, name: str, source: str) -> list[str]:
    """Return an attribute that lists names, or the numbered ones it was split into."""
    with refusing_damage(f"{source}, attribute '{name}'"):
        whole = read_attribute(node, name, source)
        parts = [] if whole is None else [whole]
        while whole is None:
            part = read_attribute(node, f"{name}{len(parts)}", source)
            if part is None:
                break
            parts.append(part)
        names = [n for part in parts for n in np.atleast_1d(part)]
        return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for n in names]


def write_names(node: Any, name: str, names: list[str]) -> None:
    """Write an attribute that lists names, split where a header is too small."""
    text = h5py.string_dtype()
    if len(names) <= _NAMES_PER_ATTRIBUTE:
        node.attrs.create(name, np.array(names, dtype=object), dtype=text)
        return
    starts = range(0, len(names), _NAMES_PER_ATTRIBUTE)
    for number, start in enumerate(starts):
        part = np.array(names[start : start + _NAMES_PER_ATTRIBUTE], dtype=object)
        node.attrs.create(f"{name}{number}", part, dtype=text)


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


@contextlib.contextmanager
def open_to_write(file: BinaryIO) -> Generator[h5py.File]:
    """Write an HDF5 file into an open, empty file.

    Raises:
        OSError: when it could not be written, such as to a full disk.
    """
    patient = _PatientFile(file)
    with h5py.File(patient, "w") as opened:
        yield opened
    if patient.failure is not None:
        raise patient.failure


def write_tensor(group: h5py.Group, name: str, value: Tensor) -> None:
    """Write a tensor, bit for bit, and its checksum.

    Raises:
        ValueError: for a dtype that HDF5 does not have.
    """
    value = value.detach().cpu().contiguous()
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
    dataset.attrs[_CHECKSUM] = np.uint32(checksum(value))


def subgroup(group: h5py.Group, parts: Iterable[str]) -> h5py.Group:
    """Return the group at a path below, made where it is missing."""
    for part in parts:
        group = group.require_group(part)
    return group
