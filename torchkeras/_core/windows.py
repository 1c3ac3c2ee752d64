"""Windows that slide over an axis, in layers and in operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.errors import invalid_argument


def standardize_sizes(
    owner: str, argument: str, value: Any, rank: int, *, low: int = 1
) -> tuple[int, ...]:
    """Return an integer or a tuple of them as a tuple, one per spatial axis.

    Args:
        owner: the class, for messages.
        argument: the name of the argument, for messages.
        value: the integer or the tuple.
        rank: the number of spatial axes.
        low: the smallest legal integer.

    Raises:
        TypeError: when an element is not an integer.
        ValueError: when an element is below `low`, or their number is not `rank`.

    Example:
        >>> standardize_sizes("Conv2D", "kernel_size", 3, 2)
        (3, 3)
    """
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank
    kind = "positive" if low == 1 else "non-negative"
    expected = f"a {kind} integer or a tuple of {rank} {kind} integers"
    message = invalid_argument(owner, argument, expected, value)
    if any(isinstance(s, bool) or not hasattr(s, "__index__") for s in sizes):
        raise TypeError(message)
    if len(sizes) != rank or any(s < low for s in sizes):
        raise ValueError(message)
    return tuple(int(s) for s in sizes)


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> int:
    """Return the padding of one axis that gives ``ceil(size / stride)`` windows.

    Half of it goes before the axis; where it is odd, the larger half goes after.

    Example:
        >>> same_padding(28, window=3, stride=1), same_padding(28, window=3, stride=2)
        (2, 1)
    """
    return max((window - 1) * dilation + 1 - (size % stride or stride), 0)


def pad_same(
    inputs: Tensor,
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, list[int]]:
    """Return inputs, padded where the two sides differ, and the padding yet to do.

    Args:
        inputs: the inputs, ``(batch, channels, ...)``.
        window: the size of the window on each axis.
        strides: the distance between windows.
        dilation: the distance between the elements of a window.
    """
    axes = zip(inputs.shape[2:], window, strides, dilation, strict=True)
    totals = [same_padding(*axis) for axis in axes]
    if not any(total % 2 for total in totals):
        return inputs, [total // 2 for total in totals]
    sides = [n for total in reversed(totals) for n in (total // 2, (total + 1) // 2)]
    return F.pad(inputs, sides), [0] * len(totals)


def pool_same(
    pool: Callable[..., Tensor],
    inputs: Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    **padded: Any,
) -> Tensor:
    """Pool with the padding of `same_padding` on each axis after the second.

    Args:
        pool: torch's function.
        inputs: the inputs, ``(batch, channels, ...)``.
        window: the size of the window on each axis.
        strides: the distance between windows.
        padded: what `pool` takes to leave padding out of account.
    """
    if padded and inputs.is_cuda:
        # With channels last, the gradient of CUDA's kernel is wrong where padding is
        # left out of a mean (seen in torch 2.11).
        inputs = inputs.clone(memory_format=torch.contiguous_format)
    # Torch pads both sides alike. An odd total needs one more after the axis:
    # `ceil_mode` adds it where windows are strided; where they are not, padding one
    # more before as well gives one window more, the first, which is cut off.
    axes = zip(inputs.shape[2:], window, strides, strict=True)
    totals = [same_padding(*axis) for axis in axes]
    extra = [
        total % 2 if stride == 1 else 0
        for total, stride in zip(totals, strides, strict=True)
    ]
    pads = [total // 2 + more for total, more in zip(totals, extra, strict=True)]
    outputs = pool(inputs, window, strides, pads, ceil_mode=True, **padded)
    for axis, more in enumerate(extra, start=2):
        if more:
            outputs = outputs.narrow(axis, more, outputs.shape[axis] - more)
    return outputs
