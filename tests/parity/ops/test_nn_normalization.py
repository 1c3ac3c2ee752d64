"""Normalizations and moments against Keras's, and what they do with bad input."""

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4, 5)).astype("float32")
MEAN, OFFSET, SCALE = rng.normal(size=(3, 5)).astype("float32")
VARIANCE = rng.uniform(0.5, 2.0, size=5).astype("float32")
IMAGE = rng.uniform(size=(2, 6, 6, 3)).astype("float32")
INTEGERS = rng.integers(-5, 5, size=(3, 4)).astype("int32")

CASES = [
    Case("nn.moments", (X, [0])),
    Case("moments", (X, [0, 2])),
    Case("moments", (X,), {"axes": (0, 1, 2)}),
    Case("moments", (X, [1]), {"keepdims": True}),
    Case("moments", (X, -1)),
    Case("moments", (X.astype("float64"), [0]), lists=False),
    Case("moments", (X.astype("float16"), [0]), atol=2e-3, lists=False, grad=False),
    Case("nn.batch_normalization", (X, MEAN, VARIANCE, -1)),
    Case("batch_normalization", (X, MEAN, VARIANCE, 2, OFFSET, SCALE)),
    Case(
        "batch_normalization",
        (X, MEAN, VARIANCE, -1),
        {"scale": SCALE},
        symbolic="Keras fails with only one of offset and scale",
    ),
    Case(
        "batch_normalization",
        (X, MEAN, VARIANCE, -1),
        {"offset": OFFSET},
        symbolic="Keras fails with only one of offset and scale",
    ),
    Case(
        "batch_normalization",
        (X, MEAN[:4], VARIANCE[:4], 1),
        {"offset": OFFSET[:4], "scale": SCALE[:4], "epsilon": 0.1},
    ),
    Case("batch_normalization", (INTEGERS, MEAN[:4], VARIANCE[:4], -1)),
    Case("nn.layer_normalization", (X,), symbolic="Keras fails without gamma and beta"),
    Case("layer_normalization", (X, SCALE, OFFSET)),
    Case("layer_normalization", (X,), {"gamma": SCALE, "epsilon": 0.1}),
    Case("layer_normalization", (X,), {"beta": OFFSET, "axis": [-1]}),
    Case("layer_normalization", (X, X[0], X[1]), {"axis": (1, 2)}),
    Case("layer_normalization", (X, X[0]), {"axis": (2, 1)}),
    Case("layer_normalization", (X, X[:, 0], X[:, 1]), {"axis": [0, 2]}),
    Case("layer_normalization", (X,), {"axis": (0, 1, 2)}),
    Case("layer_normalization", (X, SCALE, OFFSET), {"rms_scaling": False}),
    Case("nn.rms_normalization", (X,)),
    Case("rms_normalization", (X, SCALE)),
    Case("rms_normalization", (X, SCALE), {"axis": [-1], "epsilon": 0.1}),
    Case("rms_normalization", (X,), {"axis": (1, 2)}),
    Case("rms_normalization", (X,), {"axis": (0, 2)}),
    Case("nn.normalize", (X,)),
    Case("normalize", (X,), {"axis": 1}),
    Case("normalize", (X,), {"axis": (0, 2)}),
    Case("normalize", (X,), {"axis": None}),
    Case("normalize", (X,), {"order": 1}),
    Case("normalize", (X,), {"axis": 0, "order": 3}),
    Case("normalize", (X * 0.0,), {"epsilon": 0.1}, grad=False),
    Case("normalize", (X * 0.01,), {"epsilon": 0.1}),
    Case("normalize", (INTEGERS,)),
    Case("normalize", (X.astype("float64"),), lists=False),
    Case("nn.psnr", (IMAGE, IMAGE[::-1].copy(), 1.0)),
    Case("psnr", (X, X[::-1].copy()), {"max_val": 255}),
    Case("psnr", (X[0, 0], X[0, 1], 2.0)),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)
