"""Checks of targets, weights and indices, made on the host before a step."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import losses
from torchkeras._core import tree
from torchkeras._core.indices import inner_position
from torchkeras.layers.core import Embedding
from torchkeras.losses.shapes import telling_once
from torchkeras.losses.traits import traits_of
from torchkeras.training.arguments import leaves_of
from torchkeras.training.arrays import (
    Batch,
    present,
    unpack_x_y_sample_weight,
)
from torchkeras.training.conventions import unwrapped
from torchkeras.training.objective import CompiledLoss, TorchLoss, by_shape, get_loss
from torchkeras.training.outputs import LOSS, SAMPLE_WEIGHT, TARGETS, Outputs


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


#: A loss is tried on at most so many rows.
_TRIED = 32
#: Says where the row of a number is in the data.
Place = Callable[[int], str]


class Target:
    """What the target of an output must be.

    Args:
        output: the name of the output.
        shape: its shape, the batch axis first.
        loss: its loss.
        told: the shapes that were told of.
    """

    def __init__(
        self,
        output: str,
        shape: tuple[int | None, ...],
        loss: losses.Loss,
        told: set[Any],
    ) -> None:
        self.output = output
        self.shape = shape
        self.loss = loss
        self.told = told
        self._labels = _labels_of(loss)
        self._tried: set[Any] = set()

    def is_new(self, target: Tensor, sample_weight: Any) -> bool:
        """Say whether a target's shape is not among those that were tried."""
        return _shapes(target, sample_weight) not in self._tried

    def check(self, target: Tensor, place: Place) -> None:
        """Refuse labels that are no classes.

        Raises:
            ValueError: naming the value and its row.
        """
        if self._labels is not None and _is_on_host(target):
            self._check_labels(target, place)

    def try_shapes(self, target: Tensor, sample_weight: Any) -> None:
        """Compute the loss of zeros: whether shapes fit is known before any step.

        Raises:
            ValueError: naming the output and the shapes, where they do not.
        """
        self._tried.add(_shapes(target, sample_weight))
        sizes = self.shape[1:]
        if not (target.ndim and _is_known(self.loss)) or None in sizes:
            return
        rows = min(len(target), _TRIED)
        y_true = torch.zeros_like(target[:rows])
        y_pred = torch.zeros(rows, *sizes, device=target.device)  # type: ignore[arg-type]
        weights = None if sample_weight is None else sample_weight[:rows]
        try:
            with torch.no_grad(), telling_once(self.told):
                self.loss(y_true, y_pred, weights)
        except ValueError as error:
            raise ValueError(f"{error} The output is '{self.output}'.") from None
        except (RuntimeError, IndexError) as error:
            raise ValueError(
                f"{self.loss.name}: targets of shape {tuple(y_true.shape)} do not fit "
                f"the output '{self.output}' of shape {tuple(y_pred.shape)}: {error}."
            ) from error

    def _check_labels(self, target: Tensor, place: Place) -> None:
        axis, ignored = self._labels or (-1, None)
        classes = self.shape[0 if len(self.shape) == 1 else axis]
        scores = isinstance(self.loss, TorchLoss) and target.shape[1:] == self.shape[1:]
        if classes is not None and not scores:
            losses.check_labels(
                self.loss.name, target, classes, ignored, self.output, place
            )


def _shapes(target: Tensor, sample_weight: Any) -> tuple[Any, Any]:
    return target.shape[1:], getattr(sample_weight, "shape", ())[1:]


class HostChecks:
    """What can be wrong with data, found on the host before a step.

    Values that live on an accelerator are not looked at: that would wait for it.

    Args:
        outputs: the outputs of the model.
        targets: what the targets of outputs must be, by the number of the output; None
            where targets are not to be looked at.
        inputs: the inputs for which the outputs have the shapes that are known.
    """

    def __init__(
        self,
        outputs: Outputs,
        targets: Mapping[int, Target] | None,
        inputs: list[Any],
    ) -> None:
        self.outputs = outputs
        self.targets = targets
        self.input_shapes = _shapes_of_rows(inputs)

    def __call__(self, model: Any, batch: Batch, place: Place) -> None:
        """Refuse wrong indices, weights and targets.

        Args:
            model: the model.
            batch: ``(x, y, sample_weight)``.
            place: says where the row of a number is in the data.

        Raises:
            ValueError: naming the layer or the output, the value and its row.
        """
        x, y, sample_weight = batch
        check_indices(model, x, place)
        if sample_weight is not None:
            for name, weights in leaves_of("sample_weight", sample_weight):
                _check_weights(name, weights, place)
        if self.targets is not None and y is not None:
            self._check_targets(batch, place)

    def _check_targets(self, batch: Batch, place: Place) -> None:
        x, y, sample_weight = batch
        targets, weights = [y], [sample_weight]
        single = isinstance(y, Tensor) and len(self.outputs.names) == 1
        if not single or isinstance(sample_weight, (list, tuple, dict)):
            targets = self.outputs.share(TARGETS, y)
            weights = self.outputs.share(SAMPLE_WEIGHT, sample_weight)
        for number, known in (self.targets or {}).items():
            target, weight = targets[number], weights[number]
            if target is None:
                continue
            # A stack that was built for other sizes may give other sizes too.
            if known.is_new(target, weight) and (
                _shapes_of_rows(present(x)) == self.input_shapes
            ):
                known.try_shapes(target, weight)
            known.check(target, place)


def _shapes_of_rows(inputs: list[Any]) -> Counter[Any]:
    return Counter(tuple(each.shape[1:]) for each in inputs)


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


def targets_of(
    compiled: CompiledLoss, y: Any, outputs: list[Any]
) -> Mapping[int, Target] | None:
    """Return what the targets of outputs must be, by the number of the output.

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
        is_open = target is None and by_shape(spec)
        loss = None if is_open else get_loss(spec, target, output)
        if loss is not None:
            name, shape = shared.names[number], tuple(output.shape)
            found[number] = Target(name, shape, loss, compiled.told)
    return found


def may_take_labels(spec: Any) -> bool:
    """Say whether a loss of `compile` may take numbers of classes."""
    return any(
        by_shape(one) or _labels_of(get_loss(one, None, None)) is not None
        for one in tree.flatten(spec)
    )


def _labels_of(loss: Any) -> tuple[int, int | None] | None:
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


def _is_known(loss: losses.Loss) -> bool:
    """Say whether a loss is one of ours or of torch, which computes and no more.

    One that holds tensors is left out: their device and dtype need not be the target's.
    """
    wrapped = getattr(loss, "wrapped", None) or getattr(loss, "fn", None)
    function = unwrapped(wrapped)
    held = [*getattr(wrapped, "keywords", {}).values()]
    if isinstance(function, nn.Module):
        held.extend((*function.parameters(), *function.buffers()))
    if any(isinstance(value, Tensor) for value in held):
        return False
    home = function if inspect.isfunction(function) else type(function)
    homes = (type(loss).__module__, str(home.__module__))
    return all(name.split(".")[0] in ("torch", "torchkeras") for name in homes)


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
