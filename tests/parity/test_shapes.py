"""Targets, weights and masks of every shape, in losses and metrics, against Keras."""

import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import Input, Model, Sequential, layers, losses, metrics

LOSSES = [
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError"),
    *("MeanSquaredLogarithmicError", "CosineSimilarity", "Huber", "LogCosh", "Hinge"),
    *("SquaredHinge", "CategoricalHinge", "KLDivergence", "Poisson", "Dice", "Tversky"),
    *("BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy"),
    "CategoricalFocalCrossentropy",
]
METRICS = [
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError"),
    *("MeanSquaredLogarithmicError", "RootMeanSquaredError", "CosineSimilarity"),
    *("LogCoshError", "BinaryCrossentropy", "CategoricalCrossentropy"),
]
#: The shapes of the targets and of the outputs.
SHAPES = [
    *[((6, 1), (6,)), ((6,), (6, 1)), ((6, 10), (6, 1)), ((6, 1), (6, 10))],
    *[((6, 3), (6, 2)), ((6,), (6, 10)), ((6, 10), (6,)), ((6,), (6, 6))],
    *[((6, 5, 3), (6, 5, 1)), ((6, 5, 1), (6, 5, 3)), ((6, 5), (6, 5, 1))],
    *[((6, 5, 1), (6, 5)), ((6, 1, 3), (6, 5, 3)), ((6, 5), (6, 5, 3))],
    *[((1, 3), (6, 3)), ((3,), (6, 3)), ((1,), (6, 1)), ((6, 2, 3), (6, 4, 3))],
]


def values(function, *args, **kwargs):
    try:
        result = function(*args, **kwargs)
    except (ValueError, RuntimeError, TypeError):
        return None
    return np.asarray(torch.as_tensor(result).detach())


def numbers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.uniform(0.1, 0.9, s).astype("f")) for s in shapes]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore:.*one class:SyntaxWarning")
@pytest.mark.filterwarnings("ignore:.*(expected to be a tensor|In loss):SyntaxWarning")
def test_targets_of_another_shape(name):
    for shapes in SHAPES:
        y, p = numbers(0, *shapes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = values(getattr(keras.losses, name)(reduction="none"), y, p)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            found = values(getattr(losses, name)(reduction="none"), y, p)
        if expected is None:
            assert found is None, shapes
            continue
        assert found is not None, shapes
        assert found.shape == expected.shape, shapes
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        told = [w for w in told if "are broadcast" in str(w.message)]
        assert len(told) == (y.squeeze(-1).shape != p.squeeze(-1).shape), shapes


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.filterwarnings("ignore:.*are broadcast")
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_targets_of_another_shape_in_metrics(name):
    lenient = ("BinaryCrossentropy", "CategoricalCrossentropy")
    for shapes in SHAPES:
        y, p = numbers(1, *shapes)
        expected = values(getattr(keras.metrics, name)(), y, p)
        found = values(getattr(metrics, name)(), y, p)
        if expected is None and name in lenient and y.numel() == p.numel():
            continue  # a column that Keras takes in losses only
        assert (found is None) == (expected is None), shapes
        if found is not None and expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


N, T, K = 4, 3, 5
WEIGHTS = [None, (N,), (N, 1), (N, T), (N, T, 1), (1, T), (T,), (1,), (), (N, 1, 1)]
MASKS = {
    "none": None,
    "partial": [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]],
    "empty": [[0] * T] * N,
    "samples": [[1], [0], [1], [0]],
    "a vector": [1, 0, 1, 0],
}
MASKED_METRICS = [
    *("MeanSquaredError", "MeanAbsoluteError", "CosineSimilarity", "Hinge", "Poisson"),
    *("BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalAccuracy"),
    *("BinaryAccuracy", "TopKCategoricalAccuracy", "RootMeanSquaredError"),
]
REDUCTIONS = ["sum_over_batch_size", "sum", "none", "mean_with_sample_weight"]
ROWS = [
    *(
        (losses, name, {"reduction": reduction})
        for name in LOSSES
        if name not in ("Dice", "Tversky")
        for reduction in REDUCTIONS
    ),
    *((metrics, name, {}) for name in MASKED_METRICS),
]


def masked(output, mask):
    output = output.clone()
    if mask is not None:
        output._keras_mask = torch.tensor(mask, dtype=torch.bool)
    return output


@pytest.mark.parametrize("mask", MASKS)
def test_masks_and_weights_of_every_shape(mask):
    rng = np.random.default_rng(2)
    y = torch.eye(K)[torch.from_numpy(rng.integers(0, K, (N, T)))]
    (p,) = numbers(3, (N, T, K))
    for module, name, options in ROWS:
        reference = keras.losses if module is losses else keras.metrics
        for shape in WEIGHTS:
            weight = None if shape is None else numbers(4, shape)[0]
            found, expected = (
                values(
                    getattr(family, name)(**options),
                    y,
                    masked(p, MASKS[mask]),
                    # Keras writes into it.
                    sample_weight=None if weight is None else weight.clone(),
                )
                for family in (module, reference)
            )
            if expected is None:
                continue
            assert found is not None, (name, options, shape)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            if mask == "empty" and name != "RootMeanSquaredError":  # as in Keras
                assert not found.any(), (name, options, shape)


# In training


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh"])
def test_broadcast_targets_train_as_in_keras_with_one_warning(loss):
    x, y = (t.numpy() for t in numbers(5, (22, 4), (22, 10)))
    theirs: Any = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    ours = Sequential([Input((4,)), layers.Dense(1)])
    ours.set_weights(theirs.get_weights())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        ours.compile("sgd", loss, metrics=["mae", "mse"])
        history = ours.fit(x, y, 8, 2, 0, shuffle=False, validation_data=(x, y))
    messages = [str(w.message) for w in told]
    assert len(messages) == 1
    assert "as many units as the targets have columns" in messages[0]
    theirs.compile("sgd", loss, metrics=["mae", "mse"])
    expected = theirs.fit(x, y, 8, 2, 0, shuffle=False, validation_data=(x, y))
    for key, numbers_ in expected.history.items():
        np.testing.assert_allclose(history.history[key], numbers_, rtol=1e-4)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


def test_each_model_is_warned_of():
    x, y = (t.numpy() for t in numbers(6, (8, 4), (8, 10)))
    for _ in range(2):
        inputs = Input((4,))
        heads = [layers.Dense(1)(inputs), layers.Dense(1)(inputs)]
        model = Model(inputs, heads)
        model.compile("sgd", "mse", metrics=[["mae"], ["mae"]])
        with pytest.warns(UserWarning, match="are broadcast") as told:
            model.fit(x, [y, y], 4, verbose=0)
        assert len(told) == 1
