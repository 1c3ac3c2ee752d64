"""Callbacks: the order of events, decisions on numbers, files and the bar."""

# Illegal arguments are the subject of some tests.
# pyright: reportArgumentType=false

import csv
import io
import itertools
import math
import os
import re
import sys
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn

from torchkeras import callbacks as callbacks_module
from torchkeras.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from torchkeras.callbacks import progress as progress_module
from torchkeras.callbacks.callback import EVENTS
from torchkeras.callbacks.progress import ProgressBar, say
from torchkeras.layers import Dense
from torchkeras.models import Sequential, load_model
from torchkeras.optimizers import SGD

NAN = math.nan


class FakeModel(nn.Module):
    """What callbacks see of a model."""

    def __init__(self, metrics: Any = (), rate: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("steps", torch.zeros(()))
        self.optimizer = SimpleNamespace(learning_rate=rate)
        self.metrics = list(metrics)
        self.stop_training = False
        self.saved: list[tuple[str, str]] = []

    def save(self, path: str, overwrite: bool) -> None:
        self.saved.append(("model", path))

    def save_weights(self, path: str, overwrite: bool) -> None:
        self.saved.append(("weights", path))


class Recorder(Callback):
    """Write down every event."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []


for _event in EVENTS:

    def _record(self: Any, *args: Any, _event: str = _event) -> None:
        self.events.append((_event, *args))

    setattr(Recorder, _event, _record)


def run(callbacks: Any, logs: list[dict[str, Any]], **options: Any) -> FakeModel:
    """Run the epochs of `fit` with those logs, until a callback ends it."""
    model = options.pop("model", None) or FakeModel()
    listed = CallbackList(callbacks, model=model, epochs=len(logs), **options)
    listed.on_train_begin()
    for epoch, values in enumerate(logs):
        listed.on_epoch_begin(epoch)
        with torch.no_grad():
            model.weight.fill_(epoch + 1.0)
        listed.on_epoch_end(epoch, values)
        if model.stop_training:
            break
    listed.on_train_end(logs[-1])
    return model


def losses(*values: float) -> list[dict[str, Any]]:
    return [{"loss": value, "val_loss": value} for value in values]


# Events


def test_events_reach_callbacks_in_order():
    first, second = Recorder(), Recorder()
    listed = CallbackList([first, [second]])
    for event in EVENTS:
        index = (3,) if "batch" in event or "epoch" in event else ()
        getattr(listed, event)(*index, {"loss": 1.0})
    indexed = [e for e in EVENTS if "batch" in e or "epoch" in e]
    expected = [(e, 3, {"loss": 1.0}) if e in indexed else (e, {"loss": 1.0})
                for e in EVENTS]  # fmt: skip
    assert first.events == second.events == expected


def test_events_without_logs_have_an_empty_dict():
    recorder = Recorder()
    listed = CallbackList(recorder)
    listed.on_train_begin()
    listed.on_train_batch_begin(0)
    assert recorder.events == [
        ("on_train_begin", {}),
        ("on_train_batch_begin", 0, {}),
    ]


def test_events_that_nobody_defines_cost_nothing():
    class AtEpochs(Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    quiet = [AtEpochs(), History(), EarlyStopping(), ModelCheckpoint("m.keras")]
    assert CallbackList(quiet).batch_hooks("train") == ([], [])
    assert CallbackList(quiet).batch_hooks("test") == ([], [])


@pytest.mark.parametrize("older", ["on_batch_begin", "on_batch_end"])
def test_older_names_of_batch_events_are_called_once(older):
    batches = []
    methods = {older: lambda self, batch, logs=None: batches.append(batch)}
    listed = CallbackList(type("Old", (Callback,), methods)())
    getattr(listed, older.replace("on_", "on_train_"))(5)
    names, hooks = ("on_batch_begin", "on_batch_end"), listed.batch_hooks("train")
    hooks = dict(zip(names, hooks, strict=True))
    (handler,) = hooks.pop(older)
    handler(6, {})
    assert (batches, *hooks.values()) == ([5, 6], [])


def test_a_callback_may_read_its_model_and_params():
    recorder, model = Recorder(), FakeModel()
    CallbackList(recorder, model=model, epochs=3, steps=7)
    assert recorder.model is model
    assert recorder.params == {"epochs": 3, "steps": 7}


def test_callbacks_can_be_added_later():
    listed, recorder = CallbackList(model=FakeModel(), epochs=1), Recorder()
    listed.append(recorder)
    listed.on_epoch_begin(0)
    assert recorder.events == [("on_epoch_begin", 0, {})]
    assert recorder.model is listed.model
    assert recorder.params == {"epochs": 1}


def test_history_and_bar_are_added_once():
    history, bar = History(), ProgbarLogger()
    listed = CallbackList([history, bar], add_history=True, add_progbar=True)
    assert listed.callbacks == [history, bar]
    kinds = [type(c) for c in CallbackList(None, True, True).callbacks]
    assert kinds == [History, ProgbarLogger]


def test_callbacks_need_not_call_the_base_constructor():
    class Own(Callback):
        def __init__(self):
            self.seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.seen = self.model.weight.numel()

    own = Own()
    run(own, losses(1.0))
    assert own.seen == 2


def test_a_method_that_is_no_event_is_refused():
    with pytest.raises(TypeError, match=r"Wrong: `on_batch_ended`.*'on_batch_end'"):
        type("Wrong", (Callback,), {"on_batch_ended": lambda self, batch: None})


@pytest.mark.parametrize(
    ("callbacks", "match"),
    [
        ([EarlyStopping], r"pass an instance, EarlyStopping\(...\)"),
        (
            ["early_stopping"],
            r"`callbacks\[0\]` must be a Callback object, got 'early_stopping'",
        ),
        ([lambda epoch: None], "Make it with `LambdaCallback`"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, match):
    with pytest.raises(TypeError, match=match):
        CallbackList(callbacks)


# History and functions


def test_history_keeps_complete_epochs():
    history = History()
    model = run(history, [{"loss": 3.0}, {"loss": 2.0, "val_loss": 4.0}])
    assert history.history == {"loss": [3.0, 2.0], "val_loss": [4.0]}
    assert history.epoch == [0, 1]
    assert model.history is history
    run(history, [{"loss": 1.0}])
    assert history.history["loss"] == [3.0, 2.0, 1.0]
    assert history.epoch == [0]


def test_functions_make_a_callback():
    seen: list[Any] = []
    callback = LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs)),
        on_test_batch_end=lambda batch, logs: seen.append(batch),
    )
    listed = CallbackList(callback)
    listed.on_epoch_end(1, {"loss": 2.0})
    listed.on_test_batch_end(4)
    assert seen == [(1, {"loss": 2.0}), 4]
    assert listed.batch_hooks("train") == ([], [])


def test_a_function_for_no_event_is_refused():
    with pytest.raises(TypeError, match="Did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)


# Numbers that are monitored


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: EarlyStopping(mode="mim"), ValueError, "EarlyStopping: `mode`.*'min'"),
        (lambda: EarlyStopping(3), TypeError, "`monitor` must be a name in the logs"),
        (lambda: EarlyStopping(patience=-1), ValueError, "`patience` must be"),
        (lambda: EarlyStopping(patience=1.5), ValueError, "`patience` .* whole number"),
        (lambda: EarlyStopping(min_delta=NAN), ValueError, "`min_delta` must be"),
        (lambda: EarlyStopping(start_from_epoch=-1), ValueError, "`start_from_epoch`"),
        (
            lambda: EarlyStopping(baseline="low"),
            ValueError,
            "`baseline` must be a numb",
        ),
        (
            lambda: ModelCheckpoint("m.keras", initial_value_threshold=NAN),
            ValueError,
            "`initial_value_threshold` must be a number",
        ),
        (lambda: ReduceLROnPlateau(factor=1.0), ValueError, r"`factor` .*\[0, 1\)"),
        (lambda: ReduceLROnPlateau(factor=NAN), ValueError, "`factor` must be"),
        (lambda: ReduceLROnPlateau(cooldown=-1), ValueError, "`cooldown` must be"),
        (lambda: ReduceLROnPlateau(min_lr=-1.0), ValueError, "`min_lr` must be"),
        (lambda: ReduceLROnPlateau(patient=1), TypeError, r"unknown .*'patient'"),
        (lambda: ModelCheckpoint("m.pt"), ValueError, r"\.keras or \.h5 or \.safe"),
        (lambda: ModelCheckpoint("m"), ValueError, "`filepath` must be a path"),
        (lambda: ModelCheckpoint("{epoch.keras"), ValueError, "braces hold names"),
        (lambda: ModelCheckpoint("m.keras", mode="up"), ValueError, "`mode` must be"),
        (lambda: ModelCheckpoint("m.keras", save_freq="day"), ValueError, "'epoch' or"),
        (lambda: ModelCheckpoint("m.keras", save_freq=0), ValueError, "`save_freq`"),
        (lambda: ModelCheckpoint("m.keras", save_freq=2.5), TypeError, "`save_freq`"),
        (
            lambda: ModelCheckpoint("m.keras", save_weights_only=True),
            ValueError,
            r"\.weights\.h5 or \.safetensors for weights",
        ),
        (lambda: LearningRateScheduler(0.1), TypeError, r"a function of \(epoch, lr\)"),
        (lambda: CSVLogger("log.csv", "ab"), ValueError, "`separator` must be"),
    ],
)
def test_illegal_arguments_are_refused_at_construction(make, error, match):
    with pytest.raises(error, match=match) as refusal:
        make()
    owner = str(refusal.value).partition(":")[0]
    assert issubclass(getattr(callbacks_module, owner), Callback)


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(patience=1),
        ReduceLROnPlateau(patience=1),
        ModelCheckpoint("m.keras", save_best_only=True),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_a_missing_number_gives_one_warning_and_training_goes_on(callback):
    logs = [{"loss": 1.0 / n, "accuracy": 0.5} for n in range(1, 5)]
    match = f"{type(callback).__name__}.*'val_loss'.*They have: loss, accuracy"
    with pytest.warns(UserWarning, match=match) as caught:
        model = run([callback, history := History()], logs)
    assert len(caught) == 1
    assert history.epoch == [0, 1, 2, 3]
    assert not model.stop_training
    assert not model.saved
    assert model.optimizer.learning_rate == 0.1
    with pytest.warns(UserWarning, match=match) as caught:  # once in each training
        run(callback, logs)
    assert len(caught) == 1


#: Values of a number that is watched, and the epochs whose model is the best so far.
WATCHED = {
    "missing at first": ((None, 3.0, 4.0, 2.0), [2, 4]),
    "missing in between": ((3.0, None, 2.0, None), [1, 3]),
    "not a number": ((NAN, 3.0, NAN, 2.0), [2, 4]),
    "never a number": ((NAN, None, NAN, "low"), []),
    "infinite": ((float("inf"), 3.0, float("inf"), 2.0), [1, 2, 4]),
    "of NumPy": ((np.float32(3), np.array(4.0), np.ones(1), np.int64(0)), [1, 3, 4]),
    "of torch": ((torch.tensor(3.0), torch.ones(1), torch.tensor(0), 4.0), [1, 2, 3]),
    "of several numbers": ((3.0, np.ones(2), torch.zeros(3), [1.0]), [1]),
    "not below the threshold": ((9.0, 8.0, 8.0, 9.0), []),
}


@pytest.mark.filterwarnings("ignore:ModelCheckpoint. the logs have no number")
@pytest.mark.parametrize("case", WATCHED)
@pytest.mark.parametrize("name", ["loss", "auc"])
def test_the_best_file_is_replaced_by_better_ones_only(case, name, tmp_path):
    values, best = WATCHED[case]
    sign = 1 if name == "loss" else -1
    values = [v if isinstance(v, (str, list, type(None))) else sign * v for v in values]
    logs = [{"a": 0.0, f"val_{name}": v} for v in values]
    logs = [{k: v for k, v in log.items() if v is not None} for log in logs]
    checkpoint = ModelCheckpoint(
        tmp_path / "made" / f"{{epoch}}-{{val_{name}}}.keras",
        monitor=f"val_{name}",
        save_best_only=True,
        initial_value_threshold=None if "threshold" not in case else sign * 8.0,
    )
    model = run(checkpoint, logs)
    names = [os.path.basename(path) for _, path in model.saved]
    assert names == [f"{n}-{values[n - 1]}.keras" for n in best]
    assert (tmp_path / "made").exists() == bool(best)


@pytest.mark.filterwarnings("ignore:.* the logs have no number")
def test_epochs_without_the_number_do_not_count():
    logs = [{"loss": 1.0}, {"val_loss": 2.0}] * 3
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    assert run(stop, logs[:-1]).weight.tolist() == [2.0, 2.0]
    assert (stop.wait, stop.stopped_epoch) == (1, 0)
    assert run(stop, logs).stop_training
    plateau = ReduceLROnPlateau(patience=2, cooldown=1)
    assert run(plateau, logs[:-1]).optimizer.learning_rate == 0.1
    assert run(plateau, logs).optimizer.learning_rate == pytest.approx(0.01)


def test_a_file_that_was_not_written_is_not_the_best():
    class FullDisk(FakeModel):
        def save(self, path: str, overwrite: bool) -> None:
            raise OSError("no space left")

    checkpoint = ModelCheckpoint("m.keras", save_best_only=True)
    with pytest.raises(OSError, match="no space"):
        run(checkpoint, losses(1.0), model=FullDisk())
    assert checkpoint.best is None
    assert run(checkpoint, losses(2.0)).saved == [("model", "m.keras")]


def test_batches_without_the_number_save_nothing():
    checkpoint = ModelCheckpoint("m.keras", save_best_only=True, save_freq=1)
    listed = CallbackList(checkpoint, model=(model := FakeModel()))
    with pytest.warns(UserWarning, match=r"`save_best_only` does not save.*have: loss"):
        listed.on_train_batch_end(0, {"loss": 1.0})
    assert not model.saved


def test_finite_numbers_are_better_than_none():
    stop = EarlyStopping(patience=1, restore_best_weights=True)
    checkpoint = ModelCheckpoint("m{epoch}.keras", save_best_only=True)
    plateau = ReduceLROnPlateau(patience=2)
    model = run([stop, checkpoint, plateau], losses(NAN, 3.0, 2.0, 1.0))
    assert not model.stop_training
    assert [path for _, path in model.saved] == ["m2.keras", "m3.keras", "m4.keras"]
    assert stop.best == checkpoint.best == plateau.best == 1.0
    assert model.optimizer.learning_rate == 0.1
    assert run(EarlyStopping(), losses(2.0, NAN, 1.0)).stop_training


@pytest.mark.parametrize(
    ("monitor", "metrics", "wants_more"),
    [
        ("loss", (), False),
        ("val_loss", (), False),
        ("val_digits_loss", (), False),
        ("accuracy", (), True),
        ("val_acc", (), True),
        ("auc_1", (), True),
        ("val_mae", [("mae", False)], False),
        ("val_digits_f1", [("f1", True)], True),
        ("val_accident", [("accident", False)], False),
    ],
)
def test_the_direction_comes_from_the_name_or_the_metric(monitor, metrics, wants_more):
    model = FakeModel(
        SimpleNamespace(name=name, higher_is_better=better) for name, better in metrics
    )
    rising = [{monitor: value} for value in (1.0, 2.0, 3.0)]
    assert run(EarlyStopping(monitor), rising, model=model).stop_training != wants_more


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match=r"'val_score'.*Pass mode='max' or mode='min'"):
        run(EarlyStopping("val_score"), [{"val_score": 1.0}])


def test_the_mode_overrules_the_name():
    stop = EarlyStopping("loss", mode="max")
    assert not run(stop, losses(1.0, 2.0, 3.0)).stop_training


def test_early_stopping_restores_the_best_weights_on_the_device(capsys):
    stop = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    model = run(stop, losses(3.0, 1.0, 2.0, 2.0, 2.0))
    assert model.weight.tolist() == [2.0, 2.0]
    assert (stop.best_epoch, stop.stopped_epoch) == (1, 3)
    assert stop.best_weights is not None
    assert stop.best_weights["weight"].device == model.weight.device
    printed = capsys.readouterr().out
    assert "Epoch 4: early stopping" in printed
    assert "best epoch: 2." in printed
    assert run(stop, losses(3.0)).weight.tolist() == [1.0, 1.0]


def test_checkpoints_follow_their_template(tmp_path):
    path = tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.weights.h5"
    checkpoint = ModelCheckpoint(path, save_weights_only=True)
    model = run(checkpoint, losses(0.5, 0.25))
    names = ["01-0.50.weights.h5", "02-0.25.weights.h5"]
    assert model.saved == [("weights", str(tmp_path / "new" / name)) for name in names]
    assert (tmp_path / "new").is_dir()


def test_a_template_with_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"asks for 'val_acc'.*epoch, loss, val_loss"):
        run(ModelCheckpoint("{val_acc}.keras"), losses(0.5))


def test_checkpoints_every_few_batches(tmp_path):
    checkpoint = ModelCheckpoint(
        f"{tmp_path}/{{epoch}}-{{batch}}-{{loss}}.keras", save_freq=3
    )
    model = FakeModel()
    listed = CallbackList(checkpoint, model=model)
    for epoch, batch in itertools.product(range(2), range(4)):
        listed.on_epoch_begin(epoch)
        listed.on_train_batch_end(batch, {"loss": batch})
        listed.on_epoch_end(epoch, {"loss": 0.0})
    names = [os.path.basename(path) for _, path in model.saved]
    assert names == ["1-3-2.keras", "2-2-1.keras"]


def test_the_best_checkpoint_tells_what_it_does(capsys):
    checkpoint = ModelCheckpoint(
        "m.safetensors", verbose=1, save_best_only=True, initial_value_threshold=0.9
    )
    model = run(checkpoint, losses(1.0, 0.5))
    assert model.saved == [("model", "m.safetensors")]
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss did not improve from 0.90000",
        "Epoch 2: val_loss improved from 0.90000 to 0.50000, "
        "saving model to m.safetensors",
    ]


# The learning rate


def test_the_rate_falls_on_a_plateau(capsys):
    history = History()
    plateau = ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.04, verbose=1)
    model = run([plateau, history], losses(1.0, 1.0, 1.0, 1.0))
    assert model.optimizer.learning_rate == 0.04
    assert history.history["learning_rate"] == [0.1, 0.1, 0.05, 0.04]
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: ReduceLROnPlateau sets the rate to 0.05.",
        "Epoch 3: ReduceLROnPlateau sets the rate to 0.04.",
    ]
    assert ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


def by_epoch(epoch):
    return 0.1 / (epoch + 1)


def by_rate(epoch, lr):
    return lr / 2


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (by_epoch, [0.1, 0.05]),
        (by_rate, [0.05, 0.025]),
        (lambda epoch, lr: np.float32(0.5), [0.5, 0.5]),
        (lambda epoch, lr: torch.tensor(0.5), [0.5, 0.5]),
    ],
)
def test_a_schedule_sets_the_rate(schedule, rates):
    history = History()
    run([LearningRateScheduler(schedule), history], losses(1.0, 1.0))
    assert history.history["learning_rate"] == rates


@pytest.mark.parametrize(
    ("rate", "error"), [("0.1", TypeError), (NAN, ValueError), (-1.0, ValueError)]
)
def test_a_schedule_that_gives_no_rate_is_refused(rate, error):
    with pytest.raises(error, match="`result of schedule` must be"):
        run(LearningRateScheduler(lambda epoch, lr: rate), losses(1.0))


def test_errors_inside_a_schedule_are_its_own():
    def wrong(epoch, lr):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        run(LearningRateScheduler(wrong), losses(1.0))


# Losses that are not finite


@pytest.mark.parametrize("loss", [NAN, math.inf])
def test_training_ends_in_the_batch_of_a_loss_that_is_not_finite(loss, capsys):
    terminate = TerminateOnNaN()
    assert terminate.guards_loss
    model = FakeModel()
    listed = CallbackList(terminate, model=model)
    listed.on_train_batch_end(0, {"loss": 1.0})
    assert not model.stop_training
    listed.on_train_batch_end(1, {"loss": loss})
    assert model.stop_training
    assert f"Batch 1: the loss is {loss}" in capsys.readouterr().out


def test_an_error_on_a_loss_that_is_not_finite():
    listed = CallbackList(TerminateOnNaN(raise_error=True), model=FakeModel())
    with pytest.raises(RuntimeError, match="Batch 2: the loss is nan"):
        listed.on_train_batch_end(2, {"loss": NAN})


class Unreadable(Mapping[str, float]):
    """Logs that must not be read."""

    def __getitem__(self, name):
        raise AssertionError("read")

    __iter__ = __len__ = __getitem__  # type: ignore[assignment]


def test_logs_are_not_read_where_the_step_looks_at_the_loss():
    model: Any = FakeModel()
    model.guards_loss = True
    CallbackList(TerminateOnNaN(), model=model).on_train_batch_end(0, Unreadable())


# Files of numbers


def rows_of(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_numbers_are_written_epoch_by_epoch(tmp_path):
    path = tmp_path / "log.csv"
    logs = [{"loss": 0.5, "accuracy": 0.75}, {"loss": 0.25, "val_loss": 1.0}]
    run(CSVLogger(path, ";"), logs)
    assert rows_of(path, ";") == [
        ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"],
        ["0", "0.75", "0.5", "NA", "NA"],
        ["1", "NA", "0.25", "NA", "1.0"],
    ]
    run(CSVLogger(path), losses(1.0))
    assert rows_of(path) == [["epoch", "loss", "val_loss"], ["0", "1.0", "1.0"]]


def test_numbers_are_appended(tmp_path):
    path = tmp_path / "log.csv"
    for value in (1.0, 2.0):
        run(CSVLogger(path, append=True), losses(value))
    expected = [["epoch", "loss", "val_loss"], ["0", "1.0", "1.0"], ["0", "2.0", "2.0"]]
    assert rows_of(path) == expected


def test_lists_of_numbers_have_one_cell(tmp_path):
    run(CSVLogger(tmp_path / "log.csv"), [{"loss": [1.0, 2.0], "val_loss": 1.0}])
    assert rows_of(tmp_path / "log.csv")[1] == ["0", '"[1.0, 2.0]"', "1.0"]


def test_a_missing_folder_is_told_before_training(tmp_path):
    listed = CallbackList(CSVLogger(tmp_path / "no" / "log.csv"))
    with pytest.raises(FileNotFoundError, match=r"log\.csv"):
        listed.on_train_begin()


# The bar


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def plain(text):
    """Return what stays on the screen, without colors."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [line.rpartition("\r")[2] for line in text.split("\n")]


def epochs_with_bar(steps, epochs=2, verbose="auto", given_steps=...):
    bar = CallbackList(
        add_progbar=True,
        verbose=verbose,
        epochs=epochs,
        steps=steps if given_steps is ... else given_steps,
    )
    bar.on_train_begin()
    for epoch in range(epochs):
        bar.on_epoch_begin(epoch)
        for batch in range(steps):
            bar.on_train_batch_end(batch, {"loss": 0.5, "accuracy": 0.9})
        bar.on_test_begin()
        bar.on_test_batch_end(0, {"loss": 0.5})
        bar.on_test_end({"loss": 0.5})
        bar.on_epoch_end(epoch, {"accuracy": 0.9, "loss": 0.21, "val_loss": 2e-4})
    bar.on_train_end()


def test_a_file_gets_one_line_per_epoch(capsys):
    epochs_with_bar(5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0::2] == ["Epoch 1/2", "Epoch 2/2"]
    for line in lines[1::2]:
        assert re.fullmatch(
            r"5/5 - 0s - \d+[um]s/step - accuracy: 0.9000 - loss: 0.2100 "
            r"- val_loss: 2.0000e-04",
            line,
        )


@pytest.mark.parametrize("value", [2.0, 0.0011, 0.001, -0.001, -0.5, 0.0, 0.000123])
def test_numbers_are_shown_as_keras_shows_them(value, capsys):
    # 0.001 is the usual learning rate, which callbacks put into the logs.
    ProgressBar(1, 2).finish({"value": value})
    ours = capsys.readouterr().out.rpartition(" - value: ")[2]
    keras.utils.Progbar(1).update(1, [("value", value)], finalize=True)
    theirs = capsys.readouterr().out.rpartition(" - value: ")[2]
    assert ours == theirs


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    epochs_with_bar(5)
    lines = plain(out.getvalue())
    assert lines[0] == "Epoch 1/2"
    assert re.fullmatch(
        "5/5 ━{20} 0s [0-9]+[um]s/step - accuracy: 0.9000 - loss: 0.2100 "
        "- val_loss: 2.0000e-04",
        lines[1],
    )
    assert len(lines) == 5


def test_a_notebook_gets_a_bar_of_any_width(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    monkeypatch.setenv("COLUMNS", "30")
    epochs_with_bar(5, epochs=1)
    painted = plain(capsys.readouterr().out.replace("\r", "\n"))
    running = [line for line in painted if line.startswith("3/5 ━━━━━━━━━━━━────────")]
    assert running[0].rstrip().endswith(" - accuracy: 0.9000 - loss: 0.5000")


def test_one_epoch_has_no_number(capsys):
    epochs_with_bar(5, epochs=1)
    assert capsys.readouterr().out.startswith("5/5 - 0s")


@pytest.mark.parametrize("verbose", [0, 1, 2, "auto"])
def test_verbosity_in_a_terminal(verbose, monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    epochs_with_bar(5, epochs=1, verbose=verbose)
    printed = out.getvalue()
    assert bool(printed) == (verbose != 0)
    assert ("━" in printed) == (verbose in (1, "auto"))


def test_a_bar_that_nothing_has_begun_prints_nothing(capsys):
    logger = ProgbarLogger()
    logger.set_params({"epochs": 1, "steps": 1})
    logger.on_train_batch_end(0, {"loss": 0.5})
    logger.on_epoch_end(0, {"loss": 0.5})
    assert capsys.readouterr().out == ""
    logger.on_epoch_begin(0)
    logger.on_epoch_end(0, {"loss": 0.5})
    assert "loss: 0.5" in capsys.readouterr().out


def test_an_unknown_number_of_steps_is_known_after_an_epoch(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    epochs_with_bar(3, given_steps=None)
    painted = [line.strip() for line in plain(out.getvalue().replace("\r", "\n"))]
    assert any(line.startswith("2/Unknown 0s") for line in painted)
    assert any(line.startswith("2/3 ━━━━━━━━━━━━━─") for line in painted)
    final = [line for line in painted if line.startswith("3/3 ")]
    assert len([line for line in final if "val_loss" in line]) == 2


def test_logs_are_read_ten_times_a_second_at_most(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    clock = iter(range(10_000))
    # A millisecond passes between two looks at the clock.
    monkeypatch.setattr(
        progress_module, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 1e3)
    )

    class Counted(dict[str, float]):
        reads = 0

        def items(self):
            type(self).reads += 1
            return super().items()

    bar = ProgressBar(1000)
    for step in range(1000):
        bar.update(step + 1, Counted(loss=0.5))
    assert 8 <= Counted.reads <= 10


def test_logs_are_not_read_where_there_is_no_bar(capsys):
    bar = ProgressBar(3, verbose=1)
    for step in range(3):
        bar.update(step + 1, Unreadable())
    bar.finish({"loss": 0.5})
    assert capsys.readouterr().out.startswith("3/3 - ")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_the_line_fits_the_terminal(columns, monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    monkeypatch.setenv("COLUMNS", str(columns))
    bar = ProgressBar(1000)
    for step in range(500):
        bar.update(step + 1, {"loss": 0.5, "accuracy": 0.9})
    painted = plain(out.getvalue().replace("\r", "\n"))
    assert max(map(len, painted)) <= columns - 1
    assert (" - loss: 0.5000" in painted[-1]) == (columns >= 80)


def test_messages_are_printed_above_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    bar = ProgressBar(4)
    for step in range(2):
        bar.update(step + 1)
    say("Epoch 1: something happened")
    bar.finish({"loss": 0.5})
    lines = [line for line in plain(out.getvalue()) if line]
    assert lines[0] == "Epoch 1: something happened"
    assert lines[1].startswith("2/4 ━━━━━━━━━━━━━━━━━━━━ 0s")


def test_prediction_and_evaluation_have_their_line(capsys):
    bar = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    bar.on_predict_begin()
    for batch in range(2):
        bar.on_predict_batch_end(batch, Unreadable())
    bar.on_predict_end()
    bar.on_test_begin()
    for batch in range(2):
        bar.on_test_batch_end(batch, {"loss": 0.5})
    bar.on_test_end({"loss": 0.5})
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"2/2 - 0s - \d+[um]s/step", first)
    assert re.fullmatch(r"2/2 - 0s - \d+[um]s/step - loss: 0.5000", second)


def test_colors_and_line_characters_can_be_missing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    monkeypatch.setenv("NO_COLOR", "1")
    epochs_with_bar(5, epochs=1)
    assert "5/5 ==================== 0s " in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_time_left_is_shown_as_keras_shows_it():
    bar = ProgressBar(10_001, verbose=2)
    bar._start = bar._first = 0.0
    shown = []
    for seconds in (0.0001, 0.02, 0.5, 2.0):
        bar.seen, bar._now = 2, seconds
        shown.append((bar._clock(), bar._rate()))
    assert shown == [
        ("0s", "100us/step"),
        ("3:19", "20ms/step"),
        ("1:23:19", "500ms/step"),
        ("5:33:18", "2s/step"),
    ]


def test_a_bar_left_by_an_interrupt_does_not_disturb_the_next(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    left = ProgressBar(4)
    for step in range(2):
        left.update(step + 1)
    epochs_with_bar(3, epochs=1)
    assert "\x1b[A" not in out.getvalue()  # never moves to another line
    assert plain(out.getvalue())[-2].startswith("3/3 ━━━━━━━━━━━━━━━━━━━━ 0s")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_bar_in_a_pseudo_terminal(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setattr(progress_module, "_INTERVAL", 0.0)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        bar = ProgressBar(3)
        for step in range(3):
            bar.update(step + 1, {"loss": 0.5})
        bar.finish({"loss": 0.25})
        shown = ""
        while "\n" not in shown:
            shown += os.read(ours, 10_000).decode(errors="ignore")
    os.close(ours)
    assert shown.count("\r") >= 3
    final = [line for line in plain(shown.replace("\r\n", "\n")) if line][-1]
    assert re.fullmatch("3/3 ━{20} 0s [0-9]+[um]s/step - loss: 0.2500", final)


def test_nothing_here_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run([EarlyStopping(), History()], losses(3.0, 2.0, 1.0))


# With a model


def trained(*callbacks: Any, epochs: int = 3, rate: float = 0.01, **options: Any):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 4)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = Sequential([Dense(8, activation="relu", input_shape=(4,)), Dense(1)])
    model.compile(SGD(rate), "mse", metrics=["mae"])
    options = {"validation_split": 0.25, "verbose": 0, **options}
    history = model.fit(
        x, y, batch_size=10, epochs=epochs, callbacks=list(callbacks), **options
    )
    return model, history


def test_fit_calls_the_events_of_training_and_validation():
    recorder = Recorder()
    trained(recorder, epochs=1)
    steps = ["on_train_batch_begin", "on_train_batch_end"]
    tests = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    order = ["on_train_begin", "on_epoch_begin", *steps * 3, *tests]
    order += ["on_epoch_end", "on_train_end"]
    assert [event for event, *_ in recorder.events] == order
    assert [args[0] for event, *args in recorder.events if event == steps[0]] == [
        0,
        1,
        2,
    ]
    assert list(recorder.events[-1][1]) == ["loss", "mae", "val_loss", "val_mae"]


def test_logs_of_a_batch_are_means_so_far():
    seen: list[dict[str, float]] = []
    show = LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(dict(logs))
    )
    _, history = trained(show, epochs=1)
    assert len(seen) == 3
    assert seen[-1]["loss"] == pytest.approx(history.history["loss"][0])
    assert seen[0]["mae"] != seen[1]["mae"]
    assert isinstance(seen[0]["loss"], float)


@pytest.mark.filterwarnings("ignore:In epoch")
def test_evaluation_within_training_leaves_the_guard_on():
    def evaluate_and_break(epoch, logs):
        x = np.ones((2, 4), "float32")
        terminate.model.evaluate(x, x[:, :1], verbose=0)
        terminate.model.optimizer.learning_rate = 1e30

    terminate = TerminateOnNaN()
    model, history = trained(terminate, LambdaCallback(on_epoch_end=evaluate_and_break))
    assert len(history.epoch) == 2
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.filterwarnings("ignore:In epoch")
def test_a_loss_that_is_not_finite_leaves_the_weights_finite(capsys):
    steps: list[int] = []
    count = LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    model, history = trained(TerminateOnNaN(), count, rate=1e30)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert len(history.epoch) == 1
    assert len(steps) < 3
    assert f"Batch {steps[-1]}: the loss is" in capsys.readouterr().out


def test_a_step_of_your_own_is_watched_as_well(capsys):
    class Own(Sequential):
        def train_step(self, data):
            super().train_step(data)
            return {"loss": torch.tensor(NAN)}

    model = Own([Dense(1, input_shape=(4,))])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="In epoch 1 loss is nan"):
        history = model.fit(
            np.ones((9, 4)),
            np.ones((9, 1)),
            batch_size=1,
            epochs=2,
            verbose=0,
            callbacks=[TerminateOnNaN()],
        )
    assert len(history.epoch) == 1
    assert "Batch 0: the loss is nan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metric", "monitor", "wants_more"),
    [
        ("mae", "val_mae", False),
        ("r2_score", "r2_score", True),
        (torchmetrics.MeanSquaredError(), "val_mean_squared_error", False),
    ],
    ids=str,
)
def test_the_direction_of_a_metric_of_the_model_is_known(metric, monitor, wants_more):
    stop = EarlyStopping(monitor, patience=5)
    x = np.arange(32, dtype="float32").reshape(8, 4)
    model = Sequential([Dense(1, input_shape=(4,))])
    model.compile(SGD(1e-5), "mse", metrics=[metric])
    model.fit(x, x[:, :1], epochs=2, validation_split=0.5, verbose=0, callbacks=[stop])
    assert stop._wants_more is wants_more


def test_training_that_ends_within_an_epoch_is_validated_whole():
    stop = LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(
            stop.model, "stop_training", True
        )
    )
    rows: list[int] = []
    count = LambdaCallback(on_test_batch_end=lambda batch, logs: rows.append(batch))
    model, history = trained(stop, count, validation_split=0.5)
    assert len(history.epoch) == 1
    assert rows == [0, 1]
    x = np.zeros((70, 4), "float32")
    assert model.predict(x, verbose=0).shape == (70, 1)
    assert model.stop_training


def test_the_weights_of_the_best_epoch_come_back():
    best = EarlyStopping("val_mae", mode="max", patience=1, restore_best_weights=True)
    kept: list[Any] = []
    keep = LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append(best.model.get_weights())
    )
    model, history = trained(best, keep, epochs=9)
    assert len(history.epoch) == 2  # the error falls, so its maximum is the first epoch
    for weight, expected in zip(model.get_weights(), kept[0], strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_rate_of_a_schedule_is_the_optimizers():
    model, history = trained(LearningRateScheduler(lambda epoch, lr: lr / 2))
    assert history.history["learning_rate"] == [0.005, 0.0025, 0.00125]
    assert float(model.optimizer.learning_rate) == 0.00125


def test_fit_evaluate_and_predict_print_their_lines(capsys):
    model, _ = trained(verbose=1, epochs=2)
    x = np.zeros((33, 4), "float32")
    model.evaluate(x, x[:, :1])
    model.predict(x)
    patterns = [
        "Epoch 1/2",
        r"3/3 - 0s - \d+[um]s/step - loss: .* - mae: .* - val_loss: .* - val_mae: .*",
        "Epoch 2/2",
        r"3/3 - 0s - \d+[um]s/step - loss: .* - mae: .* - val_loss: .* - val_mae: .*",
        r"2/2 - 0s - \d+[um]s/step - loss: .* - mae: .*",
        r"2/2 - 0s - \d+[um]s/step",
    ]
    lines = capsys.readouterr().out.splitlines()
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line)


@pytest.mark.parametrize("extension", [".keras", ".h5", ".safetensors"])
def test_checkpoints_of_a_model_can_be_loaded(tmp_path, extension):
    path = tmp_path / f"best{extension}"
    model, _ = trained(ModelCheckpoint(path, save_best_only=True))
    x = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(load_model(path).predict(x), model.predict(x))
