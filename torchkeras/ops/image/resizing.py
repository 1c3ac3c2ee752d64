"""Images resized, cropped, padded, cut into patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.operation import Array, Operand, operation
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.windows import same_padding
from torchkeras.ops.image._layout import (
    as_planes,
    cast_back,
    check_rank,
    sizes_of,
    spatial_axes,
    working_dtype,
)

__all__ = [
    "crop_images",
    "extract_patches",
    "extract_patches_3d",
    "pad_images",
    "resize",
    "scale_and_translate",
]

_INTERPOLATIONS = {
    "bilinear": "bilinear",
    "nearest": "nearest-exact",
    "bicubic": "bicubic",
}


# Sizes


@operation("image")
def resize(
    images: Array,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Return images in another size.

    Args:
        images: an image or a batch of images; integers come back rounded.
        size: the new height and width.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"lanczos3"``,
            ``"lanczos5"``, ``"area"``, ``"gaussian"`` or ``"mitchellcubic"``.
        antialias: whether to widen the kernel when images become smaller; it changes
            nothing for ``"nearest"``.
        crop_to_aspect_ratio: whether to keep proportions and cut off what is over.
        pad_to_aspect_ratio: whether to keep proportions and fill what is missing.
        fill_mode: ``"constant"``, the only one.
        fill_value: what to fill with.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, channels)`` to ``([batch,] *size, channels)``.

    Raises:
        ValueError: for another number of axes or of sizes, an unknown interpolation,
            or both ways to keep proportions at once.

    Example:
        >>> resize(torch.arange(4.0).reshape(1, 4, 1), (1, 2))[0, :, 0]
        tensor([0.5000, 2.5000])
    """
    legal = [*_INTERPOLATIONS, "lanczos3", "lanczos5", "area", *_TF_KERNELS]
    one_of("resize", "interpolation", interpolation, legal)
    one_of("resize", "fill_mode", fill_mode, ["constant"])
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "resize: only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` may "
            "be True."
        )
    height, width = sizes_of("resize", "size", size)
    planes, restore = as_planes("resize", images, data_format)
    if crop_to_aspect_ratio:
        planes = _cropped(planes, height, width)
    elif pad_to_aspect_ratio:
        planes = _padded(planes, height, width, fill_value)
    planes = planes.to(working_dtype(images.dtype))
    if interpolation in _INTERPOLATIONS:
        smooth = interpolation != "nearest"
        planes = F.interpolate(
            planes,
            (height, width),
            mode=_INTERPOLATIONS[interpolation],
            align_corners=False if smooth else None,
            antialias=antialias and smooth,
        )
    else:
        planes = _resampled(planes, (height, width), interpolation, antialias)
    return restore(cast_back(_saturated(planes, images.dtype), images.dtype))


def _cropped(planes: Tensor, height: int, width: int) -> Tensor:
    """Return the middle of images, in the proportions of a size."""
    rows, columns = planes.shape[2:]
    kept_rows = max(min(rows, columns * height // width), 1)
    kept_columns = max(min(columns, rows * width // height), 1)
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return planes[:, :, top : top + kept_rows, left : left + kept_columns]


def _padded(planes: Tensor, height: int, width: int, fill_value: float) -> Tensor:
    """Return images in the middle of a frame, in the proportions of a size."""
    rows, columns = planes.shape[2:]
    # Equal on both sides: where the difference is odd, the frame is a pixel short.
    top = max(columns * height // width - rows, 0) // 2
    left = max(rows * width // height - columns, 0) // 2
    return F.pad(planes, (left, left, top, top), value=fill_value)


def _saturated(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Keep what a kernel overshoots within the range of small integers."""
    if dtype in (torch.uint8, torch.int8, torch.int16):
        bounds = torch.iinfo(dtype)
        return values.clamp(bounds.min, bounds.max)
    return values


# Resampling with kernels


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys's kernel, of the third order."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(radius: int) -> Callable[[Tensor], Tensor]:
    def kernel(x: Tensor) -> Tensor:
        window = torch.sinc(x) * torch.sinc(x / radius)
        return torch.where(x < radius, window, 0.0)

    return kernel


def _gaussian(x: Tensor) -> Tensor:
    """A bell of the standard deviation 0.5, cut off at 1.5."""
    return torch.where(x < 1.5, torch.exp(-2 * x**2), 0.0)


def _mitchell(x: Tensor) -> Tensor:
    """Mitchell and Netravali's kernel with B = C = 1/3."""
    near = ((7 / 6 * x - 2) * x) * x + 8 / 9
    far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


#: Those that TensorFlow has, and Keras by it.
_TF_KERNELS = {"gaussian": _gaussian, "mitchellcubic": _mitchell}
#: The weight of a pixel, by its distance.
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), _triangle),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _cubic),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


def _weights(
    old: int, new: int, scale: Tensor, shift: Tensor, method: str, antialias: bool
) -> Tensor:
    """Return the weights ``(old, new)`` of old pixels in the new ones of an axis."""
    old_at = torch.arange(old, dtype=scale.dtype, device=scale.device)
    new_at = torch.arange(new, dtype=scale.dtype, device=scale.device)
    at = (new_at + 0.5 - shift) / scale - 0.5
    distance = (at - old_at[:, None]).abs()
    if antialias:
        distance = distance * scale.clamp(max=1)
    weights = (_KERNELS | _TF_KERNELS)[method](distance)
    total = weights.sum(0)
    fits = (at >= -0.5) & (at <= old - 0.5) & (total.abs() > 1e-4)
    return torch.where(fits, weights / torch.where(fits, total, 1), 0)


def _shares(old: int, new: int, scale: Tensor) -> Tensor:
    """Return what share each old pixel of an axis has in the area of each new one."""
    old_at = torch.arange(old, dtype=scale.dtype, device=scale.device)[:, None]
    new_at = torch.arange(new, dtype=scale.dtype, device=scale.device) / scale
    first = torch.maximum(old_at, new_at)
    last = torch.minimum(old_at + 1, new_at + 1 / scale)
    return (last - first).clamp(min=0) * scale


def _resampled(
    planes: Tensor, size: tuple[int, int], method: str, antialias: bool
) -> Tensor:
    for axis, new in zip((2, 3), size, strict=True):
        old = planes.shape[axis]
        scale = planes.new_tensor(new / old)
        if method == "area":
            weights = _shares(old, new, scale)
        else:
            shift = torch.zeros_like(scale)
            weights = _weights(old, new, scale, shift, method, antialias)
        planes = (planes.movedim(axis, -1) @ weights).movedim(-1, axis)
    return planes


@operation("image")
def scale_and_translate(
    images: Array,
    output_shape: Operand,
    scale: Array,
    translation: Array,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Tensor:
    """Return images stretched and moved along some of their axes.

    What lies at ``x`` comes to ``x * scale + translation``, where the first pixel is
    centered at 0.5. What comes from beyond the border is zero.

    Args:
        images: the images, of any layout; integers come back rounded.
        output_shape: the shape of the result; only its `spatial_dims` differ from the
            shape of `images`.
        scale: the factor for each of the `spatial_dims`.
        translation: the shift for each of them, in new pixels.
        spatial_dims: the axes.
        method: ``"linear"``, ``"bilinear"``, ``"trilinear"`` or ``"triangle"``;
            ``"cubic"``, ``"bicubic"`` or ``"tricubic"``; ``"lanczos3"`` or
            ``"lanczos5"``.
        antialias: whether to widen the kernel where images become smaller.

    Raises:
        ValueError: when the numbers of axes differ, or for an unknown method.

    Example:
        >>> image = torch.arange(4.0).reshape(1, 4, 1)
        >>> scale_and_translate(image, (1, 2, 1), [0.5], [0.0], (1,), "linear").ravel()
        tensor([0.7143, 2.2857])
    """
    owner = "scale_and_translate"
    one_of(owner, "method", method, list(_KERNELS))
    sizes = sizes_of(owner, "output_shape", tuple(output_shape), images.ndim)
    axes = [axis % images.ndim for axis in spatial_dims]
    for name, numbers in (("scale", scale), ("translation", translation)):
        if numbers.shape != (len(axes),):
            expected = f"one number for each of the {len(axes)} `spatial_dims`"
            raise ValueError(invalid_argument(owner, name, expected, numbers))
    kept = [axis for axis in range(images.ndim) if axis not in axes]
    if any(sizes[axis] != images.shape[axis] for axis in kept):
        expected = f"that of `images`, {tuple(images.shape)}, save in `spatial_dims`"
        raise ValueError(invalid_argument(owner, "output_shape", expected, sizes))
    dtype = working_dtype(torch.promote_types(scale.dtype, translation.dtype))
    outputs = images.to(working_dtype(images.dtype))
    for i, axis in enumerate(axes):
        old, new = images.shape[axis], sizes[axis]
        factor, shift = scale[i].to(dtype), translation[i].to(dtype)
        weights = _weights(old, new, factor, shift, method, antialias)
        outputs = outputs.movedim(axis, -1) @ weights.to(outputs.dtype)
        outputs = outputs.movedim(-1, axis)
    if not images.is_floating_point() and axes:
        low, high = images.aminmax()
        outputs = outputs.round().clamp(low, high)
    return cast_back(outputs, images.dtype)


# Borders


def _margins(
    owner: str, sign: int, size: int | None, given: dict[str, int | None]
) -> tuple[int | None, int | None, int | None]:
    """Return what is put (or cut off, if `sign` is -1) before and after, and the size.

    Of an axis of unknown size, what does not follow from the given two is None.
    """
    names = list(given)
    if list(given.values()).count(None) != 1:
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(
            f"{owner}: exactly two of `{names[0]}`, `{names[1]}` and `{names[2]}` must "
            f"be given, got {shown}."
        )
    before, after, target = given.values()
    if size is not None:
        if before is not None and after is not None:
            target = size + sign * (before + after)
        elif target is not None:
            rest = sign * (target - size) - (before or 0) - (after or 0)
            before, after = (rest if v is None else v for v in (before, after))
    found = dict(zip(names, (before, after, target), strict=True))
    for name, value in found.items():
        if value is not None and value < 0:
            origin = "" if given[name] is not None else f", of images of size {size}"
            expected = "a non-negative integer"
            hint = f"It follows from the other two{origin}." if origin else ""
            raise ValueError(invalid_argument(owner, name, expected, value, hint))
    return before, after, target


def _frame(
    owner: str,
    sign: int,
    images: Any,
    data_format: str | None,
    rows: dict[str, int | None],
    columns: dict[str, int | None],
) -> list[tuple[int, tuple[int | None, int | None, int | None]]]:
    """Return the axes of height and width, each with its margins and new size."""
    check_rank(owner, images)
    axes = spatial_axes(owner, data_format)
    return [
        (axis, _margins(owner, sign, images.shape[axis], given))
        for axis, given in zip(axes, (rows, columns), strict=True)
    ]


def _pad_frame(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> list[Any]:
    rows = {
        "top_padding": top_padding,
        "bottom_padding": bottom_padding,
        "target_height": target_height,
    }
    columns = {
        "left_padding": left_padding,
        "right_padding": right_padding,
        "target_width": target_width,
    }
    return _frame("pad_images", 1, images, data_format, rows, columns)


def _crop_frame(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> list[Any]:
    rows = {
        "top_cropping": top_cropping,
        "bottom_cropping": bottom_cropping,
        "target_height": target_height,
    }
    columns = {
        "left_cropping": left_cropping,
        "right_cropping": right_cropping,
        "target_width": target_width,
    }
    return _frame("crop_images", -1, images, data_format, rows, columns)


def _framed(frame: Callable[..., list[Any]]) -> Callable[..., KerasTensor]:
    """Return what infers the symbolic images within a frame."""

    def infer(images: Any, *args: Any, **kwargs: Any) -> KerasTensor:
        shape = list(images.shape)
        for axis, (_, _, size) in frame(images, *args, **kwargs):
            shape[axis] = size
        return KerasTensor(shape, images.dtype)

    return infer


@operation("image", infer=_framed(_pad_frame))
def pad_images(
    images: Array,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Return images with zeros around them.

    Of the top, the bottom and the height, two must be given; so of the others.

    Args:
        images: an image or a batch of images.
        top_padding: how many rows to add above.
        left_padding: how many columns to add to the left.
        bottom_padding: how many rows to add below.
        right_padding: how many columns to add to the right.
        target_height: the new height.
        target_width: the new width.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Raises:
        ValueError: for another number of axes, too many or too few arguments, or
            negative numbers of rows or columns.

    Example:
        >>> images = torch.ones(2, 15, 25, 3)
        >>> pad_images(images, 2, 3, target_height=20, target_width=30).shape
        torch.Size([2, 20, 30, 3])
    """
    (_, rows), (axis, columns) = _pad_frame(
        images,
        top_padding,
        left_padding,
        bottom_padding,
        right_padding,
        target_height,
        target_width,
        data_format,
    )
    inner = (0, 0) if axis == -2 else ()
    return F.pad(images, (*inner, *columns[:2], *rows[:2]))


@operation("image", infer=_framed(_crop_frame))
def crop_images(
    images: Array,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Return a part of images.

    Of the top, the bottom and the height, two must be given; so of the others.

    Args:
        images: an image or a batch of images.
        top_cropping: how many rows to cut off above.
        left_cropping: how many columns to cut off to the left.
        bottom_cropping: how many rows to cut off below.
        right_cropping: how many columns to cut off to the right.
        target_height: the new height.
        target_width: the new width.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Raises:
        ValueError: for another number of axes, too many or too few arguments, or
            negative numbers of rows or columns.

    Example:
        >>> images = torch.ones(2, 15, 25, 3)
        >>> crop_images(images, 2, 3, target_height=10, target_width=20).shape
        torch.Size([2, 10, 20, 3])
    """
    frame = _crop_frame(
        images,
        top_cropping,
        left_cropping,
        bottom_cropping,
        right_cropping,
        target_height,
        target_width,
        data_format,
    )
    for axis, (before, _, size) in frame:
        images = images.narrow(axis, before, size)
    return images


# Patches


@operation("image")
def extract_patches(
    images: Array,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Return the patches of images, or of volumes for a `size` of three.

    Args:
        images: an image, a volume, or a batch of them.
        size: the height and width of a patch, or its depth, height and width; an
            integer for a square.
        strides: the steps between patches; `size` by default, so that they do not
            overlap.
        dilation_rate: the steps between the pixels of a patch.
        padding: ``"valid"`` (whole patches only) or ``"same"`` (one patch per
            `strides` steps; zero beyond the border).
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] *spatial, channels)`` to ``([batch,] *patches, pixels * channels)``;
        channels first it is the last axis that comes first.

    Raises:
        ValueError: for another number of axes, or images smaller than a patch.

    Example:
        >>> extract_patches(torch.ones(2, 20, 20, 3), (5, 5)).shape
        torch.Size([2, 4, 4, 75])
    """
    owner = "extract_patches"
    rank = len(size) if isinstance(size, Sequence) else 2
    if rank not in (2, 3):
        expected = "an integer, or a sequence of 2 or 3 of them"
        raise ValueError(invalid_argument(owner, "size", expected, size))
    sizes = sizes_of(owner, "size", size, rank)
    steps = sizes_of(owner, "strides", size if strides is None else strides, rank)
    dilation = sizes_of(owner, "dilation_rate", dilation_rate, rank)
    one_of(owner, "padding", padding, ["valid", "same"])
    if images.ndim not in (rank + 1, rank + 2):
        kind = "an image" if rank == 2 else "a volume"
        expected = f"{kind}, of {rank + 1} axes, or a batch of them, of {rank + 2}"
        raise ValueError(invalid_argument(owner, "images", expected, images))
    last = standardize_data_format(owner, data_format) == "channels_last"
    planes = images.movedim(-1, -rank - 1) if last else images
    first = planes.ndim - rank
    if padding == "same":
        axes = zip(planes.shape[first:], sizes, steps, dilation, strict=True)
        totals = [same_padding(*axis) for axis in axes]
        planes = F.pad(
            planes,
            [n for total in totals[::-1] for n in (total // 2, total - total // 2)],
        )
    for axis in range(rank):
        reach = (sizes[axis] - 1) * dilation[axis] + 1
        if planes.shape[first + axis] < reach:
            expected = f"at least as large as a patch, {sizes} (dilated by {dilation})"
            raise ValueError(invalid_argument(owner, "images", expected, images))
        planes = planes.unfold(first + axis, reach, steps[axis])
        planes = planes[..., :: dilation[axis]]
    # Now the axes are (..., channels, *patches, *pixels).
    planes = planes.movedim(first - 1, -1).flatten(-rank - 1)
    return planes if last else planes.movedim(-1, -rank - 1)


def extract_patches_3d(
    volumes: Array,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Return the patches of volumes.

    Args:
        volumes: a volume, or a batch of them.
        size: the depth, height and width of a patch; an integer for a cube.
        strides: the steps between patches; `size` by default, so that they do not
            overlap.
        dilation_rate: the steps between the pixels of a patch.
        padding: ``"valid"`` or ``"same"``, as in `extract_patches`.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] depth, height, width, channels)`` to ``([batch,] *patches,
        pixels * channels)``; channels first it is the last axis that comes first.

    Raises:
        ValueError: for another number of axes, or volumes smaller than a patch.

    Example:
        >>> extract_patches_3d(torch.ones(2, 9, 9, 9, 3), 3).shape
        torch.Size([2, 3, 3, 3, 81])
    """
    sizes = sizes_of("extract_patches_3d", "size", size, 3)
    return extract_patches(volumes, sizes, strides, dilation_rate, padding, data_format)
