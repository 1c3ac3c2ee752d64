"""Functions of one array against Keras's."""

import numpy as np
import pytest
import torch
from keras.src.ops import math as keras_math
from keras.src.ops import numpy as keras_numpy

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, config, ops
from torchkeras.ops.numpy import elementwise

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3)).astype("float32") * 2  # no value is at a kink
POSITIVE = np.abs(X) + 0.1
UNIT = rng.uniform(-0.9, 0.9, size=(2, 3)).astype("float32")
ABOVE_ONE = POSITIVE + 1
HALF = UNIT.astype("float16")
WIDE = UNIT.astype("float64")
INTS = np.array([[-3, 0, 2], [5, 1, -1]], "int32")
POSITIVE_INTS = np.abs(INTS) + 1
LONG = POSITIVE_INTS.astype("int64")
SMALL = POSITIVE_INTS.astype("int8")
BYTES = POSITIVE_INTS.astype("uint8")
BOOLS = np.array([True, False, True])
COMPLEX = (UNIT + 1j * UNIT[::-1]).astype("complex64")
ODD = np.array([np.nan, np.inf, -np.inf, 1.5], "float32")

#: A value of each kind that a function takes: by where it is defined.
EVERYWHERE = (X, WIDE, INTS, LONG, SMALL, BOOLS)
DEFINED = {
    **dict.fromkeys(
        "arcsinh arctan ceil cos cosh deg2rad erf erfc exp exp2 expm1 fabs floor i0 "
        "rad2deg sin sinc sinh tan tanh cbrt".split(),
        EVERYWHERE,
    ),
    **dict.fromkeys(
        "log log10 log1p log2 reciprocal rsqrt sqrt".split(),
        (POSITIVE, POSITIVE.astype("float64"), POSITIVE_INTS, LONG, BYTES, BOOLS[::2]),
    ),
    **dict.fromkeys("arccos arcsin arctanh erfinv".split(), (UNIT, WIDE, INTS * 0)),
    "arccosh": (ABOVE_ONE, POSITIVE_INTS, LONG),
    **dict.fromkeys(
        "abs absolute copy square sign signbit trunc angle real".split(),
        (X, HALF, INTS, LONG, BYTES, BOOLS),
    ),
    "negative": (X, HALF, INTS, LONG, SMALL),
}
#: What torch computes coarsely for int64, and what is near a pole.
LOOSE = {"deg2rad": 1e-4, "rad2deg": 1e-4, "cbrt": 1e-4}

CASES = [
    *(
        # A list of numbers is of float32.
        Case(name, (value,), rtol=LOOSE.get(name, 1e-5), lists=value is not HALF)
        for name, values in DEFINED.items()
        for value in values
    ),
    Case("ceil", (HALF,)),
    Case("floor", (HALF,)),
    Case("exp", (HALF,), rtol=1e-3),
    Case("sqrt", (np.float32(4.0) * np.ones((), "float32"),)),
    *(
        Case(name, (COMPLEX,), lists=False, grad=False)
        for name in "absolute angle conj conjugate exp sin square real imag".split()
    ),
    Case("conj", (X,), lists=False),
    Case("conjugate", (INTS,), lists=False),
    Case("clip", (X, -1.0, 1.0)),
    Case("clip", (X, -1, 1)),
    Case("clip", (INTS, -1, 2)),
    Case("clip", (INTS, -1.5, 2.5)),
    Case("clip", (SMALL, 2, 4)),
    Case("clip", (HALF, -0.5, 0.5)),
    Case("clip", (BOOLS, 0, 1)),
    Case("clip", (X, X[:1] - 1, X[:1] + 1)),
    Case("nan_to_num", (ODD,), grad=False),
    Case("nan_to_num", (ODD,), {"nan": 2.0, "posinf": 3.0, "neginf": -3.0}),
    Case("nan_to_num", (INTS,)),
    Case("nan_to_num", (HALF, 1.0)),
    Case("round", (X,)),
    Case("round", (X, 2)),
    Case("round", (X * 100,), {"decimals": -1}),
    Case("round", (INTS,)),
    Case("round", (INTS * 13, -1)),
    Case("round", (HALF, 1), lists=False),
    Case("view", (X, "int32"), lists=False),
    Case("view", (X, "float32")),
    Case("view", (X, "uint8"), grad=False),
    Case("view", (np.concatenate([X, X], 1), "float64"), grad=False, lists=False),
    Case("view", (INTS, "float32"), grad=False),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_every_function_has_a_row():
    assert set(elementwise.__all__) <= {case.name for case in CASES}


def test_every_operation_is_a_class_of_keras():
    for name in elementwise.__all__:
        entry = getattr(elementwise, name).operation
        module = keras_math if entry.module.endswith("math") else keras_numpy
        assert hasattr(module, entry.class_name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", DEFINED)
def test_half_precision_is_kept(name, dtype):
    x = torch.tensor(POSITIVE if name != "arccosh" else ABOVE_ONE) / 2 + 0.5
    x = x.clip(0.1, 0.9) if name in ("arccos", "arcsin", "arctanh", "erfinv") else x
    x = x.to(getattr(torch, dtype))
    result = getattr(ops, name)(x)
    wide = getattr(ops, name)(x.float())
    if name != "signbit":
        assert result.dtype == x.dtype
    torch.testing.assert_close(result.float(), wide.float(), rtol=2e-2, atol=2e-2)


def test_integers_become_floatx():
    config.set_floatx("float64")
    try:
        for name in "sin exp log reciprocal sqrt".split():
            assert getattr(ops, name)(torch.tensor([1, 2])).dtype == torch.float64
    finally:
        config.set_floatx("float32")


def test_whole_numbers_are_found_before_the_dtype_narrows():
    x = torch.tensor([1 - 1e-12, 1 + 1e-12], dtype=torch.float64)
    assert ops.floor(x).tolist() == [0.0, 1.0]  # [1, 1] in Keras
    assert ops.ceil(x).tolist() == [1.0, 2.0]


def test_round_keeps_large_integers():
    # Keras goes through float32, which has no such number.
    assert ops.round(torch.tensor([16777217])).tolist() == [16777217]
    assert ops.round(torch.tensor([1234567891]), -1).tolist() == [1234567890]
    x = np.array([15, 25, -15, 1234], "int64")
    assert ops.round(x, -1).tolist() == np.round(x, -1).tolist()
    assert ops.round([True, False]).tolist() == [True, False]


def test_clip_to_what_the_dtype_cannot_hold():
    x = torch.tensor([0, 100, 255], dtype=torch.uint8)
    # Keras wraps the limits around.
    assert ops.clip(x, -1, 256).tolist() == [0, 100, 255]
    assert ops.clip(x, -5, 200).dtype == torch.uint8


def test_clip_on_one_side():
    assert ops.clip([-2.0, 2.0], None, 1.0).tolist() == [-2.0, 1.0]
    assert ops.clip([-2.0, 2.0], -1.0, None).tolist() == [-1.0, 2.0]


def test_parts_of_symbolic_complex_tensors_are_real():
    # In Keras they are said to be complex, which they aren't.
    z = KerasTensor((None, 3), "complex64")
    for function in (ops.real, ops.imag, ops.absolute, ops.angle):
        assert function(z).dtype == "float32"
        assert function(z).shape == (None, 3)


def test_imaginary_part_of_real_numbers():
    assert ops.imag([1.0, 2.0]).tolist() == [0.0, 0.0]


def test_view_as_its_own_dtype():
    assert ops.view(torch.tensor([1, 2])).dtype == torch.int64


def test_copy_is_apart():
    x = torch.zeros(2)
    ops.copy(x).add_(1)
    assert x.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ops.fabs(torch.tensor([1j])), TypeError, "fabs: `x` must be real"),
        (lambda: ops.negative([True]), TypeError, "Use `logical_not`"),
        (
            lambda: ops.view(torch.zeros(3), "float64"),
            ValueError,
            r"view: `dtype` must be a dtype whose 8 bytes divide",
        ),
        (lambda: ops.view(1.0, "float64"), ValueError, r"of shape \(\)"),
        (lambda: ops.view([1.0], "floot32"), ValueError, "Did you mean 'float32'"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_compiles():
    def function(x):
        y = ops.clip(ops.round(ops.abs(x) * 2), 0.5, 3)
        return ops.log(y) + ops.cbrt(y) + ops.sinc(ops.view(x, "int32")) + ops.floor(y)

    x = torch.tensor(X)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))
