"""Layers that prepare data: numbers, categories, strings and sounds."""

from torchkeras.layers.preprocessing.images import RandomBrightness, RandomFlip
from torchkeras.layers.preprocessing.numbers import (
    CategoryEncoding,
    Discretization,
    Normalization,
)

__all__ = [
    "CategoryEncoding",
    "Discretization",
    "Normalization",
    "RandomBrightness",
    "RandomFlip",
]
