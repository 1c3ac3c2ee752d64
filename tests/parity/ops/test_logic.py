"""Comparisons, logic, bits and tests of values against Keras's."""

import numpy as np
import pytest
import torch
from keras.src.ops import numpy as keras_numpy

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops
from torchkeras.ops.numpy import logic

X = np.array([[1.0, 2.0, 3.0], [4.0, -5.0, 0.0]], "float32")
ROW = np.array([1.0, -2.0, 4.0], "float32")
INTS = np.array([[1, 2, 3], [4, -5, 0]], "int32")
LONG = np.array([1, 3, 2], "int64")
SMALL = np.array([1, 3, 2], "int8")
BYTES = np.array([[6], [4]], "uint8")
BOOLS = np.array([True, False, True])
OTHER_BOOLS = np.array([[True], [False]])
ODD = np.array([np.nan, np.inf, -np.inf, 1.5, -0.0], "float32")
COMPLEX = np.array([1 + 0j, 1 + 2j], "complex64")
NEAR = (X * np.float32(1 + 1e-6)).astype("float32")
UNDEFINED = np.array([1.0, np.nan], "float32")

COMPARED = [
    (X, ROW),
    (X, X + np.eye(2, 3, dtype="float32")),
    (X, 2.0),
    (2, X),
    (INTS, LONG),
    (INTS, 1.5),
    (X, LONG),
    (SMALL, BYTES),
    (BOOLS, OTHER_BOOLS),
    (INTS, BOOLS),
    (X, np.array(2.0, "float64")),
]
BITS = [
    (INTS, LONG),
    (INTS, 6),
    (SMALL, BYTES),
    (LONG, np.array(3, "int32")),
]


def bits(name, pair):
    x, y = pair
    symbolic = True
    if isinstance(y, int) and "shift" not in name:
        symbolic = "Keras's class takes no numbers"
    elif np.ndim(y) > np.ndim(x):
        symbolic = "Keras gives the shape of `x`, not what it broadcasts to"
    return Case(name, pair, symbolic=symbolic)


CASES = [
    *(
        Case(name, pair)
        for name in (
            "equal greater greater_equal less less_equal logical_and logical_or "
            "logical_xor not_equal"
        ).split()
        for pair in COMPARED
    ),
    *(Case("logical_not", (x,)) for x in (X, INTS, BOOLS, ODD)),
    *(
        Case(name, args, kwargs)
        for name in ("isclose", "allclose")
        for args, kwargs in [
            ((X, NEAR), {}),
            ((X, NEAR), {"rtol": 1e-8, "atol": 0.0}),
            ((X, ROW), {"atol": 2.0}),
            ((X, 1.0), {}),
            ((UNDEFINED, UNDEFINED), {}),
            ((UNDEFINED, UNDEFINED), {"equal_nan": True}),
            ((X, NEAR.astype("float64")), {}),
            ((INTS, LONG), {}),
            ((BOOLS, OTHER_BOOLS), {}),
            ((X, X.astype("int32")), {}),
        ]
    ),
    *(
        Case("isin", args, kwargs)
        for args, kwargs in [
            ((X, ROW), {}),
            ((X, ROW), {"invert": True}),
            ((INTS, LONG), {}),
            ((LONG, SMALL), {"assume_unique": True}),
            ((BOOLS, BOOLS[:1]), {}),
            ((BOOLS, LONG), {}),
            ((X, LONG), {}),
            ((INTS, 3), {}),
        ]
    ),
    *(
        bits(name, pair)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
        for pair in [*BITS, (BOOLS, BOOLS[::-1].copy()), (INTS, BOOLS)]
    ),
    *(
        bits(name, pair)
        for name in (
            "bitwise_left_shift bitwise_right_shift left_shift right_shift"
        ).split()
        for pair in [*BITS, (BYTES, 1), (np.array(5, "int32"), 2)]
    ),
    *(
        Case(name, (x,))
        for name in ("bitwise_invert", "bitwise_not")
        for x in (INTS, SMALL, BOOLS)
    ),
    *(
        Case(name, (x,))
        for name in "isfinite isinf isnan isneginf isposinf isreal".split()
        for x in (ODD, ODD.astype("float64"), ODD.astype("float16"), INTS, BOOLS)
    ),
    *(
        Case(name, (COMPLEX,), lists=False)
        for name in "isfinite isinf isnan isreal".split()
    ),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_every_function_has_a_row():
    assert set(logic.__all__) <= {case.name for case in CASES}


def test_every_operation_is_a_class_of_keras():
    for name in logic.__all__:
        entry = getattr(logic, name).operation
        assert hasattr(keras_numpy, entry.class_name)


def test_tolerance_of_integers_and_complex_numbers():
    # Keras compares those exactly.
    x, y = np.array([100000, 10]), np.array([100001, 11])
    np.testing.assert_array_equal(ops.isclose(x, y), np.isclose(x, y))
    assert ops.isclose(x, y).tolist() == [True, False]
    z = np.array([1 + 2j], "complex64")
    assert ops.isclose(z, z * np.float32(1 + 1e-6)).tolist() == [True]
    assert ops.allclose(z, z * np.float32(1 + 1e-6)).item() is True


def test_isin_on_symbolic_tensors_within_a_computation():
    x = KerasTensor((None, 3), "int32")
    result = ops.logical_not(ops.isin(x, [1, 2]))
    assert result.shape == (None, 3)
    assert result.dtype == "bool"
    assert ops.isin([1, 2], x).shape == (2,)


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bits_of_floats(name):
    match = f"{name}: `x` must be an array of integers or booleans, got Tensor"
    with pytest.raises(TypeError, match=match):
        getattr(ops, name)([1.0], [1])
    with pytest.raises(TypeError, match=f"{name}: `y` must be"):
        getattr(ops, name)([1], [1.0])


@pytest.mark.parametrize("name", ["bitwise_not", "bitwise_invert"])
def test_bits_of_one_float(name):
    with pytest.raises(TypeError, match=f"{name}: `x` must be"):
        getattr(ops, name)([1.0])


@pytest.mark.parametrize(
    "name", ["bitwise_left_shift", "left_shift", "bitwise_right_shift", "right_shift"]
)
def test_shifts_of_other_than_integers(name):
    with pytest.raises(TypeError, match=f"{name}: `x` must be an array of integers,"):
        getattr(ops, name)([True], [1])
    with pytest.raises(TypeError, match=f"{name}: `y` must be an array of integers,"):
        getattr(ops, name)([1], 1.0)


def test_compiles():
    def function(x):
        near = ops.isclose(x, 2.0)
        return ops.logical_or(near, ops.greater(x, 3)), ops.isin(x, x)

    x = torch.tensor(X)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))
