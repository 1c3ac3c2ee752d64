"""Convolutions: `Conv1D`, `Conv2D` and `Conv3D`, and the base of their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkeras import activations, ops
from torchkeras._core import torch_private
from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import one_of, positive_integer
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import CONVOLUTION, WeightView
from torchkeras._core.windows import pad_same, standardize_sizes
from torchkeras.layers._in_place import FRESH_OUTPUT, may_overwrite_output_of
from torchkeras.layers._windows import (
    WindowLayer,
    with_defaults,
)
from torchkeras.layers.layer import layers
from torchkeras.layers.shapes import Sizes, empty_module


def _convolve_1d(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Do what `F.conv1d` does, which would copy inputs whose channels come last."""
    outputs = F.conv2d(
        inputs.unsqueeze(2),
        weight.unsqueeze(2),
        bias,
        (1, *stride),
        (0, *padding),
        (1, *dilation),
        groups,
    )
    return outputs.squeeze(2)


class _Conv1d(nn.Conv1d):
    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        return _convolve_1d(
            input, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )


class SamePadding(torch_private.ConvNd):
    """Padding "same" that depends on the size of the inputs, or is asymmetric."""

    convolve: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        input, padding = pad_same(input, self.kernel_size, self.stride, self.dilation)
        return self.convolve(
            input,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
        )


class _Conv1dSame(SamePadding, nn.Conv1d):
    convolve = staticmethod(_convolve_1d)


class _Conv2dSame(SamePadding, nn.Conv2d):
    convolve = staticmethod(F.conv2d)


class _Conv3dSame(SamePadding, nn.Conv3d):
    convolve = staticmethod(F.conv3d)


_MODULES = {1: _Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_SAME_MODULES = {1: _Conv1dSame, 2: _Conv2dSame, 3: _Conv3dSame}
FRESH_OUTPUT.update((*_MODULES.values(), *_SAME_MODULES.values()))


def module_for(
    rank: int, padding: str, strides: Sequence[int], extents: Sequence[int]
) -> tuple[Callable[..., nn.Module], tuple[int, ...]]:
    """Return the class of a torch module, and the padding that is its own.

    Args:
        rank: the number of spatial axes.
        padding: ``"same"``, or none.
        strides: the distance between windows.
        extents: the size of the window on each axis, with gaps.
    """
    none = (0,) * rank
    if padding != "same":
        return _MODULES[rank], none
    totals = [extent - 1 for extent in extents]
    if max(strides) > 1 or any(total % 2 for total in totals):
        return _SAME_MODULES[rank], none
    return _MODULES[rank], tuple(total // 2 for total in totals)


class ConvolutionLayer(WindowLayer):
    """The base of all convolutions: their window, their bias and their activation.

    A subclass makes `conv` in `build`.
    """

    #: The legal values of `padding`.
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    conv: Any
    bias: WeightView | None
    _causal_pads: tuple[int, ...] | None

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...],
        padding: str,
        data_format: str | None,
        dilation_rate: int | tuple[int, ...],
        activation: ActivationLike,
        use_bias: bool,
        bias_initializer: InitializerLike,
        bias_regularizer: RegularizerLike,
        activity_regularizer: RegularizerLike,
        bias_constraint: ConstraintLike,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner, rank = type(self).__name__, self.rank
        self.kernel_size = standardize_sizes(owner, "kernel_size", kernel_size, rank)
        self.strides = standardize_sizes(owner, "strides", strides, rank)
        self.padding = one_of(owner, "padding", str(padding).lower(), self.paddings)
        self.data_format = standardize_data_format(owner, data_format)
        self.dilation_rate = standardize_sizes(
            owner, "dilation_rate", dilation_rate, rank
        )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.keep_weight_options(locals(), "bias")
        self._causal_pads = None
        self._set_layout()

    def _refuse_strides_with_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__}: `strides` or `dilation_rate` must be 1, got "
                f"strides={self.strides} and dilation_rate={self.dilation_rate}."
            )

    def _window(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        pairs = zip(self.kernel_size, self.dilation_rate, strict=True)
        return "kernel_size", self.kernel_size, tuple((k - 1) * d + 1 for k, d in pairs)

    # What `build` is made of

    def _channels_of(self, shape: tuple[int | None, ...], groups: int = 1) -> int:
        """Return the number of channels of inputs of that shape, once it is checked."""
        channels = shape[-1 if self._channels_last else 1]
        if channels is None or channels % groups:
            multiple = f" and a multiple of groups={groups}" if groups > 1 else ""
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): the number of input "
                f"channels must be known{multiple}, got {channels} channels in an "
                f"input of shape {shape} in {self.data_format} order."
            )
        self._check_window(shape)
        self._set_layout(channels)
        return channels

    def _make_module(
        self, channels: int, filters: int, groups: int, use_bias: bool
    ) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
        extents = self._window()[2]
        factory, padding = module_for(self.rank, self.padding, self.strides, extents)
        module = empty_module(
            self,
            factory,
            channels,
            filters,
            self.kernel_size,
            self.strides,
            padding,
            self.dilation_rate,
            groups,
            use_bias,
        )
        if self._channels_last:
            keep_channels_last(module.weight)
        return module

    def _make_pointwise(
        self, channels: int, filters: int, use_bias: bool
    ) -> nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """Return a convolution whose window is one element."""
        factory, window = _MODULES[self.rank], (1,) * self.rank
        module = empty_module(self, factory, channels, filters, window, bias=use_bias)
        if self._channels_last:
            keep_channels_last(module.weight)
        return module

    def _show_bias(self, module: nn.Module) -> None:
        if self.use_bias:
            self.show_weight("bias", module, "bias")
        else:
            self.leave_out("bias")

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        channels = self._channels_given()
        if channels is None or not activations.keeps_shape(self.activation):
            return None
        return self._sizes_of(sizes[0], self._counts(sizes), channels)

    def _channels_given(self) -> int | None:
        """Return the number of channels of the outputs, None of an unknown module."""
        known = type(self.conv) in (_MODULES[self.rank], _SAME_MODULES[self.rank])
        return self.conv.out_channels if known else None

    def call(self, inputs: Tensor) -> Tensor:
        if self._causal_pads is not None:
            inputs = F.pad(inputs, self._causal_pads)
        if self._channels_last:
            inputs = inputs.permute(self._to_front)
        conv, activation = self.conv, self.activation
        outputs = conv(inputs)
        if activation is activations.relu and may_overwrite_output_of(conv):
            outputs, activation = outputs.relu_(), None
        if self._channels_last:
            outputs = outputs.permute(self._to_back)
        return outputs if activation is None else activation(outputs)


def keep_channels_last(weight: Tensor) -> None:
    """Store a weight the way that convolutions of channels-last inputs read it."""
    order = (0, *range(2, weight.ndim), 1)
    stored = torch.empty_like(
        weight.data.permute(order), memory_format=torch.contiguous_format
    )
    weight.data = stored.permute(0, weight.ndim - 1, *range(1, weight.ndim - 1))


class _Conv(ConvolutionLayer):
    """The base of `Conv1D` to `Conv3D`; `rank` is the number of spatial axes."""

    conv: nn.Conv1d | nn.Conv2d | nn.Conv3d
    kernel: WeightView

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "convolution_op" in vars(cls) and "call" not in vars(cls):
            cls.call = _Conv._call_with_own_op
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        groups: int = 1,
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
        self.groups = positive_integer(owner, "groups", groups)
        self.keep_weight_options(locals(), "kernel")
        if self.filters % self.groups:
            raise ValueError(
                f"{owner}: `filters` must be a multiple of `groups`, got "
                f"filters={self.filters} and groups={self.groups}."
            )
        self._refuse_strides_with_dilation()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = self._channels_of(input_shape, self.groups)
        self.conv = self._make_module(
            channels, self.filters, self.groups, self.use_bias
        )
        self._causal_pads = self._pads_before()
        self.show_weight("kernel", self.conv, "weight", layout=CONVOLUTION)
        self._show_bias(self.conv)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolve inputs by a kernel in Keras's layout, without bias and activation.

        A subclass may override it, to change the kernel before it is used.
        """
        return ops.conv(
            inputs,
            kernel,
            self.strides,
            self.padding,
            self.data_format,
            self.dilation_rate,
        )

    def _call_with_own_op(self, inputs: Tensor) -> Tensor:
        """Do what `call` does with a `convolution_op` that a subclass overrides."""
        outputs = self.convolution_op(inputs, self.kernel.value)
        if self.bias is not None:
            axis = -1 if self._channels_last else 1
            shape = [1] * outputs.ndim
            shape[axis] = -1
            outputs = outputs + self.bias.value.to(outputs.dtype).view(shape)
        return self.activation(outputs)

    def _pads_before(self) -> tuple[int, ...] | None:
        """Return the arguments of `F.pad` for padding "causal"."""
        if self.padding != "causal":
            return None
        before = self._window()[2][0] - 1
        return (0, 0, before, 0) if self._channels_last else (before, 0)


@layers.register("Convolution1D")
class Conv1D(_Conv):
    """A convolution along one axis, such as the steps of a sequence.

    Args:
        filters: the number of output channels.
        kernel_size: the length of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none), ``"same"`` (one window per `strides` steps) or
            ``"causal"`` (a window ends where its output stands).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        groups: the number of groups that channels are split into.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel, of shape
            ``(kernel_size, channels // groups, filters)``.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, new_steps, filters)``. The weights are
        those of an `nn.Conv1d` in ``layer.conv``.

    Raises:
        ValueError: for illegal arguments, or inputs shorter than the window.

    Example:
        >>> Conv1D(4, 3, padding="causal")(torch.ones(2, 10, 8)).shape
        torch.Size([2, 10, 4])
    """

    rank = 1
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same", "causal")


@layers.register("Convolution2D")
class Conv2D(_Conv):
    """A convolution over images.

    With channels last the inputs are seen by torch in its ``channels_last`` memory
    format, without a copy, and the kernel is kept in it.

    Args:
        filters: the number of output channels.
        kernel_size: the height and width of the window.
        strides: the distance between windows.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` pixels).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.
        groups: the number of groups that channels are split into.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel, of shape
            ``(*kernel_size, channels // groups, filters)``.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, filters)``. The weights are those of an
        `nn.Conv2d` in ``layer.conv``.

    Raises:
        ValueError: for illegal arguments, or inputs smaller than the window.

    Example:
        >>> layer = Conv2D(4, 3, padding="same", activation="relu")
        >>> layer(torch.ones(2, 8, 8, 3)).shape, layer.kernel.shape
        (torch.Size([2, 8, 8, 4]), (3, 3, 3, 4))
    """

    rank = 2

    __init__ = with_defaults(_Conv.__init__, strides=(1, 1), dilation_rate=(1, 1))


@layers.register("Convolution3D")
class Conv3D(_Conv):
    """A convolution over volumes.

    The arguments are those of `Conv2D`, with three sizes in place of two.

    Shape:
        ``(batch, depth, height, width, channels)`` to
        ``(batch, new_depth, new_height, new_width, filters)``. The weights are those of
        an `nn.Conv3d` in ``layer.conv``.

    Example:
        >>> Conv3D(4, 3)(torch.ones(2, 8, 8, 8, 1)).shape
        torch.Size([2, 6, 6, 6, 4])
    """

    rank = 3

    __init__ = with_defaults(_Conv.__init__, strides=(1, 1, 1), dilation_rate=(1, 1, 1))


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
