"""Strings among tensors: NumPy arrays on the host; torch has no tensors of them.

A symbolic tensor of strings has the dtype ``"string"``; what stands for it in a call is
an array of strings, of any dtype that NumPy has for them. Layers that say so by
`takes_strings` get such arrays as they come, all others refuse them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.dtypes import STRING
from torchkeras._core.errors import describe

_KINDS = frozenset("SUTO")
_TEXT = (str, bytes)


class Strings:
    """An array of strings that is cut as a tensor is, and stays on the host.

    Args:
        values: the array.

    Example:
        >>> strings = Strings(np.array(["a", "b", "c"], dtype=object))
        >>> len(strings[:2]), strings.split(2)[1].values
        (2, array(['c'], dtype=object))
    """

    device = torch.device("cpu")
    dtype = STRING

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape, self.ndim, self.nbytes = values.shape, values.ndim, values.nbytes

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, samples: Any) -> Strings:
        return Strings(self.values[samples])

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.values

    def split(self, size: int) -> list[Strings]:
        """Return parts of so many samples, and the rest."""
        return [self[i : i + size] for i in range(0, len(self), size)]

    def index_select(self, dim: int, index: Tensor) -> Strings:
        """Return the samples at the indices; `dim` is 0."""
        return self[index.numpy()]

    def to(self, *args: Any, **kwargs: Any) -> Strings:
        """Return the same: strings stay where they are."""
        return self

    def new_zeros(self, shape: Sequence[int]) -> Strings:
        """Return empty strings."""
        return Strings(empty_strings(shape))


def empty_strings(shape: Sequence[int]) -> np.ndarray:
    """Return an array of empty strings, which takes no memory.

    Example:
        >>> empty_strings((2, 3)).shape
        (2, 3)
    """
    return np.broadcast_to(np.array("", dtype=object), tuple(shape))


def is_strings(value: Any) -> bool:
    """Say whether a value is an array of strings.

    Example:
        >>> is_strings(np.array(["a"])), is_strings(np.array([1])), is_strings(["a"])
        (True, False, False)
    """
    if isinstance(value, Strings):
        return True
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind not in _KINDS or not hasattr(value, "__array__"):
        return False
    if kind != "O":
        return True
    flat = np.asarray(value, dtype=object).ravel().tolist()  # some may be missing
    return any(issubclass(cls, _TEXT) for cls in set(map(type, flat)))


def as_strings(value: Any) -> Any:
    """Return strings in any form as an array, anything else as it is.

    Args:
        value: a string, nested lists of strings, an array of them, a column of a table.

    Raises:
        ValueError: for lists of different lengths.

    Example:
        >>> as_strings([["a"], ["b"]]).shape, as_strings([1, 2])
        ((2, 1), [1, 2])
    """
    if isinstance(value, _TEXT):
        return np.array(value, dtype=object)
    if isinstance(value, (list, tuple)):
        leaves = tree.flatten(value)
        found = len(leaves) > 0 and all(isinstance(leaf, _TEXT) for leaf in leaves)
        return _of_lists(value) if found else value
    if not is_strings(value):
        return value
    return value.values if isinstance(value, Strings) else _of_array(value)


def _of_array(value: Any) -> np.ndarray:
    is_table = hasattr(value, "isna")  # whose own kinds of dtype NumPy does not know
    return np.asarray(value, dtype=object) if is_table else np.asarray(value)


def _of_lists(value: Sequence[Any]) -> np.ndarray:
    """Return nested lists as an array, which holds the strings that they hold."""
    array = np.array(value, dtype=object) if _are_even(value) else None
    if array is None:
        raise ValueError(
            f"Strings in lists must make up an array; these lists have different "
            f"lengths: {describe(value)}. Give them one, by empty strings for example."
        )
    return array


def _are_even(value: Sequence[Any]) -> bool:
    nested = [isinstance(part, (list, tuple)) for part in value]
    if not any(nested):
        return True
    return (
        all(nested)
        and len({len(part) for part in value}) == 1
        and all(_are_even(part) for part in value)
    )


def list_of_text(owner: str, array: np.ndarray, encoding: str = "utf-8") -> list[str]:
    """Return the strings of an array as Python's, one after another.

    Args:
        owner: the layer, for messages.
        array: the array, of strings or bytes.
        encoding: how bytes say characters.

    Raises:
        ValueError: for what is no string, and for bytes that are no text.
    """
    flat = array.ravel().tolist()
    if array.dtype.kind == "U" or set(map(type, flat)) <= {str}:
        return flat
    for index, value in enumerate(flat):
        if isinstance(value, bytes):
            try:
                flat[index] = value.decode(encoding)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{owner}: the string number {index}, {value[:40]!r}, is no "
                    f"{encoding} ({error.reason}). Give its `encoding`."
                ) from None
        elif not isinstance(value, str):
            raise ValueError(
                f"{owner}: expected strings, got {describe(value)} at number {index}. "
                "Replace missing values first."
            )
    return [str(value) for value in flat]
