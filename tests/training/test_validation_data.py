"""`validation_data` is refused before any callback and before the first step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchkeras import layers
from torchkeras.callbacks import Callback
from torchkeras.models import Model, Sequential
from torchkeras.utils import PyDataset

X = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
Y = np.linspace(0, 1, 10, dtype="float32").reshape(10, 1)
LABELS = np.arange(10) % 3


def one() -> Model:
    model = Sequential(
        [
            layers.Input((4,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def classes() -> Model:
    model = Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def named() -> Model:
    a, b = layers.Input((2,), name="a"), layers.Input((2,), name="b")
    joined = layers.Concatenate()([a, b])
    model = Model({"a": a, "b": b}, layers.Dense(1)(joined))
    model.compile("sgd", "mse")
    return model


def two() -> Model:
    inputs = layers.Input((4,))
    outputs = [layers.Dense(1, name=name)(inputs) for name in ("u", "v")]
    model = Model(inputs, outputs)
    model.compile("sgd", "mse")
    return model


class Own(Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def own() -> Model:
    model = Own()
    model.compile("sgd", "mse")
    return model


def halves(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"a": x[:, :2], "b": x[:, 2:]}


class Indexed(PyDataset):
    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.batch = x, y

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return self.batch


def loader(x: Any, y: Any) -> DataLoader[Any]:
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return DataLoader(data, 5, generator=torch.Generator())  # a seed of its own


Row = tuple[Callable[[], Model], Any, Any, Any, str]
WIDE = np.zeros((10, 5), "float32")
ROWS: dict[str, Row] = {
    "shape of x": (one, X, Y, (WIDE, Y), "axis -1|shape"),
    "rank of x": (one, X, Y, (X[:, None, None], Y), "shape|rank|axes"),
    "shape of y": (one, X, Y, (X, np.zeros((10, 4, 2))), "shape"),
    "lengths": (one, X, Y, (X, Y[:9]), r"\[0\] has 10, .*\[1\] has 9"),
    "lengths of weights": (one, X, Y, (X, Y, Y[:3, 0]), r"validation_data\[2\] has 3"),
    "no samples": (one, X, Y, (X[:0], Y[:0]), "validation data has no samples"),
    "no targets": (one, X, Y, (X,), r"0 target\(s\), the training data 1"),
    "more targets": (one, X, Y, (X, [Y, Y]), "2 entries for 1 output"),
    "fewer targets": (two, X, [Y, Y], (X, Y), "1 entry for 2 output"),
    "targets without loss": (own, X, Y, X, r"0 target\(s\), the training data 1"),
    "a key that is missing": (
        named, halves(X), Y, ({"a": X[:, :2]}, Y), "`validation_data`.*keys",
    ),
    "a list for a dict": (
        named, halves(X), Y, (list(halves(X).values()), Y), "without names",
    ),
    "the shape of a key": (
        named, halves(X), Y, ({"a": X[:, :2], "b": X}, Y), "shape|size",
    ),
    "strings": (one, X, Y, (X.astype(str), Y), "expected numbers, got strings"),
    "labels": (classes, X, LABELS, (X, LABELS + 1), "label|class"),
    "inputs of the user's own model": (own, X, Y, (WIDE, Y), "axis -1|shape"),
    "a loader": (one, X, Y, loader(WIDE, Y), "axis -1|shape"),
    "a generator": (one, X, Y, iter([(WIDE, Y)]), "axis -1|shape"),
    "an indexed set": (one, X, Y, Indexed(WIDE, Y), "axis -1|shape"),
}  # fmt: skip


class Witness(Callback):
    """Notes every event."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0

    def set_model(self, model: Any) -> None:
        self.events += 1

    def on_train_begin(self, logs: Any = None) -> None:
        self.events += 1


@pytest.mark.parametrize("name", ROWS)
def test_what_an_evaluation_refuses_is_refused_first(name: str) -> None:
    make, x, y, validation, message = ROWS[name]
    model, witness = make(), Witness()
    if not model.built:
        model.build((None, 4))
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(x, y, validation_data=validation, callbacks=[witness], verbose=0)
    assert witness.events == 0
    assert model.optimizer.iterations == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.training is False
    model.fit(x, y, validation_data=(x, y), verbose=0)


def test_an_error_says_which_data_it_is_about() -> None:
    with pytest.raises(ValueError, match=r"axis -1|shape") as caught:
        one().fit(X, Y, validation_data=(WIDE, Y), verbose=0)
    assert any("first batch of `validation_data`" in n for n in caught.value.__notes__)
    with pytest.raises(ValueError, match=r"axis -1|shape") as caught:
        one().fit(WIDE, Y, validation_data=(X, Y), verbose=0)
    assert any("first batch of `x` and `y`" in n for n in caught.value.__notes__)


@pytest.mark.parametrize("kind", ["arrays", "loader", "generator", "indexed"])
def test_the_trial_leaves_no_trace(kind: str) -> None:
    """Training with validation goes as training without, random numbers included."""
    held_out = {
        "arrays": lambda: (X, Y),
        "loader": lambda: loader(X, Y),
        "generator": lambda: iter([(X[:5], Y[:5]), (X[5:], Y[5:])]),
        "indexed": lambda: Indexed(X, Y),
    }[kind]()
    model, twin = one(), one()
    twin.set_weights(model.get_weights())
    torch.manual_seed(3)
    history = model.fit(X, Y, batch_size=4, validation_data=held_out, verbose=0)
    torch.manual_seed(3)
    expected = twin.fit(X, Y, batch_size=4, verbose=0)
    for key, values in expected.history.items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-5)
    for own_weight, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(own_weight, other, rtol=1e-4, atol=1e-6)
    result = twin.evaluate(X, Y, verbose=0)
    got = [history.history[k][0] for k in ("val_loss", "val_mae")]
    np.testing.assert_allclose(got, result, rtol=1e-6)


def test_a_split_needs_no_trial() -> None:
    model, calls = one(), []
    model.layers[-1].register_forward_hook(lambda m, a, o: calls.append(m.training))
    model.fit(X, Y, validation_split=0.5, verbose=0)
    assert calls == [True, False]
    calls.clear()
    model.fit(X, Y, epochs=0, validation_data=(X, Y), verbose=0)
    assert model.get_metrics_result()["loss"] == 0


def test_a_test_step_of_ones_own_is_not_tried() -> None:
    class Tested(Own):
        seen = 0

        def test_step(self, data: Any) -> Any:
            self.seen += 1
            return {"score": torch.tensor(1.0)}

    model = Tested()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, validation_data=(X, Y), verbose=0)
    assert history.history["val_score"] == [1.0]
    assert model.seen == 1
