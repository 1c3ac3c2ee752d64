"""Targets, outputs, weights and masks brought to one shape.

A last axis of size 1 that only one of them has is added to the other. Shapes that still
differ are broadcast as in Keras, and told of, since it is seldom what is meant.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.context import context
from torchkeras._core.convert import as_floating, as_tensor
from torchkeras._core.probabilities import keep_logits


def squeeze_or_expand_to_same_rank(
    x1: Tensor, x2: Tensor, expand_rank_1: bool = True
) -> tuple[Tensor, Tensor]:
    """Give two tensors one rank, where they differ by a last axis of size 1.

    Args:
        x1: a tensor.
        x2: another.
        expand_rank_1: whether a vector gets the axis, rather than the matrix losing it.

    Example:
        >>> x1, x2 = squeeze_or_expand_to_same_rank(torch.ones(2), torch.ones(2, 1))
        >>> x1.shape, x2.shape
        (torch.Size([2, 1]), torch.Size([2, 1]))
    """
    if x1.ndim > x2.ndim:
        x2, x1 = squeeze_or_expand_to_same_rank(x2, x1, expand_rank_1)
    elif x2.ndim == x1.ndim + 1 and x2.shape[-1] == 1:
        if x1.ndim == 1 and expand_rank_1:
            return x1.unsqueeze(-1), x2
        return x1, keep_logits(x2, lambda t: t.squeeze(-1))
    return x1, x2


def as_target(y_true: Any, y_pred: Tensor) -> Tensor:
    """Return targets as a tensor; those that are none go to the outputs' device."""
    if isinstance(y_true, Tensor):
        return y_true
    return as_tensor(y_true).to(y_pred.device)


def match_shapes(
    loss: str, y_true: Any, y_pred: Any, broadcasts: bool = True
) -> tuple[Tensor, Tensor]:
    """Return targets and outputs as tensors of one dtype, of shapes that go together.

    Args:
        loss: the name of the loss, for the message.
        y_true: the targets.
        y_pred: the outputs.
        broadcasts: whether shapes may differ that torch broadcasts.

    Raises:
        ValueError: when the shapes do not go together.
    """
    if not (isinstance(y_pred, Tensor) and y_pred.is_floating_point()):
        y_pred = as_floating(as_tensor(y_pred))
    if not isinstance(y_true, Tensor):
        y_true = as_target(y_true, y_pred)
    if y_true.dtype != y_pred.dtype:
        y_true = y_true.to(y_pred.dtype)
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        _broadcast(loss, *shapes, broadcasts and go_together(y_true, y_pred))
    return y_true, y_pred


def go_together(x1: Any, x2: Any) -> bool:
    """Say whether two shapes can be broadcast.

    Example:
        >>> go_together(torch.ones(4, 10), torch.ones(4, 1))
        True
        >>> go_together(torch.ones(4, 3), torch.ones(4, 2))
        False
    """
    pairs = zip(reversed(x1.shape), reversed(x2.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def may_broadcast(y_true: Any, y_pred: Any) -> bool:
    """Say whether a loss of these may broadcast one against the other.

    Example:
        >>> may_broadcast(torch.ones(4), torch.ones(4, 1))
        False
        >>> may_broadcast(torch.ones(4, 10), torch.ones(4, 1))
        True
    """
    if y_true is None or y_true.shape == y_pred.shape:
        return False
    if abs(y_true.ndim - y_pred.ndim) == 1 and 1 in (
        y_true.shape[-1],
        y_pred.shape[-1],
    ):
        return False
    return go_together(y_true, y_pred)


@contextlib.contextmanager
def telling_once(told: set[Any]) -> Generator[None]:
    """Warn of a broadcast only if it is not among those told of."""
    before, context.told = context.told, told
    try:
        yield
    finally:
        context.told = before


def _broadcast(
    loss: str, y_true: tuple[int, ...], y_pred: tuple[int, ...], allowed: bool
) -> None:
    """Warn of shapes that are broadcast, or refuse them."""
    hint = (
        "Reshape the targets, or give the last layer as many units as the targets have "
        "columns."
    )
    if not allowed:
        raise ValueError(
            f"{loss}: targets and outputs must have one shape, got y_true of shape "
            f"{y_true} for y_pred of shape {y_pred}. {hint}"
        )
    if not y_true or torch.compiler.is_compiling():
        return  # one number for all is meant so
    told, shapes = context.told, (y_true[1:], y_pred[1:])
    if told is not None:
        if shapes in told:
            return
        told.add(shapes)
    warnings.warn(
        f"{loss}: targets and outputs should have one shape. y_true of shape {y_true} "
        f"and y_pred of shape {y_pred} are broadcast, as in Keras, so that values may "
        f"be compared which do not belong together. {hint}",
        stacklevel=5,
    )


def divide_no_nan(x1: Tensor, x2: Tensor) -> Tensor:
    """Divide, with 0 where the divisor is 0.

    Example:
        >>> divide_no_nan(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]))
        tensor([0.5000, 0.0000])
    """
    zero = x2 == 0
    return torch.where(zero, 0, x1 / torch.where(zero, 1, x2))


def apply_mask(
    sample_weight: Any, mask: Tensor | None, dtype: torch.dtype, reduction: str | None
) -> Any:
    """Merge a mask into sample weights.

    Valid entries weigh ``total / valid`` under a mean over the batch, so that the mean
    is one over the valid entries, and 1 under any other reduction.

    Args:
        sample_weight: the weights, if any.
        mask: True where a value counts, if any.
        dtype: the dtype of the weights.
        reduction: the reduction that follows.

    Example:
        >>> mask = torch.tensor([True, False])
        >>> apply_mask(None, mask, torch.float32, "mean")
        tensor([2., 0.])
    """
    if mask is None:
        return sample_weight
    weight = mask.to(dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        weight = weight * divide_no_nan(weight.new_tensor(mask.numel()), weight.sum())
    if sample_weight is None:
        return weight
    sample_weight = as_target(sample_weight, weight).to(dtype)
    weight, sample_weight = squeeze_or_expand_to_same_rank(weight, sample_weight)
    sample_weight = append_axes(sample_weight, weight.ndim)
    return sample_weight * append_axes(weight, sample_weight.ndim)


def append_axes(x: Tensor, ndim: int) -> Tensor:
    """Append axes of size 1, up to a rank: what is per sample is so for all it holds.

    Example:
        >>> append_axes(torch.ones(2), 3).shape
        torch.Size([2, 1, 1])
    """
    if x.ndim in (0, ndim) or x.ndim > ndim:
        return x
    return x.reshape(*x.shape, *[1] * (ndim - x.ndim))
