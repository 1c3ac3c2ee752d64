"""Activations against Keras's own: values and gradients."""

import inspect

import keras
import numpy as np
import pytest
import torch

from torchkeras import activations

# Away from the kinks, where one-sided gradients are a matter of taste.
VALUES = np.linspace(-8.03, 8.01, 60, dtype="float32").reshape(5, 12)

CASES = [
    ("celu", {}),
    ("celu", {"alpha": 0.4}),
    ("elu", {}),
    ("elu", {"alpha": 0.3}),
    ("exponential", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("glu", {}),
    ("glu", {"axis": -1}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 1.2}),
    ("hard_sigmoid", {}),
    ("hard_silu", {}),
    ("hard_swish", {}),
    ("hard_tanh", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.05}),
    ("linear", {}),
    ("log_sigmoid", {}),
    ("log_softmax", {}),
    ("log_softmax", {"axis": 0}),
    ("mish", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"max_value": 2.5}),
    ("relu", {"threshold": 1.5}),
    ("relu", {"threshold": -1.5}),
    ("relu", {"threshold": -1.5, "max_value": 3.0}),
    ("relu", {"negative_slope": 0.2, "max_value": 3.0}),
    ("relu", {"negative_slope": 0.2, "max_value": 3.0, "threshold": 1.0}),
    ("relu6", {}),
    ("selu", {}),
    ("sigmoid", {}),
    ("silu", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 2.0}),
    ("softmax", {}),
    ("softmax", {"axis": 0}),
    ("softmax", {"axis": (0, 1)}),
    ("softplus", {}),
    ("softsign", {}),
    ("sparse_plus", {}),
    ("sparse_sigmoid", {}),
    ("squareplus", {}),
    ("squareplus", {"b": 1.5}),
    ("swish", {}),
    ("tanh", {}),
    ("tanh_shrink", {}),
    ("threshold", {"threshold": 1.1, "default_value": -2.0}),
]
NOT_COMPARED = {
    "get",
    "serialize",
    "deserialize",
    # Keras 3.15 adds up cumulative sums, so that its outputs do not sum to 1; ours is
    # compared with the definition, in tests/ops.
    "sparsemax",
}


def public_names(module):
    return {name for name in dir(module) if not name.startswith("_")}


def value_and_gradient(function, **options):
    x = torch.tensor(VALUES, requires_grad=True)
    output = function(x, **options)
    weights = torch.arange(output.numel(), dtype=output.dtype).reshape(output.shape)
    (gradient,) = torch.autograd.grad((output * weights).sum(), x)
    return output.detach(), gradient


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_values_and_gradients_are_those_of_keras(name, options):
    value, gradient = value_and_gradient(getattr(activations, name), **options)
    expected, slope = value_and_gradient(getattr(keras.activations, name), **options)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-5)


def test_every_activation_of_keras_is_compared():
    names = public_names(keras.activations) - NOT_COMPARED
    assert names == {name for name, _ in CASES}


@pytest.mark.parametrize("name", sorted(public_names(keras.activations)))
def test_signatures_are_those_of_keras(name):
    def shape_of(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters]

    ours = shape_of(getattr(activations, name))
    assert ours == shape_of(getattr(keras.activations, name))


@pytest.mark.parametrize("name", ["relu", "silu", "hard_silu", "gelu"])
def test_serialized_names_are_those_of_keras(name):
    expected = keras.activations.serialize(getattr(keras.activations, name))
    assert activations.serialize(getattr(activations, name)) == expected


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_names_found_by_keras_are_found(name):
    assert activations.get(name) is getattr(activations, name)
    assert activations.deserialize(name) is getattr(activations, name)
