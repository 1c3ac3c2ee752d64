"""Callbacks against Keras's own: the same decisions on the same numbers."""

import inspect
import os
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import callbacks

GENERATOR = np.random.default_rng(0)
#: Losses that fall, then rise and fall by chance, in steps that can be equal.
SERIES = [
    [{"loss": v, "val_loss": v, "val_accuracy": 1 - v} for v in values]
    for values in (GENERATOR.integers(1, 9, (6, 12)) / 10).tolist()
]
NAMES = callbacks.__all__


class FakeModel(nn.Module):
    """What callbacks of either library see of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.optimizer = SimpleNamespace(learning_rate=0.1)
        self.metrics: list[Any] = []
        self.stop_training = False
        self.saved: list[tuple[str, str]] = []
        self.rates: list[float] = []

    def get_weights(self) -> list[np.ndarray]:
        return [self.weight.detach().numpy().copy()]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.weight.data = torch.from_numpy(weights[0])

    def save(self, path: str, overwrite: bool) -> None:
        self.saved.append(("model", path))

    def save_weights(self, path: str, overwrite: bool) -> None:
        self.saved.append(("weights", path))


def run(callback: Any, series: list[dict[str, float]]) -> FakeModel:
    model = FakeModel()
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, logs in enumerate(series):
        callback.on_epoch_begin(epoch, {})
        for batch in range(5):
            model.weight.data = torch.tensor([epoch + batch / 10])
            callback.on_train_batch_end(batch, dict(logs))
        callback.on_epoch_end(epoch, dict(logs))
        model.rates.append(model.optimizer.learning_rate)
        if model.stop_training:
            break
    callback.on_train_end({})
    return model


@pytest.mark.parametrize("series", SERIES, ids=range(len(SERIES)))
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EarlyStopping", {}),
        ("EarlyStopping", {"patience": 2}),
        ("EarlyStopping", {"patience": 3, "min_delta": 0.15}),
        ("EarlyStopping", {"patience": 1, "restore_best_weights": True}),
        ("EarlyStopping", {"patience": 2, "baseline": 0.3}),
        (
            "EarlyStopping",
            {"patience": 1, "baseline": 0.1, "restore_best_weights": True},
        ),
        ("EarlyStopping", {"start_from_epoch": 3, "patience": 1}),
        (
            "EarlyStopping",
            {"monitor": "val_accuracy", "mode": "max", "patience": 2, "min_delta": 0.1},
        ),
        ("ReduceLROnPlateau", {"patience": 1}),
        ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5, "min_lr": 0.03}),
        ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5, "cooldown": 2}),
        ("ReduceLROnPlateau", {"patience": 0, "factor": 0.5, "min_delta": 0.25}),
        ("ModelCheckpoint", {"filepath": "{epoch}.keras"}),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_best_only": True}),
        (
            "ModelCheckpoint",
            {
                "filepath": "{epoch:03d}-{val_loss:.1f}.weights.h5",
                "save_weights_only": True,
                "save_best_only": True,
                "monitor": "val_accuracy",
                "mode": "max",
            },
        ),
        (
            "ModelCheckpoint",
            {
                "filepath": "m.h5",
                "save_best_only": True,
                "initial_value_threshold": 0.3,
            },
        ),
        ("ModelCheckpoint", {"filepath": "{epoch}-{batch}.keras", "save_freq": 3}),
        ("LearningRateScheduler", {"schedule": lambda epoch, lr: lr * 0.9}),
        ("LearningRateScheduler", {"schedule": lambda epoch: 0.5 / (epoch + 1)}),
    ],
)
def test_decisions_are_those_of_keras(name, options, series):
    ours = run(getattr(callbacks, name)(**options), series)
    theirs = run(getattr(keras.callbacks, name)(**options), series)
    assert ours.stop_training == theirs.stop_training
    assert ours.rates == pytest.approx(theirs.rates)
    assert ours.saved == theirs.saved
    assert torch.equal(ours.weight, theirs.weight)


def test_callbacks_of_keras_are_taken():
    class Theirs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model: Any = self.model
            model.stop_training = logs is not None and logs["loss"] < 1

    listed = callbacks.CallbackList(Theirs(), model=(model := FakeModel()), epochs=2)
    listed.on_epoch_end(0, {"loss": 2.0})
    assert not model.stop_training
    listed.on_epoch_end(1, {"loss": 0.5})
    assert model.stop_training


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(
    "series", [SERIES[0], [{"loss": 0.5, "accuracy": 1.0}, {"loss": 0.25}]]
)
def test_files_of_numbers_are_those_of_keras(tmp_path, append, series):
    for library in (callbacks, keras.callbacks):
        path = tmp_path / library.__name__
        for _ in range(2):
            run(library.CSVLogger(os.fspath(path), append=append), series)
    ours, theirs = (tmp_path / m.__name__ for m in (callbacks, keras.callbacks))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_keras(name):
    def shape_of(member):
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.default) for p in parameters]

    ours = shape_of(getattr(callbacks, name))
    assert ours == shape_of(getattr(keras.callbacks, name))


@pytest.mark.parametrize("name", NAMES)
def test_events_are_those_of_keras(name):
    theirs = [n for n in dir(getattr(keras.callbacks, name)) if n.startswith("on_")]
    assert set(theirs) <= set(dir(getattr(callbacks, name)))
