"""What a second `fit` begins anew, and what it goes on with: callbacks beside Keras."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.parity.test_callbacks import FakeModel, run
from torchkeras import callbacks, layers, optimizers
from torchkeras.callbacks.callback import EVENTS
from torchkeras.models import Sequential

NAN = math.nan


def series(values: list[float]) -> list[dict[str, float]]:
    return [{"loss": v, "val_loss": v, "accuracy": 1 - v / 10} for v in values]


#: Losses of a first and a second run. The best of the first beats all of the second.
RUNS = [
    ([5.0, 1.0, 2.0, 3.0, 4.0, 4.0], [9.0, 8.0, 8.0, 8.0, 8.0, 7.0]),
    ([3.0, 2.0, 1.0], [9.0, 8.0, 7.0, 9.0]),
    ([1.0, 2.0, 2.0, 2.0], [1.5, 1.2, 1.3, 1.3, 1.3]),
    ([4.0, 4.0, 4.0, 4.0], [4.0, 3.0, 4.0, 4.0, 4.0]),
    ([1.0], [2.0]),
]
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("EarlyStopping", {}),
    ("EarlyStopping", {"patience": 2}),
    ("EarlyStopping", {"patience": 99, "restore_best_weights": True}),
    ("EarlyStopping", {"patience": 1, "restore_best_weights": True}),
    ("EarlyStopping", {"baseline": 1.4, "patience": 1, "restore_best_weights": True}),
    (
        "EarlyStopping",
        {"start_from_epoch": 2, "patience": 9, "restore_best_weights": True},
    ),
    (
        "EarlyStopping",
        {"monitor": "accuracy", "mode": "max", "patience": 9,
         "restore_best_weights": True},
    ),
    ("EarlyStopping", {"min_delta": 1.5, "patience": 1, "restore_best_weights": True}),
    ("ReduceLROnPlateau", {"patience": 1}),
    ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5, "min_lr": 0.03}),
    ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5, "cooldown": 3}),
    ("ReduceLROnPlateau", {"monitor": "accuracy", "mode": "max", "patience": 1}),
    ("ModelCheckpoint", {"filepath": "{epoch}.keras"}),
    ("ModelCheckpoint", {"filepath": "m.keras", "save_best_only": True}),
    ("ModelCheckpoint", {"filepath": "{epoch}-{batch}.keras", "save_freq": 4}),
    (
        "ModelCheckpoint",
        {"filepath": "{epoch}.weights.h5", "save_weights_only": True,
         "save_best_only": True, "initial_value_threshold": 3.5},
    ),
    ("LearningRateScheduler", {"schedule": lambda epoch, rate: rate * 0.9}),
    ("LearningRateScheduler", {"schedule": lambda epoch: 0.5 / (epoch + 1)}),
    ("TerminateOnNaN", {}),
]  # fmt: skip
#: Those whose second run is tried below, and those that are made of these.
ELSEWHERE = {"CSVLogger", "History", "LambdaCallback", "ProgbarLogger"}
BASES = {"Callback", "CallbackList"}


def twice(library: Any, name: str, options: Any, losses: Any) -> list[FakeModel]:
    callback = getattr(library, name)(**copy.copy(options))
    return [run(callback, series(values)) for values in losses]


@pytest.mark.parametrize("losses", RUNS, ids=range(len(RUNS)))
@pytest.mark.parametrize(("name", "options"), ROWS)
def test_the_second_run_is_that_of_keras(name: str, options: Any, losses: Any) -> None:
    ours = twice(callbacks, name, options, losses)
    theirs = twice(keras.callbacks, name, options, losses)
    for own, other in zip(ours, theirs, strict=True):
        assert own.stop_training == other.stop_training
        assert own.rates == pytest.approx(other.rates)
        assert own.saved == other.saved
        assert torch.equal(own.weight, other.weight)


def test_every_callback_runs_twice_somewhere() -> None:
    names = {name for name, _ in ROWS}
    assert names | ELSEWHERE | BASES == set(callbacks.__all__)


# In `fit` itself

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(12, 3)).astype("float32")
Y = DRAW.normal(size=(12, 1)).astype("float32")


def model_of(rate: float = 0.1) -> Sequential:
    model = Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(optimizers.SGD(rate), "mse", metrics=["mae"])
    return model


def fitted(model: Sequential, *given: Any, epochs: int = 3, **options: Any) -> Any:
    return model.fit(
        X, Y, batch_size=4, epochs=epochs, callbacks=list(given), verbose=0, **options
    )


class Stop(callbacks.Callback):
    """End training at an event of the first run."""

    def __init__(self, event: str) -> None:
        self.done = False
        setattr(self, event, self.act)

    def act(self, *args: Any) -> None:
        self.model.stop_training = self.model.stop_training or not self.done
        self.done = True


#: The event that ends training, and how many steps and epochs there are until then.
STOPS = {
    "on_train_batch_begin": (1, 1),
    "on_train_batch_end": (1, 1),
    "on_epoch_begin": (1, 1),
    "on_epoch_end": (3, 1),
    "on_test_begin": (3, 1),
    "on_test_end": (3, 1),
}


@pytest.mark.parametrize("event", STOPS)
def test_a_run_that_was_stopped_does_not_stop_the_next(event: str) -> None:
    model, stop = model_of(), Stop(event)
    steps, epochs = STOPS[event]
    history = fitted(model, stop, validation_data=(X, Y))
    assert model.stop_training
    assert int(model.optimizer.iterations) == steps
    assert history.epoch == list(range(epochs))
    assert [len(values) for values in history.history.values()] == [epochs] * 4
    history = fitted(model, stop, validation_data=(X, Y))
    assert not model.stop_training
    assert int(model.optimizer.iterations) == steps + 9
    assert history.epoch == [0, 1, 2]


def test_stopping_before_fit_stops_nothing() -> None:
    model = model_of()
    model.stop_training = True
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert fitted(model).epoch == [0, 1, 2]
    model.stop_training = True
    model.train_on_batch(X, Y)
    assert int(model.optimizer.iterations) == 10


@pytest.mark.parametrize("stops", [True, False])
def test_the_best_weights_come_back_however_training_ends(stops: bool) -> None:
    """The rate grows, so that the first epochs are the best ones."""
    model = model_of()
    kept: list[Any] = []
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append(
            (logs["loss"], model.get_weights())
        )
    )
    rates = callbacks.LearningRateScheduler(lambda epoch: 0.1 * 2**epoch)
    for _ in range(2):
        kept.clear()
        stop = callbacks.EarlyStopping(
            "loss", patience=2 if stops else 99, restore_best_weights=True
        )
        history = fitted(model, rates, keep, stop, epochs=8)
        assert (len(history.epoch) < 8) == stops
        best = min(kept, key=lambda pair: pair[0])[1]
        assert any((a != b).any() for a, b in zip(kept[-1][1], best, strict=True))
        for weight, expected in zip(model.get_weights(), best, strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_history_is_of_the_last_run() -> None:
    model = model_of()
    first, second = fitted(model), fitted(model, epochs=5, initial_epoch=3)
    assert model.history is second
    assert (first.epoch, second.epoch) == ([0, 1, 2], [3, 4])
    assert len(first.history["loss"]) == 3
    assert len(second.history["loss"]) == 2


def test_a_history_of_the_users_goes_on() -> None:
    model, ours, theirs = model_of(), callbacks.History(), keras.callbacks.History()
    reference = FakeModel()
    for _ in range(2):
        fitted(model, ours)
        theirs.set_model(reference)
        theirs.on_train_begin()
        for epoch in range(3):
            theirs.on_epoch_end(epoch, {"loss": 1.0, "mae": 1.0})
    assert ours.epoch == theirs.epoch
    assert {k: len(v) for k, v in ours.history.items()} == {
        k: len(v) for k, v in theirs.history.items()
    }


@pytest.mark.parametrize("append", [True, False])
def test_a_file_of_numbers_begins_anew_or_goes_on(tmp_path: Any, append: bool) -> None:
    model = model_of()
    logger = callbacks.CSVLogger(tmp_path / "log.csv", append=append)
    runs = [fitted(model, logger).history for _ in range(2)]
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["epoch", "loss", "mae"]
    expected = [
        [epoch, history["loss"][epoch], history["mae"][epoch]]
        for history in (runs if append else runs[1:])
        for epoch in range(3)
    ]
    found = [[float(cell) for cell in row.split(",")[:3]] for row in rows]
    np.testing.assert_allclose(found, expected)


def test_functions_are_called_in_every_run() -> None:
    model, seen = model_of(), []
    shown = callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_end=lambda epoch, logs: seen.append(epoch),
        on_train_end=lambda logs: seen.append("end"),
    )
    for _ in range(2):
        fitted(model, shown)
    assert seen == ["begin", 0, 1, 2, "end"] * 2


def test_the_bar_counts_from_one_in_every_run(capsys: Any) -> None:
    model, bar = model_of(), callbacks.ProgbarLogger()
    for _ in range(2):
        model.fit(X, Y, batch_size=4, epochs=2, callbacks=[bar], verbose=2)
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith("Epoch")]
    counts = [line.split(" - ")[0] for line in lines if "/3" in line]
    assert titles == ["Epoch 1/2", "Epoch 2/2"] * 2
    assert counts == ["3/3"] * 4


def test_the_guard_of_a_run_is_not_that_of_the_next() -> None:
    """Without the callback a loss that is not finite does not stop training."""
    model = model_of()
    bad = X.copy()
    bad[0, 0] = NAN
    guard = callbacks.TerminateOnNaN()
    with pytest.warns(UserWarning, match="loss is nan"):
        model.fit(bad, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[guard])
    assert int(model.optimizer.iterations) == 0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    with pytest.warns(UserWarning, match="loss is nan"):
        model.fit(bad, Y, batch_size=4, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3


def test_the_rate_of_a_plateau_stays_for_the_next_run() -> None:
    model = model_of(0.0)
    plateau = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, verbose=0)
    model.optimizer.learning_rate = 1e-30
    history = [fitted(model, plateau, epochs=3).history for _ in range(2)]
    rates = [h["learning_rate"] for h in history]
    assert rates[0] == pytest.approx([1e-30, 1e-30, 5e-31])
    assert rates[1] == pytest.approx([2.5e-31, 2.5e-31, 1.25e-31])


ORDERS: dict[str, Callable[[], Any]] = {
    "list": lambda: [callbacks.History(), callbacks.TerminateOnNaN()],
    "tuple": lambda: (callbacks.History(), callbacks.TerminateOnNaN()),
    "one": callbacks.TerminateOnNaN,
    "CallbackList": lambda: callbacks.CallbackList([callbacks.TerminateOnNaN()]),
    "none": lambda: None,
}


@pytest.mark.parametrize("form", ORDERS)
def test_callbacks_may_be_given_in_any_form(form: str) -> None:
    model, given = model_of(), ORDERS[form]()
    if isinstance(given, callbacks.CallbackList):
        given.append(callbacks.History())
        given.set_model(model)
    for _ in range(2):
        history = model.fit(X, Y, epochs=2, callbacks=given, verbose=0)
        assert history is model.history
        assert history.epoch == [0, 1]


def test_events_of_a_second_run_are_those_of_the_first() -> None:
    events: list[Any] = []

    class Recorder(callbacks.Callback):
        pass

    for name in EVENTS:
        setattr(
            Recorder,
            name,
            lambda self, *args, name=name: events.append((name, args[0])),
        )
    model, recorder = model_of(), Recorder()
    runs = []
    for _ in range(2):
        events.clear()
        fitted(model, recorder, epochs=2, validation_data=(X, Y))
        runs.append([(n, a if isinstance(a, int) else None) for n, a in events])
    assert runs[0] == runs[1]
    batches = [a for n, a in runs[0] if n == "on_train_batch_end"]
    assert batches == list(itertools.chain(range(3), range(3)))
