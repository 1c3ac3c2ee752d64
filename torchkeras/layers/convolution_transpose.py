"""Transposed convolutions: `Conv1DTranspose` to `Conv3DTranspose`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchkeras._core import torch_private
from torchkeras._core.errors import positive_integer
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import CONVOLUTION, WeightView
from torchkeras._core.windows import standardize_sizes
from torchkeras.layers._in_place import FRESH_OUTPUT
from torchkeras.layers._windows import with_defaults
from torchkeras.layers.convolution import ConvolutionLayer, keep_channels_last
from torchkeras.layers.layer import layers
from torchkeras.layers.shapes import Sizes, empty_module


class _ConvTranspose1d(nn.ConvTranspose1d):
    """What torch's own does, which would copy inputs whose channels come last."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        outputs = torch.conv_transpose2d(
            input.unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            (1, *self.stride),
            (0, *self._before),
            (0, *self.output_padding),
            self.groups,
            (1, *self.dilation),
        )
        return outputs.squeeze(2)

    @property
    def _before(self) -> tuple[int, ...]:
        return tuple(int(side) for side in self.padding)


class _CutAfter(torch_private.ConvTransposeNd):
    """A transposed convolution that gives one element too many on some axes."""

    #: How many are cut off the end of each spatial axis.
    cut: tuple[int, ...]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        outputs = super().forward(input)
        for axis, more in enumerate(self.cut, start=2):
            outputs = outputs.narrow(axis, 0, outputs.shape[axis] - more)
        return outputs


class _ConvTranspose1dCut(_CutAfter, _ConvTranspose1d):
    pass


class _ConvTranspose2dCut(_CutAfter, nn.ConvTranspose2d):
    pass


class _ConvTranspose3dCut(_CutAfter, nn.ConvTranspose3d):
    pass


_MODULES = {1: _ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_CUT_MODULES = {1: _ConvTranspose1dCut, 2: _ConvTranspose2dCut, 3: _ConvTranspose3dCut}
FRESH_OUTPUT.update(_MODULES.values())  # a cut output is a view of a larger one


class _ConvTranspose(ConvolutionLayer):
    """The base of the transposed convolutions."""

    conv: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
    kernel: WeightView

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        output_padding: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
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
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = standardize_sizes(
                owner, "output_padding", output_padding, self.rank, low=0
            )
            pairs = zip(self.output_padding, self.strides, strict=True)
            if any(more >= stride for more, stride in pairs):
                raise ValueError(
                    f"{owner}: `output_padding` must be less than `strides` on each "
                    f"axis, got output_padding={self.output_padding} and "
                    f"strides={self.strides}."
                )
        self.keep_weight_options(locals(), "kernel")
        self._refuse_strides_with_dilation()

    def _check_window(self, shape: tuple[int | None, ...]) -> None:
        """Refuse nothing: each input element makes a window of its own."""

    def _counts(self, sizes: Sizes) -> list[int]:
        covered = [
            (size - 1) * stride + extent
            for size, stride, extent in zip(
                self._spatial(sizes), self.strides, self._window()[2], strict=True
            )
        ]
        return [n - sum(self._cuts(axis)) for axis, n in enumerate(covered)]

    def _channels_given(self) -> int | None:
        known = type(self.conv) in (_MODULES[self.rank], _CUT_MODULES[self.rank])
        return self.conv.out_channels if known else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = self._channels_of(input_shape)
        sides = [self._cuts(axis) for axis in range(self.rank)]
        before = [cut for cut, _ in sides]
        more = [before - after for before, after in sides]
        shorter = any(n < 0 for n in more)
        self.conv = empty_module(
            self,
            (_CUT_MODULES if shorter else _MODULES)[self.rank],
            channels,
            self.filters,
            self.kernel_size,
            self.strides,
            tuple(before),
            tuple(max(n, 0) for n in more),
            bias=self.use_bias,
            dilation=self.dilation_rate,
        )
        if isinstance(self.conv, _CutAfter):
            self.conv.cut = tuple(max(-n, 0) for n in more)
        if self._channels_last:
            keep_channels_last(self.conv.weight)
        self.show_weight("kernel", self.conv, "weight", layout=CONVOLUTION)
        self._show_bias(self.conv)

    def _cuts(self, axis: int) -> tuple[int, int]:
        """Return how much is cut off an axis, before and after, of what windows cover.

        `n` windows cover ``(n - 1) * stride + extent`` elements, and Keras keeps fewer
        of them (more, if the number is negative: zeros follow). Torch's `padding` is
        what is cut off both sides, its `output_padding` what is given back at the end.
        """
        stride, extent = self.strides[axis], self._window()[2][axis]
        more = None if self.output_padding is None else self.output_padding[axis]
        if self.padding == "valid":
            return 0, -(max(stride - extent, 0) if more is None else more)
        total = extent - (stride if more is None else extent % 2 + more)
        before = max(total // 2, 0)
        return before, total - before


@layers.register("Convolution1DTranspose")
class Conv1DTranspose(_ConvTranspose):
    """A transposed convolution along one axis, which makes sequences longer.

    Source: Dumoulin and Visin 2016, https://arxiv.org/abs/1603.07285.

    Args:
        filters: the number of output channels.
        kernel_size: the length of the window.
        strides: the distance between the windows that two input steps make.
        padding: ``"valid"`` (all that the windows cover) or ``"same"`` (``strides``
            times the input steps).
        output_padding: how many steps are added at the end of the shortest output, less
            than `strides`; found from `padding` by default.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel, of shape
            ``(kernel_size, filters, channels)``.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, new_steps, filters)``. The weights are
        those of an `nn.ConvTranspose1d` in ``layer.conv``.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> Conv1DTranspose(4, 3, strides=2, padding="same")(torch.ones(2, 5, 8)).shape
        torch.Size([2, 10, 4])
    """

    rank = 1


@layers.register("Convolution2DTranspose")
class Conv2DTranspose(_ConvTranspose):
    """A transposed convolution over images, which makes them larger.

    Source: Dumoulin and Visin 2016, https://arxiv.org/abs/1603.07285.

    Args:
        filters: the number of output channels.
        kernel_size: the height and width of the window.
        strides: the distance between the windows that two input pixels make.
        padding: ``"valid"`` (all that the windows cover) or ``"same"`` (``strides``
            times the input pixels).
        output_padding: how many pixels are added at the end of the shortest output,
            less than `strides`; found from `padding` by default.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel, of shape
            ``(*kernel_size, filters, channels)``.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, filters)``. The weights are those of an
        `nn.ConvTranspose2d` in ``layer.conv``.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> layer = Conv2DTranspose(4, 3, strides=2, padding="same")
        >>> layer(torch.ones(2, 8, 8, 3)).shape, layer.kernel.shape
        (torch.Size([2, 16, 16, 4]), (3, 3, 4, 3))
    """

    rank = 2

    __init__ = with_defaults(
        _ConvTranspose.__init__, strides=(1, 1), dilation_rate=(1, 1)
    )


@layers.register("Convolution3DTranspose")
class Conv3DTranspose(_ConvTranspose):
    """A transposed convolution over volumes, which makes them larger.

    The arguments are those of `Conv2DTranspose`, with three sizes in place of two.

    Source: Dumoulin and Visin 2016, https://arxiv.org/abs/1603.07285.

    Shape:
        ``(batch, depth, height, width, channels)`` to
        ``(batch, new_depth, new_height, new_width, filters)``. The weights are those of
        an `nn.ConvTranspose3d` in ``layer.conv``.

    Example:
        >>> Conv3DTranspose(4, 3)(torch.ones(2, 4, 4, 4, 1)).shape
        torch.Size([2, 6, 6, 6, 4])
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: int | tuple[int, ...] | None = None,
        dilation_rate: int | tuple[int, ...] = (1, 1, 1),
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        # Keras has `data_format` before `output_padding` in this class only.
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            output_padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
