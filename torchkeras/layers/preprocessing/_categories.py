"""Indices as rows of zeros, ones, counts or weights: what `output_mode` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.errors import one_of

#: Names of modes that Keras 2 had.
_OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def mode_of(owner: str, output_mode: Any, legal: Sequence[str]) -> str:
    """Check `output_mode` and return it under its present name."""
    known = output_mode if isinstance(output_mode, str) else ""
    return one_of(owner, "output_mode", _OLD_MODES.get(known, output_mode), legal)


def refuse_sparse(owner: str, **options: bool) -> None:
    """Refuse options that ask for another kind of tensor.

    Raises:
        NotImplementedError: for the first that is set.
    """
    for name, value in options.items():
        if value:
            raise NotImplementedError(
                f"{owner}: `{name}=True` is not supported, as in Keras on torch: "
                "outputs are dense tensors."
            )


def encode(
    indices: Tensor,
    mode: str,
    depth: Any,
    dtype: torch.dtype,
    weights: Tensor | None = None,
) -> Tensor:
    """Encode integers below `depth`.

    Args:
        indices: the integers; a scalar is a sample of one.
        mode: ``"one_hot"``, ``"multi_hot"`` or ``"count"``.
        depth: the size of the last axis of the result.
        dtype: the dtype of the result.
        weights: what each index counts.

    Shape:
        ``"one_hot"``: ``(..., 1)`` to ``(..., depth)``, else ``(...)`` to ``(...,
        depth)``. Others: ``(n)`` to ``(depth)``, and ``(batch, n, ...)`` to ``(batch,
        ..., depth)``.
    """
    indices = indices.reshape(1) if indices.ndim == 0 else indices
    if mode == "one_hot":
        if indices.ndim == 1 or indices.shape[-1] != 1:
            indices = indices.unsqueeze(-1)
    elif indices.ndim > 2:  # Keras takes the second axis for that of a sample
        indices = indices.movedim(1, -1)
    zeros = torch.zeros(
        (*indices.shape[:-1], depth), dtype=dtype, device=indices.device
    )
    indices = indices.long()
    if mode != "count":
        return zeros.scatter(-1, indices, 1)
    if weights is None:
        weights = torch.ones_like(indices, dtype=dtype)
    elif weights.ndim > 2:
        weights = weights.movedim(1, -1)
    return zeros.to(weights.dtype).scatter_add(-1, indices, weights)


def shape_of_encoded(
    shape: Sequence[int | None], mode: str, depth: int | None
) -> tuple[int | None, ...]:
    """Return the shape that `encode` makes of another one."""
    shape = tuple(shape) or (1,)
    if mode == "one_hot":
        short = len(shape) > 1 and shape[-1] == 1
        return (*(shape[:-1] if short else shape), depth)
    return (depth,) if len(shape) == 1 else (shape[0], *shape[2:], depth)
