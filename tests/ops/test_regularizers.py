"""Regularizers: legal arguments, names, configs, your own."""

# Illegal arguments are the subject here.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch

from torchkeras import regularizers
from torchkeras._core.registry import custom_object_scope
from torchkeras._core.variable import TRANSPOSED, WeightView
from torchkeras.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer


class Mean(Regularizer):
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x.mean()


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: L1(-1.0), ValueError, "L1: `l1` must be .* got -1.0"),
        (lambda: L1("0.1"), TypeError, "L1: `l1` must be .* got '0.1'"),
        (lambda: L2(float("nan")), ValueError, "L2: `l2` must be .* got nan"),
        (lambda: L2(float("inf")), ValueError, "L2: `l2` must be .* got inf"),
        (lambda: L1L2(0.1, -0.1), ValueError, "L1L2: `l2` must be"),
        (lambda: OrthogonalRegularizer(-1), ValueError, "`factor` must be"),
        (lambda: OrthogonalRegularizer(mode="row"), ValueError, "mean 'rows'"),
        (lambda: regularizers.get("l3"), ValueError, "Unknown regularizer 'l3'"),
        (lambda: regularizers.get(0.1), TypeError, "as regularizer, got 0.1"),
    ],
)
def test_illegal_values_are_refused_at_construction(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_the_orthogonal_regularizer_wants_a_matrix():
    with pytest.raises(ValueError, match=r"expected a matrix.*shape \(2, 2, 2\)"):
        OrthogonalRegularizer()(torch.ones(2, 2, 2))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("l1", {"l1": 0.01}),
        ("L2", {"l2": 0.01}),
        ("l1l2", {"l1": 0.0, "l2": 0.0}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        ("orthogonal_regularizer", {"factor": 0.01, "mode": "rows"}),
    ],
)
def test_names_give_the_defaults(name, config):
    assert regularizers.get(name).get_config() == config


def test_none_and_functions_are_returned_as_they_are():
    assert regularizers.get(None) is None
    assert regularizers.get(torch.sum) is torch.sum
    assert isinstance(regularizers.get(L2), L2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_penalties_keep_the_dtype(dtype):
    x = torch.ones(2, 3, dtype=dtype)
    for regularizer in (L1(), L2(), L1L2(0.1, 0.1), L1L2(), OrthogonalRegularizer()):
        assert regularizer(x).dtype == dtype
        assert regularizer(x).shape == ()


def test_arrays_and_weights_are_taken():
    linear = torch.nn.Linear(4, 3)
    kernel = WeightView(linear, ("weight",), TRANSPOSED, "kernel")
    expected = 0.01 * linear.weight.square().sum()
    torch.testing.assert_close(L2()(kernel), expected)
    torch.testing.assert_close(L2()(linear.weight.detach().numpy()), expected.detach())
    assert L2()(np.ones((2, 2))).item() == pytest.approx(0.04)


def test_your_own_regularizer_comes_back():
    config = regularizers.serialize(Mean(3.0))
    with custom_object_scope({"Mean": Mean}):
        restored = regularizers.get(config)
    assert restored.factor == 3.0
    assert regularizers.deserialize(config, {"Mean": Mean}).factor == 3.0


def test_arguments_that_are_not_kept_need_a_get_config():
    class Forgetful(Regularizer):
        def __init__(self, factor):
            self._factor = factor

    with pytest.raises(NotImplementedError, match=r"Keep it as `self\.factor`"):
        Forgetful(1.0).get_config()
