"""Arithmetic on pairs of arrays."""

from __future__ import annotations

import torch
from torch import Tensor

from torchkeras._core.convert import as_floating
from torchkeras._core.dtypes import result_type, to_torch_dtype
from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, operation

__all__ = [
    "add",
    "arctan2",
    "divide",
    "divide_no_nan",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "heaviside",
    "hypot",
    "lcm",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "nextafter",
    "power",
    "subtract",
    "true_divide",
]


def _joined(x1: Tensor, x2: Tensor, *weak: type) -> tuple[Tensor, Tensor]:
    """Return both in Keras's common dtype, which has at most 32 bits."""
    same = x1.dtype == x2.dtype
    if same and x1.dtype.is_floating_point and x1.dtype.itemsize <= 4:
        return x1, x2
    dtype = to_torch_dtype(result_type(x1.dtype, x2.dtype, *weak))
    return x1.to(dtype), x2.to(dtype)


def _counting(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    """Return two booleans as integers: torch doesn't divide those."""
    if x1.dtype == x2.dtype == torch.bool:
        return x1.to(torch.int32), x2.to(torch.int32)
    return x1, x2


def _check_integers(owner: str, argument: str, x: Tensor) -> None:
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        hint = 'Convert it, such as with `cast(x, "int32")`.'
        raise TypeError(
            invalid_argument(owner, argument, "an array of integers", x, hint)
        )


# The four operations, and powers


@operation("numpy")
def add(x1: Array, x2: Array) -> Tensor:
    """Return the sum; shapes broadcast, dtypes join.

    Example:
        >>> add([1.0, 2.0], 10)
        tensor([11., 12.])
    """
    return torch.add(x1, x2)


@operation("numpy")
def subtract(x1: Array, x2: Array) -> Tensor:
    """Return the difference; booleans beside numbers count as 0 and 1.

    Raises:
        TypeError: when both are booleans.

    Example:
        >>> subtract([1.0, 2.0], 10)
        tensor([-9., -8.])
    """
    if x1.dtype == x2.dtype == torch.bool:
        hint = "Use `logical_xor` for booleans that differ."
        raise TypeError(
            invalid_argument("subtract", "x1", "an array of numbers", x1, hint)
        )
    if x1.dtype == torch.bool:
        x1 = x1.to(x2.dtype)
    elif x2.dtype == torch.bool:
        x2 = x2.to(x1.dtype)
    return torch.subtract(x1, x2)


@operation("numpy")
def multiply(x1: Array, x2: Array) -> Tensor:
    """Return the product; shapes broadcast, dtypes join.

    Example:
        >>> multiply([1.0, 2.0], 10)
        tensor([10., 20.])
    """
    return torch.multiply(x1, x2)


@operation("numpy")
def divide(x1: Array, x2: Array) -> Tensor:
    """Return the quotient, in floating point for integers as well.

    Example:
        >>> divide([1, 2], 4)
        tensor([0.2500, 0.5000])
    """
    return torch.divide(x1, x2)


@operation("numpy")
def true_divide(x1: Array, x2: Array) -> Tensor:
    """Return the quotient: `divide` by its other name.

    Example:
        >>> true_divide([1, 2], 4)
        tensor([0.2500, 0.5000])
    """
    return torch.divide(x1, x2)


@operation("numpy")
def divide_no_nan(x1: Array, x2: Array) -> Tensor:
    """Return the quotient, and 0 with a gradient of 0 where the divisor is 0.

    Example:
        >>> divide_no_nan([1.0, 2.0], [0.0, 4.0])
        tensor([0.0000, 0.5000])
    """
    x1, x2 = _joined(x1, x2, float)
    by_zero = x2 == 0
    # Both choices are differentiated: the one not taken must be finite.
    return torch.where(by_zero, 0, x1 / torch.where(by_zero, 1, x2))


@operation("numpy")
def floor_divide(x1: Array, x2: Array) -> Tensor:
    """Return the quotient rounded down; booleans count as ``int32``.

    Example:
        >>> floor_divide([7, -7], 2)
        tensor([ 3, -4], dtype=torch.int32)
    """
    x1, x2 = _counting(x1, x2)
    # Joined afterwards: the quotient of 64-bit integers may fit where they don't.
    return torch.floor_divide(x1, x2).to(
        to_torch_dtype(result_type(x1.dtype, x2.dtype))
    )


@operation("numpy")
def mod(x1: Array, x2: Array) -> Tensor:
    """Return what `floor_divide` leaves, with the sign of the divisor.

    Example:
        >>> mod([7, -7], 3)
        tensor([1, 2], dtype=torch.int32)
    """
    return torch.remainder(*_counting(x1, x2))


@operation("numpy")
def fmod(x1: Array, x2: Array) -> Tensor:
    """Return what a division rounded toward zero leaves, with the sign of `x1`.

    Example:
        >>> fmod([7, -7], 3)
        tensor([ 1, -1], dtype=torch.int32)
    """
    return torch.fmod(*_counting(x1, x2))


@operation("numpy")
def power(x1: Array, x2: Array) -> Tensor:
    """Return `x1` to the power of `x2`; two booleans count as ``int32``.

    Integers stay integers: a negative exponent gives 0 for all but 1 and -1.

    Example:
        >>> power([2.0, 3.0], 2)
        tensor([4., 9.])
    """
    return torch.pow(*_counting(x1, x2))


# The larger and the smaller


@operation("numpy")
def maximum(x1: Array, x2: Array) -> Tensor:
    """Return the larger of two values; NaN if either is.

    Example:
        >>> maximum([1.0, 5.0], 3)
        tensor([3., 5.])
    """
    return torch.maximum(*_joined(x1, x2))


@operation("numpy")
def minimum(x1: Array, x2: Array) -> Tensor:
    """Return the smaller of two values; NaN if either is.

    Example:
        >>> minimum([1.0, 5.0], 3)
        tensor([1., 3.])
    """
    return torch.minimum(*_joined(x1, x2))


@operation("numpy")
def fmax(x1: Array, x2: Array) -> Tensor:
    """Return the larger of two values; NaN only if both are.

    Example:
        >>> fmax([1.0, float("nan")], 3)
        tensor([3., 3.])
    """
    return torch.fmax(*_joined(x1, x2))


@operation("numpy")
def fmin(x1: Array, x2: Array) -> Tensor:
    """Return the smaller of two values; NaN only if both are.

    Example:
        >>> fmin([1.0, float("nan")], 3)
        tensor([1., 3.])
    """
    return torch.fmin(*_joined(x1, x2))


# Integers


@operation("numpy")
def gcd(x1: Array, x2: Array) -> Tensor:
    """Return the greatest common divisor.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> gcd([12, 18], 8)
        tensor([4, 2], dtype=torch.int32)
    """
    _check_integers("gcd", "x1", x1)
    _check_integers("gcd", "x2", x2)
    return torch.gcd(x1, x2)


@operation("numpy")
def lcm(x1: Array, x2: Array) -> Tensor:
    """Return the least common multiple.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> lcm([12, 18], 8)
        tensor([24, 72], dtype=torch.int32)
    """
    _check_integers("lcm", "x1", x1)
    _check_integers("lcm", "x2", x2)
    return torch.lcm(x1, x2)


# Functions of real numbers


@operation("numpy")
def arctan2(x1: Array, x2: Array) -> Tensor:
    """Return the angle of the point ``(x2, x1)``, from -pi to pi.

    Args:
        x1: the coordinates along the vertical axis.
        x2: the coordinates along the horizontal axis.

    Example:
        >>> arctan2([1.0, 0.0], [0.0, -1.0])
        tensor([1.5708, 3.1416])
    """
    return torch.arctan2(*_joined(x1, x2, float))


@operation("numpy")
def hypot(x1: Array, x2: Array) -> Tensor:
    """Return the length of the hypotenuse, without overflow on the way.

    Example:
        >>> hypot([3.0, 5.0], [4.0, 12.0])
        tensor([ 5., 13.])
    """
    return torch.hypot(*_joined(x1, x2, float))


@operation("numpy")
def heaviside(x1: Array, x2: Array) -> Tensor:
    """Return the unit step: 0 for negative numbers, 1 for positive ones.

    Args:
        x1: where the step is taken.
        x2: the value at zero.

    Example:
        >>> heaviside([-1.0, 0.0, 1.0], 0.5)
        tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.heaviside(*_joined(x1, x2, float))


@operation("numpy")
def ldexp(x1: Array, x2: Array) -> Tensor:
    """Return ``x1 * 2**x2``, in floating point.

    Args:
        x1: the significands.
        x2: the exponents: an array of integers, or a number.

    Raises:
        TypeError: when `x2` is an array of other than integers.

    Example:
        >>> ldexp([0.5, 1.5], [2, 3])
        tensor([ 2., 12.])
    """
    if x2.ndim:  # a number has come in the dtype of `x1`
        _check_integers("ldexp", "x2", x2)
    dtype = to_torch_dtype(result_type(x1.dtype, x2.dtype, float))
    return torch.ldexp(x1, x2).to(dtype)


@operation("numpy")
def logaddexp(x1: Array, x2: Array) -> Tensor:
    """Return ``log(exp(x1) + exp(x2))``, without overflow on the way.

    Example:
        >>> logaddexp([1000.0, 0.0], [1000.0, 0.0])
        tensor([1.0007e+03, 6.9315e-01])
    """
    return torch.logaddexp(*_joined(x1, x2, float))


@operation("numpy")
def logaddexp2(x1: Array, x2: Array) -> Tensor:
    """Return ``log2(2**x1 + 2**x2)``, without overflow on the way.

    Example:
        >>> logaddexp2([1000.0, 3.0], [1000.0, 3.0])
        tensor([1001.,    4.])
    """
    return torch.logaddexp2(*_joined(x1, x2, float))


@operation("numpy")
def nextafter(x1: Array, x2: Array) -> Tensor:
    """Return the floating-point number next to `x1` in the direction of `x2`.

    It keeps ``float64``, whose steps are too small for other dtypes, and has no
    gradient.

    Example:
        >>> nextafter(1.0, 2.0).item() - 1
        1.1920928955078125e-07
    """
    return torch.nextafter(as_floating(x1), as_floating(x2))
