"""Merging layers against Keras's own: values, gradients, masks, shapes, configs."""

import itertools
import json
import warnings

import keras
import pytest
import torch

from tests.layers.cases import CASES, VARIATIONS, Case
from tests.parity.layer_pairs import TOLERANCE, compare, pair
from torchkeras import layers

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

ELEMENTWISE = ("Add", "Multiply", "Average", "Maximum", "Minimum")
MERGING = [
    getattr(layers, name) for name in (*ELEMENTWISE, "Subtract", "Concatenate", "Dot")
]
MERGED = [case for case in [*CASES, *VARIATIONS] if case.layer in MERGING]


def name_of(value):
    """Return a readable test id."""
    return str(value).replace(" ", "")


def both(name, kwargs):
    """Return Keras's layer and ours."""
    return getattr(keras.layers, name)(**kwargs), getattr(layers, name)(**kwargs)


@pytest.mark.parametrize(
    "case", MERGED, ids=lambda case: name_of(f"{case}-{case.input}")
)
def test_functions(case):
    name = case.layer.__name__.lower()
    x = case.data()
    expected = getattr(keras.layers, name)(x, **case.kwargs)
    outputs = getattr(layers, name)(x, **case.kwargs)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)


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
    theirs, ours = pair(Case(getattr(layers, name), kwargs, shapes))
    masks = [
        torch.rand(shape[:2]) > 0.4 if one else None
        for shape, one in zip(shapes, given, strict=True)
    ]
    x = [torch.randn(shape) for shape in shapes]
    own, expected = compare(theirs, ours, x, masks)
    torch.testing.assert_close(own, expected)


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
    theirs, ours = both(name, kwargs)
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
    theirs, ours = both(name, {**kwargs, "name": "merged"})
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
