"""Safetensors: tensors in torch's layout, with the model's config in the header."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from torchkeras._core import strict_json
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.limits import active, how_to_raise
from torchkeras.saving.entries import Entry, checksum

#: The version of what the header holds; readers refuse a later one. Up to version 1
#: the keys of layers without given names counted all layers of the process.
FORMAT_VERSION = 2

_VERSION = "torchkeras_format"
_CHECKSUMS = "checksums"
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}


def looks_right(head: bytes, size: int) -> bool:
    """Say whether a file that begins with `head` can be a safetensors file.

    Example:
        >>> looks_right((2).to_bytes(8, "little") + b"{}", 10)
        True
    """
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and length <= size - 8


@contextlib.contextmanager
def _refusing_damage(source: str) -> Generator[None]:
    try:
        yield
    except (SafetensorError, OSError, UnicodeError) as error:
        raise CorruptFileError(f"{source}: damaged safetensors: {error}") from None


class TensorFile:
    """An open safetensors file.

    Args:
        file: the file.
        source: its path, for messages.
    """

    #: The JSON parts of the header, by name; empty for a file that others wrote.
    parts: dict[str, Any]
    #: The version that the header is of; 0 for a file that others wrote.
    version: int
    entries: dict[str, Entry]

    def __init__(self, file: Any, source: str) -> None:
        self._file = file
        self._source = source
        with _refusing_damage(source):
            metadata = file.metadata() or {}
            self.parts = self._read_parts(metadata)
            self.version = int(metadata.get(_VERSION, 0))
            names = list(file.keys())
        checksums = self.parts.pop(_CHECKSUMS, None)
        known = checksums if isinstance(checksums, dict) else {}
        self.entries = {n: self._entry(n, known.get(n)) for n in names}

    def _read_parts(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        version = metadata.get(_VERSION)
        if version is None and _CHECKSUMS not in metadata:
            return {}
        version = version or "none"
        if not version.isdecimal() or int(version) > FORMAT_VERSION:
            raise CorruptFileError(
                f"{self._source}: the header is of version {version[:20]!r}, this "
                f"torchkeras reads up to {FORMAT_VERSION}. Install a later one."
            )
        texts = {k: v for k, v in metadata.items() if k not in _PLAIN}
        expected = metadata.get("checksum")
        if expected != str(_checksum_of(texts)):
            raise CorruptFileError(
                f"{self._source}: the header is damaged: its checksum is not the one "
                "that was written with it. Use another copy of the file."
            )
        return {
            name: strict_json.parse(text, f"{self._source}, {name}")
            for name, text in texts.items()
        }

    def _entry(self, name: str, expected: int | None) -> Entry:
        with _refusing_damage(f"{self._source}: '{name}'"):
            part = self._file.get_slice(name)
            dtype, shape = part.get_dtype(), tuple(part.get_shape())
        if dtype not in _DTYPES:
            raise CorruptFileError(
                f"{self._source}: '{name}' is of the unknown dtype {dtype}."
            )
        fetch = functools.partial(self._fetch, name)
        return Entry(name, shape, _DTYPES[dtype], fetch, expected, self._source)

    def _fetch(self, name: str) -> Tensor:
        with _refusing_damage(f"{self._source}: '{name}'"):
            return self._file.get_tensor(name)


@contextlib.contextmanager
def open_to_read(path: Path, raw: BinaryIO) -> Generator[TensorFile]:
    """Open a safetensors file.

    Args:
        path: where it is.
        raw: the open file, which is read whatever is at `path` by now.

    Raises:
        UnsafeFileError: for one of too many tensors.
        CorruptFileError: for what is none.
    """
    with contextlib.ExitStack() as stack:
        with _refusing_damage(str(path)):
            # The library takes the last of two equal keys; here a name is given once.
            length = int.from_bytes(raw.read(8), "little")
            header = raw.read(length)
            if (count := header.count(b'"data_offsets"')) > active().tensors:
                raise UnsafeFileError(
                    f"{path}: the file has {count:,} tensors. {how_to_raise('tensors')}"
                )
            strict_json.parse(header, f"{path}, header")
            # The library opens by name: where there is one of the open file, by that.
            # Elsewhere (on Windows) a file that is open cannot be replaced.
            handle = Path(f"/dev/fd/{raw.fileno()}")
            same = handle if handle.exists() else path
            file = stack.enter_context(safe_open(same, framework="pt", device="cpu"))
        yield TensorFile(file, str(path))


def write(path: Path, tensors: Mapping[str, Tensor], parts: Mapping[str, Any]) -> None:
    """Write a safetensors file.

    Args:
        path: where to.
        tensors: the tensors.
        parts: JSON values for the header.

    Raises:
        OSError: when it could not be written.
    """
    values: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.numel() and value.data_ptr() in places:
            value = value.clone()  # the format holds no tensor within another
        places.add(value.data_ptr())
        values[name] = value
    checksums = {name: checksum(value) for name, value in values.items()}
    texts = {
        name: strict_json.dump(part, f"{path.name}, {name}")
        for name, part in {**parts, _CHECKSUMS: checksums}.items()
    }
    metadata = {
        "format": "pt",
        _VERSION: str(FORMAT_VERSION),
        "checksum": str(_checksum_of(texts)),
        **texts,
    }
    try:
        save_file(values, path, metadata)
    except SafetensorError as error:
        raise OSError(f"Cannot write '{path}': {error}") from None
    _order_texts(path)


def _order_texts(path: Path) -> None:
    """Sort the texts of the header, which the library writes in any order.

    So equal models are equal files.
    """
    with open(path, "rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
        file.seek(8)
        file.write(text.encode("utf-8").ljust(length))


#: What the header holds that is no JSON.
_PLAIN = ("format", _VERSION, "checksum")


def _checksum_of(texts: Mapping[str, str]) -> int:
    joined = "\n".join(f"{name}={texts[name]}" for name in sorted(texts))
    return checksum(joined.encode("utf-8"))
