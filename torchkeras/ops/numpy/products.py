"""Products of arrays: matrix products, inner and outer ones, contractions."""

from __future__ import annotations

import string
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import DTYPES, result_type
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.operation import Array, operation

__all__ = [
    "correlate",
    "cross",
    "dot",
    "einsum",
    "inner",
    "kron",
    "matmul",
    "outer",
    "slogdet",
    "tensordot",
    "trace",
    "vdot",
]


def _joined(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Return two factors in a dtype that torch multiplies, and that of the product."""
    if x1.dtype == x2.dtype and x1.is_floating_point():
        return x1, x2, x1.dtype
    target = DTYPES[result_type(x1.dtype, x2.dtype)]
    inner = _inner(target, x1.device)
    return x1.to(inner), x2.to(inner), target


def _inner(target: torch.dtype, device: torch.device) -> torch.dtype:
    """Return a dtype in which torch has matrix products on that device."""
    if target.is_floating_point or target.is_complex:
        return target
    if device.type == "cuda":
        return torch.float64  # which holds integers up to 2**53
    return torch.int32 if target == torch.bool else target


def _contract(x1: Tensor, x2: Tensor, axes: Any) -> Tensor:
    return torch.tensordot(x1, x2, dims=axes)


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
    if x1.dtype == x2.dtype == torch.int8:
        x1, x2 = x1.int(), x2.int()  # as in Keras, where sums fit
    x1, x2, dtype = _joined(x1, x2)
    return torch.matmul(x1, x2).to(dtype)


@operation("numpy")
def dot(x1: Array, x2: Array) -> Tensor:
    """Return the sum of products over the last axis and the second last of `x2`.

    Args:
        x1: the left factor.
        x2: the right factor: with one axis that one is summed over.

    Example:
        >>> dot([1.0, 2.0], [3.0, 4.0])
        tensor(11.)
    """
    x1, x2, dtype = _joined(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0:
        return (x1 * x2).to(dtype)
    axis = -1 if x2.ndim == 1 else -2
    return _contract(x1, x2, ([-1], [axis])).to(dtype)


@operation("numpy")
def inner(x1: Array, x2: Array) -> Tensor:
    """Return the sums of products over the last axes.

    Args:
        x1: the left factor.
        x2: the right factor.

    Example:
        >>> inner([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]])
        tensor([[11., 17.]])
    """
    x1, x2, dtype = _joined(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0:
        return (x1 * x2).to(dtype)
    return _contract(x1, x2, ([-1], [-1])).to(dtype)


@operation("numpy")
def outer(x1: Array, x2: Array) -> Tensor:
    """Return the product of each value with each other one.

    Args:
        x1: the values for the rows; all axes become one.
        x2: the values for the columns.

    Example:
        >>> outer([1.0, 2.0], [3.0, 4.0]).tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    return torch.outer(x1.reshape(-1), x2.reshape(-1))


@operation("numpy")
def kron(x1: Array, x2: Array) -> Tensor:
    """Return the Kronecker product: `x2` times each value of `x1`, side by side.

    Args:
        x1: the left factor.
        x2: the right factor.

    Example:
        >>> kron([1, 10], [1, 2]).tolist()
        [1, 2, 10, 20]
    """
    return torch.kron(x1, x2)


@operation("numpy")
def vdot(x1: Array, x2: Array) -> Tensor:
    """Return the sum of products of all values, those of `x1` conjugated.

    Args:
        x1: the left factor.
        x2: the right factor, with as many values.

    Raises:
        ValueError: when it has not.

    Example:
        >>> vdot([[1.0, 2.0]], [[3.0], [4.0]])
        tensor(11.)
    """
    if x1.numel() != x2.numel():
        expected = f"of as many values as `x1`, {x1.numel()}"
        raise ValueError(invalid_argument("vdot", "x2", expected, x2))
    x1, x2, dtype = _joined(x1, x2)
    return (x1.conj().reshape(-1) * x2.reshape(-1)).sum().to(dtype)


@operation("numpy")
def tensordot(x1: Array, x2: Array, axes: Any = 2) -> Tensor:
    """Return the sums of products over pairs of axes.

    Args:
        x1: the left factor.
        x2: the right factor.
        axes: how many of the last axes of `x1` and the first of `x2`, or the axes of
            each: ``([0, 1], [1, 0])``.

    Example:
        >>> tensordot([[1.0, 2.0]], [[3.0], [4.0]], axes=1)
        tensor([[11.]])
    """
    x1, x2, dtype = _joined(x1, x2)
    if not isinstance(axes, int):
        axes = tuple([a] if isinstance(a, int) else list(a) for a in axes)
    return _contract(x1, x2, axes).to(dtype)


@operation("numpy")
def cross(
    x1: Array,
    x2: Array,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Tensor:
    """Return the vectors that are orthogonal to two others.

    Args:
        x1: vectors of 3 (or 2) components.
        x2: vectors of 3 (or 2) components.
        axisa: the axis of the components of `x1`.
        axisb: the axis of the components of `x2`.
        axisc: the axis of the components of the outputs.
        axis: all three at once.

    Raises:
        ValueError: for vectors of another size.

    Example:
        >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        tensor([0., 0., 1.])
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x1, x2, dtype = _joined(x1, x2)
    x1, x2 = x1.movedim(axisa, -1), x2.movedim(axisb, -1)
    for name, x in (("x1", x1), ("x2", x2)):
        if x.shape[-1] not in (2, 3):
            expected = "vectors of 2 or 3 components"
            raise ValueError(invalid_argument("cross", name, expected, x))
    planar = x1.shape[-1] == x2.shape[-1] == 2
    x1, x2 = (F.pad(x, (0, 3 - x.shape[-1])) for x in (x1, x2))
    outputs = torch.linalg.cross(*torch.broadcast_tensors(x1, x2)).to(dtype)
    return outputs[..., 2] if planar else outputs.movedim(-1, axisc)


@operation("numpy")
def einsum(subscripts: Any, *operands: Array, **kwargs: Any) -> Tensor:
    """Return sums of products over axes that letters name.

    Args:
        subscripts: letters for the axes of each factor and of the outputs, such as
            ``"ij,jk->ik"``. Or the first factor, when each factor is followed by the
            list of numbers that stand for its axes, and the last of these lists by that
            of the outputs, if wanted. Symbolic factors need letters.
        *operands: the factors.
        **kwargs: ``optimize`` is accepted for Keras's signature.

    Raises:
        TypeError: for any other keyword.
        ValueError: when there is no factor.

    Example:
        >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
        tensor([3., 7.])
    """
    kwargs.pop("optimize", None)
    if kwargs:
        raise TypeError(f"einsum: unknown arguments {sorted(kwargs)}.")
    if not isinstance(subscripts, str):
        subscripts, operands = _lettered(subscripts, *operands)
    if not operands:
        expected = "followed by a factor at least"
        raise ValueError(invalid_argument("einsum", "subscripts", expected, subscripts))
    dtypes = {operand.dtype for operand in operands}
    same = len(dtypes) == 1
    target = dtypes.pop() if same else DTYPES[result_type(*dtypes)]
    if target == torch.int8:
        target = torch.int32  # as in Keras, where sums fit
    inner = _inner(target, operands[0].device)
    factors = [operand.to(inner) for operand in operands]
    return torch.einsum(subscripts, *factors).to(target)


def _lettered(*mixed: Any) -> tuple[str, tuple[Tensor, ...]]:
    """Translate factors with numbered axes to subscripts and the factors alone."""
    pairs = len(mixed) // 2
    numbers = [as_tensor(axes).tolist() for axes in mixed[1 : 2 * pairs : 2]]
    outputs = [as_tensor(mixed[-1]).tolist()] if len(mixed) % 2 else []
    # Upper case first: without outputs, those are in the order of the letters.
    letters = string.ascii_uppercase + string.ascii_lowercase
    names = ["".join(letters[axis] for axis in axes) for axes in numbers + outputs]
    subscripts = "->".join([",".join(names[:pairs]), *names[pairs:]])
    return subscripts, tuple(as_tensor(x) for x in mixed[: 2 * pairs : 2])


@operation("numpy")
def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return the sum along a diagonal.

    Args:
        x: the values.
        offset: the diagonal: 0 is the main one, positive ones are above it.
        axis1: the axis of the rows.
        axis2: the axis of the columns.

    Raises:
        ValueError: when there is one axis only.

    Example:
        >>> trace([[1.0, 2.0], [3.0, 4.0]])
        tensor(5.)
    """
    if x.ndim < 2:
        expected = "of two axes or more"
        raise ValueError(invalid_argument("trace", "x", expected, x))
    small = x.dtype in (torch.bool, torch.int8, torch.int16, torch.uint8)
    dtype = torch.int32 if small else x.dtype
    return x.diagonal(offset, axis1, axis2).sum(-1, dtype=dtype)


@operation("numpy")
def correlate(x1: Array, x2: Array, mode: str = "valid") -> Tensor:
    """Return the products of one sequence with another that slides along it.

    Args:
        x1: the sequence.
        x2: the one that slides.
        mode: ``"valid"`` where they overlap wholly, ``"same"`` as many places as the
            longer one has, ``"full"`` where they overlap at all.

    Raises:
        ValueError: for another mode, or more than one axis.

    Example:
        >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0])
        tensor([2., 3.])
    """
    one_of("correlate", "mode", mode, ("valid", "same", "full"))
    for name, x in (("x1", x1), ("x2", x2)):
        if x.ndim != 1:
            expected = "a sequence along one axis"
            raise ValueError(invalid_argument("correlate", name, expected, x))
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = torch.float32
    x1, x2 = x1.to(dtype), x2.to(dtype).conj()
    sizes = sorted((x1.shape[0], x2.shape[0]))
    full = F.conv1d(x1[None, None], x2[None, None], padding=x2.shape[0] - 1)[0, 0]
    if mode == "full":
        return full
    length = sizes[1] - sizes[0] + 1 if mode == "valid" else sizes[1]
    # As in NumPy: where one place is too many on one side, that is next to the shorter.
    start = (full.shape[0] - length + (x1.shape[0] < x2.shape[0])) // 2
    return full[start : start + length]


@operation("numpy")
def slogdet(x: Array) -> tuple[Tensor, Tensor]:
    """Return the sign and the logarithm of the absolute value of the determinant.

    Args:
        x: matrices, of shape ``(..., n, n)``.

    Example:
        >>> sign, logarithm = slogdet([[-1.0, 0.0], [0.0, 1.0]])
        >>> float(sign), float(logarithm)
        (-1.0, 0.0)
    """
    sign, logarithm = torch.linalg.slogdet(x)
    return sign, logarithm
