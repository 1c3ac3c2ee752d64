"""Convolutions and poolings, and images cut into blocks and put together again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.convert import as_floating
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.operation import Array, operation
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.windows import pad_same, pool_same, standardize_sizes

__all__ = [
    "adaptive_average_pool",
    "adaptive_max_pool",
    "average_pool",
    "conv",
    "conv_transpose",
    "depth_to_space",
    "depthwise_conv",
    "fold",
    "max_pool",
    "separable_conv",
    "space_to_depth",
    "unfold",
]

Sizes = int | Sequence[int]


# Torch's own functions of one spatial axis copy inputs whose channels come last, so a
# sequence is an image of height 1 here.


def _spatial_rank(owner: str, inputs: Tensor) -> int:
    """Return the number of spatial axes."""
    if not 3 <= inputs.ndim <= 5:
        expected = "of rank 3, 4 or 5: batch, channels and 1 to 3 spatial axes"
        raise ValueError(invalid_argument(owner, "inputs", expected, inputs))
    return inputs.ndim - 2


def _sizes(owner: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return a positive integer, or one per spatial axis, as two or three of them."""
    sizes = standardize_sizes(owner, argument, value, rank)
    return sizes if rank > 1 else (1, *sizes)


def _is_last(owner: str, data_format: str | None) -> bool:
    return standardize_data_format(owner, data_format) == "channels_last"


def _padding(owner: str, padding: str, rank: int, causal: bool = False) -> str:
    legal = ("valid", "same", "causal") if causal and rank == 1 else ("valid", "same")
    name = padding.lower() if isinstance(padding, str) else padding
    return one_of(owner, "padding", name, legal)


def _to_torch(inputs: Tensor, last: bool) -> Tensor:
    """Return inputs as ``(batch, channels, *spatial)``, a view."""
    inputs = inputs.movedim(-1, 1) if last else inputs
    return inputs.unsqueeze(2) if inputs.ndim == 3 else inputs


def _from_torch(outputs: Tensor, rank: int, last: bool) -> Tensor:
    outputs = outputs.squeeze(2) if rank == 1 else outputs
    return outputs.movedim(1, -1) if last else outputs


def _weight(owner: str, kernel: Tensor, inputs: Tensor) -> Tensor:
    """Return a kernel ``(*spatial, a, b)`` as torch's weight ``(b, a, *spatial)``."""
    if kernel.ndim != inputs.ndim:
        expected = f"of rank {inputs.ndim}, that of the inputs"
        raise ValueError(invalid_argument(owner, "kernel", expected, kernel))
    rank = kernel.ndim - 2
    weight = kernel.permute(rank + 1, rank, *range(rank))
    return weight.unsqueeze(2) if rank == 1 else weight


def _of_one_dtype(inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    if inputs.dtype == weight.dtype:
        return inputs, weight
    dtype = torch.promote_types(inputs.dtype, weight.dtype)
    return inputs.to(dtype), weight.to(dtype)


def _check_fit(
    owner: str, inputs: Tensor, extents: Sequence[int], hint: str = ""
) -> None:
    """Refuse inputs of torch's layout that are smaller than a window."""
    spatial = inputs.shape[2:]
    if any(size < extent for size, extent in zip(spatial, extents, strict=True)):
        raise ValueError(
            f"{owner}: the spatial axes of the inputs must be at least as large as "
            f"the window, {tuple(extents)}, got {tuple(spatial)}. Take a smaller "
            f"window, padding='same', or larger inputs.{hint}"
        )


def _convolve(
    owner: str,
    inputs: Tensor,
    kernel: Tensor,
    strides: Sizes,
    padding: str,
    data_format: str | None,
    dilation_rate: Sizes,
) -> Tensor:
    rank = _spatial_rank(owner, inputs)
    strides = _sizes(owner, "strides", strides, rank)
    dilation = _sizes(owner, "dilation_rate", dilation_rate, rank)
    padding = _padding(owner, padding, rank, causal=True)
    last = _is_last(owner, data_format)
    inputs, weight = _of_one_dtype(
        _to_torch(inputs, last), _weight(owner, kernel, inputs)
    )
    groups = _groups(owner, inputs, weight)
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    pads = [0] * len(extents)
    if padding == "valid":
        _check_fit(owner, inputs, extents)
    elif padding == "causal":
        inputs = F.pad(inputs, (extents[-1] - 1, 0))
    else:
        inputs, pads = pad_same(inputs, weight.shape[2:], strides, dilation)
    convolve = F.conv3d if rank == 3 else F.conv2d
    outputs = convolve(inputs, weight, None, strides, pads, dilation, groups)
    return _from_torch(outputs, rank, last)


def _groups(owner: str, inputs: Tensor, weight: Tensor) -> int:
    channels, filters = inputs.shape[1], weight.shape[0]
    # Not `divmod`: `torch.compile` has none for sizes that vary.
    groups = channels // weight.shape[1]
    if channels % weight.shape[1] or not groups or filters % groups:
        raise ValueError(
            f"{owner}: the number of input channels must be that of the kernel, or, "
            "for groups, a multiple of it that divides the filters as well, got "
            f"{channels} input channels for a kernel of {weight.shape[1]} channels and "
            f"{filters} filters."
        )
    return groups


@operation("nn")
def conv(
    inputs: Array,
    kernel: Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Slide a kernel over 1 to 3 spatial axes.

    Channels that come last are torch's ``channels_last`` memory format, without a copy.

    Args:
        inputs: the inputs.
        kernel: the kernel. When it has fewer input channels than the inputs, these are
            split into groups.
        strides: the distance between windows, one or one per spatial axis.
        padding: ``"valid"`` (none), ``"same"`` (one window per `strides` steps) or, for
            one spatial axis, ``"causal"`` (a window ends where its output stands).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.

    Shape:
        ``(batch, *spatial, channels)`` and ``(*window, channels // groups, filters)``
        to ``(batch, *new_spatial, filters)``.

    Raises:
        ValueError: for illegal arguments, shapes that do not belong together, and
            inputs smaller than the window.

    Example:
        >>> conv(torch.ones(1, 8, 8, 3), torch.ones(3, 3, 3, 4), padding="same").shape
        torch.Size([1, 8, 8, 4])
    """
    return _convolve(
        "conv", inputs, kernel, strides, padding, data_format, dilation_rate
    )


def _depthwise(
    owner: str,
    inputs: Tensor,
    kernel: Tensor,
    strides: Sizes,
    padding: str,
    data_format: str | None,
    dilation_rate: Sizes,
) -> Tensor:
    rank = _spatial_rank(owner, inputs)
    channels = inputs.shape[-1 if _is_last(owner, data_format) else 1]
    if kernel.ndim != rank + 2 or kernel.shape[-2] != channels:
        expected = f"of shape (*window, {channels}, multiplier)"
        raise ValueError(
            invalid_argument(owner, "the depthwise kernel", expected, kernel)
        )
    # Each channel is a group of its own.
    kernel = kernel.flatten(-2).unsqueeze(-2)
    return _convolve(
        owner, inputs, kernel, strides, padding, data_format, dilation_rate
    )


@operation("nn")
def depthwise_conv(
    inputs: Array,
    kernel: Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Slide kernels over each channel by itself.

    Args:
        inputs: the inputs.
        kernel: the kernels, `multiplier` of them for each channel.
        strides: the distance between windows, one or one per spatial axis.
        padding: ``"valid"``, ``"same"`` or ``"causal"``, as in `conv`.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.

    Shape:
        ``(batch, *spatial, channels)`` and ``(*window, channels, multiplier)`` to
        ``(batch, *new_spatial, channels * multiplier)``.

    Raises:
        ValueError: as in `conv`.

    Example:
        >>> depthwise_conv(torch.ones(1, 8, 8, 3), torch.ones(3, 3, 3, 2)).shape
        torch.Size([1, 6, 6, 6])
    """
    return _depthwise(
        "depthwise_conv", inputs, kernel, strides, padding, data_format, dilation_rate
    )


@operation("nn")
def separable_conv(
    inputs: Array,
    depthwise_kernel: Array,
    pointwise_kernel: Array,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Slide kernels over each channel, and mix the channels at each point.

    Args:
        inputs: the inputs.
        depthwise_kernel: the kernel of `depthwise_conv`.
        pointwise_kernel: the weights of the mix.
        strides: the distance between windows, one or one per spatial axis.
        padding: ``"valid"``, ``"same"`` or ``"causal"``, as in `conv`.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.

    Shape:
        ``(batch, *spatial, channels)``, ``(*window, channels, multiplier)`` and
        ``(1, ..., channels * multiplier, filters)`` to
        ``(batch, *new_spatial, filters)``.

    Raises:
        ValueError: as in `conv`.

    Example:
        >>> x, depthwise = torch.ones(1, 8, 8, 3), torch.ones(3, 3, 3, 2)
        >>> separable_conv(x, depthwise, torch.ones(1, 1, 6, 4)).shape
        torch.Size([1, 6, 6, 4])
    """
    owner = "separable_conv"
    outputs = _depthwise(
        owner, inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
    )
    return _convolve(owner, outputs, pointwise_kernel, 1, "valid", data_format, 1)


@operation("nn")
def conv_transpose(
    inputs: Array,
    kernel: Array,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes | None = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """Spread each input over a window of the output: the transpose of `conv`.

    Args:
        inputs: the inputs.
        kernel: the kernel.
        strides: the distance between windows, one or one per spatial axis.
        padding: ``"valid"`` (all that windows cover is kept) or ``"same"`` (`strides`
            outputs per input).
        output_padding: how much longer the output is than the shortest for which `conv`
            would give the inputs back; chosen by default.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        dilation_rate: the distance between the elements of a window.

    Shape:
        ``(batch, *spatial, channels)`` and ``(*window, filters, channels)`` to
        ``(batch, *new_spatial, filters)``.

    Raises:
        ValueError: for illegal arguments, and shapes that do not belong together.

    Example:
        >>> x, kernel = torch.ones(1, 8, 8, 3), torch.ones(3, 3, 4, 3)
        >>> conv_transpose(x, kernel, strides=2, padding="same").shape
        torch.Size([1, 16, 16, 4])
    """
    owner = "conv_transpose"
    rank = _spatial_rank(owner, inputs)
    strides = _sizes(owner, "strides", strides, rank)
    dilation = _sizes(owner, "dilation_rate", dilation_rate, rank)
    padding = _padding(owner, padding, rank)
    longer = _output_padding(owner, output_padding, rank)
    last = _is_last(owner, data_format)
    weight = _weight(owner, kernel, inputs)
    inputs = _to_torch(inputs, last)
    if inputs.shape[1] != weight.shape[0]:
        expected = f"of shape (*window, filters, {inputs.shape[1]})"
        raise ValueError(invalid_argument(owner, "kernel", expected, kernel))
    inputs, weight = _of_one_dtype(inputs, weight)
    axes = zip(weight.shape[2:], strides, dilation, longer, strict=True)
    crops = [
        _crops((window - 1) * step + 1, stride, padding, more)
        for window, stride, step, more in axes
    ]
    # Torch cuts both sides alike, and then adds less than a step after.
    before = [start for start, _ in crops]
    after = [
        min(max(start - end, 0), max(stride, step) - 1)
        for (start, end), stride, step in zip(crops, strides, dilation, strict=True)
    ]
    convolve = F.conv_transpose3d if rank == 3 else F.conv_transpose2d
    outputs = convolve(inputs, weight, None, strides, before, after, 1, dilation)
    rest = [start - end - more for (start, end), more in zip(crops, after, strict=True)]
    if any(rest):  # to cut after, where negative
        outputs = F.pad(outputs, [n for more in reversed(rest) for n in (0, more)])
    return _from_torch(outputs, rank, last)


def _output_padding(owner: str, value: Any, rank: int) -> tuple[int | None, ...]:
    if value is None:
        return (None,) * max(rank, 2)
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank
    if len(sizes) != rank or not all(isinstance(n, int) and n >= 0 for n in sizes):
        expected = f"None, an integer from 0, or {rank} of them"
        raise ValueError(invalid_argument(owner, "output_padding", expected, value))
    return sizes if rank > 1 else (0, *sizes)


def _crops(
    extent: int, stride: int, padding: str, output_padding: int | None
) -> tuple[int, int]:
    """Return how much to cut off the start and the end of all that windows cover.

    Where the second is negative, the output goes on with zeros.
    """
    if padding == "valid":
        longer = max(stride - extent, 0) if output_padding is None else output_padding
        return 0, -longer
    kept = extent + stride - 2
    if output_padding is not None:
        kept = extent + extent % 2 - 2 + output_padding
    start = min((kept + 1) // 2, extent - 1)
    return extent - 1 - start, extent - 1 - (kept - start)


def _pool(
    owner: str,
    kernels: dict[int, Callable[..., Any]],
    inputs: Tensor,
    pool_size: Sizes,
    strides: Sizes | None,
    padding: str,
    data_format: str | None,
    **padded: Any,
) -> Tensor:
    """Pool by torch's kernel, which `padded` makes leave padding out of account."""
    rank = _spatial_rank(owner, inputs)
    window = _sizes(owner, "pool_size", pool_size, rank)
    strides = window if strides is None else _sizes(owner, "strides", strides, rank)
    padding = _padding(owner, padding, rank)
    last = _is_last(owner, data_format)
    inputs = _to_torch(inputs, last)
    pool = kernels[max(rank, 2)]
    if padding == "valid":
        _check_fit(owner, inputs, window)
        outputs = pool(inputs, window, strides)
    else:
        outputs = pool_same(pool, inputs, window, strides, **padded)
    return _from_torch(outputs, rank, last)


@operation("nn")
def max_pool(
    inputs: Array,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Return the largest value of each window over 1 to 3 spatial axes.

    Args:
        inputs: the inputs.
        pool_size: the size of the window, one or one per spatial axis.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, *spatial, channels)`` to ``(batch, *new_spatial, channels)``.

    Raises:
        ValueError: for illegal arguments, and inputs smaller than the window.

    Example:
        >>> max_pool(torch.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([1., 3.])
    """
    kernels = {2: torch.max_pool2d, 3: torch.max_pool3d}
    # There are kernels for integers on the CPU alone; float64 holds 53 bits of them.
    exact = inputs.is_floating_point() or inputs.device.type in ("cpu", "meta")
    outputs = _pool(
        "max_pool",
        kernels,
        inputs if exact else inputs.double(),
        pool_size,
        strides,
        padding,
        data_format,
    )
    return outputs.to(inputs.dtype)


@operation("nn")
def average_pool(
    inputs: Array,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Return the mean of each window over 1 to 3 spatial axes.

    Args:
        inputs: the inputs.
        pool_size: the size of the window, one or one per spatial axis.
        strides: the distance between windows; `pool_size` by default.
        padding: ``"valid"`` (none) or ``"same"`` (one window per `strides` steps; the
            mean is over the steps that exist).
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, *spatial, channels)`` to ``(batch, *new_spatial, channels)``.

    Raises:
        ValueError: for illegal arguments, and inputs smaller than the window.

    Example:
        >>> average_pool(torch.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([0.5000, 2.5000])
    """
    return _pool(
        "average_pool",
        {2: F.avg_pool2d, 3: F.avg_pool3d},
        as_floating(inputs),
        pool_size,
        strides,
        padding,
        data_format,
        count_include_pad=False,
    )


def _adaptive(
    owner: str,
    kernels: dict[int, Callable[..., Any]],
    inputs: Tensor,
    output_size: Sizes,
    data_format: str | None,
) -> Tensor:
    rank = _spatial_rank(owner, inputs)
    sizes = _sizes(owner, "output_size", output_size, rank)
    last = _is_last(owner, data_format)
    outputs = kernels[max(rank, 2)](_to_torch(as_floating(inputs), last), sizes)
    return _from_torch(outputs, rank, last)


@operation("nn")
def adaptive_average_pool(
    inputs: Array, output_size: Sizes, data_format: str | None = None
) -> Tensor:
    """Return the means of as many windows as the output is to have.

    Args:
        inputs: the inputs.
        output_size: the size of the output, one or one per spatial axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, *spatial, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> adaptive_average_pool(torch.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([0.5000, 2.5000])
    """
    kernels = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
    return _adaptive("adaptive_average_pool", kernels, inputs, output_size, data_format)


@operation("nn")
def adaptive_max_pool(
    inputs: Array, output_size: Sizes, data_format: str | None = None
) -> Tensor:
    """Return the largest values of as many windows as the output is to have.

    Args:
        inputs: the inputs.
        output_size: the size of the output, one or one per spatial axis.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, *spatial, channels)`` to ``(batch, *output_size, channels)``.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> adaptive_max_pool(torch.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([1., 3.])
    """
    kernels = {2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
    return _adaptive("adaptive_max_pool", kernels, inputs, output_size, data_format)


class _Blocks(NamedTuple):
    """The arguments of `unfold` and `fold`, two numbers each."""

    window: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    @classmethod
    def of(
        cls, owner: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
    ) -> _Blocks:
        return cls(
            _pair(owner, "kernel_size", kernel_size),
            _pair(owner, "dilation", dilation),
            _pair(owner, "padding", padding, least=0),
            _pair(owner, "stride", stride),
        )

    def number(self, owner: str, height: int, width: int) -> int:
        """Return how many windows there are in an image."""
        counts = [
            (size + 2 * pad - (window - 1) * step - 1) // stride + 1
            for size, window, step, pad, stride in zip(
                (height, width), *self, strict=True
            )
        ]
        if min(counts) < 1:
            raise ValueError(
                f"{owner}: the images must be at least as large as the window, "
                f"`kernel_size={self.window}` with `dilation={self.dilation}`, got "
                f"{(height, width)} and `padding={self.padding}`."
            )
        return math.prod(counts)


def _pair(owner: str, argument: str, value: Any, least: int = 1) -> tuple[int, int]:
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(sizes) != 2 or not all(isinstance(n, int) and n >= least for n in sizes):
        expected = f"an integer from {least}, or two of them"
        raise ValueError(invalid_argument(owner, argument, expected, value))
    return sizes


@operation("nn")
def unfold(
    x: Array,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Return the windows of images as columns.

    Args:
        x: the images, channels first.
        kernel_size: the size of the window, one or two numbers.
        dilation: the distance between the elements of a window.
        padding: the zeros on either side.
        stride: the distance between windows.

    Shape:
        ``(batch, channels, height, width)`` to
        ``(batch, channels * kernel height * kernel width, windows)``.

    Raises:
        ValueError: for illegal arguments, and images smaller than the window.

    Example:
        >>> unfold(torch.ones(1, 2, 4, 4), 2, stride=2).shape
        torch.Size([1, 8, 4])
    """
    owner = "unfold"
    _check_rank(owner, x, "(batch, channels, height, width)", 4)
    blocks = _Blocks.of(owner, kernel_size, dilation, padding, stride)
    blocks.number(owner, *x.shape[2:])
    return F.unfold(x, *blocks)


def _infer_fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> KerasTensor:
    # An unknown number of windows is right; that of a run on `meta` would not be.
    blocks, sizes = _fold_arguments(
        x, output_size, kernel_size, dilation, padding, stride
    )
    batch, rows, _ = x.shape
    channels = None if rows is None else rows // math.prod(blocks.window)
    return KerasTensor((batch, channels, *sizes), x.dtype)


def _fold_arguments(
    x: Any, output_size: Any, *of_blocks: Any
) -> tuple[_Blocks, tuple[int, int]]:
    """Check the arguments of `fold`, whose tensor may be symbolic."""
    owner = "fold"
    _check_rank(owner, x, "(batch, channels * window, windows)", 3)
    sizes = _pair(owner, "output_size", output_size)
    blocks = _Blocks.of(owner, *of_blocks)
    count, window = blocks.number(owner, *sizes), math.prod(blocks.window)
    _, rows, columns = x.shape
    if (rows or 0) % window or columns not in (None, count):
        expected = f"of shape (batch, channels * {window}, {count})"
        raise ValueError(invalid_argument(owner, "x", expected, x))
    return blocks, sizes


@operation("nn", infer=_infer_fold)
def fold(
    x: Array,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Put windows together to images, as a sum where they overlap.

    Args:
        x: the windows, as `unfold` gives them.
        output_size: the height and width of the images.
        kernel_size: the size of the window, one or two numbers.
        dilation: the distance between the elements of a window.
        padding: the zeros on either side that the images had.
        stride: the distance between windows.

    Shape:
        ``(batch, channels * kernel height * kernel width, windows)`` to
        ``(batch, channels, height, width)``.

    Raises:
        ValueError: for illegal arguments, and windows that are not as many as the
            images have.

    Example:
        >>> fold(torch.ones(1, 8, 4), (4, 4), 2, stride=2).shape
        torch.Size([1, 2, 4, 4])
    """
    blocks, sizes = _fold_arguments(
        x, output_size, kernel_size, dilation, padding, stride
    )
    return F.fold(x, sizes, *blocks)


def _check_rank(owner: str, x: Any, shape: str, rank: int) -> None:
    if x.ndim != rank:
        raise ValueError(invalid_argument(owner, "x", f"of shape {shape}", x))


def _check_block(owner: str, x: Any, block_size: Any) -> None:
    _check_rank(owner, x, "(batch, *height and width, channels*)", 4)
    if positive_integer(owner, "block_size", block_size) < 2:
        expected = "an integer, at least 2"
        raise ValueError(invalid_argument(owner, "block_size", expected, block_size))


@operation("nn")
def depth_to_space(
    x: Array, block_size: int, data_format: str = "channels_last"
) -> Tensor:
    """Spread the channels of each pixel over a block of pixels.

    As in Keras the channels are ordered by the place in the block, and within it by the
    new channel; with channels first, it is by the new channel first, as in
    `torch.nn.functional.pixel_shuffle`.

    Args:
        x: the images.
        block_size: the height and width of a block, at least 2.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Shape:
        ``(batch, height, width, channels * block_size**2)`` to
        ``(batch, height * block_size, width * block_size, channels)``.

    Raises:
        ValueError: for another rank, an illegal block, or channels that are no multiple
            of its size.

    Example:
        >>> depth_to_space(torch.ones(1, 2, 2, 12), 2).shape
        torch.Size([1, 4, 4, 3])
    """
    owner, block = "depth_to_space", block_size
    last = _is_last(owner, data_format)
    _check_block(owner, x, block)
    channels = x.shape[-1 if last else 1]
    if channels % block**2:
        raise ValueError(
            f"{owner}: the number of channels must be a multiple of `block_size**2`, "
            f"{block**2}, got {channels} in an input of shape {tuple(x.shape)}."
        )
    if not last:
        return F.pixel_shuffle(x, block)
    batch, height, width, _ = x.shape
    blocks = x.reshape(batch, height, width, block, block, -1).transpose(2, 3)
    return blocks.reshape(batch, height * block, width * block, -1)


def _infer_space_to_depth(
    x: Any, block_size: int, data_format: str = "channels_last"
) -> KerasTensor:
    # What stands for unknown sizes in a run on `meta` is no multiple of all blocks.
    last = _are_whole_blocks(x, block_size, data_format)
    sizes = list(x.shape)
    for axis in (1, 2) if last else (2, 3):
        sizes[axis] = None if sizes[axis] is None else sizes[axis] // block_size
    axis = 3 if last else 1
    sizes[axis] = None if sizes[axis] is None else sizes[axis] * block_size**2
    return KerasTensor(sizes, x.dtype)


def _are_whole_blocks(x: Any, block_size: int, data_format: str) -> bool:
    """Check the arguments of `space_to_depth`; return whether channels come last."""
    owner = "space_to_depth"
    last = _is_last(owner, data_format)
    _check_block(owner, x, block_size)
    height, width = x.shape[1:3] if last else x.shape[2:]
    if (height or 0) % block_size or (width or 0) % block_size:
        raise ValueError(
            f"{owner}: height and width must be multiples of `block_size`, "
            f"{block_size}, got an input of shape {tuple(x.shape)} in {data_format} "
            "order."
        )
    return last


@operation("nn", infer=_infer_space_to_depth)
def space_to_depth(
    x: Array, block_size: int, data_format: str = "channels_last"
) -> Tensor:
    """Stack the pixels of each block as channels: the inverse of `depth_to_space`.

    Args:
        x: the images.
        block_size: the height and width of a block, at least 2.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Shape:
        ``(batch, height * block_size, width * block_size, channels)`` to
        ``(batch, height, width, channels * block_size**2)``.

    Raises:
        ValueError: for another rank, an illegal block, or images that are not made up
            of whole blocks.

    Example:
        >>> space_to_depth(torch.ones(1, 4, 4, 3), 2).shape
        torch.Size([1, 2, 2, 12])
    """
    block = block_size
    if not _are_whole_blocks(x, block, data_format):
        return F.pixel_unshuffle(x, block)
    batch, height, width, channels = x.shape
    height, width = height // block, width // block
    blocks = x.reshape(batch, height, block, width, block, channels).transpose(2, 3)
    return blocks.reshape(batch, height, width, -1)
