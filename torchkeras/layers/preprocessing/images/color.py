"""Layers that change the colors of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import (
    ColorLayer,
    Transformation,
    factor_between,
)
from torchkeras.layers.shapes import same_sizes
from torchkeras.random import Seed


@layers.register()
class RandomBrightness(ColorLayer):
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

    _output_sizes = same_sizes

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, **kwargs)
        self.factor = factor_between("RandomBrightness", "factor", factor, -1, 1)

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
        delta: torch.Tensor = transformation["rgb_delta"].to(images.dtype)
        return self._between(images + delta)
