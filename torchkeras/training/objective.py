"""The objective: a loss and metrics over the outputs, chosen by what `compile` got."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import losses
from torchkeras._core import tree
from torchkeras._core.naming import to_snake_case
from torchkeras.losses.shapes import may_broadcast, telling_once
from torchkeras.training.conventions import (
    TargetFirst,
    is_torchs,
    takes_target_first,
    unwrapped,
)
from torchkeras.training.links import check_link
from torchkeras.training.logs import LossTracker
from torchkeras.training.outputs import (
    LOSS,
    LOSS_WEIGHTS,
    METRICS,
    WEIGHTED_METRICS,
    Outputs,
)

#: Outputs with at most this many values are kept for some steps, so that their metrics
#: are updated in one go: there the cost of an update is Python, not arithmetic.
_SMALL_OUTPUT = 16_384
_PENDING = 64


_LABEL_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_LABEL_FUNCTIONS = ("cross_entropy", "nll_loss", "multi_margin_loss")


class TorchLoss(losses.Loss):
    """A loss in torch's manner, with Keras's call, ``(y_true, y_pred)``.

    Targets of the outputs' shape come in their dtype. Integers of another shape are
    labels, and stay integers.

    Args:
        loss: an `nn.Module` or a function that returns a number, or one per value.
        target_first: whether it takes the target before the outputs.
    """

    def __init__(self, loss: Callable[..., Any], target_first: bool = False) -> None:
        super().__init__(name=_name_of(loss))
        # Kept out of `_modules`: the loss is the user's, the model does not own it.
        self.__dict__["wrapped"] = loss
        self.target_first = target_first
        known = isinstance(loss, _LABEL_LOSSES) or self.name in _LABEL_FUNCTIONS
        #: Whether integers that have not the outputs' shape are numbers of classes.
        self.takes_classes = known

    def forward(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Any:
        target = self._target(y_true, y_pred)
        pair = (target, y_pred) if self.target_first else (y_pred, target)
        values = self.__dict__["wrapped"](*pair)
        if sample_weight is not None and getattr(values, "ndim", 1) == 0:
            raise ValueError(
                f"The torch loss {self.name} returns one number, so `sample_weight` "
                "and `class_weight` cannot be applied. Make it with reduction='none'."
            )
        return self.reduced(values, sample_weight, None)

    @property
    def ignored_label(self) -> int | None:
        """The label that stands for no class."""
        loss = self.__dict__["wrapped"]
        given = getattr(loss, "keywords", {}).get("ignore_index", -100)
        return getattr(loss, "ignore_index", given)

    def _target(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true.unsqueeze(-1)
        if y_true.shape == y_pred.shape:
            return y_true if y_true.is_complex() else y_true.to(y_pred.dtype)
        if self.takes_classes:
            if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
                y_true = y_true.squeeze(-1)
            return y_true.long()
        if y_true.is_floating_point():
            return y_true.to(y_pred.dtype)
        return y_true if y_true.is_complex() else y_true.long()


def by_shape(spec: Any) -> bool:
    """Say whether the shapes choose which crossentropy is meant."""
    return isinstance(spec, str) and spec.lower() in ("crossentropy", "ce")


def get_loss(spec: Any, y_true: Any, y_pred: Any) -> losses.Loss | None:
    """Return the loss that a `compile` argument means for these targets."""
    if spec is None:
        return None
    if by_shape(spec):
        spec = _classification_kind(y_true, y_pred) + "_crossentropy"
    name = spec if isinstance(spec, str) else None
    loss = losses.get(spec)
    if isinstance(loss, losses.Loss):
        return loss
    target_first = takes_target_first(loss)
    if target_first and not is_torchs(loss):
        return losses.LossFunctionWrapper(loss, name=name or _name_of(loss))
    return TorchLoss(loss, target_first)


def _name_of(function: Any) -> str:
    function = unwrapped(function)
    return getattr(function, "__name__", to_snake_case(type(function).__name__))


def _classification_kind(y_true: Any, y_pred: Any) -> str:
    """Say which classification the shapes mean, as Keras decides it."""
    if y_pred.shape[-1] == 1:
        return "binary"
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return "sparse_categorical"
    return "categorical"


class CompiledLoss:
    """The loss of a model: one per output, weighted and summed.

    Args:
        loss: `compile`'s argument.
        loss_weights: `compile`'s argument.
        output_names: the structure of the outputs' names, if known.
    """

    def __init__(self, loss: Any, loss_weights: Any, output_names: Any = None) -> None:
        for identifier in tree.flatten(loss):
            known = identifier is None or callable(identifier) or by_shape(identifier)
            if not known:
                losses.get(identifier)  # a typo is found here
        self.spec = loss
        self.weights = loss_weights
        self.outputs = Outputs(output_names, loss)
        if self.outputs.known:
            self.outputs.share(LOSS_WEIGHTS, loss_weights)
        #: The shapes that were told of, in this loss and the metrics beside it.
        self.told: set[Any] = set()
        self.trackers: list[LossTracker] = []
        #: The losses of the outputs that no batch has shown yet to take them.
        self._unchecked: list[tuple[int, losses.Loss]] = []
        self._terms: list[tuple[int, Callable[..., Any], Any]] | None = None
        self._single: Callable[..., Any] | None = None

    def bind(self, targets: list[Any], outputs: list[Any]) -> None:
        """Choose the loss of each output, once its shape is known."""
        names = self.outputs.names
        specs = self.outputs.share(LOSS, self.spec)
        weights = self.outputs.share(LOSS_WEIGHTS, self.weights)
        terms: list[tuple[int, Callable[..., Any], Any]] = []
        for index, (spec, weight) in enumerate(zip(specs, weights, strict=True)):
            if spec is not None and targets[index] is None:
                raise ValueError(
                    f"The output '{names[index]}' has a loss and no target. Give a "
                    f"target for each of {names}, or no loss for this one."
                )
            loss = get_loss(spec, targets[index], outputs[index])
            if loss is not None:
                self._unchecked.append((index, loss))
                if may_broadcast(targets[index], outputs[index]):
                    loss = functools.partial(_told_once, self.told, loss)
                terms.append((index, loss, 1.0 if weight is None else weight))
        self._terms = terms
        if len(names) == 1 and terms and isinstance(terms[0][2], float | int):
            self._single = terms[0][1] if terms[0][2] == 1 else None
        if len(terms) > 1:
            self.trackers = [LossTracker(f"{names[i]}_loss") for i, *_ in terms]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the total loss of a batch."""
        if (
            self._single is not None
            and type(y_pred) is Tensor
            and type(y_true) is Tensor
            and (sample_weight is None or type(sample_weight) is Tensor)
        ):
            try:
                return self._single(y_true, y_pred, sample_weight)
            except ValueError as error:
                error.add_note(f"Raised by the loss of '{self.outputs.names[0]}'.")
                raise
        targets, outputs, weights = self.outputs.flat(y_true, y_pred, sample_weight)
        if self._terms is None:
            self.bind(targets, outputs)
        total: Any = 0.0
        for position, (index, loss, weight) in enumerate(self._terms or ()):
            try:
                value = loss(targets[index], outputs[index], weights[index])
            except ValueError as error:
                error.add_note(f"Raised by the loss of '{self.outputs.names[index]}'.")
                raise
            if self.trackers:
                self.trackers[position].update_state(value, len(outputs[index]))
            total = total + value * weight
        while self._unchecked:
            index, loss = self._unchecked.pop(0)
            check_link(loss, outputs[index], self.outputs.names[index])
        return total


def _told_once(told: set[Any], function: Callable[..., Any], *args: Any) -> Any:
    with telling_once(told):
        return function(*args)


_METRICS = (METRICS, WEIGHTED_METRICS)


class CompiledMetrics:
    """The metrics of a model, chosen when the first outputs are seen.

    Args:
        metrics: `compile`'s argument.
        weighted_metrics: `compile`'s argument.
        output_names: the structure of the outputs' names, if known.
        loss: the loss beside them.
    """

    def __init__(
        self,
        metrics: Any,
        weighted_metrics: Any,
        output_names: Any,
        loss: CompiledLoss,
    ) -> None:
        if metrics or weighted_metrics:
            metrics_module()  # now, and not within the first step
        self.specs = (metrics, weighted_metrics)
        self.outputs = Outputs(output_names, loss.spec)
        self._told = loss.told
        for argument, spec in zip(_METRICS, self.specs, strict=True):
            _check_names(spec)
            if self.outputs.known:
                self.outputs.share(argument, spec)
        self._bound: list[tuple[int, str, Any, bool]] | None = None
        self._pending: list[tuple[Any, Any, Any]] = []
        self._can_wait = False
        self._broadcasts = False
        if not metrics and not weighted_metrics:
            self._bound = []

    def bind(self, targets: list[Any], outputs: list[Any]) -> None:
        """Choose the metrics of each output, once its shape is known."""
        names = self.outputs.names
        several = len(names) > 1
        self._bound = []
        for argument, spec in zip(_METRICS, self.specs, strict=True):
            weighted = argument is WEIGHTED_METRICS
            for index, own in enumerate(self.outputs.share(argument, spec)):
                prefix = f"{names[index]}_" if several else ""
                for identifier in own if isinstance(own, list) else [own]:
                    if identifier is None:
                        continue
                    if targets[index] is None and any(t is not None for t in targets):
                        raise ValueError(
                            f"The output '{names[index]}' has metrics and no target. "
                            f"Give a target for each of {names}, or no metrics."
                        )
                    metric = get_metric(identifier, targets[index], outputs[index])
                    name = _metric_name(identifier, metric)
                    if isinstance(identifier, str):
                        metric.name = name  # as in Keras; callbacks look it up
                    name = self._log_name(prefix, name, weighted)
                    self._bound.append((index, name, metric, weighted))
        self._broadcasts = any(map(may_broadcast, targets, outputs))
        self._can_wait = not several and all(
            getattr(metric, "batchable", False) for _, _, metric, _ in self._bound
        )

    def _log_name(self, prefix: str, name: str, weighted: bool) -> str:
        """Return a name that no other metric has in the logs, as Keras makes it."""
        taken = {own for _, own, _, _ in self._bound or ()}
        if weighted and prefix + name in taken:
            name = f"weighted_{name}"
        same = sum(own.startswith(prefix + name) for own in taken)
        return f"{prefix}{name}_{same}" if prefix + name in taken else prefix + name

    @property
    def metrics(self) -> list[Any]:
        """The metric objects."""
        return [metric for _, _, metric, _ in self._bound or ()]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the outputs of a batch."""
        if self._bound == []:
            return
        if self._can_wait:
            if (
                type(y_pred) is not Tensor
                or type(y_true) is not Tensor
                or not (sample_weight is None or type(sample_weight) is Tensor)
            ):
                flat = self.outputs.flat(y_true, y_pred, sample_weight)
                (y_true,), (y_pred,), (sample_weight,) = flat
            if y_pred.numel() <= _SMALL_OUTPUT and not hasattr(y_pred, "_keras_mask"):
                self._pending.append((y_true, y_pred.detach(), sample_weight))
                if len(self._pending) >= _PENDING:
                    self.flush()
                return
        self.flush()
        self._update_now(y_true, y_pred, sample_weight)

    def flush(self) -> None:
        """Update the metrics by the outputs that were kept."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        columns = list(zip(*pending, strict=True))
        if len({t.shape[1:] for t in columns[1]}) > 1:  # batches of several widths
            for batch in pending:
                self._update_now(*batch)
            return
        joined = [None if c[0] is None else torch.cat(c) for c in columns]
        self._update_now(*joined)

    @torch.no_grad()
    def _update_now(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        targets, outputs, weights = self.outputs.flat(y_true, y_pred, sample_weight)
        if self._bound is None:
            self.bind(targets, outputs)
        if self._broadcasts:
            _told_once(self._told, self._update_all, targets, outputs, weights)
        else:
            self._update_all(targets, outputs, weights)

    def _update_all(
        self, targets: list[Any], outputs: list[Any], weights: list[Any]
    ) -> None:
        for index, name, metric, weighted in self._bound or ():
            weight = weights[index] if weighted else None
            try:
                update_metric(metric, targets[index], outputs[index], weight)
            except ValueError as error:
                output = self.outputs.names[index]
                error.add_note(f"Raised by the metric '{name}' of '{output}'.")
                raise

    def result(self) -> dict[str, Any]:
        """Return the value of each metric by name."""
        self.flush()
        return {name: _result(m) for _, name, m, _ in self._bound or ()}

    #: The name among the metrics of a model, as Keras has it.
    name = "compile_metrics"

    def reset_state(self) -> None:
        """Begin again."""
        self._pending = []
        for metric in self.metrics:
            (metric.reset_state if _speaks_keras(metric) else metric.reset)()


def _check_names(spec: Any) -> None:
    names = [n for n in tree.flatten(spec) if isinstance(n, str)]
    for name in names:
        if name.lower() not in ("accuracy", "acc", "crossentropy", "ce"):
            metrics_module().get(name)  # a typo is found here


def metrics_module() -> Any:
    """Return the family of metrics, loaded when it is first asked for."""
    # torchmetrics more than doubles the time of importing torch, so the family that is
    # built on it is loaded when the first metric is asked for.
    return importlib.import_module("torchkeras.metrics")


def get_metric(identifier: Any, y_true: Any, y_pred: Any) -> Any:
    """Return the metric that a `compile` argument means for these targets."""
    module = metrics_module()
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        identifier = _classification_kind(y_true, y_pred) + "_accuracy"
    elif by_shape(identifier):
        identifier = _classification_kind(y_true, y_pred) + "_crossentropy"
    metric = module.get(identifier)
    if hasattr(metric, "update_state") or hasattr(metric, "update"):
        return metric
    name = _name_of(metric)
    if not takes_target_first(metric):
        metric = TargetFirst(metric)
    return module.MeanMetricWrapper(metric, name=name)


def _metric_name(identifier: Any, metric: Any) -> str:
    if isinstance(identifier, str):
        return identifier
    if _speaks_keras(metric):
        return metric.name
    return to_snake_case(type(metric).__name__)


def _speaks_keras(metric: Any) -> bool:
    return hasattr(metric, "update_state")


def update_metric(metric: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
    """Add a batch to a metric of either kind, its arguments the right way round."""
    if _speaks_keras(metric):
        if sample_weight is None:
            metric.update_state(y_true, y_pred)
        else:
            metric.update_state(y_true, y_pred, sample_weight=sample_weight)
        return
    metric.to(y_pred.device)
    if not y_true.is_floating_point() or _wants_labels(metric):
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == y_pred.shape[-1] > 1:
            y_true = y_true.argmax(-1) if _wants_labels(metric) else y_true
        elif y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 != y_pred.shape[-1]:
            y_true = y_true.squeeze(-1)
        y_true = y_true.long()
    if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        y_true = y_true.unsqueeze(-1)
    metric.update(y_pred, y_true)


def _wants_labels(metric: Any) -> bool:
    return type(metric).__name__.startswith(("Multiclass", "Binary"))


def _result(metric: Any) -> Any:
    return metric.result() if _speaks_keras(metric) else metric.compute()
