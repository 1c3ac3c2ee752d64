"""Sums, products, means, extremes and tests over axes, and cumulative ones.

Throughout, `axis` is one axis, several, or None for all; an empty tuple reduces none.
With `keepdims` the reduced axes stay, with size 1. The functions that begin with `nan`
pass over values that are not a number.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.operation import Array, operation
from torchkeras._core.typing import DType
from torchkeras.ops.numpy._axes import (
    Axis,
    dims_of,
    inexact,
    reduce_last,
    reduce_over,
    shape_over,
    sum_dtype,
)

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "max",
    "mean",
    "min",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
    "prod",
    "ptp",
    "std",
    "sum",
    "var",
]


@operation("numpy")
def all(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Test whether all values along the axes are true.

    Example:
        >>> all([[True, False], [True, True]], axis=1)
        tensor([False,  True])
    """
    return reduce_over("all", torch.all, x.bool(), axis, keepdims)


@operation("numpy")
def any(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Test whether any value along the axes is true.

    Example:
        >>> any([[True, False], [False, False]], axis=1)
        tensor([ True, False])
    """
    return reduce_over("any", torch.any, x.bool(), axis, keepdims)


@operation("numpy")
def count_nonzero(x: Array, axis: Axis = None) -> Tensor:
    """Return how many values along the axes are not zero, as int32.

    Example:
        >>> count_nonzero([[0, 7, 0], [3, 0, 2]], axis=1)
        tensor([1, 2], dtype=torch.int32)
    """
    kernel = functools.partial(torch.sum, dtype=torch.int32)
    return reduce_over("count_nonzero", kernel, x != 0, axis, keepdims=False)


@operation("numpy")
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum along the axes; of booleans and narrow integers as int32.

    Example:
        >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
        tensor([4., 6.])
    """
    kernel = functools.partial(torch.sum, dtype=sum_dtype(x.dtype))
    return reduce_over("sum", kernel, x, axis, keepdims)


@operation("numpy")
def nansum(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum along the axes of what is a number; 0 where nothing is.

    Example:
        >>> nansum([[1.0, float("nan")], [3.0, 4.0]], axis=0)
        tensor([4., 4.])
    """
    kernel = functools.partial(torch.sum, dtype=sum_dtype(x.dtype))
    return reduce_over("nansum", kernel, _fill_nan(x, 0), axis, keepdims)


@operation("numpy")
def prod(
    x: Array, axis: Axis = None, keepdims: bool = False, dtype: DType = None
) -> Tensor:
    """Return the product along the axes.

    Args:
        x: the factors.
        axis: the axes.
        keepdims: whether the axes stay, with size 1.
        dtype: the dtype of the computation and the result; by default that of `x`,
            with booleans and narrow integers widened to int32.

    Example:
        >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1)
        tensor([ 2., 12.])
    """
    return _prod("prod", x, axis, keepdims, dtype)


@operation("numpy")
def nanprod(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the product along the axes of what is a number; 1 where nothing is.

    Example:
        >>> nanprod([2.0, float("nan"), 3.0])
        tensor(6.)
    """
    return _prod("nanprod", _fill_nan(x, 1), axis, keepdims, None)


def _prod(owner: str, x: Tensor, axis: Axis, keepdims: bool, dtype: DType) -> Tensor:
    result = sum_dtype(x.dtype) if dtype is None else to_torch_dtype(dtype)
    kernel = functools.partial(torch.prod, dim=-1, dtype=result)
    return reduce_last(owner, kernel, x, axis, keepdims)


@operation("numpy")
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean along the axes; of integers in the default float type.

    Example:
        >>> mean([[1, 2], [3, 5]], axis=1)
        tensor([1.5000, 4.0000])
    """
    return reduce_over("mean", torch.mean, inexact(x), axis, keepdims)


@operation("numpy")
def nanmean(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean along the axes of what is a number.

    Example:
        >>> nanmean([1.0, float("nan"), 3.0])
        tensor(2.)
    """
    return reduce_over("nanmean", _mean_of_numbers, inexact(x), axis, keepdims)


def _mean_of_numbers(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    # `torch.nanmean` takes no complex numbers.
    total = _fill_nan(x, 0).sum(dim, keepdim=keepdim)
    return total / (~x.isnan()).sum(dim, keepdim=keepdim)


@operation("numpy")
def var(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance along the axes: the mean squared distance from the mean.

    Example:
        >>> var([[1.0, 3.0], [2.0, 6.0]], axis=1)
        tensor([1., 4.])
    """
    kernel = functools.partial(torch.var, correction=0)
    return reduce_over("var", kernel, inexact(x), axis, keepdims)


@operation("numpy")
def std(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along the axes, the square root of `var`.

    Example:
        >>> std([[1.0, 3.0], [2.0, 6.0]], axis=1)
        tensor([1., 2.])
    """
    kernel = functools.partial(torch.std, correction=0)
    return reduce_over("std", kernel, inexact(x), axis, keepdims)


@operation("numpy")
def nanvar(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance along the axes of what is a number.

    Example:
        >>> nanvar([1.0, float("nan"), 3.0])
        tensor(1.)
    """
    return _nanvar("nanvar", x, axis, keepdims)


@operation("numpy")
def nanstd(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along the axes of what is a number.

    Example:
        >>> nanstd([2.0, float("nan"), 6.0])
        tensor(2.)
    """
    return _nanvar("nanstd", x, axis, keepdims).sqrt()


def _nanvar(owner: str, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    x = inexact(x)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    dims = dims_of(owner, x, axis)
    if not dims:
        wide, dims, keepdims = wide.unsqueeze(-1), (-1,), False
    missing = wide.isnan()
    distance = wide - _mean_of_numbers(wide, dims, keepdim=True)
    # Filled before it is squared: the gradient of what is left out must be finite.
    distance = distance.masked_fill(missing, 0)
    squares = (distance * distance.conj()).real if x.is_complex() else distance.square()
    total = squares.sum(dims, keepdim=keepdims)
    result = total / (~missing).sum(dims, keepdim=keepdims)
    return result.to(x.real.dtype if x.is_complex() else x.dtype)


@operation("numpy")
def amax(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest value along the axes.

    Example:
        >>> amax([[1.0, 5.0], [4.0, 2.0]], axis=1)
        tensor([5., 4.])
    """
    return _extreme("amax", torch.amax, x, axis, keepdims)


@operation("numpy")
def amin(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest value along the axes.

    Example:
        >>> amin([[1.0, 5.0], [4.0, 2.0]], axis=1)
        tensor([1., 2.])
    """
    return _extreme("amin", torch.amin, x, axis, keepdims)


@operation("numpy")
def max(
    x: Array, axis: Axis = None, keepdims: bool = False, initial: Any = None
) -> Tensor:
    """Return the largest value along the axes.

    Args:
        x: the values.
        axis: the axes.
        keepdims: whether the axes stay, with size 1.
        initial: what the result is at least, and all it is where there are no values.

    Raises:
        ValueError: when there are no values and no `initial`.

    Example:
        >>> max([[1.0, 5.0], [4.0, 2.0]], axis=1, initial=4.5)
        tensor([5.0000, 4.5000])
    """
    return _extreme("max", torch.amax, x, axis, keepdims, torch.maximum, initial)


@operation("numpy")
def min(
    x: Array, axis: Axis = None, keepdims: bool = False, initial: Any = None
) -> Tensor:
    """Return the smallest value along the axes.

    Args:
        x: the values.
        axis: the axes.
        keepdims: whether the axes stay, with size 1.
        initial: what the result is at most, and all it is where there are no values.

    Raises:
        ValueError: when there are no values and no `initial`.

    Example:
        >>> min([[1.0, 5.0], [4.0, 2.0]], axis=1, initial=1.5)
        tensor([1.0000, 1.5000])
    """
    return _extreme("min", torch.amin, x, axis, keepdims, torch.minimum, initial)


@operation("numpy")
def nanmax(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest number along the axes; NaN where nothing is a number.

    Example:
        >>> nanmax([[1.0, float("nan")], [4.0, 2.0]], axis=1)
        tensor([1., 4.])
    """
    return _nan_extreme("nanmax", torch.amax, float("-inf"), x, axis, keepdims)


@operation("numpy")
def nanmin(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest number along the axes; NaN where nothing is a number.

    Example:
        >>> nanmin([[1.0, float("nan")], [4.0, 2.0]], axis=1)
        tensor([1., 2.])
    """
    return _nan_extreme("nanmin", torch.amin, float("inf"), x, axis, keepdims)


@operation("numpy")
def ptp(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the distance from the smallest to the largest value along the axes.

    Raises:
        TypeError: for booleans, which have no distance.

    Example:
        >>> ptp([[1.0, 5.0], [4.0, 2.0]], axis=1)
        tensor([4., 2.])
    """
    if x.dtype == torch.bool:
        hint = 'Convert it, such as with `cast(x, "int32")`.'
        raise TypeError(invalid_argument("ptp", "x", "an array of numbers", x, hint))
    largest = _extreme("ptp", torch.amax, x, axis, keepdims)
    return largest - _extreme("ptp", torch.amin, x, axis, keepdims)


def _extreme(
    owner: str,
    kernel: Callable[..., Tensor],
    x: Tensor,
    axis: Axis,
    keepdims: bool,
    of_two: Callable[..., Tensor] = torch.maximum,
    initial: Any = None,
) -> Tensor:
    dims = dims_of(owner, x, axis)
    if builtins.any(x.shape[dim] == 0 for dim in dims):
        if initial is None:
            raise ValueError(
                f"{owner}: `x` must have a value along the reduced axes, got "
                f"{describe(x)}. Only `max` and `min` take it, with `initial`."
            )
        shape = shape_over(x, dims, keepdims)
        return torch.full(shape, initial, dtype=x.dtype, device=x.device)
    result = reduce_over(owner, kernel, x, axis, keepdims)
    if initial is None:
        return result
    return of_two(result, torch.as_tensor(initial, dtype=x.dtype, device=x.device))


def _nan_extreme(
    owner: str,
    kernel: Callable[..., Tensor],
    replacement: float,
    x: Tensor,
    axis: Axis,
    keepdims: bool,
) -> Tensor:
    result = _extreme(owner, kernel, _fill_nan(x, replacement), axis, keepdims)
    if not x.is_floating_point():
        return result
    nothing = reduce_over(owner, torch.all, x.isnan(), axis, keepdims)
    return result.masked_fill(nothing, float("nan"))


def _fill_nan(x: Tensor, value: float) -> Tensor:
    """Replace what is not a number, and unlike `nan_to_num` leave infinities."""
    if not (x.is_floating_point() or x.is_complex()):
        return x
    return x.masked_fill(x.isnan(), value)


@operation("numpy")
def cumsum(x: Array, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Return the sums of the values up to each one.

    Args:
        x: the values.
        axis: the axis to go along; None flattens `x` first.
        dtype: the dtype of the computation and the result; by default that of `x`, and
            int32 for booleans.

    Example:
        >>> cumsum([[1.0, 2.0], [3.0, 4.0]], axis=1)
        tensor([[1., 3.],
                [3., 7.]])
    """
    return _cumulative("cumsum", torch.cumsum, x, axis, dtype)


@operation("numpy")
def cumprod(x: Array, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Return the products of the values up to each one.

    Args:
        x: the values.
        axis: the axis to go along; None flattens `x` first.
        dtype: the dtype of the computation and the result; by default that of `x`, and
            int32 for booleans.

    Example:
        >>> cumprod([1.0, 2.0, 3.0, 4.0])
        tensor([ 1.,  2.,  6., 24.])
    """
    return _cumulative("cumprod", torch.cumprod, x, axis, dtype)


@operation("numpy")
def nancumsum(x: Array, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Return `cumsum` with zeros in place of what is not a number.

    Example:
        >>> nancumsum([1.0, float("nan"), 3.0])
        tensor([1., 1., 4.])
    """
    return _cumulative("nancumsum", torch.cumsum, _fill_nan(x, 0), axis, dtype)


@operation("numpy")
def nancumprod(x: Array, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Return `cumprod` with ones in place of what is not a number.

    Example:
        >>> nancumprod([2.0, float("nan"), 3.0])
        tensor([2., 2., 6.])
    """
    return _cumulative("nancumprod", torch.cumprod, _fill_nan(x, 1), axis, dtype)


def _cumulative(
    owner: str,
    kernel: Callable[..., Tensor],
    x: Tensor,
    axis: int | None,
    dtype: DType,
) -> Tensor:
    if axis is None:
        x, axis = x.reshape(-1), 0
    (dim,) = dims_of(owner, x, axis)
    result = x.dtype if dtype is None else to_torch_dtype(dtype)
    return kernel(x, dim=dim, dtype=torch.int32 if result == torch.bool else result)
