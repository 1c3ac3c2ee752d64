"""Wrappers: what they hold, how they call it, and what they refuse."""

from typing import Any

import pytest
import torch

from torchkeras import layers

# What is refused is wrong for a type checker too.
Bidirectional: Any = layers.Bidirectional
TimeDistributed: Any = layers.TimeDistributed


def masked(x: Any, mask: Any) -> Any:
    """Let a mask ride on a tensor."""
    x._keras_mask = mask
    return x


def test_both_directions_have_weights_of_their_own():
    inner = layers.LSTM(4, name="memory")
    layer = layers.Bidirectional(inner)
    layer(torch.ones(2, 5, 3))
    assert not inner.built
    names = (layer.forward_layer.name, layer.backward_layer.name)
    assert names == ("forward_memory", "backward_memory")
    assert len(layer.weights) == 6
    assert layer.weights[0].path == f"{layer.name}/forward_memory/lstm_cell/kernel"


def test_first_weights():
    twin = layers.Bidirectional(layers.GRU(4))
    x = torch.randn(2, 5, 3)
    expected = twin(x)
    layer = layers.Bidirectional(layers.GRU(4), weights=twin.get_weights())
    torch.testing.assert_close(layer(x), expected)
    assert "weights" not in layer.get_config()


def test_stateful_in_both_directions():
    layer = layers.Bidirectional(layers.GRU(4, stateful=True))
    x = torch.randn(2, 5, 3)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert len(layer.states or ()) == 2
    layer.reset_state()
    torch.testing.assert_close(layer(x), first)
    with pytest.raises(AttributeError, match="has no states to reset"):
        layers.Bidirectional(layers.GRU(4)).reset_state()


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
def test_masks_of_a_bidirectional_layer(merge_mode):
    mask = torch.tensor([[True, True, False], [True, False, False]])
    layer = layers.Bidirectional(
        layers.LSTM(4, return_sequences=True), merge_mode=merge_mode
    )
    outputs: Any = layer(masked(torch.randn(2, 3, 5), mask))
    for output in outputs if merge_mode is None else [outputs]:
        assert output._keras_mask is mask
        assert not output[~mask].any()


def test_symbolic_shapes():
    x = layers.Input((None, 3))
    inner = layers.LSTM(4, return_sequences=True, return_state=True)
    shapes = [y.shape for y in layers.Bidirectional(inner)(x)]
    assert shapes == [(None, None, 8), *[(None, 4)] * 4]
    pair = layers.Bidirectional(layers.GRU(4), merge_mode=None)(x)
    assert [y.shape for y in pair] == [(None, 4)] * 2
    assert layers.TimeDistributed(layers.Dense(4))(x).shape == (None, None, 4)
    video = layers.Input((None, 8, 8, 3))
    assert layers.TimeDistributed(layers.Conv2D(4, 3))(video).shape == (
        None,
        None,
        6,
        6,
        4,
    )


def test_steps_become_rows_of_one_call():
    class Counting(layers.Layer):
        calls = 0

        def call(self, inputs):
            type(self).calls += 1
            return {"twice": 2 * inputs, "mean": inputs.mean(-1)}

    outputs: Any = layers.TimeDistributed(Counting())(torch.ones(2, 5, 3))
    assert Counting.calls == 1
    assert outputs["twice"].shape == (2, 5, 3)
    assert outputs["mean"].shape == (2, 5)


def test_stateful_layers_see_the_steps_in_turn():
    layer = layers.TimeDistributed(layers.GRU(4, stateful=True))
    x = torch.randn(2, 3, 5, 2)
    outputs = layer(x)
    assert outputs.shape == (2, 3, 4)
    twin = layers.GRU(4)
    twin.build((2, 5, 2))
    twin.set_weights(layer.get_weights())
    torch.testing.assert_close(outputs[:, -1], twin(x.flatten(1, 2)))


def test_masks_are_passed_on():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x = masked(torch.randn(2, 3, 4), mask)
    outputs: Any = layers.TimeDistributed(layers.Dense(5))(x)
    assert torch.equal(outputs._keras_mask, x._keras_mask)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: Bidirectional(layers.LSTM(4), merge_mode="max"),
            "`merge_mode` must be one of 'sum', 'mul', 'concat', 'ave', None, got",
        ),
        (lambda: Bidirectional(layers.Dense(4)), "must be a recurrent layer"),
        (lambda: Bidirectional("lstm"), "must be a recurrent layer"),
        (
            lambda: Bidirectional(layers.LSTM(4), backward_layer=layers.LSTM(4)),
            "one must read sequences from their end; got go_backwards=False",
        ),
        (
            lambda: Bidirectional(
                layers.LSTM(4),
                backward_layer=layers.LSTM(4, go_backwards=True, return_state=True),
            ),
            "must agree on `return_state`, got False and True",
        ),
        (lambda: TimeDistributed(torch.relu), "`layer` must be a layer"),
        (
            lambda: TimeDistributed(layers.Dense(4))(torch.ones(2, 3)),
            r"at least 3 axes.*\(2, 3\).*\(batch, time, ...\)",
        ),
        (
            lambda: TimeDistributed(layers.Dense(4))(
                torch.ones(2, 3, 4), mask=torch.ones(2, 4)
            ),
            r"`mask` must begin with the axes .* \(2, 3\), got .* \(2, 4\)",
        ),
    ],
)
def test_refusals(make, match):
    with pytest.raises(ValueError, match=match):
        make()
