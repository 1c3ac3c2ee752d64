"""Training runs from the same weights give Keras's histories and weights."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from torchkeras import layers
from torchkeras.models import Sequential

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

RNG = np.random.default_rng(3)
ROWS = 48
IMAGES = RNG.normal(size=(ROWS, 8, 8, 2)).astype("float32")
VECTORS = RNG.normal(size=(ROWS, 6)).astype("float32")
TOKENS = RNG.integers(1, 20, (ROWS, 7))
for row, length in zip(TOKENS, RNG.integers(2, 8, ROWS), strict=True):
    row[length:] = 0
LABELS = RNG.integers(0, 3, ROWS)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
BINARY = (LABELS > 0).astype("float32")
TARGETS = RNG.normal(size=(ROWS, 2)).astype("float32")


@dataclasses.dataclass
class Run:
    name: str
    make: Callable[[Any], list[Any]]
    data: tuple[np.ndarray, np.ndarray]
    compile: dict[str, Any]
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


RUNS = [
    Run(
        "classifier",
        lambda k: [
            k.layers.Input((6,)),
            k.layers.Dense(8, activation="relu"),
            k.layers.Dense(3, activation="softmax"),
        ],
        (VECTORS, ONE_HOT),
        {
            "optimizer": "adam",
            "loss": "categorical_crossentropy",
            "metrics": ["accuracy"],
        },
        {"validation_split": 0.25},
    ),
    Run(
        "sparse labels and class weights",
        lambda k: [
            k.layers.Input((6,)),
            k.layers.Dense(8, activation="tanh"),
            k.layers.Dense(3, activation="softmax"),
        ],
        (VECTORS, LABELS),
        {
            "optimizer": "sgd",
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
            "weighted_metrics": ["accuracy"],
        },
        {"class_weight": {0: 1.0, 1: 2.0, 2: 0.25}},
    ),
    Run(
        "binary with sample weights",
        lambda k: [
            k.layers.Input((6,)),
            k.layers.Dense(8, activation="elu"),
            k.layers.Dense(1, activation="sigmoid"),
        ],
        (VECTORS, BINARY),
        {
            "optimizer": "rmsprop",
            "loss": "binary_crossentropy",
            "metrics": ["accuracy", "AUC", "Precision", "Recall"],
        },
        {"sample_weight": np.linspace(0.5, 1.5, ROWS)},
    ),
    Run(
        "regression with penalties and constraints",
        lambda k: [
            k.layers.Input((6,)),
            k.layers.Dense(
                8,
                activation="tanh",
                kernel_regularizer="l2",
                kernel_constraint="max_norm",
                activity_regularizer="l1",
            ),
            k.layers.Dense(2),
        ],
        (VECTORS, TARGETS),
        {"optimizer": "adam", "loss": "mse", "metrics": ["mae"]},
    ),
    Run(
        "convolutions with batch normalization",
        lambda k: [
            k.layers.Input((8, 8, 2)),
            k.layers.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.Conv2D(4, 3, use_bias=False),
            k.layers.MaxPooling2D(padding="same"),
            k.layers.GlobalAveragePooling2D(),
            k.layers.Dense(3, activation="softmax"),
        ],
        (IMAGES, LABELS),
        {
            "optimizer": "adamw",
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
        },
        {"validation_split": 0.25},
    ),
    Run(
        "masked recurrence",
        lambda k: [
            k.layers.Input((7,)),
            k.layers.Embedding(20, 5, mask_zero=True),
            k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True)),
            k.layers.GRU(4),
            k.layers.LayerNormalization(),
            k.layers.Dense(1, activation="sigmoid"),
        ],
        (TOKENS, BINARY),
        {"optimizer": "sgd", "loss": "binary_crossentropy", "metrics": ["accuracy"]},
    ),
]


class Ours:
    layers = layers


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_history_and_weights_are_kerass(run: Run) -> None:
    own = Sequential(run.make(Ours))
    reference = keras.Sequential(run.make(keras))
    reference.set_weights(own.get_weights())
    histories = []
    models: list[Any] = [own, reference]
    for model in models:
        model.compile(**run.compile)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's, of torch's internals
            history = model.fit(
                *run.data, batch_size=10, epochs=4, shuffle=False, verbose=0, **run.fit
            )
        histories.append(history.history)
    assert sorted(histories[0]) == sorted(histories[1])
    for name, values in histories[1].items():
        np.testing.assert_allclose(
            histories[0][name], values, rtol=1e-4, atol=1e-5, err_msg=name
        )
    for weight, theirs in zip(own.weights, reference.get_weights(), strict=True):
        np.testing.assert_allclose(
            weight.numpy(), theirs, rtol=1e-3, atol=1e-4, err_msg=weight.path
        )
    x, y = run.data
    results, expected = (m.evaluate(x, y, verbose=0, return_dict=True) for m in models)
    for name, value in expected.items():
        assert results[name] == pytest.approx(value, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(
        *(m.predict(x, verbose=0) for m in models), rtol=1e-3, atol=1e-4
    )
