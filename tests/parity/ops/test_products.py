"""Products of arrays against Keras's."""

import numpy as np
import pytest

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import ops

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 3, 4)).astype("float32")
B = rng.normal(size=(4, 5)).astype("float32")
V, W = rng.normal(size=(4,)).astype("float32"), rng.normal(size=(4,)).astype("float32")
M = rng.normal(size=(3, 4)).astype("float32")
VECTORS = rng.normal(size=(5, 3)).astype("float32")
INTEGERS = np.arange(12, dtype="int32").reshape(3, 4)
LONG = INTEGERS.astype("int64")
SMALL = np.arange(12, dtype="int8").reshape(3, 4)
BOOLEANS = np.array([[True, False], [True, True]])

CASES = [
    Case("matmul", (A, B)),
    Case("matmul", (V, B)),
    Case("matmul", (A, A.transpose(0, 2, 1))),
    Case("matmul", (INTEGERS, INTEGERS.T.copy())),
    Case("matmul", (SMALL, SMALL.T.copy()), lists=False),
    Case("matmul", (M, INTEGERS.T.copy())),
    Case("dot", (V, W)),
    Case("dot", (A, B)),
    Case("dot", (A, V)),
    Case("dot", (M, 2.0)),
    Case("dot", (INTEGERS, INTEGERS.T.copy())),
    Case("inner", (V, W)),
    Case("inner", (A, M)),
    Case("outer", (V, W)),
    Case("outer", (M, V)),
    Case("outer", (INTEGERS[0], V)),
    Case("kron", (M, B)),
    Case("kron", (V, W)),
    Case("vdot", (V, W)),
    Case("vdot", (INTEGERS[0], INTEGERS[1])),
    Case("tensordot", (A, B, 1)),
    Case("tensordot", (A, A), {"axes": ([0, 1], [0, 1])}),
    Case("tensordot", (M, M)),
    Case("tensordot", (A, B), {"axes": (2, 0)}, symbolic="Keras fails"),
    Case("cross", (VECTORS, VECTORS[::-1].copy()), {"axis": -1}),
    Case("cross", (VECTORS[0], VECTORS[1]), {"axis": 0}),
    Case("cross", (VECTORS.T.copy(), VECTORS.T[:, ::-1].copy()), {"axis": 0}),
    Case("einsum", ("bij,jk->bik", A, B)),
    Case("einsum", ("ij->ji", M)),
    Case("einsum", ("ij,kj,j->ik", M, M, V)),
    Case("einsum", ("...ij->...", A)),
    Case("einsum", ("ij,ij->", INTEGERS, INTEGERS)),
    Case("einsum", ("i,i->", V.astype("float64"), W.astype("float64"))),
    Case("einsum", ("ij,ij->i", LONG, LONG), lists=False),
    Case("kron", (LONG, LONG), lists=False),
    Case("outer", (LONG, SMALL[0]), lists=False),
    Case("outer", (BOOLEANS, BOOLEANS)),
    Case("trace", (M,)),
    Case("trace", (A,), {"offset": 1, "axis1": 1, "axis2": 2}),
    Case("trace", (SMALL,), lists=False),
    Case("correlate", (V, W), values="Keras drops the axis"),
    Case("correlate", (V, W[:3]), {"mode": "same"}),
    Case("correlate", (V, W[:2]), {"mode": "full"}),
    Case("correlate", (V, W[:2]), {"mode": "valid"}),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_correlate_is_numpys(mode):
    own = ops.correlate(V, V, mode)
    np.testing.assert_allclose(own, np.correlate(V, V, mode), rtol=1e-5, atol=1e-6)
    own = ops.correlate(V, W[:3], mode)
    np.testing.assert_allclose(own, np.correlate(V, W[:3], mode), rtol=1e-5, atol=1e-6)


def test_correlate_conjugates_as_numpy_does():
    z = np.array([1 + 2j, 3 - 1j, 2j], "complex64")
    own = ops.correlate(z, z[:2], "full")
    np.testing.assert_allclose(own, np.correlate(z, z[:2], "full"), rtol=1e-5)
    np.testing.assert_allclose(ops.vdot(z, z), np.vdot(z, z), rtol=1e-5)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
@pytest.mark.parametrize("sizes", [(2, 4), (2, 5), (3, 4), (1, 4), (4, 2)])
def test_correlate_with_a_longer_second_is_numpys(mode, sizes):
    x, y = rng.normal(size=sizes[0]), rng.normal(size=sizes[1])
    np.testing.assert_allclose(ops.correlate(x, y, mode), np.correlate(x, y, mode))


def test_einsum_takes_numbers_for_letters():
    # As in Keras's documentation; without outputs, axes come in the order of numbers.
    own = ops.einsum(M, [7, 30], M, [2, 30])
    np.testing.assert_allclose(own, np.einsum(M, [7, 30], M, [2, 30]), rtol=1e-5)
    own = ops.einsum(M, [0, 1], V, [1], [0])
    np.testing.assert_allclose(own, M @ V, rtol=1e-5)
    assert ops.einsum(np.eye(3), [0, 0]) == 3


def test_cross_takes_axes_apart():
    x, y = VECTORS.T.copy(), VECTORS[::-1].copy()
    own = ops.cross(x, y, axisa=0, axisb=1, axisc=0)
    reference = np.cross(x, y, axisa=0, axisb=1, axisc=0)
    np.testing.assert_allclose(own, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.correlate(V, W, "half"), ValueError, "`mode` must be one of"),
        (lambda: ops.correlate(M, W), ValueError, "along one axis"),
        (lambda: ops.cross(V, W), ValueError, "2 or 3 components"),
        (lambda: ops.vdot(V, W[:1]), ValueError, "as many values as `x1`, 4"),
        (lambda: ops.trace(V), ValueError, "of two axes or more"),
        (lambda: ops.einsum("i,i", V, W, foo=1), TypeError, "unknown arguments"),
        (lambda: ops.einsum("i,i"), ValueError, "followed by a factor at least"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
