"""What `compile` binds: a loss over the outputs, metrics, and the logs they give.

Values accumulate on the device. A number is computed only when somebody reads it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import losses
from torchkeras._core import tree
from torchkeras._core.errors import did_you_mean
from torchkeras._core.naming import to_snake_case

#: Outputs with at most this many values are kept for some steps, so that their metrics
#: are updated in one go: there the cost of an update is Python, not arithmetic.
_SMALL_OUTPUT = 16_384
_PENDING = 64
#: Loss values are summed when this many have come.
_LOSSES = 256

Output = str | int | None


class Logs(MutableMapping[str, Any]):
    """The numbers of a step or an epoch, computed when the first of them is read.

    What is set lasts until the next step.

    Args:
        compute: gives the numbers.

    Example:
        >>> logs = Logs(lambda: {"loss": 0.5})
        >>> logs["loss"], dict(logs)
        (0.5, {'loss': 0.5})
    """

    def __init__(self, compute: Callable[[], Mapping[str, Any]]) -> None:
        self._compute = compute
        self._values: dict[str, Any] | None = None

    def expire(self) -> Logs:
        """Forget the numbers, because something was added to them."""
        self._values = None
        return self

    def _read(self) -> dict[str, Any]:
        if self._values is None:
            self._values = as_numbers(self._compute())
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._read()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def copy(self) -> dict[str, Any]:
        """Return the numbers as a dict of their own."""
        return dict(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


def as_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn results into Python floats, arrays into lists, nested dicts into flat."""
    numbers: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers.update(as_numbers(value))
        elif isinstance(value, Tensor):
            value = value.detach()
            numbers[name] = value.item() if value.numel() == 1 else value.tolist()
        else:
            numbers[name] = float(value) if hasattr(value, "__float__") else value
    return numbers


class LossTracker:
    """The mean of a loss over the samples seen, kept on the device.

    Args:
        name: the name in the logs.
    """

    def __init__(self, name: str = "loss") -> None:
        self.name = name
        self.reset_state()

    def reset_state(self) -> None:
        """Begin again."""
        self._values: list[Tensor] = []
        self._counts: list[int] = []
        self._total: Tensor | float = 0.0
        self._count = 0

    def update_state(self, loss: Tensor, count: int = 1) -> None:
        """Add the mean loss of `count` samples."""
        self._values.append(loss.detach())
        self._counts.append(count)
        if len(self._values) >= _LOSSES:
            self._fold()

    def _fold(self) -> None:
        values = torch.stack(self._values)
        wide = values if values.device.type == "mps" else values.double()
        counts = torch.tensor(self._counts, dtype=wide.dtype).to(wide.device)
        self._total = self._total + torch.dot(wide, counts)
        self._count += sum(self._counts)
        self._values, self._counts = [], []

    def result(self) -> Tensor | float:
        """Return the mean; 0 before any loss came."""
        if self._values:
            self._fold()
        return self._total / max(self._count, 1)

    def __repr__(self) -> str:
        return f"<LossTracker name={self.name}>"


def by_output(
    argument: str, spec: Any, names: Sequence[Output], nested: bool
) -> list[Any]:
    """Share a `compile` argument out among the outputs.

    Args:
        argument: the argument's name, for messages.
        spec: one value for all, a list by position or a dict by name.
        names: the names of the outputs.
        nested: whether a list belongs to one output (metrics) or to all (losses).

    Raises:
        ValueError: when the list is of another length, or a name is unknown.
    """
    if isinstance(spec, Mapping):
        unknown = [key for key in spec if key not in names]
        if unknown:
            raise ValueError(
                f"compile: `{argument}` has keys {unknown} that are no outputs. The "
                f"outputs are {list(names)}."
            )
        return [spec.get(name) for name in names]
    listed = isinstance(spec, (list, tuple))
    if listed and len(spec) == len(names) == 1 and isinstance(spec[0], (list, tuple)):
        return list(spec)  # a list for each of one output
    if listed and (len(names) > 1 or not nested):
        if len(spec) != len(names):
            raise ValueError(
                f"compile: `{argument}` has {len(spec)} entries for {len(names)} "
                f"output(s) {list(names)}. Give one for each output."
            )
        return list(spec)
    if argument == "loss" and spec is not None and len(names) > 1:
        return [spec] * len(names)
    return [spec] + [None] * (len(names) - 1) if nested else [spec] * len(names)


class TorchLoss(losses.Loss):
    """A torch loss, ``(input, target)``, with Keras's call, ``(y_true, y_pred)``.

    Args:
        loss: an `nn` loss or a function of `torch.nn.functional`.
    """

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        name = getattr(loss, "__name__", type(loss).__name__)
        super().__init__(name=to_snake_case(name))
        # Kept out of `_modules`: the loss is the user's, the model does not own it.
        self.__dict__["loss"] = loss
        self._takes_labels = isinstance(
            loss, (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
        ) or name in ("cross_entropy", "nll_loss", "multi_margin_loss")

    def forward(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Any:
        loss = self.__dict__["loss"](y_pred, self._target(y_true, y_pred))
        if sample_weight is None:
            return loss if loss.ndim == 0 else loss.mean()
        if loss.ndim == 0:
            raise ValueError(
                f"The torch loss {self.name} returns one number, so `sample_weight` "
                "and `class_weight` cannot be applied. Make it with reduction='none'."
            )
        weight = sample_weight.reshape(sample_weight.shape[0], *[1] * (loss.ndim - 1))
        return (loss * weight).mean()

    def _target(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self._takes_labels and y_true.shape != y_pred.shape:
            if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
                y_true = y_true.squeeze(-1)
            return y_true.long()
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true.unsqueeze(-1)
        return y_true if y_true.is_complex() else y_true.to(y_pred.dtype)


def get_loss(spec: Any, y_true: Any, y_pred: Any) -> losses.Loss | None:
    """Return the loss that a `compile` argument means for these targets."""
    if spec is None:
        return None
    if isinstance(spec, str) and spec.lower() in ("crossentropy", "ce"):
        spec = _classification_kind(y_true, y_pred) + "_crossentropy"
    name = spec if isinstance(spec, str) else None
    loss = losses.get(spec)
    if isinstance(loss, losses.Loss):
        return loss
    if isinstance(loss, nn.Module) or getattr(loss, "__module__", "") in (
        "torch.nn.functional",
        "torch._C._nn",
    ):
        return TorchLoss(loss)
    return losses.LossFunctionWrapper(loss, name=name or _name_of(loss))


def _name_of(function: Any) -> str:
    function = function.func if isinstance(function, functools.partial) else function
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
        output_names: the names of the model's outputs, if known.
    """

    def __init__(
        self, loss: Any, loss_weights: Any, output_names: Sequence[str] | None = None
    ) -> None:
        if loss is not None and not isinstance(loss, (list, tuple, Mapping)):
            _ = loss if callable(loss) else losses.get(loss)  # a typo is found here
        if output_names:
            for argument, given in (("loss", loss), ("loss_weights", loss_weights)):
                if isinstance(given, (Mapping, list, tuple)):
                    by_output(argument, given, output_names, nested=False)
        self.spec = loss
        self.weights = loss_weights
        self.output_names = output_names
        self.trackers: list[LossTracker] = []
        self._terms: list[tuple[int, losses.Loss, float]] | None = None
        self._single: losses.Loss | None = None

    def bind(self, y_true: Any, y_pred: Any) -> None:
        """Choose the loss of each output, once its shape is known."""
        targets, outputs, names = _flatten(y_true, y_pred, self.output_names)
        specs = by_output("loss", self.spec, names, nested=False)
        weights = by_output("loss_weights", self.weights, names, nested=False)
        terms: list[tuple[int, losses.Loss, float]] = []
        for index, (spec, weight) in enumerate(zip(specs, weights, strict=True)):
            if spec is not None and targets[index] is None:
                raise ValueError(
                    f"The output '{names[index]}' has a loss and no target. Give a "
                    f"target for each of {names}, or no loss for this one."
                )
            loss = get_loss(spec, targets[index], outputs[index])
            if loss is not None:
                terms.append((index, loss, 1.0 if weight is None else weight))
        self._terms = terms
        if len(names) == 1 and self._terms and self._terms[0][2] == 1.0:
            self._single = self._terms[0][1]
        if len(names) > 1:
            self.trackers = [LossTracker(f"{names[i]}_loss") for i, *_ in self._terms]

    @property
    def single(self) -> losses.Loss | None:
        """The loss, where there is one output and one loss."""
        return self._single

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the total loss of a batch."""
        if self._terms is None:
            self.bind(y_true, y_pred)
        if self._single is not None:
            # A model of one output may still give it, or be given targets, in a list.
            if type(y_pred) is not Tensor or type(y_true) is not Tensor:
                y_pred, y_true = tree.flatten(y_pred)[0], tree.flatten(y_true)[0]
                sample_weight = next(iter(tree.flatten(sample_weight)), None)
            return self._single(y_true, y_pred, sample_weight)
        targets, outputs, names = _flatten(y_true, y_pred, self.output_names)
        weights = _weights_by_output(sample_weight, names)
        total: Any = 0.0
        for position, (index, loss, weight) in enumerate(self._terms or ()):
            value = loss(targets[index], outputs[index], weights[index])
            if self.trackers:
                self.trackers[position].update_state(value, len(outputs[index]))
            total = total + value * weight
        return total


def _flatten(
    y_true: Any, y_pred: Any, names: Sequence[str] | None
) -> tuple[list[Any], list[Any], list[Output]]:
    """Return targets, outputs and names of the outputs in one order."""
    if isinstance(y_pred, Mapping):
        keys: list[Output] = list(y_pred)
        targets = _by_name(y_true, keys) if isinstance(y_true, Mapping) else None
        return targets or tree.flatten(y_true), [y_pred[k] for k in keys], keys
    outputs = tree.flatten(y_pred)
    keys = list(names) if names and len(names) == len(outputs) else []
    keys = keys or [f"output_{i}" for i in range(len(outputs))]
    if isinstance(y_true, Mapping):
        return _by_name(y_true, keys), outputs, keys
    targets = tree.flatten(y_true)
    if len(targets) != len(outputs):
        raise ValueError(
            f"The model has {len(outputs)} output(s), the data {len(targets)} "
            "target(s). Give one target for each output."
        )
    return targets, outputs, keys


def _by_name(y_true: Mapping[Any, Any], names: list[Output]) -> list[Any]:
    """Return the targets of the outputs, None for one that has no target."""
    if unknown := [key for key in y_true if key not in names]:
        raise ValueError(
            f"The targets have keys {unknown} that are no outputs."
            f"{did_you_mean(unknown[0], map(str, names))} The outputs are {names}."
        )
    return [y_true.get(name) for name in names]


def _weights_by_output(sample_weight: Any, names: Sequence[Output]) -> list[Any]:
    if isinstance(sample_weight, Mapping):
        return [sample_weight.get(name) for name in names]
    if isinstance(sample_weight, (list, tuple)):
        return list(sample_weight)
    return [sample_weight] * len(names)


class CompiledMetrics:
    """The metrics of a model, chosen when the first outputs are seen.

    Args:
        metrics: `compile`'s argument.
        weighted_metrics: `compile`'s argument.
        output_names: the names of the model's outputs, if known.
    """

    def __init__(
        self,
        metrics: Any,
        weighted_metrics: Any,
        output_names: Sequence[str] | None = None,
    ) -> None:
        for argument, spec in (
            ("metrics", metrics),
            ("weighted_metrics", weighted_metrics),
        ):
            _check_metrics(argument, spec)
        self.specs = (metrics, weighted_metrics)
        self.output_names = output_names
        self._bound: list[tuple[int, str, Any, bool]] | None = None
        self._pending: list[tuple[Any, Any, Any]] = []
        self._can_wait = False
        if not metrics and not weighted_metrics:
            self._bound = []

    def bind(self, y_true: Any, y_pred: Any) -> None:
        """Choose the metrics of each output, once its shape is known."""
        targets, outputs, names = _flatten(y_true, y_pred, self.output_names)
        several = len(names) > 1
        self._bound = []
        for argument, spec in zip(
            ("metrics", "weighted_metrics"), self.specs, strict=True
        ):
            if isinstance(spec, (list, tuple)) and several and len(spec) != len(names):
                spec = [spec, *[None] * (len(names) - 1)]
            shared = by_output(argument, spec, names, nested=True)
            for index, own in enumerate(shared):
                own = own if isinstance(own, (list, tuple)) else [own]
                for identifier in own:
                    if identifier is None:
                        continue
                    metric = get_metric(identifier, targets[index], outputs[index])
                    weighted = argument == "weighted_metrics"
                    prefix = f"{names[index]}_" if several else ""
                    name = _metric_name(identifier, metric)
                    if isinstance(identifier, str):
                        metric.name = name  # as in Keras; callbacks look it up
                    name = self._log_name(prefix, name, weighted)
                    self._bound.append((index, name, metric, weighted))
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
        if not self._bound:
            if self._bound is not None:
                return
            self.bind(y_true, y_pred)
        if self._can_wait and type(y_pred) is Tensor and self._may_wait(y_pred):
            self._pending.append((y_true, y_pred.detach(), sample_weight))
            if len(self._pending) >= _PENDING:
                self.flush()
            return
        self.flush()
        self._update_now(y_true, y_pred, sample_weight)

    def _may_wait(self, y_pred: Tensor) -> bool:
        return y_pred.numel() <= _SMALL_OUTPUT and not hasattr(y_pred, "_keras_mask")

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
        targets, outputs, names = _flatten(y_true, y_pred, self.output_names)
        weights = _weights_by_output(sample_weight, names)
        for index, _, metric, weighted in self._bound or ():
            weight = weights[index] if weighted else None
            update_metric(metric, targets[index], outputs[index], weight)

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


def _check_metrics(argument: str, spec: Any) -> None:
    if spec is not None and not isinstance(spec, (list, tuple, Mapping)):
        raise ValueError(
            f"compile: `{argument}` must be a list, a tuple or a dict, got {spec!r}. "
            f"Write {argument}=[{spec!r}]."
        )
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
    elif isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        identifier = _classification_kind(y_true, y_pred) + "_crossentropy"
    metric = module.get(identifier)
    if hasattr(metric, "update_state") or hasattr(metric, "update"):
        return metric
    return module.MeanMetricWrapper(metric, name=_name_of(metric))


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
