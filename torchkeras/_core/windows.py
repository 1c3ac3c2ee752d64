"""Windows that slide over an axis, in layers and in operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> int:
    """Return the padding of one axis that gives ``ceil(size / stride)`` windows.

    Half of it goes before the axis; where it is odd, the larger half goes after.

    Example:
        >>> same_padding(28, window=3, stride=1), same_padding(28, window=3, stride=2)
        (2, 1)
    """
    return max((window - 1) * dilation + 1 - (size % stride or stride), 0)


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
