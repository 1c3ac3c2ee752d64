"""Arithmetic on pairs of arrays against Keras's."""

import numpy as np
import pytest
import torch
from keras.src.ops import numpy as keras_numpy

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops
from torchkeras.ops.numpy import arithmetic

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3)).astype("float32") * 2
Y = rng.normal(size=(3,)).astype("float32") * 2
COLUMN = rng.normal(size=(2, 1)).astype("float32")
POSITIVE = np.abs(X) + 0.1
WIDE = Y.astype("float64")
SCALAR = np.array(1.7, "float32")
WIDE_SCALAR = np.array(1.7, "float64")
INTS = np.array([[-7, 0, 2], [5, 1, -1]], "int32")
LONG = np.array([2, 3, 5], "int64")
SMALL = np.array([2, 3, 5], "int8")
BYTES = np.array([[6], [4]], "uint8")
BOOLS = np.array([True, False, True])

#: Pairs for functions that take all numbers; no divisor is zero.
PAIRS = [
    (X, Y),
    (X, COLUMN),
    (X, SCALAR),
    (X, 1.5),
    (2, Y),
    (X, LONG),
    (INTS, Y),
    (X, WIDE),
    (X, WIDE_SCALAR),
    (INTS, LONG),
    (INTS, 2),
    (INTS, 1.5),
    (SMALL, BYTES),
    (SMALL, SMALL),
    (X, np.array([True, True, True])),
    (INTS, np.array([True, True, True])),
]
BOTH_BOOLS = (BOOLS, np.array([True, True, True]))
#: Torch has no kernel for two booleans in the others, and neither has Keras.
TAKE_BOOLS = (
    "add arctan2 divide divide_no_nan fmax fmin fmod logaddexp logaddexp2 "
    "maximum minimum mod multiply true_divide"
).split()


def pairs(name):
    return [*PAIRS, BOTH_BOOLS] if name in TAKE_BOOLS else PAIRS


def symbolic(name, pair):
    if name in ("heaviside", "hypot") and not all(hasattr(x, "dtype") for x in pair):
        return "Keras's class takes no numbers"
    return True


CASES = [
    *(
        # Torch has no gradient of the first two, and neither has Keras.
        Case(
            name,
            pair,
            grad=name not in ("floor_divide", "heaviside"),
            symbolic=symbolic(name, pair),
        )
        for name in (
            "floor_divide heaviside add arctan2 divide divide_no_nan fmax fmin fmod "
            "hypot logaddexp logaddexp2 maximum minimum mod multiply subtract "
            "true_divide"
        ).split()
        for pair in pairs(name)
    ),
    *(
        Case("power", pair)
        for pair in [
            (POSITIVE, Y),
            (POSITIVE, COLUMN),
            (POSITIVE, WIDE),
            (X, 2),
            (X, 3.0),
            (2.0, X),
            (INTS, 2),
            (INTS, LONG),
            (SMALL, np.array(2, "int8")),
            (X, LONG),
        ]
    ),
    *(
        Case(name, pair)
        for name in ("gcd", "lcm")
        for pair in [
            (INTS, LONG),
            (INTS, 4),
            (SMALL, SMALL[::-1].copy()),
            (BYTES, SMALL),
            (INTS, np.array(6, "int32")),
        ]
    ),
    Case("ldexp", (X, np.array([1, -2, 3], "int32"))),
    Case("ldexp", (X, 2)),
    Case("ldexp", (INTS, LONG)),
    Case("ldexp", (WIDE, SMALL)),
    Case("ldexp", (X.astype("float16"), SMALL)),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_every_function_has_a_row():
    by_numpy = {"nextafter"}
    assert set(arithmetic.__all__) <= {case.name for case in CASES} | by_numpy


def test_every_operation_is_a_class_of_keras():
    for name in arithmetic.__all__:
        entry = getattr(arithmetic, name).operation
        assert hasattr(keras_numpy, entry.class_name)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nextafter_moves_one_step(dtype):
    # Keras steps in float64 and rounds back to where it started.
    x = np.array([1.0, -2.5, 0.0, 3.0], dtype)
    y = np.array([2.0, 7.0, -1.0, 3.0], dtype)
    result = ops.nextafter(x, y)
    np.testing.assert_array_equal(result.numpy(), np.nextafter(x, y))
    assert result.numpy().dtype == dtype
    assert ops.nextafter(KerasTensor((None, 4), dtype), y).shape == (None, 4)


def test_nextafter_of_integers():
    assert ops.nextafter([1, 2], 5).dtype == torch.float32


def test_divide_no_nan_by_zero():
    x = torch.tensor([1.0, 2.0, 0.0], requires_grad=True)
    y = torch.tensor([0.0, 4.0, 0.0], requires_grad=True)
    result = ops.divide_no_nan(x, y)
    assert result.tolist() == [0.0, 0.5, 0.0]
    of_x, of_y = torch.autograd.grad(result.sum(), (x, y))
    assert of_x.tolist() == [0.0, 0.25, 0.0]
    assert of_y.tolist() == [0.0, -0.125, 0.0]


def test_nan_in_extremes():
    nan = float("nan")
    assert ops.maximum([1.0, nan], [nan, 2.0]).isnan().all()
    assert ops.minimum([1.0, nan], [nan, 2.0]).isnan().all()
    assert ops.fmax([1.0, nan], [nan, 2.0]).tolist() == [1.0, 2.0]
    assert ops.fmin([1.0, nan], [nan, 2.0]).tolist() == [1.0, 2.0]


def test_step_at_zero():
    assert ops.heaviside([0.0, -0.0], [0.25, 0.5]).tolist() == [0.25, 0.5]


def test_booleans_divide_as_integers():
    # Keras has no kernel for these.
    for function in (ops.floor_divide, ops.power, ops.mod, ops.fmod):
        result = function([True, False], [True, True])
        assert result.dtype == torch.int32
    assert ops.floor_divide([True, False], [True, True]).tolist() == [1, 0]
    assert ops.power([True, False], [True, False]).tolist() == [1, 1]


def test_floor_divide_of_large_integers():
    x, y = torch.tensor([2**40]), torch.tensor([2**20])
    assert ops.floor_divide(x, y).tolist() == [2**20]


def test_numbers_beside_half_precision():
    # In Keras, arctan2 and hypot widen those to float32.
    x = torch.ones(2, dtype=torch.float16)
    for name in "add arctan2 divide hypot maximum logaddexp power mod".split():
        assert getattr(ops, name)(x, 2.0).dtype == torch.float16
    assert ops.divide(x, torch.ones(2, dtype=torch.int32)).dtype == torch.float16


def test_signs_of_remainders():
    x = np.array([7.5, -7.5, 7.5, -7.5], "float32")
    y = np.array([2.0, 2.0, -2.0, -2.0], "float32")
    np.testing.assert_array_equal(ops.mod(x, y), np.mod(x, y))
    np.testing.assert_array_equal(ops.fmod(x, y), np.fmod(x, y))
    np.testing.assert_array_equal(ops.floor_divide(x, y), np.floor_divide(x, y))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ops.subtract([True], [False]), "Use `logical_xor`"),
        (lambda: ops.gcd([1.0], [2]), "gcd: `x1` must be an array of integers"),
        (lambda: ops.lcm([1], [2.0]), "lcm: `x2` must be an array of integers"),
        (lambda: ops.ldexp([1.0], [2.0]), "ldexp: `x2` must be an array of integers"),
        (
            lambda: ops.ldexp(KerasTensor((2,)), KerasTensor((2,))),
            "ldexp: `x2` must be an array of integers",
        ),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(TypeError, match=match):
        call()


def test_shapes_that_do_not_broadcast():
    with pytest.raises(RuntimeError, match="must match the size"):
        ops.add([1.0, 2.0], [1.0, 2.0, 3.0])


def test_compiles():
    def function(x, y):
        z = ops.maximum(ops.add(x, 1), ops.divide_no_nan(x, y))
        z = z + ops.arctan2(x, torch.tensor([1, 2, 3])) + ops.ldexp(x, 3)
        return ops.hypot(z, 2) + ops.mod(x, ops.power(y, 2)) + ops.divide(x, 2)

    x, y = torch.tensor(X), torch.tensor(Y)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, y), function(x, y))
