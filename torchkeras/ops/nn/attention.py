"""Attention."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchkeras._core.dtypes import excluding_score, result_type, to_torch_dtype
from torchkeras._core.errors import invalid_argument
from torchkeras._core.operation import Array, Operand, operation

__all__ = ["dot_product_attention"]

_OWNER = "dot_product_attention"
_FLASH = [SDPBackend.FLASH_ATTENTION]
_NO_FLASH = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


@operation("nn")
def dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    scale: Operand = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:
    """``softmax(query @ key * scale + bias) @ value``, for each head.

    Torch chooses the kernel. A query to which the mask leaves no key attends to all.

    Args:
        query: the queries.
        key: the keys; their heads divide those of the queries, and each serves a group.
        value: the values.
        bias: added to the scores, which are ``(batch, heads, queries, keys)``; it
            broadcasts to them.
        mask: False where a query must not attend to a key; it broadcasts as well.
        scale: the factor of the scores; ``1 / sqrt(size)`` by default.
        is_causal: whether a query attends to the keys up to its own position only.
        flash_attention: whether to use the flash kernel and no other (True), or any
            but it (False).
        attn_logits_soft_cap: the bound that a hyperbolic tangent puts on scores before
            bias and mask; this computes all scores, without a fused kernel.

    Shape:
        ``(batch, queries, heads, size)``, and for key and value ``(batch, keys, heads,
        size)``, to the shape of the queries.

    Raises:
        ValueError: for shapes that do not belong together, heads that do not divide,
            and the flash kernel together with a bound.
        RuntimeError: when the flash kernel is asked for and cannot be used.

    Example:
        >>> x = torch.ones(2, 5, 4, 8)
        >>> dot_product_attention(x, x, x, is_causal=True).shape
        torch.Size([2, 5, 4, 8])
    """
    groups = _groups(query, key, value)
    for name, array in (("bias", bias), ("mask", mask)):
        _check_broadcasts(name, array, query, key)
    if flash_attention and attn_logits_soft_cap is not None:
        expected = "None or False with a bound of the scores, which it does not have"
        raise ValueError(invalid_argument(_OWNER, "flash_attention", expected, True))
    dtype = to_torch_dtype(result_type(query.dtype, key.dtype, value.dtype, float))
    query, key, value = (t.to(dtype).transpose(1, 2) for t in (query, key, value))
    # The kernels take either `is_causal` or a mask.
    alone = bias is None and mask is None and attn_logits_soft_cap is None
    added = None if alone else _additive(query, key, bias, mask, is_causal)
    if attn_logits_soft_cap is not None:
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
        outputs = _capped(query, key, value, added, scale, attn_logits_soft_cap)
    else:
        # A branch: `torch.compile` takes no comparison of sizes that vary as a flag.
        grouped: dict[str, bool] = {"enable_gqa": True} if groups > 1 else {}
        with _kernels(flash_attention):
            outputs = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=added,
                is_causal=is_causal and alone,
                scale=scale,
                **grouped,
            )
    return outputs.transpose(1, 2)


def _groups(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Return how many heads of queries a head of keys serves."""
    for name, array in (("query", query), ("key", key), ("value", value)):
        if array.ndim != 4:
            expected = "of shape (batch, steps, heads, size)"
            raise ValueError(invalid_argument(_OWNER, name, expected, array))
    if query.shape[3] != key.shape[3]:
        expected = f"of the size of `query`, {query.shape[3]}, along the last axis"
        raise ValueError(invalid_argument(_OWNER, "key", expected, key))
    if key.shape[1] != value.shape[1]:
        expected = f"of as many steps as `key`, {key.shape[1]}"
        raise ValueError(invalid_argument(_OWNER, "value", expected, value))
    # Not `divmod`: `torch.compile` has none for sizes that vary.
    groups = query.shape[2] // key.shape[2]
    if query.shape[2] % key.shape[2] or key.shape[2] != value.shape[2]:
        raise ValueError(
            f"{_OWNER}: `key` and `value` must have as many heads as `query`, or a "
            f"divisor of it, got {query.shape[2]} heads of queries, {key.shape[2]} of "
            f"keys and {value.shape[2]} of values."
        )
    return groups


def _check_broadcasts(
    name: str, array: Tensor | None, query: Tensor, key: Tensor
) -> None:
    if array is None:
        return
    batch, queries, heads, _ = query.shape
    scores = (max(batch, key.shape[0]), heads, queries, key.shape[1])
    pairs = zip(reversed(array.shape), reversed(scores), strict=False)
    if array.ndim > 4 or any(size not in (1, score) for size, score in pairs):
        expected = f"of a shape that broadcasts to that of the scores, {scores}"
        raise ValueError(invalid_argument(_OWNER, name, expected, array))


def _kernels(flash: bool | None) -> contextlib.AbstractContextManager[Any]:
    if flash is None:
        return contextlib.nullcontext()
    return sdpa_kernel(_FLASH if flash else _NO_FLASH)


def _additive(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    is_causal: bool,
) -> Tensor | None:
    """Return bias and masks as one summand of the scores."""
    if is_causal:
        sizes = (query.shape[2], key.shape[2])
        past = torch.ones(sizes, dtype=torch.bool, device=query.device).tril()
        mask = past if mask is None else mask.bool() & past
    if bias is not None:
        bias = bias.to(query.dtype)
    if mask is None:
        return bias
    never = excluding_score(query.dtype)
    zero = torch.zeros((), dtype=query.dtype, device=query.device)
    return torch.where(mask.bool(), zero if bias is None else bias, never)


def _capped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    added: Tensor | None,
    scale: float | None,
    cap: float,
) -> Tensor:
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = cap * torch.tanh(query @ key.mT * (factor / cap))
    if added is not None:
        scores = scores + added
    return torch.softmax(scores, -1) @ value
