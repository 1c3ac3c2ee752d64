"""Small data sets to learn and to test with; each has a `load_data`."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    imdb,
    mnist,
    reuters,
)

__all__ = [
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
