"""The data in a pickle, read without running anything that it names.

CIFAR's batches and the arrays of sequences in an ``.npz`` are pickles: programs for a
small stack machine. `loads` is that machine with the instructions that make data alone.
A pickle may name what rebuilds a NumPy array; this reader rebuilds it itself, and
refuses every other name, and every other instruction.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras._core.errors import CorruptFileError, UnsafeFileError

_DTYPE = re.compile(r"[|<>=]?(b1|[biuf][1248]|c8|c16|O8?)")
#: Names of what NumPy's pickles call, by what is done here in its place.
_KNOWN = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "_reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "_reconstruct",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
}


class _Name(str):
    """A name from `_KNOWN`, which can be called by the machine alone."""

    __slots__ = ()


class _Unfinished:
    """An array or a dtype of which the content comes with the BUILD instruction."""

    def __init__(self, kind: str, code: str = "") -> None:
        self.kind = kind
        self.code = code
        self.slots: list[int] = []  # where the memo has it


class _Integers(dict[bytes, int]):
    """The value of each integer instruction met so far."""

    def __missing__(self, instruction: bytes) -> int:
        value = int.from_bytes(instruction[1:], "little", signed=instruction[0] == 0x4A)
        self[instruction] = value
        return value


#: Integers of one byte, of two and of four, as most of the data consists of.
_INTEGER = re.compile(rb"K.|M..|J....", re.DOTALL)
_RUN = re.compile(rb"(?:K.|M..|J....)+", re.DOTALL)
_MARK = object()


def loads(data: bytes) -> Any:
    r"""Return the object that a pickle holds: plain data and NumPy arrays.

    Raises:
        UnsafeFileError: when it names anything else.
        CorruptFileError: when it is no whole pickle.

    Example:
        >>> loads(b"\x80\x02]q\x00(K\x01M\x00\x01e.")
        [1, 256]
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except UnsafeFileError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise CorruptFileError(
            f"a damaged pickle: {error} (byte {machine.at})"
        ) from error


def read_pickle(path: Path) -> Any:
    """Return what a file of one pickle holds; see `loads`.

    Raises:
        UnsafeFileError: when it names anything but data.
        CorruptFileError: when it is damaged.
    """
    return _named(path, loads, path.read_bytes())


def read_npz(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Return arrays of an ``.npz`` file, those of Python objects too; see `loads`.

    Raises:
        UnsafeFileError: when one names anything but data.
        CorruptFileError: when the file is damaged, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays.files]
            if missing:
                raise CorruptFileError(
                    f"{path}: expected the arrays {', '.join(names)}; it lacks "
                    f"{', '.join(missing)}. Delete it to download it again."
                )
            return [_read_member(path, arrays, name) for name in names]
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, (CorruptFileError, UnsafeFileError)):
            raise
        raise CorruptFileError(
            f"{path}: no readable .npz file ({error}). Delete it to download it again."
        ) from error


def _read_member(path: Path, arrays: Any, name: str) -> NDArray[Any]:
    with arrays.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        reads = np.lib.format.read_array_header_1_0
        if version > (1, 0):
            reads = np.lib.format.read_array_header_2_0
        shape, _, dtype = reads(file)
        if not dtype.hasobject:
            return arrays[name]
        array = _named(path, loads, file.read())
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise CorruptFileError(
            f"{path}: {name!r} must hold an array of shape {shape}. Delete it to "
            "download it again."
        )
    return array


def _named(path: Path, read: Callable[[bytes], Any], data: bytes) -> Any:
    """Have an error name the file."""
    try:
        return read(data)
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path}: {error}. Nothing was run.") from None
    except CorruptFileError as error:
        raise CorruptFileError(
            f"{path}: {error}. Delete it to download it again."
        ) from error


class _Machine:
    """The stack machine; each instruction is a method in `_INSTRUCTIONS`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.integers = _Integers()

    def run(self) -> Any:
        stop = ord(".")
        while (code := self.data[self.at]) != stop:
            if code in b"KMJ":
                self.load_integers()
                continue
            self.at += 1
            if (instruction := _INSTRUCTIONS.get(code)) is None:
                raise UnsafeFileError(
                    f"its pickle has the instruction {bytes([code])!r}, which does "
                    "more than hold data"
                )
            instruction(self)
        if len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} objects are left over")
        return self.pop()

    # What is read of the data

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.data) or size < 0:
            raise ValueError("it ends too early")
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.at)
        line, self.at = self.data[self.at : end], end + 1
        return line.decode("ascii")

    def load_integers(self) -> None:
        run = _RUN.match(self.data, self.at)
        if run is None:
            raise ValueError("it ends too early")
        self.at = run.end()
        self.stack.extend(map(self.integers.__getitem__, _INTEGER.findall(run[0])))

    # What is done to the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark stands where an object should")
        return value

    def pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def put(self, slot: int) -> None:
        top = self.memo[slot] = self.stack[-1]
        if isinstance(top, _Unfinished):
            top.slots.append(slot)

    def append(self, values: list[Any]) -> None:
        self.target(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        self.target(dict).update(zip(values[::2], values[1::2], strict=True))

    def target(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"a {type(self.stack[-1]).__name__} is no {kind.__name__}")
        return self.stack[-1]

    def push_tuple(self, size: int) -> None:
        values = [self.pop() for _ in range(size)][::-1]
        self.push(tuple(values))

    def name(self, module: str, name: str) -> None:
        known = _KNOWN.get((module, name))
        if known is None:
            raise UnsafeFileError(f"its pickle names {module}.{name}, which is no data")
        self.push(_Name(known))

    def reduce(self) -> None:
        arguments, callee = self.pop(), self.pop()
        if not isinstance(callee, _Name) or not isinstance(arguments, tuple):
            raise TypeError("it calls what is no function")
        if callee == "encode":
            text, encoding = arguments
            if encoding != "latin1":
                raise ValueError(f"text in the encoding {encoding!r}")
            self.push(text.encode("latin1"))
        elif callee == "bytes" and not arguments:
            self.push(b"")
        elif callee == "_reconstruct":
            self.push(_Unfinished("array"))
        elif callee == "dtype":
            code = _as_text(arguments[0])
            if not _DTYPE.fullmatch(code):
                raise ValueError(f"an array of the type {code!r}")
            self.push(_Unfinished("dtype", code))
        else:
            raise TypeError(f"it calls {callee}")

    def build(self) -> None:
        state, unfinished = self.pop(), self.pop()
        if not isinstance(unfinished, _Unfinished):
            raise TypeError(f"it sets the state of a {type(unfinished).__name__}")
        if unfinished.kind == "dtype":
            order = _as_text(state[1])
            built = np.dtype(unfinished.code)
            built = np.dtype(f"{order}{built.str[1:]}") if order in "<>" else built
        else:
            built = _build_array(*state)
        self.push(built)
        for slot in unfinished.slots:
            self.memo[slot] = built


def _as_text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _build_array(
    version: int, shape: tuple[int, ...], dtype: Any, fortran: bool, content: Any
) -> NDArray[Any]:
    """Return the array of which NumPy's pickle holds this state."""
    if not isinstance(dtype, np.dtype):
        raise TypeError("an array without a type")
    order = "F" if fortran else "C"
    if not dtype.hasobject:
        return np.frombuffer(content, dtype).reshape(shape, order=order).copy()
    array = np.empty(len(content), dtype)
    for index, value in enumerate(content):  # a slice would take lists apart
        array[index] = value
    return array.reshape(shape, order=order)


def _text(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("utf-8", "surrogatepass"))


def _bytes(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)))


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.push(value)


def _long(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(
        int.from_bytes(m.take(m.number(form)), "little", signed=True)
    )


#: In the order of protocols; those of text, such as ``I``, are of protocol 0, which no
#: data set has.
_INSTRUCTIONS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): instruction
    for code, instruction in {
        "\x80": lambda m: m.take(1),  # the protocol
        "\x95": lambda m: m.take(8),  # the length of a frame
        "(": _constant(_MARK),
        "0": lambda m: m.pop(),
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        "\x8a": _long("B"),
        "\x8b": _long("i"),
        # Python 2's texts are bytes, as are those of NumPy's arrays.
        "U": _bytes("B"),
        "T": _bytes("i"),
        "C": _bytes("B"),
        "B": _bytes("I"),
        "\x8e": _bytes("Q"),
        "X": _text("I"),
        "\x8c": _text("B"),
        "\x8d": _text("Q"),
        "]": lambda m: m.push([]),
        "}": lambda m: m.push({}),
        ")": _constant(()),
        "l": lambda m: m.push(m.pop_to_mark()),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "\x85": lambda m: m.push_tuple(1),
        "\x86": lambda m: m.push_tuple(2),
        "\x87": lambda m: m.push_tuple(3),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_to_mark()),
        "s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "q": lambda m: m.put(m.number("B")),
        "r": lambda m: m.put(m.number("I")),
        "\x94": lambda m: m.put(len(m.memo)),
        "h": lambda m: m.push(m.memo[m.number("B")]),
        "j": lambda m: m.push(m.memo[m.number("I")]),
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": lambda m: m.name(*[m.pop(), m.pop()][::-1]),
        "R": lambda m: m.reduce(),
        "b": lambda m: m.build(),
    }.items()
}
