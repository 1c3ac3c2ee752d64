"""Colors, filters and measures of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras._core.operation import Array, operation
from torchkeras.ops.image._layout import (
    as_planes,
    cast_back,
    check_rank,
    sizes_of,
    spatial_axes,
    working_dtype,
)

__all__ = [
    "gaussian_blur",
    "hsv_to_rgb",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "sobel_edges",
    "ssim",
]


# Colors


def _channel_axis(
    owner: str, images: Tensor, data_format: str | None, channels: tuple[int, ...]
) -> int:
    """Return the axis of the channels, of which there must be one of those numbers."""
    check_rank(owner, images)
    last = standardize_data_format(owner, data_format) == "channels_last"
    axis = -1 if last else -3
    if images.shape[axis] not in channels:
        layout = "channels_last" if last else "channels_first"
        expected = f"of {' or '.join(map(str, channels))} channels, {layout}"
        raise ValueError(invalid_argument(owner, "images", expected, images))
    return axis


def _check_real(owner: str, images: Tensor) -> None:
    if not images.is_floating_point():
        raise ValueError(
            invalid_argument(owner, "images", "of a floating-point dtype", images)
        )


@operation("image", class_name="RGBToGrayscale")
def rgb_to_grayscale(images: Array, data_format: str | None = None) -> Tensor:
    """Return the brightness of RGB images, in one channel.

    Args:
        images: an image or a batch of images; of one channel they come back as they
            are.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, 3)`` to ``([batch,] height, width, 1)``.

    Raises:
        ValueError: for another number of axes or channels.

    Example:
        >>> rgb_to_grayscale([[[1.0, 1.0, 0.0]]])
        tensor([[[0.8859]]])
    """
    axis = _channel_axis("rgb_to_grayscale", images, data_format, (1, 3))
    if images.shape[axis] == 1:
        return images.clone()
    red, green, blue = images.unbind(axis)
    gray = 0.2989 * red + 0.587 * green + 0.114 * blue
    return gray.to(images.dtype).unsqueeze(axis)


@operation("image", class_name="RGBToHSV")
def rgb_to_hsv(images: Array, data_format: str | None = None) -> Tensor:
    """Return RGB images as hue, saturation and value, all from 0 to 1.

    Args:
        images: an image or a batch of images, with values from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, 3)`` to the same.

    Raises:
        ValueError: for another number of axes or channels, or another dtype.

    Example:
        >>> rgb_to_hsv([[[0.0, 0.5, 0.0]]])
        tensor([[[0.3333, 1.0000, 0.5000]]])
    """
    axis = _channel_axis("rgb_to_hsv", images, data_format, (3,))
    _check_real("rgb_to_hsv", images)
    tiny = torch.finfo(images.dtype).eps
    images = torch.where(images.abs() < tiny, 0.0, images)
    red, green, blue = images.unbind(axis)
    value = torch.maximum(torch.maximum(red, green), blue)
    extent = value - torch.minimum(torch.minimum(red, green), blue)
    saturation = torch.where(value > 0, extent / torch.where(value > 0, value, 1), 0)
    # A sixth of the circle, per unit of difference between the two lesser colors.
    sixth = 1 / (6 * torch.where(extent > 0, extent, 1))
    hue = torch.where(
        value == green, sixth * (blue - red) + 1 / 3, sixth * (red - green) + 2 / 3
    )
    hue = torch.where(value == red, sixth * (green - blue), hue)
    hue = torch.where(extent > 0, hue, 0) + (hue < 0).to(hue.dtype)
    return torch.stack([hue, saturation, value], dim=axis)


@operation("image", class_name="HSVToRGB")
def hsv_to_rgb(images: Array, data_format: str | None = None) -> Tensor:
    """Return images of hue, saturation and value as RGB.

    Args:
        images: an image or a batch of images, with values from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, 3)`` to the same.

    Raises:
        ValueError: for another number of axes or channels, or another dtype.

    Example:
        >>> hsv_to_rgb([[[0.5, 1.0, 0.5]]])
        tensor([[[0.0000, 0.5000, 0.5000]]])
    """
    axis = _channel_axis("hsv_to_rgb", images, data_format, (3,))
    _check_real("hsv_to_rgb", images)
    hue, saturation, value = images.unbind(axis)
    sixths = hue.remainder(1.0) * 6
    tints = (
        (sixths - 3).abs() - 1,
        2 - (sixths - 2).abs(),
        2 - (sixths - 4).abs(),
    )
    colors = [value * (1 - saturation + saturation * t.clamp(0, 1)) for t in tints]
    return torch.stack(colors, dim=axis)


# Filters


@operation("image")
def gaussian_blur(
    images: Array,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> Tensor:
    """Return images blurred by a Gaussian; beyond the border they are zero.

    Args:
        images: an image or a batch of images.
        kernel_size: the height and the width of the kernel.
        sigma: the standard deviations along height and width.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, channels)`` to the same.

    Raises:
        ValueError: for another number of axes, a size or a deviation that is not
            positive.

    Example:
        >>> gaussian_blur(torch.ones(3, 3, 1), (1, 3))[..., 0]
        tensor([[0.7259, 1.0000, 0.7259],
                [0.7259, 1.0000, 0.7259],
                [0.7259, 1.0000, 0.7259]])
    """
    planes, restore = as_planes("gaussian_blur", images, data_format)
    sizes = sizes_of("gaussian_blur", "kernel_size", kernel_size)
    if not isinstance(sigma, Sequence):
        sigma = (sigma, sigma)
    if len(sigma) != 2:
        expected = "two standard deviations"
        raise ValueError(invalid_argument("gaussian_blur", "sigma", expected, sigma))
    blurred = blur(planes, sizes, [_checked_sigma("gaussian_blur", s) for s in sigma])
    return restore(cast_back(blurred, images.dtype))


def _checked_sigma(owner: str, sigma: float, argument: str = "sigma") -> float:
    value = number_in(owner, argument, sigma, 0.0)
    if value == 0.0:
        expected = "a positive number"
        raise ValueError(invalid_argument(owner, argument, expected, sigma))
    return value


def blur(planes: Tensor, sizes: Sequence[int], sigma: Sequence[float]) -> Tensor:
    """Return ``(batch, channels, height, width)`` blurred, in a floating dtype."""
    planes = planes.to(working_dtype(planes.dtype))
    batch, channels, height, width = planes.shape
    kernels = [gaussian(n, s, planes) for n, s in zip(sizes, sigma, strict=True)]
    pads = [n for size in sizes[::-1] for n in ((size - 1) // 2, size // 2)]
    blurred = F.pad(planes.reshape(batch * channels, 1, height, width), pads)
    blurred = F.conv2d(blurred, kernels[0].view(1, 1, -1, 1))
    blurred = F.conv2d(blurred, kernels[1].view(1, 1, 1, -1))
    return blurred.reshape(batch, channels, height, width)


def gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """Return a Gaussian kernel of one axis, whose sum is 1."""
    steps = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    return torch.softmax(-0.5 * (steps / sigma) ** 2, dim=0)


@operation("image")
def sobel_edges(images: Array, data_format: str | None = None) -> Tensor:
    """Return how fast images change along height and width, by Sobel's filter.

    Args:
        images: a batch of images; beyond the border they are zero.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch, height, width, channels, 2)``;
        the last axis holds the change along height, then along width.

    Raises:
        ValueError: when there are not four axes.

    Example:
        >>> ramp = torch.arange(5.0).expand(1, 5, 5)[..., None]
        >>> sobel_edges(ramp)[0, 2, 2]
        tensor([[0., 8.]])
    """
    if images.ndim != 4:
        expected = "a batch of images, of 4 axes"
        raise ValueError(invalid_argument("sobel_edges", "images", expected, images))
    planes, restore = as_planes("sobel_edges", images, data_format)
    batch, channels, height, width = planes.shape
    planes = planes.reshape(batch * channels, 1, height, width)
    planes = planes.to(working_dtype(images.dtype))
    slope, smooth = planes.new_tensor([-1.0, 0.0, 1.0]), planes.new_tensor([1, 2, 1])
    kernels = torch.stack([torch.outer(slope, smooth), torch.outer(smooth, slope)])
    edges = F.conv2d(planes, kernels[:, None], padding=1)
    edges = cast_back(edges, images.dtype).view(batch, channels, 2, height, width)
    return torch.stack([restore(along) for along in edges.unbind(2)], dim=-1)


# Measures


@operation("image", class_name="SSIM")
def ssim(
    image1: Array,
    image2: Array,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Tensor:
    """Return the structural similarity of images: 1 for equal ones.

    Integer images give real numbers, unlike in Keras, which cuts them to integers.

    Args:
        image1: an image or a batch of images.
        image2: the other, of the same shape.
        max_val: the largest value a pixel can have.
        filter_size: the size of the Gaussian window, an odd number.
        filter_sigma: its standard deviation.
        k1: the first constant that keeps divisions stable.
        k2: the second one.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``(batch, height, width, channels)`` to ``(batch,)``, and
        ``(height, width, channels)`` to ``()``.

    Raises:
        ValueError: when the shapes differ, or the images are smaller than the window.

    Example:
        >>> image = torch.linspace(0, 1, 432).reshape(12, 12, 3)
        >>> ssim(image, image)
        tensor(1.)
    """
    filter_size = positive_integer("ssim", "filter_size", filter_size)
    sigma = _checked_sigma("ssim", filter_sigma, "filter_sigma")
    _check_pair(image1, image2, filter_size, data_format)
    first, _ = as_planes("ssim", image1, data_format, "image1")
    second, _ = as_planes("ssim", image2, data_format, "image2")
    common = torch.promote_types(first.dtype, second.dtype)
    first, second = (p.to(working_dtype(common)) for p in (first, second))
    products = (first, second, first * first, second * second, first * second)
    planes = torch.stack(products).flatten(0, 2).unsqueeze(1)
    window = gaussian(filter_size, sigma, planes)
    planes = F.conv2d(
        F.conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1)
    )
    mean1, mean2, square1, square2, product = planes.unflatten(
        0, (5, *first.shape[:2])
    ).squeeze(3)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    means = mean1 * mean1 + mean2 * mean2
    variances = square1 + square2 - means
    covariance = product - mean1 * mean2
    likeness = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    likeness = likeness / ((means + c1) * (variances + c2))
    result = likeness.mean(dim=(1, 2, 3))
    result = result.squeeze(0) if image1.ndim == 3 else result
    return result.to(image1.dtype) if image1.is_floating_point() else result


def _check_pair(
    image1: Tensor, image2: Tensor, filter_size: int, data_format: str | None
) -> None:
    check_rank("ssim", image1, "image1")
    check_rank("ssim", image2, "image2")
    if image1.shape != image2.shape:
        expected = f"of the shape of `image1`, {tuple(image1.shape)}"
        raise ValueError(invalid_argument("ssim", "image2", expected, image2))
    axes = spatial_axes("ssim", data_format)
    if min(image1.shape[axis] for axis in axes) < filter_size:
        expected = f"at least {filter_size} (`filter_size`) high and wide"
        raise ValueError(invalid_argument("ssim", "image1", expected, image1))
