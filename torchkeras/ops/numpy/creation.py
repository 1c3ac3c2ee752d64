"""New arrays: constants, ranges, windows, grids."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.signal import windows

from torchkeras._core import tree
from torchkeras._core.config import default_device
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import DTYPES, result_type, to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.operation import Array, Operand, operation
from torchkeras._core.typing import DType
from torchkeras._core.variable import WeightView

__all__ = [
    "arange",
    "array",
    "bartlett",
    "blackman",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "geomspace",
    "hamming",
    "hanning",
    "identity",
    "kaiser",
    "linspace",
    "logspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tri",
    "vander",
    "zeros",
    "zeros_like",
]

# Constants


def _sizes(owner: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, (Tensor, np.ndarray)):
        shape = shape.tolist()
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if not all(hasattr(size, "__index__") and size >= 0 for size in sizes):
        expected = "an integer or several, at least 0"
        raise ValueError(invalid_argument(owner, "shape", expected, shape))
    return sizes


def _count(owner: str, argument: str, value: Any) -> int:
    try:
        count = operator.index(value)
    except TypeError as error:
        message = invalid_argument(owner, argument, "an integer", value)
        raise TypeError(message) from error
    if count < 0:
        raise ValueError(invalid_argument(owner, argument, "at least 0", value))
    return count


def _exact(
    value: Any, dtype: torch.dtype | None, device: torch.device | None = None
) -> Tensor:
    """Return values in a dtype, not rounded to ``floatx`` or ``int32`` on the way."""
    if isinstance(value, WeightView):
        value = value.value
    leaves = tree.flatten(value) if isinstance(value, (list, tuple)) else [value]
    if dtype is None or any(isinstance(leaf, Tensor) for leaf in leaves):
        value = as_tensor(value, device)
        return value if dtype is None else value.to(dtype)
    if any(hasattr(leaf, "__array__") for leaf in leaves):
        value = np.asarray(value)  # torch reads a list of arrays one by one
    device = default_device() if device is None else device
    return torch.tensor(value, dtype=dtype, device=device)


def zeros(shape: Any, dtype: DType = None) -> Tensor:
    """Return zeros.

    Args:
        shape: the shape.
        dtype: the dtype; ``floatx`` by default.

    Example:
        >>> zeros((2,))
        tensor([0., 0.])
    """
    dtype = to_torch_dtype(dtype)
    return torch.zeros(_sizes("zeros", shape), dtype=dtype, device=default_device())


def ones(shape: Any, dtype: DType = None) -> Tensor:
    """Return ones.

    Args:
        shape: the shape.
        dtype: the dtype; ``floatx`` by default.

    Example:
        >>> ones((2,))
        tensor([1., 1.])
    """
    dtype = to_torch_dtype(dtype)
    return torch.ones(_sizes("ones", shape), dtype=dtype, device=default_device())


def empty(shape: Any, dtype: DType = None) -> Tensor:
    """Return a tensor whose values are whatever the memory holds.

    Args:
        shape: the shape.
        dtype: the dtype; ``floatx`` by default.

    Example:
        >>> empty((2, 3)).shape
        torch.Size([2, 3])
    """
    dtype = to_torch_dtype(dtype)
    return torch.empty(_sizes("empty", shape), dtype=dtype, device=default_device())


@operation("numpy")
def full(shape: Any, fill_value: Operand, dtype: DType = None) -> Tensor:
    """Return the same value everywhere.

    Args:
        shape: the shape.
        fill_value: the value, or an array that broadcasts to the shape.
        dtype: the dtype; ``floatx`` by default.

    Raises:
        ValueError: when `fill_value` doesn't broadcast to the shape.

    Example:
        >>> full((2,), 3)
        tensor([3., 3.])
    """
    value = _exact(fill_value, to_torch_dtype(dtype))
    return _filled("full", _sizes("full", shape), value)


def _filled(owner: str, shape: Sequence[int], value: Tensor) -> Tensor:
    try:
        return value.expand(shape).clone()
    except RuntimeError as error:
        expected = f"of a shape that broadcasts to {tuple(shape)}"
        message = invalid_argument(owner, "fill_value", expected, value)
        raise ValueError(message) from error


@operation("numpy")
def zeros_like(x: Array, dtype: DType = None) -> Tensor:
    """Return zeros of the shape, and by default of the dtype, of another tensor.

    Example:
        >>> zeros_like([1, 2]).tolist()
        [0, 0]
    """
    return torch.zeros_like(x, dtype=None if dtype is None else to_torch_dtype(dtype))


@operation("numpy")
def ones_like(x: Array, dtype: DType = None) -> Tensor:
    """Return ones of the shape, and by default of the dtype, of another tensor.

    Example:
        >>> ones_like([5, 6]).tolist()
        [1, 1]
    """
    return torch.ones_like(x, dtype=None if dtype is None else to_torch_dtype(dtype))


@operation("numpy")
def empty_like(x: Array, dtype: DType = None) -> Tensor:
    """Return a tensor of the shape of another one, with whatever the memory holds.

    Example:
        >>> empty_like([[1, 2]]).shape
        torch.Size([1, 2])
    """
    return torch.empty_like(x, dtype=None if dtype is None else to_torch_dtype(dtype))


@operation("numpy")
def full_like(x: Operand, fill_value: Operand, dtype: DType = None) -> Tensor:
    """Return the same value everywhere, in the shape of another tensor.

    Args:
        x: gives the shape, and the dtype unless that is given.
        fill_value: the value, or an array that broadcasts to the shape.
        dtype: the dtype.

    Raises:
        ValueError: when `fill_value` doesn't broadcast to the shape.

    Example:
        >>> full_like([1, 2], 7).tolist()
        [7, 7]
    """
    x = _exact(x, None)
    target = x.dtype if dtype is None else to_torch_dtype(dtype)
    return _filled("full_like", x.shape, _exact(fill_value, target, x.device))


@operation("numpy")
def array(x: Operand, dtype: DType = None) -> Tensor:
    """Return an array, a number or a nested list as a tensor.

    Args:
        x: the values.
        dtype: the dtype; that of the values by default.

    Example:
        >>> array([1.0, 2.0])
        tensor([1., 2.])
    """
    return _exact(x, None if dtype is None else to_torch_dtype(dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: DType = None) -> Tensor:  # noqa: N803
    """Return ones on a diagonal and zeros elsewhere.

    Args:
        N: the number of rows.
        M: the number of columns; `N` by default.
        k: the diagonal: 0 is the main one, positive ones are above it.
        dtype: the dtype; ``floatx`` by default.

    Raises:
        TypeError: when a number of rows or columns is no integer.
        ValueError: when it is negative.

    Example:
        >>> eye(2, 3, k=1).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    height = _count("eye", "N", N)
    width = height if M is None else _count("eye", "M", M)
    rows = torch.arange(height, device=default_device())[:, None]
    columns = torch.arange(width, device=default_device())
    return (columns - rows == (k or 0)).to(to_torch_dtype(dtype))


def identity(n: int, dtype: DType = None) -> Tensor:
    """Return the identity matrix.

    Args:
        n: the number of rows.
        dtype: the dtype; ``floatx`` by default.

    Example:
        >>> identity(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(_count("identity", "n", n), dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: DType = None) -> Tensor:  # noqa: N803
    """Return ones on and below a diagonal and zeros above it.

    Args:
        N: the number of rows.
        M: the number of columns; `N` by default.
        k: the diagonal: 0 is the main one, positive ones are above it.
        dtype: the dtype; ``floatx`` by default.

    Example:
        >>> tri(2, 3).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    height = _count("tri", "N", N)
    return ones((height, height if M is None else _count("tri", "M", M)), dtype).tril(k)


# Ranges


def _dtype_of(*values: Any) -> torch.dtype:
    """Return the dtype that Keras gives to what these values bound."""
    own = (getattr(v, "dtype", type(v)) for v in values if v is not None)
    return DTYPES[result_type(*own)]


def arange(
    start: Any, stop: Any = None, step: Any = None, dtype: DType = None
) -> Tensor:
    """Return evenly spaced numbers, the end left out; none where it isn't ahead.

    Args:
        start: the first number; the end, with 0 as the first, when `stop` is None.
        stop: the end.
        step: the distance; 1 by default.
        dtype: the dtype; ``int32`` for Python integers, ``floatx`` for floats.

    Raises:
        ValueError: when `step` is 0.

    Example:
        >>> arange(1, 7, 2).tolist()
        [1, 3, 5]
    """
    target = (
        to_torch_dtype(dtype) if dtype is not None else _dtype_of(start, stop, step)
    )
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    if isinstance(step, (int, float)) and step == 0:
        raise ValueError(invalid_argument("arange", "step", "other than 0", step))
    numbers = (int, float, np.generic)
    if all(isinstance(value, numbers) for value in (start, stop, step)):
        stop = stop if (stop > start) == (step > 0) else start
    return torch.arange(start, stop, step, dtype=target, device=default_device())


def _spaced(
    owner: str, start: Tensor, stop: Tensor, num: int, endpoint: bool
) -> tuple[Tensor, Tensor]:
    """Return numbers along a new first axis, in float64, and their distance."""
    if isinstance(num, bool) or not hasattr(num, "__index__") or num < 0:
        expected = "an integer, at least 0"
        raise ValueError(invalid_argument(owner, "num", expected, num))
    parts = num - 1 if endpoint else num
    distance = (stop - start) / parts if parts > 0 else (stop - start) * math.nan
    steps = torch.arange(num, dtype=torch.float64, device=start.device)
    steps = steps.reshape(-1, *[1] * max(start.ndim, stop.ndim))
    spaced = start + steps * (distance if parts > 0 else 0.0)
    if endpoint and num > 1:
        spaced = torch.cat([spaced[:-1], stop.expand(spaced.shape[1:])[None]])
    return spaced, distance


def _bounds(start: Any, stop: Any) -> tuple[Tensor, Tensor]:
    """Return two ends in float64, on one device."""
    given = [_exact(v, None) for v in (start, stop) if hasattr(v, "__torch_function__")]
    device = given[0].device if given else default_device()
    first, last = (_exact(value, torch.float64, device) for value in (start, stop))
    return first, last


def _result(spaced: Tensor, dtype: DType, axis: int, *bounds: Any) -> Tensor:
    if dtype is None:
        # Numbers are weak, and the others are what they are as tensors.
        kinds = (
            type(bound) if isinstance(bound, (int, float)) else as_tensor(bound).dtype
            for bound in bounds
        )
        target = DTYPES[result_type(*kinds, float)]
    else:
        target = to_torch_dtype(dtype)
    if not target.is_floating_point:
        spaced = spaced.floor()
    return spaced.movedim(0, axis).to(target)


@operation("numpy")
def linspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DType = None,
    axis: int = 0,
) -> Any:
    """Return numbers at even distances between two.

    Args:
        start: the first number, or an array of them.
        stop: the last number, or an array of them.
        num: how many.
        endpoint: whether `stop` is the last of them.
        retstep: return their distance too.
        dtype: the dtype; a float by default.
        axis: where the new axis stands.

    Raises:
        ValueError: when `num` is negative.

    Example:
        >>> linspace(0.0, 1.0, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    ends = _bounds(start, stop)
    spaced, distance = _spaced("linspace", *ends, num, endpoint)
    outputs = _result(spaced, dtype, axis, start, stop)
    return (
        (outputs, _result(distance[None], None, 0, start, stop)[0])
        if (retstep)
        else outputs
    )


@operation("numpy")
def logspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: DType = None,
    axis: int = 0,
) -> Tensor:
    """Return powers of a number whose exponents are at even distances.

    Args:
        start: the first exponent, or an array of them.
        stop: the last exponent, or an array of them.
        num: how many.
        endpoint: whether `stop` is the last of them.
        base: the number.
        dtype: the dtype; a float by default.
        axis: where the new axis stands.

    Raises:
        ValueError: when `num` is negative.

    Example:
        >>> logspace(0, 2, 3).tolist()
        [1.0, 10.0, 100.0]
    """
    spaced, _ = _spaced("logspace", *_bounds(start, stop), num, endpoint)
    powers = torch.pow(torch.as_tensor(base, dtype=torch.float64), spaced)
    return _result(powers, dtype, axis, start, stop)


@operation("numpy")
def geomspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    dtype: DType = None,
    axis: int = 0,
) -> Tensor:
    """Return numbers at even ratios between two of the same sign.

    Args:
        start: the first number, or an array of them.
        stop: the last number, or an array of them.
        num: how many.
        endpoint: whether `stop` is the last of them.
        dtype: the dtype; a float by default.
        axis: where the new axis stands.

    Raises:
        ValueError: when `num` is negative.

    Example:
        >>> geomspace(1.0, 100.0, 3).tolist()
        [1.0, 10.0, 100.0]
    """
    first, last = _bounds(start, stop)
    exponents = (first.abs().log10(), last.abs().log10())
    spaced, _ = _spaced("geomspace", *exponents, num, endpoint)
    powers = first.sign() * 10.0**spaced
    return _result(powers, dtype, axis, start, stop)


@operation("numpy")
def meshgrid(*x: Array, indexing: str = "xy") -> list[Tensor]:
    """Return the coordinates of a grid, one array for each axis.

    Args:
        *x: the coordinates along each axis.
        indexing: ``"xy"``, where the second axis of the outputs is that of the first
            input, or ``"ij"``.

    Raises:
        ValueError: for another `indexing`.

    Example:
        >>> [part.tolist() for part in meshgrid([1, 2], [3, 4])]
        [[[1, 2], [1, 2]], [[3, 3], [4, 4]]]
    """
    one_of("meshgrid", "indexing", indexing, ("xy", "ij"))
    # `torch.meshgrid` takes one dtype only.
    sizes = [part.numel() for part in x]
    grids = []
    for axis, part in enumerate(x):
        others = [1] * (len(x) - axis - 1)
        grids.append(part.reshape([-1, *others]).expand(sizes))
    if indexing == "xy" and len(x) > 1:
        return [grid.transpose(0, 1) for grid in grids]
    return grids


@operation("numpy")
def vander(x: Array, N: int | None = None, increasing: bool = False) -> Tensor:  # noqa: N803
    """Return powers of the values, one row for each.

    Args:
        x: the values, along one axis.
        N: the number of columns; as many as there are values by default.
        increasing: whether the powers grow from left to right.

    Raises:
        ValueError: for values along more than one axis, or along none, and for a
            negative `N`.
        TypeError: when `N` is no integer.

    Example:
        >>> vander([2, 3], increasing=True).tolist()
        [[1, 2], [1, 3]]
    """
    if x.ndim != 1:
        raise ValueError(invalid_argument("vander", "x", "of one axis", x))
    columns = x.shape[0] if N is None else _count("vander", "N", N)
    powers = torch.arange(columns, device=x.device)
    powers = powers if increasing else powers.flip(0)
    # Not `torch.vander`, whose backward pass fails; booleans have no powers.
    base = x.int() if x.dtype == torch.bool else x
    return (base[:, None] ** powers.to(base.dtype)).to(x.dtype)


# Windows


def _length(owner: str, x: Any) -> int:
    value = x.item() if isinstance(x, (Tensor, np.ndarray, np.generic)) else x
    whole = isinstance(value, (int, float)) and value == int(value) >= 0
    if isinstance(value, bool) or not whole:
        raise ValueError(invalid_argument(owner, "x", "the number of points", x))
    return int(value)


def _window(owner: str, kernel: Callable[..., Tensor], x: Any, **shape: Any) -> Tensor:
    target = to_torch_dtype(None)
    wide = torch.promote_types(target, torch.float32)  # torch has them in no other
    points = _length(owner, x)
    return kernel(points, dtype=wide, device=default_device(), **shape).to(target)


def bartlett(x: Any) -> Tensor:
    """Return the triangular window.

    Args:
        x: the number of points.

    Example:
        >>> bartlett(3).tolist()
        [0.0, 1.0, 0.0]
    """
    return _window("bartlett", windows.bartlett, x)


def blackman(x: Any) -> Tensor:
    """Return the Blackman window.

    Args:
        x: the number of points.

    Example:
        >>> blackman(3).shape
        torch.Size([3])
    """
    return _window("blackman", windows.blackman, x)


def hamming(x: Any) -> Tensor:
    """Return the Hamming window.

    Args:
        x: the number of points.

    Example:
        >>> hamming(3).shape
        torch.Size([3])
    """
    return _window("hamming", windows.hamming, x)


def hanning(x: Any) -> Tensor:
    """Return the Hann window.

    Args:
        x: the number of points.

    Example:
        >>> hanning(3).tolist()
        [0.0, 1.0, 0.0]
    """
    return _window("hanning", windows.hann, x)


def kaiser(x: Any, beta: float) -> Tensor:
    """Return the Kaiser window.

    Args:
        x: the number of points.
        beta: the shape: 0 is a rectangle, larger ones are narrower.

    Example:
        >>> kaiser(3, 0.0).tolist()
        [1.0, 1.0, 1.0]
    """
    return _window("kaiser", windows.kaiser, x, beta=float(beta))
