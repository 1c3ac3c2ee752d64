"""Sequences of unequal length as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from torchkeras._core.errors import describe, invalid_argument, one_of, positive_integer

_OWNER = "pad_sequences"
_ENDS = ("pre", "post")


def pad_sequences(
    sequences: Sequence[ArrayLike],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float | str = 0.0,
) -> NDArray[Any]:
    """Pad or cut sequences to one length.

    Args:
        sequences: the sequences; each step may itself be an array.
        maxlen: the length; that of the longest sequence by default.
        dtype: the type of the result; ``object`` for strings of any length.
        padding: ``"pre"`` pads at the start, ``"post"`` at the end.
        truncating: ``"pre"`` cuts at the start, ``"post"`` at the end.
        value: what to pad with.

    Raises:
        ValueError: when the sequences do not fit together, or for an unknown end.

    Shape:
        Sequences of ``(length, ...)`` to ``(len(sequences), maxlen, ...)``.

    Example:
        >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
        array([[0, 1],
               [2, 3],
               [5, 6]], dtype=int32)
        >>> pad_sequences([[1], [2, 3]], padding="post")
        array([[1, 0],
               [2, 3]], dtype=int32)
    """
    one_of(_OWNER, "padding", padding, _ENDS)
    one_of(_OWNER, "truncating", truncating, _ENDS)
    rows = _rows_of(sequences)
    if maxlen is None:
        maxlen = max((len(row) for row in rows), default=0)
    else:
        maxlen = positive_integer(_OWNER, "maxlen", maxlen)
    if isinstance(value, str) and np.dtype(dtype).kind not in "OSU":
        hint = "Pass `dtype=object` to pad with a string."
        raise ValueError(
            invalid_argument(_OWNER, "dtype", "a type of strings", dtype, hint)
        )
    step = next((np.shape(row)[1:] for row in rows if len(row)), ())
    padded = np.full((len(rows), maxlen, *step), value, dtype=dtype)
    for index, row in enumerate(rows):
        cut = row[:maxlen] if truncating == "post" else row[max(len(row) - maxlen, 0) :]
        steps = np.asarray(cut, dtype=dtype)
        if len(row) and steps.shape[1:] != step:
            raise ValueError(
                f"{_OWNER}: the steps of all sequences must have one shape, got "
                f"{step} first and {steps.shape[1:]} in sequence {index}."
            )
        if len(row):
            start = 0 if padding == "post" else maxlen - len(steps)
            padded[index, start : start + len(steps)] = steps
    return padded


def _rows_of(sequences: Any) -> list[Any]:
    """Return the sequences as a list, having checked that each one has a length."""
    expected = "a sequence of sequences, such as [[1, 2], [3]]"
    if not hasattr(sequences, "__len__") or isinstance(sequences, str):
        raise ValueError(invalid_argument(_OWNER, "sequences", expected, sequences))
    for index, row in enumerate(sequences):
        if not hasattr(row, "__len__"):
            raise ValueError(
                f"{_OWNER}: `sequences` must be {expected}, got {describe(row)} at "
                f"position {index}."
            )
    return list(sequences)
