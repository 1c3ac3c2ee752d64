"""Values of other kinds as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.config import default_device
from torchkeras._core.dtypes import to_torch_dtype


def as_tensor(value: Any, device: torch.device | None = None) -> Any:
    """Return an array, a number or nested lists as a tensor; tensors as they are.

    Arrays keep their dtype. Python floats become ``floatx``, Python integers ``int32``
    (``int64`` where one is too large), as in Keras. Symbolic tensors and views of
    weights take part in torch functions, so they come back untouched.

    Args:
        value: the value.
        device: where a new tensor is made; the default device unless given.

    Example:
        >>> as_tensor([1.0, 2.0])
        tensor([1., 2.])
    """
    if hasattr(value, "__torch_function__"):
        return value
    device = default_device() if device is None else device
    if hasattr(value, "__array__"):
        return torch.tensor(as_array(value), device=device)
    if isinstance(value, (list, tuple)):
        leaves = tree.flatten(value)
        if any(isinstance(leaf, torch.Tensor) for leaf in leaves):
            return torch.stack([as_tensor(part, device) for part in value])
        if any(hasattr(leaf, "__array__") for leaf in leaves):
            value = np.asarray(value)  # torch reads a list of arrays one by one
    leaves = tree.flatten(value) if isinstance(value, (list, tuple)) else [value]
    numbers = [leaf for leaf in leaves if type(leaf) is int]
    whole = torch.int32 if all(fits(n, torch.int32) for n in numbers) else torch.int64
    tensor = torch.tensor(value, device=device)
    own = {torch.int64: whole, torch.float64: to_torch_dtype(None)}
    return tensor.to(own.get(tensor.dtype, tensor.dtype))


def as_array(value: Any, what: str = "The table") -> np.ndarray:
    """Return an array-like as a NumPy array; a table of pandas column by column.

    Columns of several dtypes, and those of nullable ones, come together in the dtype
    that holds them all. Other arrays keep their dtype, whatever it is.

    Args:
        value: an array, a table, or a column.
        what: what it is, for messages.

    Raises:
        ValueError: for a column that holds no numbers, or lacks some, naming it.
    """
    if not hasattr(value, "isna"):
        return np.asarray(value)
    if value.ndim == 1:
        return _column(value, what)
    if all(isinstance(dtype, np.dtype) for dtype in value.dtypes):
        array = np.asarray(value)
        if array.dtype.kind in _NUMERIC or not array.size:
            return array
    columns = [_column(c, f"{what}, column {name!r},") for name, c in value.items()]
    return np.stack(columns, axis=-1)


#: Kinds of NumPy dtypes that are numbers.
_NUMERIC = frozenset("biufc")


def _column(column: Any, what: str) -> np.ndarray:
    """Return a column of pandas as an array of numbers."""
    dtype = column.dtype
    kind, missing = getattr(dtype, "kind", "O"), int(column.isna().sum())
    nullable = hasattr(dtype, "numpy_dtype") and kind in _NUMERIC
    if nullable and missing and kind != "f":
        raise ValueError(
            f"{what} of dtype {dtype} has {missing} missing value(s). Fill them with "
            "`fillna`, or leave their rows out with `dropna`."
        )
    if nullable:
        return column.to_numpy(dtype=dtype.numpy_dtype, na_value=np.nan)
    array = np.array(column.tolist()) if kind == "O" else np.asarray(column)
    if array.dtype.kind not in _NUMERIC or array.ndim != 1:
        raise ValueError(
            f"{what} must hold numbers, got dtype {dtype}. Make numbers of it first, "
            "for example with `pandas.get_dummies`, or leave it out."
        )
    return array


def fits(number: int, dtype: torch.dtype) -> bool:
    """Say whether an integer dtype can hold a number.

    Example:
        >>> fits(255, torch.uint8), fits(-1, torch.uint8)
        (True, False)
    """
    limits = torch.iinfo(dtype)
    return limits.min <= number <= limits.max


def as_floating(x: Tensor, int64: torch.dtype | None = None) -> Tensor:
    """Return integers and booleans in ``floatx``, all else as it is.

    Args:
        x: the tensor.
        int64: the dtype for values of ``int64``, where it isn't ``floatx``.
    """
    if x.is_floating_point() or x.is_complex():
        return x
    wide = x.dtype == torch.int64 and int64 is not None
    return x.to(int64 if wide else to_torch_dtype(None))
