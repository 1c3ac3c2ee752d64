"""Values of other kinds as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchkeras._core.config import default_device
from torchkeras._core.dtypes import to_torch_dtype


def as_tensor(value: Any) -> Any:
    """Return an array, a number or nested lists as a tensor; tensors as they are.

    Arrays keep their dtype. Python floats become ``floatx``, Python integers ``int32``,
    as in Keras. Symbolic tensors and views of weights take part in torch functions, so
    they come back untouched.

    Example:
        >>> as_tensor([1.0, 2.0])
        tensor([1., 2.])
    """
    if hasattr(value, "__torch_function__"):
        return value
    array = np.asarray(value)
    dtype = None
    if not isinstance(value, (np.ndarray, np.generic)):
        dtype = {"f": to_torch_dtype(None), "i": torch.int32}.get(array.dtype.kind)
    return torch.tensor(array, dtype=dtype, device=default_device())
