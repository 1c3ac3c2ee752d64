"""Normalizations, and the statistics of signals: moments, signal-to-noise ratio."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.convert import as_floating
from torchkeras._core.errors import describe, invalid_argument, positive_integer
from torchkeras._core.operation import Array, operation

__all__ = [
    "batch_normalization",
    "layer_normalization",
    "moments",
    "normalize",
    "psnr",
    "rms_normalization",
]


@operation("nn")
def moments(
    x: Array,
    axes: int | tuple[int, ...] | list[int] | None,
    keepdims: bool = False,
    synchronized: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance over axes.

    Args:
        x: the input. The moments of integers are floats.
        axes: the axes; None for all, and none of them for the input itself.
        keepdims: whether the axes stay, with size 1.
        synchronized: must be False.

    Raises:
        NotImplementedError: for `synchronized`, which takes a layer.

    Example:
        >>> moments([[1.0, 3.0]], axes=[1])
        (tensor([2.]), tensor([1.]))
    """
    if synchronized:
        raise NotImplementedError(
            "moments: `synchronized=True` is not supported; use "
            "`layers.BatchNormalization(synchronized=True)`, or `torch.distributed`."
        )
    x = as_floating(x)
    if isinstance(axes, (list, tuple)) and not axes:  # which torch takes for all
        return x, torch.zeros_like(x)
    # The squares of what fits into float16 do not, so variances are cut to its range.
    wide = x.float() if x.dtype == torch.float16 else x
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=keepdims)
    if x.dtype == torch.float16:
        largest = torch.finfo(torch.float16).max
        variance, mean = variance.clamp(max=largest).half(), mean.half()
    return mean, variance


@operation("nn", class_name="BatchNorm")
def batch_normalization(
    x: Array,
    mean: Array,
    variance: Array,
    axis: int,
    offset: Array | None = None,
    scale: Array | None = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` along an axis.

    Args:
        x: the input.
        mean: a mean for each index of `axis`.
        variance: a variance for each.
        axis: the axis that is normalized, that of the channels.
        offset: what is added to each; nothing by default.
        scale: the factor of each; 1 by default.
        epsilon: added to the variance.

    Raises:
        ValueError: for a wrong axis, and a vector that is not as long.

    Example:
        >>> batch_normalization([[1.0, 4.0]], [0.0, 2.0], [1.0, 4.0], -1, epsilon=0.0)
        tensor([[1., 1.]])
    """
    (axis,), _ = _positive_axes("batch_normalization", operator.index(axis), x)
    size = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = size

    def along_axis(name: str, vector: Tensor) -> Tensor:
        if vector.shape != (size,):
            expected = f"a vector of {size} values, as axis {axis} of `x` has"
            raise ValueError(
                invalid_argument("batch_normalization", name, expected, vector)
            )
        return vector.reshape(shape)

    gain = torch.rsqrt(along_axis("variance", variance) + epsilon)
    if scale is not None:
        gain = gain * along_axis("scale", scale)
    centered = x - along_axis("mean", mean)
    if offset is None:
        return centered * gain
    return torch.addcmul(along_axis("offset", offset), centered, gain)


def _positive_axes(
    owner: str, axis: int | Sequence[int], x: Tensor
) -> tuple[list[int], bool]:
    """Return axes in order, not negative, and whether they are the last ones."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    if not axes or not all(isinstance(a, int) and -x.ndim <= a < x.ndim for a in axes):
        raise ValueError(
            f"{owner}: `axis` must be an axis, or several, of the input of shape "
            f"{tuple(x.shape)}, got {axis!r}."
        )
    axes = sorted({a % x.ndim for a in axes})
    return axes, axes == list(range(x.ndim - len(axes), x.ndim))


def _normalize_axes(
    owner: str,
    kernel: Any,
    x: Tensor,
    axis: int | Sequence[int],
    epsilon: float | None,
    **weights: Tensor | None,
) -> Tensor:
    """Normalize over axes by a kernel that takes the last ones.

    The computation is in float32 at least; weights have the shape of these axes.
    """
    axes, last = _positive_axes(owner, axis, x)
    sizes = [x.shape[a] for a in axes]
    x = as_floating(x)
    given = [weight for weight in weights.values() if weight is not None]
    # The kernels compute half precision in float32 by themselves.
    wide = x
    if any(weight.dtype != x.dtype for weight in given):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
    shaped = [
        None if weight is None else _shaped(owner, name, weight, sizes).to(wide.dtype)
        for name, weight in weights.items()
    ]
    if epsilon is None:
        epsilon = config.epsilon()
    ends = range(-len(axes), 0)
    # Of the last axes this is no move at all.
    moved = wide if last else wide.movedim(axes, tuple(ends))
    outputs = kernel(moved, sizes, *shaped, epsilon)
    outputs = outputs if last else outputs.movedim(tuple(ends), axes)
    return outputs.to(x.dtype)


def _shaped(owner: str, name: str, weight: Tensor, sizes: list[int]) -> Tensor:
    if [size for size in weight.shape if size != 1] != [s for s in sizes if s != 1]:
        expected = f"of shape {tuple(sizes)}, that of the axes"
        raise ValueError(invalid_argument(owner, name, expected, weight))
    return weight.reshape(sizes)


@operation("nn", class_name="LayerNorm")
def layer_normalization(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` over axes.

    Args:
        x: the input.
        gamma: the factors, of the shape of the axes; 1 by default.
        beta: what is added, of the same shape; nothing by default.
        axis: the axis, or axes, over which mean and variance are taken.
        epsilon: added to the variance; `config.epsilon` by default.
        **kwargs: `rms_scaling`, which must be False.

    Raises:
        NotImplementedError: for `rms_scaling`, which Keras deprecates.
        TypeError: for other keywords.
        ValueError: for a wrong axis, and weights of another shape.

    Example:
        >>> layer_normalization([1.0, 3.0])
        tensor([-1.,  1.])
    """
    if kwargs.pop("rms_scaling", False):
        raise NotImplementedError(
            "layer_normalization: `rms_scaling=True` is not supported; Keras itself "
            "deprecates it. Use `rms_normalization`."
        )
    if kwargs:
        raise TypeError(
            f"layer_normalization: unexpected keyword arguments {sorted(kwargs)}."
        )
    return _normalize_axes(
        "layer_normalization",
        F.layer_norm,
        x,
        axis,
        epsilon,
        gamma=gamma,
        beta=beta,
    )


@operation("nn", class_name="RMSNorm")
def rms_normalization(
    x: Array,
    scale: Array | None = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
) -> Tensor:
    """``x / sqrt(mean(x**2) + epsilon) * scale`` over axes.

    Source: https://arxiv.org/abs/1910.07467.

    Args:
        x: the input.
        scale: the factors, of the shape of the axes; 1 by default.
        axis: the axis, or axes, over which the mean is taken.
        epsilon: added to the mean; `config.epsilon` by default.

    Raises:
        ValueError: for a wrong axis, and a scale of another shape.

    Example:
        >>> rms_normalization([1.0, 7.0])
        tensor([0.2000, 1.4000])
    """
    return _normalize_axes(
        "rms_normalization", F.rms_norm, x, axis, epsilon, scale=scale
    )


@operation("nn")
def normalize(
    x: Array,
    axis: int | Sequence[int] | None = -1,
    order: int = 2,
    epsilon: float | None = None,
) -> Tensor:
    """``x / max(norm(x), epsilon)`` along axes.

    Args:
        x: the input; a number counts as a vector of one.
        axis: the axis, or axes, that make up a vector; None for all.
        order: the order of the norm, that of vectors whatever the number of axes.
        epsilon: the least norm to divide by; `config.epsilon` by default.

    Raises:
        TypeError: when `order` is not an integer.
        ValueError: when it is not positive.

    Example:
        >>> normalize([3.0, 4.0])
        tensor([0.6000, 0.8000])
    """
    order = positive_integer("normalize", "order", order)
    x = torch.atleast_1d(as_floating(x))
    norm = torch.linalg.vector_norm(x, order, axis, keepdim=True)
    return x / norm.clamp(min=config.epsilon() if epsilon is None else epsilon)


@operation("nn", class_name="PSNR")
def psnr(x1: Array, x2: Array, max_val: float) -> Tensor:
    """Return the peak signal-to-noise ratio of two signals, in decibels.

    Args:
        x1: a signal.
        x2: another one, of the same shape.
        max_val: the largest value that signals can have.

    Raises:
        ValueError: when the shapes differ.

    Example:
        >>> psnr([0.0, 0.0], [0.1, 0.1], max_val=1.0)
        tensor(20.)
    """
    if x1.shape != x2.shape:
        raise ValueError(
            f"psnr: `x1` and `x2` must have one shape, got {describe(x1)} and "
            f"{describe(x2)}."
        )
    # Differences of unsigned integers would wrap around.
    x1, x2 = as_floating(x1), as_floating(x2)
    peak = torch.as_tensor(max_val, dtype=x1.dtype, device=x1.device)
    return 20 * torch.log10(peak) - 10 * torch.log10(F.mse_loss(x1, x2))
