"""The base of layers for images: what they are given, what is drawn, what is moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from torchkeras._core import boxes, tree
from torchkeras._core.config import standardize_data_format
from torchkeras._core.context import context
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import describe, invalid_argument, one_of
from torchkeras.layers.regularization import RandomLayer
from torchkeras.layers.shapes import same_sizes
from torchkeras.random import Seed, checked_seed, generator_of

#: Where numbers are drawn that Python needs.
HERE = torch.empty(0, device="cpu")
#: What is drawn for a batch: Keras's names, and tensors with a row for each image.
Transformation = Any

#: The keys that a layer transforms, and the methods for them.
_PARTS = {
    "bounding_boxes": "transform_bounding_boxes",
    "labels": "transform_labels",
    "segmentation_masks": "transform_segmentation_masks",
}


class ImageLayer(RandomLayer):
    """The base of layers that transform images, and what belongs to them alike.

    It is called with images, or with a dict of ``"images"`` and any of ``"labels"``,
    ``"bounding_boxes"`` (a dict of ``"boxes"`` and ``"labels"``) and
    ``"segmentation_masks"``; other entries stay what they are. What is random is drawn
    for each image of a batch by `get_random_transformation`; the methods
    ``transform_...`` apply it.

    Unlike other layers, and as in Keras, a random one works when it is called by itself
    without ``training=``; within a model it follows `fit`, `predict`, `train()` and
    ``training=``.

    Args:
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        bounding_box_format: the format of bounding boxes, needed where there are any.
    """

    casts_itself = True
    _output_sizes = same_sizes

    data_format: str
    bounding_box_format: Any
    #: The bounds between which something is drawn, of layers that have one.
    factor: Any
    #: Whether somebody said, since the layer was made, which mode it is in.
    _mode_is_said: bool

    def __init__(
        self,
        seed: int | None = None,
        data_format: str | None = None,
        bounding_box_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        owner = type(self).__name__
        self.data_format = standardize_data_format(owner, data_format)
        if bounding_box_format is not None:
            one_of(owner, "bounding_box_format", bounding_box_format, boxes.FORMATS)
        self.bounding_box_format = bounding_box_format
        self._mode_is_said = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        is_ours = cls.__module__.startswith("torchkeras.")
        if "transform_images" in vars(cls) and not is_ours:
            cls._output_sizes = None

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "data_format": self.data_format}
        if self.bounding_box_format is not None:
            config["bounding_box_format"] = self.bounding_box_format
        return config

    # What a subclass writes

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        """Draw what is done to each image; None where nothing is drawn.

        Args:
            data: what the layer is called with.
            training: whether anything is done.
            seed: a seed to draw from in place of the layer's own.
        """
        return None

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        """Return a batch of images, transformed."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `transform_images` method. "
            "Define `transform_images(self, images, transformation, training=True)`."
        )

    def transform_labels(
        self, labels: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        """Return the labels of a batch: as they are, by default."""
        return labels

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        """Return the bounding boxes of a batch: as they are, by default."""
        return bounding_boxes

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        """Return the segmentation masks of a batch: as they are, by default."""
        return segmentation_masks

    # One image

    def transform_single_image(
        self, image: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        """Return one image, transformed."""
        return self._single(self.transform_images, image, transformation, training)

    def transform_single_label(
        self, label: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        """Return the label of one image."""
        return self._single(self.transform_labels, label, transformation, training)

    def transform_single_bounding_box(
        self,
        bounding_box: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        """Return the bounding boxes of one image."""
        return self._single(
            self.transform_bounding_boxes, bounding_box, transformation, training
        )

    def transform_single_segmentation_mask(
        self,
        segmentation_mask: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        """Return the segmentation mask of one image."""
        return self._single(
            self.transform_segmentation_masks,
            segmentation_mask,
            transformation,
            training,
        )

    def _single(self, transform: Callable[..., Any], part: Any, *args: Any) -> Any:
        batch = tree.map_structure(lambda leaf: as_tensor(leaf).unsqueeze(0), part)
        return tree.map_structure(lambda leaf: leaf.squeeze(0), transform(batch, *args))

    # Calling

    def call(self, data: Any, training: bool = True) -> Any:
        images = data["images"] if isinstance(data, Mapping) else data
        is_batch = self._is_batch(images)
        drawn = self.get_random_transformation(data, training=training)

        def transformed(name: str, part: Any) -> Any:
            method = getattr(self, name)
            if is_batch:
                return method(part, drawn, training=training)
            return self._single(method, part, drawn, training)

        result = transformed("transform_images", self._cast(images))
        if not isinstance(data, Mapping):
            return result
        made = {**data, "images": result}
        for key, name in _PARTS.items():
            if key in data:
                made[key] = transformed(name, self._part(key, data[key]))
        return made

    def _part(self, key: str, value: Any) -> Any:
        if key != "bounding_boxes":
            return as_tensor(value)
        if self.bounding_box_format is None:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): the input has "
                "'bounding_boxes', so `bounding_box_format` must be given when the "
                "layer is made, such as bounding_box_format='xyxy'."
            )
        if not isinstance(value, Mapping) or not {"boxes", "labels"} <= set(value):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): 'bounding_boxes' must "
                f"be a dict of 'boxes' and 'labels', got {describe(value)}."
            )
        return {**value, **{k: as_tensor(value[k]) for k in ("boxes", "labels")}}

    def _is_batch(self, images: Any) -> bool:
        if images.ndim not in (3, 4):
            expected = "an image, of 3 axes, or a batch of images, of 4"
            owner = f"Layer '{self.name}' ({type(self).__name__})"
            raise ValueError(invalid_argument(owner, "images", expected, images))
        return images.ndim == 4

    def _cast(self, images: Tensor) -> Tensor:
        return images.to(DTYPES[self.compute_dtype])

    def _convert(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn what is transformed into tensors; what goes along stays what it is."""
        data = args[0] if args else None
        if not isinstance(data, Mapping):
            return super()._convert(args, kwargs)
        own = {key: data[key] for key in ("images", *_PARTS) if key in data}
        (made, *more), kwargs = super()._convert((own, *args[1:]), kwargs)
        return ({**data, **made}, *more), kwargs

    # The mode

    def train(self, mode: bool = True) -> Self:
        self._mode_is_said = True
        return super().train(mode)

    def _take_training(self, kwargs: dict[str, Any]) -> bool | None:
        """Resolve ``training=``: given, of a call around this one, or said before."""
        training = kwargs.get("training")
        if training is None:
            training = context.training
        if training is None:
            training = self.training if self._mode_is_said else True
        kwargs["training"] = bool(training)
        return None

    # What is drawn

    def _shape_of(self, data: Any) -> tuple[int, ...]:
        """Return the sizes of the images: ``([batch,] ...)``."""
        images = data["images"] if isinstance(data, Mapping) else data
        return tuple(images.shape)

    def _size_of(self, data: Any) -> tuple[int, int]:
        """Return the height and width of the images."""
        shape = self._shape_of(data)
        if self.data_format == "channels_last":
            return shape[-3], shape[-2]
        return shape[-2], shape[-1]

    def _axes(self) -> tuple[int, int]:
        """Return the axes of height and width, counted from the end."""
        return (-3, -2) if self.data_format == "channels_last" else (-2, -1)

    def _count_of(self, data: Any) -> int:
        """Return for how many images something is drawn."""
        shape = self._shape_of(data)
        return shape[0] if len(shape) == 4 else 1

    def _applied(self, data: Any, seed: Seed = None) -> Tensor:
        """Draw which images are changed, as probable as `factor` says."""
        shape = (self._count_of(data),)
        probable = self._uniform(data, shape, *self.factor, seed=seed)
        return self._uniform(data, shape, seed=seed) < probable

    def _uniform(
        self,
        data: Any,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
        seed: Seed = None,
    ) -> Tensor:
        """Draw numbers between `low` and `high`, where the images are."""
        return self._drawn(data, shape, seed, torch.Tensor.uniform_, low, high)

    def _normal(
        self,
        data: Any,
        shape: tuple[int, ...],
        mean: float = 0.0,
        stddev: float = 1.0,
        seed: Seed = None,
    ) -> Tensor:
        """Draw numbers from a normal distribution, where the images are."""
        return self._drawn(data, shape, seed, torch.Tensor.normal_, mean, stddev)

    def _seed_of(self, seed: Seed) -> Seed:
        """Return a seed for what draws by itself: the one given, or of one's own."""
        if seed is not None or self.seed is None:
            return seed
        return int(self._drawn(HERE, (1,), None, torch.Tensor.random_, 0, 2**24))

    def _drawn(
        self,
        data: Any,
        shape: tuple[int, ...],
        seed: Seed,
        fill: Callable[..., Tensor],
        *args: float,
    ) -> Tensor:
        images = data["images"] if isinstance(data, Mapping) else data
        device = images.device
        seed = checked_seed(type(self).__name__, seed)
        own = self._generator(device) if seed is None else generator_of(seed, device)
        return fill(torch.empty(shape, device=device), *args, generator=own)


class ColorLayer(ImageLayer):
    """The base of layers that change the colors of images and nothing else.

    Args:
        value_range: the lowest and the highest value of a channel.
        kwargs: arguments of `ImageLayer`.
    """

    value_range: tuple[float, float]

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range = checked_range(type(self).__name__, value_range)

    def _between(self, images: Tensor) -> Tensor:
        """Cut values off at the ends of the range."""
        return images.clamp(*self.value_range)

    def _rescaled(
        self, images: Tensor, source: tuple[float, float], target: tuple[float, float]
    ) -> Tensor:
        """Bring values of one range into another."""
        if tuple(source) == tuple(target):
            return images
        share = (images - source[0]) / (source[1] - source[0])
        return share * (target[1] - target[0]) + target[0]


def checked_range(owner: str, value_range: Any) -> tuple[float, float]:
    """Return the lowest and the highest value of a channel, in that order.

    Raises:
        ValueError: when they are none, or the same.
    """
    pair = isinstance(value_range, (tuple, list)) and len(value_range) == 2
    if not (pair and all(map(_is_number, value_range)) and len(set(value_range)) > 1):
        expected = "the lowest and the highest value of a channel"
        raise ValueError(invalid_argument(owner, "value_range", expected, value_range))
    return min(value_range), max(value_range)


def factor_between(
    owner: str, argument: str, factor: Any, low: float, high: float
) -> tuple[float, float]:
    """Return a factor as a pair of bounds: one number stands for both directions.

    Args:
        owner: the layer's class, for messages.
        argument: the name of the argument, for messages.
        factor: a number, or the two bounds.
        low: the lowest legal bound.
        high: the highest.

    Raises:
        ValueError: when it is none of them, or beyond what is legal.

    Example:
        >>> factor_between("RandomContrast", "factor", 0.2, -1, 1)
        (-0.2, 0.2)
        >>> factor_between("RandomSaturation", "factor", 0.2, 0, 1)
        (0, 0.2)
    """
    is_number = _is_number(factor)
    bounds = (-abs(factor), abs(factor)) if is_number else factor
    if not (isinstance(bounds, (list, tuple)) and len(bounds) == 2):
        bounds = ()
    own = [factor] if is_number else bounds
    if not own or not all(_is_number(b) and low <= b <= high for b in own):
        expected = f"a number, or a pair of them, from {low} to {high}"
        raise ValueError(invalid_argument(owner, argument, expected, factor))
    first, last = sorted(bounds)
    return max(first, low), last


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
