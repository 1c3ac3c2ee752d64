"""Preparation of data, under the names that older scripts use."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.preprocessing import image, sequence

__all__ = ["image", "sequence"]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
