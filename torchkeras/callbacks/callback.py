"""`Callback`: what happens around training, and the table of the events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torchkeras._core.errors import did_you_mean

Logs = Mapping[str, Any] | None

#: The events, in the order of a training run.
EVENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_batch_begin",
    "on_train_batch_end",
    "on_batch_end",
    "on_test_begin",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_test_end",
    "on_epoch_end",
    "on_train_end",
    "on_predict_begin",
    "on_predict_batch_begin",
    "on_predict_batch_end",
    "on_predict_end",
)
#: Events that by default pass on to an older name of theirs.
OLDER_NAMES = {
    "on_train_batch_begin": "on_batch_begin",
    "on_train_batch_end": "on_batch_end",
}


class Callback:
    """The base of callbacks: override the events you want to act on.

    The order is `on_train_begin`, then for each epoch `on_epoch_begin`, for each batch
    `on_train_batch_begin` and `on_train_batch_end`, the test events around validation,
    `on_epoch_end`, and at last `on_train_end`. `evaluate` has the test events,
    `predict` those of prediction.

    `logs` maps names to numbers. Those of a batch are computed when they are read,
    which waits for the device: a callback that does not read them costs nothing.

    Attributes:
        model: the model that is trained; set `model.stop_training` to end training.
        params: ``verbose``, ``epochs`` and ``steps``.

    Raises:
        TypeError: when a subclass has a method ``on_...`` that is no event.

    Example:
        >>> class StopAfter(Callback):
        ...     def __init__(self, batches):
        ...         self.batches = batches
        ...
        ...     def on_train_batch_end(self, batch, logs=None):
        ...         self.model.stop_training = batch + 1 >= self.batches
    """

    model: Any = None
    params: Mapping[str, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, member in vars(cls).items():
            if name.startswith("on_") and callable(member):
                check_event(cls.__name__, name)

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take ``verbose``, ``epochs`` and ``steps``."""
        self.params = params

    def on_train_begin(self, logs: Logs = None) -> None:
        """Act before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Act after the last epoch, whose logs are given."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Act before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Act after an epoch and its validation, with the logs of both."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Act before a training step, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Act after a training step."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Act before a training step: an older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Act after a training step: an older name of `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Act before evaluation or validation."""

    def on_test_end(self, logs: Logs = None) -> None:
        """Act after evaluation or validation, whose logs are given."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Act before a batch of evaluation or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Act after a batch of evaluation or validation."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Act before prediction."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """Act after prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Act before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Act after a batch of prediction, with its ``outputs`` in the logs."""


def check_event(owner: str, name: str) -> None:
    """Refuse a name that is no event.

    Raises:
        TypeError: with the nearest events.
    """
    if name not in EVENTS:
        raise TypeError(
            f"{owner}: `{name}` is no event, so it would never be called."
            f"{did_you_mean(name, EVENTS)} The events are {', '.join(EVENTS)}."
        )


def handler_of(callback: Any, event: str) -> Callable[..., Any] | None:
    """Return the method for an event, or None where it would do nothing."""
    names = [event, OLDER_NAMES[event]] if event in OLDER_NAMES else [event]
    for name in names:
        method = getattr(callback, name, None)
        function = getattr(method, "__func__", method)
        if method is not None and function is not getattr(Callback, name):
            return getattr(callback, event, method)
    return None
