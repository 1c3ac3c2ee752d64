"""Callbacks that watch a number: `EarlyStopping`, `ModelCheckpoint`, ..."""

from __future__ import annotations

import math
import os
import string
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from torchkeras._core.errors import (
    count,
    invalid_argument,
    number_in,
    one_of,
)
from torchkeras._core.naming import to_snake_case
from torchkeras.callbacks.callback import Callback, Logs
from torchkeras.callbacks.control import add_learning_rate
from torchkeras.callbacks.progress import say

_MODELS = (".keras", ".h5", ".safetensors")
_WEIGHTS = (".weights.h5", ".safetensors")


class MonitorCallback(Callback):
    """The base of callbacks that compare a number in the logs with the best so far.

    A value that is not a number is no improvement, and any number is one over it.

    Args:
        monitor: the name in the logs.
        mode: ``"min"``, ``"max"``, or ``"auto"``: by the name and the metric.
        baseline: a first best value.
        min_delta: changes up to it are no improvement.

    Raises:
        ValueError: for an unknown mode.
    """

    monitor: str
    mode: str
    best: float | None
    min_delta: float

    #: What comes of a missing number, for the warning.
    _without_number: ClassVar[str] = "there is nothing to compare"

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        owner = type(self).__name__
        if not isinstance(monitor, str):
            expected = "a name in the logs"
            raise TypeError(invalid_argument(owner, "monitor", expected, monitor))
        self.monitor = monitor
        self.mode = one_of(owner, "mode", mode, ("auto", "min", "max"))
        self.best = _threshold(owner, "initial_value_threshold", baseline)
        self.min_delta = abs(number_in(owner, "min_delta", min_delta))
        self._wants_more: bool | None = None
        self._warned = False

    def on_train_begin(self, logs: Logs = None) -> None:
        self._warned = False

    def monitored(self, logs: Logs) -> float | None:
        """Return the number, or None and warn once where it is missing."""
        value = _as_number((logs or {}).get(self.monitor))
        if value is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__}: the logs have no number '{self.monitor}', so "
                f"{self._without_number}. They have: {', '.join(logs or ())}. Set "
                "`monitor` to one of these, or pass validation data for val_... names.",
                stacklevel=2,
            )
        return value

    def improves(self, value: float, reference: float | None) -> bool:
        """Say whether a value is better than another by more than `min_delta`."""
        if self._wants_more is None:  # before the first value is taken for the best
            self._wants_more = self._direction()
        if math.isnan(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        gain = value - reference if self._wants_more else reference - value
        return gain > self.min_delta

    def _direction(self) -> bool:
        """Say whether more is better."""
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return False
        for metric in _metrics_of(self.model):
            own = getattr(metric, "name", None) or to_snake_case(type(metric).__name__)
            direction = getattr(metric, "higher_is_better", None)
            if direction is not None and f"_{name}".endswith(f"_{own}"):
                return direction
        if "acc" in name or "auc" in name:
            return True
        raise ValueError(
            f"{type(self).__name__}: whether '{self.monitor}' should grow or shrink "
            "cannot be told from its name. Pass mode='max' or mode='min'."
        )


class EarlyStopping(MonitorCallback):
    """End training when a number has stopped improving.

    Args:
        monitor: the name in the logs.
        min_delta: changes up to it are no improvement.
        patience: how many epochs without improvement to wait.
        verbose: 1 to tell when training ends.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        baseline: a value that has to be beaten.
        restore_best_weights: whether to go back to the weights of the best epoch, which
            are kept on the device.
        start_from_epoch: epochs that are not looked at.

    Raises:
        ValueError: for an unknown mode, a negative `patience` or `start_from_epoch`.

    Example:
        >>> stop = EarlyStopping(patience=3, restore_best_weights=True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = _count("EarlyStopping", "patience", patience)
        self.verbose = verbose
        self.baseline = _threshold("EarlyStopping", "baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = _count(
            "EarlyStopping", "start_from_epoch", start_from_epoch
        )
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: dict[str, Any] | None = None
        self._is_first = True

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        value = self.monitored(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        is_first, self._is_first = self._is_first, False
        improves = self.improves(value, self.best)
        if improves or is_first:
            self._keep(epoch)
        self.wait += 1
        if improves:
            self.best = value
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and not is_first:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            state = self.model.state_dict()
            self.best_weights = {k: v.detach().clone() for k, v in state.items()}

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch > 0 and self.verbose:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                say(f"Restoring the weights of the best epoch: {self.best_epoch + 1}.")
            self.model.load_state_dict(self.best_weights)


class ModelCheckpoint(MonitorCallback):
    """Save the model, or its weights, now and then.

    Args:
        filepath: the path, with an extension that tells the format. It may hold
            ``{epoch}``, ``{batch}`` and names from the logs, with formats, as in
            ``"{epoch:02d}-{val_loss:.2f}.keras"``. A missing folder is made.
        monitor: the name in the logs that `save_best_only` looks at.
        verbose: 1 to tell of each file.
        save_best_only: whether to save only when the number improves. Where the logs
            do not have it, nothing is saved, and a warning says so.
        save_weights_only: whether to save the weights alone.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: a value that has to be beaten.

    Raises:
        ValueError: for an extension, a mode or a `save_freq` that is not known.

    Example:
        >>> best = ModelCheckpoint("best.keras", save_best_only=True)
    """

    _without_number = "`save_best_only` does not save the model"

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.verbose = verbose
        self.filepath = _checked_path(filepath, save_weights_only)
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        if save_freq != "epoch":
            if isinstance(save_freq, str):
                expected = "'epoch' or a number of batches"
                raise ValueError(
                    invalid_argument(
                        "ModelCheckpoint", "save_freq", expected, save_freq
                    )
                )
            self.save_freq = count("ModelCheckpoint", "save_freq", save_freq)
            # Only here: an event that is not defined costs nothing.
            self.on_train_batch_end = self._count_batch
        self._epoch = 0
        self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def _count_batch(self, batch: int, logs: Logs = None) -> None:
        self._batches += 1
        if self._batches % int(self.save_freq) == 0:
            self._save(self._epoch, logs or {}, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Mapping[str, Any], **names: int) -> None:
        value = self.monitored(logs) if self.save_best_only else None
        if self.save_best_only and not self._is_best(epoch, value):
            return
        path = self._path({"epoch": epoch + 1, **names, **logs})
        self._tell(f"{self._reason(epoch, value)}saving model to {path}")
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if value is not None:
            self.best = value  # only now: a failure to write left the older file

    def _is_best(self, epoch: int, value: float | None) -> bool:
        if value is None:
            return False
        if not self.improves(value, self.best):
            self._tell(
                f"Epoch {epoch + 1}: {self.monitor} did not improve from "
                f"{self._best_so_far}"
            )
            return False
        return True

    def _reason(self, epoch: int, value: float | None) -> str:
        if value is None:
            return f"Epoch {epoch + 1}: "
        return (
            f"Epoch {epoch + 1}: {self.monitor} improved from {self._best_so_far} to "
            f"{value:.5f}, "
        )

    @property
    def _best_so_far(self) -> str:
        return "None" if self.best is None else f"{self.best:.5f}"

    def _tell(self, message: str) -> None:
        if self.verbose:
            say(message)

    def _path(self, values: Mapping[str, Any]) -> str:
        try:
            return self.filepath.format(**values)
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"ModelCheckpoint: `filepath` {self.filepath!r} asks for {error}, "
                f"which is not known here. It may hold: {', '.join(values)}."
            ) from None


def _checked_path(filepath: str | os.PathLike[str], weights_only: bool) -> str:
    path = os.fspath(filepath)
    extensions = _WEIGHTS if weights_only else _MODELS
    if not path.endswith(extensions):
        what = "weights" if weights_only else "a whole model"
        expected = f"a path that ends in {' or '.join(extensions)} for {what}"
        raise ValueError(
            invalid_argument("ModelCheckpoint", "filepath", expected, filepath)
        )
    try:
        list(string.Formatter().parse(path))
    except ValueError as error:
        expected = f"a path in which braces hold names ({error})"
        raise ValueError(
            invalid_argument("ModelCheckpoint", "filepath", expected, filepath)
        ) from None
    return path


class ReduceLROnPlateau(MonitorCallback):
    """Lower the learning rate when a number has stopped improving.

    An epoch in which it is NaN is not counted.

    Args:
        monitor: the name in the logs.
        factor: what the learning rate is multiplied by.
        patience: how many epochs without improvement to wait.
        verbose: 1 to tell of each change.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        min_delta: changes up to it are no improvement.
        cooldown: epochs after a change that are not counted.
        min_lr: the lowest learning rate.
        **kwargs: ``epsilon``, an older name of `min_delta`.

    Raises:
        ValueError: when `factor` is not in [0, 1), or for an unknown mode.

    Example:
        >>> slower = ReduceLROnPlateau(factor=0.2, patience=5)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        min_delta = kwargs.pop("epsilon", min_delta)
        if kwargs:
            raise TypeError(f"ReduceLROnPlateau: unknown argument(s) {sorted(kwargs)}.")
        super().__init__(monitor, mode, min_delta=min_delta)
        owner = "ReduceLROnPlateau"
        self.factor = number_in(owner, "factor", factor, 0.0, 1.0, open_high=True)
        self.patience = _count(owner, "patience", patience)
        self.verbose = verbose
        self.cooldown = _count(owner, "cooldown", cooldown)
        self.min_lr = number_in(owner, "min_lr", min_lr, 0.0)
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        add_learning_rate(logs, self.model)
        value = self.monitored(logs)
        if value is None or math.isnan(value):
            return  # such an epoch tells nothing of the learning rate
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best = value
            self.wait = 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        optimizer = self.model.optimizer
        before = float(optimizer.learning_rate)
        if before <= self.min_lr:
            return
        rate = max(before * self.factor, self.min_lr)
        optimizer.learning_rate = rate
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            say(f"Epoch {epoch + 1}: ReduceLROnPlateau sets the rate to {rate}.")


def _count(owner: str, argument: str, value: Any) -> int:
    number = number_in(owner, argument, value, 0.0)
    if number != int(number):
        raise ValueError(invalid_argument(owner, argument, "a whole number", value))
    return int(number)


def _threshold(owner: str, argument: str, value: Any) -> float | None:
    number = _as_number(value)
    if value is not None and (number is None or math.isnan(number)):
        raise ValueError(invalid_argument(owner, argument, "a number or None", value))
    return number


def _as_number(value: Any) -> float | None:
    """Return a number, or an array or tensor of one; None for anything else."""
    if isinstance(value, (np.ndarray, Tensor)):
        value = value.item() if math.prod(value.shape) == 1 else None
    return float(value) if hasattr(value, "__float__") else None


def _metrics_of(model: Any) -> list[Any]:
    """Return the metrics of a model, those of `compile` one by one."""
    found = getattr(model, "metrics", None) or ()
    return [inner for own in found for inner in getattr(own, "metrics", (own,))]
