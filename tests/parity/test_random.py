"""Random functions against Keras's: shapes, dtypes, moments and ranges."""

import inspect

import keras
import numpy as np
import pytest
import torch

from torchkeras import random
from torchkeras.backend import standardize_dtype

N = 20_000
LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], "float32"))
COUNTS = np.array([[5.0], [50.0]], "float32")

ROWS = [
    ("beta", ((N,), 2.0, 5.0), {}),
    ("beta", ((2, N), COUNTS, 3.0), {"dtype": "float64"}),
    ("binomial", ((N,), 10.0, 0.3), {}),
    ("binomial", ((2, N), COUNTS, 0.6), {"dtype": "int32"}),
    ("categorical", (LOGITS, N), {}),
    ("categorical", (LOGITS, N), {"dtype": "int64"}),
    ("dropout", (np.ones((N, 2), "float32"), 0.3), {}),
    ("dropout", (np.ones((N, 2), "float32"), 0.3), {"noise_shape": (N, 1)}),
    ("dropout", (np.ones((N, 2), "float16"), 0.3), {}),
    ("gamma", ((N,), 2.0), {}),
    ("gamma", ((2, N), COUNTS), {"dtype": "float16"}),
    ("normal", ((N,),), {}),
    ("normal", ((2, N), 3.0, 0.5), {"dtype": "bfloat16"}),
    ("randint", ((N,), -3, 9), {}),
    ("randint", ((2, N), 0, 200), {"dtype": "uint8"}),
    ("randint", ((2, N), 0, 2000), {"dtype": "int64"}),
    ("shuffle", (np.arange(N, dtype="int32"),), {}),
    ("shuffle", (np.arange(N, dtype="float32").reshape(2, -1),), {"axis": 1}),
    ("truncated_normal", ((N,),), {}),
    ("truncated_normal", ((N, 2), 2.0, 3.0), {"dtype": "float16"}),
    ("uniform", ((N,),), {}),
    ("uniform", ((2, N), -3.0, 4.0), {"dtype": "float64"}),
]


def _draw(module, name, args, kwargs):
    args = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    return getattr(module, name)(*args, **kwargs, seed=1)


def _moments(values):
    values = values.double()
    return values.mean().item(), values.std().item()


@pytest.mark.parametrize(("name", "args", "kwargs"), ROWS)
def test_same_kind_of_values(name, args, kwargs):
    ours = _draw(random, name, args, kwargs)
    theirs = _draw(keras.random, name, args, kwargs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    (mean, std), (expected_mean, expected_std) = _moments(ours), _moments(theirs)
    assert mean == pytest.approx(expected_mean, abs=0.06 * expected_std)
    assert std == pytest.approx(expected_std, rel=0.06)


@pytest.mark.parametrize("name", [n for n in random.__all__ if n != "SeedGenerator"])
def test_same_arguments(name):
    ours = inspect.signature(getattr(random, name)).parameters
    theirs = inspect.signature(getattr(keras.random, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


def test_same_scalars_and_empty_shapes():
    for shape in ((), (0,), (2, 0)):
        for name in ("normal", "uniform", "truncated_normal"):
            ours = getattr(random, name)(shape)
            theirs = getattr(keras.random, name)(shape)
            assert ours.shape == theirs.shape
            assert standardize_dtype(ours.dtype) == "float32"


def test_the_state_of_a_seed_generator_counts_as_keras_does():
    ours, theirs = random.SeedGenerator(7), keras.random.SeedGenerator(7)
    for _ in range(3):
        assert ours.next().tolist() == theirs.next().tolist()
    assert ours.next(ordered=False).tolist() == theirs.next(ordered=False).tolist()
    assert ours.state.tolist() == theirs.state.value.tolist()
    config = keras.random.SeedGenerator(7, name="s").get_config()
    assert random.SeedGenerator.from_config(config).get_config() == config
