"""What reductions share: the axes they go over, and the dtypes they compute in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument

#: One axis, several, or None for all of them.
Axis = int | Sequence[int] | None


def dims_of(owner: str, x: Tensor, axis: Axis) -> tuple[int, ...]:
    """Return the axes that `axis` names, counted from the front.

    Raises:
        ValueError: for an axis that `x` does not have, or that is given twice.
        TypeError: for what is no integer.
    """
    if axis is None:
        return tuple(range(x.ndim))
    given = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    if not all(hasattr(dim, "__index__") for dim in given):
        raise TypeError(invalid_argument(owner, "axis", "an integer or several", axis))
    dims = tuple(dim + x.ndim if dim < 0 else dim for dim in given)
    if not all(0 <= dim < x.ndim for dim in dims) or len(set(dims)) < len(dims):
        expected = f"among the {x.ndim} axes of the tensor, each at most once"
        raise ValueError(invalid_argument(owner, "axis", expected, axis))
    return dims


def reduce_over(
    owner: str,
    kernel: Callable[..., Tensor],
    x: Tensor,
    axis: Axis,
    keepdims: bool,
) -> Tensor:
    """Apply a kernel that takes several axes as `dim`, and `keepdim`.

    An empty `axis` reduces every number by itself, as in NumPy; torch would take it for
    all axes.
    """
    dims = dims_of(owner, x, axis)
    if not dims:
        return kernel(x.unsqueeze(-1), dim=(-1,), keepdim=False)
    return kernel(x, dim=dims, keepdim=keepdims)


def reduce_last(
    owner: str,
    kernel: Callable[[Tensor], Tensor],
    x: Tensor,
    axis: Axis,
    keepdims: bool,
) -> Tensor:
    """Apply a kernel that knows the last axis only, with the reduced ones put there.

    The kernel may put axes of its own in front.
    """
    dims = dims_of(owner, x, axis)
    kept = [dim for dim in range(x.ndim) if dim not in dims]
    sizes = [x.shape[dim] for dim in kept]
    length = math.prod([x.shape[dim] for dim in dims])
    result = kernel(x.permute([*kept, *dims]).reshape([*sizes, length]))
    if not keepdims:
        return result
    front = result.shape[: result.ndim - len(kept)]
    return result.reshape(*front, *shape_over(x, dims, keepdims=True))


def shape_over(x: Tensor, dims: Sequence[int], keepdims: bool) -> list[int]:
    """Return the shape that is left when those axes are reduced."""
    if keepdims:
        return [1 if dim in dims else size for dim, size in enumerate(x.shape)]
    return [size for dim, size in enumerate(x.shape) if dim not in dims]


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of a sum or product: narrow integers are widened to int32."""
    narrow = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16)
    return torch.int32 if dtype in narrow else dtype


def inexact(x: Tensor) -> Tensor:
    """Return integers and booleans in the default float type, the rest as it is."""
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(to_torch_dtype(None))
