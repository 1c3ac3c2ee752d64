"""Layers that prepare and vary images, with their labels, boxes and masks."""

from torchkeras.layers.preprocessing.images.color import (
    RandomBrightness,
)
from torchkeras.layers.preprocessing.images.geometry import (
    RandomElasticTransform,
    RandomFlip,
    RandomPerspective,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from torchkeras.layers.preprocessing.images.sizes import (
    CenterCrop,
    MaxNumBoundingBoxes,
    RandomCrop,
    Resizing,
)

__all__ = [
    "CenterCrop",
    "MaxNumBoundingBoxes",
    "RandomBrightness",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomFlip",
    "RandomPerspective",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Resizing",
]
