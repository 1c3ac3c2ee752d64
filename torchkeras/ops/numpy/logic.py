"""Comparisons, logic, bits and tests of values."""

from __future__ import annotations

import torch
from torch import Tensor

from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, Operand, operation

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isclose",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
]


def _as_one_dtype(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    return x1.to(dtype), x2.to(dtype)


# Comparisons


@operation("numpy")
def equal(x1: Array, x2: Array) -> Tensor:
    """Say where two arrays agree; NaN agrees with nothing.

    Example:
        >>> equal([1, 2, 3], 2)
        tensor([False,  True, False])
    """
    return torch.eq(x1, x2)


@operation("numpy")
def not_equal(x1: Array, x2: Array) -> Tensor:
    """Say where two arrays differ; NaN differs from all.

    Example:
        >>> not_equal([1, 2, 3], 2)
        tensor([ True, False,  True])
    """
    return torch.ne(x1, x2)


@operation("numpy")
def greater(x1: Array, x2: Array) -> Tensor:
    """Say where `x1` is greater than `x2`.

    Example:
        >>> greater([1, 2, 3], 2)
        tensor([False, False,  True])
    """
    return torch.gt(x1, x2)


@operation("numpy")
def greater_equal(x1: Array, x2: Array) -> Tensor:
    """Say where `x1` is at least `x2`.

    Example:
        >>> greater_equal([1, 2, 3], 2)
        tensor([False,  True,  True])
    """
    return torch.ge(x1, x2)


@operation("numpy")
def less(x1: Array, x2: Array) -> Tensor:
    """Say where `x1` is less than `x2`.

    Example:
        >>> less([1, 2, 3], 2)
        tensor([ True, False, False])
    """
    return torch.lt(x1, x2)


@operation("numpy")
def less_equal(x1: Array, x2: Array) -> Tensor:
    """Say where `x1` is at most `x2`.

    Example:
        >>> less_equal([1, 2, 3], 2)
        tensor([ True,  True, False])
    """
    return torch.le(x1, x2)


@operation("numpy")
def isclose(
    x1: Array,
    x2: Array,
    rtol: Operand = 1e-5,
    atol: Operand = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Say where ``|x1 - x2| <= atol + rtol * |x2|``.

    Args:
        x1: the values.
        x2: the reference values.
        rtol: the tolerance relative to `x2`.
        atol: the absolute tolerance.
        equal_nan: whether two NaNs are close.

    Example:
        >>> isclose([1.0, 2.0], [1.000001, 2.1])
        tensor([ True, False])
    """
    x1, x2 = _as_one_dtype(x1, x2)
    return torch.isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)


@operation("numpy", class_name="AllClose")
def allclose(
    x1: Array,
    x2: Array,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Say whether all values are close, by the measure of `isclose`.

    The answer stays on the device: it is a tensor without axes.

    Args:
        x1: the values.
        x2: the reference values.
        rtol: the tolerance relative to `x2`.
        atol: the absolute tolerance.
        equal_nan: whether two NaNs are close.

    Example:
        >>> allclose([1.0, 2.0], [1.000001, 2.0])
        tensor(True)
    """
    x1, x2 = _as_one_dtype(x1, x2)
    close = torch.isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return close.all()


@operation("numpy", class_name="IsIn")
def isin(
    x1: Array, x2: Array, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Say which values of one array are among those of another.

    Args:
        x1: the values to look for.
        x2: the values to look among, of any shape.
        assume_unique: promises that neither array has a value twice, which is faster.
        invert: whether to say which values are *not* among them.

    Shape:
        That of `x1`.

    Example:
        >>> isin([[1, 2], [3, 4]], [2, 3])
        tensor([[False,  True], [ True, False]])
    """
    x1, x2 = _as_one_dtype(x1, x2)
    if x1.is_meta:  # which torch has no kernel for
        return torch.empty_like(x1, dtype=torch.bool)
    if x1.dtype == torch.bool:
        x1, x2 = x1.to(torch.uint8), x2.to(torch.uint8)
    return torch.isin(x1, x2, assume_unique=assume_unique, invert=invert)


# Logic


@operation("numpy")
def logical_and(x1: Array, x2: Array) -> Tensor:
    """Say where both are true; numbers are true where they aren't 0.

    Example:
        >>> logical_and([True, True], [True, False])
        tensor([ True, False])
    """
    return torch.logical_and(x1, x2)


@operation("numpy")
def logical_or(x1: Array, x2: Array) -> Tensor:
    """Say where either is true; numbers are true where they aren't 0.

    Example:
        >>> logical_or([True, False], [False, False])
        tensor([ True, False])
    """
    return torch.logical_or(x1, x2)


@operation("numpy")
def logical_xor(x1: Array, x2: Array) -> Tensor:
    """Say where exactly one is true; numbers are true where they aren't 0.

    Example:
        >>> logical_xor([True, True], [True, False])
        tensor([False,  True])
    """
    return torch.logical_xor(x1, x2)


@operation("numpy")
def logical_not(x: Array) -> Tensor:
    """Say where the array is false; numbers are false where they are 0.

    Example:
        >>> logical_not([0, 2])
        tensor([ True, False])
    """
    return torch.logical_not(x)


# Bits


def _check_bits(owner: str, argument: str, x: Tensor, *, bools: bool = True) -> None:
    if x.is_floating_point() or x.is_complex() or (not bools and x.dtype == torch.bool):
        kind = "integers or booleans" if bools else "integers"
        hint = 'Convert it, such as with `cast(x, "int32")`.'
        raise TypeError(
            invalid_argument(owner, argument, f"an array of {kind}", x, hint)
        )


@operation("numpy")
def bitwise_and(x: Array, y: Array) -> Tensor:
    """Return the bits that are set in both.

    Raises:
        TypeError: when either isn't of integers or booleans.

    Example:
        >>> bitwise_and([12, 7], 10)
        tensor([8, 2], dtype=torch.int32)
    """
    _check_bits("bitwise_and", "x", x)
    _check_bits("bitwise_and", "y", y)
    return torch.bitwise_and(x, y)


@operation("numpy")
def bitwise_or(x: Array, y: Array) -> Tensor:
    """Return the bits that are set in either.

    Raises:
        TypeError: when either isn't of integers or booleans.

    Example:
        >>> bitwise_or([12, 7], 10)
        tensor([14, 15], dtype=torch.int32)
    """
    _check_bits("bitwise_or", "x", x)
    _check_bits("bitwise_or", "y", y)
    return torch.bitwise_or(x, y)


@operation("numpy")
def bitwise_xor(x: Array, y: Array) -> Tensor:
    """Return the bits that are set in exactly one.

    Raises:
        TypeError: when either isn't of integers or booleans.

    Example:
        >>> bitwise_xor([12, 7], 10)
        tensor([ 6, 13], dtype=torch.int32)
    """
    _check_bits("bitwise_xor", "x", x)
    _check_bits("bitwise_xor", "y", y)
    return torch.bitwise_xor(x, y)


@operation("numpy")
def bitwise_not(x: Array) -> Tensor:
    """Return all bits turned over; booleans become their opposite.

    Raises:
        TypeError: when `x` isn't of integers or booleans.

    Example:
        >>> bitwise_not([0, 5])
        tensor([-1, -6], dtype=torch.int32)
    """
    _check_bits("bitwise_not", "x", x)
    return torch.bitwise_not(x)


@operation("numpy")
def bitwise_invert(x: Array) -> Tensor:
    """Return all bits turned over: `bitwise_not` by its other name.

    Raises:
        TypeError: when `x` isn't of integers or booleans.

    Example:
        >>> bitwise_invert([0, 5])
        tensor([-1, -6], dtype=torch.int32)
    """
    _check_bits("bitwise_invert", "x", x)
    return torch.bitwise_not(x)


@operation("numpy")
def bitwise_left_shift(x: Array, y: Array) -> Tensor:
    """Move the bits up by `y` places; those moved out are lost.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> bitwise_left_shift([1, 5], 2)
        tensor([ 4, 20], dtype=torch.int32)
    """
    _check_bits("bitwise_left_shift", "x", x, bools=False)
    _check_bits("bitwise_left_shift", "y", y, bools=False)
    return torch.bitwise_left_shift(x, y)


@operation("numpy")
def left_shift(x: Array, y: Array) -> Tensor:
    """Move the bits up by `y` places: `bitwise_left_shift` by its short name.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> left_shift([1, 5], 2)
        tensor([ 4, 20], dtype=torch.int32)
    """
    _check_bits("left_shift", "x", x, bools=False)
    _check_bits("left_shift", "y", y, bools=False)
    return torch.bitwise_left_shift(x, y)


@operation("numpy")
def bitwise_right_shift(x: Array, y: Array) -> Tensor:
    """Move the bits down by `y` places; the sign stays.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> bitwise_right_shift([8, -8], 2)
        tensor([ 2, -2], dtype=torch.int32)
    """
    _check_bits("bitwise_right_shift", "x", x, bools=False)
    _check_bits("bitwise_right_shift", "y", y, bools=False)
    return torch.bitwise_right_shift(x, y)


@operation("numpy")
def right_shift(x: Array, y: Array) -> Tensor:
    """Move the bits down by `y` places: `bitwise_right_shift` by its short name.

    Raises:
        TypeError: when either isn't of integers.

    Example:
        >>> right_shift([8, -8], 2)
        tensor([ 2, -2], dtype=torch.int32)
    """
    _check_bits("right_shift", "x", x, bools=False)
    _check_bits("right_shift", "y", y, bools=False)
    return torch.bitwise_right_shift(x, y)


# Tests of values


@operation("numpy")
def isfinite(x: Array) -> Tensor:
    """Say where values are neither NaN nor infinite.

    Example:
        >>> isfinite([1.0, float("nan"), float("inf")])
        tensor([ True, False, False])
    """
    return torch.isfinite(x)


@operation("numpy")
def isinf(x: Array) -> Tensor:
    """Say where values are infinite, of either sign.

    Example:
        >>> isinf([1.0, float("nan"), float("-inf")])
        tensor([False, False,  True])
    """
    return torch.isinf(x)


@operation("numpy")
def isnan(x: Array) -> Tensor:
    """Say where values are NaN.

    Example:
        >>> isnan([1.0, float("nan"), float("inf")])
        tensor([False,  True, False])
    """
    return torch.isnan(x)


@operation("numpy")
def isneginf(x: Array) -> Tensor:
    """Say where values are negative infinity.

    Example:
        >>> isneginf([1.0, float("inf"), float("-inf")])
        tensor([False, False,  True])
    """
    return torch.isneginf(x)


@operation("numpy")
def isposinf(x: Array) -> Tensor:
    """Say where values are positive infinity.

    Example:
        >>> isposinf([1.0, float("inf"), float("-inf")])
        tensor([False,  True, False])
    """
    return torch.isposinf(x)


@operation("numpy")
def isreal(x: Array) -> Tensor:
    """Say where the imaginary part is zero: everywhere for real numbers.

    Example:
        >>> isreal(torch.tensor([1 + 0j, 1 + 2j]))
        tensor([ True, False])
    """
    return torch.isreal(x)
