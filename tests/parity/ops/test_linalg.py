"""Linear algebra against Keras's."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import ops

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 3)).astype("float32")
TALL = rng.normal(size=(5, 3)).astype("float32")
BATCH = rng.normal(size=(2, 4, 4)).astype("float32")
POSITIVE = (TALL.T @ TALL + 2 * np.eye(3)).astype("float32")
MANY = np.stack([POSITIVE, 2 * POSITIVE, POSITIVE + np.eye(3, dtype="float32")])
LOWER = np.linalg.cholesky(POSITIVE).astype("float32")
VECTOR = rng.normal(size=(3,)).astype("float32")
COLUMNS = rng.normal(size=(3, 2)).astype("float32")
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]], "float32")
THREE: Any = (0, 1, 2)
BROADCAST = "Keras gives the shape of the right side"
SYMBOLIC = "Keras runs nothing for it"


def squared(x):
    return x * x


def product(x, y):
    return x * y


CASES = [
    Case("cholesky", (POSITIVE,), rtol=1e-4),
    Case("cholesky", (MANY,), {"upper": True}, rtol=1e-4),
    Case("cholesky_inverse", (LOWER,), rtol=1e-4),
    Case("cholesky_inverse", (LOWER.T.copy(),), {"upper": True}, rtol=1e-4),
    Case("det", (A,)),
    Case("det", (BATCH,), rtol=1e-4),
    Case("inv", (A,), rtol=1e-4, atol=1e-4),
    Case("inv", (MANY,), rtol=1e-4),
    Case("lu_factor", (A,), rtol=1e-4),
    Case("lu_factor", (BATCH,), rtol=1e-3, atol=1e-4),
    Case("eig", (POSITIVE,), rtol=1e-4, grad=False, dtype="checked below"),
    Case("eig", (MANY,), rtol=1e-4, grad=False, dtype="checked below"),
    Case("eigh", (POSITIVE,), rtol=1e-4, grad=False),
    Case("eigh", (MANY,), rtol=1e-4, grad=False),
    Case("matrix_rank", (SINGULAR,)),
    Case("matrix_rank", (BATCH,)),
    Case("matrix_rank", (A, 100.0)),
    Case("pinv", (TALL,), rtol=1e-4, atol=1e-4),
    Case("pinv", (SINGULAR, 0.1), rtol=1e-4, grad=False),
    Case("qr", (A,), rtol=1e-4, atol=1e-4),
    Case("qr", (TALL,), {"mode": "complete"}, rtol=1e-4, grad=False),
    Case("qr", (BATCH,), {"mode": "reduced"}, rtol=1e-3, atol=1e-4),
    Case("solve", (A, VECTOR), rtol=1e-4, atol=1e-4),
    Case("solve", (A, COLUMNS), rtol=1e-4, atol=1e-4),
    Case("solve", (MANY, VECTOR), rtol=1e-4, atol=1e-4, symbolic=BROADCAST),
    Case("solve", (MANY[:2], COLUMNS), rtol=1e-4, atol=1e-4, symbolic=BROADCAST),
    Case("solve", (MANY[:2], COLUMNS.T.copy()), rtol=1e-4, atol=1e-4),
    Case("solve_triangular", (MANY[:2], COLUMNS.T.copy()), rtol=1e-4, atol=1e-4),
    Case("solve_triangular", (LOWER, COLUMNS), {"lower": True}, rtol=1e-4),
    Case("solve_triangular", (LOWER.T.copy(), VECTOR), rtol=1e-4),
    Case("svd", (A,), rtol=1e-4, grad=False),
    Case("svd", (TALL,), {"full_matrices": False}, rtol=1e-4, grad=False),
    Case("svd", (BATCH,), {"compute_uv": False}, rtol=1e-4),
    Case("lstsq", (TALL, TALL[:, 0]), rtol=1e-4, grad=False),
    Case("lstsq", (TALL, TALL * 2 + 1), rtol=1e-3, atol=1e-4, grad=False),
    Case(
        "lstsq", (TALL, TALL * 2 + 1), {"rcond": 0.01}, rtol=1e-3, atol=1e-4, grad=False
    ),
    Case("norm", (VECTOR,)),
    Case("norm", (A,)),
    Case("norm", (BATCH,)),
    Case("norm", (BATCH,), {"axis": -1, "ord": 1, "keepdims": True}),
    Case("norm", (BATCH,), {"axis": (1, 2), "ord": "fro"}),
    Case("norm", (BATCH,), {"axis": (1, 2), "ord": "nuc"}, rtol=1e-4, atol=1e-4),
    Case("norm", (A,), {"ord": 2}, rtol=1e-4, atol=1e-4),
    Case("norm", (A,), {"ord": np.inf}),
    Case("norm", (VECTOR,), {"ord": 3}),
    Case("norm", (np.arange(4, dtype="int32"),)),
    Case("linalg.jvp", (squared, (A,), (A + 1.0,)), lists=False, symbolic=SYMBOLIC),
    Case("linalg.jvp", (product, (A, A), (A, A)), lists=False, symbolic=SYMBOLIC),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_factors_make_up_the_matrix():
    x = torch.tensor(BATCH)
    values, vectors = ops.linalg.eig(x)
    assert values.is_complex()
    back = vectors @ torch.diag_embed(values) @ torch.linalg.inv(vectors)
    torch.testing.assert_close(back.real, x, rtol=1e-3, atol=1e-3)
    u, s, v = ops.linalg.svd(x)
    torch.testing.assert_close(u @ torch.diag_embed(s) @ v, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.linalg.inv(TALL), "inv: `x` must be square"),
        (lambda: ops.linalg.cholesky(-POSITIVE), "must be Hermitian positive"),
        (lambda: ops.linalg.solve(A, 1.0), "`b` must be as many rows"),
        (lambda: ops.linalg.det(VECTOR), "det: `x` must be square"),
        (lambda: ops.linalg.qr(VECTOR), "qr: `x` must be matrices"),
        (lambda: ops.linalg.qr(A, mode="full"), "`mode` must be one of"),
        (lambda: ops.linalg.solve(A, TALL), "`b` must be as many rows"),
        (lambda: ops.linalg.norm(VECTOR, ord="fro"), "a number for the norm"),
        (lambda: ops.linalg.norm(A, ord="foo"), "`ord` must be one of"),
        (lambda: ops.linalg.norm(A, ord=7), "`ord` must be one of"),
        (lambda: ops.linalg.norm(BATCH, axis=THREE), "one axis or two"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
