"""Averages, quantiles, correlations, histograms, and differences along an axis.

As among the reductions, `axis` is one axis, several, or None for all, and with
`keepdims` the reduced axes stay, with size 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.errors import (
    describe,
    invalid_argument,
    one_of,
    positive_integer,
)
from torchkeras._core.operation import Array, operation
from torchkeras._core.symbolic import KerasTensor
from torchkeras.ops.numpy._axes import (
    Axis,
    dims_of,
    inexact,
    reduce_last,
    reduce_over,
)

__all__ = [
    "average",
    "bincount",
    "corrcoef",
    "diff",
    "histogram",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
    "trapezoid",
]


@operation("numpy")
def average(x: Array, axis: Axis = None, weights: Array | None = None) -> Tensor:
    """Return the weighted mean along the axes.

    Args:
        x: the values.
        axis: the axes.
        weights: of the shape of `x`, or of the sizes of the reduced axes; all equal by
            default.

    Raises:
        ValueError: when the weights have another shape.

    Example:
        >>> average([[1.0, 2.0], [3.0, 4.0]], axis=1, weights=[3.0, 1.0])
        tensor([1.2500, 3.2500])
    """
    if weights is None:
        return reduce_over("average", torch.mean, inexact(x), axis, keepdims=False)
    dtype = inexact(x.new_empty(0) + weights.new_empty(0)).dtype
    x, weights = x.to(dtype), _aligned(weights.to(dtype), x, axis)
    total = reduce_over("average", torch.sum, x * weights, axis, keepdims=False)
    return total / reduce_over(
        "average", torch.sum, weights.expand_as(x), axis, keepdims=False
    )


def _aligned(weights: Tensor, x: Tensor, axis: Axis) -> Tensor:
    """Give weights of the reduced axes the rank of `x`."""
    if weights.shape == x.shape:
        return weights
    dims = dims_of("average", x, axis)
    sizes = tuple(x.shape[dim] for dim in dims)
    if axis is None or weights.shape != sizes:
        expected = f"of shape {tuple(x.shape)}"
        expected += "" if axis is None else f" or {sizes}"
        raise ValueError(invalid_argument("average", "weights", expected, weights))
    order = sorted(range(len(dims)), key=dims.__getitem__)
    shape = [size if dim in dims else 1 for dim, size in enumerate(x.shape)]
    return weights.permute(order).reshape(shape)


@operation("numpy")
def median(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along the axes: the mean of the two in the middle, if two are.

    Example:
        >>> median([1.0, 2.0, 5.0, 9.0])
        tensor(3.5000)
    """
    return _median("median", x, axis, keepdims, skip_nan=False)


@operation("numpy")
def nanmedian(x: Array, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along the axes of what is a number.

    Example:
        >>> nanmedian([1.0, float("nan"), 2.0, 9.0])
        tensor(2.)
    """
    return _median("nanmedian", x, axis, keepdims, skip_nan=True)


def _median(
    owner: str, x: Tensor, axis: Axis, keepdims: bool, skip_nan: bool
) -> Tensor:
    middle = torch.full((), 0.5, device=x.device)
    return _quantile(owner, x, middle, axis, "linear", keepdims, skip_nan)


@operation("numpy")
def quantile(
    x: Array,
    q: Array,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
) -> Tensor:
    """Return the values below which shares `q` of the values along the axes lie.

    Args:
        x: the values.
        q: one share or several, from 0 to 1.
        axis: the axes.
        method: what stands between two values: ``"linear"``, ``"lower"``, ``"higher"``,
            ``"midpoint"`` or ``"nearest"``.
        keepdims: whether the axes stay, with size 1.

    Shape:
        The axes of `q` come first, then those of `x` that are not reduced.

    Example:
        >>> quantile([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.9])
        tensor([2.0000, 3.6000])
    """
    _check_shares("quantile", q, 1)
    return _quantile("quantile", x, q, axis, method, keepdims, skip_nan=False)


@operation("numpy")
def nanquantile(
    x: Array,
    q: Array,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
) -> Tensor:
    """Return `quantile` of what is a number.

    Example:
        >>> nanquantile([0.0, float("nan"), 4.0], 0.25)
        tensor(1.)
    """
    _check_shares("nanquantile", q, 1)
    return _quantile("nanquantile", x, q, axis, method, keepdims, skip_nan=True)


@operation("numpy")
def percentile(
    x: Array,
    q: Array,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
) -> Tensor:
    """Return `quantile` with `q` in percent, from 0 to 100.

    Example:
        >>> percentile([0.0, 1.0, 2.0, 3.0, 4.0], 75)
        tensor(3.)
    """
    _check_shares("percentile", q, 100)
    shares = inexact(q) / 100
    return _quantile("percentile", x, shares, axis, method, keepdims, skip_nan=False)


@operation("numpy")
def nanpercentile(
    x: Array,
    q: Array,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
) -> Tensor:
    """Return `percentile` of what is a number.

    Example:
        >>> nanpercentile([0.0, float("nan"), 4.0], 25)
        tensor(1.)
    """
    _check_shares("nanpercentile", q, 100)
    shares = inexact(q) / 100
    return _quantile("nanpercentile", x, shares, axis, method, keepdims, skip_nan=True)


def _check_shares(owner: str, q: Tensor, high: int) -> None:
    # Looking at values is free on the CPU only, and outside of a compiled graph.
    if q.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if not ((q >= 0) & (q <= high)).all():
        got = q.detach().tolist()
        raise ValueError(invalid_argument(owner, "q", f"from 0 to {high}", got))


#: By method: the rank of the value below a fractional rank, and the weight of the one
#: above (None where it has none).
_METHODS: dict[str, Callable[[Tensor], tuple[Tensor, Any]]] = {
    "linear": lambda rank: (rank.floor(), rank.frac()),
    "lower": lambda rank: (rank.floor(), None),
    "higher": lambda rank: (rank.ceil(), None),
    "midpoint": lambda rank: (rank.floor(), (rank.frac() > 0).to(rank.dtype) / 2),
    "nearest": lambda rank: (rank.round(), None),
}


def _quantile(
    owner: str,
    x: Tensor,
    q: Tensor,
    axis: Axis,
    method: str,
    keepdims: bool,
    skip_nan: bool,
) -> Tensor:
    one_of(owner, "method", method, tuple(_METHODS))
    x = inexact(x)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    # Ranks are computed in the dtype of `q`: 0.7 of float32, times 10, is 7 there only.
    q = inexact(q).to(torch.promote_types(inexact(q).dtype, torch.float32))
    kernel = functools.partial(_quantile_last, q=q, method=method, skip_nan=skip_nan)
    return reduce_last(owner, kernel, wide, axis, keepdims).to(x.dtype)


def _quantile_last(x: Tensor, q: Tensor, method: str, skip_nan: bool) -> Tensor:
    # `torch.quantile` refuses more than 2**24 values.
    if x.shape[-1] == 0:
        return x.new_full((*q.shape, *x.shape[:-1]), float("nan"))
    missing = x.isnan()
    values = x.sort(dim=-1).values  # NaN comes last
    last = x.shape[-1] - 1
    share = q.reshape([*q.shape, *[1] * (x.ndim - 1)])
    if skip_nan:
        count = (~missing).sum(dim=-1)
        rank = share * (count - 1).clamp(min=0)
    else:
        # One value that is not a number makes the result such a one.
        rank = (share * last).masked_fill(missing.any(dim=-1), last)
    below, weight = _METHODS[method](rank)
    below = below.long()
    shape = torch.broadcast_shapes(below.shape, x.shape[:-1])
    values = values.expand(*shape, x.shape[-1])
    low = values.take_along_dim(below.expand(shape).unsqueeze(-1), -1).squeeze(-1)
    if weight is None:
        return low
    above = (below + 1).clamp(max=last).expand(shape).unsqueeze(-1)
    high = values.take_along_dim(above, -1).squeeze(-1)
    weight = weight.to(x.dtype).expand(shape)
    return torch.where(weight > 0, torch.lerp(low, high, weight), low)


@operation("numpy")
def corrcoef(x: Array) -> Tensor:
    """Return the correlation coefficients of variables, each a row of `x`.

    Args:
        x: of one or two axes; int64 is computed in float64.

    Shape:
        ``(variables, observations)`` to ``(variables, variables)``, and one row alone
        to a scalar.

    Example:
        >>> corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    if x.ndim > 2:
        expected = "of one or two axes"
        raise ValueError(invalid_argument("corrcoef", "x", expected, x))
    x = x.double() if x.dtype == torch.int64 else inexact(x)
    # Squares overflow in float16.
    rows = x.to(torch.promote_types(x.dtype, torch.float32))
    rows = rows.reshape([1] * (2 - x.ndim) + list(x.shape))
    rows = rows - rows.mean(dim=1, keepdim=True)
    covariance = rows @ rows.mH
    deviation = covariance.diagonal().real.sqrt()
    result = covariance / deviation.unsqueeze(1) / deviation
    if result.is_complex():
        result = torch.complex(result.real.clamp(-1, 1), result.imag.clamp(-1, 1))
    else:
        result = result.clamp(-1, 1)
    return (result[0, 0] if rows.shape[0] == 1 else result).to(x.dtype)


@operation("numpy")
def histogram(
    x: Array, bins: int = 10, range: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Count how many values lie in each of `bins` intervals of the same width.

    Args:
        x: of one axis.
        bins: how many intervals.
        range: the lowest and the highest edge, beyond which values are left out; by
            default the smallest and the largest value.

    Shape:
        ``(n,)`` to the counts ``(bins,)`` and the edges ``(bins + 1,)``.

    Raises:
        ValueError: for other arguments than these.
        TypeError: when `bins` is not an integer.

    Example:
        >>> histogram([1.0, 1.5, 2.0, 5.0], bins=4)
        (tensor([2., 1., 0., 1.]), tensor([1., 2., 3., 4., 5.]))
    """
    positive_integer("histogram", "bins", bins)
    if x.ndim > 1:
        raise ValueError(invalid_argument("histogram", "x", "of one axis", x))
    x = inexact(x).detach().reshape(-1)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    low, high = _limits(wide, range)
    share = torch.arange(bins + 1, dtype=wide.dtype, device=x.device) / bins
    edges = torch.lerp(low, high, share)
    place = torch.searchsorted(edges, wide, right=True) - 1
    inside = (wide >= low) & (wide <= high)
    counts = torch.zeros(bins, dtype=torch.int64, device=x.device)
    counts = counts.scatter_add(0, place.clamp(0, bins - 1), inside.long())
    return counts.to(x.dtype), edges.to(x.dtype)


def _limits(x: Tensor, limits: Any) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest edge; they differ, as in NumPy."""
    if limits is not None:
        expected = "a pair of numbers in rising order"
        if not isinstance(limits, (tuple, list)) or len(limits) != 2:
            raise ValueError(invalid_argument("histogram", "range", expected, limits))
        if limits[1] < limits[0]:
            raise ValueError(invalid_argument("histogram", "range", expected, limits))
        low, high = x.new_tensor(limits)
    elif x.numel() == 0:
        low, high = x.new_zeros(()), x.new_ones(())
    else:
        low, high = x.aminmax()
    margin = (low == high) * 0.5
    return low - margin, high + margin


def _bincount_spec(
    x: Any,
    weights: Any = None,
    minlength: int = 0,
    sparse: bool = False,
) -> KerasTensor:
    dtype = torch.int32
    if weights is not None:
        dtype = torch.promote_types(
            to_torch_dtype(x.dtype), to_torch_dtype(as_tensor(weights).dtype)
        )
    return KerasTensor((*x.shape[:-1], None), standardize_dtype(dtype))


@operation("numpy", infer=_bincount_spec)
def bincount(
    x: Array, weights: Any = None, minlength: int = 0, sparse: bool = False
) -> Tensor:
    """Count how often each of the integers 0, 1, 2, ... occurs.

    Args:
        x: integers from 0, in one row or in several.
        weights: of the shape of `x`: what each one counts; 1 by default.
        minlength: the least number of counts.
        sparse: not supported.

    Shape:
        ``(n,)`` to ``(counts,)``, ``(rows, n)`` to ``(rows, counts)``; there is one
        more count than the largest integer.

    Raises:
        ValueError: for a shape that is none of these.
        TypeError: for values that are no integers.
        NotImplementedError: when `sparse` is asked for.

    Example:
        >>> bincount([1, 1, 3])
        tensor([0, 2, 0, 1], dtype=torch.int32)
    """
    if sparse:
        raise NotImplementedError(
            "bincount: `sparse` is not supported; call `to_sparse()` on the result."
        )
    if x.ndim not in (1, 2):
        raise ValueError(invalid_argument("bincount", "x", "of one or two axes", x))
    if x.is_floating_point() or x.is_complex():
        raise TypeError(invalid_argument("bincount", "x", "an array of integers", x))
    # For Keras the weights are an option of the operation, not one of its tensors.
    weights = None if weights is None else as_tensor(weights, x.device)
    if weights is not None and weights.shape != x.shape:
        raise ValueError(
            f"bincount: `weights` must have the shape of `x`, got {describe(weights)} "
            f"for {describe(x)}."
        )
    dtype = torch.int32
    if weights is not None:
        dtype = torch.promote_types(x.dtype, weights.dtype)
        weights = weights.reshape(-1)
    if x.ndim == 1:
        return torch.bincount(x, weights, minlength).to(dtype)
    # All rows are counted at once, each in a range of integers of its own.
    rows = x.shape[0]
    length = max(int(x.max()) + 1, minlength) if x.numel() else minlength
    start = length * torch.arange(rows, device=x.device)
    flat = (x + start.unsqueeze(1)).reshape(-1)
    counts = torch.bincount(flat, weights, rows * length)
    return counts.reshape(rows, length).to(dtype)


@operation("numpy")
def diff(a: Array, n: int = 1, axis: int = -1) -> Tensor:
    """Return the differences of neighbours along an axis.

    Args:
        a: the values.
        n: how many times differences are taken.
        axis: the axis, which loses a value each time.

    Example:
        >>> diff([1.0, 4.0, 9.0, 16.0])
        tensor([3., 5., 7.])
    """
    if n < 0:
        raise ValueError(invalid_argument("diff", "n", "at least 0", n))
    (dim,) = dims_of("diff", a, axis)
    return torch.diff(a, n=n, dim=dim)


@operation("numpy")
def trapezoid(y: Array, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule.

    Args:
        y: the values.
        x: where they were taken, along the axis or in the shape of `y`; at distances
            `dx` by default.
        dx: the distance between two values.
        axis: the axis.

    Example:
        >>> trapezoid([1.0, 2.0, 3.0], dx=2.0)
        tensor(8.)
    """
    (dim,) = dims_of("trapezoid", y, axis)
    y = inexact(y)
    if x is None:
        return torch.trapezoid(y, dx=dx, dim=dim)
    # For Keras the places are an option of the operation, not one of its tensors.
    return torch.trapezoid(y, as_tensor(x, y.device), dim=dim)
