"""Masks: what several families of layers do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import excluding_score
from torchkeras._core.typing import Mask
from torchkeras.layers.layer import Layer


def as_tensors(structure: Any) -> Any:
    """Return a structure with tensors in place of arrays; None stays."""
    return tree.map_structure(lambda x: None if x is None else as_tensor(x), structure)


def with_masks(inputs: Any, masks: Any) -> Any:
    """Return inputs with masks riding on them; the tensors given stay as they are.

    Raises:
        ValueError: when there is not one mask, or None, for each input.
    """
    leaves, own = tree.flatten(inputs), tree.flatten(masks)
    if len(leaves) != len(own):
        raise ValueError(
            f"`mask` must hold one mask, or None, for each of the {len(leaves)} "
            f"inputs, got {len(own)}."
        )
    return tree.pack_sequence_as(inputs, map(_with_mask, leaves, own))


def _with_mask(x: Any, mask: Mask) -> Any:
    if mask is None or getattr(x, "_keras_mask", None) is mask:
        return x
    x = x.view_as(x)
    x._keras_mask = mask
    return x


def as_mask(mask: Mask, like: Tensor) -> Tensor | None:
    """Return a mask as booleans on the device of `like`."""
    return None if mask is None else torch.as_tensor(mask, device=like.device).bool()


def as_step_mask(layer: Layer, mask: Mask, inputs: Tensor, time: int = 1) -> Tensor:
    """Return a mask of shape ``(batch, time)``, as booleans.

    Args:
        layer: whose mask it is.
        mask: the mask.
        inputs: the sequences.
        time: the axis of their steps.

    Raises:
        ValueError: when it does not go with the sequences.
    """
    mask = torch.as_tensor(mask, device=inputs.device).bool()
    expected = (inputs.shape[0], inputs.shape[time])
    if mask.shape != expected:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}): `mask` must have the "
            f"shape (batch, time) of the sequences, {expected}, got "
            f"{tuple(mask.shape)}."
        )
    return mask


def all_of(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Return what all masks allow; None where there are none."""
    found: Tensor | None = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found & mask
    return found


def causal_mask(queries: int, steps: int, device: torch.device) -> Tensor:
    """Return which steps are not after each query."""
    return torch.ones(queries, steps, dtype=torch.bool, device=device).tril()


def penalty(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores so that only those count that a mask allows."""
    zeros = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zeros, excluding_score(dtype))
