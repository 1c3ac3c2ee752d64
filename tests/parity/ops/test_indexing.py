"""Taking, sorting, searching and selecting against Keras's."""

import itertools

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 3, 4)).astype("float32")
M = rng.normal(size=(3, 4)).astype("float32")
V = np.array([0.5, -1.5, 3.0, 2.25, -0.75], "float32")
I = np.array([[3, 1, 2], [-1, 5, 0]], "int32")  # noqa: E741
T = np.array([[False, True, True], [True, False, True]])
BINS = np.array([-1.0, 0.0, 2.0], "float32")
NAN = np.array([[np.nan, 3.0, 2.0], [1.0, np.nan, 4.0]], "float32")
INDEX = np.array([[0, 2], [1, 0]], "int32")
ROWS = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], "int32")

VIEWS = [
    0,
    -1,
    (slice(None, 1),),
    (slice(None, None, 2), Ellipsis),
    (slice(None), 1),
    (Ellipsis, slice(1, 3)),
    (0, None, Ellipsis, -1),
    (None, slice(-2, None)),
]
TUPLE = (
    "Keras's symbolic form gives one vector for each axis, its torch backend a matrix"
)

CASES = [
    *(
        Case(name, (x,), kwargs)
        for name in ("argmax", "argmin")
        for x, kwargs in [
            (A, {}),
            (A, {"axis": 1}),
            (A, {"axis": -1, "keepdims": True}),
            (I, {"keepdims": True}),
            (T, {"axis": 1}),
        ]
    ),
    *(
        Case(name, (x,), kwargs)
        for name in ("nanargmax", "nanargmin")
        for x, kwargs in [
            (NAN, {}),
            (NAN, {"axis": 1}),
            (NAN, {"axis": 0, "keepdims": True}),
            (I, {"axis": -1}),
            (A, {"keepdims": True}),
        ]
    ),
    Case("nanargmax", (np.full((2, 2), np.nan, "float32"),), {"axis": 1}),
    Case("nanargmin", (np.full((2, 2), np.nan, "float32"),)),
    Case("argpartition", (np.array([7, 2, 9, 4], "int32"), 2)),
    Case("argpartition", (I, 1), {"axis": 1}),
    Case("argpartition", (I, 4), {"axis": None}),
    *(
        Case(name, (x,), kwargs)
        for name in ("argsort", "sort")
        for x, kwargs in [
            (A, {}),
            (A, {"axis": 0}),
            (A, {"axis": None}),
            (I, {"axis": -2}),
            (T, {"axis": 1}),
        ]
    ),
    Case("digitize", (V, BINS)),
    Case("digitize", (M, BINS)),
    Case("digitize", (I, np.array([0, 2, 3], "int32"))),
    Case("digitize", (I, BINS)),
    *(Case("get_item", (A, key)) for key in VIEWS),
    Case("get_item", (A, slice(1, None)), symbolic="Keras wants it in a tuple"),
    Case("get_item", (I, (slice(None), [0, 2])), symbolic="Keras takes no lists"),
    Case("nonzero", (I,), values=TUPLE),
    Case("nonzero", (A,), values=TUPLE),
    Case("searchsorted", (BINS, V)),
    Case("searchsorted", (BINS, M), {"side": "right"}),
    Case("searchsorted", (np.array([1, 3, 3, 5], "int32"), I)),
    Case("searchsorted", (np.array([1, 3, 3, 5], "int32"), I), {"side": "right"}),
    Case("select", ([V > 1.0, V < -1.0], [V, V * 2.0])),
    Case("select", ([V > 1.0, V > 0.0], [V, V * 2.0], 7.5)),
    Case("select", ([I > 1, I > 0], [I, I * 2]), {"default": -1}),
    Case("select", ([T], [T])),
    Case("take", (M, INDEX)),
    Case("take", (M, INDEX), {"axis": 0}),
    Case("take", (A, INDEX), {"axis": -2}),
    Case("take", (A, np.array([-1, 0], "int64")), {"axis": 2}),
    Case("take", (I, 1), {"axis": 1}),
    Case("take", (T, np.array([1, 1, 0], "int32")), {"axis": 0}),
    Case("take_along_axis", (M, np.argsort(M, axis=1).astype("int32")), {"axis": 1}),
    Case("take_along_axis", (M, np.array([[0, -1, 2, 1]], "int32")), {"axis": 0}),
    Case("take_along_axis", (I, np.array([[1], [2]], "int64")), {"axis": -1}),
    Case("take_along_axis", (M, np.array([3, 1, 0], "int32")), {"axis": None}),
    Case("unique", (ROWS,)),
    Case("unique", (V,), grad=False),  # torch has none, nor has Keras
    Case("unique", (ROWS,), {"axis": 0, "return_inverse": True}),
    Case("unique", (ROWS,), {"axis": -1, "return_index": True, "return_counts": True}),
    Case("unique", (I[0],), {"return_index": True, "return_inverse": True, "size": 2}),
    Case("unique", (ROWS,), {"size": 4, "fill_value": -1, "return_counts": True}),
    Case("unique", (ROWS[0],), {"size": 4, "return_index": True}),
    Case("unique", (ROWS,), {"size": 3, "axis": 0}),
    Case("unique", (T,), {"return_inverse": True, "return_counts": True}),
    Case("unravel_index", (np.array([1, 5, 3], "int32"), (2, 3))),
    Case("unravel_index", (np.array([[1, 23]], "int64"), (2, 3, 4))),
    Case("unravel_index", (np.array([1, 5], "int8"), (6,))),
    Case("where", (M > 0, M, M * 2.0)),
    Case("where", (T, I, 1.5)),
    Case("where", (T, 1.0, 0.0)),
    Case("where", (T, 1, 0)),
    Case("where", (I, np.float32(2.0) * I, I)),
    Case("where", (T[0], I, T)),
    Case("where", (T,), symbolic="Keras's symbolic form gives the condition's shape"),
    Case("where", (I,), symbolic="Keras's symbolic form gives the condition's shape"),
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.uint8])
def test_take_counts_in_integers_whatever_the_dtype(dtype):
    x = (torch.arange(4000) % 7).to(dtype)
    for index in (257, 2049, -1):
        assert ops.take(x, index) == x[index]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


S = KerasTensor
X = (None, 4, 6)
UNKNOWN = [
    ("argmax", (X,), {"axis": 1}),
    ("argmin", (X,), {"axis": 0, "keepdims": True}),
    ("nanargmax", (X,), {"axis": -1}),
    ("argpartition", ((None, 4), 3), {"axis": 0}),
    ("argpartition", (X, 3), {"axis": None}),
    ("argsort", (X,), {}),
    ("argsort", (X,), {"axis": None}),
    ("sort", (X,), {"axis": 0}),
    ("get_item", (X, 5), {}),
    ("get_item", (X, (slice(0, 1),)), {}),
    ("get_item", (X, (slice(5, None),)), {}),
    ("get_item", (X, (slice(None), 2)), {}),
    ("get_item", (X, (Ellipsis, slice(1, 3))), {}),
    ("get_item", (X, (None, 0, Ellipsis, slice(None, None, 4))), {}),
    ("get_item", ((2, None, None), (1, slice(3, 9))), {}),
    ("nonzero", (X,), {}),
    ("take", (X, 2), {"axis": 1}),
    ("take", (X, [[1, 2, 3]]), {"axis": -1}),
    ("take", (X, [5]), {"axis": 0}),
    ("take", (X, [[0], [1]]), {}),
    ("unique", (X,), {}),
    ("unique", (X,), {"size": 3, "return_index": True, "return_counts": True}),
    ("unique", (X,), {"axis": 1, "return_inverse": True}),
    ("unravel_index", ((None,), (2, 3)), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), UNKNOWN, ids=str)
def test_unknown_axes(name, args, kwargs):
    dtype = "int32" if name == "unravel_index" else "float32"
    shapes = []
    for module, make in ((ops, KerasTensor), (keras.ops, keras.KerasTensor)):
        outputs = getattr(module, name)(make(args[0], dtype), *args[1:], **kwargs)
        many = isinstance(outputs, (list, tuple))
        shapes.append([x.shape for x in (outputs if many else [outputs])])
    assert shapes[0] == shapes[1]


def test_symbolic_beyond_keras():
    x, index = KerasTensor((None, 4)), KerasTensor((None, 2), "int32")
    assert ops.get_item(x, slice(5, None)).shape == (None, 4)
    assert ops.get_item(x, [slice(None), 1]).shape == (None,)
    assert ops.get_item(x, (slice(None), [0, 2, 3])).shape == (None, 3)
    assert ops.get_item(x, (slice(None), index)).shape == (None, None, 2)
    assert ops.take(x, index, axis=1).shape == (None, None, 2)
    assert ops.take_along_axis(x, index, axis=1).shape == (None, 2)
    assert ops.take_along_axis(x, index, axis=-1).dtype == "float32"
    positive = ops.greater(x, 0)
    assert ops.where(positive, x, 0.0).shape == (None, 4)
    assert ops.where(positive).shape == (2, None)
    assert ops.select([positive], [x], KerasTensor((4,))).shape == (None, 4)
    assert ops.searchsorted(KerasTensor((None,)), x).shape == (None, 4)
    assert ops.digitize(x, [0.0, 1.0]).dtype == "int32"
    assert [i.dtype for i in ops.nonzero(x)] == ["int32", "int32"]


@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
@pytest.mark.parametrize(("kth", "axis"), [(1, -1), (2, 0), (5, None), (-2, 1)])
def test_argpartition_puts_the_kth_in_its_place(dtype, kth, axis):
    x = (4 * rng.random((4, 3, 5))).astype(dtype)  # Keras drops the fractions
    index = ops.argpartition(x, kth, axis).numpy()
    flat = x.ravel() if axis is None else x
    axis = axis or 0
    values = np.moveaxis(np.take_along_axis(flat, index, axis), axis, -1)
    kth %= values.shape[-1]
    assert (values[..., :kth] <= values[..., kth, None]).all()
    assert (values[..., kth:] >= values[..., kth, None]).all()
    assert (np.sort(index, axis).ravel() < flat.shape[axis]).all()


def test_nonzero_is_numpy_s():
    for x in (I, T, A):
        actual = ops.nonzero(x)
        assert isinstance(actual, tuple)
        for own, reference in zip(actual, np.nonzero(x), strict=True):
            np.testing.assert_array_equal(own, reference)
            assert own.dtype == torch.int32
        np.testing.assert_array_equal(torch.tensor(x)[actual], x[np.nonzero(x)])


def test_negative_indices_into_the_flattened_array():  # Keras adds the first size
    np.testing.assert_array_equal(ops.take(M, [-1, -5, 0]), np.take(M, [-1, -5, 0]))
    index = np.array([-1, -5, 0])
    np.testing.assert_array_equal(
        ops.take_along_axis(M, index), np.take_along_axis(M, index, None)
    )


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_unique_is_numpy_s(axis):  # Keras gives no first index in arrays of more axes
    actual = ops.unique(ROWS, True, True, True, True, axis)
    expected = np.unique(ROWS, True, True, True, axis)
    for own, reference in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(own, reference)


def test_unique_unsorted():
    values, inverse = ops.unique(V, sorted=False, return_inverse=True)
    np.testing.assert_array_equal(values[inverse], V)


def test_get_item_takes_masks_and_arrays():
    np.testing.assert_array_equal(ops.get_item(I, T), I[T])
    np.testing.assert_array_equal(ops.get_item(I, [1, 0]), I[[1, 0]])
    np.testing.assert_array_equal(ops.get_item(I, [..., 1]), I[..., 1])


def test_searching_takes_arrays_in_any_layout():
    x = torch.tensor(A).transpose(0, 2)
    assert not x.is_contiguous()
    np.testing.assert_array_equal(ops.digitize(x, BINS), np.digitize(x.numpy(), BINS))
    expected = np.searchsorted(BINS, x.numpy())
    np.testing.assert_array_equal(ops.searchsorted(BINS, x), expected)


def product(matrix, vector):
    return matrix @ vector


@pytest.mark.parametrize(
    ("left", "right"), [((3, 4), (4,)), ((2, 1, 3, 4), (5, 4)), ((1, 3, 4), (1, 4))]
)
def test_vectorize_with_a_signature(left, right):
    x, y = rng.normal(size=left), rng.normal(size=right)
    expected = np.vectorize(product, signature="(m,n),(n)->(m)")(x, y)
    actual = ops.vectorize(product, signature="(m, n), (n) -> (m)")(x, y)
    np.testing.assert_allclose(actual, expected)
    assert actual.shape == expected.shape


@pytest.mark.parametrize(
    "shapes", [*itertools.product([(), (3,), (2, 3), (1, 1)], repeat=2)]
)
def test_vectorize_broadcasts(shapes):
    x, y = (rng.normal(size=shape).astype("float32") for shape in shapes)

    def function(a, b):
        assert a.ndim == b.ndim == 0
        return a + 2 * b, ops.maximum(a, b)

    actual = ops.vectorize(function)(x, y)
    for own, reference in zip(actual, (x + 2 * y, np.maximum(x, y)), strict=True):
        np.testing.assert_allclose(own, reference, rtol=1e-6)
        assert own.shape == reference.shape


def test_vectorize_passes_some_arguments_as_they_are():
    def function(a, coefficients, offset=None, *, factor=1.0):
        assert offset is None
        return factor * sum(c * a**i for i, c in enumerate(coefficients))

    mapped = ops.vectorize(function, excluded={1})  # Keras ignores `excluded`
    np.testing.assert_allclose(mapped(I, [1, 2], None, factor=2.0), 2.0 * (1 + 2 * I))
    with pytest.raises(ValueError, match="doesn't fit the axes"):
        ops.vectorize(torch.dot, signature="(n),(n)->()")(np.ones(2), np.ones(3))


def test_vectorize_is_differentiable_and_symbolic():
    square = ops.vectorize(lambda a: a * a)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    square(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 4.0]
    assert square(KerasTensor((None, 3))).shape == (None, 3)
    assert square.__name__ == "<lambda>"
    assert not hasattr(ops.vectorize(ops.multiply), "operation")


VALUES = torch.tensor([0.6, 0.1, 0.9, 0.3, 0.5])
EDGES = torch.tensor([0.2, 0.7])
TABLE = torch.arange(20.0).reshape(5, 4)
COMPILED = [
    (ops.argmax, (torch.ones(2, 3), 1)),
    (ops.nanargmax, (torch.ones(2, 3), 1)),
    (ops.argsort, (torch.ones(2, 3),)),
    (ops.argpartition, (VALUES, 2)),
    (ops.sort, (VALUES,)),
    (ops.digitize, (VALUES, EDGES)),
    (ops.searchsorted, (EDGES, VALUES)),
    (ops.get_item, (TABLE, (slice(1, 3), 0))),
    (ops.take, (TABLE, torch.tensor([1, 2]), 0)),
    (ops.take_along_axis, (TABLE, torch.tensor([[1], [2]]).repeat(1, 4), 0)),
    (ops.select, ([torch.ones(2) > 0], [torch.ones(2)])),
    (ops.unravel_index, (torch.tensor([1, 5]), (2, 3))),
    (ops.where, (torch.ones(2) > 0, torch.ones(2), torch.zeros(2))),
]


@pytest.mark.parametrize(("function", "args"), COMPILED)
def test_compiles_as_one_graph(function, args):
    torch.compiler.reset()
    compiled = torch.compile(lambda *a: function(*a), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*args), function(*args))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.argpartition(V, 5), ValueError, r"in \[-5, 5\) as there are 5"),
        (lambda: ops.argpartition(V, 1.5), ValueError, "`kth` must be an integer"),  # type: ignore
        (lambda: ops.argpartition(S((3,)), 1.5), ValueError, "must be an integer"),  # type: ignore
        (lambda: ops.digitize(V, M), ValueError, "digitize: `bins` must be a vector"),
        (lambda: ops.searchsorted(M, V), ValueError, "Use `vectorized_map` for"),
        (lambda: ops.searchsorted(V, V, "up"), ValueError, "`side` must be one of 'le"),
        (lambda: ops.get_item(S((3,)), (0, 1)), ValueError, "and 1 indices, as the"),
        (
            lambda: ops.take(M, 0, axis=2),
            ValueError,
            r"take: `axis` .*\[-2, 2\), got 2",
        ),
        (lambda: ops.take_along_axis(M, V, 0), ValueError, "with 2 axes, as `x` has"),
        (lambda: ops.take_along_axis(M, M, 4), ValueError, "take_along_axis: `axis`"),
        (lambda: ops.where(T, I), ValueError, "`x2` must be given as well as the"),
        (lambda: ops.where(T, x2=I), ValueError, "`x1` must be given as well as the"),
        (lambda: ops.select(T, [I]), ValueError, "`condlist` must be a list of arrays"),
        (lambda: ops.select([T], []), ValueError, "`choicelist` must be a list of arr"),
        (lambda: ops.select([T], [I, I]), ValueError, "as long as `condlist`, 1"),
        (
            lambda: ops.unique(V, size=0),
            ValueError,
            "`size` must be a positive integer",
        ),
        (lambda: ops.unique(V, axis=1), ValueError, r"unique: `axis` .*\[-1, 1\)"),
        (lambda: ops.unravel_index(V, (5,)), TypeError, "`indices` must be integers"),
        (lambda: ops.vectorize(3), ValueError, "`pyfunc` must be callable, got 3"),  # type: ignore
        (
            lambda: ops.vectorize(product, signature="(m,n)"),
            ValueError,
            r"`signature` must be like '\(m,n\),\(n\)->\(m\)'",
        ),
        (
            lambda: ops.vectorize(product, signature="(n),(n)->(n)")(V),
            TypeError,
            "has 2 inputs, got 1 arrays",
        ),
        (
            lambda: ops.vectorize(torch.dot, signature="(n),(n)->(),()")(V, V),
            TypeError,
            "has 2 outputs, but the function returned 1",
        ),
        (
            lambda: ops.vectorize(torch.dot, signature="(n),(n)->(n)")(V, V),
            ValueError,
            r"shape \(\) doesn't fit the axes \(n\)",
        ),
        (
            lambda: ops.vectorize(abs)(np.ones((0, 2))),
            ValueError,
            "nothing to map over",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
