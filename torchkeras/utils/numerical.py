"""Labels as matrices, and vectors of unit length."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from torchkeras._core import config
from torchkeras._core.errors import describe, invalid_argument, positive_integer

Array = TypeVar("Array", NDArray[np.floating], Tensor)


def to_categorical(
    x: ArrayLike | Tensor, num_classes: int | None = None
) -> NDArray[np.float64] | Tensor:
    """Turn class numbers into one-hot rows, as `categorical_crossentropy` wants them.

    Args:
        x: class numbers from 0 to `num_classes` - 1.
        num_classes: the number of classes; the largest number + 1 by default.

    Returns:
        A float array (a tensor where `x` is one), the classes on its last axis.

    Raises:
        ValueError: when a class number is negative or too large.

    Shape:
        ``(...)`` or ``(..., 1)`` to ``(..., num_classes)``.

    Example:
        >>> to_categorical([0, 2, 1])
        array([[1., 0., 0.],
               [0., 0., 1.],
               [0., 1., 0.]])
    """
    labels = x if isinstance(x, Tensor) else _class_numbers(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    num_classes = _check_classes(labels, num_classes)
    if isinstance(labels, Tensor):
        dtype = getattr(torch, config.floatx())
        return F.one_hot(labels.long(), num_classes).to(dtype)
    return np.eye(num_classes)[labels]


def _class_numbers(x: ArrayLike) -> NDArray[np.int64]:
    try:
        return np.asarray(x).astype(np.int64)
    except (TypeError, ValueError) as error:
        hint = "Number classes first: np.unique(x, return_inverse=True)[1]."
        raise ValueError(
            invalid_argument("to_categorical", "x", "class numbers", x, hint)
        ) from error


def _check_classes(labels: NDArray[np.int64] | Tensor, num_classes: int | None) -> int:
    """Return the number of classes, having checked that every label is below it."""
    owner = "to_categorical"
    empty = 0 in labels.shape
    if num_classes is None:
        if empty:
            raise ValueError(
                f"{owner}: cannot tell the number of classes from no labels "
                f"({describe(labels)}). Pass `num_classes`."
            )
        num_classes = max(int(labels.max()) + 1, 1)
    num_classes = positive_integer(owner, "num_classes", num_classes)
    for label in () if empty else (int(labels.min()), int(labels.max())):
        if not 0 <= label < num_classes:
            expected = f"class numbers from 0 to {num_classes - 1}"
            raise ValueError(invalid_argument(owner, "x", expected, label))
    return num_classes


def normalize(x: Array, axis: int = -1, order: float = 2) -> Array:
    """Scale vectors to unit length; zero vectors stay zero.

    Args:
        x: an array or a tensor.
        axis: the axis along which the vectors lie.
        order: the order of the norm, such as 1, 2 or infinity.

    Shape:
        As `x`.

    Example:
        >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    if isinstance(x, Tensor):
        return F.normalize(x, p=order, dim=axis)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)
