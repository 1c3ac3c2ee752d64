"""`ConvLSTM2D` and its kin: masks, states and files beside Keras, and bad input."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import Case
from tests.parity.layer_pairs import compare, pair
from torchkeras import layers, models
from torchkeras.layers.recurrent.convolutional import ConvLSTMCell

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
FILM = (3, 4, 5, 6, 2)


@pytest.mark.parametrize("sequences", [True, False])
def test_masked_steps(sequences):
    kwargs = {"filters": 3, "kernel_size": 3, "return_sequences": sequences}
    case = Case(layers.ConvLSTM2D, kwargs, FILM)
    theirs, ours = pair(case)
    for mask in ([[1, 1, 0, 0]] * 3, [[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]]):
        compare(theirs, ours, case.data(), mask=torch.tensor(mask).bool())


def test_states_that_are_given():
    kwargs = {"filters": 3, "kernel_size": 3, "return_state": True}
    case = Case(layers.ConvLSTM2D, kwargs, FILM)
    theirs, ours = pair(case)
    states = [torch.randn(3, 3, 4, 3) for _ in range(2)]
    compare(theirs, ours, case.data(), initial_state=states)


def test_states_that_are_kept():
    case = Case(layers.ConvLSTM1D, {"filters": 3, "kernel_size": 2, "stateful": True},
                (3, 4, 5, 2))  # fmt: skip
    theirs, ours = pair(case)
    for _ in range(3):
        compare(theirs, ours, case.data())
    ours.reset_state()
    theirs.reset_state()
    compare(theirs, ours, case.data())


@pytest.mark.parametrize("writer", [keras, None])
def test_files_are_exchanged(writer, tmp_path):
    ours = models.Sequential([layers.Input(FILM[1:]), layers.ConvLSTM2D(3, 3)])
    x = np.random.standard_normal(FILM).astype("float32")
    file = tmp_path / "model.keras"
    if writer is None:
        ours.save(file)
        twin: Any = keras.models.load_model(file)
        np.testing.assert_allclose(ours(x).detach(), twin(x).detach().cpu(), atol=1e-5)
        return
    inner = [keras.Input(FILM[1:]), keras.layers.ConvLSTM2D(3, 3)]
    theirs = keras.Sequential(inner)
    theirs.save(file)
    twin = models.load_model(file)
    np.testing.assert_allclose(twin(x).detach(), theirs(x).detach().cpu(), atol=1e-5)


def test_a_cell_of_its_own():
    layer = layers.ConvLSTM2D(3, 3, padding="same")
    x = torch.randn(FILM)
    expected = layer(x)
    cell = layer.cell
    assert type(cell) is ConvLSTMCell
    states = cell.get_initial_state(3)
    for step in x.unbind(1):
        output, states = cell(step, states)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(layers.RNN(cell)(x), expected)


def test_dropout_is_one_for_all_steps():
    layer = layers.ConvLSTM1D(2, 1, dropout=0.5, recurrent_dropout=1.0, seed=1)
    x = torch.ones(2, 1, 4, 3).expand(2, 6, 4, 3)
    layer.build(x.shape)
    layer.train()
    projected = layer.cell._project(x.permute(0, 1, 3, 2))
    assert torch.equal(projected[:, 0], projected[:, -1])
    gates = projected[:, 0].unflatten(1, (4, 2))
    assert not torch.equal(gates[:, 0], gates[:, 1])
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("kwargs", "shape", "message"),
    [
        ({}, (2, 3, 5, 5), "expected 5 axes"),
        ({}, (2, 3, 2, 5, 1), "at least .* for kernel_size"),
        ({"strides": 2, "dilation_rate": 2}, FILM, "or `dilation_rate` must be 1"),
        ({"dropout": 2.0}, FILM, r"ConvLSTM2D: `dropout` must be a number in \[0, 1\]"),
        ({"padding": "causal"}, FILM, "`padding` must be one of"),
    ],
)
def test_what_does_not_fit(kwargs, shape, message):
    with pytest.raises(ValueError, match=message):
        layers.ConvLSTM2D(2, 3, **kwargs)(torch.ones(shape))


def test_sizes_that_are_not_known():
    with pytest.raises(ValueError, match="sizes of the spatial axes must be known"):
        layers.ConvLSTM2D(2, 3)(layers.Input((4, None, 5, 1)))
    outputs = layers.ConvLSTM2D(2, 3, return_sequences=True)(
        layers.Input((None, 5, 5, 1))
    )
    assert outputs.shape == (None, None, 3, 3, 2)
