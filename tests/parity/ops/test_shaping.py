"""Arrays joined, split, reshaped, turned, padded and repeated against Keras's."""

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 3, 4)).astype("float32")
B = rng.normal(size=(2, 3, 4)).astype("float32")
M = rng.normal(size=(3, 4)).astype("float32")
V = rng.normal(size=6).astype("float32")
I = rng.integers(-5, 5, size=(2, 3)).astype("int32")  # noqa: E741
T = np.array([[True, False, True], [False, False, True]])
ONES = rng.normal(size=(1, 3, 1)).astype("float32")

ARRAY = "the size depends on values; Keras would take a symbolic array for a list"

CASES = [
    Case("append", (A, B)),
    Case("append", (A, B), {"axis": 1}),
    Case("append", (I, I[:1]), {"axis": 0}),
    Case("append", (I, M)),
    Case("append", (V, 3.0), symbolic="Keras asks the number for its shape"),
    Case("array_split", (V, 4)),
    Case("array_split", (A, 3), {"axis": -1}),
    Case("array_split", (I, 2), {"axis": 1}),
    Case("broadcast_to", (M, (2, 3, 4))),
    Case("broadcast_to", (ONES, (5, 3, 2))),
    Case("broadcast_to", (T, (4, 2, 3))),
    Case("concatenate", ([A, B],)),
    Case("concatenate", ([A, B, A], -1)),
    Case("concatenate", ([I, I.astype("float32")],), {"axis": 1}),
    Case("concatenate", ([T, T],), {"axis": 0}),
    Case("concatenate", ([I, I.astype("int8")],), {"axis": 0}),
    Case("diag", (V,)),
    Case("diag", (V,), {"k": -2}),
    Case("diag", (M,), {"k": 1}),
    Case("diag", (I,), {"k": -1}),
    Case("diagflat", (M,)),
    Case("diagflat", (V,), {"k": 2}),
    Case("diagflat", (I,), {"k": -1}),
    Case("diagonal", (M,), lists=False),  # Keras asks for `.shape`
    Case("diagonal", (A,), {"offset": 1, "axis1": 2, "axis2": 0}),
    Case("diagonal", (A,), {"offset": -1, "axis1": -2, "axis2": -1}),
    Case("diagonal", (T,)),
    Case("dsplit", (A, 2)),
    Case("dsplit", (A, (1, 3))),
    Case("dstack", ([V, V],)),
    Case("dstack", ([M, M],)),
    Case("dstack", ([A, B],)),
    Case("expand_dims", (M, 0)),
    Case("expand_dims", (M, -1)),
    Case("expand_dims", (I, (0, 2, -1))),
    Case("flip", (A,)),
    Case("flip", (A,), {"axis": 1}),
    Case("flip", (I,), {"axis": (0, -1)}),
    Case("flip", (T,), {"axis": -1}),
    Case("fliplr", (A,)),
    Case("fliplr", (I,)),
    Case("flipud", (A,)),
    Case("flipud", (V,)),
    Case("hsplit", (V, 2)),
    Case("hsplit", (A, 3)),
    Case("hsplit", (A, [1])),
    Case("hstack", ([V, V],), symbolic="Keras's symbolic form looks for a second axis"),
    Case("hstack", ([M, M],)),
    Case("hstack", ([A, B],)),
    Case("moveaxis", (A, 0, -1)),
    Case("moveaxis", (A, (0, 1), (-1, 0))),
    Case("moveaxis", (I, -1, 0)),
    Case("ndim", (A,), symbolic="Keras gives a symbolic vector"),
    Case("ndim", (3.0,)),
    Case("pad", (M, ((1, 2), (0, 3)))),
    Case("pad", (I, ((1, 0), (2, 1))), {"constant_values": 7}),
    Case("pad", (T, ((1, 0), (2, 1)))),
    Case("pad", (A, ((0, 0), (1, 2), (2, 1))), {"mode": "reflect"}),
    Case("pad", (I, ((1, 1), (1, 2))), {"mode": "reflect"}),
    Case("pad", (V, ((1, 1),)), {"mode": "symmetric"}),
    Case("pad", (A, ((0, 0), (1, 2), (3, 3))), {"mode": "circular"}),
    Case("ravel", (A,)),
    Case("ravel", (T,)),
    Case("repeat", (M, 2)),
    Case("repeat", (M, 2), {"axis": 0}),
    Case("repeat", (A, np.array([1, 0, 3])), {"axis": 1}, symbolic=ARRAY),
    Case("repeat", (I, np.array([2])), {"axis": -1}, symbolic=ARRAY),
    Case("repeat", (T, np.array([1, 2])), {"axis": 0}, symbolic=ARRAY),
    Case("reshape", (A, (4, 6))),
    Case("reshape", (A, (2, -1))),
    Case("reshape", (I, -1)),
    Case("reshape", (T, [3, 2])),
    Case("reshape", (V[:1], ())),
    Case("roll", (A, 2)),
    Case("roll", (A, -1), {"axis": 1}),
    Case("roll", (I, (1, 2)), {"axis": (0, 1)}),
    Case("rot90", (A,)),
    Case("rot90", (A,), {"k": 3, "axes": (1, 2)}),
    Case("rot90", (A,), {"k": 2}, symbolic="Keras swaps sizes at any number of turns"),
    Case("rot90", (I,), {"k": -1, "axes": (-2, -1)}),
    Case("size", (A,)),
    Case("size", (T,)),
    Case("split", (A, 2)),
    Case("split", (A, [1, 2]), {"axis": 1}),
    Case("split", (I, 3), {"axis": -1}),
    Case("split", (T, (1,)), {"axis": 1}),
    Case("squeeze", (ONES,)),
    Case("squeeze", (ONES,), {"axis": 0}),
    Case("squeeze", (ONES,), {"axis": (0, -1)}),
    Case("stack", ([A, B],)),
    Case("stack", ([A, B],), {"axis": -1}),
    Case("stack", ([I, I.astype("float32")],), {"axis": 1}),
    Case("stack", ([T, T, T],), {"axis": 2}),
    Case("swapaxes", (A, 0, -1)),
    Case("swapaxes", (I, 1, 0)),
    Case("tile", (M, 2)),
    Case("tile", (M, (2, 1, 3))),
    Case("tile", (A, (1, 2))),
    Case("tile", (T, [2, 2])),
    Case("transpose", (A,)),
    Case("transpose", (A, (2, 0, 1))),
    Case("transpose", (I,), {"axes": (-1, 0)}),
    Case("tril", (A,)),
    Case("tril", (I,), {"k": -1}),
    Case("tril", (T,), {"k": 1}),
    Case("triu", (A,)),
    Case("triu", (I,), {"k": 1}),
    Case("vsplit", (A, 2)),
    Case("vsplit", (M, (1, 2))),
    Case("vstack", ([V, V],), symbolic="Keras's symbolic form leaves vectors as such"),
    Case("vstack", ([M, M],)),
    Case("vstack", ([A, B],)),
]


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")  # in Keras
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


X = (None, 4, 6)  # a shape stands for a symbolic tensor of it

UNKNOWN = [
    ("append", ((2, None, 6), (2, None, 6)), {"axis": -1}),
    ("append", (X, X), {}),
    ("array_split", (X, 3), {}),
    ("array_split", (X, 4), {"axis": -1}),
    ("broadcast_to", ((None, 3), (5, 3)), {}),
    ("broadcast_to", ((None, 3), (2, None, 3)), {}),
    ("concatenate", ([X, X],), {}),
    ("concatenate", ([X, (None, 2, 6)],), {"axis": 1}),
    ("concatenate", ([(2, None, 3), (2, 4, 3)],), {"axis": 1}),
    ("diag", ((None,),), {"k": 1}),
    ("diag", ((None, 2),), {}),
    ("diagflat", ((None, 2),), {}),
    ("diagonal", ((None, 2, 5),), {}),
    ("diagonal", ((None, None, 2, 5),), {"axis1": 2, "axis2": 3}),
    ("diagonal", ((None, None, 5),), {"axis1": 1, "axis2": -1}),
    ("dsplit", (X, 3), {}),
    ("dstack", ([(None, 3), (None, 3)],), {}),
    ("expand_dims", (X, 1), {}),
    ("expand_dims", (X, (0, -1)), {}),
    ("flip", (X,), {}),
    ("hsplit", ((2, None), 3), {}),
    ("hsplit", ((2, None), (1, 5)), {}),
    ("hstack", ([X, X],), {}),
    ("hstack", ([(2, None), (2, 3)],), {}),
    ("moveaxis", (X, 0, 2), {}),
    ("pad", (X, ((0, 0), (1, 1), (2, 0))), {}),
    ("pad", (X, ((5, 5), (1, 1), (2, 0))), {"mode": "reflect"}),
    ("ravel", (X,), {}),
    ("repeat", (X, 2), {}),
    ("repeat", (X, 2), {"axis": 0}),
    ("repeat", (X, [1, 2, 0, 1]), {"axis": 1}),
    ("reshape", (X, (-1, 24)), {}),
    ("reshape", (X, (-1, 2, 2, 6)), {}),
    ("reshape", ((None, None, 6), (-1, 3, 2)), {}),
    ("reshape", ((None, 3), (6, 1)), {}),
    ("reshape", ((None, 3), (7, -1)), {}),
    ("reshape", ((None, 4, 4), (None, 16)), {}),
    ("roll", (X, 1), {"axis": 0}),
    ("rot90", (X,), {}),
    ("size", (X,), {}),
    ("split", (X, 5), {}),
    ("split", (X, (1, 7)), {}),
    ("split", (X, 2), {"axis": 1}),
    ("squeeze", ((None, 1, 3),), {}),
    ("squeeze", ((None, 1, 3),), {"axis": 1}),
    ("stack", ([X, X],), {}),
    ("stack", ([X, X, X],), {"axis": -1}),
    ("swapaxes", (X, 0, 1), {}),
    ("tile", (X, (2, 1, 3)), {}),
    ("transpose", (X,), {}),
    ("transpose", (X, (1, 0, 2)), {}),
    ("tril", (X,), {}),
    ("vsplit", (X, 3), {}),
    ("vstack", ([X, (2, 4, 6)],), {}),
]


def is_shape(value):
    return isinstance(value, tuple) and None in value


def symbolic(make, name, args):
    if isinstance(args[0], list):
        return [make(shape) for shape in args[0]], *args[1:]
    count = 2 if name == "append" else 1
    return *(make(shape) for shape in args[:count]), *args[count:]


@pytest.mark.parametrize(("name", "args", "kwargs"), UNKNOWN, ids=str)
def test_unknown_axes(name, args, kwargs):
    ours = getattr(ops, name)(*symbolic(KerasTensor, name, args), **kwargs)
    theirs = getattr(keras.ops, name)(
        *symbolic(keras.KerasTensor, name, args), **kwargs
    )
    ours, theirs = (
        [
            x.shape
            for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])
        ]
        for outputs in (ours, theirs)
    )
    assert ours == theirs


def test_sizes_known_better_than_in_keras():
    unknown, known = KerasTensor((None, 3)), KerasTensor((5, 3))
    assert ops.concatenate([unknown, known], axis=1).shape == (5, 6)
    assert ops.concatenate([unknown, torch.ones(5, 2)], axis=1).shape == (5, 5)
    assert ops.stack([unknown, known]).shape == (2, 5, 3)
    assert ops.dstack([unknown, known]).shape == (5, 3, 2)
    assert ops.vstack([KerasTensor((None,)), KerasTensor((4,))]).shape == (2, 4)
    assert ops.hstack([KerasTensor((None,)), KerasTensor((4,))]).shape == (None,)
    assert ops.concatenate([KerasTensor((None, 2)), np.ones((1, 2))]).shape == (None, 2)
    assert ops.append(unknown, known, axis=0).shape == (None, 3)
    assert ops.rot90(unknown, k=2).shape == (None, 3)
    assert ops.repeat(unknown, [1, 2], axis=0).shape == (3, 3)
    x = KerasTensor((None, 4, 6))
    assert ops.reshape(x, (None, -1)).shape == (None, 24)
    assert ops.reshape(KerasTensor((None, None, 6)), (None, None, 2, 3)).shape == (
        None,
        None,
        2,
        3,
    )
    assert ops.reshape(x, (x.size(0), -1)).shape == (None, 24)
    assert ops.reshape(KerasTensor((None, 3)), (x.size(0), 1, 3)).shape == (None, 1, 3)
    assert ops.reshape(torch.ones(6), KerasTensor((3,), "int32")).shape == (None,) * 3


def test_sizes_that_depend_on_a_symbolic_tensor():
    size = KerasTensor((None, 4)).size(0)
    token = torch.ones(1, 3)
    assert ops.tile(token, (size, 1)).shape == (None, 3)
    assert ops.repeat(token, size, axis=0).shape == (None, 3)
    assert ops.broadcast_to(token, (size, 3)).shape == (None, 3)
    assert ops.reshape(KerasTensor((None, 3)), (size, 3, 1)).shape == (None, 3, 1)
    assert ops.reshape(torch.ones(6), (size, -1)).shape == (None, None)


@pytest.mark.parametrize("repeats", [[1, 0, 3], (2,), np.array([2, 1, 1])])
def test_repeats_that_are_a_list(repeats):  # Keras's torch backend refuses lists
    np.testing.assert_array_equal(
        ops.repeat(A, repeats, axis=1), np.repeat(A, repeats, axis=1)
    )
    assert ops.repeat(I[0], repeats).tolist() == np.repeat(I[0], repeats).tolist()
    shape = np.repeat(A, repeats, axis=1).shape
    assert ops.repeat(KerasTensor(A.shape), repeats, axis=1).shape == shape


def test_parts_are_lists():
    for x in (V, KerasTensor((6,)), KerasTensor((None,))):
        assert isinstance(ops.split(x, 2), list)
        assert isinstance(ops.array_split(x, 2), list)
        assert isinstance(ops.hsplit(x, [1]), list)


def test_repeats_that_are_a_tensor():
    x, repeats = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0, 1])
    assert ops.repeat(x, repeats).tolist() == [1.0, 1.0, 3.0]
    assert ops.repeat(KerasTensor((3,)), repeats).shape == (3,)
    assert ops.repeat(KerasTensor((3,)), KerasTensor((3,), "int32")).shape == (None,)  # type: ignore


def test_none_in_a_new_shape():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert ops.reshape(x, (None, 12)).shape == (2, 12)
    assert ops.reshape(x, (None, -1)).shape == (2, 12)
    assert ops.reshape(x, (None, None, 2, 2)).shape == (2, 3, 2, 2)
    assert ops.reshape(x, np.array([4, -1])).shape == (4, 6)
    assert ops.reshape(x, torch.tensor([4, 6])).shape == (4, 6)
    assert ops.broadcast_to(x[:, :1], (None, 5, -1)).shape == (2, 5, 4)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("width", [1, (1,), (1, 2), ((0, 3), (2, 1)), ((7, 8), (9, 5))])
def test_padding_is_numpy_s(mode, width):
    for x in (M, I, T, M.astype("float64"), M[:1]):
        expected = np.pad(x, width, mode=mode)
        actual = ops.pad(x, width, mode=mode)
        np.testing.assert_array_equal(actual, expected)
        assert actual.numpy().dtype == x.dtype


def test_padding_of_all_axes_by_one_pair():
    np.testing.assert_array_equal(ops.pad(M, 2), np.pad(M, 2))
    np.testing.assert_array_equal(ops.pad(M, [[1, 2]]), np.pad(M, [[1, 2]]))
    assert ops.pad(KerasTensor((None, 4)), 2).shape == (None, 8)
    assert ops.pad(KerasTensor((None, 4)), 2, mode="symmetric").shape == (None, 8)


def test_padding_with_a_tensor_takes_gradients():
    value = torch.tensor(3.0, requires_grad=True)
    padded = ops.pad(torch.ones(2, 2), 1, constant_values=value)
    assert padded[0, 0] == 3.0
    assert padded[1, 1] == 1.0
    padded.sum().backward()
    assert value.grad == 12.0


@pytest.mark.parametrize("where", [[3, 1, -2], [2, 9], [0]])
def test_split_takes_indices_as_numpy_does(where):
    parts = ops.split(np.arange(6), where)
    for part, expected in zip(parts, np.split(np.arange(6), where), strict=True):
        np.testing.assert_array_equal(part, expected)
    tensors = ops.split(np.arange(6), torch.tensor(where))
    assert [p.tolist() for p in tensors] == [p.tolist() for p in parts]


COMPILED = [
    (ops.reshape, (torch.ones(2, 6), (-1, 3))),
    (ops.concatenate, ([torch.ones(2), torch.ones(3)],)),
    (ops.stack, ([torch.ones(2), torch.ones(2)],)),
    (ops.split, (torch.ones(6), 3)),
    (ops.split, (torch.ones(6), [1, 4])),
    (ops.array_split, (torch.ones(5), 2)),
    (ops.repeat, (torch.ones(2, 3), 2, 1)),
    (ops.repeat, (torch.ones(2, 3), [1, 2], 0)),
    (ops.pad, (torch.ones(2, 3), 1, "reflect")),
    (ops.pad, (torch.ones(2, 3), ((0, 1), (2, 0)))),
    (ops.squeeze, (torch.ones(1, 3), 0)),
    (ops.expand_dims, (torch.ones(3), (0, 2))),
    (ops.transpose, (torch.ones(2, 3, 4),)),
    (ops.moveaxis, (torch.ones(2, 3, 4), 0, 2)),
    (ops.tile, (torch.ones(2), (2, 2))),
    (ops.broadcast_to, (torch.ones(2), (3, None))),
    (ops.diagonal, (torch.ones(2, 3),)),
    (ops.rot90, (torch.ones(2, 3),)),
    (ops.roll, (torch.ones(2, 3), 1)),
    (ops.size, (torch.ones(2, 3),)),
]


@pytest.mark.parametrize(("function", "args"), COMPILED)
def test_compiles_as_one_graph(function, args):
    torch.compiler.reset()
    compiled = torch.compile(lambda *a: function(*a), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*args), function(*args))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.concatenate([]), "concatenate: `xs` must be a list of arrays"),
        (lambda: ops.stack([]), "stack: `x` must be a list of arrays"),
        (lambda: ops.split(V, 4), "a divisor of the size of axis 0, 6, got 4. Use"),
        (lambda: ops.split(V, 2, axis=1), r"split: `axis` must be an integer in \[-1"),
        (lambda: ops.split(V, 0), "`indices_or_sections` must be a positive integer"),
        (lambda: ops.array_split(V, -1), "must be a positive integer, got -1"),
        (lambda: ops.hsplit(V[0], 1), "hsplit: `x` must be an array with at least 1"),
        (lambda: ops.vsplit(V, 2), "vsplit: `x` must be an array with at least 2 axes"),
        (lambda: ops.dsplit(M, 2), "dsplit: `x` must be an array with at least 3 axes"),
        (lambda: ops.reshape(V, (-1, -1)), "`newshape` must be sizes, at most one"),
        (lambda: ops.reshape(V, (-2, 3)), "`newshape` must be sizes, at most one"),
        (lambda: ops.reshape(V, (None, None)), "without None past the 1 axes"),
        (lambda: ops.reshape(KerasTensor((6,)), (4, 2)), "a shape of 6 values"),
        (lambda: ops.expand_dims(V, 3), r"expand_dims: `axis` must be .*\[-2, 2\)"),
        (lambda: ops.expand_dims(V, (0, 0)), "`axis` must be different axes"),
        (lambda: ops.squeeze(M, 0), r"axes of size 1 of the shape \(3, 4\), got 0"),
        (lambda: ops.squeeze(KerasTensor((None, 1)), 0), r"of the shape \(None, 1\)"),
        (lambda: ops.moveaxis(A, (0, 1), 0), "as many axes as `source`"),
        (lambda: ops.fliplr(V), "fliplr: `x` must be an array with at least 2 axes"),
        (lambda: ops.flipud(V[0]), "flipud: `x` must be an array with at least 1 axis"),
        (lambda: ops.rot90(V), "rot90: `array` must be an array with at least 2"),
        (lambda: ops.rot90(M, axes=(0, 0)), "`axes` must be two different axes"),
        (lambda: ops.repeat(V, -1), "`repeats` must be numbers that are not negative"),
        (lambda: ops.repeat(KerasTensor((3,)), [1, 2]), "one number, or 3 as there"),
        (lambda: ops.diag(A), "diag: `x` must be a vector or a matrix"),
        (lambda: ops.diagonal(M, axis1=1), "another axis than `axis1`, 1"),
        (lambda: ops.diagonal(V), "diagonal: `x` must be an array with at least 2"),
        (lambda: ops.tril(V), "tril: `x` must be an array with at least 2 axes"),
        (lambda: ops.triu(V), "triu: `x` must be an array with at least 2 axes"),
        (lambda: ops.pad(V, 1, mode="linear"), "`mode` must be one of 'constant'"),
        (lambda: ops.pad(V, -1), "none of them negative"),
        (lambda: ops.pad(M, ((1, 1),) * 3), "one pair, or 2 as the array has axes"),
        (
            lambda: ops.pad(V, 1, mode="edge", constant_values=1),
            "`constant_values` must be None with mode 'edge'",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_number_of_parts_that_is_none():
    with pytest.raises(TypeError, match="`indices_or_sections` must be a positive"):
        ops.array_split(V, 1.5)  # type: ignore
