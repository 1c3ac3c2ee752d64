"""The one reader of HDF5, which runs in a process of its own.

On a damaged file the C library can loop, crash or take all memory, and nothing ends a
call of it but the end of its process. So it runs where that costs nothing: as a script,
without torch, within bounds of time and memory. It has no file: it asks for bytes, and
answers with JSON and the values of arrays.
"""

from __future__ import annotations

import faulthandler
import functools
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5s, h5t, h5z  # pyright: ignore[reportAttributeAccessIssue]

if sys.platform == "linux":
    import resource

_FILTERS = (
    h5z.FILTER_DEFLATE,
    h5z.FILTER_SHUFFLE,
    h5z.FILTER_FLETCHER32,
    h5z.FILTER_LZF,
)
#: Attributes that models have; others are left alone.
_ATTRIBUTES = re.compile(
    r"(layer_names|weight_names)\d*|(model_config|training_config)(_crc32)?|crc32"
    r"|listing_crc32|keras_version|torchkeras_version|backend"
)
#: How NumPy, which has no bfloat16, shows a dataset of it.
_BFLOAT16 = np.dtype("V2")
_ITEM_SIZES = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
_BLOCK, _BLOCKS = 2**16, 2**10
#: Seconds of processor time that the library may take for one object of a file.
_PATIENCE = 0.8


class RefusedError(Exception):
    """What a file asks for and must not get.

    Args:
        why: what it is.
        limit: the name of the limit that it exceeds, if it is one.
    """

    def __init__(self, why: str, limit: str = "") -> None:
        super().__init__(why)
        self.limit = limit


class Reader:
    """An open HDF5 file.

    Args:
        file: the file.
        bounds: its ``size``, and the most ``objects``, names in a list (``layers``) and
            bytes of a text (``config_bytes``).
        going_on: called before each object of the file.
    """

    def __init__(
        self, file: BinaryIO, bounds: dict[str, int], going_on: Callable[[], None]
    ) -> None:
        going_on()
        self._file = h5py.File(file, "r")
        self._bounds = bounds
        self._going_on = going_on
        self._datasets: dict[str, h5py.Dataset] = {}

    def close(self) -> None:
        """Let go of the file."""
        self._datasets.clear()
        self._file.close()

    def listing(self) -> dict[str, Any]:
        """Return the attributes of each group, and what each dataset is.

        Raises:
            RefusedError: for what leads out of the file.
        """
        groups, datasets = {}, {}
        for path, member in self._walk():
            self._going_on()
            if isinstance(member, h5py.Group):
                groups[path] = self._attributes(member, path)
            else:
                self._datasets[path] = member
                datasets[path] = {
                    **_describe(member, f"the dataset '{path}'"),
                    **self._attributes(member, path),
                }
        return {"groups": groups, "datasets": datasets}

    def values(self, path: str) -> memoryview:
        """Return the bytes of a dataset."""
        array = np.ascontiguousarray(self._datasets[path][()])
        return array.reshape(-1).view(np.uint8).data

    def _walk(self) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        """Yield groups and datasets; refuse links and objects met twice."""
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = [("", self._file["/"])]
        while waiting:
            path, member = waiting.pop()
            address = h5o.get_info(member.id).addr
            if address in seen:
                raise RefusedError(f"'{path}' is linked more than once.")
            seen.add(address)
            if not isinstance(member, (h5py.Group, h5py.Dataset)):
                raise RefusedError(f"'{path}' is neither a group nor a dataset.")
            yield path, member
            if not isinstance(member, h5py.Group):
                continue
            names = _once(member, f"the names in '{path}'")
            if len(seen) + len(waiting) + len(names) > self._bounds["objects"]:
                raise RefusedError("the file has too many objects.", "objects")
            for name in names:
                below = f"{path}/{name}".lstrip("/")
                link = member.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise RefusedError(
                        f"'{below}' is a link ({type(link).__name__}), which may lead "
                        "to another file. Only plain groups and datasets are read."
                    )
                waiting.append((below, member[name]))

    def _attributes(self, node: Any, path: str) -> dict[str, list[Any]]:
        names = _once(node.attrs, f"the attributes of '{path}'")
        known = [name for name in names if _ATTRIBUTES.fullmatch(name)]
        return {name: self._attribute(node, name, path) for name in known}

    def _attribute(self, node: Any, name: str, path: str) -> list[Any]:
        """Return a small attribute of numbers or text, as a list."""
        self._going_on()
        what = f"the attribute '{name}' of '{path}'"
        attribute = h5a.open(node.id, name.encode())
        kind, space = attribute.get_type(), attribute.get_space()
        if kind.get_class() not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT):
            raise RefusedError(f"{what} holds neither text nor numbers.")
        if space.get_simple_extent_type() == h5s.NULL:
            return []
        count = space.get_simple_extent_npoints()
        self._check_text(what, count * kind.get_size(), count)
        values = np.ravel(np.asarray(node.attrs[name])).tolist()
        if kind.get_class() == h5t.STRING:
            values = [v if isinstance(v, bytes) else v.encode() for v in values]
            self._check_text(what, sum(map(len, values)), count)
            values = [value.decode("utf-8") for value in values]
        return values

    def _check_text(self, what: str, size: int, count: int) -> None:
        if size > self._bounds["config_bytes"]:
            raise RefusedError(f"{what} is too large.", "config_bytes")
        if count > self._bounds["layers"]:
            raise RefusedError(f"{what} lists too much.", "layers")
        if size > self._bounds["size"]:
            raise RefusedError(f"{what} is larger than the file.")


def _once(names: Any, what: str) -> list[str]:
    found = list(names)
    "".join(found).encode("utf-8")  # what is no text is damage
    if len(set(found)) < len(found):
        raise ValueError(f"{what} are there twice")
    return found


def _describe(dataset: h5py.Dataset, what: str) -> dict[str, Any]:
    """Return shape, dtype and place of a dataset that may be read."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise RefusedError(f"{what} is virtual: its values are in other files.")
    if plan.get_external_count():
        raise RefusedError(f"{what} has external storage: its values are elsewhere.")
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    if unknown := sorted(filters.difference(_FILTERS)):
        raise RefusedError(f"{what} is stored through unknown filters {unknown}.")
    dtype = dataset.dtype
    held = "names for numbers" if h5py.check_enum_dtype(dtype) else str(dtype)
    numeric = dtype.itemsize <= _ITEM_SIZES.get(dtype.kind, 0) and held == str(dtype)
    if dataset.shape is None or not (numeric or dtype == _BFLOAT16):
        raise RefusedError(f"{what} holds {held}; only arrays of numbers are read.")
    # What lies in one piece, as NumPy has it, needs no library to be read.
    as_it_is = h5t.py_create(dtype, logical=True).equal(dataset.id.get_type())
    return {
        "shape": dataset.shape,
        "dtype": dtype.str,
        "chunks": dataset.chunks,
        "stored": dataset.id.get_storage_size(),
        "offset": dataset.id.get_offset() if as_it_is else None,
    }


# The process


class _Asked(io.RawIOBase):
    """A file whose bytes are asked for, in blocks that are kept for a while."""

    def __init__(self, ask: Callable[[int, int], bytes], size: int) -> None:
        self._size = size
        self._ask = ask
        self._at = 0
        self._blocks: dict[int, bytes] = {}

    def readinto(self, buffer: Any) -> int:
        start, wanted = self._at, len(buffer)
        end = min(start + wanted, self._size)
        if end > start:
            buffer[: end - start] = self._bytes(start, end)
        if end < start + wanted:  # HDF5 takes what is missing for zeros
            buffer[max(end - start, 0) :] = bytes(wanted - max(end - start, 0))
        self._at = start + wanted
        return wanted

    def _bytes(self, start: int, end: int) -> bytes:
        if end - start > _BLOCK:
            return self._ask(start, end - start)
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        joined = b"".join(self._block(number) for number in range(first, last + 1))
        return joined[start - first * _BLOCK : end - first * _BLOCK]

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) >= _BLOCKS:
                self._blocks.clear()
            start = number * _BLOCK
            size = min(_BLOCK, self._size - start)
            self._blocks[number] = self._ask(start, size)
        return self._blocks[number]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = base[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Clock:
    """Ends the process when the library comes to no end."""

    _end = 0.0

    def start(self, seconds: float) -> None:
        """Allow so many seconds of processor time to a job."""
        self._end = time.process_time() + seconds
        self._ring_after(seconds)

    def go_on(self) -> None:
        """Allow less to the next object."""
        self._ring_after(min(_PATIENCE, max(self._end - time.process_time(), 0.001)))

    def stop(self) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _ring_after(self, seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, seconds)
        else:  # where there is only time that passes for all
            faulthandler.dump_traceback_later(30 * seconds, exit=True)


def _allow_memory(size: int) -> None:
    """Let the process take so many bytes more, where the system can bound that."""
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + size, most))


class Service:
    """Answers jobs: opens one file after another, and reads values of the open one.

    Args:
        give_file: returns a file of the size given.
        going_on: called before each object of a file.
    """

    def __init__(
        self, give_file: Callable[[int], BinaryIO], going_on: Callable[[], None]
    ) -> None:
        self._give_file = give_file
        self._going_on = going_on
        self._reader: Reader | None = None

    def answer(self, job: dict[str, Any]) -> tuple[dict[str, Any], memoryview]:
        """Return the answer to a job, and the bytes that belong to it."""
        try:
            if job["do"] == "values" and self._reader is not None:
                return {}, self._reader.values(job["path"])
            if self._reader is not None:
                self._reader.close()
            self._reader = None
            if job["do"] == "open":
                bounds = job["bounds"]
                file = self._give_file(bounds["size"])
                self._reader = Reader(file, bounds, self._going_on)
                return {"listing": self._reader.listing()}, memoryview(b"")
        except RefusedError as error:
            answer = {"failed": "refused", "why": str(error), "limit": error.limit}
            return answer, memoryview(b"")
        except (
            *(MemoryError, OSError, RuntimeError),
            *(LookupError, ValueError, TypeError, OverflowError),
        ) as error:
            return {"failed": "damaged", "why": str(error)}, memoryview(b"")
        return {}, memoryview(b"")


def main() -> None:
    """Serve the process that started this one, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other one
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def send(answer: dict[str, Any], data: Any = b"") -> None:
        answers.write(json.dumps(answer).encode("ascii") + b"\n")
        answers.write(data)
        answers.flush()

    def ask(start: int, size: int) -> bytes:
        send({"read": [start, size]})
        return requests.read(size)

    clock = _Clock()
    service = Service(functools.partial(_Asked, ask), clock.go_on)  # pyright: ignore[reportArgumentType]
    send({})
    while line := requests.readline():
        job = json.loads(line)
        _allow_memory(job["memory"])
        clock.start(job["seconds"])
        answer = service.answer(job)
        clock.stop()
        send(*answer)


if __name__ == "__main__":
    main()
