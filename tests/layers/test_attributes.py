"""Attributes and methods of layers that scripts written for Keras use."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers

#: Layers without some of their weights, and the names of these, which are None.
LEFT_OUT = [
    (lambda k: k.layers.Dense(2, use_bias=False), (2, 4), ["bias"]),
    (lambda k: k.layers.Conv1D(2, 2, use_bias=False), (2, 5, 3), ["bias"]),
    (lambda k: k.layers.Conv2D(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.Conv3D(2, 2, use_bias=False), (2, 3, 3, 3, 3), ["bias"]),
    (lambda k: k.layers.Conv2DTranspose(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.DepthwiseConv2D(2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.SeparableConv2D(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.EinsumDense("ab,bc->ac", 2), (2, 4), ["bias"]),
    (
        lambda k: k.layers.BatchNormalization(scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (
        lambda k: k.layers.LayerNormalization(scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (
        lambda k: k.layers.GroupNormalization(2, scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (lambda k: k.layers.LSTMCell(2, use_bias=False), None, ["bias"]),
    (lambda k: k.layers.GRUCell(2, use_bias=False), None, ["bias"]),
    (lambda k: k.layers.SimpleRNNCell(2, use_bias=False), None, ["bias"]),
]


@pytest.mark.parametrize("row", range(len(LEFT_OUT)))
def test_weights_that_options_leave_out_are_none(row: int) -> None:
    make, shape, names = LEFT_OUT[row]
    for k in (keras, torchkeras):
        layer = make(k)
        layer.build(shape or (2, 4))
        assert [getattr(layer, name) for name in names] == [None] * len(names)


def test_attention_without_its_weights() -> None:
    for layer in (layers.Attention(), layers.AdditiveAttention(use_scale=False)):
        layer([torch.ones(2, 3, 4)] * 2)
        assert layer.scale is None


@pytest.mark.parametrize("early", [None, 0, [], "text"])
def test_a_weight_takes_the_place_of_what_stood_there(early: Any) -> None:
    class Late(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.kernel: Any = early
            self.steps: Any = early

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((3,), "ones", name="kernel")
            self.steps = self.add_weight((), "zeros", trainable=False, name="steps")

        def call(self, inputs: Any) -> Any:
            return inputs * self.kernel + self.steps

    layer = Late()
    assert torch.equal(layer(torch.ones(2, 3)), torch.ones(2, 3))
    assert list(layer.state_dict()) == ["kernel", "steps"]


def test_add_weight_in_the_order_of_keras_2() -> None:
    layer = layers.Layer()
    named = layer.add_weight("kernel", shape=(3,), initializer="ones")
    placed = layer.add_weight("gain", (2,), "float64", "zeros", None, False)
    assert (named.name, tuple(named.shape), named.trainable) == ("kernel", (3,), True)
    assert (placed.name, placed.dtype, placed.trainable) == (
        "gain",
        torch.float64,
        False,
    )
    with pytest.raises(TypeError, match=r"add_weight.*Pass them by name"):
        layer.add_weight("kernel", name="gain")


OPTIONS = [
    {},
    {"padding": "same", "strides": 2, "activation": "relu"},
    {"data_format": "channels_first", "use_bias": False},
    {"dilation_rate": 2},
    {"groups": 3, "filters": 6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_op_can_be_used_and_overridden(
    rank: int, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    base = getattr(layers, f"Conv{rank}D")

    class Doubled(base):
        def convolution_op(self, inputs: Any, kernel: Any) -> Any:
            return super().convolution_op(inputs, kernel * 2)

    kwargs = {"filters": 3, "kernel_size": 2, **options}
    plain, doubled = base(**kwargs), Doubled(**kwargs)
    size = (2, *[6] * rank, 3)
    x = (
        torch.randn(size).movedim(-1, 1)
        if "data_format" in options
        else torch.randn(size)
    )
    expected = plain(x)
    doubled(x)
    kernel, *bias = plain.get_weights()
    doubled.set_weights([kernel / 2, *bias])
    torch.testing.assert_close(doubled(x), expected)


def test_causal_convolution_op() -> None:
    layer, x = layers.Conv1D(3, 2, padding="causal"), torch.randn(2, 6, 3)
    outputs = layer(x)
    alone = layer.convolution_op(x, layer.kernel.value) + layer.bias.value
    torch.testing.assert_close(alone, outputs)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_added_losses_are_summed(shape: tuple[int, ...]) -> None:
    found = []
    for k in (keras, torchkeras):

        class Adds(k.layers.Layer):
            def call(self, inputs: Any) -> Any:
                self.add_loss(torch.full(shape, 0.5))
                return inputs

        dense = k.layers.Dense(4, kernel_initializer="ones")
        model = k.Sequential([k.layers.Input((4,)), Adds(), dense])
        model.compile("sgd", "mse")
        found.append(model.evaluate(np.ones((3, 4)), np.ones((3, 4)), verbose=0))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_the_policy_can_be_set_by_name() -> None:
    layer = layers.Dense(2)
    layer(torch.ones(2, 3))
    layer.dtype_policy = "float64"
    assert layer(torch.ones(2, 3)).dtype == layer.linear.weight.dtype == torch.float64
    layer.dtype_policy = "mixed_bfloat16"
    assert layer(torch.ones(2, 3)).dtype == torch.bfloat16
    assert layer.linear.weight.dtype == torch.float32
    with pytest.raises(ValueError, match=re.escape("'float31'")):
        layer.dtype_policy = "float31"
