"""Hashes of strings, many at once: FarmHash's `Fingerprint64`, and SipHash-2-4.

They are the ones behind Keras's hashing layers, bit for bit. The strings lie one after
another in one buffer, and NumPy computes with all of about one length together.

Sources: FarmHash (https://github.com/google/farmhash, `farmhashna::Hash64`), SipHash
(https://cr.yp.to/siphash/siphash-20120918.pdf).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchkeras._core.errors import invalid_argument

Words = np.ndarray

_K0, _K1, _K2 = map(
    np.uint64, (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F)
)


def _u(value: int) -> np.uint64:
    return np.uint64(value)


class _Strings:
    """Strings of bytes in one buffer, of which words are read at given places.

    Args:
        buffer: the bytes, and some more behind them.
        starts: where each string begins.
        lengths: how many bytes each has.
    """

    def __init__(self, buffer: bytes, starts: Words, lengths: Words) -> None:
        self._buffer, self.starts, self.lengths = buffer, starts, lengths

    @classmethod
    def of(cls, strings: Sequence[bytes]) -> _Strings:
        """Lay out strings one after another."""
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        starts = np.cumsum(lengths) - lengths
        return cls(b"".join(strings) + bytes(8), starts, lengths)

    def chosen(self, which: Any) -> _Strings:
        """Return some of the strings."""
        return _Strings(self._buffer, self.starts[which], self.lengths[which])

    def _words(self, kind: str, places: Words) -> Words:
        """Read a little-endian word at each place, wherever that is."""
        count = len(self._buffer) - np.dtype(kind).itemsize + 1
        words = np.ndarray((count,), kind, self._buffer, strides=(1,))
        return words[places].astype("uint64")

    def word(self, offset: int | Words, kind: str = "<u8") -> Words:
        """Read a word at an offset from the beginning of each."""
        return self._words(kind, self.starts + offset)

    def last(self, offset: int, kind: str = "<u8") -> Words:
        """Read a word at an offset, counted backwards, from the end of each."""
        return self._words(kind, self.starts + self.lengths - offset)


def fingerprint64(strings: Sequence[bytes]) -> Words:
    """Return FarmHash's fingerprint of each string.

    Example:
        >>> [hex(h) for h in fingerprint64([b"", b"A"])]
        ['0x9ae16a3b2f90404f', '0xeabf3252cc3bf414']
    """
    every = _Strings.of(strings)
    lengths, hashes = every.lengths, np.full(len(strings), _K2, "uint64")
    with np.errstate(over="ignore"):
        for least, most, function in _BY_LENGTH:
            which = np.flatnonzero((lengths >= least) & (lengths <= most))
            if len(which):
                hashes[which] = function(every.chosen(which))
    return hashes


def _rotated(x: Words, bits: int) -> Words:
    """Rotate to the right."""
    return (x >> _u(bits)) | (x << _u(64 - bits))


def _mixed(x: Words) -> Words:
    return x ^ (x >> _u(47))


def _joined(u: Words, v: Words, mul: Words) -> Words:
    """Return a hash of two words."""
    a = _mixed((u ^ v) * mul)
    return _mixed((v ^ a) * mul) * mul


def _factor(s: _Strings) -> Words:
    return _K2 + s.lengths.astype("uint64") * _u(2)


def _hash_1_to_3(s: _Strings) -> Words:
    n = s.lengths
    first, middle, last = (s.word(o, "u1") for o in (0, n >> 1, n - 1))
    y = first + (middle << _u(8))
    z = n.astype("uint64") + (last << _u(2))
    return _mixed(y * _K2 ^ z * _K0) * _K2


def _hash_4_to_7(s: _Strings) -> Words:
    n = s.lengths.astype("uint64")
    return _joined(n + (s.word(0, "<u4") << _u(3)), s.last(4, "<u4"), _factor(s))


def _hash_8_to_16(s: _Strings) -> Words:
    mul, a, b = _factor(s), s.word(0) + _K2, s.last(8)
    return _joined(_rotated(b, 37) * mul + a, (_rotated(a, 25) + b) * mul, mul)


def _parts_of_ends(s: _Strings, first: np.uint64) -> tuple[Words, ...]:
    mul, a, b = _factor(s), s.word(0) * first, s.word(8)
    c, d = s.last(8) * mul, s.last(16) * _K2
    y = _rotated(a + b, 43) + _rotated(c, 30) + d
    return mul, a, y, a + _rotated(b + _K2, 18) + c


def _hash_17_to_32(s: _Strings) -> Words:
    mul, _, y, z = _parts_of_ends(s, _K1)
    return _joined(y, z, mul)


def _hash_33_to_64(s: _Strings) -> Words:
    mul, a, y, rest = _parts_of_ends(s, _K2)
    z = _joined(y, rest, mul)
    e, f = s.word(16) * mul, s.word(24)
    g, h = (y + s.last(32)) * mul, (z + s.last(24)) * mul
    first = _rotated(e + f, 43) + _rotated(g, 30) + h
    return _joined(first, e + _rotated(f + a, 18) + g, mul)


def _weak(s: _Strings, offset: int | Words, a: Words, b: Words) -> tuple[Words, Words]:
    """Return two words that four more and two seeds give."""
    w, x, y, z = (s.word(offset + 8 * i) for i in range(4))
    a = a + w
    b = _rotated(b + a + z, 21)
    c = a
    a = a + x + y
    return a + z, b + _rotated(a, 44) + c


def _step(
    state: Words, s: _Strings, offset: int | Words, mul: Any, nine: int = 1
) -> None:
    """Take 64 bytes at an offset into the state of each; the last ones weigh more."""
    x, y, z, v1, v2, w1, w2 = state
    x = _rotated(x + y + v1 + s.word(offset + 8), 37) * mul
    y = _rotated(y + v2 + s.word(offset + 48), 42) * mul
    x = x ^ w2 * _u(nine)
    y = y + v1 * _u(nine) + s.word(offset + 40)
    z = _rotated(z + w1, 33) * mul
    v = _weak(s, offset, v2 * mul, x + w1)
    w = _weak(s, offset + 32, z + w2, y + s.word(offset + 16))
    state[:] = (z, y, x, *v, *w)


def _hash_long(s: _Strings) -> Words:
    order = np.argsort(-s.lengths, kind="stable")  # those that end first come last
    s = s.chosen(order)
    blocks = (s.lengths - 1) // 64
    state = np.zeros((7, len(order)), "uint64")
    x, y, z, v1, v2, w1, w2 = state
    x[:] = _u(81) * _K2 + s.word(0)
    y[:] = _u(81) * _K1 + _u(113)
    z[:] = _mixed(y * _K2 + _u(113)) * _K2
    for number in range(int(blocks.max())):
        running = np.s_[: int(np.searchsorted(-blocks, -number))]
        _step(state[:, running], s.chosen(running), 64 * number, _K1)
    mul = _K1 + ((z & _u(0xFF)) << _u(1))
    w1 += ((s.lengths - 1) & 63).astype("uint64")
    v1 += w1
    w1 += v1
    _step(state, s, s.lengths - 64, mul, 9)
    first = _joined(v1, w1, mul) + _mixed(y) * _K0 + z
    hashes = np.empty_like(first)
    hashes[order] = _joined(first, _joined(v2, w2, mul) + x, mul)
    return hashes


#: What computes the hash of strings of at least and at most so many bytes.
_BY_LENGTH: tuple[tuple[int, float, Callable[[_Strings], Words]], ...] = (
    (1, 3, _hash_1_to_3),
    (4, 7, _hash_4_to_7),
    (8, 16, _hash_8_to_16),
    (17, 32, _hash_17_to_32),
    (33, 64, _hash_33_to_64),
    (65, float("inf"), _hash_long),
)


def siphash64(strings: Sequence[bytes], key: Sequence[int]) -> Words:
    """Return SipHash-2-4 of each string.

    Args:
        strings: the strings.
        key: the key's two halves.

    Example:
        >>> key = 0x0706050403020100, 0x0F0E0D0C0B0A0908
        >>> [hex(h) for h in siphash64([b""], key)]
        ['0x726fdb47dd0e0e31']
    """
    s = _Strings.of(strings)
    order = np.argsort(-s.lengths, kind="stable")
    s = s.chosen(order)
    words = s.lengths >> 3
    halves = [_u(half & (2**64 - 1)) for half in key]
    names = (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    v = np.empty((4, len(order)), "uint64")
    for i, name in enumerate(names):
        v[i] = halves[i % 2] ^ _u(int.from_bytes(name, "big"))
    with np.errstate(over="ignore"):
        for number in range(int(words.max(initial=0))):
            running = int(np.searchsorted(-words, -number))
            part = s.chosen(np.s_[:running])
            _take_in(v[:, :running], part.word(8 * number))
        rest = (s.lengths & 7).astype("uint64") * _u(8)
        tail = s.word(8 * words) & ((_u(1) << rest) - _u(1))
        _take_in(v, tail | (s.lengths.astype("uint64") << _u(56)))
        v[2] ^= _u(0xFF)
        _rounds(v, 4)
    hashes = np.empty(len(order), "uint64")
    hashes[order] = v[0] ^ v[1] ^ v[2] ^ v[3]
    return hashes


def _take_in(v: Words, word: Words) -> None:
    v[3] ^= word
    _rounds(v, 2)
    v[0] ^= word


def _rounds(v: Words, count: int) -> None:
    """Run the rounds of SipHash, in place."""
    for _ in range(count):
        for a, b, bits in ((0, 1, 13), (2, 3, 16)):
            v[a] += v[b]
            v[b] = _rotated(v[b], 64 - bits) ^ v[a]
        v[0] = _rotated(v[0], 32)
        for a, b, bits in ((0, 3, 21), (2, 1, 17)):
            v[a] += v[b]
            v[b] = _rotated(v[b], 64 - bits) ^ v[a]
        v[2] = _rotated(v[2], 32)


def crossed64(columns: Sequence[Words], key: int = 0xDECAFCAFFE) -> Words:
    """Return one hash of the hashes in several columns, row by row.

    Source: TensorFlow's `FingerprintCat64`, with the key of its `SparseCross`.

    Args:
        columns: hashes of strings, or integers as they are.
        key: where it begins.
    """
    mul = _u(0xC6A4A7935BD1E995)
    hashes = np.full(columns[0].shape, key, "uint64")
    with np.errstate(over="ignore"):
        for column in columns:
            result = (
                hashes ^ mul ^ (_mixed(column.astype("uint64") * mul) * mul)
            ) * mul
            hashes = _mixed(_mixed(result) * mul)
    return hashes


def salt_of(owner: str, salt: Any) -> list[int] | None:
    """Check the salt of a hash, and return the two halves of the key."""
    if salt is None:
        return None
    if isinstance(salt, int) and not isinstance(salt, bool):
        return [salt, salt]
    halves = salt if isinstance(salt, (list, tuple)) else ()
    if len(halves) != 2 or not all(isinstance(half, int) for half in halves):
        expected = "an integer, or two of them"
        raise ValueError(invalid_argument(owner, "salt", expected, salt))
    return list(halves)
