"""New arrays against Keras's."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

A = np.arange(6, dtype="float32").reshape(2, 3)
INTEGERS = np.array([1, 2, 3], "int32")
#: What is no integer, for checkers of types to let through.
FLOAT: Any = 2.5
STARTS, STOPS = np.array([1.0, 2.0], "float32"), np.array([5.0, 9.0], "float32")
NO_AXIS = "Keras on torch has no axis"

CASES = [
    Case("zeros", ((2, 3),)),
    Case("zeros", ((2,), "int32")),
    Case("ones", ((2, 3),)),
    Case("ones", ((0, 2), "float64")),
    Case("full", ((2, 3), 7.0)),
    Case("full", ((2, 3), 7, "int32")),
    Case("full", ((2, 3), A[0])),
    *[
        Case(name, args, kwargs, grad=False)
        for name in ("zeros_like", "ones_like")
        for args, kwargs in (((A,), {}), ((INTEGERS,), {}), ((A,), {"dtype": "int8"}))
    ],
    Case("full_like", (A, 3.0), grad=False),
    Case("full_like", (INTEGERS, 3), {"dtype": "float32"}),
    Case("empty_like", (A,), values="whatever the memory holds"),
    Case("empty_like", (INTEGERS,), {"dtype": "float32"}, values="as above"),
    Case("array", (A,)),
    Case("array", (INTEGERS,), {"dtype": "float32"}),
    Case("array", ([1, 2],)),
    Case("eye", (3,)),
    Case("eye", (3, 4), {"k": 1}),
    Case("eye", (4, 2), {"k": -2, "dtype": "int32"}),
    Case("identity", (3,)),
    Case("identity", (2, "int32")),
    Case("tri", (3,)),
    Case("tri", (3, 4), {"k": 1, "dtype": "int32"}),
    Case("tri", (3, 4, -1)),
    Case("arange", (5,)),
    Case("arange", (1, 9, 2)),
    Case("arange", (0.5, 3.0, 0.25)),
    Case("arange", (5,), {"dtype": "float32"}),
    Case("arange", (5, 1, -1)),
    Case("arange", (np.float32(2.5),)),
    Case("linspace", (0, 10)),
    Case("linspace", (0.0, 1.0, 5)),
    Case("linspace", (0.0, 1.0, 5), {"endpoint": False}),
    Case("linspace", (0.0, 1.0, 5), {"retstep": True}),
    Case("linspace", (STARTS, STOPS, 4)),
    Case("linspace", (0, 10, 5), {"dtype": "int32"}),
    Case("logspace", (0.0, 2.0, 5), rtol=1e-4),
    Case("logspace", (0.0, 2.0, 5), {"endpoint": False, "base": 2}, rtol=1e-4),
    Case("logspace", (STARTS, STOPS, 4), rtol=1e-4),
    Case("geomspace", (1.0, 1000.0, 4), rtol=1e-4),
    Case("geomspace", (STARTS, STOPS, 4), rtol=1e-4, grad=False),
    Case("meshgrid", (INTEGERS, INTEGERS[:2])),
    Case("meshgrid", (A[0], A[1, :2], A[0]), {"indexing": "ij"}),
    Case("vander", (INTEGERS,)),
    Case("vander", (np.array([True, False]),)),
    Case("vander", (A[0], 4), {"increasing": True}, grad=False),
    *[Case(name, (n,)) for name in ("bartlett", "blackman", "hamming", "hanning")
      for n in (1, 7)],
    Case("kaiser", (7, 4.0)),
    Case("kaiser", (8, 0.0)),
]  # fmt: skip
#: Compared below.
ELSEWHERE = {"empty"}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("increasing", [True, False])
def test_vander_has_a_gradient(increasing):
    x = torch.tensor([1.5, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda values: ops.vander(values, 4, increasing=increasing), (x,)
    )


def test_empty_has_a_shape_and_a_dtype():
    for shape, dtype in (((2, 3), None), ((4,), "int32")):
        own, reference = ops.empty(shape, dtype), keras.ops.empty(shape, dtype)
        assert own.shape == reference.shape
        assert own.dtype == reference.dtype


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_a_grid_may_have_several_dtypes(indexing):
    own = ops.meshgrid(INTEGERS, STARTS, A[1], indexing=indexing)
    reference = np.meshgrid(INTEGERS, STARTS, A[1], indexing=indexing)
    assert [part.dtype for part in own] == [torch.int32, torch.float32, torch.float32]
    for part, expected in zip(own, reference, strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_windows_are_numpys(name, n):
    own, reference = getattr(ops, name)(n), getattr(np, name)(n)
    np.testing.assert_allclose(own, reference, atol=1e-6)
    np.testing.assert_allclose(ops.kaiser(n, 3.5), np.kaiser(n, 3.5), atol=1e-6)


@pytest.mark.parametrize("name", ["linspace", "logspace", "geomspace"])
def test_the_axis_is_numpys(name):
    own = getattr(ops, name)(STARTS, STOPS, 4, axis=-1)
    reference = getattr(np, name)(STARTS, STOPS, 4, axis=-1)
    np.testing.assert_allclose(own, reference, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.arange(1, 5, 0), "`step` must be other than 0"),
        (lambda: ops.linspace(0.0, 1.0, -1), "`num` must be an integer"),
        (lambda: ops.meshgrid(INTEGERS, indexing="yx"), "`indexing` must be one of"),
        (lambda: ops.logspace(0.0, 1.0, -2), "logspace: `num` must be an integer"),
        (lambda: ops.full((2, 3), [1, 2]), "full: `fill_value` must be of a shape"),
        (lambda: ops.full_like(A, [1, 2]), "full_like: `fill_value` must be of"),
        (lambda: ops.vander(A), "vander: `x` must be of one axis"),
        (lambda: ops.vander(INTEGERS, -1), "vander: `N` must be at least 0"),
        (lambda: ops.hanning(2.5), "`x` must be the number of points"),
        (lambda: ops.kaiser(-1, 2.0), "kaiser: `x` must be the number of points"),
        (lambda: ops.hamming(KerasTensor(())), "hamming: `x` must be the number"),
        (lambda: ops.zeros((2, -1)), "zeros: `shape` must be an integer or several"),
        (lambda: ops.ones((None, 2)), "ones: `shape` must be an integer or several"),
        (lambda: ops.empty(2.5), "empty: `shape` must be an integer or several"),
        (lambda: ops.eye(-1), "eye: `N` must be at least 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_values_are_not_rounded_on_the_way_to_a_wider_dtype():
    x = np.zeros(3, "float32")
    for dtype, value in (("float64", 0.1), ("int64", 2**40)):
        for own in (
            ops.full((3,), value, dtype),
            ops.full((3,), [value] * 3, dtype),
            ops.full_like(x, value, dtype),
            ops.full_like(torch.tensor(x), value, dtype),
            ops.array([value] * 3, dtype),
            ops.array([np.array(value)] * 3, dtype),
        ):
            np.testing.assert_array_equal(own, np.full(3, value, dtype))
    for name in ("linspace", "logspace", "geomspace"):
        own = getattr(ops, name)(0.1, [0.7, 0.3], 5, dtype="float64")
        reference = getattr(np, name)(0.1, [0.7, 0.3], 5)
        np.testing.assert_allclose(own, reference, rtol=1e-15)


def test_tensors_weights_and_symbolic_ones_are_taken():
    layer = torchkeras.layers.Dense(2)
    layer.build((None, 3))
    for own in (ops.array(layer.kernel), ops.full_like(layer.kernel, 2.0)):
        assert own.shape == (3, 2)
    listed = ops.array([torch.tensor(1.0), torch.tensor(2.0)], "float64")
    assert listed.dtype == torch.float64
    symbolic = KerasTensor((None, 3), "int32")
    assert ops.array(symbolic, "float32").dtype == "float32"
    assert ops.full_like(symbolic, 1).shape == (None, 3)
    assert ops.full_like(torch.ones(2, 3), KerasTensor((3,))).shape == (2, 3)
    assert ops.full((2, 3), KerasTensor((3,))).shape == (2, 3)
    assert ops.linspace(symbolic, 1.0, 4, axis=-1).shape == (None, 3, 4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.full((2, 3), 0.1, "float64"),
        lambda x: ops.full_like(x, 2.0),
        lambda x: ops.array(x, "float64"),
        lambda x: ops.linspace(x, 1.0, 4),
        lambda x: ops.arange(1, 7, 2),
        lambda x: ops.eye(2, 3, 1),
    ],
)
def test_creation_is_compiled_whole(function):
    torch._dynamo.reset()
    x = torch.tensor(A)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))


def test_a_range_whose_end_is_not_ahead_is_empty():
    # Keras on torch refuses it.
    for start, stop, step in ((5, 0, 1), (3, 3, 1), (0, 4, -1), (0.5, 0.25, 1)):
        own = ops.arange(start, stop, step)
        assert own.tolist() == np.arange(start, stop, step).tolist() == []


def test_windows_follow_floatx():
    torchkeras.config.set_floatx("float16")
    try:
        assert ops.hanning(3).dtype == ops.kaiser(3, 2.0).dtype == torch.float16
    finally:
        torchkeras.config.set_floatx("float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.eye(FLOAT), "eye: `N` must be an integer, got 2.5"),
        (lambda: ops.tri(2, M=FLOAT), "tri: `M` must be an integer"),
        (lambda: ops.vander(INTEGERS, FLOAT), "vander: `N` must be an integer"),
    ],
)
def test_counts_are_integers(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_what_a_layer_makes_follows_the_default_device():
    with torch.device("meta"):
        assert ops.zeros((2,)).is_meta
        assert ops.arange(3).is_meta
