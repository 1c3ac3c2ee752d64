"""Convolutions of each channel on its own: depthwise, and separable ones."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras._core.errors import positive_integer
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import CONVOLUTION, Layout, WeightView
from torchkeras.layers._windows import with_defaults
from torchkeras.layers.convolution import ConvolutionLayer
from torchkeras.layers.layer import layers


def _depthwise_to_keras(weight: Tensor, multiplier: int) -> Tensor:
    moved = torch.movedim(weight.squeeze(1), 0, -1)
    return moved.unflatten(-1, (-1, multiplier))


def _depthwise_to_torch(kernel: Tensor) -> tuple[Tensor]:
    return (kernel.flatten(-2).movedim(-1, 0).unsqueeze(1),)


def _depthwise(multiplier: int) -> Layout:
    """Return how a depthwise kernel is kept.

    It is ``(channels * multiplier, 1, *window)`` in torch and ``(*window, channels,
    multiplier)`` in Keras.
    """
    to_keras = functools.partial(_depthwise_to_keras, multiplier=multiplier)
    return Layout(to_keras, _depthwise_to_torch)


class _DepthwiseConv(ConvolutionLayer):
    """The base of the depthwise convolutions."""

    conv: nn.Conv1d | nn.Conv2d | nn.Conv3d
    kernel: WeightView

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            activity_regularizer,
            bias_constraint,
            **kwargs,
        )
        owner = type(self).__name__
        self.depth_multiplier = positive_integer(
            owner, "depth_multiplier", depth_multiplier
        )
        self.keep_weight_options(locals(), "depthwise")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = self._channels_of(input_shape)
        self.conv = self._make_module(
            channels, channels * self.depth_multiplier, channels, self.use_bias
        )
        layout = _depthwise(self.depth_multiplier)
        self.show_weight(
            "kernel", self.conv, "weight", layout=layout, options="depthwise"
        )
        self._show_bias(self.conv)


@layers.register()
class DepthwiseConv1D(_DepthwiseConv):
    """A convolution along one axis of each channel on its own.

    Source: Howard et al. 2017, https://arxiv.org/abs/1704.04861.

    Args:
        kernel_size: the length of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps).
        depth_multiplier: the number of output channels for each input channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        depthwise_initializer: gives the first kernel, of shape
            ``(kernel_size, channels, depth_multiplier)``.
        bias_initializer: gives the first bias.
        depthwise_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        depthwise_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, steps, channels)`` to
        ``(batch, new_steps, channels * depth_multiplier)``. The weights are those of an
        `nn.Conv1d` in ``layer.conv``, with a group for each channel.

    Raises:
        ValueError: for illegal arguments, or inputs shorter than the window.

    Example:
        >>> DepthwiseConv1D(3, depth_multiplier=2)(torch.ones(2, 10, 8)).shape
        torch.Size([2, 8, 16])
    """

    rank = 1


@layers.register()
class DepthwiseConv2D(_DepthwiseConv):
    """A convolution over images of each channel on its own.

    Source: Howard et al. 2017, https://arxiv.org/abs/1704.04861.

    Args:
        kernel_size: the height and width of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` pixels).
        depth_multiplier: the number of output channels for each input channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        depthwise_initializer: gives the first kernel, of shape
            ``(*kernel_size, channels, depth_multiplier)``.
        bias_initializer: gives the first bias.
        depthwise_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        depthwise_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, channels * depth_multiplier)``. The weights are
        those of an `nn.Conv2d` in ``layer.conv``, with a group for each channel.

    Raises:
        ValueError: for illegal arguments, or inputs smaller than the window.

    Example:
        >>> layer = DepthwiseConv2D(3, padding="same", depth_multiplier=2)
        >>> layer(torch.ones(2, 8, 8, 3)).shape, layer.kernel.shape
        (torch.Size([2, 8, 8, 6]), (3, 3, 3, 2))
    """

    rank = 2

    __init__ = with_defaults(
        _DepthwiseConv.__init__, strides=(1, 1), dilation_rate=(1, 1)
    )


class _Steps(nn.Sequential):
    """A depthwise convolution, then a pointwise one.

    Args:
        depthwise: the first.
        pointwise: the second.
    """

    depthwise: nn.Module
    pointwise: nn.Module

    def __init__(self, depthwise: nn.Module, pointwise: nn.Module) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise


class _SeparableConv(ConvolutionLayer):
    """The base of the separable convolutions."""

    conv: _Steps
    depthwise_kernel: WeightView
    pointwise_kernel: WeightView

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        depth_multiplier: int = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        depthwise_initializer: InitializerLike = "glorot_uniform",
        pointwise_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        depthwise_regularizer: RegularizerLike = None,
        pointwise_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        depthwise_constraint: ConstraintLike = None,
        pointwise_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            activity_regularizer,
            bias_constraint,
            **kwargs,
        )
        owner = type(self).__name__
        self.filters = positive_integer(owner, "filters", filters)
        self.depth_multiplier = positive_integer(
            owner, "depth_multiplier", depth_multiplier
        )
        self.keep_weight_options(locals(), "depthwise", "pointwise")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = self._channels_of(input_shape)
        inner = channels * self.depth_multiplier
        depthwise = self._make_module(channels, inner, channels, use_bias=False)
        pointwise = self._make_pointwise(inner, self.filters, self.use_bias)
        self.conv = _Steps(depthwise, pointwise)
        for name, module, layout in (
            ("depthwise", depthwise, _depthwise(self.depth_multiplier)),
            ("pointwise", pointwise, CONVOLUTION),
        ):
            self.show_weight(
                f"{name}_kernel", module, "weight", layout=layout, options=name
            )
        self._show_bias(pointwise)

    def _channels_given(self) -> int | None:
        return self.filters if type(self.conv) is _Steps else None


@layers.register("SeparableConvolution1D")
class SeparableConv1D(_SeparableConv):
    """A convolution of each channel along one axis, then one that mixes the channels.

    Source: Chollet 2016, https://arxiv.org/abs/1610.02357.

    Args:
        filters: the number of output channels.
        kernel_size: the length of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        depth_multiplier: the number of channels between the two convolutions for each
            input channel.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        depthwise_initializer: gives the first kernel of the first convolution, of shape
            ``(kernel_size, channels, depth_multiplier)``.
        pointwise_initializer: gives that of the second, of shape
            ``(1, channels * depth_multiplier, filters)``.
        bias_initializer: gives the first bias.
        depthwise_regularizer: the regularizer of the first kernel, a penalty.
        pointwise_regularizer: the regularizer of the second kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        depthwise_constraint: the constraint on the first kernel after each update.
        pointwise_constraint: the constraint on the second kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, new_steps, filters)``. The weights are
        those of two `nn.Conv1d`, ``layer.conv.depthwise`` and ``layer.conv.pointwise``.

    Raises:
        ValueError: for illegal arguments, or inputs shorter than the window.

    Example:
        >>> SeparableConv1D(4, 3)(torch.ones(2, 10, 8)).shape
        torch.Size([2, 8, 4])
    """

    rank = 1


@layers.register("SeparableConvolution2D")
class SeparableConv2D(_SeparableConv):
    """A convolution of each channel over images, then one that mixes the channels.

    Source: Chollet 2016, https://arxiv.org/abs/1610.02357.

    Args:
        filters: the number of output channels.
        kernel_size: the height and width of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` pixels).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        depth_multiplier: the number of channels between the two convolutions for each
            input channel.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        depthwise_initializer: gives the first kernel of the first convolution, of shape
            ``(*kernel_size, channels, depth_multiplier)``.
        pointwise_initializer: gives that of the second, of shape
            ``(1, 1, channels * depth_multiplier, filters)``.
        bias_initializer: gives the first bias.
        depthwise_regularizer: the regularizer of the first kernel, a penalty.
        pointwise_regularizer: the regularizer of the second kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        depthwise_constraint: the constraint on the first kernel after each update.
        pointwise_constraint: the constraint on the second kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, filters)``. The weights are those of two
        `nn.Conv2d`, ``layer.conv.depthwise`` and ``layer.conv.pointwise``.

    Raises:
        ValueError: for illegal arguments, or inputs smaller than the window.

    Example:
        >>> layer = SeparableConv2D(4, 3, padding="same", activation="relu")
        >>> layer(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 4])
        >>> [weight.shape for weight in layer.weights]
        [(3, 3, 3, 1), (1, 1, 3, 4), (4,)]
    """

    rank = 2

    __init__ = with_defaults(
        _SeparableConv.__init__, strides=(1, 1), dilation_rate=(1, 1)
    )


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
