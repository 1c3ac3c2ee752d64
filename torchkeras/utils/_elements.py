"""The elements of a `Dataset`: tensors and strings, in any structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.convert import as_tensor

_CPU = torch.device("cpu")


class StringArray(np.ndarray):
    """A NumPy array of strings that has `numpy`, as tensors do.

    Example:
        >>> StringArray.of(["a", "bc"]).numpy()
        array(['a', 'bc'], dtype=object)
    """

    @classmethod
    def of(cls, strings: Any) -> Self:
        """Return strings, or arrays of them, as an array."""
        return np.asarray(strings, dtype=object).view(cls)

    def numpy(self) -> np.ndarray:
        """Return the plain array."""
        return self.view(np.ndarray)


@dataclass(frozen=True)
class TensorSpec:
    """The shape and the dtype of the tensors at one place of all elements."""

    shape: tuple[int | None, ...]
    dtype: str


def as_element(value: Any) -> Any:
    """Return what a step gives with tensors on the CPU in place of arrays and numbers.

    Strings stay strings, arrays of strings become a `StringArray`; a list of numbers is
    an array, any other list a tuple.
    """
    if isinstance(value, (Tensor, str, bytes, StringArray)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {key: as_element(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(as_element, value))
    if isinstance(value, tuple):
        return tuple(map(as_element, value))
    if isinstance(value, list):
        leaves = tree.flatten(value)
        if not all(isinstance(v, (bool, int, float, str, np.generic)) for v in leaves):
            return tuple(map(as_element, value))
        strings = any(isinstance(leaf, str) for leaf in leaves)
        value = np.asarray(value) if strings else value
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSUT":
        return StringArray.of(value)
    if isinstance(value, (bool, int, float, list)) or hasattr(value, "__array__"):
        return as_tensor(value, _CPU)
    return value


def collate(elements: Sequence[Any]) -> Any:
    """Return elements as one batch.

    Raises:
        ValueError: when they do not fit together.
    """
    first = elements[0]
    if isinstance(first, Mapping):
        return {key: collate([element[key] for element in elements]) for key in first}
    if isinstance(first, tuple):
        parts = [collate(part) for part in zip(*elements, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    if isinstance(first, Tensor):
        shapes = dict.fromkeys(tuple(element.shape) for element in elements)
        if len(shapes) > 1:
            raise ValueError(
                "batch: the elements of a batch must have one shape, got "
                f"{', '.join(map(str, shapes))}. Bring them to one shape by `map`, or "
                "use `padded_batch`."
            )
        return torch.stack(list(elements))
    if isinstance(first, (str, bytes, StringArray)):
        return StringArray.of(list(elements))
    return list(elements)


def collate_padded(elements: Sequence[Any]) -> Any:
    """Return elements as one batch, with zeros after those that are shorter."""
    first = elements[0]
    if isinstance(first, Mapping):
        return {key: collate_padded([e[key] for e in elements]) for key in first}
    if isinstance(first, tuple):
        return tuple(collate_padded(part) for part in zip(*elements, strict=True))
    if not isinstance(first, Tensor):
        return collate(elements)
    size = [max(sizes) for sizes in zip(*(e.shape for e in elements), strict=True)]
    batch = first.new_zeros(len(elements), *size)
    for row, element in zip(batch, elements, strict=True):
        row[tuple(slice(n) for n in element.shape)] = element
    return batch
