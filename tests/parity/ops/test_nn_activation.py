"""Activations as operations against Keras's, and what they do with bad input."""

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

# Away from the kinks, where one-sided gradients are a matter of taste.
X = np.linspace(-8.03, 8.01, 60, dtype="float32").reshape(3, 5, 4)
INTEGERS = np.array([[-7, -1, 0], [2, 3, 9]], dtype="int32")
VECTOR = np.array([0.3, -1.2, 2.4, 0.1], dtype="float32")

PLAIN = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh_shrink",
]
#: Those that take integers in Keras on torch too; the others refuse them there.
OF_INTEGERS = [
    "hard_tanh",
    "relu",
    "relu6",
    "sigmoid",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh_shrink",
]

CASES = [
    *(Case(f"nn.{name}", (X,)) for name in PLAIN),
    *(Case(name, (VECTOR,)) for name in PLAIN),
    *(Case(name, (X.astype("float64"),), lists=False) for name in PLAIN),
    *(Case(name, (INTEGERS,)) for name in OF_INTEGERS),
    Case("celu", (X,), {"alpha": 0.4}),
    Case("elu", (X, 0.3)),
    Case("gelu", (X, False)),
    Case("glu", (X,), {"axis": 2}),
    Case("glu", (X[:2],), {"axis": 0}),
    Case("hard_shrink", (X,), {"threshold": 1.2}),
    Case("leaky_relu", (X, 0.05)),
    Case("log_softmax", (X,), {"axis": 1}),
    Case("log_softmax", (X,), {"axis": (0, 2)}, symbolic="Keras takes one axis only"),
    Case("log_softmax", (X,), {"axis": None}),
    Case("soft_shrink", (X,), {"threshold": 2.0}),
    Case("softmax", (X,), {"axis": 0}),
    Case("softmax", (X,), {"axis": (1, 2)}),
    Case("softmax", (X,), {"axis": None}),
    Case("squareplus", (X,), {"b": 1.5}),
    Case("threshold", (X, 1.0, -3.0)),
    Case("nn.threshold", (X,), {"threshold": -2.0, "default_value": 0.5}),
    Case("threshold", (INTEGERS, 1, 5)),
    Case("polar", (np.abs(X), X)),
    Case("nn.polar", (VECTOR[:, None], VECTOR), symbolic="Keras does not broadcast"),
    Case("polar", (X.astype("float64"), X), lists=False),
    Case("polar", (INTEGERS, VECTOR[:3])),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("name", sorted({*PLAIN, "sparsemax"} - {*OF_INTEGERS, "glu"}))
def test_integers_become_floats(name):
    result = getattr(ops, name)(INTEGERS)
    expected = getattr(ops, name)(INTEGERS.astype("float32"))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected)
    assert getattr(ops, name)(KerasTensor((None, 3), "int32")).dtype == "float32"


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_sparsemax_is_the_projection_onto_the_simplex(axis):
    # By its definition; Keras's own sums to something else. The threshold is found by
    # bisection, where the values above it sum to 1.
    low, high = X.min(axis, keepdims=True) - 1.0, X.max(axis, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        over = np.maximum(X - middle, 0).sum(axis, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    result = ops.sparsemax(X, axis)
    np.testing.assert_allclose(result, np.maximum(X - low, 0), atol=1e-5)
    assert ops.sparsemax(KerasTensor((None, 4)), axis=-1).shape == (None, 4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", PLAIN)
def test_half_precision_stays(name, dtype):
    x = torch.tensor(VECTOR).to(getattr(torch, dtype))
    result = getattr(ops, name)(x)
    expected = getattr(keras.ops, name)(torch.tensor(VECTOR))
    assert result.dtype == x.dtype
    torch.testing.assert_close(result.float(), expected, rtol=2e-2, atol=2e-2)


def test_polar_of_half_precision_is_complex64():
    half = torch.tensor(VECTOR).half()
    assert ops.polar(half, half).dtype == torch.complex64
    assert ops.polar(KerasTensor((2, 3)), KerasTensor((2, 3))).dtype == "complex64"


def test_softmax_over_one_value_warns():
    with pytest.warns(UserWarning, match="axis -1 of the input has size 1") as caught:
        ops.softmax(torch.zeros(3, 1))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_axes_may_be_numbers_of_numpy_and_lists(name):
    function = getattr(ops, name)
    torch.testing.assert_close(function(X, np.int64(1)), function(X, 1))
    torch.testing.assert_close(function(X, [0, np.int64(2)]), function(X, (0, 2)))


def test_softmax_does_not_keep_its_input():
    assert not hasattr(ops.softmax(torch.zeros(3)), "_keras_logits")
    assert not hasattr(ops.sigmoid(torch.zeros(3)), "_keras_logits")


@pytest.mark.parametrize(
    ("x", "axis", "match"),
    [
        (np.zeros((2, 3), "float32"), -1, "glu: the size of axis -1 must be even"),
        (np.zeros((2, 3), "float32"), 2, "glu: `axis` must be an axis of the input"),
        (1.0, -1, r"glu: `axis` must be an axis of the input of shape \(\)"),
    ],
)
def test_glu_cuts_an_axis_of_even_size(x, axis, match):
    with pytest.raises(ValueError, match=match):
        ops.glu(x, axis)


def test_compiles_in_one_graph():
    def function(x):
        x = ops.gelu(ops.softmax(x)) + ops.sparsemax(x) + ops.log_softmax(x, (0, 1))
        return ops.squareplus(ops.hard_silu(x)) + ops.sigmoid(x)

    x = torch.tensor(X[0])
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))
