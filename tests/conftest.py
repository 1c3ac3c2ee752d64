"""What every test shares: one seed, one thread, Keras on torch."""

import os

# Keras chooses its backend when it is first imported.
os.environ["KERAS_BACKEND"] = "torch"

import random
import signal

import numpy as np
import pytest
import torch

# Several test processes share the cores, and sums do not depend on the machine.
torch.set_num_threads(1)
torch.set_float32_matmul_precision("highest")


def pytest_make_parametrize_id(val):
    """Name a callable by its name: an address differs between test processes."""
    return getattr(val, "__name__", None)


def drawn() -> tuple[bytes, str]:
    """Return what every draw from the shared generators changes."""
    with np.printoptions(threshold=2000):
        return torch.get_rng_state().numpy().tobytes(), str(np.random.get_state())


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Refuse a module that draws while it is imported: that comes before the seed."""
    before = drawn()
    report = yield
    if isinstance(collector, pytest.Module) and drawn() != before:
        report.outcome = "failed"
        report.longrepr = (
            f"{collector.nodeid} draws while it is imported, before the seed. Draw in "
            "the test, or from a generator with a seed of its own."
        )
    return report


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random state."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def interrupts_arrive():
    """Let no test leave Ctrl-C to somebody else: a later one would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    left = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert left is signal.default_int_handler


def pytest_collection_modifyitems(items):
    """Skip what needs an accelerator where there is none."""
    if torch.accelerator.is_available():
        return
    skip = pytest.mark.skip(reason="needs an accelerator")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
