"""Layers against Keras's own, from the same weights: values, gradients, configs.

Every row of the table of layers is compared. What a row can't say stands below: masks,
layers in several calls, and arguments that are objects.
"""

import json
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import CASES, VARIATIONS, Case
from tests.parity.layer_pairs import (
    TOLERANCE,
    compare,
    described,
    pair,
    plain_config,
)
from torchkeras import layers
from torchkeras._core import tree
from torchkeras.layers.preprocessing.images.base import ImageLayer

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
TABLE = [*CASES, *VARIATIONS]

#: What Keras changes in a config when it builds: it makes a list of an axis, and counts
#: the channels for groups=-1.
CHANGED_BY_BUILDING = {
    "LayerNormalization": "axis",
    "RMSNormalization": "axis",
    "GroupNormalization": "groups",
}


def name_of(case: Case) -> str:
    """Return a readable test id."""
    return f"{case}-{case.input}".replace(" ", "")


def rows(cases: Iterable[Case]) -> Any:
    """Return a parameter for each row; where Keras differs, it has to differ."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case,
                id=name_of(case),
                marks=[pytest.mark.xfail(reason=case.differs)] if case.differs else [],
            )
            for case in cases
        ],
    )


def repeats_training(case: Case) -> bool:
    """Whether the mode means something to a layer whose outputs are not random."""
    has_modes = case.takes_training or "Normalization" in case.layer.__name__
    return has_modes and not case.random


@rows(TABLE)
def test_values_and_gradients(case):
    theirs, ours = pair(case)
    # Keras's layers that vary images do so unless told.
    mode = {"training": False} if isinstance(ours, ImageLayer) else {}
    own, expected = compare(theirs, ours, case.data(), call=case.run, **mode)
    torch.testing.assert_close(own, expected)


@rows(case for case in TABLE if repeats_training(case))
def test_training_and_moving_statistics(case):
    theirs, ours = pair(case)
    # A softmax of large scores is too steep for the tolerance.
    still = "Attention" in case.layer.__name__
    for shift in [0] * 4 if still else range(4):
        x = tree.map_structure(lambda x: x * (shift + 1) + shift, case.data())  # noqa: B023
        compare(theirs, ours, x, call=case.run, training=True)
        for other, weight in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, **TOLERANCE)
    compare(theirs, ours, x, call=case.run, training=False)


@pytest.mark.parametrize(
    "case", [case for case in TABLE if "exchange" not in case.skip], ids=name_of
)
def test_configs_are_exchanged(case):
    theirs, ours = pair(case)
    changed = CHANGED_BY_BUILDING.get(case.layer.__name__)
    expected = {**plain_config(theirs), changed: None}
    assert {**plain_config(ours), changed: None} == expected
    ours_of_theirs = layers.deserialize(keras.layers.serialize(theirs))
    theirs_of_ours = keras.layers.deserialize(layers.serialize(ours))
    for twin in (ours_of_theirs, theirs_of_ours):
        if not ours.weights and not twin.built:
            case.run(twin.build, case.input)
        assert twin.built
        assert described(twin) == described(ours)
        assert {**plain_config(twin), changed: None} == expected


@pytest.mark.parametrize("renorm", [False, True])
def test_masked_batch_normalization(renorm):
    case = Case(layers.BatchNormalization, {"renorm": renorm}, (3, 5, 4))
    theirs, ours = pair(case)
    mask = torch.rand(3, 5) > 0.4
    for _ in range(3):
        compare(theirs, ours, case.data(), training=True, mask=mask)
        for other, weight in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, **TOLERANCE)


@pytest.mark.parametrize(
    "kwargs", [{}, {"keepdims": True}, {"data_format": "channels_first"}]
)
def test_masked_global_average(kwargs):
    case = Case(layers.GlobalAveragePooling1D, kwargs, (3, 5, 5))
    theirs, ours = pair(case)
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    compare(theirs, ours, case.data(), mask=mask)


def test_masked_softmax():
    case = Case(layers.Softmax, {}, (3, 5))
    theirs, ours = pair(case)
    mask = torch.arange(5) < torch.tensor([[5], [3], [0]])
    compare(theirs, ours, case.data(), mask=mask)


@pytest.mark.parametrize("value", [0.0, 0.1, -2.0, np.array([0.5, 3.0, 0.0, 5.0])])
def test_masking(value):
    case = Case(layers.Masking, {"mask_value": value}, (2, 5, 4))
    theirs, ours = pair(case)
    x = case.data()
    value = torch.as_tensor(value, dtype=x.dtype)
    x[0, 1:3] = x[1, 4] = value
    x[1, 0, :3] = 0.5
    compare(theirs, ours, x)
    outputs, expected = ours(x), theirs(x)
    assert torch.equal(outputs._keras_mask, expected._keras_mask)
    assert int(outputs._keras_mask.sum()) == 7
    twin = layers.deserialize(json.loads(json.dumps(keras.layers.serialize(theirs))))
    assert torch.equal(twin(x), outputs)


@pytest.mark.parametrize("layer", [layers.SimpleRNN, layers.LSTM, layers.GRU])
@pytest.mark.parametrize(
    "kwargs", [{}, {"return_sequences": True}, {"go_backwards": True}]
)
def test_masked_sequences(layer, kwargs):
    case = Case(layer, {"units": 3, **kwargs}, (3, 5, 4))
    theirs, ours = pair(case)
    x = case.data()
    for lengths in ([[5], [3], [1]], [[2], [5], [4]]):
        mask = torch.arange(5) < torch.tensor(lengths)
        compare(theirs, ours, x, mask=mask)
    scattered = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]]).bool()
    compare(theirs, ours, x, mask=scattered)


REGULARIZED = {
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "bias_regularizer": keras.regularizers.L1(0.1),
    "activity_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "bias_constraint": "non_neg",
}


@pytest.mark.parametrize("name", ["Dense", "Conv1D", "Conv2D"])
def test_objects_in_configs_are_exchanged(name):
    rank = int(name[4]) if name.startswith("Conv") else 0
    sizes = {"units": 3} if not rank else {"filters": 3, "kernel_size": 2}
    theirs = getattr(keras.layers, name)(**sizes, **REGULARIZED)
    ours = layers.deserialize(keras.layers.serialize(theirs))
    shape = (2, *[6] * rank, 4)
    theirs.build(shape)
    ours.build(shape)
    ours.set_weights(theirs.get_weights())
    x = np.random.randn(*shape).astype("float32")
    expected, outputs = theirs(x), ours(x)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)
    torch.testing.assert_close(
        torch.stack([*ours.losses]).sum(), torch.stack([*theirs.losses]).sum()
    )
    assert plain_config(ours) == plain_config(theirs)
