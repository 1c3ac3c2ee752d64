"""Normalizations of a sample by itself: by groups, root mean square, or length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import initializers
from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import ConstraintLike, InitializerLike, RegularizerLike
from torchkeras._core.variable import WeightView
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.normalization import (
    AffineNormalization,
    orders_to_end,
    positive_axes,
)
from torchkeras.layers.shapes import empty_module, same_sizes


class _GroupNorm(nn.GroupNorm):
    """Torch's group norm, also for groups of a single value, as Keras has it."""

    # Torch declares both as parameters; either may be None here.
    weight: Any
    bias: Any

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        # The backward pass of torch's kernel fails for a bias without a weight, and on
        # a CPU (by a segmentation fault, in torch 2.13) for images whose memory is
        # channels-last, where the gradient of the weight is asked for and not theirs.
        on_cpu = input.ndim > 3 and input.device.type == "cpu"
        apart = weight is None or (on_cpu and torch.is_grad_enabled())
        outputs = torch.group_norm(
            input,
            self.num_groups,
            None if apart else weight,
            None if apart else bias,
            self.eps,
            torch.backends.cudnn.enabled,
        )
        if not apart:
            return outputs
        shape = (-1, *[1] * (input.ndim - 2))
        if weight is not None:
            outputs = outputs * weight.view(shape)
        return outputs if bias is None else outputs + bias.view(shape)


@layers.register()
class GroupNormalization(AffineNormalization):
    """Normalizes groups of channels of each sample by their mean and variance.

    Source: Wu and He 2018, https://arxiv.org/abs/1803.08494.

    Args:
        groups: the number of groups; -1 for one per channel.
        axis: the axis of the channels.
        epsilon: added to the variance.
        center: whether an offset `beta` is added.
        scale: whether a gain `gamma` is multiplied by.
        beta_initializer: gives the first offset.
        gamma_initializer: gives the first gain.
        beta_regularizer: the regularizer of the offset, a penalty.
        gamma_regularizer: the regularizer of the gain, a penalty.
        beta_constraint: the constraint on the offset after each update.
        gamma_constraint: the constraint on the gain after each update.

    Shape:
        Any, and the same for the outputs. The weights are those of an `nn.GroupNorm` in
        ``layer.norm``.

    Raises:
        TypeError: when `groups` or `axis` is no integer.
        ValueError: when `groups` is neither positive nor -1, or does not divide the
            number of channels.

    Example:
        >>> layer = GroupNormalization(groups=2)
        >>> layer(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).detach().round(decimals=2)
        tensor([[-1.,  1., -1.,  1.]])
    """

    _output_sizes = same_sizes

    norm: _GroupNorm
    _channels_axis: int

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        owner = "GroupNormalization"
        self.groups = _integer(owner, "groups", groups)
        self.axis = _integer(owner, "axis", axis)
        if self.groups <= 0 and self.groups != -1:
            expected = "a positive integer, or -1 for one group per channel"
            raise ValueError(invalid_argument(owner, "groups", expected, groups))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        rank = len(input_shape)
        (axis,) = positive_axes(self.name, [self.axis], rank)
        channels = input_shape[axis]
        groups = channels if self.groups == -1 else self.groups
        if axis == 0 or not channels or not groups or channels % groups:
            raise ValueError(
                f"Layer '{self.name}' (GroupNormalization): the number of channels, on "
                f"an axis other than the batch, must be known and a multiple of "
                f"groups={self.groups}, got an input of shape {tuple(input_shape)} and "
                f"axis={self.axis}."
            )
        self.norm = empty_module(self, _GroupNorm, groups, channels, self.epsilon)
        self._show_affine(self.norm)
        self.input_spec = InputSpec(ndim=rank, axes={axis: channels})
        self._channels_axis = axis

    def call(self, inputs: Tensor) -> Tensor:
        axis = self._channels_axis
        return self.norm(inputs.movedim(axis, 1)).movedim(1, axis)


@layers.register()
class RMSNormalization(Layer):
    """Divides each sample by its root mean square, and multiplies by a gain.

    Source: https://arxiv.org/abs/1910.07467

    Args:
        axis: the axis, or axes, over which the mean is taken.
        epsilon: added to the mean square.

    Shape:
        Any, and the same for the outputs. The weight is that of an `nn.RMSNorm` in
        ``layer.norm``.

    Raises:
        TypeError: when `axis` is neither an integer nor several.
        ValueError: when it is not an axis of the input.

    Example:
        >>> RMSNormalization()(torch.tensor([[1.0, 7.0]])).detach().round(decimals=2)
        tensor([[0.2000, 1.4000]])
    """

    _output_sizes = same_sizes

    casts_integers = True

    scale: WeightView
    norm: nn.RMSNorm
    _axes: tuple[int, ...]
    #: The orders that bring the axes to the end, and back; None where they are there.
    _to_end: tuple[int, ...] | None
    _to_place: tuple[int, ...] | None

    def __init__(
        self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._axes = _integers("RMSNormalization", axis)
        self.axis = axis
        self.epsilon = number_in("RMSNormalization", "epsilon", epsilon, 0.0)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        rank = len(input_shape)
        axes = positive_axes(self.name, self._axes, rank)
        sizes = [input_shape[axis] for axis in axes]
        self.norm = empty_module(self, nn.RMSNorm, sizes, self.epsilon)
        self.show_weight("scale", self.norm, "weight", initializers.Ones())
        self.input_spec = InputSpec(
            min_ndim=rank, axes=dict(zip(axes, sizes, strict=True))
        )
        self._to_end, self._to_place = orders_to_end(rank, axes)

    def call(self, inputs: Tensor) -> Tensor:
        if self._to_end is None:
            return self.norm(inputs)
        return self.norm(inputs.permute(self._to_end)).permute(self._to_place)


@layers.register()
class UnitNormalization(Layer):
    """Scales each sample to length 1, by its Euclidean norm.

    Args:
        axis: the axis, or axes, over which the norm is taken.

    Shape:
        Any, and the same for the outputs.

    Raises:
        TypeError: when `axis` is neither an integer nor several.
        ValueError: when it is not an axis of the input.

    Example:
        >>> UnitNormalization()(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    _output_sizes = same_sizes

    casts_integers = True
    _builds_weights = False

    _axes: tuple[int, ...]

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._axes = _integers("UnitNormalization", axis)
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        positive_axes(self.name, self._axes, len(input_shape))

    def call(self, inputs: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(inputs, 2, self._axes, keepdim=True)
        return inputs / norm.clamp(min=1e-12)


def _integer(owner: str, argument: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(invalid_argument(owner, argument, "an integer", value))
    return int(value)


def _integers(owner: str, axis: Any) -> tuple[int, ...]:
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    if not axes or any(
        isinstance(a, bool) or not hasattr(a, "__index__") for a in axes
    ):
        expected = "an integer or a list of integers"
        raise TypeError(invalid_argument(owner, "axis", expected, axis))
    return tuple(int(a) for a in axes)
