"""Data sets of ``tf.data`` and of Hugging Face, by stand-ins with their methods."""

from typing import Any

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers, models

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(20, 3).astype("float32")
Y = X.sum(1, keepdims=True)


@pytest.fixture
def model():
    torchkeras.utils.set_random_seed(0)
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


# tf.data


class EagerTensor:
    """What ``tf.data`` gives: an array only by `numpy` and `__array__`."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape

    def numpy(self):
        return self.array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class TfDataset:
    def __init__(self, batches, length):
        self.batches = batches
        self.length = length

    def __iter__(self):
        while True:
            for batch in self.batches:
                yield tuple(map(EagerTensor, batch))
            if self.length != -1:
                return

    def __len__(self):
        if self.length < 0:
            raise TypeError("The dataset is infinite, or its length is unknown.")
        return self.length

    def cardinality(self):
        return EagerTensor(np.int64(self.length))


EagerTensor.__int__ = lambda self: int(self.array)  # type: ignore[attr-defined]
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]


@pytest.mark.parametrize("length", [3, -2])
def test_tf_data(model, length):
    weights = model.get_weights()
    expected = model.fit(X, Y, batch_size=8, shuffle=False, epochs=2, verbose=0)
    model.set_weights(weights)
    history = model.fit(TfDataset(BATCHES, length), epochs=2, verbose=0)
    np.testing.assert_allclose(
        history.history["loss"], expected.history["loss"], rtol=1e-5
    )
    inputs = TfDataset([(x,) for x, _ in BATCHES], length)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), model.predict(X, verbose=0), rtol=1e-5
    )
    assert model.evaluate(TfDataset(BATCHES, length), verbose=0) == pytest.approx(
        model.evaluate(X, Y, verbose=0), rel=1e-5
    )


def test_endless_tf_data_needs_steps(model):
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model.fit(TfDataset(BATCHES, -1), verbose=0)
    history = model.fit(TfDataset(BATCHES, -1), steps_per_epoch=5, verbose=0)
    assert len(history.history["loss"]) == 1


# Hugging Face


class Column:
    def __init__(self, source, column_name):
        self.source = source
        self.column_name = column_name

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return self.source[index][self.column_name]


class Table:
    """A table of ``datasets``: rows by index, columns by name, lists or arrays."""

    features: Any = None

    def __init__(self, columns, kind=None):
        self.columns = columns
        self.format = {"type": kind}
        self.asked = []

    @property
    def column_names(self):
        return list(self.columns)

    def with_format(self, kind):
        return type(self)(self.columns, kind)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index):
        if isinstance(index, str):
            return Column(self, index)
        self.asked.append(index)
        convert = {
            None: lambda a: a.tolist(),
            "numpy": lambda a: a,
            "torch": torch.as_tensor,
        }[self.format["type"]]
        return {name: convert(column[index]) for name, column in self.columns.items()}


class Stream:
    features = column_names = None

    def __init__(self, table):
        self.table = table

    def with_format(self, kind):
        return self

    def __iter__(self):
        return (self.table[i] for i in range(len(self.table)))


def tables(columns):
    return {
        "plain": Table(columns),
        "torch": Table(columns, "torch"),
        "stream": Stream(Table(columns)),
    }


KINDS = ["plain", "torch", "stream"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["label", "labels", "target"])
def test_tables(model, kind, target):
    weights = model.get_weights()
    expected = model.fit(X, Y, batch_size=8, shuffle=False, epochs=2, verbose=0)
    model.set_weights(weights)
    table = tables({target: Y, "pixels": X})[kind]
    history = model.fit(table, batch_size=8, shuffle=False, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected.history["loss"], rtol=1e-5)
    np.testing.assert_allclose(
        model.predict(table, verbose=0), model.predict(X, verbose=0), rtol=1e-5
    )
    assert model.evaluate(table, verbose=0) == pytest.approx(
        model.evaluate(X, Y, verbose=0), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_several_columns_are_inputs_by_name(kind):
    a, b = layers.Input((3,), name="a"), layers.Input((1,), name="b")
    model = models.Model({"a": a, "b": b}, layers.Concatenate()([a, b]))
    outputs = model.predict(tables({"a": X, "b": Y})[kind], verbose=0)
    np.testing.assert_allclose(outputs, np.concatenate([X, Y], 1))


def test_rows_are_shuffled_and_read_together(model):
    table = Table({"x": X, "label": Y}, "numpy")
    model.fit(table, batch_size=8, epochs=2, verbose=0)
    asked = [rows for rows in table.asked if isinstance(rows, list)]
    assert {len(rows) for rows in asked} == {8, 4}
    assert sorted(asked[-3] + asked[-2] + asked[-1]) == list(range(20))
    assert asked[-3] != list(range(8))


def test_columns(model):
    table = Table({"x": X, "y": Y})
    losses = [
        model.fit(table["x"], table["y"], batch_size=20, verbose=0).history["loss"][0]
        for _ in range(2)
    ]
    assert losses[1] < losses[0]


def test_what_cannot_be_used_is_told(model):
    table = Table({"x": X, "label": Y})
    with pytest.raises(ValueError, match="`y` must not be given when `x` is a Table"):
        model.fit(table, Y)
    with pytest.raises(ValueError, match="Pass one of 'train', 'test'"):
        model.fit({"train": table, "test": table})
    with pytest.raises(ValueError, match="`validation_split` needs arrays"):
        model.fit(table, validation_split=0.5)
