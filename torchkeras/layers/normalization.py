"""Normalizations: `BatchNormalization` and `LayerNormalization`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras._core import config
from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import (
    ConstraintLike,
    DType,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import WeightView
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import empty_module, same_sizes


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Torch's batch norm, for inputs ``(batch, channels, ...)`` of any rank.

    As in Keras the moving variance takes in the variance of the batch itself; torch's
    own takes in the unbiased one, greater by a factor of ``n / (n - 1)``.
    """

    # Torch declares the averages optional and the rest not; here it is the reverse.
    weight: Any
    bias: Any
    momentum: Any
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return self._normalize(input, self.running_var)
        count = input.numel() // input.shape[1]
        if count == 1:  # torch's unbiased variance of one value is not a number
            outputs = self._normalize(input, None)
            self.running_mean.lerp_(input.detach().flatten(), self.momentum)
            self.running_var.mul_(1 - self.momentum)
            return outputs
        excess = count / (count - 1)
        scaled = self.running_var * excess
        outputs = self._normalize(input, scaled)
        self.running_var.copy_(scaled).div_(excess)
        return outputs

    def _normalize(self, input: Tensor, running_var: Tensor | None) -> Tensor:
        # On CUDA the kernel's gradient is wrong for a bias without a weight.
        alone = self.bias if self.weight is None else None
        outputs = torch.batch_norm(
            input,
            self.weight,
            self.bias if alone is None else None,
            None if running_var is None else self.running_mean,
            running_var,
            self.training,
            self.momentum,
            self.eps,
            torch.backends.cudnn.enabled,
        )
        if alone is None:
            return outputs
        return outputs + alone.reshape(-1, *[1] * (input.ndim - 2))


#: Where the correction of batch renormalization may lie when it is not clipped.
_UNCLIPPED = {"rmin": 0.0, "rmax": math.inf, "dmax": math.inf}


class _Renorm(nn.Module):
    """The correction of batch renormalization, and the averages it is made from.

    Source: https://arxiv.org/abs/1702.03275, whose `r` and `d` it returns. As in Keras
    it averages standard deviations, and the moving variance follows from theirs.
    """

    momentum: float
    clipping: Mapping[str, float]
    moving_std: Tensor
    renorm_mean: Tensor
    renorm_std: Tensor

    def __init__(
        self,
        size: int,
        momentum: float,
        clipping: Mapping[str, float],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.clipping = clipping
        for name in ("moving_std", "renorm_mean", "renorm_std"):
            self.register_buffer(name, torch.empty(size, dtype=dtype))

    @torch.no_grad()
    def forward(
        self, norm: _BatchNorm, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        limits, std = self.clipping, (variance + norm.eps).sqrt()
        scale = self.renorm_std.clamp(min=math.sqrt(norm.eps))
        r = (std / scale).clamp(limits["rmin"], limits["rmax"])
        d = ((mean - self.renorm_mean) / scale).clamp(-limits["dmax"], limits["dmax"])
        _move(self.renorm_mean, mean, self.momentum)
        _move(self.renorm_std, std, self.momentum)
        _move(norm.running_mean, mean, norm.momentum)
        _move(self.moving_std, std, norm.momentum)
        norm.running_var.copy_(self.moving_std.square().sub_(norm.eps).relu_())
        return r, d


def _move(average: Tensor, value: Tensor, momentum: float) -> None:
    average.lerp_(value.to(average.dtype), momentum)


def _clipping_limits(owner: str, clipping: Any) -> dict[str, float]:
    """Check `renorm_clipping` and return all three limits."""
    expected = f"a dictionary with keys among {list(_UNCLIPPED)}"
    message = invalid_argument(owner, "renorm_clipping", expected, clipping)
    if not isinstance(clipping, Mapping):
        raise TypeError(message)
    if not _UNCLIPPED.keys() >= clipping.keys():
        raise ValueError(message)
    given = {
        key: number_in(owner, f"renorm_clipping['{key}']", value, 0.0)
        for key, value in clipping.items()
        if value is not None and value != math.inf
    }
    limits = {**_UNCLIPPED, **given}
    if limits["rmax"] < limits["rmin"]:
        expected = "'rmax' to be at least 'rmin'"
        raise ValueError(invalid_argument(owner, "renorm_clipping", expected, clipping))
    return limits


class AffineNormalization(Layer):
    """The base of the normalizations: a gain `gamma` and an offset `beta`."""

    casts_integers = True

    beta: WeightView | None
    gamma: WeightView | None

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: InitializerLike,
        gamma_initializer: InitializerLike,
        beta_regularizer: RegularizerLike,
        gamma_regularizer: RegularizerLike,
        beta_constraint: ConstraintLike,
        gamma_constraint: ConstraintLike,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = number_in(type(self).__name__, "epsilon", epsilon, 0.0)
        self.center = center
        self.scale = scale
        self.keep_weight_options(locals(), "beta", "gamma")
        self.supports_masking = True

    def _show_affine(self, norm: nn.Module) -> None:
        """Show `gamma` and `beta`, and take away the one that is not asked for."""
        for name, tensor, wanted in (
            ("gamma", "weight", self.scale),
            ("beta", "bias", self.center),
        ):
            if not wanted:
                norm.register_parameter(tensor, None)
                self.leave_out(name)
                continue
            self.show_weight(name, norm, tensor)


def positive_axes(name: str, axes: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the front, in order."""
    if not all(-rank <= axis < rank for axis in axes):
        raise ValueError(
            f"Layer '{name}': `axis` must be within the {rank} axes of the input, got "
            f"{list(axes)}."
        )
    return sorted(axis % rank for axis in axes)


@layers.register()
class BatchNormalization(AffineNormalization):
    """Normalizes each channel by the mean and variance of the batch.

    In inference mode, and when it is frozen (by ``trainable = False`` or by torch's
    `requires_grad_`), it uses the moving averages of both instead.

    Args:
        axis: the axis of the channels.
        momentum: what the moving averages keep in a step; torch's momentum is
            ``1 - momentum``.
        epsilon: added to the variance.
        center: whether an offset `beta` is added.
        scale: whether a gain `gamma` is multiplied by.
        beta_initializer: gives the first offset.
        gamma_initializer: gives the first gain.
        moving_mean_initializer: gives the first moving mean.
        moving_variance_initializer: gives the first moving variance.
        beta_regularizer: the regularizer of the offset, a penalty.
        gamma_regularizer: the regularizer of the gain, a penalty.
        beta_constraint: the constraint on the offset after each update.
        gamma_constraint: the constraint on the gain after each update.
        renorm: whether training corrects the normalized values towards slow averages,
            by batch renormalization (https://arxiv.org/abs/1702.03275), for small
            batches.
        renorm_clipping: the limits of the correction ``values * r + d``: a dictionary
            with any of ``"rmin"``, ``"rmax"`` and ``"dmax"``.
        renorm_momentum: what the averages of the correction keep in a step.
        synchronized: take mean and variance over all processes, by
            `nn.SyncBatchNorm`, whose moving variance is the unbiased one.

    Shape:
        Any, and the same for the outputs. The weights are those of a torch batch norm
        in ``layer.norm``.

    Raises:
        ValueError: for illegal arguments, and for `renorm` with `synchronized`.

    Example:
        >>> layer = BatchNormalization()
        >>> layer(torch.ones(4, 8, 8, 3)).shape
        torch.Size([4, 8, 8, 3])
        >>> [w.name for w in layer.weights]
        ['gamma', 'beta', 'moving_mean', 'moving_variance']
    """

    _output_sizes = same_sizes

    moving_mean: WeightView
    moving_variance: WeightView
    #: With `renorm` only.
    moving_stddev: WeightView
    renorm_mean: WeightView
    renorm_stddev: WeightView
    norm: _BatchNorm
    #: With `renorm` only, as is what it is limited to.
    correction: _Renorm
    _limits: dict[str, float]
    _channels_axis: int
    #: Whether rows of channels are normalized as one block of memory.
    _flattens: bool
    #: The orders that bring the channels where torch has them, and back.
    _to_front: tuple[int, ...] | None
    _to_back: tuple[int, ...] | None

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        moving_mean_initializer: InitializerLike = "zeros",
        moving_variance_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
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
        owner = "BatchNormalization"
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise TypeError(invalid_argument(owner, "axis", "an integer", axis))
        if renorm and synchronized:
            raise ValueError(
                f"{owner}: `renorm=True` cannot go with `synchronized=True`, which "
                "takes no correction. Leave one of them out."
            )
        self.axis = int(axis)
        self.momentum = number_in(owner, "momentum", momentum, 0.0, 1.0)
        self.keep_weight_options(locals(), "moving_mean", "moving_variance")
        self.renorm = renorm
        self.renorm_clipping = (renorm_clipping or {}) if renorm else renorm_clipping
        if renorm:
            self._limits = _clipping_limits(owner, self.renorm_clipping)
        self.renorm_momentum = number_in(
            owner, "renorm_momentum", renorm_momentum, 0.0, 1.0
        )
        self.synchronized = synchronized

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        rank = len(input_shape)
        (axis,) = positive_axes(self.name, [self.axis], rank)
        size = input_shape[axis]
        self.norm = empty_module(
            self,
            nn.SyncBatchNorm if self.synchronized else _BatchNorm,
            size,
            self.epsilon,
            1 - self.momentum,
        )
        self.norm.num_batches_tracked.zero_()
        self._show_affine(self.norm)
        self.show_weight("moving_mean", self.norm, "running_mean")
        self.show_weight("moving_variance", self.norm, "running_var")
        if self.renorm:
            self._build_correction(size)
        self.input_spec = InputSpec(ndim=rank, axes={axis: size})
        self._channels_axis = axis
        # Rows of channels are one block of memory; images keep their memory format.
        self._flattens = rank == 3 and axis == 2
        self._to_front, self._to_back = _swap_orders(rank, axis)

    def _build_correction(self, size: int | None) -> None:
        def standard_deviation(shape: tuple[int, ...], dtype: DType) -> Tensor:
            return self.moving_variance_initializer(shape, dtype=dtype).sqrt()

        self.correction = empty_module(
            self, _Renorm, size, 1 - self.renorm_momentum, self._limits
        )
        for name, tensor, initializer in (
            ("moving_stddev", "moving_std", standard_deviation),
            ("renorm_mean", "renorm_mean", self.moving_mean_initializer),
            ("renorm_stddev", "renorm_std", standard_deviation),
        ):
            self.show_weight(name, self.correction, tensor, initializer)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        norm = self.norm
        training = self.training and self._is_trained(norm.weight, norm.bias)
        if norm.training != training:  # frozen, or thawed, since the mode was set
            norm.train(training)
        if training and (self.renorm or mask is not None):
            return self._normalize_by_moments(inputs, mask)
        if self._to_front is None:
            return norm(inputs)
        if self._flattens:
            return norm(inputs.flatten(0, 1)).view(inputs.shape)
        return norm(inputs.permute(self._to_front)).permute(self._to_back)

    def _is_trained(self, *parameters: Tensor | None) -> bool:
        """Say whether gain or offset are trained; without them, what was asked for."""
        own = [p for p in parameters if type(p) is nn.Parameter]
        # Tensors in their place, as in `torch.func.functional_call`, do not tell.
        return any(p.requires_grad for p in own) if own else self._trainable

    def _normalize_by_moments(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """Do in training what torch's batch norm cannot: masks and renormalization."""
        norm = self.norm
        # As in Keras, half precision is too narrow for the sums.
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        mean, variance = self._moments(wide, mask)
        scale = torch.rsqrt(variance + norm.eps)
        gain = norm.weight if self.scale else torch.ones_like(scale)
        offset = norm.bias if self.center else torch.zeros_like(scale)
        if self.renorm:
            r, d = self.correction(norm, mean, variance)
            offset = offset + d * gain
            gain = gain * r
        else:
            with torch.no_grad():
                _move(norm.running_mean, mean, norm.momentum)
                _move(norm.running_var, variance, norm.momentum)
        shape = [1] * inputs.ndim
        shape[self._channels_axis] = -1
        outputs = (wide - mean.view(shape)) * (scale * gain).view(shape)
        return (outputs + offset.view(shape)).to(inputs.dtype)

    def _moments(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the elements that the mask leaves in."""
        axes = [a for a in range(inputs.ndim) if a != self._channels_axis]
        if mask is None:
            variance, mean = torch.var_mean(inputs, axes, correction=0)
            return mean, variance
        if mask.ndim != inputs.ndim - 1:
            raise ValueError(
                f"Layer '{self.name}': expected a mask of {inputs.ndim - 1} axes for "
                f"an input of shape {tuple(inputs.shape)}, got {tuple(mask.shape)}."
            )
        mask = mask.bool().unsqueeze(-1)
        count = mask.expand_as(inputs).sum(axes, keepdim=True) + config.epsilon()
        mean = inputs.where(mask, 0).sum(axes, keepdim=True) / count
        centered = (inputs - mean).where(mask, 0)
        variance = centered.square().sum(axes, keepdim=True) / count
        return mean.flatten(), variance.flatten()


def _swap_orders(
    rank: int, axis: int
) -> tuple[tuple[int, ...], tuple[int, ...]] | tuple[None, None]:
    """Return the orders of axes that bring `axis` to the second place, and back."""
    if axis == 1:
        return None, None
    rest = [a for a in range(rank) if a != axis]
    front = (rest[0], axis, *rest[1:])
    return front, tuple(front.index(a) for a in range(rank))


def orders_to_end(
    rank: int, axes: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | tuple[None, None]:
    """Return the orders of axes that bring `axes` to the end, and back.

    Both are None where nothing has to move.
    """
    order = (*[a for a in range(rank) if a not in axes], *axes)
    if order == tuple(range(rank)):
        return None, None
    return order, tuple(order.index(a) for a in range(rank))


@layers.register()
class LayerNormalization(AffineNormalization):
    """Normalizes each sample by its own mean and variance.

    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450.

    Args:
        axis: the axis, or axes, over which mean and variance are taken.
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
        Any, and the same for the outputs. The weights are those of an `nn.LayerNorm` in
        ``layer.norm``.

    Raises:
        TypeError: when `axis` is neither an integer nor several.
        ValueError: when it is not an axis of the input.

    Example:
        >>> LayerNormalization()(torch.tensor([[1.0, 3.0]])).detach().round(decimals=2)
        tensor([[-1.,  1.]])
    """

    _output_sizes = same_sizes

    norm: nn.LayerNorm
    _axes: list[int]
    #: The orders that bring the axes to the end, and back; None where they are there.
    _to_end: tuple[int, ...] | None
    _to_place: tuple[int, ...] | None

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
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
        if kwargs.pop("rms_scaling", False):
            raise NotImplementedError(
                "LayerNormalization: `rms_scaling=True` is not supported; Keras itself "
                "deprecates it. Leave it out."
            )
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
        axes: list[Any] = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if any(isinstance(a, bool) or not hasattr(a, "__index__") for a in axes):
            expected = "an integer or a list of integers"
            message = invalid_argument("LayerNormalization", "axis", expected, axis)
            raise TypeError(message)
        self.axis = axes if isinstance(axis, (list, tuple)) else axes[0]
        self._axes = axes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        rank = len(input_shape)
        axes = positive_axes(self.name, self._axes, rank)
        sizes = [input_shape[a] for a in axes]
        self.norm = empty_module(self, nn.LayerNorm, sizes, self.epsilon)
        self._show_affine(self.norm)
        self.input_spec = InputSpec(
            min_ndim=rank, axes=dict(zip(axes, sizes, strict=True))
        )
        self._to_end, self._to_place = orders_to_end(rank, axes)

    def call(self, inputs: Tensor) -> Tensor:
        if self._to_end is None:
            return self.norm(inputs)
        return self.norm(inputs.permute(self._to_end)).permute(self._to_place)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rms_scaling": False}
