"""Callbacks that steer: `LambdaCallback`, `LearningRateScheduler`, `TerminateOnNaN`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

from torchkeras._core.errors import number_in
from torchkeras.callbacks.callback import Callback, Logs, check_event
from torchkeras.callbacks.progress import say

Handler = Callable[..., Any] | None


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: called with ``(epoch, logs)``.
        on_epoch_end: called with ``(epoch, logs)``.
        on_train_begin: called with ``(logs)``.
        on_train_end: called with ``(logs)``.
        on_train_batch_begin: called with ``(batch, logs)``.
        on_train_batch_end: called with ``(batch, logs)``.
        **kwargs: functions for the other events, by name.

    Raises:
        TypeError: for a name that is no event.

    Example:
        >>> shown = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))
        >>> shown.on_epoch_end(0, {"loss": 0.5})
        0 {'loss': 0.5}
    """

    def __init__(
        self,
        on_epoch_begin: Handler = None,
        on_epoch_end: Handler = None,
        on_train_begin: Handler = None,
        on_train_end: Handler = None,
        on_train_batch_begin: Handler = None,
        on_train_batch_end: Handler = None,
        **kwargs: Handler,
    ) -> None:
        handlers = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for event, handler in handlers.items():
            check_event("LambdaCallback", event)
            if handler is not None:
                setattr(self, event, handler)


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch.

    Args:
        schedule: a function of the epoch, counted from 0, and of the learning rate,
            which returns the new one; it may take the epoch alone.
        verbose: 1 to tell of each change.

    Raises:
        TypeError: when `schedule` is no function.

    Example:
        >>> def halved(epoch, lr):
        ...     return lr / 2
        >>> callback = LearningRateScheduler(halved)
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: `schedule` must be a function of (epoch, lr), "
                f"got {schedule!r}."
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        before = float(optimizer.learning_rate)
        rate = (
            self.schedule(epoch, before) if self._takes_rate else self.schedule(epoch)
        )
        rate = number_in("LearningRateScheduler", "result of schedule", rate, 0.0)
        optimizer.learning_rate = rate
        if self.verbose:
            say(f"Epoch {epoch + 1}: LearningRateScheduler sets the rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        add_learning_rate(logs, self.model)


def _takes_two(schedule: Callable[..., Any]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # a function in C that does not tell its signature
        return True
    return True


def add_learning_rate(logs: Any, model: Any) -> None:
    """Put the learning rate into the logs of an epoch, for the history."""
    if logs is not None:
        logs["learning_rate"] = float(model.optimizer.learning_rate)


class TerminateOnNaN(Callback):
    """End training in the batch whose loss is not finite.

    The update of that batch is left out, so the weights stay finite. To know the loss
    in time, training waits for the device in each batch.

    Args:
        raise_error: whether to raise an error rather than to end quietly.

    Raises:
        RuntimeError: on a loss that is not finite, with `raise_error`.

    Example:
        >>> callback = TerminateOnNaN(raise_error=True)
        >>> callback.on_train_batch_end(3, {"loss": float("nan")})
        Traceback (most recent call last):
        RuntimeError: Batch 3: the loss is nan. ...
    """

    #: Asks the training step to look at the loss before the update.
    guards_loss: ClassVar[bool] = True

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        guarded = getattr(self.model, "guards_loss", False)
        if guarded and not self.model.stop_training:
            return  # the step has looked: no need to read the logs
        loss = None if logs is None else logs.get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"Batch {batch}: the loss is {loss}. Lower the learning rate, or look "
                "for values that are not finite in the data."
            )
        say(f"Batch {batch}: the loss is {loss}, so training ends.")
        self.model.stop_training = True
