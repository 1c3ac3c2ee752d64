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
    Case(
        "batch_normalization",
        (X.astype("float16"), MEAN, VARIANCE, -1, OFFSET, SCALE),
        lists=False,
        rtol=1e-3,
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


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_normalizations_over_axes_that_are_not_last(axis):
    # Keras on torch normalizes the last axes instead, or fails.
    axes = (axis,) if isinstance(axis, int) else axis
    sizes = [X.shape[a] for a in axes]
    gamma, beta = rng.normal(size=(2, *sizes)).astype("float32")
    shape = [size if a in axes else 1 for a, size in enumerate(X.shape)]
    mean, variance = X.mean(axes, keepdims=True), X.var(axes, keepdims=True)
    expected = (X - mean) / np.sqrt(variance + 0.1)
    expected = expected * gamma.reshape(shape) + beta.reshape(shape)
    result = ops.layer_normalization(X, gamma, beta, axis, 0.1)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    expected = X / np.sqrt(np.square(X).mean(axes, keepdims=True) + 0.1)
    result = ops.rms_normalization(X, gamma, axis, 0.1)
    expected = expected * gamma.reshape(shape)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_the_deprecated_keyword_may_be_false():
    result = ops.layer_normalization(X, SCALE.tolist(), rms_scaling=False)
    torch.testing.assert_close(result, ops.layer_normalization(X, SCALE))


def test_weights_may_have_the_rank_of_the_input():
    gamma = X[:1, :, :1]
    torch.testing.assert_close(
        ops.layer_normalization(X, gamma, axis=1),
        ops.layer_normalization(X, gamma.ravel(), axis=1),
    )


@pytest.mark.parametrize("name", ["layer_normalization", "rms_normalization"])
def test_half_precision_and_integers(name):
    operation = getattr(ops, name)
    half = torch.tensor(X).half()
    weighted = operation(half, torch.ones(5))
    assert weighted.dtype == torch.float16
    torch.testing.assert_close(weighted, operation(half.float()).half())
    # Keras would cut the outputs of integers to integers.
    assert operation(INTEGERS).dtype == torch.float32
    assert operation(KerasTensor((None, 4), "int32")).dtype == "float32"


def test_moments_of_integers_are_floats():
    mean, variance = ops.moments(INTEGERS, [0])
    np.testing.assert_allclose(mean, INTEGERS.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, INTEGERS.var(0), rtol=1e-6)


def test_moments_over_no_axes():
    # As NumPy has it; Keras on torch reduces all of them then.
    mean, variance = ops.moments(X, [])
    torch.testing.assert_close(mean, torch.tensor(X))
    assert variance.shape == mean.shape
    assert not variance.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_need_no_copy_in_single(dtype):
    x, gamma = torch.tensor(X).to(dtype), torch.tensor(SCALE).to(dtype)
    for operation in (ops.layer_normalization, ops.rms_normalization):
        expected = operation(x.float(), gamma.float()).to(dtype)
        torch.testing.assert_close(operation(x, gamma), expected)


def test_variances_stay_within_half_precision():
    x = torch.tensor([-3e4, 3e4], dtype=torch.float16)
    mean, variance = ops.moments(x, 0)
    assert mean == 0
    assert variance == torch.finfo(torch.float16).max


def test_normalize_takes_several_axes_as_one_vector():
    # Keras takes the norm of matrices there, unless the order is 2.
    result = ops.normalize(X, axis=(1, 2), order=1)
    expected = X / np.abs(X).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_normalize_of_zeros_has_a_gradient():
    x = torch.zeros(3, requires_grad=True)
    ops.normalize(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_normalize_of_a_number_is_a_vector():
    assert ops.normalize(3.0).tolist() == [1.0]


def test_psnr_of_unsigned_integers():
    low, high = np.array([0, 10], "uint8"), np.array([10, 0], "uint8")
    np.testing.assert_allclose(ops.psnr(low, high, 255), 20 * np.log10(25.5), rtol=1e-5)


BAD = [
    ("moments", (X, [0]), {"synchronized": True}, NotImplementedError, "synchronized"),
    ("batch_normalization", (X, MEAN[:3], VARIANCE, -1), {}, ValueError, "`mean` must"),
    ("batch_normalization", (X, MEAN, VARIANCE, 3), {}, ValueError, "`axis` must be"),
    ("batch_normalization", (X, MEAN, X, -1), {}, ValueError, "`variance` must be a v"),
    ("layer_normalization", (X,), {"axis": 3}, ValueError, "`axis` must be an axis"),
    ("layer_normalization", (X,), {"axis": []}, ValueError, "`axis` must be an axis"),
    ("layer_normalization", (X, MEAN[:4]), {}, ValueError, r"`gamma` must be of shape"),
    ("layer_normalization", (X,), {"center": 1}, TypeError, r"arguments \['center'\]"),
    ("layer_normalization", (X,), {"rms_scaling": True}, NotImplementedError, "rms_n"),
    ("rms_normalization", (X, MEAN[:4]), {}, ValueError, "`scale` must be of shape"),
    ("rms_normalization", (3.0,), {}, ValueError, "`axis` must be an axis"),
    ("normalize", (X,), {"order": 0}, ValueError, "`order` must be a positive"),
    ("normalize", (X,), {"order": 2.5}, TypeError, "`order` must be a positive"),
    ("psnr", (X, X[0], 1.0), {}, ValueError, "must have one shape"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name, args, kwargs, error, match):
    with pytest.raises(error, match=match):
        getattr(ops, name)(*args, **kwargs)


def test_compiles_in_one_graph():
    def function(x, gamma):
        mean, variance = ops.moments(x, [0, 1])
        x = ops.batch_normalization(x, mean, variance, -1, scale=gamma)
        x = ops.layer_normalization(x, gamma) + ops.rms_normalization(x, axis=1)
        return ops.normalize(x, axis=0) + ops.psnr(x, x + 1, 2.0)

    arguments = torch.tensor(X), torch.tensor(SCALE)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), function(*arguments))
