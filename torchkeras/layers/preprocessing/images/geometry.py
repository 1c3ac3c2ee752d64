"""Layers that move the pixels of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import ops
from torchkeras._core import boxes
from torchkeras._core.errors import number_in, one_of
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import (
    HERE,
    ImageLayer,
    Transformation,
    checked_range,
    factor_between,
)
from torchkeras.ops.image.geometry import homography
from torchkeras.random import Seed

_HORIZONTAL, _VERTICAL = "horizontal", "vertical"
_BOTH = f"{_HORIZONTAL}_and_{_VERTICAL}"
_FILL_MODES = ("reflect", "wrap", "constant", "nearest")
_INTERPOLATIONS = ("nearest", "bilinear")


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


class _Moving(ImageLayer):
    """The base of layers that take each pixel from another place of the image.

    Args:
        interpolation: ``"bilinear"`` or ``"nearest"``; masks always take the nearest.
        fill_mode: what is beyond the border; see `ops.image.affine_transform`.
        fill_value: the constant of the fill mode ``"constant"``.
        kwargs: arguments of `ImageLayer`.
    """

    interpolation: str
    fill_mode: str
    fill_value: float

    def __init__(
        self,
        interpolation: str,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.interpolation = one_of(
            owner, "interpolation", interpolation, _INTERPOLATIONS
        )
        self.fill_mode = one_of(owner, "fill_mode", fill_mode, self._fill_modes())
        self.fill_value = fill_value

    def _fill_modes(self) -> tuple[str, ...]:
        return _FILL_MODES

    def _moved(
        self, images: Tensor, transformation: Transformation, interpolation: str
    ) -> Tensor:
        """Return images, moved as drawn."""
        raise NotImplementedError

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training or transformation is None:
            return images
        return self._moved(images, transformation, self.interpolation)

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        if not training or transformation is None:
            return segmentation_masks
        return self._moved(segmentation_masks, transformation, "nearest")

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        if not training or transformation is None:
            return bounding_boxes
        height, width = self._size_in(transformation)
        made = boxes.convert_format(
            bounding_boxes, self.bounding_box_format, "xyxy", height, width
        )
        made = self._moved_boxes(made, transformation, height, width)
        made = boxes.clip_to_image_size(made, height, width)
        return boxes.convert_format(
            made, "xyxy", self.bounding_box_format, height, width
        )

    def _size_in(self, transformation: Transformation) -> tuple[int, int]:
        height, width = self._axes()
        shape = transformation["input_shape"]
        return shape[height], shape[width]

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        """Return boxes, in corners and pixels, moved as drawn."""
        raise NotImplementedError


class _Affine(_Moving):
    """The base of layers whose map of coordinates is affine."""

    def _matrix(
        self, transformation: Transformation, height: int, width: int
    ) -> Tensor:
        """Return the eight numbers of `ops.image.affine_transform` for each image."""
        raise NotImplementedError

    def _moved(
        self, images: Tensor, transformation: Transformation, interpolation: str
    ) -> Tensor:
        return ops.image.affine_transform(
            images,
            self._matrix(transformation, *self._size_of(images)),
            interpolation=interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )


def _matrix_of(a0: Any, a1: Any, a2: Any, b0: Any, b1: Any, b2: Any) -> Tensor:
    """Return the rows ``a0, a1, a2, b0, b1, b2, 0, 0``, of tensors and numbers."""
    like = next(x for x in (a0, a1, a2, b0, b1, b2) if isinstance(x, Tensor))
    columns = [
        x if isinstance(x, Tensor) else torch.full_like(like, x)
        for x in (a0, a1, a2, b0, b1, b2, 0.0, 0.0)
    ]
    return torch.stack(columns, -1)


@layers.register()
class RandomRotation(_Affine):
    """Rotates each image about its center by a random angle.

    Args:
        factor: the largest angle in parts of a full turn, from -1 to 1, for both
            directions; or a pair of bounds. Positive angles turn anticlockwise.
        fill_mode: what is beyond the border of ``a b c d``: ``"reflect"`` (``d c b a |
            a b c d | d c b a``), ``"nearest"``, ``"wrap"`` or ``"constant"``.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        seed: an integer that starts a random generator of the layer's own.
        fill_value: the constant of the fill mode ``"constant"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or an unknown mode.

    Example:
        >>> layer = RandomRotation((0.25, 0.25), fill_mode="constant")
        >>> image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[..., None]
        >>> layer(image)[..., 0].round()
        tensor([[2., 4.],
                [1., 3.]])
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_mode,
            fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        self.factor = factor_between("RandomRotation", "factor", factor, -1, 1)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        low, high = (360.0 * bound for bound in self.factor)
        count = self._count_of(data)
        angle = self._uniform(data, (count,), low, high, seed=seed)
        height, width = self._size_of(data)
        return {
            "angle": angle,
            "rotation_matrix": _rotation(angle, height, width),
            "image_height": height,
            "image_width": width,
            "batch_size": count,
        }

    def _matrix(
        self, transformation: Transformation, height: int, width: int
    ) -> Tensor:
        return transformation["rotation_matrix"].reshape(-1, 8)

    def _size_in(self, transformation: Transformation) -> tuple[int, int]:
        return transformation["image_height"], transformation["image_width"]

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        angle = transformation["angle"]
        none, one = torch.zeros_like(angle), torch.ones_like(angle)
        moved = boxes.affine_transform(
            bounding_boxes["boxes"],
            angle, none, none, one, none, none, height, width,
        )  # fmt: skip
        return {**bounding_boxes, "boxes": moved}


def _rotation(angle: Tensor, height: int, width: int) -> Tensor:
    """Return the maps that turn images by angles in degrees about their center."""
    turn = torch.deg2rad(angle)
    cosine, sine = turn.cos(), turn.sin()
    x, y = 0.5 * (width - 1), 0.5 * (height - 1)
    return _matrix_of(
        cosine, -sine, x - x * cosine + y * sine,
        sine, cosine, y - x * sine - y * cosine,
    )  # fmt: skip


@layers.register()
class RandomTranslation(_Affine):
    """Shifts each image by a random part of its size.

    Args:
        height_factor: the largest shift in parts of the height, from -1 to 1, for both
            directions; or a pair of bounds. Positive shifts go down.
        width_factor: the same along the width. Positive shifts go to the right.
        fill_mode: what comes in from beyond the border; see `RandomRotation`.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        seed: an integer that starts a random generator of the layer's own.
        fill_value: the constant of the fill mode ``"constant"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or an unknown mode.

    Example:
        >>> layer = RandomTranslation(0.0, (0.25, 0.25), fill_mode="constant")
        >>> layer(torch.arange(1.0, 5.0).reshape(1, 4, 1)).flatten()
        tensor([0., 1., 2., 3.])
    """

    _heights: tuple[float, float]
    _widths: tuple[float, float]

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_mode,
            fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        owner = "RandomTranslation"
        self.height_factor, self.width_factor = height_factor, width_factor
        self._heights = factor_between(owner, "height_factor", height_factor, -1, 1)
        self._widths = factor_between(owner, "width_factor", width_factor, -1, 1)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        size, shape = self._size_of(data), (self._count_of(data), 1)
        down = self._uniform(data, shape, *self._heights, seed=seed) * size[0]
        right = self._uniform(data, shape, *self._widths, seed=seed) * size[1]
        return {
            "translations": torch.cat([right, down], 1),
            "input_shape": self._shape_of(data),
        }

    def _matrix(
        self, transformation: Transformation, height: int, width: int
    ) -> Tensor:
        right, down = transformation["translations"].unbind(-1)
        return _matrix_of(1.0, 0.0, -right, 0.0, 1.0, -down)

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        right, down = transformation["translations"][:, None].split(1, -1)
        shift = torch.cat([right, down, right, down], -1)
        return {**bounding_boxes, "boxes": bounding_boxes["boxes"] + shift}


@layers.register()
class RandomZoom(_Affine):
    """Makes what is on each image larger or smaller, at random.

    Args:
        height_factor: the largest change in parts of the height, above -1 and up to 1,
            for both directions; or a pair of bounds. Positive ones zoom out.
        width_factor: the same along the width; by default what is drawn for the height,
            so that proportions are kept.
        fill_mode: what comes in from beyond the border; see `RandomRotation`.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        seed: an integer that starts a random generator of the layer's own.
        fill_value: the constant of the fill mode ``"constant"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or an unknown mode.

    Example:
        >>> layer = RandomZoom((1.0, 1.0), fill_mode="constant")
        >>> layer(torch.ones(4, 4, 1))[..., 0]
        tensor([[0., 0., 0., 0.],
                [0., 1., 1., 0.],
                [0., 1., 1., 0.],
                [0., 0., 0., 0.]])
    """

    _heights: tuple[float, float]
    _widths: tuple[float, float] | None

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_mode,
            fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        self.height_factor, self.width_factor = height_factor, width_factor
        self._heights = _zoom_between("height_factor", height_factor)
        self._widths = (
            None
            if width_factor is None
            else _zoom_between("width_factor", width_factor)
        )

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shape = (self._count_of(data), 1)
        height = width = 1.0 + self._uniform(data, shape, *self._heights, seed=seed)
        if self._widths is not None:
            width = 1.0 + self._uniform(data, shape, *self._widths, seed=seed)
        return {
            "height_zoom": height,
            "width_zoom": width,
            "input_shape": self._shape_of(data),
        }

    def _matrix(
        self, transformation: Transformation, height: int, width: int
    ) -> Tensor:
        across, down = (
            transformation[name].reshape(-1) for name in ("width_zoom", "height_zoom")
        )
        return _matrix_of(
            across, 0.0, (width - 1) / 2 * (1 - across),
            0.0, down, (height - 1) / 2 * (1 - down),
        )  # fmt: skip

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        # What of the image is seen, in its pixels; all of it stays in proportion.
        matrix = self._matrix(transformation, height, width)[:, None]
        across, left, down, top = (matrix[..., n : n + 1] for n in (0, 2, 4, 5))
        start = torch.cat([left, top, left, top], -1)
        size = torch.cat([across * width, down * height] * 2, -1)
        seen = bounding_boxes["boxes"].clamp(min=start)
        seen = torch.minimum(seen, start + size) - start
        whole = seen.new_tensor([width, height, width, height])
        return {**bounding_boxes, "boxes": seen / size * whole}


def _zoom_between(argument: str, factor: Any) -> tuple[float, float]:
    bounds = factor_between("RandomZoom", argument, factor, -1, 1)
    if min(bounds) <= -1:
        raise ValueError(
            f"RandomZoom: `{argument}` must be above -1, where nothing of the image is "
            f"left, got {factor!r}."
        )
    return bounds


@layers.register()
class RandomShear(_Affine):
    """Slants each image at random.

    Args:
        x_factor: how far rows are shifted at most, in parts of the distance from the
            first: a number from 0 to 1, or a pair of bounds. Each image is slanted to
            one side or the other.
        y_factor: how far columns are shifted.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: what comes in from beyond the border; see `RandomRotation`.
        fill_value: the constant of the fill mode ``"constant"``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or an unknown mode.

    Example:
        >>> layer = RandomShear(x_factor=(0.3, 0.6), seed=0)
        >>> layer(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_mode,
            fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        self.x_factor = _shear_between("x_factor", x_factor)
        self.y_factor = _shear_between("y_factor", y_factor)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shape = (self._count_of(data), 1)
        drawn = self._uniform(data, shape, seed=seed)
        sign = torch.ones_like(drawn).where(drawn <= 0.5, -1.0)
        down = self._uniform(data, shape, *self.y_factor, seed=seed)
        across = self._uniform(data, shape, *self.x_factor, seed=seed)
        return {
            "shear_factor": torch.cat([across, down], 1) * sign,
            "input_shape": self._shape_of(data),
        }

    def _matrix(
        self, transformation: Transformation, height: int, width: int
    ) -> Tensor:
        across, down = transformation["shear_factor"].unbind(-1)
        return _matrix_of(1.0, across, 0.0, down, 1.0, 0.0)

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        # As Keras has it: in parts of the sizes, one axis after the other.
        size = bounding_boxes["boxes"].new_tensor([width, height, width, height])
        left, top, right, bottom = (bounding_boxes["boxes"] / size).unbind(-1)
        across, down = transformation["shear_factor"][:, None].unbind(-1)
        to_left = across < 0
        left, right = (
            left - across * torch.where(to_left, top, bottom),
            right - across * torch.where(to_left, bottom, top),
        )
        upwards = down > 0
        top, bottom = (
            top - down * torch.where(upwards, right, left),
            bottom - down * torch.where(upwards, left, right),
        )
        moved = torch.stack([left, top, right, bottom], -1) * size
        return {**bounding_boxes, "boxes": moved}


def _shear_between(argument: str, factor: Any) -> tuple[float, float]:
    is_pair = isinstance(factor, (list, tuple))  # a config has both directions
    factor_between("RandomShear", argument, factor, -1 if is_pair else 0, 1)
    bounds = tuple(factor) if is_pair else (-factor, factor)
    return min(bounds), max(bounds)


@layers.register()
class RandomPerspective(_Moving):
    """Shows each image from another side, or not, at random.

    Args:
        factor: how probable it is that an image is changed, from 0 to 1; or a pair of
            bounds of that.
        scale: how far corners are moved at most, in parts of the size, from 0 to 1.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_value: what comes in from beyond the border.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor or scale out of bounds, or an unknown interpolation.

    Example:
        >>> layer = RandomPerspective(scale=0.3, seed=0)
        >>> layer(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_value=fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        self.factor = factor_between("RandomPerspective", "factor", factor, 0, 1)
        self.scale = number_in("RandomPerspective", "scale", scale, 0.0, 1.0)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        count, (height, width) = self._count_of(data), self._size_of(data)
        applied = self._applied(data, seed)
        reach = 0.5 * self.scale
        shares = self._uniform(data, (count, 4, 2), -reach, reach, seed=seed)
        right, bottom = width - 1.0, height - 1.0
        corners = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]]
        start = torch.tensor(corners, device=shares.device).expand(count, 4, 2)
        return {
            "apply_perspective": applied,
            "start_points": start,
            "end_points": start + start * shares,
            "input_shape": self._shape_of(data),
        }

    def _moved(
        self, images: Tensor, transformation: Transformation, interpolation: str
    ) -> Tensor:
        moved = ops.image.perspective_transform(
            images,
            transformation["start_points"],
            transformation["end_points"],
            interpolation=interpolation,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )
        applied = transformation["apply_perspective"]
        return moved.where(applied[:, None, None, None], images)

    def _moved_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        height: int,
        width: int,
    ) -> dict[str, Any]:
        given = bounding_boxes["boxes"]
        map_ = homography(transformation["start_points"], transformation["end_points"])
        corners = given[..., [0, 1, 2, 3, 0, 3, 2, 1]].unflatten(-1, (4, 2))
        corners = torch.cat([corners, torch.ones_like(corners[..., :1])], -1)
        square = torch.cat([map_, torch.ones_like(map_[:, :1])], -1)
        inverse = torch.linalg.inv(square.unflatten(-1, (3, 3)))
        moved = torch.einsum("bij,bnpj->bnpi", inverse.to(given.dtype), corners)
        moved = moved[..., :2] / moved[..., 2:]
        around = torch.cat([moved.amin(-2), moved.amax(-2)], -1)
        applied = transformation["apply_perspective"][:, None, None]
        return {**bounding_boxes, "boxes": around.where(applied, given)}


@layers.register()
class RandomElasticTransform(_Moving):
    """Distorts each image as if it were of rubber, or not, at random.

    Args:
        factor: how probable it is that an image is changed, from 0 to 1; or a pair of
            bounds of that.
        scale: how strong the distortion is at most, from 0 to 1; or a pair of bounds.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: what comes in from beyond the border; see `RandomRotation`;
            ``"mirror"``, too.
        fill_value: the constant of the fill mode ``"constant"``.
        value_range: the lowest and the highest value of a channel.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, channels)``, and the same for the outputs.

    Raises:
        ValueError: for a factor or scale out of bounds, or an unknown mode.
        NotImplementedError: for bounding boxes, which have no shape afterwards.

    Example:
        >>> layer = RandomElasticTransform(scale=0.5, seed=0)
        >>> layer(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interpolation,
            fill_mode,
            fill_value,
            seed=seed,
            data_format=data_format,
            **kwargs,
        )
        owner = "RandomElasticTransform"
        self.factor = factor_between(owner, "factor", factor, 0, 1)
        self.scale = factor_between(owner, "scale", scale, 0, 1)
        self.value_range = checked_range(owner, value_range)

    def _fill_modes(self) -> tuple[str, ...]:
        return (*_FILL_MODES, "mirror")

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training or self.scale[1] == 0 or self.factor[1] == 0:
            return None
        strength = self._uniform(HERE, (), *self.scale, seed=seed)
        drawn = self._drawn(HERE, (1,), seed, torch.Tensor.random_, 0, 2**24)
        return {
            "apply_transform": self._applied(data, seed),
            "distortion_factor": strength,
            "seed": int(drawn),  # so that masks move as their images do
        }

    def _moved(
        self, images: Tensor, transformation: Transformation, interpolation: str
    ) -> Tensor:
        strength = float(transformation["distortion_factor"])
        if strength == 0:
            return images
        height, width = self._size_of(images)
        moved = ops.image.elastic_transform(
            images,
            alpha=max(height, width) * 0.1 * strength,
            sigma=min(height, width) * 0.05 * strength,
            interpolation=interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            seed=transformation["seed"],
            data_format=self.data_format,
        )
        applied = transformation["apply_transform"][:, None, None, None]
        return moved.where(applied, images)

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        moved = super().transform_images(images, transformation, training)
        if not training or transformation is None:
            return moved
        return moved.clamp(*self.value_range)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        if not training or transformation is None:
            return bounding_boxes
        raise NotImplementedError(
            f"Layer '{self.name}' (RandomElasticTransform): bounding boxes are no "
            "boxes after a distortion. Leave them out, or take another layer."
        )
