"""Reductions and cumulative functions against Keras's."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 4)).astype("float32")
WIDE = rng.normal(size=(3, 2))
HALF = rng.normal(size=(2, 3)).astype("float16")
INTS = np.array([[3, -1, 2], [5, 0, -4]], "int32")
LONG = np.array([[3, -1, 2], [5, 0, -4]], "int64")
SMALL = np.array([[100, 100], [27, 2]], "int8")
BYTES = np.array([[200, 100], [27, 2]], "uint8")
BOOLS = np.array([[True, False, True], [True, True, True]])
SCALAR = np.array(1.5, "float32")
NAN = X.copy()
NAN[0, 1, 2] = NAN[1, 0, 0] = NAN[1, 2, 3] = np.nan
HOLES = np.array([[1.0, np.nan, np.inf], [np.nan, np.nan, np.nan]], "float32")

#: Sets of arguments for functions of `x`, `axis` and `keepdims`.
AXES = [
    ((X,), {}),
    ((X, 1), {}),
    ((X, -1), {"keepdims": True}),
    ((X, (0, 2)), {}),
    ((X,), {"axis": (-1, 0), "keepdims": True}),
]
#: Their values in other dtypes.
DTYPES = [((x, axis), {}) for x in (INTS, SMALL, BYTES) for axis in (None, 1)]
FLOATS = [((WIDE, 0), {}), ((HALF, 1), {}), ((SCALAR,), {})]
NANS = [
    ((NAN,), {}),
    ((NAN, 1), {}),
    ((NAN, (0, 2)), {"keepdims": True}),
    ((INTS, 1), {}),
]
#: Where Keras makes 64 bits 32, in others than `sum`, `mean`, `std`, `max` and `min`.
NARROWING = ("prod", "var")
NARROWED = "64 bits stay 64: precision isn't lost, and products don't overflow"
#: Where Keras doesn't keep the axes when it goes over all of them; compared below.
DROPPING = "amax amin max min prod ptp sum".split()


def rows(name):
    yield from [*AXES, *DTYPES, *FLOATS, ((LONG, 0), {})]
    if name != "ptp":
        yield (BOOLS, 1), {}
    if name not in DROPPING:
        yield (X,), {"keepdims": True}


def dtype(name, args):
    wide = args[0] is WIDE or (args[0] is LONG and name == "prod")
    return NARROWED if wide and name in NARROWING else True


CASES = [
    *(
        Case(
            name,
            args,
            kwargs,
            rtol=2e-3 if args[0] is HALF else 1e-5,
            dtype=dtype(name, args),
        )
        for name in "all amax amin any max mean min prod ptp std sum var".split()
        for args, kwargs in rows(name)
    ),
    *(
        Case("count_nonzero", args, values="Keras transposes what is left; see below")
        for args in ((INTS,), (INTS, 1), (BOOLS, -2), (X, (0, 2)), (SCALAR,))
    ),
    *(
        Case(name, args, kwargs, lists=args[0] is INTS)
        for name in "nanmax nanmean nanmin nanprod nanstd nansum nanvar".split()
        for args, kwargs in [*NANS, ((X, 0), {}), ((SMALL, 0), {}), ((BOOLS, 0), {})]
    ),
    *(
        # Lists of integers are of int32, where nothing overflows.
        Case(
            name,
            args,
            kwargs,
            lists=args[0] is not SMALL,
            dtype=NARROWED if kwargs.get("dtype") == "float64" else True,
        )
        for name in "cumprod cumsum nancumprod nancumsum".split()
        for args, kwargs in [
            ((X,), {}),
            ((X, 1), {}),
            ((X,), {"axis": -1, "dtype": "float64"}),
            ((INTS, 0), {}),
            ((INTS,), {"dtype": "float32"}),
            ((SMALL, 1), {}),
            ((BOOLS, 1), {}),
        ]
    ),
    Case("nancumsum", (NAN, 1)),
    Case("nancumprod", (NAN,)),
    Case("max", (X, 1), {"initial": 0.5}),
    Case("min", (X, 0), {"initial": -0.5, "keepdims": True}),
    Case("max", (INTS, 0), {"initial": 4}),
    Case("prod", (X, 2), {"dtype": "float64"}),
    Case("cumsum", (LONG, 1), dtype=NARROWED),
    Case("cumprod", (WIDE, 0), dtype=NARROWED),
    Case("nanprod", (LONG, 1), dtype=NARROWED),
    Case("nanmean", (WIDE, 0), dtype=NARROWED),
    Case("nanvar", (WIDE, 0), dtype=NARROWED),
    Case("prod", (INTS,), {"dtype": "float32"}),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("name", "all any max mean prod std sum var".split())
def test_an_empty_axis_reduces_nothing(name):
    own = getattr(ops, name)(X, axis=())
    np.testing.assert_allclose(own, getattr(np, name)(X, axis=()), rtol=1e-6)


@pytest.mark.parametrize("name", [*DROPPING, "mean", "nansum", "nanmax"])
def test_axes_are_kept_when_all_are_reduced(name):
    own = getattr(ops, name)(X, keepdims=True)
    assert own.shape == (1, 1, 1)
    reference = getattr(np, name)(X, keepdims=True)
    np.testing.assert_allclose(own, reference, rtol=1e-5)


@pytest.mark.parametrize("axis", [None, 1, (0, 2), -1])
def test_counts_over_three_axes_are_numpys(axis):
    # Keras transposes what is left.
    for x in (X > 0, X.round().astype("int32"), X.round()):
        own = ops.count_nonzero(x, axis)
        assert own.dtype == torch.int32
        np.testing.assert_array_equal(own, np.count_nonzero(x, axis=axis))


@pytest.mark.parametrize("name", "sum prod mean any all max".split())
def test_axes_of_unknown_size_stay_unknown(name):
    x = KerasTensor((None, 3, None))
    function = getattr(ops, name)
    assert function(x).shape == ()
    assert function(x, axis=1).shape == (None, None)
    assert function(x, axis=(0, -1), keepdims=True).shape == (1, 3, 1)


@pytest.mark.parametrize("name", "nanmax nanmin".split())
def test_the_extreme_of_no_number_is_not_a_number(name):
    own = getattr(ops, name)(HOLES, axis=1)
    expected = getattr(np, name)(HOLES[0])
    assert own.isnan().tolist() == [False, True]
    assert own[0] == expected


def test_infinities_are_numbers():
    for name in "nansum nanprod nancumsum nancumprod nanmean".split():
        own = getattr(ops, name)(HOLES[0])
        np.testing.assert_allclose(own, getattr(np, name)(HOLES[0]))


@pytest.mark.parametrize("name", "nanvar nanstd".split())
def test_the_spread_of_one_number_is_zero_and_of_none_is_no_number(name):
    own = getattr(ops, name)([[2.0, np.nan], [np.nan, np.nan]], axis=1)
    np.testing.assert_array_equal(own, [0.0, np.nan])


def test_narrow_integers_do_not_overflow():
    assert ops.sum(SMALL) == 229
    assert ops.prod(BYTES[0]) == 20000


def test_reductions_of_no_values_are_numpys():
    nothing = np.zeros((0, 3), "float32")
    for name in "sum prod all any count_nonzero".split():
        own = getattr(ops, name)(nothing, axis=0)
        np.testing.assert_array_equal(own, getattr(np, name)(nothing, axis=0))
    own = ops.max(nothing, axis=0, keepdims=True, initial=2.0)
    np.testing.assert_array_equal(own, np.full((1, 3), 2.0))
    assert ops.max(nothing, axis=1).shape == (0,)


def test_complex_numbers_have_means_and_a_real_spread():
    z = np.array([1 + 2j, 3 - 1j, 2j], "complex64")
    for name in "mean var std sum prod nanmean nanvar nanstd".split():
        own = getattr(ops, name)(z)
        np.testing.assert_allclose(own, getattr(np, name)(z), rtol=1e-5)


@pytest.mark.parametrize(
    "name", "sum nansum prod mean nanmean var nanstd max nanmin ptp all cumsum".split()
)
def test_reductions_are_compiled_whole(name):
    torch._dynamo.reset()
    function = getattr(ops, name)
    compiled = torch.compile(
        lambda x: function(x, axis=1), fullgraph=True, backend="eager"
    )
    torch.testing.assert_close(compiled(torch.tensor(X)), function(X, axis=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.sum(X, axis=3), "sum: `axis` must be among the 3 axes .* got 3"),
        (lambda: ops.mean(X, axis=(0, -3)), "mean: `axis` must be .* at most once"),
        (lambda: ops.cumsum(X, axis=-4), "cumsum: `axis` must be among the 3 axes"),
        (lambda: ops.max(X[:0]), "max: `x` must have a value .* with `initial`"),
        (lambda: ops.nanmin(X[:0], axis=0), "nanmin: `x` must have a value"),
        (lambda: ops.prod(X, dtype="float33"), "Unknown dtype 'float33'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("axis", [1.5, "1", (0, None)])
def test_axes_are_integers(axis):
    with pytest.raises(TypeError, match="sum: `axis` must be an integer or several"):
        ops.sum(X, axis=axis)


def test_axes_may_be_numpys():
    several: Any = np.array([0, 2])
    one: Any = np.int64(1)
    np.testing.assert_allclose(ops.sum(X, several), X.sum((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(ops.max(X, one), X.max(1))


def test_booleans_have_no_distance():
    with pytest.raises(TypeError, match="ptp: `x` must be an array of numbers"):
        ops.ptp(BOOLS)


@pytest.mark.parametrize("name", "nanvar nanstd nanmean nansum nanprod".split())
def test_what_is_left_out_has_no_gradient(name):
    x = torch.tensor(NAN, dtype=torch.float64, requires_grad=True)
    getattr(ops, name)(x, axis=2).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[x.isnan()] == 0).all()
