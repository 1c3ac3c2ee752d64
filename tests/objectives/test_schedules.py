"""Learning rate schedules: values of Keras, for numbers and for arrays of steps."""

import keras
import numpy as np
import pytest
import torch

from torchkeras.optimizers import schedules

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

STEPS = [0, 1, 3, 5, 7, 10, 15, 22, 30, 70, 71, 200]
CASES = [
    ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.5}),
    ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
    ("InverseTimeDecay", {"decay_steps": 7, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
    ("PolynomialDecay", {"decay_steps": 20}),
    ("PolynomialDecay", {"decay_steps": 20, "power": 0.5, "end_learning_rate": 0.01}),
    ("PolynomialDecay", {"decay_steps": 10, "power": 2.0, "cycle": True}),
    ("CosineDecay", {"decay_steps": 30}),
    ("CosineDecay", {"decay_steps": 30, "alpha": 0.1}),
    ("CosineDecay", {"decay_steps": 30, "warmup_target": 0.5, "warmup_steps": 10}),
    ("CosineDecayRestarts", {"first_decay_steps": 10}),
    ("CosineDecayRestarts", {"first_decay_steps": 9, "t_mul": 1.0, "m_mul": 0.8}),
    ("CosineDecayRestarts", {"first_decay_steps": 9, "t_mul": 1.5, "alpha": 0.1}),
]
PIECES = {"boundaries": [5, 22], "values": [1.0, 0.5, 0.1]}


def make(namespace, name, options):
    first = {} if name == "PiecewiseConstantDecay" else {"initial_learning_rate": 0.2}
    return getattr(namespace, name)(**first, **options)


@pytest.mark.parametrize(
    ("name", "options"), [*CASES, ("PiecewiseConstantDecay", PIECES)]
)
def test_values_and_config_are_those_of_keras(name, options):
    ours = make(schedules, name, options)
    theirs = make(keras.optimizers.schedules, name, options)
    expected = [float(theirs(step)) for step in STEPS]
    assert [ours(step) for step in STEPS] == pytest.approx(expected, abs=2e-7)
    assert ours(torch.tensor(7)) == pytest.approx(expected[4], abs=2e-7)
    for steps in (np.array(STEPS), torch.tensor(STEPS)):
        rates = ours(steps)
        assert rates.shape == steps.shape
        np.testing.assert_allclose(rates, expected, atol=2e-7)

    assert ours.get_config() == theirs.get_config()
    config = schedules.serialize(ours)
    assert config["module"] == "keras.optimizers.schedules"
    assert schedules.deserialize(config).get_config() == ours.get_config()
    by_keras = keras.optimizers.schedules.serialize(theirs)
    assert isinstance(by_keras, dict)
    assert schedules.deserialize(by_keras)(7) == ours(7)


@pytest.mark.parametrize("name", ["ExponentialDecay", "InverseTimeDecay"])
def test_steps_must_be_positive(name):
    with pytest.raises(ValueError, match=rf"{name}: `decay_steps` must be positive"):
        make(schedules, name, {"decay_steps": 0, "decay_rate": 0.5})


def test_one_value_more_than_boundaries():
    with pytest.raises(ValueError, match="2 values and 2 boundaries"):
        schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2])


def test_a_schedule_of_ones_own_needs_call_and_config():
    class Empty(schedules.LearningRateSchedule):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no `__call__"):
        Empty()(0)
    with pytest.raises(NotImplementedError, match="Empty has no `get_config`"):
        Empty().get_config()


def test_unknown_schedules_are_named_with_the_closest():
    with pytest.raises(ValueError, match="Did you mean 'CosineDecay'"):
        schedules.deserialize({"class_name": "CosinDecay", "config": {}})
