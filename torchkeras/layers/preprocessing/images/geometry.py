"""Layers that move the pixels of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras._core import boxes
from torchkeras._core.errors import one_of
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import ImageLayer, Transformation
from torchkeras.layers.shapes import same_sizes
from torchkeras.random import Seed

_HORIZONTAL, _VERTICAL = "horizontal", "vertical"
_BOTH = f"{_HORIZONTAL}_and_{_VERTICAL}"


@layers.register()
class RandomFlip(ImageLayer):
    """Mirrors each image or not, at random.

    Args:
        mode: ``"horizontal"`` (left and right are swapped), ``"vertical"`` (top and
            bottom) or ``"horizontal_and_vertical"`` (both at once).
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for another mode.

    Example:
        >>> layer = RandomFlip("horizontal", seed=1)
        >>> images = torch.arange(8.0).reshape(2, 1, 4, 1)
        >>> layer(images).flatten(1)
        tensor([[0., 1., 2., 3.],
                [7., 6., 5., 4.]])
    """

    _output_sizes = same_sizes

    def __init__(
        self,
        mode: str = _BOTH,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.mode = one_of("RandomFlip", "mode", mode, (_HORIZONTAL, _VERTICAL, _BOTH))

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shape = self._shape_of(data)
        drawn = self._uniform(data, (*shape[:-3], 1, 1, 1), seed=seed)
        return {"flips": drawn <= 0.5, "input_shape": shape}

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        return torch.where(
            transformation["flips"], images.flip(self._flipped()), images
        )

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        return self.transform_images(segmentation_masks, transformation, training)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        if not training:
            return bounding_boxes
        axes = self._axes()
        height, width = (transformation["input_shape"][axis] for axis in axes)
        made = boxes.convert_format(
            bounding_boxes, self.bounding_box_format, "rel_xyxy", height, width
        )
        left, top, right, bottom = made["boxes"].unbind(-1)
        if self.mode != _VERTICAL:
            left, right = 1 - right, 1 - left
        if self.mode != _HORIZONTAL:
            top, bottom = 1 - bottom, 1 - top
        flipped = torch.stack([left, top, right, bottom], -1)
        flips = transformation["flips"].flatten(-3)
        made["boxes"] = flipped.where(flips.unsqueeze(-1), made["boxes"])
        made = boxes.clip_to_image_size(made, bounding_box_format="rel_xyxy")
        return boxes.convert_format(
            made, "rel_xyxy", self.bounding_box_format, height, width
        )

    def _flipped(self) -> tuple[int, ...]:
        """Return the axes that are flipped, counted from the end."""
        vertical, horizontal = self._axes()
        modes = {_HORIZONTAL: (horizontal,), _VERTICAL: (vertical,)}
        return modes.get(self.mode, (vertical, horizontal))
