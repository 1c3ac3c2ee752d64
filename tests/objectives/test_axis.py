"""`axis` of losses and metrics: along another axis as along the last one."""

import inspect
from typing import Any

import keras
import pytest
import torch
from torch import Tensor

from torchkeras import losses, metrics

#: Losses whose axis is that of the classes, which may lie in the middle.
DISTRIBUTIONS = [
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "cosine_similarity",
]
#: Losses of independent outputs, of which the mean along the axis is taken.
MEANS = ["binary_crossentropy", "binary_focal_crossentropy"]
LABELS = ["sparse_categorical_crossentropy"]
#: Losses that are sums over the axes that are given.
OVERLAPS = ["dice", "tversky"]
ALIASES = ["BCE", "bce"]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "categorical_crossentropy": [{"from_logits": True}, {"label_smoothing": 0.2}],
    "categorical_focal_crossentropy": [
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"alpha": 0.5, "gamma": 3.0},
    ],
    "binary_crossentropy": [{"from_logits": True}, {"label_smoothing": 0.2}],
    "binary_focal_crossentropy": [
        {"from_logits": True},
        {"label_smoothing": 0.2},
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
    ],
    "sparse_categorical_crossentropy": [{"from_logits": True}, {"ignore_class": 1}],
}
CASES = [
    (name, options)
    for name in [*DISTRIBUTIONS, *MEANS, *LABELS]
    for options in ({}, *OPTIONS.get(name, []))
]


def with_axis(module: Any) -> set[str]:
    """Return the functions of a module that have an argument `axis`."""
    functions = {n for n in module.__all__ if inspect.isfunction(getattr(module, n))}
    return {
        name
        for name in functions
        if "axis" in inspect.signature(getattr(module, name)).parameters
    }


def test_every_loss_with_an_axis_is_in_the_table() -> None:
    listed = {*DISTRIBUTIONS, *MEANS, *LABELS, *OVERLAPS, *ALIASES}
    assert with_axis(losses) == listed
    correlations = {"concordance_correlation", "pearson_correlation"}
    assert with_axis(metrics) - correlations <= listed


def targets(name: str) -> tuple[Tensor, Tensor]:
    """Return targets and outputs with the classes last."""
    scores = torch.randn(3, 5, 4)
    if name in MEANS:
        return torch.randint(2, (3, 5, 4)).float(), scores.sigmoid()
    labels = torch.randint(4, (3, 5))
    y_true = labels if name in LABELS else torch.nn.functional.one_hot(labels).float()
    return y_true, scores.softmax(-1)


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_any_axis_gives_what_the_last_one_gives(
    name: str, options: dict[str, Any], axis: int
) -> None:
    function = getattr(losses, name)
    y_true, y_pred = targets(name)
    expected = function(y_true, y_pred, **options)
    moved = y_true if name in LABELS else y_true.movedim(-1, axis)
    arguments = moved.contiguous(), y_pred.movedim(-1, axis).contiguous()
    got = function(*arguments, axis=axis, **options)
    torch.testing.assert_close(got, expected)
    # Along the last axis these are other numbers, or no legal arguments at all.
    assert got.shape == (3, 5)
    make = getattr(losses, "".join(part.capitalize() for part in name.split("_")))
    for reduction in ("none", "sum_over_batch_size"):
        across = make(axis=axis, reduction=reduction, **options)(*arguments)
        along = make(reduction=reduction, **options)(y_true, y_pred)
        torch.testing.assert_close(across, along)


@pytest.mark.parametrize("name", ["CategoricalCrossentropy", "CosineSimilarity"])
def test_metrics_take_the_axis(name: str) -> None:
    y_true, y_pred = targets("categorical_crossentropy")
    across, along = getattr(metrics, name)(axis=1), getattr(metrics, name)()
    across.update_state(y_true.movedim(-1, 1), y_pred.movedim(-1, 1))
    along.update_state(y_true, y_pred)
    torch.testing.assert_close(across.result(), along.result())


@pytest.mark.parametrize("axis", [(1, 2), (0, 1), 2])
@pytest.mark.parametrize(("name", "alpha"), [("dice", 0.5), ("tversky", 0.3)])
def test_overlaps_are_summed_over_the_axes(name: str, alpha: float, axis: Any) -> None:
    y_true = torch.randint(2, (3, 5, 4)).float()
    y_pred = torch.rand(3, 5, 4)
    options = {} if name == "dice" else {"alpha": alpha, "beta": 0.6}
    beta = options.get("beta", 0.5)
    both = (y_true * y_pred).sum(axis)
    # As in Keras, `alpha` goes with what the outputs lack.
    false = (y_true * (1 - y_pred)).sum(axis), ((1 - y_true) * y_pred).sum(axis)
    expected = 1 - both / (both + alpha * false[0] + beta * false[1])
    got = getattr(losses, name)(y_true, y_pred, axis=axis, **options)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own
@pytest.mark.parametrize("axis", [None, 1, (1, 2)])
@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_weights_of_samples_apply_to_a_loss_of_all_as_in_keras(name, axis) -> None:
    """Where there is one value for all samples, their weights are averaged."""
    y_true, y_pred = torch.randint(2, (3, 5, 4)).float(), torch.rand(3, 5, 4)
    weights = torch.tensor([0.5, 1.0, 4.0])
    if axis == 1:
        weights = torch.rand(3, 4)
    own, theirs = (
        getattr(m, name)(axis=axis)(y_true, y_pred, sample_weight=weights)
        for m in (losses, keras.losses)
    )
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
