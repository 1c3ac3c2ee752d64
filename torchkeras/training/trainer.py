"""`fit`, `evaluate` and `predict`, on one page: the life of a batch begins here."""

from __future__ import annotations

import contextlib
import inspect
import math
import operator
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import optimizers
from torchkeras._core import config, torch_private, tree
from torchkeras._core.errors import count
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras.callbacks import CallbackList, History
from torchkeras.layers.layer import Layer
from torchkeras.training.compiled import (
    CompiledLoss,
    CompiledMetrics,
    Logs,
    LossTracker,
    as_numbers,
    metrics_module,
)
from torchkeras.training.data import (
    ArrayBatches,
    Batches,
    StepIterator,
    as_batches,
    as_tensors,
    check_fraction,
    first_batch,
    split_rows,
    to_device,
    unpack_x_y_sample_weight,
    weigh_classes,
)
from torchkeras.training.validation import check_keys, check_targets

Step = Callable[[Any], Any]

#: What `make_train_function` and its kin make, before they did.
_NO_FUNCTIONS: dict[str, Any] = dict.fromkeys(
    ("train_function", "test_function", "predict_function")
)

#: What to do when the data of a training ends too early.
_BEGIN_AGAIN = (
    " Let the generator give steps_per_epoch * epochs batches, or pass arrays or a "
    "DataLoader, which begin again."
)

#: The arguments that say how many batches to use, by what the data is for.
_STEPS = {
    "training": "steps_per_epoch",
    "validation": "validation_steps",
    "evaluation": "steps",
}

#: Whom `evaluate` and `predict` tell of their progress when nobody is to hear of it.
_NOBODY = CallbackList()


class Trainer(Layer):
    """What makes a layer a model: `compile`, `fit`, `evaluate`, `predict`.

    A step is `train_step`, `test_step` or `predict_step`; one runner, `_run_epoch`,
    drives them all. Override a step, `compute_loss` or `compute_metrics` for training
    of your own.
    """

    optimizer: Any
    loss: Any
    stop_training: bool
    compiled: bool
    history: History | None
    run_eagerly: bool
    jit_compile: bool
    train_function: Step | None
    test_function: Step | None
    predict_function: Step | None
    _loss_modes: tuple[dict[str, bool], ...]
    _trained_parameters: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.compiled = False
        self.stop_training = False
        self.history = None
        self.optimizer = None
        self.loss = None
        self.__dict__.update(_NO_FUNCTIONS)
        self.__dict__["_compile_arguments"] = None

    # Binding

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how the model is trained.

        Args:
            optimizer: a name, a Keras-named object, or a `torch.optim` instance, class
                or partial.
            loss: a name, a Keras-named object, a function of ``(y_true, y_pred)``, or
                an `nn` loss; a list or a dict for several outputs.
            loss_weights: a factor for each output's loss.
            metrics: names, Keras-named or torchmetrics objects, or functions of
                ``(y_true, y_pred)``. ``"accuracy"`` picks binary, categorical or sparse
                from the shapes.
            weighted_metrics: metrics to which sample and class weights apply.
            run_eagerly: never compile.
            steps_per_execution: accepted; the loop has no cost that it would save.
            jit_compile: compile the forward pass and the loss with `torch.compile`;
                ``"auto"`` does not.
            auto_scale_loss: under ``mixed_float16``, scale the loss so that small
                gradients survive.

        Raises:
            ValueError: for an unknown name, with the closest known ones.

        Example:
            >>> from torchkeras.models import Sequential
            >>> from torchkeras.layers import Dense
            >>> model = Sequential([Dense(1)])
            >>> model.compile("sgd", "mse", metrics=["mae"])
        """
        compiled_loss = CompiledLoss(loss, loss_weights, self._output_names())
        compiled_metrics = CompiledMetrics(
            metrics, weighted_metrics, self._output_names(), compiled_loss
        )
        chosen = optimizers.get(optimizer)
        if isinstance(chosen, optimizers.TorchOptimizer):
            chosen.made_beside(self.parameters())
        scaled = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
        if scaled and not isinstance(chosen, optimizers.LossScaleOptimizer):
            chosen = optimizers.LossScaleOptimizer(chosen)
        # Set past nn.Module's bookkeeping: losses and metrics are modules, and theirs
        # are not weights of the model.
        self.__dict__.update(
            optimizer=chosen,
            loss=loss,
            compiled=True,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile is True and not run_eagerly,
            stop_training=False,
            _compiled_loss=compiled_loss,
            _compiled_metrics=compiled_metrics,
            _loss_tracker=LossTracker(),
            _compile_arguments={
                "optimizer": chosen,
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": bool(jit_compile is True),
            },
            _guards_loss=False,
            _compiled_gradients=self._first_gradients,
            _regularized=True,  # some weights may be, until it is known
            _weights_ready=None,
            _trained_parameters=[],
            _loss_modes=_loss_modes(self.compute_loss),
            _freezing_seen=None,
            **_NO_FUNCTIONS,
        )
        self.__dict__["_logs"] = Logs(self.get_metrics_result)

    def _output_names(self) -> Any:
        """Return the structure of the outputs with their names; None if unknown."""
        return None

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile` was called with, in Keras's JSON form."""
        return serialize_object(self._compile_arguments) if self.compiled else {}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as `get_compile_config` says."""
        if config.get("metrics") or config.get("weighted_metrics"):
            metrics_module()  # so that their names are known
        arguments = {k: deserialize_object(v) for k, v in config.items()}
        self.compile(**arguments)
        if self.built and self.trainable_weights:
            self._prepare_weights()

    def _require_compiled(self, caller: str) -> None:
        if not self.compiled:
            raise RuntimeError(
                f"{caller}: the model '{self.name}' is not compiled. Call "
                "`model.compile(optimizer=..., loss=...)` first."
            )

    def _prepare_weights(self) -> None:
        """Bind the optimizer to the weights, once they exist."""
        freezing = Layer.last_freezing
        if self._freezing_seen is freezing and self._weights_ready is not None:
            return
        self.__dict__["_freezing_seen"] = freezing
        trainable = self._trained_weights()
        trained = [id(tensor) for tensor in _trained_tensors(trainable)]
        if self._weights_ready == trained:
            return  # layers of another model were frozen
        if trainable:
            self.optimizer.bind(trainable)
        else:
            warnings.warn(
                f"The model '{self.name}' has no trainable weights: fit will change "
                "nothing. Set `trainable = True` on layers and compile again.",
                stacklevel=3,
            )
        self.__dict__.update(
            _weights_ready=trained,
            _trains=bool(trainable),
            _trained_parameters=self._free_parameters(),
            _regularized=[
                w for w in self.trainable_weights if w.regularizer is not None
            ],
            _constrained=[
                w for w in trainable if getattr(w, "constraint", None) is not None
            ],
        )
        jit = self.jit_compile and bool(trainable)
        self.__dict__["_compiled_gradients"] = (
            self._compile_gradients() if jit else None
        )

    def _free_parameters(self) -> list[Tensor]:
        return [p for p in self.parameters() if p.requires_grad]

    def _trained_weights(self) -> list[Any]:
        """Return what is trained: the weights, then parameters that no weight shows.

        Tools of torch (`weight_norm`, pruning, adapters) compute a weight from
        parameters of their own, which are trained in its place.
        """
        held = {id(p) for p in self.parameters()}

        def is_computed(weight: Any) -> bool:
            return any(t.requires_grad and id(t) not in held for t in weight.tensors)

        computed = {id(w): w for w in self.trainable_weights if is_computed(w)}
        lost = [w for w in computed.values() if w.constraint is not None]
        if lost:
            raise ValueError(
                f"The model '{self.name}': the weight {lost[0].path} has a constraint "
                "and is computed from other parameters, so the constraint cannot be "
                "assigned to it. Make its layer without the constraint."
            )
        whole = [w for w in self.weights if not is_computed(w)]
        shown = {id(t) for w in whole for t in w.tensors}
        hidden = [p for p in self._free_parameters() if id(p) not in shown]
        return [w for w in self.trainable_weights if not is_computed(w)] + hidden

    def _require_all_bound(self) -> None:
        """Refuse to go on with weights that came within an epoch, untrained."""
        now, bound = self._free_parameters(), self._trained_parameters
        same = len(now) == len(bound) and all(map(operator.is_, now, bound))
        if not same and not self._has_own_step:
            self.__dict__["_freezing_seen"] = None
            self._prepare_weights()

    # The steps

    def train_step(self, data: Any) -> Mapping[str, Any]:
        """Train on one batch and return logs; override it for training of your own.

        Args:
            data: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        gradients = self._compiled_gradients or self._gradients
        y_pred, loss = gradients(x, y, sample_weight)
        self._loss_tracker.update_state(loss, _rows(x))
        if self._guards_loss and not torch.isfinite(loss):
            self.stop_training = True  # before the update, so weights stay finite
        elif self._trains:
            self.optimizer.step()
            for weight in self._constrained:
                weight.assign(weight.constraint(weight.value.detach()))
        self.optimizer.zero_grad()
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> Mapping[str, Any]:
        """Evaluate one batch and return logs."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x)
        loss = self.compute_loss(x, y, y_pred, sample_weight, **self._loss_modes[0])
        self._loss_tracker.update_state(loss, _rows(x))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """Return the outputs of one batch."""
        return self(unpack_x_y_sample_weight(data)[0])

    # What the loops call with a list of one batch. As methods they survive `deepcopy`
    # and see a step that is replaced.

    def make_train_function(self, force: bool = False) -> Step:
        """Return what `fit` calls with each batch; override it for one of your own.

        Args:
            force: make it anew even if it was made since `compile`.

        Returns:
            A function of a list that holds one batch, kept as `train_function`. It
            returns logs.
        """
        return self._kept_function("train", force)

    def make_test_function(self, force: bool = False) -> Step:
        """Return what `evaluate` calls, as `make_train_function` does for `fit`.

        `evaluate` calls it under `torch.no_grad`, with the model in inference mode.

        Args:
            force: make it anew even if it was made since `compile`.
        """
        return self._kept_function("test", force)

    def make_predict_function(self, force: bool = False) -> Step:
        """Return what `predict` calls, as `make_train_function` does for `fit`.

        `predict` calls it under `torch.no_grad`, with the model in inference mode.

        Args:
            force: make it anew even if it was made since `compile`.
        """
        return self._kept_function("predict", force)

    def _kept_function(self, mode: str, force: bool) -> Step:
        if force or getattr(self, f"{mode}_function") is None:
            setattr(self, f"{mode}_function", getattr(self, f"_{mode}_on"))
        return getattr(self, f"{mode}_function")

    def _train_on(self, data: list[Any]) -> Any:
        return self.train_step(data[0])

    def _test_on(self, data: list[Any]) -> Any:
        return self.test_step(data[0])

    def _predict_on(self, data: list[Any]) -> Any:
        return self.predict_step(data[0])

    def _function_of(self, mode: str) -> Step:
        """Return the function of a mode, which an override returns or only keeps."""
        made = getattr(self, f"make_{mode}_function")()
        return made or getattr(self, f"{mode}_function")

    @property
    def _has_own_step(self) -> bool:
        own, base = type(self), Trainer
        return (own.train_step, own.make_train_function) != (
            base.train_step,
            base.make_train_function,
        )

    def _gradients(self, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Tensor]:
        """Return outputs and loss, and leave the gradients in ``.grad``."""
        y_pred = self(x)
        loss = self.compute_loss(x, y, y_pred, sample_weight, **self._loss_modes[1])
        if self._trains:
            self.optimizer.scale_loss(loss).backward()
        return y_pred, loss

    def _first_gradients(self, x: Any, y: Any, sample_weight: Any) -> Any:
        """Stand in for `_gradients` in a step that no `fit` has prepared."""
        if not self.built:
            self._build_on(x)
        self._prepare_weights()
        return (self._compiled_gradients or self._gradients)(x, y, sample_weight)

    def _compile_gradients(self) -> Callable[..., tuple[Any, Tensor]]:
        """Return `_gradients` as one compiled graph, forward and backward."""
        parameters = _trained_tensors(self._trained_weights())

        def forward_and_backward(x: Any, y: Any, sample_weight: Any) -> Any:
            y_pred = self(x)
            loss = self.compute_loss(x, y, y_pred, sample_weight, **self._loss_modes[1])
            scaled = self.optimizer.scale_loss(loss)
            gradients = torch.autograd.grad(scaled, parameters, allow_unused=True)
            return y_pred.detach(), loss.detach(), gradients

        compiled = torch.compile(forward_and_backward)

        def gradients(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Tensor]:
            with torch_private.backward_in_graph():  # the call compiles when it must
                y_pred, loss, values = compiled(x, y, sample_weight)
            for parameter, value in zip(parameters, values, strict=True):
                parameter.grad = value
            return y_pred, loss

        return gradients

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss of a batch: `compile`'s, `add_loss`'s and the penalties.

        Args:
            x: the inputs.
            y: the targets.
            y_pred: the outputs.
            sample_weight: a weight for each row.
            training: whether this is a training step.

        Raises:
            ValueError: when there is nothing to compute.
        """
        extra = self.losses if self._has_losses or self._regularized else ()
        extra = [term.sum() if getattr(term, "ndim", 0) else term for term in extra]
        if self._compiled_loss.spec is None or (y is None and extra):
            if not extra:
                raise ValueError(
                    f"The model '{self.name}' has no loss to compute: give `loss` to "
                    "`compile`, or call `add_loss` in a layer."
                )
            return sum(extra)  # type: ignore[return-value]
        if y is None:
            raise ValueError(
                "The loss needs targets, got y=None. Pass `y`, or batches of (x, y)."
            )
        loss = self._compiled_loss(y, y_pred, sample_weight)
        for term in extra:
            loss = loss + term
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Mapping[str, Any]:
        """Update the metrics by a batch and return logs, which compute when read."""
        self._compiled_metrics.update_state(y, y_pred, sample_weight)
        return self._logs.expire()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the value of the loss and of each metric, by name."""
        trackers = [self._loss_tracker, *self._compiled_loss.trackers]
        results = {t.name: t.result() for t in trackers}
        metrics = self._compiled_metrics.result()
        # Keras knows metrics of several outputs by no name, and sorts them.
        several = bool(self._compiled_loss.trackers)
        results.update(sorted(metrics.items()) if several else metrics)
        for metric in self._own_metrics():
            results[metric.name] = metric.result()
        return results

    @property
    def metrics(self) -> list[Any]:
        """The loss tracker, `compile`'s metrics as one, and the model's own."""
        if not self.compiled:
            return self._own_metrics()
        trackers = [self._loss_tracker, *self._compiled_loss.trackers]
        compiled = self._compiled_metrics
        bound = [compiled] if any(compiled.specs) else []
        return [*trackers, *bound, *self._own_metrics()]

    def _own_metrics(self) -> list[Any]:
        """Metrics that were assigned to attributes of the model or of its layers."""
        return super().metrics

    @property
    def metrics_names(self) -> list[str]:
        """The names in the logs."""
        return list(self.get_metrics_result())

    def reset_metrics(self) -> None:
        """Begin the loss and all metrics again."""
        for tracker in (self._loss_tracker, *self._compiled_loss.trackers):
            tracker.reset_state()
        self._compiled_metrics.reset_state()
        for metric in self._own_metrics():
            metric.reset_state()
        self._logs.expire()

    # Whole data sets

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
    ) -> History:
        """Train the model for a number of epochs.

        Args:
            x: arrays, tensors, a `Dataset`, a `DataLoader`, or a generator of batches.
            y: the targets, when `x` is arrays.
            batch_size: rows per batch; by default 32, or what `steps_per_epoch` batches
                need.
            epochs: the epoch to stop at.
            verbose: 0 silent, 1 a bar, 2 a line per epoch, ``"auto"``.
            callbacks: a list of callbacks.
            validation_split: the share of the last rows to validate on.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or batches.
            shuffle: whether arrays are permuted before each epoch.
            class_weight: a weight for each class.
            sample_weight: a weight for each row.
            initial_epoch: the epoch to begin at.
            steps_per_epoch: batches per epoch. Arrays and loaders begin again when they
                are used up; a generator ends the training, with a warning.
            validation_steps: batches to validate on.
            validation_batch_size: `batch_size` by default.
            validation_freq: validate every so many epochs, or after the epochs listed.

        Returns:
            The history, whose ``history`` holds a list of numbers for each log.

        Raises:
            RuntimeError: before `compile`.
            ValueError: for data that cannot be used; nothing was changed then.
        """
        self._require_compiled("fit")
        planned = _planned_epochs(initial_epoch, epochs)
        validation_freq = _frequency(validation_freq)
        fraction = check_fraction(validation_split, x)
        batch_size, steps_per_epoch, validation_steps, validation_batch_size = _counts(
            "fit",
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
        )
        batches = self._batches(
            "fit", x, y, sample_weight, batch_size, bool(shuffle), planned.start
        )
        self._require_rows("fit", batches, "training", steps_per_epoch)
        validation = self._validation_batches(
            validation_data, validation_batch_size or batch_size, validation_steps
        )
        if validation is None and fraction:
            batches, validation = batches.split(fraction)  # type: ignore[union-attr]
        if class_weight is not None:
            batches = batches.weigh(class_weight)
        _resize(batches, batch_size, steps_per_epoch)
        _resize(validation, validation_batch_size or batch_size, validation_steps)
        self._prepare("fit", batches, validation)
        steps_per_epoch = _limited_steps(steps_per_epoch, batches)
        callback_list = self._callback_list(
            callbacks, verbose, epochs=planned.stop, add_history=True,
            steps=steps_per_epoch or batches.num_batches,
        )  # fmt: skip
        validation_steps = _limited_steps(validation_steps, validation)
        rows, warned = None, False
        self.stop_training = False
        logs: dict[str, Any] = {}
        try:
            callback_list.on_train_begin()
            for epoch in planned:
                self.reset_metrics()
                self.optimizer.refresh()
                callback_list.on_epoch_begin(epoch)
                rows = _rows_of(batches, steps_per_epoch, batches.restarts, rows)
                self.train()
                trained = self._run_epoch(
                    "train", self._function_of("train"), rows, callback_list
                )
                if _ended(rows, steps_per_epoch, _BEGIN_AGAIN):
                    self.stop_training = True
                    if not trained:
                        break  # a used-up generator gives no epoch to record
                logs = trained
                warned = warned or _warn_if_nan(logs, epoch)
                if validation is not None and _is_due(validation_freq, epoch):
                    self.eval()
                    self.reset_metrics()
                    results = self._run_test(
                        validation, validation_steps, callback_list
                    )
                    logs.update({f"val_{k}": v for k, v in results.items()})
                callback_list.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
            callback_list.on_train_end(logs)
        finally:
            self.eval()
            self._guard_loss(False)
        self.optimizer.finalize_variable_values(self.trainable_weights)
        return self.history  # type: ignore[return-value]

    def _run_epoch(
        self,
        mode: str,
        step: Step,
        rows: Batches | StepIterator,
        callbacks: CallbackList,
    ) -> dict[str, Any]:
        """Run a step on every batch; the only loop over batches there is."""
        begin, end = callbacks.batch_hooks(mode)
        logs: Any = {}
        rows.begin_epoch()
        for index, data in enumerate(rows):
            for hook in begin:
                hook(index, {})
            logs = step([data])
            for hook in end:
                hook(index, logs)
            if self.stop_training and mode == "train":
                break
        rows.end_epoch()
        if mode == "train":
            self._require_all_bound()
        return dict(sorted(as_numbers(logs).items())) if mode != "predict" else {}

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the metrics on a data set.

        Args:
            x: as for `fit`.
            y: the targets, when `x` is arrays.
            batch_size: rows per batch; by default 32, or what `steps` batches need.
            verbose: 0 silent, 1 a bar, 2 a line, ``"auto"``.
            sample_weight: a weight for each row.
            steps: the number of batches to use.
            callbacks: a list of callbacks.
            return_dict: return a dict rather than a list.
            **kwargs: none; named in the error.

        Returns:
            The loss alone where there are no metrics, else a list, or a dict.
        """
        self._require_compiled("evaluate")
        _refuse_keywords("evaluate", kwargs)
        batch_size, steps = _counts("evaluate", batch_size=batch_size, steps=steps)
        batches = self._batches("evaluate", x, y, sample_weight, batch_size)
        self._require_rows("evaluate", batches, "evaluation", steps)
        _resize(batches, batch_size, steps)
        self._prepare("evaluate", batches)
        steps = _limited_steps(steps, batches)
        callback_list = self._callback_list(
            callbacks, verbose, epochs=1, steps=steps or batches.num_batches
        )
        self.reset_metrics()
        with self._mode(False):
            results = self._run_test(batches, steps, callback_list)
        if return_dict:
            return results
        ordered = [results[k] for k in self.get_metrics_result() if k in results]
        ordered = ordered or list(results.values())
        return ordered[0] if len(ordered) == 1 else ordered

    def _run_test(
        self, batches: Batches, steps: int | None, callbacks: CallbackList
    ) -> dict[str, Any]:
        callbacks.on_test_begin()
        rows = _rows_of(batches, steps, restarts=False)
        with torch.no_grad():
            logs = self._run_epoch("test", self._function_of("test"), rows, callbacks)
        _ended(rows, steps)
        callbacks.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for a data set as NumPy arrays.

        Args:
            x: as for `fit`; batches may be ``x`` or ``(x, y)``.
            batch_size: rows per batch; by default 32, or what `steps` batches need.
            verbose: 0 silent, 1 a bar, 2 a line, ``"auto"``.
            steps: the number of batches to use.
            callbacks: a list of callbacks.

        Shape:
            The outputs of all batches, joined along the first axis.
        """
        batch_size, steps = _counts("predict", batch_size=batch_size, steps=steps)
        batches = self._batches("predict", x, None, None, batch_size)
        _require_end("predict", "steps", steps, batches)
        self._check_keys("predict", batches)
        _resize(batches, batch_size, steps)
        rows_at_once = None
        if isinstance(batches, ArrayBatches):
            if batches.num_rows == 0:
                return self._empty_outputs(batches)
            if callbacks is None and batches.num_rows > 1:
                rows_at_once = self._cached_rows(batches)
        steps = _limited_steps(steps, batches)
        callback_list = self._callback_list(
            callbacks, verbose, epochs=1, steps=steps or batches.num_batches
        )
        outputs: list[Any] = []
        predict = self._function_of("predict")

        def step(data: list[Any]) -> Mapping[str, Any]:
            parts = data if rows_at_once is None else split_rows(data[0], rows_at_once)
            outputs.extend(predict([part]) for part in parts)
            return {"outputs": outputs[-1]}

        with self._mode(False), torch.no_grad():
            callback_list.on_predict_begin()
            rows = _rows_of(batches, steps, restarts=False)
            self._run_epoch("predict", step, rows, callback_list)
            _ended(rows, steps)
            callback_list.on_predict_end()
        if not outputs:
            raise ValueError(
                "predict: the data gave no batches, so nothing to predict."
            )
        return tree.map_structure(_joined, *outputs)

    def _empty_outputs(self, batches: ArrayBatches) -> Any:
        """Return outputs for no rows, of the right shapes and dtypes."""
        one = tree.map_structure(
            lambda t: t.new_zeros((1, *t.shape[1:])), batches.arrays[0]
        )
        with self._mode(False), torch.no_grad():
            outputs = self._function_of("predict")([(to_device(one, batches.device),)])
        return tree.map_structure(lambda t: t[:0].cpu().numpy(), outputs)

    def _cached_rows(self, batches: ArrayBatches) -> int | None:
        """Return how many rows at once keep their activations in the processor's cache.

        None where a whole batch does, or nothing is known.
        """
        return None

    # Single batches

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch and return its loss and metrics.

        Args:
            x: the inputs.
            y: the targets.
            sample_weight: a weight for each row.
            class_weight: a weight for each class.
            return_dict: return a dict rather than a list.
        """
        self._require_compiled("train_on_batch")
        if class_weight is not None:
            sample_weight = weigh_classes(
                as_tensors("y", y), as_tensors("sample_weight", sample_weight),
                class_weight,
            )  # fmt: skip
        data = self._one_batch("train_on_batch", x, y, sample_weight)
        self.reset_metrics()
        with self._mode(True):
            return _as_result(self._function_of("train")([data]), return_dict)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Evaluate one batch and return its loss and metrics.

        Args:
            x: the inputs.
            y: the targets.
            sample_weight: a weight for each row.
            return_dict: return a dict rather than a list.
        """
        self._require_compiled("test_on_batch")
        data = self._one_batch("test_on_batch", x, y, sample_weight)
        self.reset_metrics()
        with self._mode(False), torch.no_grad():
            return _as_result(self._function_of("test")([data]), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as NumPy arrays.

        Args:
            x: the inputs.
        """
        x = to_device(as_tensors("x", x), self._device())
        with self._mode(False), torch.no_grad():
            outputs = self._function_of("predict")([(x,)])
        return tree.map_structure(lambda t: t.cpu().numpy(), outputs)

    def _one_batch(self, caller: str, x: Any, y: Any, sample_weight: Any) -> Any:
        batches = self._batches(caller, x, y, sample_weight)
        self._require_rows(caller, batches, "training", steps=1)
        if isinstance(batches, ArrayBatches):
            batches.batch_size = batches.num_rows
        self._prepare(caller, batches)
        return next(iter(batches))

    # Data, modes, callbacks

    def _batches(
        self,
        caller: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        epoch: int = 0,
    ) -> Batches:
        if x is None:
            raise ValueError(f"{caller}: `x` must be given, got None.")
        return as_batches(
            x,
            y,
            sample_weight,
            device=self._device(),
            batch_size=batch_size,
            shuffle=shuffle,
            epoch=epoch,
            caller=caller,
        )

    def _validation_batches(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Batches | None:
        if data is None:
            return None
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        batches = self._batches("fit", x, y, sample_weight, batch_size)
        self._require_rows("fit", batches, "validation", steps)
        return batches

    def _device(self) -> torch.device:
        for parameter in self.parameters():
            return parameter.device
        return config.default_device()

    def _require_rows(
        self, caller: str, batches: Batches, use: str, steps: int | None
    ) -> None:
        _require_end(caller, _STEPS[use], steps, batches)
        empty = (
            batches.num_rows == 0
            if isinstance(batches, ArrayBatches)
            else batches.first() is None
        )
        if empty:
            raise ValueError(
                f"{caller}: the {use} data has no samples; at least one is needed."
            )

    def _prepare(
        self, caller: str, batches: Batches, validation: Batches | None = None
    ) -> None:
        """Build what is not built, bind the optimizer, and look at the targets."""
        if not self.built and self._is_ready_inside():
            self._finish_build({})
        if self.built:
            self._check_keys(caller, batches)
        if not self._is_built_inside():
            batch = first_batch(batches)
            self._build_on(batch[0])  # type: ignore[index]
            if isinstance(batches, ArrayBatches):
                batches.device = self._device()
        # Nothing tells of a parameter's `requires_grad`: look again.
        self.__dict__["_freezing_seen"] = None
        self._prepare_weights()
        if type(self).compute_loss is Trainer.compute_loss:
            for part in (batches, validation):
                if part is not None:
                    check_targets(self, part, self._compiled_loss)

    @property
    def first_layer(self) -> Any:
        """The layer that gets the inputs as they are; None where it is not known."""
        return None

    @property
    def input_keys(self) -> list[str] | None:
        """The keys of the inputs of a model that was built on a dict, else None."""
        shapes = (self._build_shapes or {}).get("input_shape")
        return sorted(shapes) if isinstance(shapes, dict) else None

    def _check_keys(self, caller: str, batches: Batches) -> None:
        if self.built and (keys := self.input_keys):
            batch = first_batch(batches)
            check_keys(f"{caller}: the model '{self.name}'", keys, batch and batch[0])

    def _is_ready_inside(self) -> bool:
        """Say whether a model with a step of its own has nothing left to build.

        Its data need not be what its `call` takes: a GAN's are images.
        """
        inner = [m for m in self.modules() if isinstance(m, Layer) and m is not self]
        return (
            self._has_own_step and bool(inner) and all(layer.built for layer in inner)
        )

    def _is_built_inside(self) -> bool:
        """Say whether no layer that a step may call makes its weights only then."""
        inside = (m.built for m in self.modules() if isinstance(m, Layer))
        return self.built and (self._has_own_step or all(inside))

    def _build_on(self, x: Any) -> None:
        """Make the weights by a run on a batch, with nothing else changed."""
        with self._mode(False), torch.no_grad():
            self(x)
        if not self._is_built_inside():  # a layer may be called in training alone
            buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
            with self._mode(True), torch.no_grad(), torch.random.fork_rng():
                self(x)
            for buffer, before in buffers:
                buffer.copy_(before)

    @contextlib.contextmanager
    def _mode(self, training: bool) -> Generator[None]:
        """Set training or inference mode for a while."""
        before = self.training
        if before != training:
            self.train(training)
        try:
            yield
        finally:
            if before != training:
                self.train(before)

    def _guard_loss(self, active: bool) -> None:
        self.__dict__["_guards_loss"] = active

    def _callback_list(
        self,
        callbacks: Any,
        verbose: int | str,
        add_history: bool = False,
        **params: Any,
    ) -> CallbackList:
        if isinstance(callbacks, CallbackList):
            return callbacks
        if callbacks is None and verbose == 0 and not add_history:
            return _NOBODY
        made = CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            **params,
        )
        if add_history:  # for `fit`, in which `evaluate` may be called
            # A step of the user's own does not look at the loss: the callback does.
            wanted = any(getattr(c, "guards_loss", False) for c in made.callbacks)
            self._guard_loss(wanted and not self._has_own_step)
        return made


def _loss_modes(compute_loss: Callable[..., Any]) -> tuple[dict[str, bool], ...]:
    """Return the arguments that say the mode to `compute_loss`: outside, in training.

    One that was written for a Keras before 3.3 does not take any.
    """
    parameters = inspect.signature(compute_loss).parameters.values()
    takes = any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
    return ({"training": False}, {"training": True}) if takes else ({}, {})


def _trained_tensors(weights: list[Any]) -> list[Tensor]:
    """Return the tensors that weights are made of, those that are trained."""
    tensors = [t for weight in weights for t in getattr(weight, "tensors", (weight,))]
    return [tensor for tensor in dict.fromkeys(tensors) if tensor.requires_grad]


def _rows(x: Any) -> int:
    if isinstance(x, Tensor):
        return x.shape[0]
    return next((len(t) for t in tree.flatten(x) if isinstance(t, Tensor)), 1)


def _rows_of(
    batches: Batches, steps: int | None, restarts: bool, before: Any = None
) -> Any:
    """Return what one epoch or one pass iterates over.

    Args:
        batches: the data.
        steps: how many batches to use.
        restarts: whether the data may begin again; a pass uses no row twice.
        before: what the epoch before iterated over.
    """
    if steps is None and batches.restarts:
        return batches
    unfinished = before.unfinished if isinstance(before, StepIterator) else None
    return StepIterator(batches, steps or 2**62, restarts, unfinished)


def _resize(batches: Batches | None, batch_size: int | None, steps: int | None) -> None:
    """Give arrays the batch size that was asked for, or that makes so many batches."""
    if isinstance(batches, ArrayBatches):
        batches.resize(batch_size, steps)


def _ended(rows: Any, steps: int | None, advice: str = "") -> bool:
    """Say whether the data gave fewer batches than were asked for, and warn."""
    if not isinstance(rows, StepIterator) or rows.given >= (steps or 1):
        return False
    wanted = "" if steps is None else f" of {steps}"
    message = f"The data ended after {rows.given}{wanted} batches.{advice}"
    warnings.warn(message, stacklevel=3)
    return True


def _warn_if_nan(logs: Mapping[str, Any], epoch: int) -> bool:
    names = [k for k, v in logs.items() if "loss" in k and isinstance(v, float)]
    wrong = [k for k in names if not math.isfinite(logs[k])]
    if not wrong:
        return False
    warnings.warn(
        f"In epoch {epoch + 1} {', '.join(wrong)} is {logs[wrong[0]]}. Lower the "
        "learning rate, look for NaN in the data, or stop early with the "
        "TerminateOnNaN callback.",
        stacklevel=3,
    )
    return True


def _frequency(validation_freq: Any) -> int | frozenset[int]:
    """Return the epochs between two validations, or the epochs that end with one."""
    if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
        return frozenset(
            count("fit", f"validation_freq[{i}]", epoch)
            for i, epoch in enumerate(validation_freq)
        )
    return count("fit", "validation_freq", validation_freq)


def _is_due(frequency: int | frozenset[int], epoch: int) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def _counts(caller: str, **arguments: Any) -> list[int | None]:
    """Return arguments that count something and may be left out, checked."""
    return [
        None if value is None else count(caller, name, value)
        for name, value in arguments.items()
    ]


def _require_end(
    caller: str, argument: str, steps: int | None, batches: Batches
) -> None:
    if steps is None and batches.is_endless:
        raise ValueError(
            f"{caller}: the data set has no end (its `num_batches` is None), so "
            f"`{argument}` must say how many batches to use."
        )


def _planned_epochs(first: Any, end: Any) -> range:
    """Return the epochs to train, of which a limit may leave out the last ones."""
    first = count("fit", "initial_epoch", first, least=0)
    end = count("fit", "epochs", end, least=0)
    limit = config.max_epochs()
    if limit is None or end <= limit:
        return range(first, end)
    warnings.warn(f"Limiting epochs to {limit}: see `set_max_epochs`.", stacklevel=3)
    return range(first, limit)


def _limited_steps(steps: int | None, batches: Batches | None) -> int | None:
    """Return the number of batches to use, which a limit may lower."""
    limit = config.max_steps_per_epoch()
    if limit is None or batches is None:
        return steps
    planned = steps or batches.num_batches
    if planned is not None and planned <= limit:
        return steps
    message = f"Limiting the batches of an epoch to {limit}: see "
    warnings.warn(f"{message}`set_max_steps_per_epoch`.", stacklevel=3)
    return limit


def _refuse_keywords(caller: str, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise ValueError(f"{caller}: unknown argument(s) {sorted(kwargs)}.")


def _joined(*parts: Any) -> Any:
    if not isinstance(parts[0], Tensor):
        return np.concatenate([np.asarray(p) for p in parts])
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return (
        whole.cpu().numpy()
        if whole.dtype != torch.bfloat16
        else whole.float().cpu().numpy()
    )


def _as_result(logs: Mapping[str, Any], return_dict: bool) -> Any:
    numbers = as_numbers(logs)
    if return_dict:
        return numbers
    values = list(numbers.values())
    return values[0] if len(values) == 1 else values
