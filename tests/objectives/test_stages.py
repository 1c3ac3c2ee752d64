"""What surrounds an update, all of it together, beside Keras; and state in files."""

import io
import itertools
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

from tests.parity.test_optimizers import OWN, Pair, both
from torchkeras import layers, optimizers
from torchkeras.models import Sequential
from torchkeras.optimizers.hyperparameters import Options

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

STAGES: list[list[dict[str, Any]]] = [
    [{}, {"clipnorm": 0.05}, {"clipvalue": 0.03}, {"global_clipnorm": 0.07}],
    [{}, {"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 3}],
    [{}, {"loss_scale_factor": 8.0}],
    [{}, {"weight_decay": 0.1}],
    [{}, {"use_ema": True}, {"use_ema": True, "ema_overwrite_frequency": 2}],
]
COMBINATIONS = [
    {k: v for options in choice for k, v in options.items()}
    for choice in itertools.product(*STAGES)
]


RUNS = [
    *(("SGD", options) for options in COMBINATIONS),
    *(("Adam", options) for options in COMBINATIONS if len(options) >= len(STAGES)),
]


@pytest.mark.parametrize(
    ("name", "options"), RUNS, ids=[f"{name}-{'-'.join(o)}" for name, o in RUNS]
)
def test_stages_together_are_those_of_keras(name: str, options: Any) -> None:
    pair = Pair()
    reference, optimizer = both(name, options)
    for _ in range(7):
        pair.step(reference, optimizer)
    assert int(optimizer.iterations) == int(reference.iterations)
    assert pair.difference() < 1e-5
    reference.finalize_variable_values(pair.theirs)
    optimizer.finalize_variable_values(pair.ours)
    assert pair.difference() < 1e-5


def test_every_stage_is_in_the_table() -> None:
    listed = {name for options in COMBINATIONS for name in options}
    fields = Options.__annotations__
    assert listed == set(fields) - {"name", "ema_momentum"}


CLIPS = {
    "clipnorm": lambda grads, limit: [
        g * min(1.0, limit / np.linalg.norm(g)) for g in grads
    ],
    "clipvalue": lambda grads, limit: [np.clip(g, -limit, limit) for g in grads],
    "global_clipnorm": lambda grads, limit: [
        g * min(1.0, limit / np.sqrt(sum((h**2).sum() for h in grads))) for g in grads
    ],
}


@pytest.mark.parametrize("clip", CLIPS)
def test_the_mean_of_what_was_accumulated_is_clipped(clip: str) -> None:
    """Two gradients that cancel leave the weights, however large each is."""
    draw = np.random.default_rng(0)
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    limits: dict[str, Any] = {clip: 0.2}
    model.compile(optimizers.SGD(0.5, gradient_accumulation_steps=2, **limits), "mse")
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    x, y = draw.normal(size=(24, 3)), draw.normal(size=(24, 2))
    for _ in range(2):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        for start in range(0, 24, 8):
            grads = []
            for rows in (slice(start, start + 4), slice(start + 4, start + 8)):
                error = (x[rows] @ kernel + bias - y[rows]) / 4
                grads.append((x[rows].T @ error, error.sum(0)))
            mean = [(a + b) / 2 for a, b in zip(*grads, strict=True)]
            weight_step, bias_step = CLIPS[clip](mean, 0.2)
            kernel, bias = kernel - 0.5 * weight_step, bias - 0.5 * bias_step
        for own, expected in zip(model.get_weights(), (kernel, bias), strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


# The same optimizer compiled again

NAMED = [*OWN, "ScheduleFreeAdamW"]


def model_of(namespace: Any = layers, sequential: Any = Sequential) -> Any:
    return sequential(
        [
            namespace.Input((6, 2)),
            namespace.Conv1D(3, 3, activation="tanh"),
            namespace.LSTM(4),
            namespace.Dense(2),
        ]
    )


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(8, 6, 2)), draw.normal(size=(8, 2))
    return x.astype("float32"), y.astype("float32")


def weights_after(name: str, again: bool) -> tuple[list[np.ndarray], int]:
    torch.manual_seed(0)
    model = model_of()
    optimizer = getattr(optimizers, name)(0.01)
    model.compile(optimizer, "mse")
    model.fit(*data(), epochs=3, shuffle=False, verbose=0)
    if again:
        model.compile(optimizer, "mse", metrics=["mae"])
        assert model.optimizer is optimizer
        assert int(optimizer.iterations) == 3
    model.fit(*data(), epochs=3, shuffle=False, verbose=0)
    return model.get_weights(), int(optimizer.iterations)


@pytest.mark.parametrize("name", NAMED)
def test_the_state_of_an_optimizer_outlives_another_compile(name: str) -> None:
    (own, count), (expected, _) = weights_after(name, True), weights_after(name, False)
    assert count == 6
    for weight, other in zip(own, expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_the_state_of_an_optimizer_of_torch_outlives_another_compile() -> None:
    model = model_of()
    own = torch.optim.Adam(model.parameters(), lr=0.01)
    model.compile(own, "mse")
    model.fit(*data(), epochs=3, verbose=0)
    model.compile(own, "mae")
    model.fit(*data(), epochs=2, verbose=0)
    assert model.optimizer.torch is own
    assert {int(state["step"]) for state in own.state.values()} == {5}


def test_a_name_compiled_again_is_a_new_optimizer() -> None:
    model = model_of()
    for _ in range(2):
        model.compile("adam", "mse")
        model.fit(*data(), epochs=3, verbose=0)
        assert int(model.optimizer.iterations) == 3


# State in files


def saved_state(path: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and the shapes that a file keeps for the optimizer."""
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    found: list[tuple[str, tuple[int, ...]]] = []
    with h5py.File(content) as file:
        group: Any = file["optimizer"]
        group.visititems(
            lambda name, item: (
                found.append((name, item.shape))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return sorted(found)


@pytest.mark.filterwarnings("ignore")  # Keras's, of torch's internals
@pytest.mark.parametrize("name", OWN)
def test_state_has_the_shapes_of_keras_in_a_file(name: str, tmp_path: Any) -> None:
    saved = []
    for number, (namespace, sequential, source) in enumerate(
        (
            (layers, Sequential, optimizers),
            (keras.layers, keras.Sequential, keras.optimizers),
        )
    ):
        model = model_of(namespace, sequential)
        model.compile(getattr(source, name)(0.01), "mse")
        model.fit(*data(), verbose=0)
        path = tmp_path / f"{number}.keras"
        model.save(path)
        saved.append(saved_state(path))
    assert saved[0] == saved[1]
