"""Callbacks that record or show: `History`, `CSVLogger`, `ProgbarLogger`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torchkeras._core.errors import invalid_argument
from torchkeras.callbacks.callback import Callback, Logs
from torchkeras.callbacks.progress import ProgressBar, say


class History(Callback):
    """The numbers of each epoch; `fit` adds one and returns it.

    Attributes:
        history: a list of numbers for each name in the logs.
        epoch: the epochs, counted from 0.

    Example:
        >>> history = History()
        >>> history.on_train_begin()
        >>> history.on_epoch_end(0, {"loss": 0.5})
        >>> history.history
        {'loss': [0.5]}
    """

    history: dict[str, list[Any]]
    epoch: list[int]

    def __init__(self) -> None:
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CSVLogger(Callback):
    """Write the numbers of each epoch to a file of comma-separated values.

    The columns are those of the first epoch, in Keras's order; later epochs that lack
    one have ``NA`` in it.

    Args:
        filename: the path of the file.
        separator: the character between the values.
        append: whether to go on with an existing file rather than to replace it.

    Raises:
        ValueError: when the separator is not a single character.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "log.csv")
        >>> logger = CSVLogger(path)
        >>> logger.on_train_begin()
        >>> logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.25})
        >>> print(path.read_text())
        epoch,loss,val_loss
        0,0.5,0.25
    """

    filename: str
    keys: list[str] | None

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
    ) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            expected = "a single character"
            raise ValueError(
                invalid_argument("CSVLogger", "separator", expected, separator)
            )
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self.keys = None
        # Opened for each row and not kept open: an exception in `fit` leaves no handle.
        with open(self.filename, "a" if self.append else "w"):
            pass

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        if self.keys is None:
            self.keys = _columns(logs)
        is_new = Path(self.filename).stat().st_size == 0
        with open(self.filename, "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.sep)
            if is_new:
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(_cell(logs.get(k, "NA")) for k in self.keys)])


def _columns(logs: Mapping[str, Any]) -> list[str]:
    keys = sorted(logs)
    if any(key.startswith("val_") for key in keys):
        return keys
    # Validation may come in a later epoch, by `validation_freq`.
    return [*keys, *(f"val_{key}" for key in keys)]


def _cell(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f'"[{", ".join(map(str, value))}]"'
    return value


class ProgbarLogger(Callback):
    """Show the progress and the numbers of training, evaluation and prediction.

    `fit`, `evaluate` and `predict` add one unless ``verbose=0``. Validation inside
    `fit` shows nothing of its own.
    """

    target: int | None
    verbose: int
    epochs: int

    def __init__(self) -> None:
        self.target = None
        self.verbose = 1
        self.epochs = 1
        self._in_fit = False
        self._bar = ProgressBar(None, verbose=0)

    def set_params(self, params: Mapping[str, Any]) -> None:
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs: Logs = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.verbose and self.epochs > 1:
            say(f"Epoch {epoch + 1}/{self.epochs}")
        self._begin()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._bar.update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._begin()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self._in_fit:
            self._bar.update(batch + 1, logs)

    def on_test_end(self, logs: Logs = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._bar.update(batch + 1)

    def on_predict_end(self, logs: Logs = None) -> None:
        self._finish(None)

    def _begin(self) -> None:
        self._bar = ProgressBar(self.target, self.verbose)

    def _finish(self, logs: Logs) -> None:
        self._bar.finish(logs)
        if self.target is None:
            self.target = self._bar.seen  # known in the epochs that follow
