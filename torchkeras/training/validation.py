"""Checks of targets and indices, made on the host before the first step."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from torchkeras import losses
from torchkeras._core import tree
from torchkeras._core.symbolic import symbolic_leaves
from torchkeras.layers.core import Embedding
from torchkeras.training.arrays import Batch, unpack_x_y_sample_weight
from torchkeras.training.objective import CompiledLoss, get_loss
from torchkeras.training.outputs import LOSS, TARGETS


def check_keys(owner: str, expected: list[str], x: Any) -> None:
    """Refuse a dict of inputs that lacks a key, and warn of keys that have no use.

    Args:
        owner: the call and the model, for messages.
        expected: the keys of the model.
        x: the inputs; anything but a dict passes.

    Raises:
        ValueError: listing the keys expected and given.
    """
    if not isinstance(x, dict):
        return
    if set(expected) - set(x):
        raise ValueError(
            f"{owner} takes inputs with the keys {expected}, got {sorted(x)}."
        )
    if extra := sorted(set(x) - set(expected)):
        warnings.warn(f"{owner} does not use the inputs {extra}.", stacklevel=5)


def unpack_validation_data(data: Any) -> Batch:
    """Return ``(x, y, sample_weight)`` of arrays, or batches as `x` alone.

    Raises:
        ValueError: for a tuple or list of another length.
    """
    if isinstance(data, (tuple, list)) and not 1 <= len(data) <= 3:
        raise ValueError(
            "fit: `validation_data` must be (x, y), (x, y, sample_weight) or batches, "
            f"got a {type(data).__name__} of {len(data)} elements."
        )
    return unpack_x_y_sample_weight(data)


def check_alike(first: Batch, held_out: Batch) -> None:
    """Refuse validation data with another number of targets than the training data.

    Raises:
        ValueError: naming both numbers.
    """
    targets, others = first[1], held_out[1]
    if isinstance(targets, dict) or isinstance(others, dict):
        return  # told apart by name: some may be left out
    wanted, found = (
        0 if y is None else len(tree.flatten(y)) for y in (targets, others)
    )
    if wanted != found:
        raise ValueError(
            f"fit: `validation_data` has {found} target(s), the training data {wanted}."
            " Give (x, y) or (x, y, sample_weight) as for training."
        )


def check_batch(model: Any, compiled: CompiledLoss, x: Any, y: Any) -> None:
    """Refuse the labels or the indices of a batch if the model has no place for them.

    Raises:
        ValueError: naming the loss or layer, the limit, the value and its row.
    """
    first = model.first_layer
    if isinstance(first, Embedding) and isinstance(x, Tensor):
        first.check_indices(x)
    outputs = symbolic_leaves(getattr(model, "outputs", None))
    shared = compiled.outputs
    if not outputs or y is None or len(outputs) != len(shared.names):
        return
    if model._has_own_step and not isinstance(y, Tensor):
        return  # what it makes of the targets is its own affair
    targets, specs = shared.share(TARGETS, y), shared.share(LOSS, compiled.spec)
    for target, output, spec in zip(targets, outputs, specs, strict=True):
        if target is not None:
            _check_labels(get_loss(spec, target, output), target, output)


def _check_labels(loss: Any, target: Tensor, output: Any) -> None:
    if loss is None or not _takes_labels(loss):
        return
    ignored = getattr(loss, "ignore_class", None)
    if ignored is None:
        ignored = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
    losses.check_labels(loss.name, target, output.shape[-1], ignored)


def _takes_labels(loss: losses.Loss) -> bool:
    function = getattr(loss, "fn", None)
    return (
        isinstance(loss, losses.SparseCategoricalCrossentropy)
        or function is losses.sparse_categorical_crossentropy
    )
