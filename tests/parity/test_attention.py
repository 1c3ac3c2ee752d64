"""Attention against Keras's own, from the same weights: masks, scores, gradients."""

import json
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import layers

pytestmark = [
    # Keras's own weights do not know NumPy 2's `copy` argument.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    ),
    # Keras's grouped attention gives its projections inputs with masks.
    pytest.mark.filterwarnings(
        "ignore:.*of type EinsumDense. was passed an input with"
    ),
]

TOLERANCE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
#: Those of keys' biases are sums that should be 0.
GRADIENTS: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-5}
#: Keys of configs that may differ: Keras writes them for some layers only.
INDIFFERENT = {"quantization_config", "activity_regularizer", "seed"}

PLAIN = [
    ("Attention", {}),
    ("Attention", {"use_scale": True}),
    ("Attention", {"dropout": 0.2}),
    ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True}),
    ("AdditiveAttention", {}),
    ("AdditiveAttention", {"use_scale": False}),
]
MULTI = {"num_heads": 3, "key_dim": 4}
GROUPED = {"head_dim": 4, "num_query_heads": 6, "num_key_value_heads": 2}
HEADED = [
    ("MultiHeadAttention", MULTI),
    ("MultiHeadAttention", {**MULTI, "value_dim": 5, "output_shape": 7}),
    ("MultiHeadAttention", {**MULTI, "output_shape": (2, 3), "use_bias": False}),
    ("MultiHeadAttention", {**MULTI, "dropout": 0.2, "use_gate": True}),
    ("MultiHeadAttention", {**MULTI, "sliding_window": 2, "attention_axes": 1}),
    ("MultiHeadAttention", {**MULTI, "attention_axes": [-2]}),
    ("GroupQueryAttention", GROUPED),
    ("GroupQueryAttention", {**GROUPED, "num_key_value_heads": 6, "use_bias": False}),
    ("GroupQueryAttention", {**GROUPED, "num_key_value_heads": 1, "use_gate": True}),
    ("GroupQueryAttention", {**GROUPED, "dropout": 0.3, "sliding_window": 3}),
]
SHAPES = [(2, 5, 8), (2, 7, 8), (2, 7, 8)]


def masks():
    """Return masks for five and seven steps, of which a row has none left."""
    query = torch.arange(5) < torch.tensor([[5], [3]])
    value = torch.arange(7) < torch.tensor([[4], [6]])
    pairs = torch.rand(2, 5, 7) > 0.3
    pairs[0, 2] = False
    return query, value, pairs


def tensors(shapes):
    """Return the same random inputs twice, each with a gradient of its own."""
    first = [torch.randn(shape, requires_grad=True) for shape in shapes]
    return first, [x.detach().clone().requires_grad_() for x in first]


def pair(name, kwargs, *build):
    """Return Keras's layer and ours, built, with the same random weights."""
    theirs, ours = (getattr(k, name)(**kwargs) for k in (keras.layers, layers))
    for layer in (theirs, ours):
        layer.build(*build)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert [w.path for w in ours.weights] == [
        w.path.replace(theirs.name, ours.name, 1) for w in theirs.weights
    ]
    weights = [np.random.standard_normal(w.shape) / 2 for w in theirs.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return theirs, ours


def compare(theirs, ours, call, shapes=SHAPES):
    """Compare outputs, scores, and the gradients of the inputs and the weights."""
    others, own = tensors(shapes)
    expected, outputs = call(theirs, others), call(ours, own)
    if not isinstance(expected, tuple):
        expected, outputs = (expected,), (outputs,)
    for want, got in zip(expected, outputs, strict=True):
        torch.testing.assert_close(got, want, **TOLERANCE)
    for result in (expected[0], outputs[0]):
        order = torch.arange(result.numel()).reshape(result.shape)
        (result * order.cos()).sum().backward()
    for other, x in zip(others, own, strict=True):
        torch.testing.assert_close(x.grad, other.grad, **TOLERANCE)
    for other, weight in zip(
        theirs.trainable_weights, ours.trainable_weights, strict=True
    ):
        torch.testing.assert_close(weight.grad, other.value.grad, **GRADIENTS)
    return outputs


def clear(*all_layers):
    for layer in all_layers:
        for weight in layer.trainable_weights:
            for tensor in getattr(weight, "tensors", (weight.value,)):
                tensor.grad = None


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True, "value"])
@pytest.mark.parametrize(("name", "kwargs"), PLAIN, ids=str)
def test_plain(name, kwargs, masked, causal, scores):
    options = {"use_causal_mask": causal, "return_attention_scores": scores}
    if masked:
        query, value, _ = masks()
        options["mask"] = [None if masked == "value" else query, value]
    theirs, ours = pair(name, kwargs, SHAPES)
    for count in (3, 2):
        shapes = SHAPES[:count]
        compare(theirs, ours, lambda layer, x: layer(list(x), **options), shapes)
        clear(theirs, ours)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True, "pairs", "heads"])
@pytest.mark.parametrize(("name", "kwargs"), HEADED, ids=str)
def test_headed(name, kwargs, masked, causal, scores):
    options: dict[str, Any] = {
        "use_causal_mask": causal,
        "return_attention_scores": scores,
    }
    query, value, pairs = masks()
    if masked == "pairs":
        options["attention_mask"] = pairs
    elif masked == "heads":
        options["attention_mask"] = pairs.unsqueeze(1).int()
    theirs, ours = pair(name, kwargs, *SHAPES)

    def call(layer, x):
        if masked is True:
            x[0]._keras_mask, x[1]._keras_mask, x[2]._keras_mask = query, value, value
        return layer(*x, **options)

    outputs = compare(theirs, ours, call)
    if masked is True:
        assert torch.equal(outputs[0]._keras_mask, query)
    clear(theirs, ours)
    if not masked and not kwargs.get("sliding_window"):
        compare(theirs, ours, lambda layer, x: layer(*x, **options), SHAPES[:2])


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("axes", [None, (1,), (2,), (2, 1), (-2,)])
def test_several_axes(axes, scores):
    kwargs = {**MULTI, "attention_axes": axes}
    shape = (2, 3, 4, 8)
    theirs, ours = pair("MultiHeadAttention", kwargs, shape, shape)
    assert ours.attention_axes == theirs.attention_axes
    sizes = tuple(shape[axis] for axis in ours.attention_axes)
    for mask in (None, torch.rand(2, *sizes, *sizes) > 0.3):
        if mask is not None:
            mask[..., 0] = True
        compare(
            theirs,
            ours,
            lambda layer, x: layer(
                x[0],
                x[0],
                attention_mask=mask,  # noqa: B023
                return_attention_scores=scores,
            ),
            [shape],
        )
        clear(theirs, ours)


@pytest.mark.parametrize(("name", "kwargs"), [*PLAIN, *HEADED], ids=str)
def test_configs_are_exchanged(name, kwargs):
    build = (SHAPES,) if (name, kwargs) in PLAIN else SHAPES
    theirs, ours = pair(name, kwargs, *build)
    config, expected = plain_config(ours), plain_config(theirs)
    assert {**config, "name": ""} == {**expected, "name": ""}
    twin = layers.deserialize(keras.layers.serialize(theirs))
    again = keras.layers.deserialize(layers.serialize(ours))
    for layer in (twin, again):
        assert layer.built
        assert [tuple(w.shape) for w in layer.weights] == [
            tuple(w.shape) for w in theirs.weights
        ]


def plain_config(layer):
    """Return the config as a file holds it."""
    config = json.loads(json.dumps(layer.get_config()))
    return {key: value for key, value in config.items() if key not in INDIFFERENT}


def test_first_weights():
    """A scaling initializer is told which axes of a kernel are inputs."""
    initializer = "glorot_uniform"
    for name, kwargs in (("MultiHeadAttention", MULTI), HEADED[6]):
        kwargs = {**kwargs, "kernel_initializer": initializer}
        theirs, ours = (getattr(k, name)(**kwargs) for k in (keras.layers, layers))
        for layer in (theirs, ours):
            layer.build((2, 5, 64), (2, 5, 64))
        for weight, other in zip(ours.weights, theirs.weights, strict=True):
            spread, expected = weight.numpy().std(), np.std(other)
            assert spread == pytest.approx(expected, rel=0.1)


def test_penalties():
    kwargs = {
        **MULTI,
        "kernel_regularizer": "l2",
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
        "kernel_constraint": "max_norm",
    }
    theirs, ours = pair("MultiHeadAttention", kwargs, *SHAPES)
    x, y = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    theirs(x, y)
    ours(x, y)
    assert len(ours.losses) == len(theirs.losses) == 12
    expected = torch.stack([*theirs.losses]).sum()
    torch.testing.assert_close(torch.stack([*ours.losses]).sum(), expected)
    assert plain_config(ours)["kernel_constraint"] is not None
    penalty = layers.serialize(ours)["config"]["activity_regularizer"]
    assert penalty["class_name"] == "L2"
