"""Layers that prepare data: numbers, categories, strings and sounds."""

from torchkeras.layers.preprocessing.audio import MelSpectrogram, STFTSpectrogram
from torchkeras.layers.preprocessing.hashing import HashedCrossing, Hashing
from torchkeras.layers.preprocessing.images import (
    CenterCrop,
    MaxNumBoundingBoxes,
    RandomBrightness,
    RandomCrop,
    RandomElasticTransform,
    RandomFlip,
    RandomPerspective,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
    Resizing,
)
from torchkeras.layers.preprocessing.lookup import IntegerLookup, StringLookup
from torchkeras.layers.preprocessing.numbers import (
    CategoryEncoding,
    Discretization,
    Normalization,
)
from torchkeras.layers.preprocessing.pipeline import Pipeline
from torchkeras.layers.preprocessing.text import TextVectorization

__all__ = [
    "CategoryEncoding",
    "CenterCrop",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "MaxNumBoundingBoxes",
    "MelSpectrogram",
    "Normalization",
    "Pipeline",
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
    "STFTSpectrogram",
    "StringLookup",
    "TextVectorization",
]
