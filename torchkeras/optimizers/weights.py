"""Weights as optimizers see them: torch's tensors, shown in Keras's layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from torchkeras._core.variable import Variable, WeightView

Weight = Tensor | Variable | WeightView


def tensors_of(weight: Weight) -> tuple[Tensor, ...]:
    """Return torch's tensors of a weight."""
    return weight.tensors if isinstance(weight, WeightView) else (weight,)


def ids_of(weights: Iterable[Weight]) -> set[int]:
    """Return the ids of torch's tensors of some weights."""
    return {id(tensor) for weight in weights for tensor in tensors_of(weight)}


def named_like(weights: Iterable[Weight], patterns: Iterable[str]) -> list[Weight]:
    """Return the weights whose name contains one of some patterns.

    Example:
        >>> weights = [Variable([1.0], name="bias"), Variable([1.0], name="kernel")]
        >>> [weight.name for weight in named_like(weights, ["bias", "beta"])]
        ['bias']
    """
    found = [re.compile(pattern) for pattern in patterns]
    names = [(weight, getattr(weight, "name", None) or "") for weight in weights]
    return [w for w, name in names if any(p.search(name) for p in found)]


def is_trainable(weight: Weight) -> bool:
    """Say whether gradients are taken with respect to a weight."""
    return any(t.requires_grad for t in tensors_of(weight))


def to_torch_layout(weight: Weight, value: Tensor) -> Sequence[Tensor]:
    """Return a value in a weight's layout as values beside its tensors."""
    return weight.layout.to_torch(value) if isinstance(weight, WeightView) else (value,)


def to_keras_layout(weight: Weight, values: Mapping[int, Tensor]) -> Tensor:
    """Return values beside a weight's tensors, found by their id, in its layout.

    Zeros stand for what is missing, as it is beside a part of a weight that is frozen.
    """
    tensors = tensors_of(weight)
    parts = [values[id(t)] if id(t) in values else torch.zeros_like(t) for t in tensors]
    return (
        weight.layout.to_keras(*parts) if isinstance(weight, WeightView) else parts[0]
    )


def variable_name(weight: Weight, name: str) -> str:
    """Return Keras's name for what is kept beside a weight.

    Example:
        >>> variable_name(Variable([1.0], name="bias"), "momentum")
        'bias_momentum'
    """
    path = getattr(weight, "path", None) or "variable"
    return f"{path.replace('/', '_')}_{name}"


def strided_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a value laid out in memory as a parameter is."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
