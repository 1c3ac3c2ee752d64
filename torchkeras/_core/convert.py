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
    if isinstance(value, (np.ndarray, np.generic)):
        return torch.tensor(np.asarray(value), device=device)
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
