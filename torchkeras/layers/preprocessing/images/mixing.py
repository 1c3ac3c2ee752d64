"""Layers that mix the images of a batch, or cover parts of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import random
from torchkeras._core.convert import as_floating
from torchkeras._core.errors import invalid_argument
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import (
    HERE,
    ColorLayer,
    ImageLayer,
    Transformation,
    factor_between,
)
from torchkeras.random import Seed


class _Windowed(ImageLayer):
    """The base of layers that draw a window for each image."""

    def _windows(
        self, data: Any, down: Tensor, across: Tensor, seed: Seed
    ) -> tuple[Tensor, Tensor]:
        """Draw windows of parts of the height and width.

        Returns:
            Whether each pixel is in the window of its image, and the part of the image
            that the window has.
        """
        edges = []
        for size, share in zip(self._size_of(data), (down, across), strict=True):
            length = share * size
            start = self._uniform(data, tuple(share.shape), seed=seed) * (size - length)
            place = torch.arange(size, device=share.device, dtype=share.dtype)
            inside = (place >= start[:, None]) & (place < (start + length)[:, None])
            edges.append((inside, length / size))
        (rows, height), (columns, width) = edges
        inside = rows[:, :, None] & columns[:, None, :]
        channel = -1 if self.data_format == "channels_last" else 1
        shape = self._shape_of(data)
        return inside.unsqueeze(channel).expand(-1, *shape[-3:]), height * width


@layers.register()
class RandomErasing(_Windowed, ColorLayer):
    """Covers a window of an image or not, at random.

    Source: Zhong et al. 2017, https://arxiv.org/abs/1708.04896.

    Args:
        factor: how probable it is that an image is changed, from 0 to 1; or a pair of
            bounds of that.
        scale: the part of the image that the window has, from 0 to 1: the largest, or
            a pair of bounds.
        fill_value: what the window is filled with: a number, one for each of three
            channels, or noise by default.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor or scale out of bounds, or another fill value.

    Example:
        >>> layer = RandomErasing(scale=(1.0, 1.0), fill_value=7)
        >>> layer(torch.ones(1, 4, 4, 3)).unique()
        tensor([7.])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        owner = "RandomErasing"
        self.factor = factor_between(owner, "factor", factor, 0, 1)
        self.scale = factor_between(owner, "scale", scale, 0, 1)
        values = fill_value if isinstance(fill_value, (tuple, list)) else [fill_value]
        legal = all(isinstance(v, (int, float)) for v in values)
        if fill_value is not None and not (legal and len(values) in (1, 3)):
            expected = "a number, three of them, or None"
            raise ValueError(
                invalid_argument(owner, "fill_value", expected, fill_value)
            )
        self.fill_value = fill_value

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shares = self._uniform(data, (self._count_of(data), 2), *self.scale, seed=seed)
        across, down = shares.sqrt().unbind(-1)
        windows, _ = self._windows(data, down, across, seed)
        return {
            "apply_erasing": self._applied(data, seed),
            "batch_masks": windows,
            "fill_value": self._filling(data, seed),
        }

    def _filling(self, data: Any, seed: Seed) -> Tensor:
        shape = (self._count_of(data), *self._shape_of(data)[-3:])
        if self.fill_value is None:
            noise = self._normal(data, shape, seed=seed) * self.value_range[1]
            return self._between(noise)
        noise = self._normal(data, ())  # where the images are
        value = torch.as_tensor(self.fill_value, dtype=noise.dtype, device=noise.device)
        if value.ndim and self.data_format == "channels_first":
            value = value[:, None, None]
        return self._between(value.expand(shape))

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        applied = transformation["apply_erasing"].reshape(-1, 1, 1, 1)
        covered = transformation["batch_masks"] & applied
        return torch.where(
            covered, transformation["fill_value"].to(images.dtype), images
        )


class _Mixing(ImageLayer):
    """The base of layers that mix each image with another one of its batch."""

    def _order(self, data: Any, seed: Seed) -> Tensor:
        """Draw which image each image is mixed with."""
        drawn = self._uniform(data, (self._count_of(data),), seed=seed)
        return drawn.argsort()

    def transform_labels(
        self, labels: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        if not training or transformation is None:
            return labels
        if not labels.is_floating_point() and labels.ndim < 2:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): labels that are mixed "
                f"must have an entry for each class, got class numbers of shape "
                f"{tuple(labels.shape)}. Use `to_categorical` first."
            )
        labels = as_floating(labels)
        weight = transformation["mix_weight"].to(labels.dtype)
        return _mixed(labels, weight, transformation["permutation_order"])


def _mixed(values: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    weight = weight.reshape(-1, *[1] * (values.ndim - 1))
    return weight * values + (1 - weight) * values[order.long()]


@layers.register()
class MixUp(_Mixing):
    """Mixes each image and its label with another one of its batch.

    Source: Zhang et al. 2017, https://arxiv.org/abs/1710.09412.

    Args:
        alpha: the concentration of the beta distribution that weights are drawn from:
            the smaller, the less the images are mixed.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``(batch, height, width, channels)``, and the same for the outputs; labels
        ``(batch, classes)``.

    Raises:
        ValueError: when `alpha` is not positive, or labels are numbers of classes.

    Example:
        >>> data = {"images": torch.rand(4, 8, 8, 3), "labels": torch.eye(4)}
        >>> MixUp(seed=0)(data)["labels"].sum(1)
        tensor([1., 1., 1., 1.])
    """

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        if not isinstance(alpha, (int, float)) or alpha <= 0:
            expected = "a positive number"
            raise ValueError(invalid_argument("MixUp", "alpha", expected, alpha))
        self.alpha = alpha

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        order = self._order(data, seed)
        shape = (self._count_of(data),)
        weight = random.beta(shape, self.alpha, self.alpha, seed=self._seed_of(seed))
        return {"mix_weight": weight.to(order.device), "permutation_order": order}

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        weight = transformation["mix_weight"].to(images.dtype)
        return _mixed(images, weight, transformation["permutation_order"])

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
        order = transformation["permutation_order"].long()
        both = {
            key: torch.cat([bounding_boxes[key], bounding_boxes[key][order]], 1)
            for key in ("boxes", "labels")
        }
        return {**bounding_boxes, **both}


@layers.register()
class CutMix(_Mixing, _Windowed):
    """Puts a window of another image of the batch into each image, and mixes labels.

    Source: Yun et al. 2019, https://arxiv.org/abs/1905.04899.

    Args:
        factor: the concentration of the beta distribution that the size of the window
            is drawn from: the largest, from 0 to 1, or a pair of bounds.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, height, width, channels)``, and the same for the outputs; labels
        ``(batch, classes)``. A single image stays what it is.

    Raises:
        ValueError: for a factor out of bounds, or labels that are numbers of classes.
        NotImplementedError: for bounding boxes.

    Example:
        >>> data = {"images": torch.rand(4, 8, 8, 3), "labels": torch.eye(4)}
        >>> CutMix(seed=0)(data)["labels"].sum(1).round()
        tensor([1., 1., 1., 1.])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = factor_between("CutMix", "factor", factor, 0, 1)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training or len(self._shape_of(data)) == 3:
            return None
        order = self._order(data, seed)
        alpha = float(self._uniform(HERE, (), *self.factor, seed=seed)) + 1e-6
        shape = (self._count_of(data),)
        weight = random.beta(shape, alpha, alpha, seed=self._seed_of(seed))
        side = (1 - weight.to(order.device)).sqrt()
        windows, part = self._windows(data, side, side, seed)
        return {
            "permutation_order": order,
            "batch_masks": windows,
            "mix_weight": 1 - part,
        }

    def transform_images(
        self,
        images: Tensor,
        transformation: Transformation = None,
        training: bool = True,
    ) -> Tensor:
        images = self._cast(images)
        if not training or transformation is None:
            return images
        others = images[transformation["permutation_order"].long()]
        windows = transformation["batch_masks"]
        channel = -1 if self.data_format == "channels_last" else 1
        if windows.shape[channel] != images.shape[channel]:  # of a mask of one channel
            windows = windows.narrow(channel, 0, 1)
        return torch.where(windows, others, images)

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
        if not training or transformation is None:
            return bounding_boxes
        raise NotImplementedError(
            f"Layer '{self.name}' (CutMix): which bounding boxes a window leaves is "
            "not defined. Leave them out, or take another layer."
        )
