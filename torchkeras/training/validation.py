"""Checks of targets and indices, made on the host before the first step."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from torchkeras import losses
from torchkeras.layers.core import Embedding
from torchkeras.layers.layer import Layer
from torchkeras.training.compiled import CompiledLoss, get_loss
from torchkeras.training.data import ArrayBatches, Batches


def check_inputs(model: Layer, caller: str, x: Any) -> None:
    """Refuse a dict of inputs that lacks a key the model was built with.

    Raises:
        ValueError: listing the keys expected and given.
    """
    expected = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(expected, dict) or not isinstance(x, dict):
        return
    if set(expected) - set(x):
        raise ValueError(
            f"{caller}: the model '{model.name}' takes inputs with the keys "
            f"{sorted(expected)}, got {sorted(x)}."
        )
    if extra := sorted(set(x) - set(expected)):
        warnings.warn(
            f"{caller}: the model '{model.name}' does not use the inputs {extra}.",
            stacklevel=4,
        )


def check_targets(
    model: Layer, caller: str, batches: Batches, compiled: CompiledLoss
) -> None:
    """Refuse labels and indices that the model has no place for.

    Arrays are looked at once, whole. Batches of a loader or generator are checked as
    they come, by the losses themselves.

    Raises:
        ValueError: naming the loss or layer, the limit, the value and its row.
    """
    if not isinstance(batches, ArrayBatches):
        return
    x, y, _ = batches.arrays
    first = next(iter(model._modules.values()), None)
    if isinstance(first, Embedding) and isinstance(x, Tensor):
        first.check_indices(x)
    output = getattr(model, "outputs", None)
    if not isinstance(y, Tensor) or not output or len(output) != 1:
        return
    spec = compiled.spec
    if spec is None or isinstance(spec, (list, tuple, dict)):
        return
    loss = get_loss(spec, y, output[0])
    if loss is None:
        return
    if isinstance(loss, losses.SparseCategoricalCrossentropy) or (
        getattr(loss, "fn", None) is losses.sparse_categorical_crossentropy
    ):
        ignored = getattr(loss, "ignore_class", None)
        if ignored is None:
            ignored = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
        losses.check_labels(loss.name, y, output[0].shape[-1], ignored)
