"""Products of arrays: matrix products, inner and outer ones, contractions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchkeras._core.operation import Array, operation

__all__ = ["matmul"]


@operation("numpy")
def matmul(x1: Array, x2: Array) -> Tensor:
    """Return the matrix product over the last two axes; the others broadcast.

    Args:
        x1: the left factor.
        x2: the right factor.

    Shape:
        ``(..., n, k)`` and ``(..., k, m)`` to ``(..., n, m)``.

    Example:
        >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
        tensor([[11.]])
    """
    return torch.matmul(x1, x2)
