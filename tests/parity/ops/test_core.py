"""Conversion, control flow, scatter and slice against Keras's."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
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


def counting(carry, x):
    return carry + 1, x * carry


def below(i, x):
    return i < 5


def step(i, x):
    return i + 1, x * 1.5


def accumulate(i, x):
    return x * 1.5 + i


NUMBER: Any = 3  # in place of a function
NO_SYMBOLIC = "Keras calls the function on symbolic tensors"
CASES = [
    Case("convert_to_tensor", (A,)),
    Case("convert_to_tensor", (A,), {"dtype": "float64"}),
    Case("convert_to_tensor", (INTEGERS,), {"dtype": "float32"}),
    Case("convert_to_tensor", ([1, 2],)),
    Case("convert_to_tensor", ([1.5, 2],)),
    Case("convert_to_tensor", (True,)),
    Case("convert_to_tensor", (2**40,)),
    Case("convert_to_tensor", ([0.1, 2],), {"dtype": "float64"}, rtol=1e-12, atol=0),
    Case("convert_to_tensor", ([],)),
    Case("cast", (0.1, "float64"), rtol=1e-12, atol=0),
    Case("cast", ([2**40, 1], "int64"), rtol=0, atol=0),
    Case("cast", (A, "float16")),
    Case("cast", (A * 10, "int32"), grad=False),
    Case("cast", (INTEGERS, "bool")),
    Case("saturate_cast", (BIG, "uint8"), grad=False),
    Case("saturate_cast", (BIG[1:-1], "int32"), grad=False),
    Case("saturate_cast", (BIG, "float16")),
    Case("saturate_cast", (SMALL, "uint8")),
    Case("saturate_cast", (SMALL, "float32")),
    Case("saturate_cast", (BIG[1:-1], "bool"), grad=False),
    Case("saturate_cast", (np.array([True, False]), "int8")),
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
    Case("scan", (running, A[0], A), {"length": 2}, lists=False),
    Case("scan", (counting, 0, A), lists=False, symbolic=NO_SYMBOLIC),
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


def test_a_large_number_is_not_another_one():
    assert ops.add(2**40, 1).item() == 2**40 + 1
    assert ops.add([2**40], [1]).tolist() == [2**40 + 1]


def test_cond_on_symbolic_tensors_chooses_when_called():
    inputs: Any = torchkeras.Input((3,))
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


@pytest.mark.parametrize("own", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("target", ["int8", "uint8", "int32", "int64"])
def test_casting_saturates_at_limits_that_floats_cannot_hold(own, target):
    x = ops.cast([-np.inf, -1.0, 1.0, np.inf], own)
    limits = np.iinfo(target)
    expected = [limits.min, max(-1, limits.min), 1, limits.max]
    assert ops.saturate_cast(x, target).tolist() == expected


def test_casting_between_half_precisions_saturates():
    x = torch.tensor([-1e30, 1.0, 1e30], dtype=torch.bfloat16)
    assert ops.saturate_cast(x, "float16").tolist() == [-65280.0, 1.0, 65280.0]
    # Keras clips to 0 and 1 as well.
    assert ops.saturate_cast([-2.0, 0.0, 0.5], "bool").tolist() == [False, False, True]


def test_arrays_are_copies():
    x = torch.ones(2)
    ops.convert_to_numpy(x)[0] = 7.0
    assert x.tolist() == [1.0, 1.0]
    conjugate = torch.tensor([1 + 2j]).conj()
    assert ops.convert_to_numpy(conjugate).tolist() == [1 - 2j]


def test_a_scan_of_nothing_has_the_shapes_of_a_scan():
    def step(carry, x):
        return carry, {"sum": x.sum(), "double": x.double()}

    carry, outputs = ops.scan(step, torch.ones(1), torch.ones(0, 3))
    assert carry.tolist() == [1.0]
    assert outputs["sum"].shape == (0,)
    assert outputs["double"].shape == (0, 3)
    assert outputs["double"].dtype == torch.float64
    assert ops.map(lambda x: x[:2], torch.ones(0, 3)).shape == (0, 2)


def test_vectorized_elements_have_random_numbers_of_their_own():
    first, second = ops.vectorized_map(lambda x: x + torch.rand(()), torch.zeros(2))
    assert first != second


def test_a_slice_takes_all_that_is_left():
    x = torch.tensor(A)
    torch.testing.assert_close(ops.slice(x, [1, 0], [-1, 2]), x[1:, :2])
    assert ops.slice(KerasTensor((None, 3)), [1, 0], [-1, 2]).shape == (None, 2)
    assert ops.slice(KerasTensor((None, None)), [0, 0], [1, 9999]).shape == (1, 9999)


def test_a_slice_may_begin_where_a_symbolic_tensor_says():
    start = torchkeras.Input((), batch_size=2, dtype="int32")
    outputs = ops.slice(torch.tensor(A), start, (2, 2))
    assert outputs.shape == (2, 2)
    model = torchkeras.Model(start, outputs)
    torch.testing.assert_close(model(torch.tensor([1, 1])), torch.tensor(A)[1:3, 1:])


def test_unstack_takes_the_number_of_an_unknown_size():
    parts = ops.unstack(KerasTensor((2, None, None)), num=3, axis=1)
    assert [part.shape for part in parts] == [(2, None)] * 3


@pytest.mark.parametrize(
    "other",
    [
        lambda: torch.zeros(3, 4),
        lambda: torch.zeros(3, dtype=torch.int32),
        lambda: (torch.zeros(3),),
    ],
)
def test_symbolic_branches_of_other_results_are_refused(other):
    pred = KerasTensor((), "bool")
    with pytest.raises(ValueError, match="must return the same structure"):
        ops.cond(pred, lambda: torch.zeros(3), other)


def test_symbolic_branches_may_return_numbers_and_none():
    pred = KerasTensor((), "bool")
    number, nothing = ops.cond(pred, lambda: (0, None), lambda: (1, None))
    assert isinstance(number, KerasTensor)
    assert (number.shape, number.dtype) == ((), "int32")
    assert nothing is None


def scaled_gradient(factor):
    @ops.custom_gradient
    def same(x):
        return x * 1.0, lambda *args, upstream: upstream * factor

    return same


def test_a_gradient_of_ones_own_reaches_the_weights_of_layers():
    dense = torchkeras.layers.Dense(2)
    dense.build((None, 3))
    scaled_gradient(5.0)(dense.kernel).sum().backward()
    assert dense.kernel.grad is not None
    assert dense.kernel.grad.tolist() == [[5.0, 5.0]] * 3


def test_a_gradient_of_ones_own_is_kept_in_a_functional_model():
    inputs = torchkeras.Input((3,))
    model = torchkeras.Model(inputs, scaled_gradient(5.0)(inputs))
    x = torch.ones(1, 3, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[5.0] * 3]


def test_a_function_with_a_gradient_of_its_own_takes_other_arguments():
    @ops.custom_gradient
    def power(x, exponent):
        def grad(x, exponent, upstream):
            return [upstream * exponent * x ** (exponent - 1)]

        return x**exponent, grad

    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: power(x, 3), (x,))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.cast(x, "float16") + ops.cast(0.1, "float16"),
        lambda x: x[:, 0] + ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0]),
        lambda x: ops.saturate_cast(x, "int32"),
        lambda x: ops.slice(x, [1, 0], [2, 2]),
        lambda x: ops.slice_update(x, torch.tensor([1, 0]), x[:2]),
        lambda x: ops.scatter_update(x, [[0, 1]], x[0, :1], "max"),
        lambda x: ops.scan(running, x[0], x),
        lambda x: ops.associative_scan(add, x),
        lambda x: ops.map(double, x),
    ],
)
def test_one_graph_is_compiled(function):
    x = torch.tensor(A)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))


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
        (lambda: ops.slice(A, [3, 0], [2, 2]), ValueError, r"lie within.*\(4, 3\)"),
        (lambda: ops.slice(A, [-1, 0], [1, 1]), ValueError, "lie within shape"),
        (
            lambda: ops.slice(A, torch.tensor([0, 0]), [-1, 1]),
            ValueError,
            "lie within shape",
        ),
        (
            lambda: ops.slice_update(A, [3, 0], ROWS),
            ValueError,
            "`updates` must be sizes that lie within",
        ),
        (lambda: ops.slice_update(A, [3, 0], VALUES), ValueError, "with 2 axes"),
        (
            lambda: ops.unstack(KerasTensor((2, None)), axis=1),
            ValueError,
            "`num` must be given where the size of axis 1 is unknown",
        ),
        (
            lambda: ops.unstack(KerasTensor((2, 3)), axis=2),
            ValueError,
            "an axis of a tensor with 2",
        ),
        (
            lambda: ops.scatter_update(A, PLACES, ROWS, "mean"),
            ValueError,
            "`reduction`",
        ),
        (
            lambda: ops.cond(True, NUMBER, NUMBER),
            TypeError,
            "`true_fn` must be a function",
        ),
        (lambda: ops.map(3, A), TypeError, "`f` must be a function"),
        (lambda: ops.scan(running, 0.0, B, length=9), ValueError, "must agree"),
        (lambda: ops.scan(running, 0.0), ValueError, "or `length` be given"),
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
