"""Layers that give images another size, and boxes another number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import ops
from torchkeras._core import boxes
from torchkeras._core.convert import as_tensor
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import ImageLayer, Transformation
from torchkeras.layers.shapes import Sizes
from torchkeras.random import Seed

_INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")


class _Sized(ImageLayer):
    """The base of layers that give images a height and a width.

    Args:
        height: the height.
        width: the width.
        kwargs: arguments of `ImageLayer`.
    """

    height: int
    width: int

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.height = positive_integer(owner, "height", height)
        self.width = positive_integer(owner, "width", width)

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        made = list(sizes)
        for axis, size in zip(self._axes(), (self.height, self.width), strict=True):
            made[axis] = size
        return tuple(made)

    def _window(self, images: Tensor, top: Any, left: Any, size: Any) -> Tensor:
        """Return what is in a window of each image."""
        for axis, first, count in zip(self._axes(), (top, left), size, strict=True):
            index = torch.arange(count, device=images.device)
            images = (
                images.narrow(axis, first, count)
                if isinstance(first, int)
                else images.index_select(axis, index + first)
            )
        return images

    def _resized(self, images: Tensor, **options: Any) -> Tensor:
        size = (self.height, self.width)
        return ops.image.resize(images, size, data_format=self.data_format, **options)

    def _cut_in_proportion(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the middle of an image that has the proportions: top, left, size."""
        tall = max(min(height, int(width * self.height / self.width)), 1)
        wide = max(min(width, int(height * self.width / self.height)), 1)
        return int((height - tall) / 2), int((width - wide) / 2), tall, wide


@layers.register()
class Resizing(_Sized):
    """Gives images another size.

    Integers stay integers: values between them are rounded, and cut off at the ends of
    the dtype.

    Args:
        height: the height of the outputs.
        width: the width of the outputs.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"lanczos3"``,
            ``"lanczos5"`` or ``"area"``.
        crop_to_aspect_ratio: whether proportions are kept by cutting the longer side.
        pad_to_aspect_ratio: whether they are kept by filling up the shorter side.
        fill_mode: ``"constant"``.
        fill_value: what the shorter side is filled up with.
        antialias: whether smaller images are smoothed first.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] any, any, channels)`` to ``([batch,] height, width, channels)``.

    Raises:
        ValueError: for a size that is not positive, or an unknown interpolation.

    Example:
        >>> Resizing(2, 3)(torch.ones(5, 8, 8, 3)).shape
        torch.Size([5, 2, 3, 3])
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format=data_format, **kwargs)
        owner = "Resizing"
        self.interpolation = one_of(
            owner, "interpolation", str(interpolation).lower(), _INTERPOLATIONS
        )
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(
                f"{owner}: only one of `crop_to_aspect_ratio` and "
                "`pad_to_aspect_ratio` can be True."
            )
        self.fill_mode = one_of(owner, "fill_mode", fill_mode, ("constant",))
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def _cast(self, images: Tensor) -> Tensor:
        return super()._cast(images) if images.is_floating_point() else images

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        return self._size_of(data)

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        return self._fitted(images, self.interpolation)

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        return self._fitted(segmentation_masks, "nearest")

    def _fitted(self, images: Tensor, interpolation: str) -> Tensor:
        whole = not images.is_floating_point()
        resized = self._resized(
            images.float() if whole else images,
            interpolation=interpolation,
            antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
        )
        if not whole:
            return resized
        ends = torch.iinfo(images.dtype)
        return resized.round().clamp(ends.min, ends.max).to(images.dtype)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        height, width = transformation
        given = as_tensor(bounding_boxes["boxes"])
        is_filler = (given == -1).all(-1) | (given == 0).all(-1)
        made = boxes.convert_format(
            bounding_boxes, self.bounding_box_format, "xyxy", height, width
        )
        scale, shift = self._scale_and_shift(height, width)
        across_and_down = made["boxes"].new_tensor([scale[1], scale[0]] * 2)
        offset = made["boxes"].new_tensor([shift[1], shift[0]] * 2)
        made["boxes"] = made["boxes"] * across_and_down + offset
        made = boxes.clip_to_image_size(made, self.height, self.width)
        made["boxes"] = made["boxes"].masked_fill(is_filler.unsqueeze(-1), 0.0)
        return boxes.convert_format(
            made, "xyxy", self.bounding_box_format, self.height, self.width
        )

    def _scale_and_shift(
        self, height: int, width: int
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return how coordinates change: down and across."""
        down, across = self.height / height, self.width / width
        if self.pad_to_aspect_ratio:
            scale = min(down, across)
        elif self.crop_to_aspect_ratio:
            scale = max(down, across)
        else:
            return (down, across), (0.0, 0.0)
        left = [
            size - scale * given
            for size, given in ((self.height, height), (self.width, width))
        ]
        if self.pad_to_aspect_ratio:
            return (scale, scale), (left[0] // 2, left[1] // 2)
        return (scale, scale), (-(-left[0] // 2), -(-left[1] // 2))


@layers.register()
class CenterCrop(_Sized):
    """Cuts out the middle of images; smaller ones are cut in proportion and resized.

    Args:
        height: the height of the outputs.
        width: the width of the outputs.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] any, any, channels)`` to ``([batch,] height, width, channels)``.

    Raises:
        ValueError: for a size that is not positive.

    Example:
        >>> CenterCrop(1, 2)(torch.arange(12.0).reshape(3, 4, 1)).flatten()
        tensor([5., 6.])
    """

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(height, width, data_format=data_format, **kwargs)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        return {"input_shape": self._shape_of(data)}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        height, width = self._size_of(images)
        if height >= self.height and width >= self.width:
            top, left = (height - self.height) // 2, (width - self.width) // 2
            return self._window(images, top, left, (self.height, self.width))
        top, left, *size = self._cut_in_proportion(height, width)
        return self._resized(self._window(images, top, left, size))

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        return self.transform_images(segmentation_masks)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        shape, (down, across) = transformation["input_shape"], self._axes()
        height, width = shape[down], shape[across]
        made = boxes.convert_format(
            bounding_boxes, self.bounding_box_format, "xyxy", height, width
        )
        top, left, *size = self._cut_in_proportion(height, width)
        if height >= self.height and width >= self.width:
            top, left = int((height - self.height) / 2), int((width - self.width) / 2)
            size = [self.height, self.width]
        cut = boxes.crop(made["boxes"], top, left, size[0], size[1])
        ratio = cut.new_tensor([self.width / size[1], self.height / size[0]] * 2)
        made["boxes"] = cut * ratio
        made = boxes.clip_to_image_size(made, self.height, self.width)
        return boxes.convert_format(
            made, "xyxy", self.bounding_box_format, self.height, self.width
        )


@layers.register()
class RandomCrop(_Sized):
    """Cuts a window out of each batch of images, at a random place.

    In inference, and where images are not larger, the middle is taken in proportion and
    resized.

    Args:
        height: the height of the outputs.
        width: the width of the outputs.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] any, any, channels)`` to ``([batch,] height, width, channels)``.

    Raises:
        ValueError: for a size that is not positive.

    Example:
        >>> RandomCrop(2, 3)(torch.ones(5, 8, 8, 3)).shape
        torch.Size([5, 2, 3, 3])
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            height, width, seed=seed, data_format=data_format, name=name, **kwargs
        )
        self.supports_masking = False

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        height, width = self._size_of(data)
        if not training or height <= self.height or width <= self.width:
            return self._cut_in_proportion(height, width)[:2]
        top = self._uniform(data, (1,), 0.0, height - self.height + 1.0, seed=seed)
        left = self._uniform(data, (1,), 0.0, width - self.width + 1.0, seed=seed)
        return top.int(), left.int()

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        height, width = self._size_of(images)
        if training and height > self.height and width > self.width:
            top, left = transformation
            return self._window(images, top, left, (self.height, self.width))
        top, left, *size = self._cut_in_proportion(height, width)
        return self._resized(self._window(images, top, left, size))

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        return self.transform_images(segmentation_masks, transformation, training)


@layers.register()
class MaxNumBoundingBoxes(ImageLayer):
    """Gives all images the same number of bounding boxes: cuts off or fills up.

    Args:
        max_number: the number.
        fill_value: what fills up coordinates and labels.

    Shape:
        Boxes ``([batch,] any, 4)`` to ``([batch,] max_number, 4)``.

    Raises:
        ValueError: when `max_number` is not positive.

    Example:
        >>> layer = MaxNumBoundingBoxes(2, bounding_box_format="xyxy")
        >>> objects = {"boxes": [[[0, 0, 1, 1]]], "labels": [[5]]}
        >>> data = {"images": torch.ones(1, 4, 4, 3), "bounding_boxes": objects}
        >>> layer(data)["bounding_boxes"]["labels"].tolist()
        [[5, -1]]
    """

    def __init__(self, max_number: int, fill_value: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = "MaxNumBoundingBoxes"
        self.max_number = positive_integer(owner, "max_number", max_number)
        if not isinstance(fill_value, (int, float)):
            expected = "a number"
            raise TypeError(invalid_argument(owner, "fill_value", expected, fill_value))
        self.fill_value = fill_value

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        return images

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation = None,
        training: bool = True,
    ) -> dict[str, Any]:
        def of_number(values: Tensor, axis: int) -> Tensor:
            kept = values.narrow(axis, 0, min(values.shape[axis], self.max_number))
            shape = list(kept.shape)
            shape[axis] = self.max_number - shape[axis]
            filled = torch.full_like(kept[..., :0], 0).new_full(shape, self.fill_value)
            return torch.cat([kept, filled], axis)

        made = of_number(as_tensor(bounding_boxes["boxes"]), 1)
        labels = of_number(as_tensor(bounding_boxes["labels"]), 1)
        return {**bounding_boxes, "boxes": made, "labels": labels}
