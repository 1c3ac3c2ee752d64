"""Regularizers against Keras's own: penalties, gradients and configs."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import regularizers

CASES = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L1", {"l1": None}),
    ("l1", {"l1": 0.3}),
    ("L2", {}),
    ("L2", {"l2": 0.3}),
    ("L2", {"l2": None}),
    ("l2", {"l2": 0.3}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("L1L2", {"l1": None, "l2": 0.2}),
    ("l1_l2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
    ("orthogonal_regularizer", {"mode": "rows"}),
]
VALUES = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def public_names(module):
    return {name for name in dir(module) if not name.startswith("_")}


def penalty_and_gradient(regularizer):
    x = torch.tensor(VALUES, requires_grad=True)
    penalty = regularizer(x)
    (gradient,) = torch.autograd.grad(penalty + 0 * x.sum(), x)
    return penalty.detach(), gradient


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_penalties_gradients_and_configs_are_those_of_keras(name, options):
    ours = getattr(regularizers, name)(**options)
    theirs = getattr(keras.regularizers, name)(**options)
    penalty, gradient = penalty_and_gradient(ours)
    expected, slope = penalty_and_gradient(theirs)
    torch.testing.assert_close(penalty, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-5, atol=1e-6)
    assert ours.get_config() == pytest.approx(theirs.get_config())


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_configs_of_keras_are_read(name, options):
    theirs = getattr(keras.regularizers, name)(**options)
    config: Any = keras.regularizers.serialize(theirs)
    ours = regularizers.deserialize(config)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.get_config() == pytest.approx(theirs.get_config())
    assert regularizers.serialize(ours)["class_name"] == config["class_name"]


@pytest.mark.parametrize("name", sorted(public_names(keras.regularizers)))
def test_signatures_are_those_of_keras(name):
    def shape_of(member):
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.default) for p in parameters]

    ours = shape_of(getattr(regularizers, name))
    assert ours == shape_of(getattr(keras.regularizers, name))
