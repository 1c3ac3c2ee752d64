"""Small data sets to learn and to test with; each has a `load_data`."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.datasets import digits, fashion_mnist, mnist

__all__ = ["digits", "fashion_mnist", "mnist"]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
