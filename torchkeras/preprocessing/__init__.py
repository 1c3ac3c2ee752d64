"""Preparation of data, under the names that older scripts use."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.preprocessing import image, sequence
from torchkeras.utils.folders import (
    image_dataset_from_directory,
    text_dataset_from_directory,
)
from torchkeras.utils.windows import timeseries_dataset_from_array

__all__ = [
    "image",
    "image_dataset_from_directory",
    "sequence",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
