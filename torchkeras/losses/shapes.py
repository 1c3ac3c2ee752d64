"""Targets, outputs, weights and masks brought to one shape.

Keras broadcasts targets against outputs, and trains on a wrong number where they do not
belong together. Here a last axis of size 1 that only one of them has is added to the
other, and shapes that still differ are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import to_torch_dtype


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


def keep_logits(output: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to an output, and to the logits that it remembers."""
    result: Any = function(output)
    logits = getattr(output, "_keras_logits", None)
    if logits is not None and result is not output:
        result._keras_logits = function(logits)
        result._keras_link = getattr(output, "_keras_link", None)
    return result


def as_floating(output: Any) -> Tensor:
    """Return outputs as a tensor of floats."""
    output = as_tensor(output)
    if output.is_floating_point():
        return output
    return output.to(to_torch_dtype(None))


def as_target(y_true: Any, y_pred: Tensor) -> Tensor:
    """Return targets as a tensor; those that are none go to the outputs' device."""
    if isinstance(y_true, Tensor):
        return y_true
    return as_tensor(y_true).to(y_pred.device)


def match_shapes(loss: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Return targets and outputs as tensors of one dtype and one shape.

    Args:
        loss: the name of the loss, for the message.
        y_true: the targets.
        y_pred: the outputs.

    Raises:
        ValueError: when their shapes differ by more than a last axis of size 1.
    """
    y_pred = as_floating(y_pred)
    y_true = as_target(y_true, y_pred)
    if y_true.dtype != y_pred.dtype:
        y_true = y_true.to(y_pred.dtype)
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    if y_true.ndim == 0:
        y_true = y_true.expand(y_pred.shape)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{loss}: targets and outputs must have one shape, got y_true of shape "
            f"{shapes[0]} for y_pred of shape {shapes[1]}. Reshape the targets, or "
            "give the last layer as many units as the targets have columns."
        )
    return y_true, y_pred


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
