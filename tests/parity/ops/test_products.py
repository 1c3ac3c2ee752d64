"""Products of arrays against Keras's."""

import numpy as np
import pytest

from tests.parity.ops.harness import CHECKS, Case

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 3, 4)).astype("float32")
B = rng.normal(size=(4, 5)).astype("float32")

CASES = [
    Case("matmul", (A, B)),
    Case("matmul", (A[0, 0], B)),
    Case("matmul", (A, A.transpose(0, 2, 1))),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)
