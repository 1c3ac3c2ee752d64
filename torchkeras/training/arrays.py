"""Arrays as tensors: what a batch is made of, as functions without state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.convert import as_array
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.strings import Strings, as_strings, is_strings
from torchkeras._core.variable import WeightView

Batch = tuple[Any, Any, Any]


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """Split the data of a step into ``(x, y, sample_weight)``, None where absent.

    Example:
        >>> unpack_x_y_sample_weight(("x", "y"))
        ('x', 'y', None)
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if 1 <= len(data) <= 3:
        return (*data, None, None)[:3]  # type: ignore[return-value]
    raise ValueError(
        "A batch must be x, (x, y) or (x, y, sample_weight), got a "
        f"{type(data).__name__} of {len(data)} elements. Put several inputs into a "
        "list or dict of their own."
    )


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Join x, y and weights into the data of a step.

    Example:
        >>> pack_x_y_sample_weight("x", "y")
        ('x', 'y')
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


def is_array_like(x: Any) -> bool:
    """Say whether a value is an array, a list of numbers, or a structure of arrays."""
    try:
        return _is_array_like(x)
    except RecursionError as error:
        raise tree.explained(error, x) from None


def _is_array_like(x: Any) -> bool:
    if hasattr(x, "__array__") or isinstance(x, (Tensor, WeightView)):
        return True
    if isinstance(x, (list, tuple)):
        return all(map(_is_array_like, x))
    if isinstance(x, Mapping):
        return all(map(_is_array_like, x.values()))
    return isinstance(x, (bool, int, float, str, bytes, np.generic))


def as_tensors(argument: str, value: Any, takes_strings: bool = False) -> Any:
    """Turn arrays into tensors, floats to ``floatx``; other types stay as they are.

    A list of numbers is one array, a list of arrays stays a list.

    Args:
        argument: the name of the argument, for messages.
        value: arrays or a structure of them.
        takes_strings: whether strings may come, as inputs; they become `Strings`.

    Raises:
        ValueError: for objects, and strings that are no inputs, naming the argument and
            the dtype.
    """
    if value is None or isinstance(value, Tensor):
        return _as_floatx(value)
    if type(value) is np.ndarray:
        return _from_array(argument, value, takes_strings)
    if isinstance(value, Mapping):
        return {
            k: as_tensors(f"{argument}[{k!r}]", v, takes_strings)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)) and not _is_one_array(value):
        parts = [
            as_tensors(f"{argument}[{i}]", v, takes_strings)
            for i, v in enumerate(value)
        ]
        return type(value)(parts) if type(value) in (list, tuple) else tuple(parts)
    if takes_strings:
        value = as_strings(value)
    if isinstance(value, (list, tuple)):
        value = _one_array(argument, value)
    return _from_array(argument, as_array(value, f"`{argument}`"), takes_strings)


def _from_array(
    argument: str, array: np.ndarray, takes_strings: bool
) -> Tensor | Strings | None:
    if array.dtype.kind not in "biufc":
        if takes_strings and is_strings(array):
            return Strings(array if array.ndim else array[None])
        raise ValueError(
            f"`{argument}` must hold numbers, got an array of dtype {array.dtype} and "
            f"shape {array.shape}. Convert it to numbers (of one shape) first."
        )
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()  # a tensor over read-only memory could be written to
    return _as_floatx(torch.from_numpy(array if array.ndim else array[None]))


def _is_one_array(value: Any) -> bool:
    leaves = tree.flatten(value)
    return all(isinstance(v, (bool, int, float, str, np.generic)) for v in leaves)


def _one_array(argument: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` must be an array, and its rows have different lengths. Give "
            "them one length by `utils.pad_sequences`."
        ) from error


#: Integers of which torch can take no rows, and those that Keras on torch has for them.
_UNSIGNED = {
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}


def _as_floatx(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    if not tensor.is_floating_point():
        return tensor.to(_UNSIGNED.get(tensor.dtype, tensor.dtype))
    return tensor.to(to_torch_dtype(None))


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, without waiting where the memory allows it."""

    def move(tensor: Any) -> Any:
        if not isinstance(tensor, Tensor) or tensor.device == device:
            return tensor
        return tensor.to(device, non_blocking=True)

    return tree.map_structure(move, batch)


class ClassWeights:
    """Weights of samples by their classes; a class without a weight counts 1.

    Args:
        caller: the method that was called, for messages.
        class_weight: the weight of each class.

    Example:
        >>> ClassWeights("fit", {0: 1.0, 1: 5.0})(torch.tensor([1, 0]))
        tensor([5., 1.])
    """

    def __init__(self, caller: str, class_weight: Mapping[int, float]) -> None:
        self._caller = caller
        known = sorted(class_weight)
        self._classes = torch.tensor([*known, torch.iinfo(torch.int64).max])
        weights = [class_weight[label] for label in known]
        self._weights = torch.tensor([*weights, 1.0], dtype=to_torch_dtype(None))
        self._has_warned = False

    def __call__(self, y: Any, sample_weight: Any = None) -> Tensor:
        """Return the weights of samples, those given times those of their classes.

        Raises:
            ValueError: for targets that are not those of one classification.
        """
        if len(leaves := tree.flatten(y)) == 1:  # one output's, maybe in a structure
            y, sample_weight = leaves[0], tree.flatten(sample_weight)[0]
        if not isinstance(y, Tensor):
            raise ValueError(
                f"{self._caller}: `class_weight` needs the targets of a model with a "
                f"single output, got {type(y).__name__}. Use `sample_weight` instead."
            )
        weights = self._of(_labels_in(y))
        return weights if sample_weight is None else weights * sample_weight

    def _of(self, labels: Tensor) -> Tensor:
        device = labels.device
        classes, weights = self._classes.to(device), self._weights.to(device)
        place = torch.searchsorted(classes, labels.contiguous())
        has_weight = classes[place] == labels
        # Elsewhere than on the host a look at the labels would wait.
        if not self._has_warned and device.type == "cpu" and not has_weight.all():
            self._warn(labels[~has_weight])
        return torch.where(has_weight, weights[place], 1.0)

    def _warn(self, labels: Tensor) -> None:
        lacking = labels[labels >= 0].unique()[:10].tolist()
        if not lacking:  # what is below 0 is no class
            return
        self._has_warned = True
        warnings.warn(
            f"{self._caller}: `class_weight` has no weight for the classes {lacking} "
            "in the data, which count 1. Give each class a weight.",
            stacklevel=2,
        )


def _labels_in(y: Tensor) -> Tensor:
    """Return the labels that targets are, in one-hot rows or as numbers."""
    if y.ndim > 1 and y.shape[-1] > 1:
        return y.argmax(-1)
    labels = y.reshape(len(y), -1)
    labels = labels.squeeze(-1) if labels.shape[-1] == 1 else labels
    return (labels.round() if labels.is_floating_point() else labels).long()


def num_samples(x: Any) -> int:
    """Return how many samples there are in the inputs of a batch."""
    if isinstance(x, Tensor):
        return x.shape[0]
    return next((len(t) for t in tree.flatten(x) if hasattr(t, "shape")), 1)


def split_samples(data: Any, count: int) -> list[Any]:
    """Return a batch of tensors as smaller ones, of so many samples each."""
    columns = [tensor.split(count) for tensor in tree.flatten(data)]
    return [tree.pack_sequence_as(data, part) for part in zip(*columns, strict=True)]


def present(*parts: Any) -> list[Tensor]:
    """Return the tensors in the parts of a batch."""
    given = [part for part in parts if part is not None]
    return [t for part in given for t in tree.flatten(part) if t is not None]


def check_lengths(caller: str, arrays: Batch, names: tuple[str, str, str]) -> None:
    """Refuse arrays of different numbers of samples.

    Raises:
        ValueError: with the length of each.
    """
    counts = {t.shape[0] if t.ndim else 0 for t in present(*arrays)}
    if len(counts) <= 1:
        return
    lengths = {
        f"{name}{'' if len(leaves) == 1 else f'[{i}]'}": len(leaf) if leaf.ndim else 0
        for name, part in zip(names, arrays, strict=True)
        if (leaves := present(part))
        for i, leaf in enumerate(leaves)
    }
    listing = ", ".join(f"{k} has {v}" for k, v in lengths.items())
    raise ValueError(
        f"{caller}: all arrays need the same number of samples, but {listing}."
    )
