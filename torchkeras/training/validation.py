"""Checks of targets, weights and indices, made on the host before a step."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Generator, Mapping
from typing import Any

from torch import Tensor

from torchkeras import losses
from torchkeras._core import tree
from torchkeras._core.indices import inner_position
from torchkeras.layers.core import Embedding
from torchkeras.losses.traits import traits_of
from torchkeras.training.arguments import leaves_of
from torchkeras.training.arrays import Batch, unpack_x_y_sample_weight
from torchkeras.training.objective import CompiledLoss, TorchLoss, by_shape, get_loss
from torchkeras.training.outputs import LOSS, TARGETS, Outputs


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


#: Says where the row of a number is in the data.
Place = Callable[[int], str]


@dataclasses.dataclass(frozen=True)
class Labels:
    """What the labels of an output must be.

    Args:
        output: the name of the output.
        loss: the name of the loss that takes them.
        shape: the shape of the output, its batch axis first.
        axis: the axis of the classes.
        ignored: a label that stands for no class.
        or_scores: whether targets of the output's shape are no labels.
    """

    output: str
    loss: str
    shape: tuple[int | None, ...]
    axis: int
    ignored: int | None
    or_scores: bool

    def check(self, target: Any, place: Place) -> None:
        """Refuse labels that are no classes.

        Raises:
            ValueError: naming the loss, the output, the value and its row.
        """
        classes = self.shape[self.axis]
        if not _is_on_host(target) or classes is None:
            return
        if self.or_scores and target.shape[1:] == self.shape[1:]:
            return
        losses.check_labels(
            self.loss, target, classes, self.ignored, self.output, place
        )


class HostChecks:
    """What can be wrong with the values of data, found on the host before a step.

    Values that live on an accelerator are not looked at: that would wait for it.

    Args:
        outputs: the outputs of the model.
        labels: what the labels of outputs must be, by the number of the output; None
            where targets are not to be looked at.
    """

    def __init__(self, outputs: Outputs, labels: Mapping[int, Labels] | None) -> None:
        self.outputs = outputs
        self.labels = labels

    def __call__(self, model: Any, batch: Batch, place: Place) -> None:
        """Refuse wrong indices, labels and weights.

        Args:
            model: the model.
            batch: ``(x, y, sample_weight)``.
            place: says where the row of a number is in the data.

        Raises:
            ValueError: naming the layer or the output, the value and its row.
        """
        x, y, sample_weight = batch
        check_indices(model, x, place)
        if self.labels is not None and y is not None:
            single = isinstance(y, Tensor) and len(self.outputs.names) == 1
            targets = [y] if single else self.outputs.share(TARGETS, y)
            for number, labels in self.labels.items():
                labels.check(targets[number], place)
        if sample_weight is not None:
            for name, weights in leaves_of("sample_weight", sample_weight):
                _check_weights(name, weights, place)


def check_indices(model: Any, x: Any, place: Place) -> None:
    """Refuse indices outside the tables that they are looked up in, where known.

    Raises:
        ValueError: naming the layer, the value and its row.
    """
    for table, indices in model.lookups(x):
        if _is_on_host(indices):
            table.check_indices(indices, place)


def _check_weights(name: str, weights: Any, place: Place) -> None:
    if not _is_on_host(weights) or math.isfinite(weights.sum()):
        return
    wrong = (~weights.isfinite()).nonzero().tolist()
    if wrong:  # else the sum alone is too large
        position = tuple(wrong[0])
        raise ValueError(
            f"`{name}` must hold finite numbers, got {weights[position].item()} in "
            f"{place(position[0])}{inner_position(weights, position)}."
        )


def _is_on_host(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cpu"


def labels_of(
    compiled: CompiledLoss, y: Any, outputs: list[Any]
) -> Mapping[int, Labels] | None:
    """Return what the labels of outputs must be, by the number of the output.

    None where targets cannot be told apart yet.

    Args:
        compiled: the loss over the outputs.
        y: the targets of a batch.
        outputs: the outputs, or symbolic ones.
    """
    shared = compiled.outputs
    if y is None or not outputs or len(outputs) != len(shared.names):
        return None
    targets, specs = shared.share(TARGETS, y), shared.share(LOSS, compiled.spec)
    found = {}
    for number, (target, spec) in enumerate(zip(targets, specs, strict=True)):
        output = outputs[number]
        loss = None if target is None else get_loss(spec, target, output)
        taken = _classes_of(loss)
        if loss is not None and taken is not None:
            shape = tuple(output.shape)
            axis, ignored = taken
            axis = 0 if len(shape) == 1 else axis
            name, is_torchs = shared.names[number], isinstance(loss, TorchLoss)
            found[number] = Labels(name, loss.name, shape, axis, ignored, is_torchs)
    return found


def may_take_labels(spec: Any) -> bool:
    """Say whether a loss of `compile` may take numbers of classes."""
    return any(
        by_shape(one) or _classes_of(get_loss(one, None, None)) is not None
        for one in tree.flatten(spec)
    )


def _classes_of(loss: Any) -> tuple[int, int | None] | None:
    """Return the axis of the classes and the label that stands for none.

    None of a loss that takes no numbers of classes, or computes in a way of its own.
    """
    if isinstance(loss, TorchLoss):
        return (1, loss.ignored_label) if loss.takes_classes else None
    if not isinstance(loss, losses.LossFunctionWrapper):
        return None
    overridden = type(loss).call is not losses.LossFunctionWrapper.call
    if overridden or not traits_of(loss.fn).classes:
        return None
    options = {**getattr(loss.fn, "keywords", {}), **loss.get_config()}
    return options.get("axis", -1), options.get("ignore_class")


@dataclasses.dataclass
class Seen:
    """What a run of a model on a batch showed.

    Args:
        tables: the numbers of inputs, and the tables that each is looked up in.
        outputs: what it returned.
    """

    tables: list[tuple[int, Embedding]]
    outputs: Any = None


@contextlib.contextmanager
def watched(model: Any, x: Any) -> Generator[Seen]:
    """Note which inputs a run looks up in which tables; refuse wrong indices in it.

    Args:
        model: the model that is run.
        x: what it is run on.
    """
    leaves = tree.flatten(x)
    seen = Seen([])

    def look(table: Embedding, args: tuple[Any, ...]) -> None:
        table.check_indices(args[0])
        numbers = [i for i, leaf in enumerate(leaves) if args[0] is leaf]
        seen.tables.extend((number, table) for number in numbers)

    tables = [m for m in model.modules() if isinstance(m, Embedding)]
    hooks = [table.register_forward_pre_hook(look) for table in tables]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
