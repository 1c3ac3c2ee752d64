"""Freezing and thawing: Keras's `trainable` and torch's `requires_grad` are one."""

import io
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from tests.layers.cases import CASES, Case
from torchkeras import layers, models


def _by_parameters(layer: Any, value: bool) -> None:
    for parameter in layer.parameters():
        parameter.requires_grad = value


def _by_property(layer: Any, value: bool) -> None:
    layer.trainable = value


WAYS: dict[str, Callable[[Any, bool], Any]] = {
    "trainable": _by_property,
    "requires_grad_": lambda layer, value: layer.requires_grad_(value),
    "parameters": _by_parameters,
    "parent": lambda layer, value: nn.Sequential(layer).requires_grad_(value),
}
ways = pytest.mark.parametrize("way", WAYS)
TRAINED = [case for case in CASES if case.weights and case.trainable != 0]


@ways
@pytest.mark.parametrize("case", TRAINED, ids=str)
def test_each_layer_is_frozen_and_thawed(case: Case, way: str) -> None:
    layer = case.build()
    names = [w.name for w in layer.trainable_weights]
    kept = len(layer.non_trainable_weights)
    for thaw in WAYS:
        WAYS[way](layer, False)
        assert layer.trainable_weights == []
        assert len(layer.non_trainable_weights) == len(names) + kept
        assert not any(p.requires_grad for p in layer.parameters())
        WAYS[thaw](layer, True)
        assert [w.name for w in layer.trainable_weights] == names
        assert len(layer.non_trainable_weights) == kept
        assert all(p.requires_grad for p in layer.parameters())
        assert layer.trainable


@ways
def test_a_leaf_says_how_it_is(way: str) -> None:
    layer = layers.Dense(2)
    layer.build((None, 3))
    WAYS[way](layer, False)
    assert not layer.trainable
    assert layer.get_config()["trainable"] is False
    layer.linear.bias.requires_grad_(True)  # one weight alone
    assert layer.trainable
    assert [w.name for w in layer.trainable_weights] == ["bias"]


@pytest.mark.parametrize("way", ["trainable", "requires_grad_"])
def test_what_is_frozen_before_it_is_built_stays_frozen(way: str) -> None:
    model = models.Sequential([layers.Dense(2), layers.BatchNormalization()])
    WAYS[way](model, False)
    model(torch.ones(2, 3))
    assert model.trainable_weights == []
    assert not any(p.requires_grad for p in model.parameters())
    WAYS[way](model, True)
    assert len(model.trainable_weights) == 4


@ways
def test_frozen_batch_normalization_infers(way: str) -> None:
    torch.manual_seed(0)
    layer, x = layers.BatchNormalization(), torch.randn(8, 3) + 2
    inferred = layer(x)
    trained = layer(x, training=True)
    WAYS[way](layer, False)
    averages = layer.moving_mean.numpy()
    assert not torch.equal(layer(x, training=True), trained)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), averages)
    WAYS[way](layer, True)
    layer(x, training=True)
    assert (layer.moving_mean.numpy() != averages).any()
    assert not torch.equal(layer(x), inferred)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.parametrize("jit_compile", [False, True])
@ways
def test_fit_trains_the_rest(way: str, jit_compile: bool) -> None:
    random = np.random.default_rng(0)
    x, y = random.random((8, 4), "float32"), random.random((8, 2), "float32")
    stack = [layers.Input((4,)), layers.Dense(3), layers.Dense(2)]
    model = models.Sequential(stack)
    model.compile("adam", "mse", jit_compile=jit_compile or "auto")

    def changed() -> list[bool]:
        before = model.get_weights()
        model.fit(x, y, verbose=0)
        pairs = zip(before, model.get_weights(), strict=True)
        return [bool((one != other).any()) for one, other in pairs]

    if jit_compile:
        torch._dynamo.reset()
    assert changed() == [True] * 4
    WAYS[way](model.layers[0], False)
    assert changed() == [False, False, True, True]
    WAYS[way](model.layers[0], True)
    assert changed() == [True] * 4


@ways
def test_a_weight_that_the_optimizer_does_not_know_is_named(way: str) -> None:
    x, y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
    stack = [layers.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2)]
    model = models.Sequential(stack)
    WAYS[way](model.layers[0], False)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    WAYS[way](model.layers[0], True)
    with pytest.raises(ValueError, match=r"other weights than first/kernel.*compile"):
        model.fit(x, y, verbose=0)


@ways
def test_summary_counts_what_is_frozen(way: str) -> None:
    model = models.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)])
    WAYS[way](model.layers[0], False)
    text = io.StringIO()
    model.summary(print_fn=lambda line: text.write(f"{line}\n"), show_trainable=True)
    assert "Trainable params: 8" in text.getvalue()
    assert "Non-trainable params: 15" in text.getvalue()


def _set(path: tuple[int, ...], value: bool) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for index in path:
            model = model.layers[index]
        model.trainable = value

    return change


#: What is set, in order, in a model that holds another: the place and the value.
NESTED = [
    [((), False)],
    [((), False), ((0,), True)],
    [((), False), ((0, 1), True)],
    [((0,), False), ((0, 0), True)],
    [((0,), False), ((), True)],
    [((0, 0), False), ((0, 1), False)],
    [((1,), False), ((0, 1), False), ((0,), True)],
]


@pytest.mark.parametrize("changes", NESTED, ids=str)
def test_what_is_trained_in_nested_models(changes: Any) -> None:
    found = []
    for k in (keras, torchkeras):
        inner = k.Sequential(
            [k.layers.Input((4,)), k.layers.Dense(3), k.layers.BatchNormalization()]
        )
        model = k.Sequential([k.layers.Input((4,)), inner, k.layers.Dense(2)])
        for path, value in changes:
            _set(path, value)(model)
        parts = [model, inner, *inner.layers, *model.layers[1:]]
        found.append(
            [
                (
                    part.trainable,
                    [(w.name, tuple(w.shape)) for w in part.trainable_weights],
                    [(w.name, tuple(w.shape)) for w in part.non_trainable_weights],
                )
                for part in parts
            ]
        )
    assert found[1] == found[0]
