"""Constraints against Keras's own: projections and configs."""

import inspect

import keras
import numpy as np
import pytest
import torch

from torchkeras import constraints

CASES = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.5, "axis": 1}),
    ("MaxNorm", {"max_value": 1.5, "axis": [0, 1]}),
    ("max_norm", {"max_value": 1}),
    ("NonNeg", {}),
    ("non_neg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": [0, 1, 2]}),
    ("unit_norm", {"axis": -1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 1.0, "max_value": 1.5, "rate": 0.3, "axis": 1}),
    ("min_max_norm", {"min_value": 3.0, "max_value": 3.5, "axis": [0, 2]}),
]
VALUES = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")


def public_names(module):
    return {name for name in dir(module) if not name.startswith("_")}


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_projections_and_configs_are_those_of_keras(name, options):
    ours = getattr(constraints, name)(**options)
    theirs = getattr(keras.constraints, name)(**options)
    weights = torch.tensor(VALUES)
    torch.testing.assert_close(ours(weights), theirs(weights), rtol=1e-5, atol=1e-6)
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_configs_are_exchanged_with_keras(name, options):
    theirs = getattr(keras.constraints, name)(**options)
    ours = constraints.deserialize(keras.constraints.serialize(theirs))
    assert ours.get_config() == theirs.get_config()
    restored = keras.constraints.deserialize(constraints.serialize(ours))
    assert restored.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", sorted(public_names(keras.constraints)))
def test_signatures_are_those_of_keras(name):
    def shape_of(member):
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.default) for p in parameters]

    ours = shape_of(getattr(constraints, name))
    assert ours == shape_of(getattr(keras.constraints, name))
