"""`SpectralNormalization` and `ReversibleEmbedding` beside Keras: calls and files."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import Case
from tests.parity.layer_pairs import compare, pair
from torchkeras import layers, models

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def layer_around(library, kind):
    """Return a layer to be normalized."""
    return {
        "Dense": lambda: library.layers.Dense(4),
        "Conv1D": lambda: library.layers.Conv1D(4, 2, name="conv"),
    }[kind]()


@pytest.mark.parametrize("kind", ["Dense", "Conv1D"])
def test_the_kernel_and_where_its_iteration_stands(kind, tmp_path):
    library = type("Ours", (), {"layers": layers})
    inner = layer_around(library, kind)
    theirs, ours = pair(Case(layers.SpectralNormalization, {"layer": inner}, (2, 5, 3)))
    x = torch.randn(2, 5, 3)
    for training in (True, True, False):
        compare(theirs, ours, x, training=training)
        for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(own, other, atol=1e-5)
    ours.set_weights([np.zeros_like(w) for w in ours.get_weights()])
    assert float(ours(x, training=True).detach().abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["Dense", "Conv1D"])
def test_files_of_normalized_layers_are_exchanged(kind, tmp_path):
    x = np.random.standard_normal((2, 5, 3)).astype("float32")
    inner = layer_around(keras, kind)
    theirs = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.SpectralNormalization(inner)]
    )
    theirs(x, training=True)
    theirs.save(tmp_path / "theirs.keras")
    ours = models.load_model(tmp_path / "theirs.keras")
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    ours(x, training=True)
    for suffix in (".keras", ".safetensors", ".h5"):
        ours.save(tmp_path / f"ours{suffix}")
        twin = models.load_model(tmp_path / f"ours{suffix}")
        for own, other in zip(twin.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)
    twin: Any = keras.models.load_model(tmp_path / "ours.keras")
    for own, other in zip(twin.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_what_cannot_be_normalized():
    with pytest.raises(ValueError, match="has neither a `kernel` nor `embeddings`"):
        layers.SpectralNormalization(layers.ReLU())(torch.ones(2, 3))
    with pytest.raises(ValueError, match="`power_iterations` must be a positive int"):
        layers.SpectralNormalization(layers.Dense(3), power_iterations=0)
    table = layers.SpectralNormalization(layers.Embedding(4, 3))
    assert table(torch.tensor([[1, 2]]), training=True).dtype == torch.float32


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"tie_weights": False},
        {"logit_soft_cap": 0.5},
        {"tie_weights": False, "mask_zero": True},
    ],
)
def test_both_ways_of_an_embedding(kwargs, tmp_path):
    case = Case(layers.ReversibleEmbedding, {"input_dim": 7, "output_dim": 3, **kwargs},
                (2, 5), high=7)  # fmt: skip
    theirs, ours = pair(case)
    compare(theirs, ours, case.data())
    compare(theirs, ours, torch.randn(2, 5, 3), reverse=True)
    numbers = layers.Input((5,), dtype="int32")
    scores = ours(ours(numbers), reverse=True)
    assert scores.shape == (None, 5, 7)
    model = models.Model(numbers, scores)
    x = case.data()
    x[:, -1] = 0
    assert hasattr(ours(x), "_keras_mask") == bool(kwargs.get("mask_zero"))
    model.save(tmp_path / "model.keras")
    torch.testing.assert_close(models.load_model(tmp_path / "model.keras")(x), model(x))
    twin: Any = keras.models.load_model(tmp_path / "model.keras")
    torch.testing.assert_close(twin(x), model(x), atol=1e-5, rtol=1e-5)
    half = layers.ReversibleEmbedding(7, 3, reverse_dtype="bfloat16")
    assert half(torch.ones(2, 3), reverse=True).dtype == torch.bfloat16
