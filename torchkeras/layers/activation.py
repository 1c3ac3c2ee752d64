"""Activation functions as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import activations
from torchkeras._core.errors import number_in
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import Variable
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import Sizes, same_sizes


class _Elementwise(Layer):
    """The base of layers that keep shape and mask."""

    casts_integers = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True


@layers.register()
class Activation(_Elementwise):
    """Applies an activation function.

    Args:
        activation: a name or a function.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> Activation("relu")(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(self, activation: ActivationLike, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        return sizes if activations.keeps_shape(self.activation) else None

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs)


@layers.register()
class ReLU(_Elementwise):
    """Rectified linear unit: ``max(inputs, 0)`` with the defaults.

    Args:
        max_value: the largest value of the outputs; None for no limit.
        negative_slope: the slope below `threshold`.
        threshold: values up to it are dropped.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: for a negative argument.

    Example:
        >>> ReLU(max_value=6.0)(torch.tensor([-1.0, 8.0]))
        tensor([0., 6.])
    """

    _output_sizes = same_sizes

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None:
            max_value = number_in("ReLU", "max_value", max_value, 0.0)
        self.max_value = max_value
        self.negative_slope = number_in("ReLU", "negative_slope", negative_slope, 0.0)
        self.threshold = number_in("ReLU", "threshold", threshold, 0.0)

    def call(self, inputs: Tensor) -> Tensor:
        return activations.relu(
            inputs, self.negative_slope, self.max_value, self.threshold
        )


@layers.register()
class LeakyReLU(_Elementwise):
    """Rectified linear unit with a slope below zero.

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network
    acoustic models".

    Args:
        negative_slope: the slope.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: for a negative slope.

    Example:
        >>> LeakyReLU(0.5)(torch.tensor([-1.0, 2.0]))
        tensor([-0.5000,  2.0000])
    """

    _output_sizes = same_sizes

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        negative_slope = kwargs.pop("alpha", negative_slope)  # as Keras 2 called it
        super().__init__(**kwargs)
        self.negative_slope = number_in(
            "LeakyReLU", "negative_slope", negative_slope, 0.0
        )

    def call(self, inputs: Tensor) -> Tensor:
        return F.leaky_relu(inputs, self.negative_slope)


@layers.register()
class ELU(_Elementwise):
    """Exponential linear unit: ``alpha * (exp(inputs) - 1)`` below zero.

    Source: Clevert et al. 2015, https://arxiv.org/abs/1511.07289.

    Args:
        alpha: the limit for large negative inputs is ``-alpha``.

    Shape:
        Any, and the same for the outputs.

    Example:
        >>> ELU()(torch.tensor([-100.0, 2.0]))
        tensor([-1.,  2.])
    """

    _output_sizes = same_sizes

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = number_in("ELU", "alpha", alpha, float("-inf"))

    def call(self, inputs: Tensor) -> Tensor:
        return F.elu(inputs, self.alpha)


@layers.register()
class PReLU(_Elementwise):
    """Rectified linear unit with slopes below zero that are learnt.

    Source: He et al. 2015, https://arxiv.org/abs/1502.01852.

    Args:
        alpha_initializer: gives the first slopes.
        alpha_regularizer: the regularizer of the slopes, a penalty.
        alpha_constraint: the constraint on the slopes after each update.
        shared_axes: axes along which a slope is shared, such as ``[1, 2]`` of images.

    Shape:
        Any, and the same for the outputs.

    Example:
        >>> PReLU("ones")(torch.tensor([[-1.0, 2.0]])).detach()
        tensor([[-1.,  2.]])
    """

    _output_sizes = same_sizes

    alpha: Variable

    def __init__(
        self,
        alpha_initializer: InitializerLike = "Zeros",
        alpha_regularizer: RegularizerLike = None,
        alpha_constraint: ConstraintLike = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_weight_options(locals(), "alpha")
        single = isinstance(shared_axes, int)
        self.shared_axes = [shared_axes] if single else shared_axes

    def build(self, input_shape: tuple[int, ...]) -> None:
        shared = self.shared_axes or []
        sizes: dict[int, Any] = {
            axis: size
            for axis, size in enumerate(input_shape)
            if axis > 0 and axis not in shared
        }
        shape = tuple(sizes.get(axis, 1) for axis in range(1, len(input_shape)))
        self.alpha = self.add_weight(
            shape,
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)

    def call(self, inputs: Tensor) -> Tensor:
        return torch.where(inputs > 0, inputs, self.alpha * inputs)


@layers.register()
class Softmax(_Elementwise):
    """Exponentials divided by their sum, so that the outputs sum to one.

    Args:
        axis: the axis, or axes, of the sum.

    Shape:
        Any, and the same for the outputs. A `mask` in the call, of a shape that
        broadcasts to the inputs', leaves elements out of the sum and sets them to zero.

    Example:
        >>> Softmax()(torch.zeros(1, 4), mask=torch.tensor([True, True, False, False]))
        tensor([[0.5000, 0.5000, 0.0000, 0.0000]])
    """

    _output_sizes = same_sizes

    axis: int | Sequence[int]
    _axis: int | tuple[int, ...]

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        self._axis = axes[0] if len(axes) == 1 else axes

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return activations.softmax(inputs, self._axis)
        self._check_mask(tuple(inputs.shape), tuple(mask.shape))
        keep = mask if mask.dtype == torch.bool else mask > 0.5
        # Not the mask itself: where nothing is left of a sum, infinities would be NaN.
        low = -3e4 if inputs.dtype == torch.float16 else -1e9
        outputs = activations.softmax(inputs.where(keep, low), self._axis)
        return outputs.where(keep, 0)

    def _check_mask(self, shape: tuple[int, ...], mask: tuple[int, ...]) -> None:
        pairs = zip(reversed(mask), reversed(shape), strict=False)
        if len(mask) > len(shape) or any(m not in (1, size) for m, size in pairs):
            raise ValueError(
                f"Layer '{self.name}' (Softmax): expected a mask of a shape that "
                f"broadcasts to the inputs' {shape}, got {mask}."
            )
