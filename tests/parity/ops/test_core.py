"""Conversion, control flow, scatter and slice against Keras's."""

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, Variable, ops

rng = np.random.default_rng(0)
A = rng.normal(size=(4, 3)).astype("float32")
B = rng.normal(size=(4,)).astype("float32")
INTEGERS = np.array([1, 5, 2, 7], "int32")
PLACES = np.array([[0], [2], [2]], "int32")
PAIRS = np.array([[0, 1], [2, 2], [3, 0]], "int32")
ROWS = rng.normal(size=(3, 3)).astype("float32")
VALUES = rng.normal(size=(3,)).astype("float32")
BIG = np.array([-1e10, -3.4, 0.5, 255.2, 300.0, 1e10], "float32")
SMALL = np.array([-100, 0, 100], "int8")


def add(a, b):
    return a + b


def double(x):
    return x * 2.0


def running(carry, x):
    return carry + x, carry * x


def below(i, x):
    return i < 5


def step(i, x):
    return i + 1, x * 1.5


def accumulate(i, x):
    return x * 1.5 + i


NO_SYMBOLIC = "Keras calls the function on symbolic tensors"
CASES = [
    Case("convert_to_tensor", (A,)),
    Case("convert_to_tensor", (A,), {"dtype": "float64"}),
    Case("convert_to_tensor", (INTEGERS,), {"dtype": "float32"}),
    Case("convert_to_tensor", ([1, 2],)),
    Case("convert_to_tensor", ([1.5, 2],)),
    Case("convert_to_tensor", (True,)),
    Case("cast", (A, "float16")),
    Case("cast", (A * 10, "int32"), grad=False),
    Case("cast", (INTEGERS, "bool")),
    Case("saturate_cast", (BIG, "uint8"), grad=False),
    Case("saturate_cast", (BIG[1:-1], "int32"), grad=False),
    Case("saturate_cast", (BIG, "float16")),
    Case("saturate_cast", (SMALL, "uint8")),
    Case("saturate_cast", (SMALL, "float32")),
    Case("stop_gradient", (A,)),
    Case("stop_gradient", (INTEGERS,)),
    Case("unstack", (A,)),
    Case("unstack", (A,), {"axis": 1}),
    Case("unstack", (A,), {"num": 3, "axis": -1}),
    Case("slice", (A, [1, 0], [2, 2])),
    Case("slice", (A, (0, 1), (4, 1))),
    Case("slice", (INTEGERS, [2], [2])),
    Case("slice_update", (A, [1, 1], ROWS[:2, :2])),
    Case("slice_update", (INTEGERS, [1], np.array([8, 9], "int32"))),
    Case("scatter", (PLACES, VALUES, (5,))),
    Case("scatter", (PLACES, ROWS, (5, 3))),
    Case("scatter", (PAIRS, VALUES, (4, 3))),
    *[
        Case(
            "scatter_update",
            (A, PAIRS, VALUES),
            {"reduction": reduction},
            grad=reduction
            in (None, "add"),  # Keras changes what it needs on the way back
        )
        for reduction in (None, "add", "max", "min", "mul")
    ],
    *[
        Case(
            "scatter_update",
            (A, PLACES, ROWS),
            {"reduction": reduction},
            grad=reduction == "add",
        )
        for reduction in ("add", "max", "min")
    ],
    Case("map", (double, A), lists=False),
    Case("map", (ops.sum, A), lists=False, symbolic=NO_SYMBOLIC),
    Case("vectorized_map", (double, A), lists=False),
    Case("vectorized_map", (torch.sum, A), lists=False, symbolic=NO_SYMBOLIC),
    Case("scan", (running, np.float32(1.0), B), lists=False),
    Case("scan", (running, A[0], A), {"reverse": True}, lists=False),
    Case("associative_scan", (add, A), lists=False),
    Case("associative_scan", (add, A), {"reverse": True, "axis": 1}, lists=False),
    Case("associative_scan", (add, B), lists=False),
    Case("while_loop", (below, step, (0, A)), symbolic=NO_SYMBOLIC, lists=False),
    Case(
        "while_loop",
        (below, step, (0, A)),
        {"maximum_iterations": 2},
        symbolic=NO_SYMBOLIC,
        lists=False,
    ),
    Case("fori_loop", (0, 4, accumulate, A), symbolic=NO_SYMBOLIC, lists=False),
    Case("fori_loop", (2, 3, accumulate, B), symbolic=NO_SYMBOLIC, lists=False),
    Case("switch", (1, [torch.neg, torch.exp], A), symbolic=NO_SYMBOLIC, lists=False),
    Case("switch", (7, [torch.neg, torch.exp], A), symbolic=NO_SYMBOLIC, lists=False),
    Case("shape", (A,)),
    Case("shape", (INTEGERS,)),
]
#: Compared below, since they take or give no tensors.
ELSEWHERE = {"cond", "convert_to_numpy", "custom_gradient", "dtype", "is_tensor"}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("value", [True, False])
def test_cond_calls_one_function(value):
    calls = []

    def branch(name):
        calls.append(name)
        return torch.tensor(1.0)

    ops.cond(torch.tensor(value), lambda: branch("yes"), lambda: branch("no"))
    assert calls == ["yes" if value else "no"]


def test_cond_on_symbolic_tensors_chooses_when_called():
    import torchkeras

    inputs = torchkeras.Input((3,))
    outputs = ops.cond(
        ops.sum(inputs) > 0.0, lambda: inputs * 2.0, lambda: inputs - 1.0
    )
    assert outputs.shape == (None, 3)
    model = torchkeras.Model(inputs, outputs)
    ones = torch.ones(2, 3)
    torch.testing.assert_close(model(ones), ones * 2)
    torch.testing.assert_close(model(-ones), -ones - 1)


def test_convert_to_numpy_and_is_tensor_are_kerass():
    for value in (torch.ones(2), Variable([1.0]), [1.0, 2.0], np.ones(3)):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(value),
            np.asarray(ops.convert_to_tensor(value).detach()),
        )
    for value in (torch.ones(2), [1.0], np.ones(1), 3.0):
        assert ops.is_tensor(value) == keras.ops.is_tensor(value)
        if hasattr(value, "dtype"):
            assert ops.dtype(value) == keras.ops.dtype(value)
    assert not ops.is_tensor(KerasTensor((2,)))


def test_a_slice_may_begin_where_a_tensor_says():
    x = torch.tensor(A)
    start = torch.tensor([1, 0])
    torch.testing.assert_close(ops.slice(x, start, (2, 2)), x[1:3, 0:2])
    updated = ops.slice_update(x, start, torch.zeros(2, 2))
    assert updated[1:3, 0:2].abs().sum() == 0
    torch.testing.assert_close(updated[0], x[0])


def test_a_gradient_of_ones_own_is_kerass():
    gradients = []
    for k in (ops, keras.ops):

        @k.custom_gradient
        def log1pexp(x, k=k):
            e = k.exp(x)

            def grad(*args, upstream):
                return upstream * (1.0 - 1.0 / k.add(1.0, e))

            return k.log(k.add(1.0, e)), grad

        x = torch.tensor([1.0, 100.0], requires_grad=True)
        log1pexp(x).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert torch.isfinite(gradients[0]).all()


def test_casting_saturates_at_limits_that_floats_cannot_hold():
    cast = ops.saturate_cast([-1e10, 1e10], "int32")
    assert cast.tolist() == [-(2**31), 2**31 - 1]


@pytest.mark.parametrize("reduction", ["max", "min", "mul"])
def test_scattered_updates_have_a_gradient(reduction):
    inputs = torch.tensor(A, dtype=torch.float64, requires_grad=True)
    updates = torch.tensor(VALUES, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, u: ops.scatter_update(x, PAIRS, u, reduction), (inputs, updates)
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.unstack(A, num=3), ValueError, "`num` must be the size of axis 0"),
        (lambda: ops.slice(A, [0], [1, 1]), ValueError, "`start_indices`"),
        (lambda: ops.slice(A, [0, 0], [1]), ValueError, "`shape`"),
        (
            lambda: ops.scatter_update(A, PLACES, ROWS, "mean"),
            ValueError,
            "`reduction`",
        ),
        (lambda: ops.cond(True, 1, 2), TypeError, "`true_fn` must be a function"),
        (lambda: ops.map(3, A), TypeError, "`f` must be a function"),
        (lambda: ops.scan(running, 0.0, B, length=9), ValueError, "must agree"),
        (lambda: ops.scan(running, 0.0), ValueError, "one be given"),
        (lambda: ops.convert_to_tensor(A, sparse=True), ValueError, "`sparse`"),
        (
            lambda: ops.associative_scan(add, [torch.ones(3), torch.ones(4)]),
            ValueError,
            "one size on axis 0",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
