"""`fit`, `evaluate` and `predict`, on one page: the life of a batch begins here."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import optimizers
from torchkeras._core import config, gate, tree, turns
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras._core.symbolic import symbolic_leaves
from torchkeras._core.typing import FactorsLike, LossLike, MetricsLike
from torchkeras.callbacks import Callback, CallbackList, History
from torchkeras.layers._state import first_parameter, layers_in
from torchkeras.layers.core import Embedding
from torchkeras.layers.layer import Layer
from torchkeras.optimizers.wrapped import OptimizerLike
from torchkeras.training import modes
from torchkeras.training.arguments import checked
from torchkeras.training.arrays import (
    ClassWeights,
    as_tensors,
    num_samples,
    pack_x_y_sample_weight,
    present,
    split_samples,
    to_device,
    unpack_x_y_sample_weight,
)
from torchkeras.training.compiled import Compiled, trained_weights
from torchkeras.training.data import NAMES, Batches, as_batches, check_fraction
from torchkeras.training.logs import as_numbers
from torchkeras.training.objective import (
    CompiledLoss,
    CompiledMetrics,
    metrics_module,
)
from torchkeras.training.passes import Pass
from torchkeras.training.validation import (
    HostChecks,
    Seen,
    check_alike,
    check_indices,
    check_keys,
    may_take_labels,
    targets_of,
    unpack_validation_data,
    watched,
)

Step = Callable[[Any], Any]

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
    "prediction": "steps",
}

#: What the parts of `validation_data` are called in messages.
_VALIDATION_NAMES = ("validation_data[0]", "validation_data[1]", "validation_data[2]")

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
    steps_per_execution: int
    #: What `make_train_function` and its kin made since `compile`.
    train_function: Step | None
    test_function: Step | None
    predict_function: Step | None
    _compiled: Compiled | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.compiled = False
        self.stop_training = False
        self.history = None
        self.optimizer = None
        self.loss = None
        self.train_function = self.test_function = self.predict_function = None
        self._compiled = None

    # Binding

    def compile(
        self,
        optimizer: OptimizerLike = "rmsprop",
        loss: LossLike = None,
        loss_weights: FactorsLike = None,
        metrics: MetricsLike = None,
        weighted_metrics: MetricsLike = None,
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
            TypeError: for what is no optimizer, loss, metric or weight, with its place.
            ValueError: for an unknown name, with the closest known ones.

        Example:
            >>> from torchkeras.models import Sequential
            >>> from torchkeras.layers import Dense
            >>> model = Sequential([Dense(1)])
            >>> model.compile("sgd", "mse", metrics=["mae"])
        """
        given = checked("compile", locals())
        names = self._output_names()
        objective = CompiledLoss(loss, loss_weights, names)
        measures = CompiledMetrics(metrics, weighted_metrics, names, objective)
        chosen = given.optimizer
        if isinstance(chosen, optimizers.TorchOptimizer):
            chosen.made_beside(self.parameters())
        scaled = given.auto_scale_loss and self.dtype_policy.name == "mixed_float16"
        if scaled and not isinstance(chosen, optimizers.LossScaleOptimizer):
            chosen = optimizers.LossScaleOptimizer(chosen)
        arguments = {
            "optimizer": chosen,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": given.run_eagerly,
            "steps_per_execution": given.steps_per_execution,
            "jit_compile": given.jit_compile is True,
        }
        jit = given.jit_compile is True and not given.run_eagerly
        jit = jit and not self._warned_of_host()
        # Set past nn.Module's bookkeeping: losses and optimizers may be modules, and
        # theirs are not weights of the model.
        self.__dict__.update(optimizer=chosen, loss=loss)
        self.compiled = True
        self.stop_training = False
        self.run_eagerly, self.jit_compile = given.run_eagerly, jit
        self.steps_per_execution = given.steps_per_execution
        self.train_function = self.test_function = self.predict_function = None
        self._compiled = Compiled(self, objective, measures, arguments, jit)

    def _warned_of_host(self) -> bool:
        """Say, with a warning, whether a layer computes what no graph can hold."""
        for layer in layers_in(self):
            if layer.computes_on_host:
                warnings.warn(
                    f"compile: jit_compile=True is left out: the layer '{layer.name}' "
                    f"({type(layer).__name__}) computes on the host. Map the data with "
                    "it before, and compile the rest of the model.",
                    stacklevel=3,
                )
                return True
        return False

    def _output_names(self) -> Any:
        """Return the structure of the outputs with their names; None if unknown."""
        return None

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile` was called with, in Keras's JSON form."""
        return serialize_object(self._compiled.arguments) if self._compiled else {}

    @gate.takes_whole_config
    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as `get_compile_config` says."""
        if config.get("metrics") or config.get("weighted_metrics"):
            metrics_module()  # so that their names are known
        arguments = {k: deserialize_object(v) for k, v in config.items()}
        self.compile(**arguments)
        if self.built and self.trainable_weights:
            self._require_compiled("compile_from_config").bind(self)

    def _require_compiled(self, caller: str) -> Compiled:
        if self._compiled is None:
            raise RuntimeError(
                f"{caller}: the model '{self.name}' is not compiled. Call "
                "`model.compile(optimizer=..., loss=...)` first."
            )
        return self._compiled

    def _require_optimizer(self, caller: str) -> Compiled:
        compiled = self._require_compiled(caller)
        if self.optimizer is None:
            raise ValueError(
                f"{caller}: the model '{self.name}' was compiled with optimizer=None, "
                "with which it can only be evaluated. Give `compile` an optimizer."
            )
        return compiled

    def trained_weights(self) -> list[Any]:
        """Return what the optimizer trains, in the order of its state in files."""
        return trained_weights(self)

    def _forget_weights(self) -> None:
        """Bind the optimizer anew before the next step: layers came or went."""
        if self._compiled is not None:
            self._compiled.forget_weights()

    # The steps

    def train_step(self, data: Any) -> Mapping[str, Any]:
        """Train on one batch and return logs; override it for training of your own.

        Args:
            data: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        """
        compiled = self._compiled or self._require_compiled("train_step")
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        gradients = compiled.gradients or self._first_gradients(x)
        try:
            y_pred, loss = gradients(self, x, y, sample_weight)
            compiled.tracker.update_state(loss, num_samples(x))
            if compiled.guards_loss and not torch.isfinite(loss):
                self.stop_training = True  # before the update, so weights stay finite
            elif compiled.trains:
                self.optimizer.step()
                for weight in compiled.constrained:
                    weight.assign(weight.constraint(weight.value.detach()))
        except torch.OutOfMemoryError as error:
            error.add_note(
                f"The batch has {num_samples(x)} samples: use a smaller `batch_size`."
            )
            raise
        finally:
            self.optimizer.zero_grad()  # a later step must not add to these gradients
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def _first_gradients(self, x: Any) -> Any:
        """Prepare a step that no `fit` has prepared, and return what computes it."""
        if not self.built:
            self._build_on(x)
        compiled = self._require_compiled("train_step")
        compiled.bind(self)
        return compiled.gradients

    def test_step(self, data: Any) -> Mapping[str, Any]:
        """Evaluate one batch and return logs."""
        compiled = self._compiled or self._require_compiled("test_step")
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x)
        mode = compiled.loss_modes[False]
        loss = self.compute_loss(x, y, y_pred, sample_weight, **mode)
        compiled.tracker.update_state(loss, num_samples(x))
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
        kept = f"{mode}_function"
        if force or getattr(self, kept) is None:
            setattr(self, kept, getattr(self, f"_{mode}_on"))
        return getattr(self, kept)

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

    def _overrides(self, *names: str) -> bool:
        """Say whether the class has methods of its own in place of any of these."""
        own = type(self)
        return any(getattr(own, name) is not getattr(Trainer, name) for name in names)

    @property
    def _has_own_step(self) -> bool:
        return self._overrides("train_step", "make_train_function")

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
            sample_weight: a weight for each sample.
            training: whether this is a training step.

        Raises:
            ValueError: when there is nothing to train by; outside of training it is 0.
        """
        compiled = self._compiled or self._require_compiled("compute_loss")
        extra = self.losses if self._has_losses or compiled.has_penalties else ()
        if extra:
            extra = [term.sum() if getattr(term, "ndim", 0) else term for term in extra]
        if compiled.loss.spec is None or (y is None and extra):
            if not extra and training:
                raise ValueError(
                    f"The model '{self.name}' has no loss to compute: give `loss` to "
                    "`compile`, or call `add_loss` in a layer."
                )
            return sum(extra, torch.zeros((), device=self._device()))
        if y is None:
            raise ValueError(
                "The loss needs targets, got y=None. Pass `y`, or batches of (x, y)."
            )
        loss = compiled.loss(y, y_pred, sample_weight)
        for term in extra:
            loss = loss + term
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Mapping[str, Any]:
        """Update the metrics by a batch and return logs, which compute when read."""
        compiled = self._compiled or self._require_compiled("compute_metrics")
        compiled.metrics.update_state(y, y_pred, sample_weight)
        return compiled.logs.expire()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the value of the loss and of each metric, by name."""
        results = self._require_compiled("get_metrics_result").results()
        return results | {m.name: m.result() for m in self._own_metrics()}

    @property
    def metrics(self) -> list[Any]:
        """The loss tracker, `compile`'s metrics as one, and the model's own."""
        compiled = self._compiled
        if compiled is None:
            return self._own_metrics()
        bound = [compiled.metrics] if any(compiled.metrics.specs) else []
        return [*compiled.trackers, *bound, *self._own_metrics()]

    def _own_metrics(self) -> list[Any]:
        """Metrics that were assigned to attributes of the model or of its layers."""
        return super().metrics

    @property
    def metrics_names(self) -> list[str]:
        """The names in the logs."""
        return list(self.get_metrics_result())

    def reset_metrics(self) -> None:
        """Begin the loss and all metrics again."""
        for metric in self._own_metrics():
            metric.reset_state()
        self._require_compiled("reset_metrics").reset()

    # Whole data sets

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Sequence[Callback] | CallbackList | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
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
            batch_size: samples per batch; by default 32, or what `steps_per_epoch`
                batches need.
            epochs: the epoch to stop at.
            verbose: 0 silent, 1 a bar, 2 a line per epoch, ``"auto"``.
            callbacks: a list of callbacks.
            validation_split: the fraction of samples, the last ones, to validate on.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or batches.
            shuffle: whether arrays are permuted before each epoch; ``"batch"`` permutes
                within each batch.
            class_weight: a weight for each class.
            sample_weight: a weight for each sample.
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
            TypeError: for an argument of a wrong type, naming it.
            ValueError: for an argument out of its range, or data that cannot be used;
                nothing was changed then.
        """
        compiled = self._require_optimizer("fit")
        modes.check_unused("fit", self)
        given = checked("fit", locals())
        planned = _planned_epochs(given.initial_epoch, given.epochs)
        is_due = _due(given.validation_freq)
        data, validation = self._data_of_fit(given, planned.start)
        self._prepare("fit", data, validation)
        compiled.warn_if_frozen(self)
        if validation is not None and validation_data is not None:
            self._try_validation(data.batches, validation.batches)
        events = self._callback_list(
            callbacks, given.verbose, data, epochs=planned.stop, add_history=True
        )
        logs: dict[str, Any] = {}
        self.stop_training = False
        told: set[str] = set()
        with self._until_trained():
            events.on_train_begin()
            for epoch in planned:
                self.reset_metrics()
                self.optimizer.refresh()
                events.on_epoch_begin(epoch)
                modes.switch(self, training=True)
                trained = self._run_epoch("train", data, events)
                if not self.stop_training and data.ended_early(_BEGIN_AGAIN):
                    self.stop_training = True
                    if not trained:
                        break  # a used-up generator gives no epoch to record
                logs = trained
                if validation is not None and is_due(epoch):
                    modes.switch(self, training=False)
                    self.reset_metrics()
                    results = self._run_test(validation, events)
                    logs.update({f"val_{k}": v for k, v in results.items()})
                _warn_if_nan(logs, epoch, told)
                events.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
            events.on_train_end(logs)
        with turns.own().step:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        return self.history  # type: ignore[return-value]

    def _data_of_fit(self, given: Any, epoch: int) -> tuple[Pass, Pass | None]:
        """Return what `fit` trains on and what it validates on, all of it checked.

        Args:
            given: the arguments of `fit`.
            epoch: the first epoch.
        """
        check_fraction(given.validation_split, given.x)
        validation_batch_size = given.validation_batch_size or given.batch_size
        batches = self._batches(
            "fit", "training", given.x, given.y, given.sample_weight,
            given.batch_size, given.steps_per_epoch, given.shuffle, epoch,
        )  # fmt: skip
        validation = None
        if (held_out := given.validation_data) is not None:
            validation = self._batches(
                "fit", "validation", *unpack_validation_data(held_out),
                batch_size=validation_batch_size, steps=given.validation_steps,
            )  # fmt: skip
            validation.name = "`validation_data`"
        elif given.validation_split:
            batches, validation = batches.split(given.validation_split)
        if given.class_weight is not None:
            batches = batches.weigh(ClassWeights("fit", given.class_weight))
        data = Pass(batches, given.batch_size, given.steps_per_epoch, goes_on=True)
        if validation is None:
            return data, None
        return data, Pass(validation, validation_batch_size, given.validation_steps)

    @contextlib.contextmanager
    def _until_trained(self) -> Generator[None]:
        """Leave the model in inference mode, however the training ends."""
        with modes.using("fit", self, trains=True):
            try:
                yield
            finally:
                modes.switch(self, training=False)
                self._require_compiled("fit").guards_loss = False

    def _run_epoch(
        self, mode: str, data: Pass, events: CallbackList, step: Step | None = None
    ) -> dict[str, Any]:
        """Run a step on every batch; the only loop over batches there is.

        Who saves or sets weights in another thread waits for the end of a step.
        """
        step = step or self._function_of(mode)
        if mode != "train":
            step = modes.undisturbed(self, step)
        turn = turns.own()
        begin, end = events.batch_hooks(mode)
        logs: Any = {}
        data.batches.begin_epoch()
        with contextlib.closing(iter(data)) as batches:  # after an error too
            for index, batch in enumerate(batches):
                for hook in begin:
                    hook(index, {})
                with turn.gate:
                    pass  # whoever waits for the end of a step goes first
                with turn.step:
                    logs = step([batch])
                for hook in end:
                    hook(index, logs)
                if self.stop_training and mode == "train":
                    break
        data.batches.end_epoch()
        if mode == "train" and not self._has_own_step:
            with turn.step:
                self._require_compiled("fit").bind_what_came(self)
        return dict(sorted(as_numbers(logs).items())) if mode != "predict" else {}

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | CallbackList | None = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the metrics on a data set.

        Args:
            x: as for `fit`.
            y: the targets, when `x` is arrays.
            batch_size: samples per batch; by default 32, or what `steps` batches need.
            verbose: 0 silent, 1 a bar, 2 a line, ``"auto"``.
            sample_weight: a weight for each sample.
            steps: the number of batches to use.
            callbacks: a list of callbacks.
            return_dict: return a dict rather than a list.
            **kwargs: none; named in the error.

        Returns:
            The loss alone where there are no metrics, else a list, or a dict.
        """
        self._require_compiled("evaluate")
        _refuse_keywords("evaluate", kwargs)
        given = checked("evaluate", locals())
        batches = self._batches(
            "evaluate", "evaluation", x, y, sample_weight,
            given.batch_size, given.steps,
        )  # fmt: skip
        data = Pass(batches, given.batch_size, given.steps)
        self._prepare("evaluate", data)
        events = self._callback_list(callbacks, given.verbose, data)
        with modes.using("evaluate", self, trains=False), modes.Mode(self, False):
            self.reset_metrics()
            results = self._run_test(data, events)
        if given.return_dict:
            return results
        ordered = [results[k] for k in self.get_metrics_result() if k in results]
        ordered = ordered or list(results.values())
        return ordered[0] if len(ordered) == 1 else ordered

    def _run_test(self, data: Pass, events: CallbackList) -> dict[str, Any]:
        events.on_test_begin()
        with torch.no_grad():
            logs = self._run_epoch("test", data, events)
        data.ended_early()
        events.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | CallbackList | None = None,
    ) -> np.ndarray:
        """Return the outputs for a data set as NumPy arrays.

        Args:
            x: as for `fit`; batches may be ``x`` or ``(x, y)``.
            batch_size: samples per batch; by default 32, or what `steps` batches need.
            verbose: 0 silent, 1 a bar, 2 a line, ``"auto"``.
            steps: the number of batches to use.
            callbacks: a list of callbacks.

        Returns:
            An array; of a model that gives several outputs, a list or dict of arrays.

        Shape:
            The outputs of all batches, joined along the first axis.
        """
        given = checked("predict", locals())
        batches = self._batches(
            "predict", "prediction", x, None, None, given.batch_size, given.steps
        )
        self._check_keys("predict", batches)
        batches.check_with(lambda batch, place: check_indices(self, batch[0], place))
        if batches.num_samples == 0:
            return self._empty_outputs(batches)
        data = Pass(batches, given.batch_size, given.steps)
        events = self._callback_list(callbacks, given.verbose, data)
        outputs: list[Any] = []
        predict = self._function_of("predict")
        many = callbacks is None and batches.num_samples != 1
        parts = self._samples_at_once(batches) if many else None

        def step(batch: list[Any]) -> Mapping[str, Any]:
            for piece in batch if parts is None else split_samples(batch[0], parts):
                outputs.append(predict([piece]))
            return {"outputs": outputs[-1]}

        with modes.Mode(self, False), torch.no_grad():
            events.on_predict_begin()
            self._run_epoch("predict", data, events, step)
            data.ended_early()
            events.on_predict_end()
        if not outputs:
            raise ValueError(
                "predict: the data gave no batches, so nothing to predict."
            )
        return tree.map_structure(_joined, *outputs)

    def _empty_outputs(self, batches: Batches) -> Any:
        """Return outputs for no samples, of the right shapes and dtypes."""
        x, *_ = unpack_x_y_sample_weight(batches.whole())
        one = tree.map_structure(lambda t: t.new_zeros((1, *t.shape[1:])), x)
        with modes.Mode(self, False), torch.no_grad():
            outputs = self._on_batch("predict", (one,))
        return tree.map_structure(lambda output: _joined(output)[:0], outputs)

    def _samples_at_once(self, batches: Batches) -> int | None:
        """Return how many samples keep their activations in the processor's cache.

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
            sample_weight: a weight for each sample.
            class_weight: a weight for each class.
            return_dict: return a dict rather than a list.
        """
        compiled = self._require_optimizer("train_on_batch")
        given = checked("train_on_batch", locals())
        if given.class_weight is not None:
            sample_weight = ClassWeights("train_on_batch", given.class_weight)(
                as_tensors("y", y), as_tensors("sample_weight", sample_weight)
            )
        data = self._one_batch("train_on_batch", "training", x, y, sample_weight)
        compiled.warn_if_frozen(self)
        with (
            modes.using("train_on_batch", self, trains=True),
            modes.Mode(self, True),
        ):
            self.reset_metrics()
            return _as_result(self._on_batch("train", data), given.return_dict)

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
            sample_weight: a weight for each sample.
            return_dict: return a dict rather than a list.
        """
        self._require_compiled("test_on_batch")
        given = checked("test_on_batch", locals())
        data = self._one_batch("test_on_batch", "evaluation", x, y, sample_weight)
        with (
            modes.using("test_on_batch", self, trains=False),
            modes.Mode(self, False),
            torch.no_grad(),
        ):
            self.reset_metrics()
            return _as_result(self._on_batch("test", data), given.return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as NumPy arrays.

        Args:
            x: the inputs.
        """
        x = as_tensors("x", x, takes_strings=True)
        check_indices(self, x, "row {} of the data".format)
        x = to_device(x, self._device())
        with modes.Mode(self, False), torch.no_grad():
            outputs = self._on_batch("predict", (x,))
        return tree.map_structure(_joined, outputs)

    def _on_batch(self, mode: str, data: Any) -> Any:
        step = self._function_of(mode)
        if mode != "train":
            step = modes.undisturbed(self, step)
        with turns.own().step:
            return step([data])

    def _one_batch(
        self, caller: str, use: str, x: Any, y: Any, sample_weight: Any
    ) -> Any:
        batches = self._batches(caller, use, x, y, sample_weight, steps=1)
        self._prepare(caller, Pass(batches))
        return batches.whole()

    # Data, modes, callbacks

    def _batches(
        self,
        caller: str,
        use: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        epoch: int = 0,
    ) -> Batches:
        """Return the data as batches, of which there are some, and not without end."""
        names = _VALIDATION_NAMES if use == "validation" else NAMES
        if x is None:
            raise ValueError(f"{caller}: `{names[0]}` must be given, got None.")
        batches = as_batches(
            x,
            y,
            sample_weight,
            device=self._device(),
            batch_size=batch_size,
            shuffle=shuffle,
            epoch=epoch,
            caller=caller,
            names=names,
        )
        if steps is None and batches.is_endless:
            raise ValueError(
                f"{caller}: the data set has no end (its `num_batches` is None), so "
                f"`{_STEPS[use]}` must say how many batches to use."
            )
        if use != "prediction" and batches.first() is None:
            raise ValueError(
                f"{caller}: the {use} data has no samples; at least one is needed."
            )
        return batches

    def _device(self) -> torch.device:
        first = first_parameter(self)
        return config.default_device() if first is None else first.device

    def _prepare(self, caller: str, data: Pass, validation: Pass | None = None) -> None:
        """Build what is not built, bind the optimizer, and look at the targets."""
        batches = data.batches
        if not self.built and self._is_ready_inside():
            self._finish_build({})
        if self.built:
            self._check_keys(caller, batches)
        compiled = self._require_compiled(caller)
        if not self._is_built_inside():
            batch = batches.first()
            seen = self._build_on(batch and batch[0])
            batches.device = self._device()
            compiled.forget_weights()
            compiled.seen = seen
        with turns.own().step:
            compiled.bind(self, look_again=True)
        check = functools.partial(self._checks(compiled, batches), self)
        for part in (data, validation):
            if part is not None:
                part.batches.check_with(check)

    def _checks(self, compiled: Compiled, batches: Batches) -> HostChecks:
        """Return what data is looked at for on the host, which the model decides."""
        if compiled.checks is not None:
            return compiled.checks
        batch = batches.first()
        x, y, _ = batch or (None, None, None)
        inputs, outputs = (
            symbolic_leaves(getattr(self, name, None)) for name in ("inputs", "outputs")
        )
        if not outputs:
            inputs = present(x)
            if compiled.seen is None and self._needs_look(compiled):
                compiled.seen = self._run_on(x)
            if compiled.seen is not None:
                compiled.loss.outputs.bind(compiled.seen.outputs)
                outputs = tree.flatten(compiled.seen.outputs)
        # What is made of targets by a loss or a step of one's own is its own affair.
        own = self._overrides("compute_loss") or (
            self._has_own_step and not isinstance(y, Tensor)
        )
        targets = None if own else targets_of(compiled.loss, y, outputs)
        checks = HostChecks(compiled.loss.outputs, targets, inputs)
        if y is not None:
            compiled.checks = checks
        return checks

    def _needs_look(self, compiled: Compiled) -> bool:
        """Say whether only a run tells what labels and indices must be."""
        own = (
            "train_step", "test_step", "make_train_function", "make_test_function",
            "compute_loss",
        )  # fmt: skip
        modules = list(self.modules())
        return (
            not self._overrides(*own)
            and not any(getattr(m, "stateful", False) for m in modules)
            and (
                may_take_labels(compiled.loss.spec)
                or any(isinstance(m, Embedding) for m in modules)
            )
        )

    def lookups(self, x: Any) -> list[tuple[Embedding, Any]]:
        """Return the tables that inputs are looked up in as they are, where known.

        Args:
            x: the inputs.
        """
        seen = self._compiled and self._compiled.seen
        if not seen:
            return []
        leaves = tree.flatten(x)
        return [(table, leaves[i]) for i, table in seen.tables if i < len(leaves)]

    def _try_validation(self, batches: Batches, validation: Batches) -> None:
        """Find now what an evaluation would refuse after the first epoch.

        One batch is evaluated and forgotten. One of the training data goes before it:
        losses and metrics are chosen by the first shapes that they see.
        """
        self._check_keys("fit, `validation_data`", validation)
        first, held_out = batches.first(), validation.first()
        if first is None or held_out is None:
            return
        check_alike(first, held_out)
        stateful = any(getattr(m, "stateful", False) for m in self.modules())
        if stateful or self._overrides("test_step", "make_test_function"):
            return
        tried = {"`validation_data`": held_out}
        if not self._has_own_step:
            tried = {"`x` and `y`": first, **tried}
        with (
            modes.Mode(self, False),
            torch.no_grad(),
            self._untouched(),
            turns.own().step,
        ):
            step = modes.undisturbed(self, self._test_on)
            for argument, batch in tried.items():
                try:
                    step([pack_x_y_sample_weight(*batch)])
                except Exception as error:
                    error.add_note(f"Raised by `fit` on a first batch of {argument}.")
                    raise
        self.reset_metrics()

    @contextlib.contextmanager
    def _untouched(self) -> Generator[None]:
        """Leave buffers and random numbers as they were."""
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        device = self._device()
        devices = [device] if device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    @property
    def guards_loss(self) -> bool:
        """Whether a training step looks at the loss before the update."""
        return self._compiled is not None and self._compiled.guards_loss

    @property
    def input_keys(self) -> list[str] | None:
        """The keys of the inputs of a model that was built on a dict, else None."""
        shapes = (self._build_shapes or {}).get("input_shape")
        return sorted(shapes) if isinstance(shapes, dict) else None

    def _check_keys(self, caller: str, batches: Batches) -> None:
        if self.built and (keys := self.input_keys):
            batch = batches.first()
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

    def _build_on(self, x: Any) -> Seen:
        """Make the weights by a run on a batch, with nothing else changed."""
        seen = self._run_on(x)
        if not self._is_built_inside():  # a layer may be called in training alone
            with modes.Mode(self, True), torch.no_grad(), self._untouched():
                self(x)
        return seen

    def _run_on(self, x: Any) -> Seen:
        """Run the model on a batch in inference mode, and return what that shows."""
        with (
            modes.Mode(self, False),
            torch.no_grad(),
            watched(self, x) as seen,
            turns.own().step,
        ):
            outputs = self(x)
        seen.outputs = tree.map_structure(_without_values, outputs)
        return seen

    def _callback_list(
        self,
        callbacks: Any,
        verbose: int | str,
        data: Pass,
        epochs: int = 1,
        add_history: bool = False,
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
            epochs=epochs,
            steps=data.num_batches,
        )
        if add_history:  # for `fit`, in which `evaluate` may be called
            # A step of the user's own does not look at the loss: the callback does.
            wanted = any(getattr(c, "guards_loss", False) for c in made.callbacks)
            self._require_compiled("fit").guards_loss = (
                wanted and not self._has_own_step
            )
        return made


def _without_values(output: Any) -> Any:
    return output.to("meta") if isinstance(output, Tensor) else output


def _warn_if_nan(logs: Mapping[str, Any], epoch: int, told: set[str]) -> None:
    """Warn of each loss the first time that it is not finite."""
    names = [k for k, v in logs.items() if "loss" in k and isinstance(v, float)]
    wrong = [k for k in names if not math.isfinite(logs[k])]
    if told.issuperset(wrong):
        return
    told.update(wrong)
    warnings.warn(
        f"In epoch {epoch + 1} {', '.join(wrong)} is {logs[wrong[0]]}. Lower the "
        "learning rate, look for NaN in the data, or stop early with the "
        "TerminateOnNaN callback.",
        stacklevel=3,
    )


def _due(frequency: int | list[int]) -> Callable[[int], bool]:
    """Return whether an epoch ends with a validation: each so many, or those listed."""
    if isinstance(frequency, list):
        return lambda epoch: epoch + 1 in frequency
    return lambda epoch: (epoch + 1) % frequency == 0


def _planned_epochs(first: int, end: int) -> range:
    """Return the epochs to train, of which a limit may leave out the last ones."""
    limit = config.max_epochs()
    if limit is None or end <= limit:
        return range(first, end)
    warnings.warn(f"Limiting epochs to {limit}: see `set_max_epochs`.", stacklevel=3)
    return range(first, limit)


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
