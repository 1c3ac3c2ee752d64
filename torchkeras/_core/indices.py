"""Numbers that count something, in data: of classes, of the rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor

#: Integers for which torch has no comparisons.
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def first_outside(
    values: Tensor, size: int, ignored: int | None = None, whole: bool = False
) -> tuple[int, ...] | None:
    """Return the position of the first value that is not in ``[0, size)``, if any.

    Args:
        values: the numbers.
        size: how many there are to choose from.
        ignored: a value that passes.
        whole: whether fractions are outside too.

    Example:
        >>> first_outside(torch.tensor([[0, 1], [2, 7]]), 5)
        (1, 1)
    """
    if not values.numel() or values.is_complex():
        return None
    if values.dtype in _UNSIGNED:
        values = values.long()
    whole = whole and values.is_floating_point()
    low, high = (bound.item() for bound in values.aminmax())
    # In most data there is nothing wrong. NaN compares with nothing.
    if low >= 0 and high < size and not (whole and (values != values.trunc()).any()):
        return None
    if not values.is_floating_point():
        values = values.long()  # `size` may be more than a small integer holds
    inside = (values >= 0) & (values < size)
    if whole:
        inside &= values == values.trunc()
    if ignored is not None:
        inside |= values == ignored
    return None if inside.all() else tuple((~inside).nonzero()[0].tolist())


def inner_position(values: Tensor, position: tuple[int, ...]) -> str:
    """Say where in its row a value is, if a row has more than one.

    Example:
        >>> inner_position(torch.zeros(2, 3), (1, 2))
        ', at (2,) in it'
    """
    several = any(size > 1 for size in values.shape[1:])
    return f", at {position[1:]} in it" if several else ""
