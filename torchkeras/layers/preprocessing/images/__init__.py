"""Layers that prepare and vary images, with their labels, boxes and masks."""

from torchkeras.layers.preprocessing.images.color import RandomBrightness
from torchkeras.layers.preprocessing.images.geometry import RandomFlip

__all__ = ["RandomBrightness", "RandomFlip"]
