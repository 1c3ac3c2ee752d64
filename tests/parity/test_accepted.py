"""Targets and weights of every shape that Keras takes give its number."""

import itertools
import math
import warnings
from typing import Any

import keras
import numpy as np
import pytest

import torchkeras

ROWS = 6
OUTPUTS = {"number": (1,), "two": (2,), "steps": (4, 3)}
TARGETS = [(), (1,), (2,), (3,), (4,), (4, 1), (4, 3), (1, 1), (4, 2)]
WEIGHTS = [None, (), (1,), (4,), (4, 1)]
LOSSES = [
    "mse", "binary_crossentropy", "categorical_crossentropy", "huber", "hinge",
    "sparse_categorical_crossentropy", "cosine_similarity", "kl_divergence", "poisson",
]  # fmt: skip


def evaluated(library: Any, units: int, weights: Any, data: Any, loss: str) -> Any:
    x, y, sample_weight = data
    layers = library.layers
    model = library.Sequential(
        [layers.Input(x.shape[1:]), layers.Dense(units, activation="sigmoid")]
    )
    model.set_weights(weights)
    model.compile("sgd", loss)
    return model.evaluate(x, y, sample_weight=sample_weight, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_what_keras_takes_is_taken(output: str, loss: str) -> None:
    draw = np.random.default_rng(0)
    *steps, units = OUTPUTS[output]
    x = draw.random((ROWS, *steps, 5), dtype="float32")
    kernel = [draw.normal(size=(5, units)), draw.normal(size=units)]
    for target, weight in itertools.product(TARGETS, WEIGHTS):
        y = draw.random((ROWS, *target))
        if loss.startswith("sparse"):
            y = (y * min(units, 2)).astype("int64")
        weights = None if weight is None else draw.random((ROWS, *weight))
        data = (x, y, weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both tell of broadcasts
            try:
                expected = evaluated(keras, units, kernel, data, loss)
            except Exception:
                continue
            found = evaluated(torchkeras, units, kernel, data, loss)
        case = (target, weight, found, expected)
        assert found == pytest.approx(expected, rel=1e-4) or (
            math.isnan(found) and math.isnan(expected)
        ), case
