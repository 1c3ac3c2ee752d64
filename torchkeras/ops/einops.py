"""Axes rearranged by a pattern."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, Operand, operation
from torchkeras._core.symbolic import KerasTensor

__all__ = ["rearrange"]

#: A group of axes in parentheses, an ellipsis, a name or a number.
_TOKEN = re.compile(r"\([^()]*\)|\.\.\.|\w+")


def _infer_rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> KerasTensor:
    # What stands for an unknown size may not be a multiple of the sizes of its parts.
    known = [size is not None for size in tensor.static_shape]
    runs = [_plan(sizes, known, pattern, axes_lengths)[-1] for sizes in tensor.sizes]
    shape = [a if a == b else None for a, b in zip(*runs, strict=True)]
    outputs = KerasTensor(shape, tensor.dtype)
    outputs.sizes = tuple(runs[0]), tuple(runs[1])
    return outputs


@operation("einops", infer=_infer_rearrange)
def rearrange(tensor: Array, pattern: Operand, **axes_lengths: Operand) -> Tensor:
    """Turn, split and join axes as a pattern says.

    Args:
        tensor: the tensor.
        pattern: names for the axes before and after: ``"b h w c -> b (h w) c"``. Axes
            in parentheses are joined, or on the left split.
        **axes_lengths: sizes of axes that a split makes.

    Raises:
        ValueError: for a pattern that does not fit the tensor.

    Example:
        >>> import torch
        >>> rearrange(torch.ones(2, 6, 3), "b (h w) c -> b c h w", h=2).shape
        torch.Size([2, 3, 2, 3])
    """
    known = [True] * tensor.ndim
    sizes, order, joined = _plan(tensor.shape, known, pattern, axes_lengths)
    return tensor.reshape(sizes).permute(order).reshape(joined)


def _plan(
    shape: Sequence[int],
    known: Sequence[bool],
    pattern: str,
    lengths: dict[str, int],
) -> tuple[list[int], list[int], list[int]]:
    """Return the sizes of all axes, their new order, and the sizes once joined."""
    parts = pattern.split("->")
    if len(parts) != 2:
        _refuse(pattern, "one '->' between the axes before and after")
    before, after = (_groups(pattern, part) for part in parts)
    before, after = _expand(pattern, before, after, len(shape))
    names = [name for group in before for name in group]
    wanted = [name for group in after for name in group]
    if len(set(names)) != len(names) or sorted(names) != sorted(wanted):
        _refuse(pattern, "each axis once on either side")
    if unknown := sorted(set(lengths) - set(names)):
        _refuse(pattern, f"axes named {unknown}, whose sizes are given")
    sizes: list[int] = []
    for group, size, exact in zip(before, shape, known, strict=True):
        sizes += _sizes(pattern, group, size, lengths, exact)
    order = [names.index(name) for name in wanted]
    by_name = dict(zip(names, sizes, strict=True))
    return sizes, order, [math.prod([by_name[n] for n in group]) for group in after]


def _refuse(pattern: str, expected: str) -> None:
    raise ValueError(
        invalid_argument("rearrange", "pattern", f"a pattern with {expected}", pattern)
    )


def _groups(pattern: str, side: str) -> list[Sequence[str]]:
    """Return the axes of one side, joined ones in a tuple."""
    if _TOKEN.sub("", side).strip():
        _refuse(pattern, "names, `...` and parentheses only")
    found = _TOKEN.findall(side)
    return [tuple(t[1:-1].split()) if t.startswith("(") else [t] for t in found]


def _expand(
    pattern: str, before: list[Sequence[str]], after: list[Sequence[str]], ndim: int
) -> tuple[list[list[str]], list[list[str]]]:
    """Give a name to each axis that an ellipsis stands for."""
    count = ndim - len(before)
    if ["..."] in before:
        count += 1
        if count < 0 or before.count(["..."]) > 1:
            _refuse(pattern, f"at most {ndim} axes on the left")
    elif count:
        _refuse(pattern, f"{ndim} axes on the left, as the tensor has")
    extra = [f"...{i}" for i in range(count)]

    def expanded(groups: list[Sequence[str]]) -> list[list[str]]:
        result: list[list[str]] = []
        for group in groups:
            if group == ["..."]:
                result += [[name] for name in extra]
            else:
                pairs = [extra if name == "..." else [name] for name in group]
                result.append([name for names in pairs for name in names])
        return result

    return expanded(before), expanded(after)


def _sizes(
    pattern: str, group: list[str], size: int, given: dict[str, int], exact: bool
) -> list[int]:
    """Return the sizes of the axes into which one axis is split."""
    parts = [given.get(name, int(name) if name.isdigit() else None) for name in group]
    product = math.prod([n for n in parts if n is not None])
    unknown = parts.count(None)
    fits = product > 0 and size % product == 0 if unknown else product == size
    if unknown > 1 or (exact and not fits):
        if len(group) == 1 and unknown == 0:
            _refuse(pattern, f"size {size} for the axis {group[0]!r}")
        _refuse(pattern, f"sizes of {group} that multiply to {size}, one at most open")
    return [size // max(product, 1) if n is None else n for n in parts]
