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


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_convolutions_reverse_the_shapes(
    rank, kernel_size, strides, padding
):
    forward = getattr(layers, f"Conv{rank}D")(3, kernel_size, strides, padding)
    back = getattr(layers, f"Conv{rank}DTranspose")(2, kernel_size, strides, padding)
    x = torch.randn(1, *[7] * rank, 2)
    outputs = back(forward(x))
    if padding == "same":
        size = -(-7 // strides) * strides
    else:
        size = (7 - kernel_size) // strides * strides + max(kernel_size, strides)
    assert outputs.shape == (1, *[size] * rank, 2)
    assert isinstance(back.conv, getattr(nn, f"ConvTranspose{rank}d"))
    assert set(back.state_dict()) == {"conv.weight", "conv.bias"}
    assert back.kernel.shape == (*[kernel_size] * rank, 2, 3)


def test_a_transposed_convolution_is_the_gradient_of_one():
    forward = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)
    back = layers.Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=False)
    x = torch.randn(2, 8, 8, 3, requires_grad=True)
    outputs = forward(x)
    back.build(outputs.shape)
    back.kernel.assign(forward.kernel)
    weights = torch.randn_like(outputs)
    (gradient,) = torch.autograd.grad(outputs, x, weights)
    torch.testing.assert_close(back(weights), gradient)


def test_output_padding_adds_to_the_end():
    x = torch.randn(1, 4, 2)
    layer = layers.Conv1DTranspose(3, 3, strides=3, output_padding=0)
    longer = layers.Conv1DTranspose(3, 3, strides=3, output_padding=2)
    outputs = layer(x)
    longer.build(x.shape)
    longer.set_weights(layer.get_weights())
    assert longer(x).shape == (1, 14, 3)
    torch.testing.assert_close(longer(x)[:, :12], outputs)
    assert not longer(x)[:, 12:].any()


def test_depthwise_and_separable_convolutions():
    x = torch.randn(2, 8, 8, 3)
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    separable = layers.SeparableConv2D(5, 3, depth_multiplier=2)
    pointwise = layers.Conv2D(5, 1)
    inner = depthwise(x)
    expected = pointwise(inner)
    separable.build(x.shape)
    separable.set_weights([*depthwise.get_weights(), *pointwise.get_weights()])
    torch.testing.assert_close(separable(x), expected)
    for channel, multiple in ((0, 0), (1, 1), (2, 0)):
        alone = F.conv2d(
            x[..., channel].unsqueeze(1),
            depthwise.kernel.value[:, :, channel, multiple][None, None],
        )
        torch.testing.assert_close(inner[..., 2 * channel + multiple], alone[:, 0])
    assert depthwise.conv.groups == 3
    assert set(separable.state_dict()) == {
        "conv.depthwise.weight",
        "conv.pointwise.weight",
        "conv.pointwise.bias",
    }


def test_their_kernels_are_views_and_channels_stay_last():
    x = torch.randn(2, 8, 8, 3)
    for layer in (
        layers.Conv2DTranspose(4, 4, strides=2, padding="same"),
        layers.Conv1DTranspose(4, 3),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.DepthwiseConv1D(3),
        layers.SeparableConv2D(4, 3),
        layers.SeparableConv1D(4, 3),
        layers.AdaptiveAveragePooling2D(3),
        layers.AdaptiveMaxPooling1D(3),
    ):
        seen: Any = []
        inputs = x if layer.rank == 2 else x[0]
        layer.build(inputs.shape)
        if layer.weights:
            hook = next(
                m for m in layer.modules() if isinstance(m, nn.modules.conv._ConvNd)
            )
            hook.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # noqa: B023
        assert layer(inputs).is_contiguous()
        for weight in layer.weights:
            assert weight.value.data_ptr() == weight.tensors[0].data_ptr()
        assert all(tensor.data_ptr() == inputs.data_ptr() for tensor in seen)


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
    assert layers.Convolution3DTranspose is layers.Conv3DTranspose
    assert layers.SeparableConvolution1D is layers.SeparableConv1D
