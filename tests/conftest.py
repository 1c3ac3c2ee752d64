"""What every test shares: one seed, one thread, Keras on torch."""

import os

# Keras chooses its backend when it is first imported.
os.environ["KERAS_BACKEND"] = "torch"

import random

import numpy as np
import pytest
import torch

# Several test processes share the cores, and sums do not depend on the machine.
torch.set_num_threads(1)
torch.set_float32_matmul_precision("highest")


def pytest_make_parametrize_id(val):
    """Name a callable by its name: an address differs between test processes."""
    return getattr(val, "__name__", None)


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random state."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """Skip what needs an accelerator where there is none."""
    if torch.accelerator.is_available():
        return
    skip = pytest.mark.skip(reason="needs an accelerator")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
