"""Attention against Keras's own, from the same weights: masks, scores, gradients."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import ATTENDED, GROUPED, MULTI, VARIATIONS, Case
from tests.parity.layer_pairs import compare, pair, plain_config
from torchkeras import layers

pytestmark = [
    # Keras's own weights do not know NumPy 2's `copy` argument.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    ),
    # Keras's grouped attention gives its projections inputs with masks.
    pytest.mark.filterwarnings(
        "ignore:.*of type EinsumDense. was passed an input with"
    ),
]

PLAIN = [
    case
    for case in VARIATIONS
    if case.layer in (layers.Attention, layers.AdditiveAttention)
]
HEADED = [case for case in VARIATIONS if case.spread]
QUERY, VALUE, _ = ATTENDED


def masks():
    """Return masks for five and seven steps, of which a row has none left."""
    query = torch.arange(5) < torch.tensor([[5], [3]])
    value = torch.arange(7) < torch.tensor([[4], [6]])
    pairs = torch.rand(2, 5, 7) > 0.3
    pairs[0, 2] = False
    return query, value, pairs


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True, "value"])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_plain(case, masked, causal, scores):
    options = {"use_causal_mask": causal, "return_attention_scores": scores}
    if masked:
        query, value, _ = masks()
        options["mask"] = [None if masked == "value" else query, value]
    theirs, ours = pair(case)
    for count in (3, 2):
        compare(theirs, ours, case.data()[:count], **options)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True, "pairs", "heads"])
@pytest.mark.parametrize("case", HEADED, ids=str)
def test_headed(case, masked, causal, scores):
    options: dict[str, Any] = {
        "use_causal_mask": causal,
        "return_attention_scores": scores,
        "call": case.run,
    }
    query, value, pairs = masks()
    if masked == "pairs":
        options["attention_mask"] = pairs
    elif masked == "heads":
        options["attention_mask"] = pairs.unsqueeze(1).int()
    riding = [query, value, value] if masked is True else None
    theirs, ours = pair(case)
    own, expected = compare(theirs, ours, case.data(), riding, **options)
    if masked is True:
        assert torch.equal(own[0], query)
        assert torch.equal(expected[0], query)
    if not masked and not case.kwargs.get("sliding_window"):
        compare(theirs, ours, case.data()[:2], **options)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("axes", [None, (1,), (2,), (2, 1), (-2,)])
def test_several_axes(axes, scores):
    shape = (2, 3, 4, 8)
    kwargs = {**MULTI, "attention_axes": axes}
    case = Case(layers.MultiHeadAttention, kwargs, [shape, shape], spread=True)
    theirs, ours = pair(case)
    assert ours.attention_axes == theirs.attention_axes
    sizes = tuple(shape[axis] for axis in ours.attention_axes)
    for mask in (None, torch.rand(2, *sizes, *sizes) > 0.3):
        if mask is not None:
            mask[..., 0] = True
        compare(
            theirs,
            ours,
            torch.randn(shape),
            call=lambda layer, x, **options: layer(x, x, **options),
            attention_mask=mask,
            return_attention_scores=scores,
        )


def test_first_weights():
    """A scaling initializer is told which axes of a kernel are inputs."""
    initializer = "glorot_uniform"
    for name, kwargs in (
        ("MultiHeadAttention", MULTI),
        ("GroupQueryAttention", GROUPED),
    ):
        kwargs = {**kwargs, "kernel_initializer": initializer}
        theirs, ours = (getattr(k, name)(**kwargs) for k in (keras.layers, layers))
        for layer in (theirs, ours):
            layer.build((2, 5, 64), (2, 5, 64))
        for weight, other in zip(ours.weights, theirs.weights, strict=True):
            spread, expected = weight.numpy().std(), np.std(other)
            assert spread == pytest.approx(expected, rel=0.1)


def test_penalties():
    kwargs = {
        **MULTI,
        "kernel_regularizer": "l2",
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
        "kernel_constraint": "max_norm",
    }
    theirs, ours = pair(Case(layers.MultiHeadAttention, kwargs, ATTENDED, spread=True))
    x, y = torch.randn(QUERY), torch.randn(VALUE)
    theirs(x, y)
    ours(x, y)
    assert len(ours.losses) == len(theirs.losses) == 12
    expected = torch.stack([*theirs.losses]).sum()
    torch.testing.assert_close(torch.stack([*ours.losses]).sum(), expected)
    assert plain_config(ours)["kernel_constraint"] is not None
    penalty = layers.serialize(ours)["config"]["activity_regularizer"]
    assert penalty["class_name"] == "L2"
