"""Layers that change the colors of images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import ops
from torchkeras._core.config import epsilon
from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import (
    HERE,
    ColorLayer,
    ImageLayer,
    Transformation,
    factor_between,
)
from torchkeras.random import Seed

_BYTE = (0, 255)


class _Factored(ColorLayer):
    """The base of layers that change each image by a random factor.

    Args:
        factor: a number, or a pair of bounds.
        low: the lowest legal bound.
        high: the highest.
        kwargs: arguments of `ColorLayer`.
    """

    def __init__(self, factor: Any, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor_between(type(self).__name__, "factor", factor, low, high)

    def _each(self, factor: Tensor, images: Tensor) -> Tensor:
        """Return a number for each image in the shape in which it meets images."""
        return factor.to(images.dtype).reshape(-1, 1, 1, 1)


@layers.register()
class RandomBrightness(_Factored):
    """Makes each image brighter or darker, at random.

    Args:
        factor: how much at most, in parts of the range: a number from -1 to 1 for both
            directions, or a pair of bounds.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs, whose
        values stay in the range.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomBrightness((0.2, 0.2), value_range=(0, 1))
        >>> layer(torch.tensor([[[0.5], [0.9]]])).flatten()
        tensor([0.7000, 1.0000])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(factor, -1, 1, value_range=value_range, seed=seed, **kwargs)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shape = (*self._shape_of(data)[:-3], 1, 1, 1)
        low, high = self.value_range
        delta = self._uniform(data, shape, *self.factor, seed=seed) * (high - low)
        return {"rgb_delta": delta}

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        if not training:
            return images
        delta: Tensor = transformation["rgb_delta"].to(images.dtype)
        return self._between(images + delta)


@layers.register()
class RandomContrast(_Factored):
    """Draws the values of each image and channel away from their mean, at random.

    Args:
        factor: the largest change: for a number, differences grow by up to that part;
            for a pair they shrink by up to the first and grow by up to the second. From
            0 to 1.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs, whose
        values stay in the range.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomContrast(0.5, seed=0)
        >>> layer(torch.full((1, 4, 4, 3), 7.0)).unique()
        tensor([7.])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(factor, 0, 1, value_range=value_range, seed=seed, **kwargs)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        less, more = self.factor
        shape = (*self._shape_of(data)[:-3], 1, 1, 1)
        drawn = self._uniform(data, shape, 1.0 - less, 1.0 + more, seed=seed)
        return {"contrast_factor": drawn}

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        if not training:
            return images
        mean = images.mean(self._axes(), keepdim=True)
        factor = transformation["contrast_factor"].to(images.dtype)
        return self._between((images - mean) * factor + mean)


@layers.register()
class RandomSaturation(_Factored):
    """Makes the colors of each image paler or stronger, at random.

    Args:
        factor: a pair of bounds from 0 (gray) over 0.5 (as it is) to 1 (as strong as
            can be); a number stands for the bounds from minus that, which is gray.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomSaturation((0.0, 0.0), value_range=(0, 1))
        >>> layer(torch.tensor([[[0.2, 0.4, 0.8]]])).flatten()
        tensor([0.8000, 0.8000, 0.8000])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, -1, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        shape = (self._count_of(data),)
        drawn = self._uniform(data, shape, *self.factor, seed=seed)
        return {"factor": drawn / (1 - drawn + epsilon())}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return images
        hue, saturation, value = _split_hsv(self, images)
        saturation = saturation * self._each(transformation["factor"], images)
        return _joined_rgb(self, hue, self._between(saturation), value)


def _split_hsv(layer: ImageLayer, images: Tensor) -> tuple[Tensor, ...]:
    """Return hue, saturation and value, in planes of one channel."""
    hsv = ops.image.rgb_to_hsv(images, data_format=layer.data_format)
    return hsv.split(1, _channel_axis(layer))


def _joined_rgb(layer: ImageLayer, *planes: Tensor) -> Tensor:
    hsv = torch.cat(planes, _channel_axis(layer))
    return ops.image.hsv_to_rgb(hsv, data_format=layer.data_format)


def _channel_axis(layer: ImageLayer) -> int:
    return -1 if layer.data_format == "channels_last" else -3


@layers.register()
class RandomHue(_Factored):
    """Turns the colors of each image around the color wheel, at random.

    Args:
        factor: how far at most, in parts of half a turn to one side or the other: a
            number from 0 to 1, or a pair of bounds.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomHue((1.0, 1.0), value_range=(0, 1))
        >>> layer(torch.tensor([[[1.0, 0.0, 0.0]]])).flatten()
        tensor([0., 1., 1.])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, 0, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        shape = (self._count_of(data),)
        drawn = self._uniform(data, shape, seed=seed)
        sign = torch.ones_like(drawn).where(drawn <= 0.5, -1.0)
        factor = self._uniform(data, shape, *self.factor, seed=seed)
        return {"factor": sign * factor * 0.5}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return images
        shares = self._rescaled(images, self.value_range, (0, 1))
        hue, saturation, value = _split_hsv(self, shares)
        hue = hue + self._each(transformation["factor"], images)
        hue = torch.where(hue > 1, hue - 1, hue)
        hue = torch.where(hue < 0, hue + 1, hue)
        made = _joined_rgb(self, hue, saturation, value).clamp(0, 1)
        return self._rescaled(made, (0, 1), self.value_range)


@layers.register()
class RandomColorDegeneration(_Factored):
    """Mixes each image with its gray twin, at random.

    Args:
        factor: how much of the gray twin: a pair of bounds from 0 to 1; a number stands
            for the bounds from minus that, which makes colors stronger.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs, whose values stay
        in the range.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomColorDegeneration((1.0, 1.0), value_range=(0, 1))
        >>> layer(torch.tensor([[[1.0, 0.0, 0.0]]])).unique().numel()
        1
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, -1, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        shape = (self._count_of(data), 1, 1, 1)
        return {"factor": self._uniform(data, shape, *self.factor, seed=seed)}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return images
        gray = ops.image.rgb_to_grayscale(images, data_format=self.data_format)
        factor = transformation["factor"].to(images.dtype)
        return self._between(images + factor * (gray - images))


@layers.register()
class RandomGrayscale(ImageLayer):
    """Takes the color from an image or not, at random.

    Args:
        factor: how probable it is that an image becomes gray, from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs.

    Raises:
        ValueError: for a probability out of bounds.

    Example:
        >>> layer = RandomGrayscale(1.0)
        >>> layer(torch.tensor([[[1.0, 0.0, 0.0]]])).unique().numel()
        1
    """

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = number_in("RandomGrayscale", "factor", factor, 0.0, 1.0)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        drawn = self._uniform(data, (self._count_of(data), 1, 1, 1), seed=seed)
        return drawn < self.factor

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        if not training:
            return images
        gray = ops.image.rgb_to_grayscale(images, data_format=self.data_format)
        return torch.where(transformation, gray, images)


@layers.register()
class RandomInvert(_Factored):
    """Makes the negative of an image or not, at random.

    Args:
        factor: how probable it is that an image is inverted, from 0 to 1; or a pair of
            bounds of that.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomInvert((1.0, 1.0), value_range=(0, 1))
        >>> layer(torch.tensor([[[1.0, 0.25, 0.0]]])).flatten()
        tensor([0.0000, 0.7500, 1.0000])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, 0, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        return {"apply_inversion": self._applied(data, seed)} if training else None

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        if not training:
            return images
        applied = transformation["apply_inversion"].reshape(-1, 1, 1, 1)
        return torch.where(applied, self.value_range[1] - images, images)


@layers.register()
class RandomPosterization(_Factored):
    """Keeps the highest bits of each value only: fewer colors, in steps.

    Args:
        factor: how many bits at most, from 1 to 8: a number, or the lowest number and
            one above the highest.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomPosterization((1, 1))
        >>> layer(torch.tensor([[[100.0, 130.0, 255.0]]])).flatten()
        tensor([  0., 128., 128.])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, 1, 8,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        low, high = map(int, self.factor)
        shape, above = (self._count_of(data),), max(high, low + 1)
        bits = self._uniform(data, shape, low, above, seed=seed).floor()
        return {"shift_factor": (8 - bits).to(torch.uint8)}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return images
        whole = self._rescaled(images, self.value_range, _BYTE).to(torch.uint8)
        shift = transformation["shift_factor"].reshape(-1, 1, 1, 1)
        kept = (whole >> shift) << shift
        return self._rescaled(kept.to(images.dtype), _BYTE, self.value_range)


@layers.register()
class RandomSharpness(_Factored):
    """Makes each image smoother or sharper, at random.

    Args:
        factor: from 0 (smoothed) over 0.5 (as it is) to 1 (sharpened): a number for the
            bounds from 0, or a pair.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs, whose
        values stay in the range.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomSharpness((0.5, 0.5))
        >>> layer(torch.full((1, 4, 4, 3), 7.0)).unique()
        tensor([7.])
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, 0, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        shape = (self._count_of(data),)
        return {"factor": self._uniform(data, shape, *self.factor, seed=seed)}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        last = self.data_format == "channels_last"
        planes = images.movedim(-1, 1) if last else images
        kernel = planes.new_full((3, 3), 1 / 13)
        kernel[1, 1] = 5 / 13
        channels = planes.shape[1]
        kernel = kernel.expand(channels, 1, 3, 3)
        smooth = F.conv2d(planes, kernel, padding=1, groups=channels)
        factor = self._each(transformation["factor"] * 2, images)
        made = self._between(planes + (1 - factor) * (smooth - planes))
        return made.movedim(1, -1) if last else made


@layers.register()
class RandomGaussianBlur(_Factored):
    """Blurs an image or not, at random.

    Args:
        factor: how probable it is that an image is blurred, from 0 to 1; or a pair of
            bounds of that.
        kernel_size: the size of the kernel, odd; or its height and width.
        sigma: the largest standard deviation of the kernel, from 0 to 1; or a pair of
            bounds.
        value_range: the lowest and the highest value of a channel.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs, whose
        values stay in the range.

    Raises:
        ValueError: for a factor or sigma out of bounds, or an even kernel size.

    Example:
        >>> RandomGaussianBlur(kernel_size=5, seed=0)(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            factor, 0, 1,
            value_range=value_range, data_format=data_format, seed=seed, **kwargs,
        )  # fmt: skip
        owner = "RandomGaussianBlur"
        pair = isinstance(kernel_size, (tuple, list))
        sizes = tuple(kernel_size) if pair else (kernel_size, kernel_size)
        odd = all(isinstance(n, int) and n > 0 and n % 2 for n in sizes)
        if len(sizes) != 2 or not odd:
            expected = "an odd number, or a pair of them"
            raise ValueError(
                invalid_argument(owner, "kernel_size", expected, kernel_size)
            )
        self.kernel_size = sizes
        self.sigma = factor_between(owner, "sigma", sigma, 0, 1)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        applied = self._applied(data, seed)
        strength = self._uniform(HERE, (2,), *self.sigma, seed=seed) + 1e-6
        return {"should_apply_blur": applied, "blur_factor": strength}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        if not training or transformation is None:
            return images
        across, down = transformation["blur_factor"].tolist()
        blurred = ops.image.gaussian_blur(
            images,
            kernel_size=self.kernel_size,
            sigma=(down, across),
            data_format=self.data_format,
        )
        applied = transformation["should_apply_blur"].reshape(-1, 1, 1, 1)
        return self._between(torch.where(applied, blurred, images))


@layers.register()
class Solarization(ColorLayer):
    """Adds a random number to each image, then inverts what is above another one.

    Args:
        addition_factor: the largest number that is added, in parts of the range: from 0
            to 1, or a pair of bounds.
        threshold_factor: the largest threshold, in the same form.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = Solarization(value_range=(0, 1))
        >>> layer(torch.tensor([[[0.0, 0.25, 1.0]]])).flatten()
        tensor([1.0000, 0.7500, 0.0000])
    """

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        owner = "Solarization"
        self.addition_factor = factor_between(
            owner, "addition_factor", addition_factor, 0, 1
        )
        self.threshold_factor = factor_between(
            owner, "threshold_factor", threshold_factor, 0, 1
        )

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shape = (*self._shape_of(data)[:-3], 1, 1, 1)
        found = {}
        for name in ("addition", "threshold"):
            low, high = getattr(self, f"{name}_factor")
            drawn = self._uniform(data, shape, low, high * 255, seed=seed)
            found[f"{name}s"] = drawn
        return found

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training or transformation is None:
            return images
        shown = self._rescaled(images, self.value_range, _BYTE)
        shown = (shown + transformation["additions"].to(images.dtype)).clamp(*_BYTE)
        below = shown < transformation["thresholds"].to(images.dtype)
        return self._rescaled(
            torch.where(below, shown, 255 - shown), _BYTE, self.value_range
        )


@layers.register()
class AutoContrast(ColorLayer):
    """Stretches the values of each image and channel over the whole range.

    A channel of one value stays what it is. It does so in inference, too.

    Args:
        value_range: the lowest and the highest value of a channel.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for what is no range.

    Example:
        >>> AutoContrast(value_range=(0, 1))(torch.tensor([[[0.2], [0.6]]])).flatten()
        tensor([0., 1.])
    """

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any) -> None:
        super().__init__(value_range, **kwargs)

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        shown = self._rescaled(images, self.value_range, _BYTE)
        low, high = (
            reduce(self._axes(), keepdim=True) for reduce in (shown.amin, shown.amax)
        )
        scale = 255.0 / (high - low)
        stretched = (shown * scale - low * scale).clamp(*_BYTE)
        made = self._rescaled(stretched, _BYTE, self.value_range)
        return torch.where(made.isnan(), images, made)


@layers.register()
class Equalization(ColorLayer):
    """Makes all values of a channel equally frequent, in training.

    As in Keras, frequencies are those of the whole batch.

    Args:
        value_range: the lowest and the highest value of a channel.
        bins: how many steps of values are told apart.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for what is no range, or a number of bins that is not positive.

    Example:
        >>> Equalization()(torch.tensor([[[10.0], [20.0], [20.0], [40.0]]])).flatten()
        tensor([  0., 170., 170., 255.])
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, **kwargs)
        self.bins = positive_integer("Equalization", "bins", bins)

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return images
        images = self._cast(images)
        axis = _channel_axis(self)
        channels = self._rescaled(images, self.value_range, _BYTE).movedim(axis, 0)
        flat = channels.flatten(1)
        step = (flat.float() * (self.bins - 1) / 255).int().clamp(0, self.bins - 1)
        counts = flat.new_zeros((len(flat), self.bins), dtype=torch.float64)
        counts.scatter_add_(1, step.long(), torch.ones_like(step, dtype=counts.dtype))
        below = counts.cumsum(1)
        first = torch.where(below > 0, below, below[:, -1:]).amin(1, keepdim=True)
        rest = below[:, -1:] - first
        table = (below - first) * 255 / torch.where(rest == 0, 1.0, rest)
        table = table.round().clamp(0, 255).to(flat.dtype)
        place = ((flat / 255) * (self.bins - 1)).clamp(0, self.bins - 1).long()
        even = torch.where(
            (counts > 0).sum(1, keepdim=True) <= 1, flat, table.gather(1, place)
        )
        made = even.unflatten(1, channels.shape[1:]).movedim(0, axis)
        return self._rescaled(made, _BYTE, self.value_range)


@layers.register()
class ContrastLimitedAdaptiveHistogramEqualization(ColorLayer):
    """Makes values equally frequent in each part of an image, within limits.

    Source: Pizer et al. 1987, https://doi.org/10.1016/S0734-189X(87)80186-X.

    Args:
        value_range: the lowest and the highest value of a channel.
        clip_limit: how many times as frequent as the mean a value may be taken to be;
            no limit from 0 down.
        tile_grid_size: the number of parts along the height and the width.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for what is no range, or no pair of numbers of parts.

    Example:
        >>> layer = ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2))
        >>> layer(torch.rand(1, 8, 8, 3) * 255).shape
        torch.Size([1, 8, 8, 3])
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: Any = (8, 8),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, data_format=data_format, **kwargs)
        owner = type(self).__name__
        self.clip_limit = number_in(owner, "clip_limit", clip_limit)
        if not isinstance(tile_grid_size, (tuple, list)) or len(tile_grid_size) != 2:
            expected = "a pair of positive integers"
            raise ValueError(
                invalid_argument(owner, "tile_grid_size", expected, tile_grid_size)
            )
        self.tile_grid_size = tuple(
            positive_integer(owner, "tile_grid_size", n) for n in tile_grid_size
        )

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        last = self.data_format == "channels_last"
        planes = images.movedim(-1, 1) if last else images
        shown = self._rescaled(planes.float(), self.value_range, _BYTE)
        made = self._rescaled(self._equalized(shown), _BYTE, self.value_range)
        made = made.to(images.dtype)
        return made.movedim(1, -1) if last else made

    def _equalized(self, planes: Tensor) -> Tensor:
        """Return planes of values from 0 to 255, equalized by parts."""
        height, width = planes.shape[-2:]
        rows, columns = self.tile_grid_size
        tall, wide = -(-height // rows), -(-width // columns)
        padded = _padded(planes, tall * rows - height, wide * columns - width)
        tables = self._tables(padded, tall, wide)
        top, bottom, down = _between(tall * rows, tall, rows, planes)
        left, right, across = _between(wide * columns, wide, columns, planes)
        down = down[:, None]
        value = padded.clamp(0, 255).long()
        # Each pixel goes by the tables of the four parts around it.
        batch = torch.arange(len(planes), device=planes.device).view(-1, 1, 1, 1)
        channel = torch.arange(planes.shape[1], device=planes.device).view(-1, 1, 1)

        def by(row: Tensor, column: Tensor) -> Tensor:
            return tables[batch, channel, row[:, None], column, value]

        upper = by(top, left) * (1 - across) + by(top, right) * across
        lower = by(bottom, left) * (1 - across) + by(bottom, right) * across
        return (upper * (1 - down) + lower * down)[..., :height, :width]

    def _tables(self, planes: Tensor, tall: int, wide: int) -> Tensor:
        """Return what each value becomes, as ``(..., rows, columns, 256)``."""
        rows, columns = self.tile_grid_size
        parts = planes.unflatten(-1, (columns, wide)).unflatten(-3, (rows, tall))
        values = parts.movedim(-3, -2).flatten(-2).clamp(0, 255).long()
        counts = planes.new_zeros((*values.shape[:-1], 256))
        counts.scatter_add_(-1, values, torch.ones_like(values, dtype=counts.dtype))
        if self.clip_limit > 0:
            limited = counts.clamp(0, self.clip_limit * tall * wide / 256)
            counts = limited + (counts - limited).sum(-1, keepdim=True) / 256
        below = counts.cumsum(-1)
        first = below.amin(-1, keepdim=True)
        rest = tall * wide - first
        return ((below - first) * 255 / torch.where(rest == 0, 1.0, rest)).clamp(0, 255)


def _padded(planes: Tensor, more_rows: int, more_columns: int) -> Tensor:
    """Return planes that go on below and to the right as in a mirror at the edge."""
    for axis, more in ((-2, more_rows), (-1, more_columns)):
        if more:
            size = planes.shape[axis]
            index = torch.arange(size + more, device=planes.device).remainder(2 * size)
            index = torch.minimum(index, 2 * size - 1 - index)
            planes = planes.index_select(axis, index)
    return planes


def _between(
    size: int, part: int, count: int, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the parts before and after each pixel of an axis, and where between."""
    place = (torch.arange(size, device=like.device) - part / 2) / part
    before = place.floor()
    share = (place - before).to(like.dtype)
    before = before.long()
    return before.clamp(0, count - 1), (before + 1).clamp(0, count - 1), share


@layers.register()
class RandomColorJitter(ColorLayer):
    """Changes brightness, contrast, saturation and hue of each image, at random.

    Args:
        value_range: the lowest and the highest value of a channel.
        brightness_factor: see `RandomBrightness`; None leaves it out.
        contrast_factor: see `RandomContrast`.
        saturation_factor: see `RandomSaturation`.
        hue_factor: see `RandomHue`.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> layer = RandomColorJitter((0, 1), brightness_factor=0.2, hue_factor=0.1)
        >>> layer(torch.rand(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 3])
    """

    _steps: list[ColorLayer]

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        options: dict[str, Any] = {
            "value_range": value_range,
            "data_format": data_format,
            "dtype": kwargs.get("dtype"),
        }
        self._steps = [
            make(factor, **options)
            for make, factor in (
                (RandomBrightness, brightness_factor),
                (RandomContrast, contrast_factor),
                (RandomSaturation, saturation_factor),
                (RandomHue, hue_factor),
            )
            if factor is not None
        ]

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        return [
            step.get_random_transformation(data, seed=self._seed_of(seed))
            for step in self._steps
        ]

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        for step, drawn in zip(self._steps, transformation, strict=True):
            images = step.transform_images(images, drawn)
        return images
