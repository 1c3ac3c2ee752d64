"""Constraints: legal arguments, names, what they hold to."""

# Illegal arguments are the subject here.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch

from torchkeras import constraints
from torchkeras.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MaxNorm(-1), ValueError, "MaxNorm: `max_value` must be .* got -1"),
        (lambda: MaxNorm(axis="0"), TypeError, "MaxNorm: `axis` must be .* got '0'"),
        (lambda: UnitNorm(axis=1.5), TypeError, "UnitNorm: `axis` must be"),
        (lambda: MinMaxNorm(2.0, 1.0), ValueError, "at most `max_value`, which is 1.0"),
        (lambda: MinMaxNorm(rate=2.0), ValueError, "`rate` must be .* got 2.0"),
        (lambda: MinMaxNorm(float("nan")), ValueError, "`min_value` must be"),
        (lambda: constraints.get("nonneg_"), ValueError, "mean 'NonNeg'|'nonneg'"),
        (lambda: constraints.get(3), TypeError, "as constraint, got 3"),
    ],
)
def test_illegal_values_are_refused_at_construction(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("max_norm", MaxNorm),
        ("MaxNorm", MaxNorm),
        ("non_neg", NonNeg),
        ("unit_norm", UnitNorm),
        ("min_max_norm", MinMaxNorm),
    ],
)
def test_names_give_instances(name, cls):
    assert type(constraints.get(name)) is cls


def test_none_and_functions_are_returned_as_they_are():
    assert constraints.get(None) is None
    assert constraints.get(torch.relu) is torch.relu


def test_the_base_changes_nothing():
    weights = torch.randn(3)
    assert Constraint()(weights) is weights


@pytest.mark.parametrize("constraint", [MaxNorm(1.0), UnitNorm(), MinMaxNorm(0.5, 1.0)])
@pytest.mark.parametrize("weights", [torch.zeros(3, 2), np.zeros((3, 2))])
def test_zero_vectors_stay_zero(constraint, weights):
    assert constraint(weights).abs().max().item() == 0


def test_norms_are_within_their_bounds():
    weights = torch.randn(50, 7) * torch.logspace(-3, 3, 7)
    norms = MinMaxNorm(0.5, 2.0)(weights).norm(dim=0)
    assert norms.min().item() >= 0.5 - 1e-3
    assert norms.max().item() <= 2.0 + 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_projections_keep_the_dtype(dtype):
    weights = torch.randn(4, 3, dtype=dtype)
    for constraint in (MaxNorm(), NonNeg(), UnitNorm(), MinMaxNorm()):
        assert constraint(weights).dtype == dtype
