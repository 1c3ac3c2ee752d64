"""Layers that prepare data: numbers, categories, strings and sounds."""

from torchkeras.layers.preprocessing.hashing import HashedCrossing, Hashing
from torchkeras.layers.preprocessing.images import RandomBrightness, RandomFlip
from torchkeras.layers.preprocessing.lookup import IntegerLookup, StringLookup
from torchkeras.layers.preprocessing.numbers import (
    CategoryEncoding,
    Discretization,
    Normalization,
)
from torchkeras.layers.preprocessing.text import TextVectorization

__all__ = [
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "Normalization",
    "RandomBrightness",
    "RandomFlip",
    "StringLookup",
    "TextVectorization",
]
