"""Functions of one array, value by value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras._core.convert import as_floating, as_tensor
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, operation
from torchkeras._core.typing import DType

__all__ = [
    "abs",
    "absolute",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cbrt",
    "ceil",
    "clip",
    "conj",
    "conjugate",
    "copy",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "i0",
    "imag",
    "log",
    "log1p",
    "log2",
    "log10",
    "nan_to_num",
    "negative",
    "rad2deg",
    "real",
    "reciprocal",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "view",
]


def _at_most_32_bits(x: Tensor) -> Tensor:
    return x.to(torch.float32) if x.dtype == torch.float64 else x


# Signs and parts


@operation("numpy")
def absolute(x: Array) -> Tensor:
    """Return the distance from zero.

    Example:
        >>> absolute([-1.5, 2.0])
        tensor([1.5000, 2.0000])
    """
    return x if x.dtype == torch.bool else torch.abs(x)


@operation("numpy", class_name="Absolute")
def abs(x: Array) -> Tensor:
    """Return the distance from zero: `absolute` by its short name.

    Example:
        >>> abs([-1, 2])
        tensor([1, 2], dtype=torch.int32)
    """
    return x if x.dtype == torch.bool else torch.abs(x)


@operation("numpy")
def fabs(x: Array) -> Tensor:
    """Return the distance from zero as a floating-point number.

    Raises:
        TypeError: for complex numbers; `absolute` takes those.

    Example:
        >>> fabs([-1, 2])
        tensor([1., 2.])
    """
    if x.is_complex():
        raise TypeError(
            invalid_argument("fabs", "x", "real", x, "Use `absolute` instead.")
        )
    return torch.abs(as_floating(x))


@operation("numpy")
def negative(x: Array) -> Tensor:
    """Return the values with the opposite sign.

    Raises:
        TypeError: for booleans.

    Example:
        >>> negative([1, -2])
        tensor([-1,  2], dtype=torch.int32)
    """
    if x.dtype == torch.bool:
        hint = "Use `logical_not` for the opposite of booleans."
        raise TypeError(
            invalid_argument("negative", "x", "an array of numbers", x, hint)
        )
    return torch.negative(x)


@operation("numpy")
def sign(x: Array) -> Tensor:
    """Return -1, 0 or 1, in the dtype of `x`.

    Example:
        >>> sign([-3, 0, 5])
        tensor([-1,  0,  1], dtype=torch.int32)
    """
    return torch.sign(x)


@operation("numpy")
def signbit(x: Array) -> Tensor:
    """Say where the sign is negative, that of ``-0.0`` included.

    Example:
        >>> signbit([-0.0, 0.0, -2.0])
        tensor([ True, False,  True])
    """
    return torch.signbit(x)


@operation("numpy")
def angle(x: Array) -> Tensor:
    """Return the angle in the complex plane, in radians: 0 or pi for real numbers.

    Example:
        >>> angle([1.0, -1.0])
        tensor([0.0000, 3.1416])
    """
    x = as_floating(x)
    # There is no kernel for halves on CUDA.
    return torch.angle(x.float()).to(x.dtype) if x.itemsize == 2 else torch.angle(x)


@operation("numpy")
def conjugate(x: Array) -> Tensor:
    """Return the complex conjugate; real numbers as they are.

    Example:
        >>> conjugate(torch.tensor([1 + 2j]))
        tensor([1.-2.j])
    """
    return torch.conj(x).resolve_conj()


@operation("numpy", class_name="Conjugate")
def conj(x: Array) -> Tensor:
    """Return the complex conjugate: `conjugate` by its short name.

    Example:
        >>> conj(torch.tensor([1 + 2j]))
        tensor([1.-2.j])
    """
    return torch.conj(x).resolve_conj()


@operation("numpy")
def real(x: Array) -> Tensor:
    """Return the real part; real numbers as they are.

    Example:
        >>> real(torch.tensor([1 + 2j]))
        tensor([1.])
    """
    return torch.real(x)


@operation("numpy")
def imag(x: Array) -> Tensor:
    """Return the imaginary part: zeros for real numbers.

    Example:
        >>> imag(torch.tensor([1 + 2j]))
        tensor([2.])
    """
    return torch.imag(x) if x.is_complex() else torch.zeros_like(x)


# Rounding and ranges


@operation("numpy")
def ceil(x: Array) -> Tensor:
    """Round up to whole numbers, in floating point of at most 32 bits.

    Example:
        >>> ceil([-1.5, 1.2])
        tensor([-1.,  2.])
    """
    return _at_most_32_bits(torch.ceil(as_floating(x)))


@operation("numpy")
def floor(x: Array) -> Tensor:
    """Round down to whole numbers, in floating point of at most 32 bits.

    Example:
        >>> floor([-1.5, 1.2])
        tensor([-2.,  1.])
    """
    return _at_most_32_bits(torch.floor(as_floating(x)))


@operation("numpy")
def trunc(x: Array) -> Tensor:
    """Round toward zero, in the dtype of `x`.

    Example:
        >>> trunc([-1.5, 1.2])
        tensor([-1.,  1.])
    """
    return x if x.dtype == torch.bool else torch.trunc(x)


@operation("numpy")
def round(x: Array, decimals: int = 0) -> Tensor:
    """Round to a number of decimals; halves go to the even neighbor.

    Args:
        x: an array; its dtype is kept.
        decimals: how many digits to keep after the point; negative to round to tens,
            hundreds and so on.

    Example:
        >>> round([0.5, 1.5, 2.25], decimals=1)
        tensor([0.5000, 1.5000, 2.2000])
        >>> round([1251, 49], decimals=-2)
        tensor([1300,    0], dtype=torch.int32)
    """
    if x.is_floating_point():
        return torch.round(x, decimals=decimals)
    if decimals >= 0:
        return x
    # Torch rounds integers to ones only; float32 would change large ones.
    return torch.round(x.to(torch.float64), decimals=decimals).to(x.dtype)


@operation("numpy")
def clip(x: Array, x_min: Any, x_max: Any) -> Tensor:
    """Limit values to a range.

    Args:
        x: an array; booleans count as ``int32``.
        x_min: the least value: a number, or an array that broadcasts against `x`. None
            for no limit, as long as there is an `x_max`.
        x_max: the greatest value, likewise; it wins where it is below `x_min`.

    Example:
        >>> clip([-2.0, 0.5, 3.0], -1, 1)
        tensor([-1.0000,  0.5000,  1.0000])
    """
    if x.dtype == torch.bool:
        x = x.to(torch.int32)
    return torch.clip(x, _limit(x, x_min), _limit(x, x_max))


def _limit(x: Tensor, value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if not isinstance(value, int):
        return as_tensor(value, x.device)
    if x.is_floating_point():
        return value
    # Torch wraps numbers around that the dtype of integers can't hold.
    info = torch.iinfo(x.dtype)
    return min(max(value, info.min), info.max)


@operation("numpy")
def nan_to_num(
    x: Array,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """Replace NaNs and infinities by finite numbers.

    Args:
        x: an array.
        nan: what replaces NaN.
        posinf: what replaces infinity; the largest number of the dtype by default.
        neginf: what replaces negative infinity; the lowest number by default.

    Example:
        >>> nan_to_num([float("nan"), float("inf"), 1.0], posinf=9.0)
        tensor([0., 9., 1.])
    """
    return torch.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


# Powers, exponentials and logarithms


@operation("numpy")
def square(x: Array) -> Tensor:
    """Return the values times themselves; booleans count as ``int32``.

    Example:
        >>> square([-3, 2])
        tensor([9, 4], dtype=torch.int32)
    """
    return torch.square(x.to(torch.int32) if x.dtype == torch.bool else x)


@operation("numpy")
def sqrt(x: Array) -> Tensor:
    """Return the nonnegative square root; NaN for negative numbers.

    Example:
        >>> sqrt([4.0, 9.0])
        tensor([2., 3.])
    """
    return torch.sqrt(as_floating(x))


@operation("numpy")
def cbrt(x: Array) -> Tensor:
    """Return the real cube root, which has the sign of `x`.

    Example:
        >>> cbrt([-8.0, 27.0])
        tensor([-2.,  3.])
    """
    x = as_floating(x, int64=torch.float64)
    return torch.sign(x) * torch.abs(x) ** (1 / 3)


@operation("numpy")
def reciprocal(x: Array) -> Tensor:
    """Return one over `x`, as floating-point numbers.

    Example:
        >>> reciprocal([2, 4])
        tensor([0.5000, 0.2500])
    """
    return torch.reciprocal(as_floating(x))


@operation("numpy")
def exp(x: Array) -> Tensor:
    """Return e to the power of `x`.

    Example:
        >>> exp([0.0, 1.0])
        tensor([1.0000, 2.7183])
    """
    return torch.exp(as_floating(x))


@operation("numpy")
def exp2(x: Array) -> Tensor:
    """Return 2 to the power of `x`.

    Example:
        >>> exp2([3, -1])
        tensor([8.0000, 0.5000])
    """
    return torch.exp2(as_floating(x))


@operation("numpy")
def expm1(x: Array) -> Tensor:
    """Return ``exp(x) - 1`` without losing the digits of small `x`.

    Example:
        >>> expm1([0.0, 1e-10])
        tensor([0.0000e+00, 1.0000e-10])
    """
    return torch.expm1(as_floating(x))


@operation("numpy")
def log(x: Array) -> Tensor:
    """Return the natural logarithm; NaN for negative numbers.

    Example:
        >>> log([1.0, 10.0])
        tensor([0.0000, 2.3026])
    """
    return torch.log(as_floating(x))


@operation("numpy")
def log10(x: Array) -> Tensor:
    """Return the logarithm to base 10; NaN for negative numbers.

    Example:
        >>> log10([1.0, 100.0])
        tensor([0., 2.])
    """
    return torch.log10(as_floating(x))


@operation("numpy")
def log1p(x: Array) -> Tensor:
    """Return ``log(1 + x)`` without losing the digits of small `x`.

    Example:
        >>> log1p([0.0, 1e-10])
        tensor([0.0000e+00, 1.0000e-10])
    """
    return torch.log1p(as_floating(x))


@operation("numpy")
def log2(x: Array) -> Tensor:
    """Return the logarithm to base 2; NaN for negative numbers.

    Example:
        >>> log2([8.0, 0.5])
        tensor([ 3., -1.])
    """
    return torch.log2(as_floating(x))


# Trigonometry


@operation("numpy")
def deg2rad(x: Array) -> Tensor:
    """Return degrees as radians.

    Example:
        >>> deg2rad([0.0, 180.0])
        tensor([0.0000, 3.1416])
    """
    return torch.deg2rad(as_floating(x, int64=torch.float64))


@operation("numpy")
def rad2deg(x: Array) -> Tensor:
    """Return radians as degrees.

    Example:
        >>> rad2deg([0.0, 3.14159265])
        tensor([  0., 180.])
    """
    return torch.rad2deg(as_floating(x, int64=torch.float64))


@operation("numpy")
def sin(x: Array) -> Tensor:
    """Return the sine of an angle in radians.

    Example:
        >>> sin([0.0, 1.0])
        tensor([0.0000, 0.8415])
    """
    return torch.sin(as_floating(x))


@operation("numpy")
def cos(x: Array) -> Tensor:
    """Return the cosine of an angle in radians.

    Example:
        >>> cos([0.0, 1.0])
        tensor([1.0000, 0.5403])
    """
    return torch.cos(as_floating(x))


@operation("numpy")
def tan(x: Array) -> Tensor:
    """Return the tangent of an angle in radians.

    Example:
        >>> tan([0.0, 1.0])
        tensor([0.0000, 1.5574])
    """
    return torch.tan(as_floating(x))


@operation("numpy")
def arcsin(x: Array) -> Tensor:
    """Return the angle, from -pi/2 to pi/2, whose sine is `x`.

    Example:
        >>> arcsin([0.0, 1.0])
        tensor([0.0000, 1.5708])
    """
    return torch.arcsin(as_floating(x))


@operation("numpy")
def arccos(x: Array) -> Tensor:
    """Return the angle, from 0 to pi, whose cosine is `x`.

    Example:
        >>> arccos([1.0, 0.0])
        tensor([0.0000, 1.5708])
    """
    return torch.arccos(as_floating(x))


@operation("numpy")
def arctan(x: Array) -> Tensor:
    """Return the angle, from -pi/2 to pi/2, whose tangent is `x`.

    Example:
        >>> arctan([0.0, 1.0])
        tensor([0.0000, 0.7854])
    """
    return torch.arctan(as_floating(x))


@operation("numpy")
def sinh(x: Array) -> Tensor:
    """Return the hyperbolic sine.

    Example:
        >>> sinh([0.0, 1.0])
        tensor([0.0000, 1.1752])
    """
    return torch.sinh(as_floating(x))


@operation("numpy")
def cosh(x: Array) -> Tensor:
    """Return the hyperbolic cosine.

    Example:
        >>> cosh([0.0, 1.0])
        tensor([1.0000, 1.5431])
    """
    return torch.cosh(as_floating(x))


@operation("numpy")
def tanh(x: Array) -> Tensor:
    """Return the hyperbolic tangent.

    Example:
        >>> tanh([0.0, 1.0])
        tensor([0.0000, 0.7616])
    """
    return torch.tanh(as_floating(x))


@operation("numpy")
def arcsinh(x: Array) -> Tensor:
    """Return the number whose hyperbolic sine is `x`.

    Example:
        >>> arcsinh([0.0, 1.0])
        tensor([0.0000, 0.8814])
    """
    return torch.arcsinh(as_floating(x))


@operation("numpy")
def arccosh(x: Array) -> Tensor:
    """Return the nonnegative number whose hyperbolic cosine is `x`; NaN below 1.

    Example:
        >>> arccosh([1.0, 2.0])
        tensor([0.0000, 1.3170])
    """
    return torch.arccosh(as_floating(x))


@operation("numpy")
def arctanh(x: Array) -> Tensor:
    """Return the number whose hyperbolic tangent is `x`; NaN outside [-1, 1].

    Example:
        >>> arctanh([0.0, 0.5])
        tensor([0.0000, 0.5493])
    """
    return torch.arctanh(as_floating(x))


@operation("numpy")
def sinc(x: Array) -> Tensor:
    """Return ``sin(pi * x) / (pi * x)``, and 1 at zero.

    Example:
        >>> sinc([0.0, 0.5])
        tensor([1.0000, 0.6366])
    """
    return torch.sinc(as_floating(x))


# Special functions


@operation("numpy")
def i0(x: Array) -> Tensor:
    """Return the modified Bessel function of the first kind, of order zero.

    Example:
        >>> i0([0.0, 1.0])
        tensor([1.0000, 1.2661])
    """
    return torch.i0(as_floating(x, int64=torch.float64))


# Memory


@operation("numpy")
def copy(x: Array) -> Tensor:
    """Return the values in memory of their own; gradients pass through.

    Example:
        >>> x = torch.zeros(2)
        >>> _ = copy(x).fill_(1)
        >>> x
        tensor([0., 0.])
    """
    return torch.clone(x)


@operation("numpy")
def view(x: Array, dtype: DType = None) -> Tensor:
    """Read the bytes of an array as another dtype, without a copy.

    Args:
        x: an array.
        dtype: the new dtype; None for that of `x`.

    Shape:
        Unchanged where the dtypes are of one size; otherwise the last axis grows or
        shrinks with the size of a value.

    Raises:
        ValueError: when the last axis doesn't hold a whole number of new values.

    Example:
        >>> view([1.0, -2.0], "int32")
        tensor([ 1065353216, -1073741824], dtype=torch.int32)
        >>> view([1.0, -2.0], "uint8").shape
        torch.Size([8])
    """
    new = x.dtype if dtype is None else to_torch_dtype(dtype)
    if new.itemsize == x.dtype.itemsize:
        return x.view(new)
    size = x.shape[-1] * x.dtype.itemsize if x.ndim else 0
    if not x.ndim or size % new.itemsize:
        expected = f"a dtype whose {new.itemsize} bytes divide the last axis of `x`"
        got = f"{new} for {x.dtype} of shape {tuple(x.shape)}"
        raise ValueError(invalid_argument("view", "dtype", expected, got))
    return x.view(new)
