"""Weights and gradients that are zero, beside Keras: nothing to scale a step by."""

import keras
import numpy as np
import pytest
import torch

from tests.parity.test_optimizers import OWN, both
from torchkeras import Variable

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

CASES = [(name, options) for name, variants in OWN.items() for options in variants]
#: Whether the weight, and the gradients of the first steps, are zero.
ZEROS = {"weight": (True, 0), "gradients": (False, 3), "both": (True, 3)}


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_from_zero_are_those_of_keras(name, options, zeros) -> None:
    empty, silent = ZEROS[zeros]
    draw = np.random.default_rng(0)
    value = draw.normal(size=(4, 3)).astype("float32") * (not empty)
    theirs, own = keras.Variable(value, name="kernel"), Variable(value, name="kernel")
    reference, optimizer = both(name, options)
    for step in range(6):
        gradient = draw.normal(size=(4, 3)).astype("float32") * (step >= silent)
        reference.apply([torch.tensor(gradient)], [theirs])
        optimizer.apply([torch.tensor(gradient)], [own])
        expected = np.asarray(theirs.value.detach())
        np.testing.assert_allclose(own.numpy(), expected, rtol=1e-4, atol=1e-5)
