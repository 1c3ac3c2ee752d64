"""Activations as operations, and complex numbers from polar coordinates.

Integers become floats where the function's values are none.
"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import activations
from torchkeras._core.convert import as_floating
from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, operation

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "polar",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh_shrink",
    "threshold",
]


@operation("nn")
def relu(x: Array) -> Tensor:
    """``max(x, 0)``; integers stay integers.

    Example:
        >>> relu([-1.0, 2.0])
        tensor([0., 2.])
    """
    return torch.relu(x)


@operation("nn")
def relu6(x: Array) -> Tensor:
    """``min(max(x, 0), 6)``; integers stay integers.

    Example:
        >>> relu6([-1.0, 2.0, 9.0])
        tensor([0., 2., 6.])
    """
    return F.relu6(x)


@operation("nn")
def sigmoid(x: Array) -> Tensor:
    """``1 / (1 + exp(-x))``.

    Example:
        >>> sigmoid([0.0])
        tensor([0.5000])
    """
    return torch.sigmoid(as_floating(x))


@operation("nn")
def sparse_sigmoid(x: Array) -> Tensor:
    """``(x + 1) / 2`` between 0 and 1 (https://arxiv.org/abs/1901.02324).

    Example:
        >>> sparse_sigmoid([-2.0, 0.0, 2.0])
        tensor([0.0000, 0.5000, 1.0000])
    """
    return activations.sparse_sigmoid(as_floating(x))


@operation("nn")
def softplus(x: Array) -> Tensor:
    """``log(exp(x) + 1)``.

    Example:
        >>> softplus([0.0])
        tensor([0.6931])
    """
    return F.softplus(as_floating(x))


@operation("nn")
def softsign(x: Array) -> Tensor:
    """``x / (abs(x) + 1)``.

    Example:
        >>> softsign([1.0])
        tensor([0.5000])
    """
    return F.softsign(as_floating(x))


@operation("nn")
def soft_shrink(x: Array, threshold: float = 0.5) -> Tensor:
    """``x`` moved by `threshold` towards 0, and 0 within it.

    Example:
        >>> soft_shrink([-2.0, 0.25, 2.0])
        tensor([-1.5000, 0.0000, 1.5000])
    """
    return F.softshrink(as_floating(x), threshold)


@operation("nn")
def sparse_plus(x: Array) -> Tensor:
    """0 up to -1, ``x`` from 1, and ``(x + 1)**2 / 4`` between.

    Example:
        >>> sparse_plus([-2.0, 0.0, 2.0])
        tensor([0.0000, 0.2500, 2.0000])
    """
    return activations.sparse_plus(as_floating(x))


@operation("nn")
def silu(x: Array) -> Tensor:
    """``x * sigmoid(x)``, also called swish (https://arxiv.org/abs/1710.05941).

    Example:
        >>> silu([0.0, 1.0])
        tensor([0.0000, 0.7311])
    """
    return F.silu(as_floating(x))


@operation("nn")
def squareplus(x: Array, b: float = 4) -> Tensor:
    """``(x + sqrt(x**2 + b)) / 2`` (https://arxiv.org/abs/2112.11687).

    Args:
        x: the input.
        b: how smooth the bend is.

    Example:
        >>> squareplus([0.0])
        tensor([1.])
    """
    return activations.squareplus(as_floating(x), b)


@operation("nn")
def log_sigmoid(x: Array) -> Tensor:
    """``log(1 / (1 + exp(-x)))``.

    Example:
        >>> log_sigmoid([0.0])
        tensor([-0.6931])
    """
    return F.logsigmoid(as_floating(x))


@operation("nn")
def leaky_relu(x: Array, negative_slope: float = 0.2) -> Tensor:
    """``x`` where positive, else ``negative_slope * x``.

    Example:
        >>> leaky_relu([-1.0, 1.0])
        tensor([-0.2000,  1.0000])
    """
    return F.leaky_relu(as_floating(x), negative_slope)


@operation("nn")
def hard_sigmoid(x: Array) -> Tensor:
    """``x / 6 + 0.5`` between 0 and 1.

    Example:
        >>> hard_sigmoid([-4.0, 0.0, 4.0])
        tensor([0.0000, 0.5000, 1.0000])
    """
    return F.hardsigmoid(as_floating(x))


@operation("nn")
def hard_silu(x: Array) -> Tensor:
    """``x * hard_sigmoid(x)`` (https://arxiv.org/abs/1905.02244).

    Example:
        >>> hard_silu([-4.0, 0.0, 4.0])
        tensor([-0.,  0.,  4.])
    """
    return F.hardswish(as_floating(x))


@operation("nn")
def elu(x: Array, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        x: the input.
        alpha: the limit for small values, negated (https://arxiv.org/abs/1511.07289).

    Example:
        >>> elu([-1.0, 1.0])
        tensor([-0.6321,  1.0000])
    """
    return F.elu(as_floating(x), alpha)


@operation("nn")
def selu(x: Array) -> Tensor:
    """Scaled `elu` that keeps mean 0 and variance 1 (https://arxiv.org/abs/1706.02515).

    Example:
        >>> selu([-1.0, 1.0])
        tensor([-1.1113,  1.0507])
    """
    return F.selu(as_floating(x))


@operation("nn")
def gelu(x: Array, approximate: bool = True) -> Tensor:
    """``x * P(X <= x)`` of a standard normal X (https://arxiv.org/abs/1606.08415).

    Args:
        x: the input.
        approximate: whether to compute it by a hyperbolic tangent. This is the default
            here, and not of `activations.gelu`.

    Example:
        >>> gelu([1.0], approximate=False)
        tensor([0.8413])
    """
    return F.gelu(as_floating(x), approximate="tanh" if approximate else "none")


@operation("nn")
def celu(x: Array, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)``.

    Args:
        x: the input.
        alpha: the limit for small values, negated (https://arxiv.org/abs/1704.07483).

    Example:
        >>> celu([-1.0, 1.0])
        tensor([-0.6321,  1.0000])
    """
    return F.celu(as_floating(x), alpha)


@operation("nn")
def glu(x: Array, axis: int = -1) -> Tensor:
    """``a * sigmoid(b)`` of the halves of `x` (https://arxiv.org/abs/1612.08083).

    Args:
        x: the input.
        axis: the axis that is cut in two.

    Raises:
        ValueError: when the input has no such axis, or its size is odd.

    Example:
        >>> glu([2.0, 0.0])
        tensor([1.])
    """
    if not -x.ndim <= axis < x.ndim:
        expected = f"an axis of the input of shape {tuple(x.shape)}"
        raise ValueError(invalid_argument("glu", "axis", expected, axis))
    if x.shape[axis] % 2:
        raise ValueError(
            f"glu: the size of axis {axis} must be even, as it is cut in two halves, "
            f"got an input of shape {tuple(x.shape)}."
        )
    return F.glu(as_floating(x), axis)


@operation("nn")
def tanh_shrink(x: Array) -> Tensor:
    """``x - tanh(x)``.

    Example:
        >>> tanh_shrink([1.0])
        tensor([0.2384])
    """
    return F.tanhshrink(as_floating(x))


@operation("nn")
def hard_tanh(x: Array) -> Tensor:
    """``x`` between -1 and 1; integers stay integers.

    Example:
        >>> hard_tanh([-2.0, 0.5])
        tensor([-1.0000,  0.5000])
    """
    return F.hardtanh(x)


@operation("nn")
def hard_shrink(x: Array, threshold: float = 0.5) -> Tensor:
    """``x`` where its absolute value is over `threshold`, else 0.

    Example:
        >>> hard_shrink([-2.0, 0.25, 2.0])
        tensor([-2.,  0.,  2.])
    """
    return F.hardshrink(as_floating(x), threshold)


@operation("nn")
def threshold(x: Array, threshold: float, default_value: float) -> Tensor:
    """``x`` where it is over `threshold`, else `default_value`.

    Example:
        >>> threshold([0.5, 2.0], 1.0, -1.0)
        tensor([-1.,  2.])
    """
    return F.threshold(x, threshold, default_value)


@operation("nn")
def softmax(x: Array, axis: int | Sequence[int] | None = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis.

    Unlike that of `activations.softmax` the output does not remember `x`.

    Args:
        x: the input.
        axis: the axis, or several; None for all.

    Example:
        >>> softmax([0.0, 0.0])
        tensor([0.5000, 0.5000])
    """
    x, axes = as_floating(x), _one_or_several(axis)
    if not isinstance(axes, int):
        return torch.exp(activations.log_softmax(x, axes))
    if x.ndim and x.size(axes) == 1:
        _warn_of_ones(axes)
    return torch.softmax(x, axes)


def _one_or_several(
    axis: int | Sequence[int] | None,
) -> int | tuple[int, ...] | None:
    """Return axes as Python numbers: NumPy's are none to `isinstance`."""
    if axis is None:
        return None
    if isinstance(axis, Sequence):
        return tuple(operator.index(a) for a in axis)
    return operator.index(axis)


def _warn_of_ones(axis: int) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            f"softmax: axis {axis} of the input has size 1, so every output is 1. For "
            "one probability use `sigmoid`.",
            stacklevel=4,
        )


@operation("nn")
def log_softmax(x: Array, axis: int | Sequence[int] | None = -1) -> Tensor:
    """Logarithm of the softmax along an axis.

    Args:
        x: the input.
        axis: the axis, or several; None for all.

    Example:
        >>> log_softmax([0.0, 0.0])
        tensor([-0.6931, -0.6931])
    """
    return activations.log_softmax(as_floating(x), _one_or_several(axis))


@operation("nn")
def sparsemax(x: Array, axis: int = -1) -> Tensor:
    """Project onto the probability simplex along an axis.

    Like softmax, with exact zeros (https://arxiv.org/abs/1602.02068).

    Args:
        x: the input.
        axis: the axis.

    Example:
        >>> sparsemax([2.0, 1.5, -1.0])
        tensor([0.7500, 0.2500, 0.0000])
    """
    return activations.sparsemax(as_floating(x), axis)


@operation("nn")
def polar(abs_: Array, angle: Array) -> Tensor:
    """Make complex numbers, ``abs_ * (cos(angle) + i * sin(angle))``.

    Args:
        abs_: the absolute values.
        angle: the angles, in radians; the two broadcast.

    Shape:
        Any, and the same for the output, of dtype complex64, or complex128 where one
        argument is float64.

    Example:
        >>> polar([2.0], [0.0])
        tensor([2.+0.j])
    """
    dtype = functools.reduce(
        torch.promote_types, (abs_.dtype, angle.dtype), torch.float32
    )
    return torch.polar(abs_.to(dtype), angle.to(dtype))


swish = silu
hard_swish = hard_silu
