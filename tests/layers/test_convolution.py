"""Convolutions: memory formats, and windows that depend on the size of the inputs."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import layers

LAST = torch.channels_last


def test_channels_last_inputs_are_never_copied():
    x = torch.randn(2, 16, 16, 3)
    seen = []
    conv = layers.Conv2D(4, 3, padding="same", activation="relu")
    conv.build(x.shape)
    conv.conv.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    outputs = conv(x)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].is_contiguous(memory_format=LAST)
    assert conv.conv.weight.is_contiguous(memory_format=LAST)
    assert outputs.is_contiguous()
    for layer in (
        layers.MaxPooling2D(),
        layers.BatchNormalization(),
        layers.AveragePooling2D(3, strides=2, padding="same"),
        layers.Conv2D(4, 3, strides=2, padding="same"),
    ):
        outputs = layer(outputs)
        assert outputs.is_contiguous()
    assert layers.Flatten()(outputs).data_ptr() == outputs.data_ptr()


def test_sequences_keep_channels_last_too():
    outputs = torch.randn(2, 16, 3)
    for layer in (
        layers.Conv1D(4, 3, padding="causal"),
        layers.BatchNormalization(),
        layers.MaxPooling1D(),
    ):
        outputs = layer(outputs)
        assert outputs.is_contiguous()


def test_the_kernel_stays_channels_last_in_copies_and_gradients():
    layer = layers.Conv2D(4, 3)
    layer(torch.randn(2, 8, 8, 3)).sum().backward()
    layer.load_state_dict(layer.state_dict())
    layer.set_weights(layer.get_weights())
    weight: Any = layer.conv.weight
    assert weight.is_contiguous(memory_format=LAST)
    assert weight.grad.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize(
    ("rank", "module"), [(1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d)]
)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_the_inner_module_is_torchs(rank, module, padding, strides):
    layer = getattr(layers, f"Conv{rank}D")(4, 3, strides, padding)
    layer(torch.randn(1, *[6] * rank, 2))
    assert isinstance(layer.conv, module)
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_strided_same_padding_follows_the_size_of_the_call(size):
    layer = layers.Conv2D(4, 3, strides=2, padding="same")
    layer.build((None, 8, 8, 3))
    x = torch.randn(1, size, size, 3)
    before, after = (1, 1) if size % 2 else (0, 1)
    padded = F.pad(x.permute(0, 3, 1, 2), (before, after, before, after))
    expected = F.conv2d(padded, layer.conv.weight, layer.conv.bias, 2)
    torch.testing.assert_close(layer(x), expected.permute(0, 2, 3, 1))


def test_the_arguments_stay_tuples():
    layer = layers.Conv2D(4, (3, 2), strides=1, padding="SAME")
    assert layer.kernel_size == (3, 2)
    assert layer.strides == layer.dilation_rate == (1, 1)
    assert layer.padding == "same"
    assert layer.data_format == "channels_last"


def test_aliases_are_the_same_classes():
    assert layers.Convolution2D is layers.Conv2D
    assert layers.MaxPool2D is layers.MaxPooling2D
    assert layers.AvgPool1D is layers.AveragePooling1D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
