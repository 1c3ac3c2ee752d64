"""Layers that apply several layers for images: `RandAugment`, `AugMix`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import random
from torchkeras._core.errors import one_of, positive_integer
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing.images.base import (
    HERE,
    ColorLayer,
    ImageLayer,
    Transformation,
    factor_between,
)
from torchkeras.layers.preprocessing.images.color import (
    AutoContrast,
    Equalization,
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    RandomPosterization,
    RandomSharpness,
    Solarization,
)
from torchkeras.layers.preprocessing.images.geometry import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
)
from torchkeras.random import Seed


class _Policy(ColorLayer):
    """The base of layers that choose among others at random.

    Args:
        value_range: the lowest and the highest value of a channel.
        factor: how strong each change is, from 0 to 1; or a pair of bounds.
        interpolation: that of the layers which move pixels.
        kwargs: arguments of `ImageLayer`.
    """

    #: What is chosen from, by Keras's names.
    _choices: dict[str, ImageLayer]

    def __init__(
        self, value_range: Any, factor: Any, interpolation: str, **kwargs: Any
    ) -> None:
        super().__init__(value_range, **kwargs)
        owner = type(self).__name__
        self.factor = factor_between(owner, "factor", factor, 0, 1)
        self.interpolation = one_of(
            owner, "interpolation", interpolation, ("nearest", "bilinear")
        )
        self._choices = self._made(kwargs)

    def _made(self, kwargs: dict[str, Any]) -> dict[str, ImageLayer]:
        common = {
            "data_format": self.data_format,
            "bounding_box_format": self.bounding_box_format,
            "dtype": kwargs.get("dtype"),
        }
        factor, colors = self.factor, {**common, "value_range": self.value_range}
        moves = {**common, "interpolation": self.interpolation}
        return {
            "random_shear": RandomShear(factor, factor, **moves),
            "random_translation": RandomTranslation(factor, factor, **moves),
            "random_rotation": RandomRotation(factor, **moves),
            "random_brightness": RandomBrightness(factor, **colors),
            "random_color_degeneration": RandomColorDegeneration(factor, **colors),
            "random_contrast": RandomContrast(factor, **colors),
            "random_sharpness": RandomSharpness(factor, **colors),
            "random_posterization": RandomPosterization(
                max(1, int(8 * factor[1])), **colors
            ),
            "solarization": Solarization(factor, factor, **colors),
            "auto_contrast": AutoContrast(**colors),
            "equalization": Equalization(**colors),
        }

    def _draw(self, name: str, data: Any, seed: Seed) -> Transformation:
        layer = self._choices[name]
        return layer.get_random_transformation(data, seed=self._seed_of(seed))

    def _integers(self, count: int, below: int, seed: Seed) -> list[int]:
        """Draw whole numbers that Python chooses by."""
        fill = torch.Tensor.random_
        return self._drawn(HERE, (count,), seed, fill, 0, below).int().tolist()


@layers.register()
class RandAugment(_Policy):
    """Changes each batch by a few ways chosen at random out of eleven.

    Source: Cubuk et al. 2019, https://arxiv.org/abs/1909.13719.

    Args:
        value_range: the lowest and the highest value of a channel.
        num_ops: how many changes are made, one after the other.
        factor: how strong each is, from 0 to 1; or a pair of bounds.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.

    Example:
        >>> RandAugment(seed=0)(torch.rand(2, 8, 8, 3) * 255).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value_range, factor, interpolation,
            seed=seed, data_format=data_format, **kwargs,
        )  # fmt: skip
        self.num_ops = positive_integer("RandAugment", "num_ops", num_ops)

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        chosen = self._integers(self.num_ops, len(self._choices), seed)
        names = list(self._choices)
        # Those that are not chosen need no draw.
        drawn = {names[n]: self._draw(names[n], data, seed) for n in chosen}
        return {
            "transforms": {name: drawn.get(name) for name in names},
            "layer_idxes": torch.tensor(chosen, device="cpu"),
        }

    def _applied_to(self, method: str, part: Any, transformation: Any) -> Any:
        names = list(transformation["transforms"])
        for index in transformation["layer_idxes"].tolist():
            name = names[index]
            transform = getattr(self._choices[name], method)
            part = transform(part, transformation["transforms"][name])
        return part

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        return self._applied_to("transform_images", images, transformation)

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return segmentation_masks
        method = "transform_segmentation_masks"
        return self._applied_to(method, segmentation_masks, transformation)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation,
        training: bool = True,
    ) -> dict[str, Any]:
        if not training:
            return bounding_boxes
        method = "transform_bounding_boxes"
        return self._applied_to(method, bounding_boxes, transformation)


@layers.register()
class AugMix(_Policy):
    """Mixes each image with what chains of random changes make of it.

    Source: Hendrycks et al. 2019, https://arxiv.org/abs/1912.02781.

    Args:
        value_range: the lowest and the highest value of a channel.
        num_chains: how many chains are mixed.
        chain_depth: how many changes a chain has at most.
        factor: how strong each is, from 0 to 1; or a pair of bounds.
        alpha: the concentration of the distributions that weights are drawn from.
        all_ops: whether brightness, saturation, contrast and sharpness are changed,
            too.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        seed: an integer that starts a random generator of the layer's own.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``([batch,] height, width, 3)``, and the same for the outputs, whose values stay
        in the range.

    Raises:
        ValueError: for a factor out of bounds, or what is no range.
        NotImplementedError: for bounding boxes: the mixture has those of all chains.

    Example:
        >>> AugMix(seed=0)(torch.rand(2, 8, 8, 3) * 255).shape
        torch.Size([2, 8, 8, 3])
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value_range, factor, interpolation,
            seed=seed, data_format=data_format, **kwargs,
        )  # fmt: skip
        self.num_chains = positive_integer("AugMix", "num_chains", num_chains)
        self.chain_depth = positive_integer("AugMix", "chain_depth", chain_depth)
        self.alpha = alpha
        self.all_ops = all_ops

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Seed = None
    ) -> Transformation:
        if not training:
            return None
        shares = random.gamma((self.num_chains,), self.alpha, seed=self._seed_of(seed))
        weight = random.beta((), self.alpha, self.alpha, seed=self._seed_of(seed))
        left_out = () if self.all_ops else _COLORS
        names = [None, *(name for name in self._choices if name not in left_out)]
        chains = []
        for _ in range(self.num_chains):
            chosen = self._integers(self.chain_depth, len(names), seed)
            found = [name for n in chosen if (name := names[n]) is not None]
            chains.append(
                [
                    {
                        "layer_name": name,
                        "transformation": self._draw(name, data, seed),
                    }
                    for name in found
                ]
            )
        return {
            "chain_mixing_weights": shares / shares.sum(),
            "weight_sample": weight,
            "chain_transforms": chains,
        }

    def _mixture(self, method: str, part: Tensor, transformation: Any) -> Tensor:
        shares = transformation["chain_mixing_weights"].to(part)
        weight = transformation["weight_sample"].to(part)
        mixed = torch.zeros_like(part)
        for share, chain in zip(
            shares, transformation["chain_transforms"], strict=True
        ):
            made = part
            for step in chain:
                transform = getattr(self._choices[step["layer_name"]], method)
                made = transform(made, step["transformation"])
            mixed = mixed + made * share
        return weight * part + (1 - weight) * mixed

    def transform_images(
        self, images: Tensor, transformation: Transformation, training: bool = True
    ) -> Tensor:
        images = self._cast(images)
        if not training:
            return images
        return self._between(self._mixture("transform_images", images, transformation))

    def transform_segmentation_masks(
        self,
        segmentation_masks: Tensor,
        transformation: Transformation,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return segmentation_masks
        method = "transform_segmentation_masks"
        return self._mixture(method, self._cast(segmentation_masks), transformation)


#: The changes that `AugMix` leaves out unless it uses all.
_COLORS = (
    "random_brightness",
    "random_color_degeneration",
    "random_contrast",
    "random_sharpness",
)
