"""Averages, quantiles, correlations, histograms and differences against Keras's."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 5)).astype("float32")
EVEN = rng.normal(size=(4, 6)).astype("float32")
ROW = rng.normal(size=(7,)).astype("float32")
WIDE = rng.normal(size=(3, 4))
INTS = np.array([[3, -1, 2], [5, 0, -4]], "int32")
LONG = INTS.astype("int64")
SMALL = np.array([[100, 100, 3], [27, 2, 120]], "int8")
BOOLS = np.array([[True, False, True], [True, True, False]])
NAN = X.copy()
NAN[0, 1, 2] = NAN[1, 0, 0] = NAN[1, 2, 0] = np.nan
#: As in the other reductions that Keras makes 32 bits of.
NARROWED = "64 bits stay 64: precision isn't lost"
COUNTED = np.array([1, 1, 3, 0, 5], "int32")
ROWS = np.array([[1, 1, 3], [3, 2, 0]], "int32")
FRACTION: Any = 2.5
SHARES = np.array([0.1, 0.5, 0.85], "float32")
METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]

AXES = [
    ((X,), {}),
    ((X, 1), {}),
    ((EVEN, -1), {"keepdims": True}),
    ((X, (0, 2)), {}),
    ((X,), {"axis": (0, -1), "keepdims": True}),
    ((EVEN,), {"keepdims": True}),
    ((INTS, 1), {}),
    ((LONG, 0), {}),
    ((WIDE,), {}),
]
NANS = [((NAN, 1), {}), ((NAN, (0, 2)), {})]

CASES = [
    *(
        Case(
            name,
            args,
            kwargs,
            lists=args[0] is not NAN,
            dtype=NARROWED if args[0] is WIDE else True,
        )
        for name in ("median", "nanmedian")
        for args, kwargs in [*AXES, *(NANS if name == "nanmedian" else [])]
    ),
    *(
        Case(name, (EVEN, scale * 0.3), {"axis": axis, "method": method})
        for name, scale in (
            ("quantile", 1),
            ("nanquantile", 1),
            ("percentile", 100),
            ("nanpercentile", 100),
        )
        for method in METHODS
        for axis in (None, 1)
    ),
    *(
        Case(name, (x, SHARES * scale), kwargs)
        for name, scale in (
            ("quantile", 1),
            ("nanquantile", 1),
            ("percentile", 100),
            ("nanpercentile", 100),
        )
        for x, kwargs in (
            (ROW, {}),
            (X, {"axis": 1}),
            (X, {"axis": (0, 2), "keepdims": True}),
            (INTS, {"axis": 0}),
        )
    ),
    Case("nanquantile", (NAN, 0.4, 1), lists=False),
    Case("nanpercentile", (NAN, 40.0), {"axis": (0, 1)}, lists=False),
    Case("average", (X,)),
    Case("average", (X, 1)),
    Case("average", (X, (0, 2)), symbolic="Keras's class takes one axis"),
    Case("average", (WIDE, 1), dtype=NARROWED),
    Case("average", (INTS, 0)),
    Case("average", (BOOLS, 1)),
    Case("average", (EVEN, 1), {"weights": np.arange(1, 7, dtype="float32")}),
    Case("average", (INTS, 1), {"weights": np.array([1, 2, 3], "int32")}),
    Case("bincount", (COUNTED,)),
    Case("bincount", (COUNTED,), {"minlength": 9}),
    *(
        Case(
            "bincount",
            (x,),
            {"weights": np.arange(1, x.size + 1, dtype=dtype).reshape(x.shape)},
            grad=False,  # torch has none
            symbolic="Keras takes no symbolic weights",
        )
        for x in (COUNTED, ROWS)
        for dtype in ("float32", "int32")
    ),
    Case("bincount", (ROWS,)),
    *(
        Case("corrcoef", (x,), symbolic="Keras gives the shape of the observations")
        for x in (EVEN, ROW, INTS, WIDE, LONG)
    ),
    Case("corrcoef", (EVEN[:, :4].copy(),)),
    Case("histogram", (ROW,), grad=False),
    Case("histogram", (ROW, 4), grad=False),
    Case("histogram", (ROW, 5), {"range": (-1.0, 1.0)}, grad=False),
    Case("diff", (X,)),
    Case("diff", (X, 2)),
    Case("diff", (X,), {"axis": 0}),
    Case("diff", (INTS,), {"n": 1, "axis": 1}),
    Case("diff", (INTS,), {"n": 0}),
    Case("diff", (SMALL,)),
    Case("trapezoid", (X,)),
    Case("trapezoid", (X,), {"dx": 0.5, "axis": 1}),
    Case("trapezoid", (X, np.array([0.0, 1.0, 3.0, 4.0, 8.0], "float32"))),
    Case("trapezoid", (INTS,), {"axis": 0}),
    Case("trapezoid", (INTS, INTS)),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_are_numpys(method):
    values = np.random.default_rng(1).normal(size=(3, 6, 2))
    shares = np.array([[0.0, 0.2], [0.63, 1.0]])
    own = ops.quantile(values, shares, axis=(0, 1), method=method)
    reference = np.quantile(values, shares, axis=(0, 1), method=method)
    np.testing.assert_allclose(own, reference)
    values[0, 1, 1] = values[2, :, 0] = np.nan
    own = ops.nanquantile(values, shares[0], axis=(0, 1), method=method)
    reference = np.nanquantile(values, shares[0], axis=(0, 1), method=method)
    np.testing.assert_allclose(own, reference)
    for name in "percentile nanpercentile".split():
        own = getattr(ops, name)(values, 63, axis=0, method=method)
        reference = getattr(np, name)(values, 63, axis=0, method=method)
        np.testing.assert_allclose(own, reference)


def test_a_quantile_of_no_numbers_is_not_a_number():
    assert ops.nanquantile([np.nan, np.nan], 0.5).isnan()
    assert ops.median(np.zeros((0,), "float32")).isnan()


def test_quantiles_of_infinities_are_numpys():
    values = np.array([-np.inf, 1.0, np.inf], "float32")
    np.testing.assert_array_equal(
        ops.quantile(values, [0.0, 0.5, 1.0]), [-np.inf, 1.0, np.inf]
    )


def test_weights_of_several_axes_are_numpys():
    weights = rng.uniform(1, 2, size=(5, 2))
    own = ops.average(X, axis=(2, 0), weights=weights)
    reference = np.einsum("iak,ki->a", X, weights) / weights.sum()
    np.testing.assert_allclose(own, reference, rtol=1e-5)


def test_corrcoef_is_numpys():
    z = (EVEN + 1j * EVEN[::-1]).astype("complex64")
    for x in (EVEN, ROW, z, INTS, EVEN[:1]):
        own, expected = ops.corrcoef(x), np.corrcoef(x)
        assert own.shape == np.shape(expected)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


def test_squares_of_half_precision_do_not_overflow():
    # They do in Keras, which gives NaN.
    x = np.array([[1, 2, 300], [3, 100, 500]], "float16")
    own = ops.corrcoef(x)
    assert own.dtype == torch.float16
    np.testing.assert_allclose(own, np.corrcoef(x), rtol=2e-3)


def test_a_share_in_a_list_names_the_rank_that_it_says():
    # In float64, 0.7 of float32 times 10 is less than 7.
    values = np.arange(11.0)
    for shares in (0.7, [0.7], np.array([0.7])):
        assert ops.quantile(values, shares, method="lower") == 7


@pytest.mark.parametrize(
    ("values", "bins", "limits"),
    [
        ([1.0, 1.0, 1.0], 4, None),
        ([], 3, None),
        ([0.0, 0.5, 1.0, 2.0, 3.0], 4, (0.5, 2.5)),
        ([1, 2, 2, 7], 3, None),
        ([0.0, 1.0], 2, (3.0, 3.0)),
    ],
)
def test_histograms_are_numpys(values, bins, limits):
    values = np.array(values, "float32")
    counts, edges = ops.histogram(values, bins, limits)
    expected, places = np.histogram(values, bins, limits)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose(edges, places, rtol=1e-6)


def test_counts_of_nothing():
    nothing = np.zeros((0,), "int32")
    assert ops.bincount(nothing).shape == (0,)
    assert ops.bincount(nothing, minlength=3).tolist() == [0, 0, 0]
    assert ops.bincount(np.zeros((2, 0), "int32"), minlength=2).tolist() == [[0, 0]] * 2


def test_the_length_of_counts_is_unknown_ahead():
    assert ops.bincount(KerasTensor((4,), "int32")).shape == (None,)
    assert ops.bincount(KerasTensor((None, 4), "int32")).shape == (None, None)


def test_axes_of_unknown_size_stay_unknown():
    x = KerasTensor((None, 3, 4))
    assert ops.median(x, axis=1).shape == (None, 4)
    assert ops.quantile(x, [0.1, 0.2], axis=-1, keepdims=True).shape == (2, None, 3, 1)
    assert ops.average(x, axis=2).shape == (None, 3)
    assert ops.diff(x, axis=1).shape == (None, 2, 4)
    assert ops.trapezoid(x).shape == (None, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.median(x, axis=1),
        lambda x: ops.nanquantile(x, 0.3, axis=0),
        lambda x: ops.percentile(x, 30, method="nearest"),
        lambda x: ops.average(x, axis=1, weights=x.abs()),
        lambda x: ops.corrcoef(x),
        lambda x: ops.histogram(x[0], 4),
        lambda x: ops.diff(x),
        lambda x: ops.trapezoid(x, dx=0.5),
    ],
)
def test_statistics_are_compiled_whole(function):
    torch._dynamo.reset()
    x = torch.tensor(EVEN)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))


def test_rows_of_counts_are_as_long_as_the_largest_integer_asks():
    # Keras takes only rows that have the same largest integer.
    counts = ops.bincount([[1, 1, 3], [0, 2, 2]])
    assert counts.tolist() == [[0, 2, 0, 1], [1, 0, 2, 0]]
    counts = ops.bincount([[1, 1], [0, 2]], weights=[[0.5, 1.0], [2.0, 3.0]])
    assert counts.tolist() == [[0.0, 1.5, 0.0], [2.0, 0.0, 3.0]]


def test_weights_of_all_values_are_numpys():
    # Keras divides by the weights of each row.
    weights = np.abs(EVEN) + 1
    for axis in (None, 0, 1):
        np.testing.assert_allclose(
            ops.average(EVEN, axis=axis, weights=weights),
            np.average(EVEN, axis=axis, weights=weights),
            rtol=1e-5,
        )


def test_options_may_be_arrays_lists_and_symbolic():
    places = [0.0, 1.0, 3.0, 4.0, 8.0]
    expected = ops.trapezoid(X, torch.tensor(places))
    for x in (places, np.array(places, "float32")):
        np.testing.assert_allclose(ops.trapezoid(X, x), expected)
    y = KerasTensor((None, 5))
    assert ops.trapezoid(y, KerasTensor((5,))).shape == (None,)
    assert ops.trapezoid(y, places).shape == (None,)
    weighted = ops.bincount(KerasTensor((4,), "int32"), weights=[1, 2, 3, 4])
    assert weighted.dtype == "int32"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.quantile(X, 1.5), ValueError, "`q` must be from 0 to 1, got 1.5"),
        (
            lambda: ops.nanpercentile(X, [5, 101]),
            ValueError,
            "`q` must be from 0 to 100",
        ),
        (
            lambda: ops.quantile(X, 0.5, method="middle"),
            ValueError,
            "quantile: `method` must be one of 'linear'",
        ),
        (lambda: ops.median(X, axis=3), ValueError, "median: `axis` must be among"),
        (
            lambda: ops.average(X, axis=1, weights=[1.0, 2.0]),
            ValueError,
            r"`weights` must be of shape \(2, 3, 5\) or \(3,\)",
        ),
        (lambda: ops.average(X, weights=ROW), ValueError, "`weights` must be of shape"),
        (lambda: ops.bincount(X), ValueError, "`x` must be"),
        (lambda: ops.bincount(ROW), TypeError, "`x` must be an array of integers"),
        (lambda: ops.bincount(COUNTED, weights=ROW), ValueError, "the shape of `x`"),
        (lambda: ops.bincount(COUNTED, sparse=True), NotImplementedError, "to_sparse"),
        (lambda: ops.corrcoef(X), ValueError, "`x` must be of one or two axes"),
        (
            lambda: ops.histogram(ROW, 0),
            ValueError,
            "`bins` must be a positive integer",
        ),
        (
            lambda: ops.histogram(ROW, FRACTION),
            TypeError,
            "`bins` must be a positive integer",
        ),
        (lambda: ops.histogram(X), ValueError, "`x` must be of one axis"),
        (lambda: ops.histogram(ROW, 3, (2, 1)), ValueError, "in rising order"),
        (lambda: ops.diff(X, -1), ValueError, "`n` must be at least 0"),
        (lambda: ops.trapezoid(X, axis=5), ValueError, "trapezoid: `axis`"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
