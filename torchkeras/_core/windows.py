"""Windows that slide over an axis, in layers and in operations."""

from __future__ import annotations


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> int:
    """Return the padding of one axis that gives ``ceil(size / stride)`` windows.

    Half of it goes before the axis; where it is odd, the larger half goes after.

    Example:
        >>> same_padding(28, window=3, stride=1), same_padding(28, window=3, stride=2)
        (2, 1)
    """
    return max((window - 1) * dilation + 1 - (size % stride or stride), 0)
