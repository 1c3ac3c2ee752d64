"""Poolings: over windows, over all spatial axes, and to a given size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import one_of
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import Mask
from torchkeras._core.windows import pool_same, standardize_sizes
from torchkeras.layers._masks import as_step_mask
from torchkeras.layers._windows import (
    CHANNELS_TO_BACK,
    CHANNELS_TO_FRONT,
    WindowLayer,
    with_defaults,
)
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import Sizes


class _Pooling(WindowLayer):
    """The base of the poolings over windows."""

    #: Torch's function, and what it needs to leave padding out of account.
    pool: ClassVar[Callable[..., Tensor]]
    padded: ClassVar[dict[str, Any]] = {}

    pool_size: tuple[int, ...]
    _builds_weights = False

    def __init__(
        self,
        pool_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        owner, rank = type(self).__name__, self.rank
        strides = pool_size if strides is None else strides
        self.pool_size = standardize_sizes(owner, "pool_size", pool_size, rank)
        self.strides = standardize_sizes(owner, "strides", strides, rank)
        self.padding = one_of(owner, "padding", str(padding).lower(), ("valid", "same"))
        self.data_format = standardize_data_format(owner, data_format)
        self._set_layout()

    def _window(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        return "pool_size", self.pool_size, self.pool_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._check_window(input_shape)

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        channels = sizes[-1 if self._channels_last else 1]
        return self._sizes_of(sizes[0], self._counts(sizes), channels)

    def call(self, inputs: Tensor) -> Tensor:
        if not self._channels_last:
            return self._pool(inputs)
        return self._pool(inputs.permute(self._to_front)).permute(self._to_back)

    def _pool(self, inputs: Tensor) -> Tensor:
        if self.padding == "valid":
            return self.pool(inputs, self.pool_size, self.strides)
        return pool_same(self.pool, inputs, self.pool_size, self.strides, **self.padded)


class _MaxPooling(_Pooling):
    def __init__(
        self,
        pool_size: int | tuple[int, ...] = 2,
        strides: int | tuple[int, ...] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class _AveragePooling(_Pooling):
    padded: ClassVar[dict[str, Any]] = {"count_include_pad": False}


@layers.register("MaxPool1D")
class MaxPooling1D(_MaxPooling):
    """The largest value of each window over the steps of a sequence.

    Args:
        pool_size: the length of the window.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        name: the name of the layer.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, new_steps, channels)``.

    Raises:
        ValueError: for illegal arguments, or inputs shorter than the window.

    Example:
        >>> MaxPooling1D(2)(torch.arange(4.0).reshape(1, 4, 1)).flatten().tolist()
        [1.0, 3.0]
    """

    rank = 1
    pool = staticmethod(torch.max_pool1d)


@layers.register("MaxPool2D")
class MaxPooling2D(_MaxPooling):
    """The largest value of each window over images.

    Args:
        pool_size: the height and width of the window.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` pixels).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        name: the name of the layer.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, channels)``.

    Raises:
        ValueError: for illegal arguments, or inputs smaller than the window.

    Example:
        >>> MaxPooling2D()(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 4, 4, 3])
    """

    rank = 2
    pool = staticmethod(torch.max_pool2d)

    __init__ = with_defaults(_MaxPooling.__init__, pool_size=(2, 2))


@layers.register("MaxPool3D")
class MaxPooling3D(_MaxPooling):
    """The largest value of each window over volumes; see `MaxPooling2D`.

    Example:
        >>> MaxPooling3D()(torch.ones(2, 8, 8, 8, 3)).shape
        torch.Size([2, 4, 4, 4, 3])
    """

    rank = 3
    pool = staticmethod(torch.max_pool3d)

    __init__ = with_defaults(_MaxPooling.__init__, pool_size=(2, 2, 2))


@layers.register("AvgPool1D")
class AveragePooling1D(_AveragePooling):
    """The mean of each window over the steps of a sequence.

    Args:
        pool_size: the length of the window.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps; the
            mean is over the steps that exist).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        name: the name of the layer.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, new_steps, channels)``.

    Raises:
        ValueError: for illegal arguments, or inputs shorter than the window.

    Example:
        >>> AveragePooling1D(2)(torch.arange(4.0).reshape(1, 4, 1)).flatten().tolist()
        [0.5, 2.5]
    """

    rank = 1
    pool = staticmethod(F.avg_pool1d)


@layers.register("AvgPool2D")
class AveragePooling2D(_AveragePooling):
    """The mean of each window over images.

    Args:
        pool_size: the height and width of the window.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` pixels; the
            mean is over the pixels that exist).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        name: the name of the layer.

    Shape:
        ``(batch, height, width, channels)`` to
        ``(batch, new_height, new_width, channels)``.

    Raises:
        ValueError: for illegal arguments, or inputs smaller than the window.

    Example:
        >>> AveragePooling2D(2, padding="same")(torch.ones(2, 7, 7, 3)).shape
        torch.Size([2, 4, 4, 3])
    """

    rank = 2
    pool = staticmethod(F.avg_pool2d)


@layers.register("AvgPool3D")
class AveragePooling3D(_AveragePooling):
    """The mean of each window over volumes; see `AveragePooling2D`.

    Example:
        >>> AveragePooling3D(2)(torch.ones(2, 8, 8, 8, 3)).shape
        torch.Size([2, 4, 4, 4, 3])
    """

    rank = 3
    pool = staticmethod(F.avg_pool3d)


class _GlobalPooling(Layer):
    """The base of the poolings over all spatial axes."""

    rank: ClassVar[int]
    casts_integers = True

    data_format: str
    keepdims: bool
    #: The spatial axes.
    _axes: tuple[int, ...]

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(type(self).__name__, data_format)
        self.keepdims = keepdims
        first = 1 if self.data_format == "channels_last" else 2
        self._axes = tuple(range(first, first + self.rank))
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _pooled_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes without the spatial axes, or with 1 for each."""
        left = [1 if axis in self._axes else n for axis, n in enumerate(sizes)]
        if not self.keepdims:
            left = [left[0], left[-1 if self._axes[0] == 1 else 1]]
        return tuple(left)


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, inputs: Tensor) -> Tensor:
        return inputs.amax(self._axes, self.keepdims)

    _output_sizes = _GlobalPooling._pooled_sizes


class _GlobalAveragePooling(_GlobalPooling):
    def call(self, inputs: Tensor) -> Tensor:
        return inputs.mean(self._axes, self.keepdims)

    _output_sizes = _GlobalPooling._pooled_sizes


@layers.register("GlobalMaxPool1D")
class GlobalMaxPooling1D(_GlobalMaxPooling):
    """The largest value over the steps of a sequence.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        keepdims: whether the axis of the steps stays, with size 1.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, channels)``.

    Example:
        >>> GlobalMaxPooling1D()(torch.ones(2, 8, 3)).shape
        torch.Size([2, 3])
    """

    rank = 1


@layers.register("GlobalMaxPool2D")
class GlobalMaxPooling2D(_GlobalMaxPooling):
    """The largest value over images.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        keepdims: whether the spatial axes stay, with size 1.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch, channels)``.

    Example:
        >>> GlobalMaxPooling2D(keepdims=True)(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 1, 1, 3])
    """

    rank = 2


@layers.register("GlobalMaxPool3D")
class GlobalMaxPooling3D(_GlobalMaxPooling):
    """The largest value over volumes; see `GlobalMaxPooling2D`.

    Example:
        >>> GlobalMaxPooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
        torch.Size([2, 3])
    """

    rank = 3


@layers.register("GlobalAvgPool1D")
class GlobalAveragePooling1D(_GlobalAveragePooling):
    """The mean over the steps of a sequence, those that a mask leaves out excepted.

    Where a mask leaves out all of them, the mean is 0.

    Source: Lin et al. 2013, https://arxiv.org/abs/1312.4400.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        keepdims: whether the axis of the steps stays, with size 1.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, channels)``.

    Example:
        >>> GlobalAveragePooling1D()(torch.ones(2, 8, 3)).shape
        torch.Size([2, 3])
    """

    rank = 1
    _makes_mask = False  # the mask ends here

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return inputs.mean(self._axes, self.keepdims)
        steps, channels = (1, 2) if self._axes == (1,) else (2, 1)
        mask = as_step_mask(self, mask, inputs, steps).unsqueeze(channels)
        total = inputs.masked_fill(~mask, 0).sum(self._axes, self.keepdims)
        return total / mask.sum(self._axes, self.keepdims).clamp(min=1)

    _output_sizes = _GlobalPooling._pooled_sizes

    def compute_mask(self, inputs: Any, mask: Mask = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


@layers.register("GlobalAvgPool2D")
class GlobalAveragePooling2D(_GlobalAveragePooling):
    """The mean over images.

    Source: Lin et al. 2013, https://arxiv.org/abs/1312.4400.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        keepdims: whether the spatial axes stay, with size 1.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch, channels)``.

    Example:
        >>> GlobalAveragePooling2D()(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 3])
    """

    rank = 2


@layers.register("GlobalAvgPool3D")
class GlobalAveragePooling3D(_GlobalAveragePooling):
    """The mean over volumes; see `GlobalAveragePooling2D`.

    Source: Lin et al. 2013, https://arxiv.org/abs/1312.4400.

    Example:
        >>> GlobalAveragePooling3D()(torch.ones(2, 4, 4, 4, 3)).shape
        torch.Size([2, 3])
    """

    rank = 3


class _AdaptivePooling(Layer):
    """The base of the poolings to a given size."""

    rank: ClassVar[int]
    pool: ClassVar[Callable[..., Tensor]]
    casts_integers = True

    output_size: tuple[int, ...]
    data_format: str
    _channels_last: bool

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner, rank = type(self).__name__, self.rank
        self.output_size = standardize_sizes(owner, "output_size", output_size, rank)
        self.data_format = standardize_data_format(owner, data_format)
        self._channels_last = self.data_format == "channels_last"
        self.input_spec = InputSpec(ndim=rank + 2)

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        if self._channels_last:
            return (sizes[0], *self.output_size, sizes[-1])
        return (*sizes[:2], *self.output_size)

    def call(self, inputs: Tensor) -> Tensor:
        if not self._channels_last:
            return self.pool(inputs, self.output_size)
        inputs = inputs.permute(CHANNELS_TO_FRONT[self.rank])
        return self.pool(inputs, self.output_size).permute(CHANNELS_TO_BACK[self.rank])


@layers.register()
class AdaptiveAveragePooling1D(_AdaptivePooling):
    """The mean of as many windows of a sequence as are asked for.

    The windows cover all steps; their lengths differ by one at most.

    Args:
        output_size: the number of windows.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, output_size, channels)``.

    Raises:
        ValueError: when `output_size` is not positive.

    Example:
        >>> x = torch.arange(6.0).reshape(1, 6, 1)
        >>> AdaptiveAveragePooling1D(2)(x).flatten().tolist()
        [1.0, 4.0]
    """

    rank = 1
    pool = staticmethod(F.adaptive_avg_pool1d)


@layers.register()
class AdaptiveAveragePooling2D(_AdaptivePooling):
    """The mean of as many windows of images as are asked for.

    The windows cover all pixels; their sizes differ by one at most.

    Args:
        output_size: the number of windows along the height and the width.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: when `output_size` is not positive.

    Example:
        >>> AdaptiveAveragePooling2D(4)(torch.ones(2, 9, 7, 3)).shape
        torch.Size([2, 4, 4, 3])
    """

    rank = 2
    pool = staticmethod(F.adaptive_avg_pool2d)


@layers.register()
class AdaptiveAveragePooling3D(_AdaptivePooling):
    """The mean of as many windows of volumes as are asked for.

    The arguments are those of `AdaptiveAveragePooling2D`, with three sizes.

    Example:
        >>> AdaptiveAveragePooling3D(2)(torch.ones(2, 5, 5, 5, 3)).shape
        torch.Size([2, 2, 2, 2, 3])
    """

    rank = 3
    pool = staticmethod(F.adaptive_avg_pool3d)


@layers.register()
class AdaptiveMaxPooling1D(_AdaptivePooling):
    """The largest value of as many windows of a sequence as are asked for.

    The windows cover all steps; their lengths differ by one at most.

    Args:
        output_size: the number of windows.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, steps, channels)`` to ``(batch, output_size, channels)``.

    Raises:
        ValueError: when `output_size` is not positive.

    Example:
        >>> x = torch.arange(6.0).reshape(1, 6, 1)
        >>> AdaptiveMaxPooling1D(2)(x).flatten().tolist()
        [2.0, 5.0]
    """

    rank = 1
    pool = staticmethod(F.adaptive_max_pool1d)


@layers.register()
class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The largest value of as many windows of images as are asked for.

    The windows cover all pixels; their sizes differ by one at most.

    Args:
        output_size: the number of windows along the height and the width.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: when `output_size` is not positive.

    Example:
        >>> AdaptiveMaxPooling2D((4, 2))(torch.ones(2, 9, 7, 3)).shape
        torch.Size([2, 4, 2, 3])
    """

    rank = 2
    pool = staticmethod(F.adaptive_max_pool2d)


@layers.register()
class AdaptiveMaxPooling3D(_AdaptivePooling):
    """The largest value of as many windows of volumes as are asked for.

    The arguments are those of `AdaptiveMaxPooling2D`, with three sizes.

    Example:
        >>> AdaptiveMaxPooling3D(2)(torch.ones(2, 5, 5, 5, 3)).shape
        torch.Size([2, 2, 2, 2, 3])
    """

    rank = 3
    pool = staticmethod(F.adaptive_max_pool3d)


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
