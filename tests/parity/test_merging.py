"""Merging layers against Keras's own: values, gradients, masks, shapes, configs."""

import itertools
import json
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import layers

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

ELEMENTWISE = ("Add", "Multiply", "Average", "Maximum", "Minimum")
BROADCAST = [
    [(2, 4, 3)],
    [(2, 4, 3), (2, 4, 3), (2, 4, 3)],
    [(2, 4, 3), (2, 1, 3)],
    [(2, 1, 3), (2, 4, 1)],
    [(2, 4, 3), (2, 3)],
    [(2, 3), (2, 5, 4, 3), (2, 4, 3)],
    [(3,), (3,)],
    [(3,), (3, 2)],
]

CASES = [
    *[(name, {}, shapes) for name in ELEMENTWISE for shapes in BROADCAST],
    *[("Subtract", {}, shapes) for shapes in BROADCAST if len(shapes) == 2],
    ("Concatenate", {}, [(2, 4, 3), (2, 4, 5)]),
    ("Concatenate", {}, [(2, 4, 3)]),
    ("Concatenate", {"axis": 1}, [(2, 4, 3), (2, 1, 3), (2, 2, 3)]),
    ("Concatenate", {"axis": 0}, [(2, 3), (4, 3)]),
    ("Concatenate", {"axis": -2}, [(2, 4, 3), (2, 5, 3)]),
    *[
        ("Dot", {"axes": axes, "normalize": normalize}, shapes)
        for normalize in (False, True)
        for axes, shapes in (
            (1, [(2, 3), (2, 3)]),
            (-1, [(2, 3), (2, 3)]),
            (-1, [(2, 4, 3), (2, 5, 3)]),
            (1, [(2, 3, 4), (2, 3, 5)]),
            ((2, 1), [(2, 4, 3), (2, 3, 5)]),
            ((-1, -2), [(2, 4, 3), (2, 3, 5)]),
            ((1, 2), [(2, 3), (2, 4, 3)]),
            ((2, 1), [(2, 4, 3), (2, 3)]),
            ((2, 3), [(2, 4, 3, 5), (2, 2, 4, 3)]),
            ((3, 1), [(2, 4, 2, 3), (2, 3, 2)]),
        )
    ],
]


def name_of(value):
    """Return a readable test id."""
    return str(value).replace(" ", "")


def run(layer, arrays, masks=None):
    """Return the output and the gradients of a fixed function of it."""
    inputs: list[Any] = [torch.tensor(a, requires_grad=True) for a in arrays]
    for x, mask in zip(inputs, masks or (), strict=False):
        if mask is not None:
            x._keras_mask = torch.tensor(mask)
    outputs = layer(inputs)
    weights = torch.arange(outputs.numel()).reshape(outputs.shape).cos()
    (outputs * weights).sum().backward()
    mask = getattr(outputs, "_keras_mask", None)
    return outputs.detach(), [x.grad for x in inputs], mask


def pair(name, kwargs):
    return getattr(keras.layers, name)(**kwargs), getattr(layers, name)(**kwargs)


def random_arrays(shapes):
    return [np.random.randn(*shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize(("name", "kwargs", "shapes"), CASES, ids=name_of)
def test_values_and_gradients(name, kwargs, shapes):
    arrays = random_arrays(shapes)
    expected, outputs = (run(layer, arrays) for layer in pair(name, kwargs))
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "kwargs", "shapes"), CASES, ids=name_of)
def test_functions(name, kwargs, shapes):
    arrays = [torch.tensor(array) for array in random_arrays(shapes)]
    expected = getattr(keras.layers, name.lower())(arrays, **kwargs)
    outputs = getattr(layers, name.lower())(arrays, **kwargs)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


def _masked_cases():
    three = [(2, 4, 3)] * 3
    for name in (*ELEMENTWISE, "Concatenate"):
        for given in itertools.product((False, True), repeat=3):
            yield name, {}, three, given
    for given in ((True, True), (True, False)):
        yield "Subtract", {}, three[:2], given
        yield "Concatenate", {"axis": 1}, [(2, 4, 3), (2, 2, 3)], given
        yield "Concatenate", {"axis": 0}, [(2, 4, 3), (1, 4, 3)], given
        yield "Dot", {"axes": 1}, three[:2], given


@pytest.mark.parametrize(
    ("name", "kwargs", "shapes", "given"), list(_masked_cases()), ids=name_of
)
def test_masks(name, kwargs, shapes, given):
    arrays = random_arrays(shapes)
    masks = [
        np.random.rand(*shape[:2]) > 0.4 if one else None
        for shape, one in zip(shapes, given, strict=True)
    ]
    expected, outputs = (run(layer, arrays, masks) for layer in pair(name, kwargs))
    torch.testing.assert_close(outputs[:2], expected[:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs[2], expected[2])


SYMBOLIC = [
    ("Add", {}, [(None, 4), (None, 4)]),
    ("Add", {}, [(None, None, 4), (None, 4)]),
    ("Add", {}, [(None, None, 4), (None, 1, 4)]),
    ("Maximum", {}, [(None, None, None, 4), (None, None, 4), (None, 4)]),
    ("Multiply", {}, [(None, 4), (3, 4)]),
    ("Subtract", {}, [(3, 4), (None, 4)]),
    ("Concatenate", {}, [(None, None, 4), (None, None, 3)]),
    ("Concatenate", {}, [(None, 5, 4), (None, None, 3)]),
    ("Concatenate", {"axis": 1}, [(None, None, 4), (None, 5, 4)]),
    ("Concatenate", {"axis": 1}, [(None, 6, 4), (None, 5, 4)]),
    ("Dot", {"axes": 1}, [(None, None), (None, None)]),
    ("Dot", {"axes": -1}, [(None, None, 4), (None, 7, 4)]),
    ("Dot", {"axes": (3, 1)}, [(None, None, 2, None), (None, None, 5)]),
]


@pytest.mark.parametrize(("name", "kwargs", "shapes"), SYMBOLIC, ids=name_of)
def test_symbolic_shapes(name, kwargs, shapes):
    theirs, ours = pair(name, kwargs)
    expected = theirs([keras.Input(batch_shape=shape) for shape in shapes])
    inputs = [layers.Input(batch_shape=shape) for shape in shapes]
    outputs = ours(inputs)
    assert outputs.shape == tuple(expected.shape)
    assert outputs.dtype == expected.dtype
    assert tuple(ours.compute_output_shape(shapes)) == outputs.shape


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        *[(name, {}) for name in (*ELEMENTWISE, "Subtract", "Concatenate")],
        ("Concatenate", {"axis": 1}),
        ("Dot", {"axes": 1}),
        ("Dot", {"axes": (1, 2), "normalize": True}),
    ],
)
def test_configs_are_exchanged(name, kwargs):
    theirs, ours = pair(name, {**kwargs, "name": "merged"})
    shapes = [(None, 4, 4), (None, 4, 4)]
    ours.build(shapes)
    theirs.build(shapes)
    forms = [
        json.loads(json.dumps(library.serialize(layer)))
        for library, layer in ((keras.layers, theirs), (layers, ours))
    ]
    for form in forms:
        form["config"].pop("quantization_config", None)
    assert forms[0] == forms[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of a `build` it need not run
        twin = keras.layers.deserialize(forms[1])
    assert twin.name == layers.deserialize(forms[0]).name == "merged"
